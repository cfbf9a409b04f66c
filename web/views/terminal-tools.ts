import { el } from "../dom.ts";
import type { Terminal } from "../terminal.ts";
import type { Text } from "../text.ts";
import { iconButton } from "./button.ts";
import { openMenu } from "./menu.ts";
import { readPreference, writePreference } from "./preference.ts";

export interface TerminalTools {
  readonly element: HTMLElement;
  /** Opens the search field. */
  find(): void;
  dispose(): void;
}

/** Search, copy and paste, text size: what goes with the terminal. */
export function createTerminalTools(text: Text, terminal: Terminal): TerminalTools {
  const abort = new AbortController();
  const field = el("input", {
    className: "field",
    type: "search",
    placeholder: text.find,
    dataset: { testid: "terminal-find" },
    attributes: { "aria-label": text.find },
  });
  const found = el("output", { className: "soft found" });
  const finder = el(
    "div",
    { className: "finder", hidden: true },
    field,
    found,
    iconButton("up", text.previous, () => terminal.find(field.value, "previous")),
    iconButton("down", text.next, () => terminal.find(field.value, "next")),
    iconButton("close", text.close, () => close()),
  );
  const find = (): void => {
    finder.hidden = false;
    field.select();
    field.focus();
  };
  const close = (): void => {
    finder.hidden = true;
    terminal.find("", "next");
    terminal.focus();
  };
  field.addEventListener("input", () => {
    if (field.value === "") found.textContent = "";
    terminal.find(field.value, "next", true);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    else if (event.key === "Enter") terminal.find(field.value, event.shiftKey ? "previous" : "next");
    else return;
    event.preventDefault();
  });
  terminal.onFound((index, count) => {
    found.textContent = field.value === "" ? "" : count === 0 ? text.noMatches : text.matches(index, count);
  });

  const hint = el("p", { className: "tool-hint", hidden: true, attributes: { role: "status" } }, text.pasteRefused);
  const paste = async (): Promise<void> => {
    hint.hidden = await terminal.paste();
    if (!hint.hidden) setTimeout(() => (hint.hidden = true), 6000);
  };
  const copy = async (): Promise<void> => {
    await terminal.copy();
    terminal.focus();
  };
  const resize = (step: 1 | -1): void => writePreference("font-size", terminal.resizeFont(step));
  terminal.setFontSize(readPreference("font-size", 13));
  terminal.setScreenReader(readPreference("screen-reader", false));

  const items = (): Parameters<typeof openMenu>[2] => [
    { label: text.copy, icon: "copy", disabled: !terminal.hasSelection(), run: () => void copy() },
    { label: text.paste, icon: "paste", run: () => void paste() },
    { label: text.selectAll, icon: "check", run: () => terminal.selectAll() },
    "separator",
    { label: text.find, icon: "search", run: find },
    { label: text.clear, icon: "clear", run: () => terminal.clear() },
  ];
  const more = iconButton("more", text.more, () =>
    openMenu(more, text.terminal, [
      ...items(),
      "separator",
      { label: text.larger, icon: "plus", run: () => resize(1) },
      { label: text.smaller, icon: "sliders", run: () => resize(-1) },
      {
        label: text.screenReader,
        checked: readPreference("screen-reader", false),
        run: () => {
          const enabled = !readPreference("screen-reader", false);
          writePreference("screen-reader", enabled);
          terminal.setScreenReader(enabled);
        },
      },
    ]),
  );
  terminal.element.addEventListener(
    "contextmenu",
    (event) => {
      // With Shift the browser's own menu comes.
      if (event.shiftKey) return;
      event.preventDefault();
      openMenu({ x: event.clientX, y: event.clientY }, text.terminal, items());
    },
    { signal: abort.signal },
  );

  const size = (label: string, title: string, step: 1 | -1): HTMLButtonElement => {
    const button = el(
      "button",
      { type: "button", className: "icon-button letter", title, attributes: { "aria-label": title } },
      label,
    );
    button.addEventListener("click", () => resize(step));
    return button;
  };
  const buttons = el(
    "div",
    { className: "group tool-buttons" },
    iconButton("search", text.find, find, "terminal-search"),
    iconButton("copy", text.copy, () => void copy()),
    iconButton("paste", text.paste, () => void paste()),
    iconButton("clear", text.clear, () => terminal.clear()),
    size("A−", text.smaller, -1),
    size("A+", text.larger, 1),
    more,
  );
  return { element: el("div", { className: "tools" }, finder, buttons, hint), find, dispose: () => abort.abort() };
}
