import { el } from "../dom.ts";
import { type IconName, icon } from "./icon.ts";

interface ButtonOptions {
  icon?: IconName;
  testid?: string;
  className?: string;
  title?: string;
}

/** A button with words, and an icon before them when one is given. */
export function textButton(label: string, run: () => void, options: ButtonOptions = {}): HTMLButtonElement {
  const button = el(
    "button",
    {
      type: "button",
      className: `button ${options.className ?? ""}`.trim(),
      title: options.title ?? "",
      ...(options.testid ? { dataset: { testid: options.testid } } : {}),
    },
    options.icon && icon(options.icon),
    el("span", {}, label),
  );
  button.addEventListener("click", run);
  return button;
}

/** A button that is only an icon; its label is its name and its tooltip. */
export function iconButton(name: IconName, label: string, run: () => void, testid?: string): HTMLButtonElement {
  const button = el("button", { type: "button", className: "icon-button", ...(testid ? { dataset: { testid } } : {}) });
  setIcon(button, name, label);
  button.addEventListener("click", run);
  return button;
}

/** Gives an icon button another face. */
export function setIcon(button: HTMLButtonElement, name: IconName, label: string): void {
  if (button.dataset.icon === name && button.title === label) return;
  button.dataset.icon = name;
  button.title = label;
  button.setAttribute("aria-label", label);
  button.replaceChildren(icon(name));
}
