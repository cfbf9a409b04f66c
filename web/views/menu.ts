import { el } from "../dom.ts";
import { type IconName, icon } from "./icon.ts";

export interface MenuAction {
  label: string;
  icon?: IconName;
  /** Set for a choice among several: the chosen one is marked. */
  checked?: boolean;
  disabled?: boolean;
  danger?: boolean;
  run(): void;
}

/** An action, a line between groups, or the heading of a group. */
export type MenuItem = MenuAction | "separator" | { heading: string };

type Anchor = HTMLElement | { x: number; y: number };

const GAP = 4;
const MARGIN = 8;

let closeOpen: (() => void) | null = null;

/** Opens a menu below an element or at a point. Arrows, letters, Home, End, Enter and Escape work; a click beside it closes it. */
export function openMenu(anchor: Anchor, label: string, items: readonly MenuItem[]): void {
  const wasOpenHere = anchor instanceof HTMLElement && anchor.getAttribute("aria-expanded") === "true";
  closeOpen?.();
  if (wasOpenHere) return;
  const before = document.activeElement instanceof HTMLElement ? document.activeElement : null;
  const menu = el("div", { className: "menu", attributes: { role: "menu", "aria-label": label } });
  const outside = new AbortController();

  const close = (): void => {
    closeOpen = null;
    outside.abort();
    menu.remove();
    if (anchor instanceof HTMLElement) anchor.setAttribute("aria-expanded", "false");
  };
  /** Gives the focus back before anything that may take it elsewhere. */
  const leave = (): void => {
    close();
    before?.focus();
  };
  for (const item of items) menu.append(createItem(item, leave));

  menu.addEventListener("keydown", (event) => {
    const buttons = [...menu.querySelectorAll<HTMLElement>("button:enabled")];
    const at = buttons.indexOf(document.activeElement as HTMLElement);
    const count = buttons.length;
    const byLetter = (): HTMLElement | undefined =>
      [...buttons.slice(at + 1), ...buttons.slice(0, at + 1)].find((button) =>
        (button.textContent ?? "").trim().toLowerCase().startsWith(event.key.toLowerCase()),
      );
    if (event.key === "ArrowDown") buttons[(at + 1) % count]?.focus();
    else if (event.key === "ArrowUp") buttons[(at + count - 1) % count]?.focus();
    else if (event.key === "Home") buttons[0]?.focus();
    else if (event.key === "End") buttons[count - 1]?.focus();
    else if (event.key === "Escape" || event.key === "Tab") leave();
    else if (event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey) byLetter()?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const onOutside = (event: Event): void => {
    const target = event.target as Node;
    // A press on the anchor is its own click's to close.
    if (!menu.contains(target) && !(anchor instanceof HTMLElement && anchor.contains(target))) close();
  };
  addEventListener("pointerdown", onOutside, { capture: true, signal: outside.signal });
  addEventListener("blur", close, { signal: outside.signal });
  addEventListener("resize", close, { signal: outside.signal });

  document.body.append(menu);
  place(menu, anchor);
  if (anchor instanceof HTMLElement) {
    anchor.setAttribute("aria-haspopup", "menu");
    anchor.setAttribute("aria-expanded", "true");
  }
  closeOpen = close;
  menu.querySelector<HTMLElement>("button:enabled")?.focus();
}

function createItem(item: MenuItem, leave: () => void): HTMLElement {
  if (item === "separator") return el("hr");
  if ("heading" in item) return el("div", { className: "menu-heading" }, item.heading);
  const isChoice = item.checked !== undefined;
  const button = el(
    "button",
    {
      type: "button",
      className: item.danger ? "danger" : "",
      disabled: item.disabled ?? false,
      tabIndex: -1,
      attributes: {
        role: isChoice ? "menuitemradio" : "menuitem",
        ...(isChoice ? { "aria-checked": String(item.checked) } : {}),
      },
    },
    item.checked ? icon("check") : item.icon ? icon(item.icon) : el("span", { className: "icon" }),
    el("span", { className: "menu-label" }, item.label),
  );
  button.addEventListener("click", () => {
    leave();
    item.run();
  });
  return button;
}

/** Puts a floating element below an anchor, or above it where there is no room, and inside the window. */
export function place(floating: HTMLElement, anchor: Anchor): void {
  const { offsetWidth: width, offsetHeight: height } = floating;
  const box = anchor instanceof HTMLElement ? anchor.getBoundingClientRect() : new DOMRect(anchor.x, anchor.y, 0, 0);
  const fitsBelow = box.bottom + GAP + height <= innerHeight - MARGIN;
  const top = fitsBelow ? box.bottom + GAP : box.top - GAP - height;
  // An anchor in the right half lends its right edge.
  const left = box.left + box.width / 2 > innerWidth / 2 ? box.right - width : box.left;
  floating.style.left = `${clamp(left, innerWidth - width - MARGIN)}px`;
  floating.style.top = `${clamp(top, innerHeight - height - MARGIN)}px`;
}

function clamp(value: number, most: number): number {
  return Math.max(MARGIN, Math.min(value, most));
}
