import { el } from "../dom.ts";
import type { Text } from "../text.ts";
import { iconButton, textButton } from "./button.ts";

interface DialogOptions {
  title: string;
  /** The word on the confirming button; without it the dialog only shows something. */
  confirm?: string;
  className?: string;
  /** Confirming it loses something. */
  danger?: boolean;
}

/** Opens a dialog around some content. Resolves to whether it was confirmed; the focus goes back to where it was. */
export function openDialog(
  text: Text,
  { title, confirm, className, danger }: DialogOptions,
  ...content: HTMLElement[]
): Promise<boolean> {
  const before = document.activeElement instanceof HTMLElement ? document.activeElement : null;
  const heading = el("h2", { id: "dialog-title" }, title);
  const dialog = el("dialog", { className: className ?? "", attributes: { "aria-labelledby": heading.id } });
  const form = el(
    "form",
    { method: "dialog" },
    el(
      "div",
      { className: "dialog-head" },
      heading,
      iconButton("close", text.close, () => dialog.close()),
    ),
    el("div", { className: "dialog-body" }, ...content),
  );
  if (confirm !== undefined)
    form.append(
      el(
        "div",
        { className: "dialog-actions" },
        textButton(text.cancel, () => dialog.close()),
        el("button", { type: "submit", className: `button ${danger ? "danger" : "primary"}` }, confirm),
      ),
    );
  dialog.append(form);
  document.body.append(dialog);
  return new Promise((resolve) => {
    let confirmed = false;
    form.addEventListener("submit", () => {
      confirmed = true;
    });
    // A press on the backdrop lands on the dialog itself, outside its form.
    dialog.addEventListener("pointerdown", (event) => {
      if (event.target === dialog) dialog.close();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      before?.focus();
      resolve(confirmed);
    });
    dialog.showModal();
    (
      dialog.querySelector<HTMLElement>(".dialog-body :is(input, select, button)") ?? dialog.querySelector("button")
    )?.focus();
  });
}

interface Question {
  title: string;
  label: string;
  value: string;
  confirm: string;
  /** What is wrong with a value, or nothing. */
  check(value: string): string;
  /** Which part of the value is selected at first; all of it when absent. */
  select?: [number, number];
}

/** Asks for one line. Resolves to null when it is cancelled. */
export async function askText(
  text: Text,
  { title, label, value, confirm, check, select }: Question,
): Promise<string | null> {
  const input = el("input", { className: "field", value, autocomplete: "off", spellcheck: false });
  const fault = el("p", { className: "fault", attributes: { "aria-live": "polite" } });
  const examine = (): void => {
    const words = check(input.value.trim());
    input.setCustomValidity(words);
    fault.textContent = input.value === value ? "" : words;
  };
  input.addEventListener("input", examine);
  const answer = openDialog(text, { title, confirm }, el("label", { className: "labelled" }, label, input), fault);
  examine();
  input.setSelectionRange(...(select ?? [0, value.length]));
  return (await answer) ? input.value.trim() : null;
}
