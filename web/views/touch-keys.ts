import { el } from "../dom.ts";
import type { Terminal } from "../terminal.ts";
import type { Text } from "../text.ts";

/** Bytes of the keys that keyboards on glass do not have. */
const KEYS = [
  ["Esc", "\u001b"],
  ["Tab", "\t"],
  ["Ctrl", null],
  ["↑", "\u001b[A"],
  ["↓", "\u001b[B"],
  ["←", "\u001b[D"],
  ["→", "\u001b[C"],
  ["|", "|"],
  ["/", "/"],
  ["~", "~"],
  ["-", "-"],
] as const;

/** A row of keys under the terminal, for touch screens. */
export function createTouchKeys(text: Text, terminal: Terminal): HTMLElement {
  const element = el("div", { className: "touch-keys", attributes: { role: "toolbar", "aria-label": text.touchKeys } });
  for (const [label, bytes] of KEYS) {
    const key = el("button", { type: "button", className: "button mono", dataset: { key: label } }, label);
    // The terminal keeps the focus, and with it the phone its keyboard.
    key.addEventListener("pointerdown", (event) => event.preventDefault());
    key.addEventListener("click", () => {
      if (bytes !== null) return terminal.type(bytes);
      const held = key.getAttribute("aria-pressed") !== "true";
      key.setAttribute("aria-pressed", String(held));
      terminal.holdControl(held, () => key.setAttribute("aria-pressed", "false"));
      terminal.focus();
    });
    element.append(key);
  }
  return element;
}
