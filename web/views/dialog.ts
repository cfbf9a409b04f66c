import { el } from "../dom.ts";
import type { Text } from "../text.ts";

/** Asks for one line. Resolves to null when it is cancelled. */
export function askText(text: Text, title: string, value: string, hint = ""): Promise<string | null> {
  const input = el("input", { className: "field", value, autocomplete: "off", spellcheck: false });
  const form = openForm(text, title, el("label", {}, hint, input));
  input.select();
  return form.then((confirmed) => (confirmed ? input.value : null));
}

const BIT_NAMES = ["r", "w", "x"] as const;
const SPECIAL = [
  ["setuid", 0o4000],
  ["setgid", 0o2000],
  ["sticky", 0o1000],
] as const;

/** Asks for permissions, as octal digits or bit by bit. Resolves to null when it is cancelled. */
export function askMode(text: Text, path: string, mode: number): Promise<number | null> {
  let value = mode;
  const octal = el("input", { className: "field", value: digits(value), maxLength: 5, spellcheck: false });
  const boxes: [HTMLInputElement, number][] = [];
  const grid = el("div", { className: "bits" });
  const addBox = (label: string, bit: number): void => {
    const box = el("input", { type: "checkbox", checked: (value & bit) !== 0 });
    box.addEventListener("change", () => {
      value = box.checked ? value | bit : value & ~bit;
      octal.value = digits(value);
    });
    boxes.push([box, bit]);
    grid.append(el("label", {}, box, label));
  };
  for (const [row, name] of ["user", "group", "other"].entries()) {
    grid.append(el("span", {}, name));
    for (const [column, bit] of BIT_NAMES.entries()) addBox(bit, 0o400 >> (row * 3 + column));
  }
  grid.append(el("span"));
  for (const [name, bit] of SPECIAL) addBox(name, bit);
  octal.addEventListener("input", () => {
    if (!/^[0-7]{1,5}$/.test(octal.value)) return octal.setCustomValidity(text.modePrompt);
    octal.setCustomValidity("");
    value = Number.parseInt(octal.value, 8) & 0o7777;
    for (const [box, bit] of boxes) box.checked = (value & bit) !== 0;
  });
  const label = el("label", {}, text.modePrompt, octal);
  return openForm(text, `${text.permissions}: ${path}`, label, grid).then((confirmed) => (confirmed ? value : null));
}

/** Shows the keys. */
export function showKeys(text: Text): void {
  const table = el("table");
  for (const [keys, meaning] of text.keys) table.append(el("tr", {}, el("td", {}, keys), el("td", {}, meaning)));
  void openForm(text, text.keyboard, table);
}

/** A dialog with "OK" and "Cancel" (or the close key) around some fields. Resolves to whether it was confirmed. */
export function openForm(text: Text, title: string, ...fields: HTMLElement[]): Promise<boolean> {
  const before = document.activeElement instanceof HTMLElement ? document.activeElement : null;
  const dialog = el("dialog", { attributes: { "aria-label": title } });
  const cancel = el("button", { type: "button", className: "button" }, text.cancel);
  const confirm = el("button", { type: "submit", className: "button primary" }, "OK");
  const form = el(
    "form",
    { method: "dialog" },
    el("h2", {}, title),
    ...fields,
    el("div", { className: "actions" }, cancel, confirm),
  );
  dialog.append(form);
  document.body.append(dialog);
  return new Promise((resolve) => {
    let confirmed = false;
    form.addEventListener("submit", () => {
      confirmed = true;
    });
    cancel.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      before?.focus();
      resolve(confirmed);
    });
    dialog.showModal();
    dialog.querySelector<HTMLElement>("input, select, button")?.focus();
  });
}

function digits(mode: number): string {
  return `0${mode.toString(8).padStart(3, "0")}`;
}
