import { el } from "../dom.ts";

export type MenuItem =
  | { label: string; run(): void; danger?: boolean; checked?: boolean; disabled?: boolean }
  | "separator";

/** Opens a menu below an element, or at a point; it closes at a choice, at Escape, and when the focus leaves it. */
export function openMenu(anchor: HTMLElement | { x: number; y: number }, items: readonly MenuItem[]): void {
  const before = document.activeElement instanceof HTMLElement ? document.activeElement : null;
  const close = (): void => {
    removeEventListener("pointerdown", onOutside, true);
    menu.remove();
  };
  const menu = el("div", { className: "menu", role: "menu" });
  for (const item of items) {
    if (item === "separator") {
      menu.append(el("hr"));
      continue;
    }
    const checked = item.checked === undefined ? {} : { "aria-checked": String(item.checked) };
    const button = el(
      "button",
      {
        type: "button",
        className: item.danger ? "danger" : "",
        disabled: item.disabled ?? false,
        attributes: { role: item.checked === undefined ? "menuitem" : "menuitemradio", ...checked },
      },
      `${item.checked ? "✓ " : ""}${item.label}`,
    );
    button.addEventListener("click", () => {
      close();
      before?.focus();
      item.run();
    });
    menu.append(button);
  }
  const onOutside = (event: Event): void => {
    if (!menu.contains(event.target as Node)) close();
  };
  menu.addEventListener("keydown", (event) => {
    const buttons = [...menu.querySelectorAll("button:enabled")] as HTMLElement[];
    const at = buttons.indexOf(document.activeElement as HTMLElement);
    if (event.key === "ArrowDown") buttons[(at + 1) % buttons.length]?.focus();
    else if (event.key === "ArrowUp") buttons[(at + buttons.length - 1) % buttons.length]?.focus();
    else if (event.key === "Escape" || event.key === "Tab") {
      close();
      before?.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  document.body.append(menu);
  const point = anchor instanceof HTMLElement ? below(anchor) : anchor;
  menu.style.left = `${Math.max(4, Math.min(point.x, innerWidth - menu.offsetWidth - 4))}px`;
  menu.style.top = `${Math.max(4, Math.min(point.y, innerHeight - menu.offsetHeight - 4))}px`;
  addEventListener("pointerdown", onOutside, true);
  menu.querySelector("button")?.focus();
}

function below(anchor: HTMLElement): { x: number; y: number } {
  const box = anchor.getBoundingClientRect();
  return { x: box.left, y: box.bottom + 4 };
}
