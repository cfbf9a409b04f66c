import { el } from "../dom.ts";
import type { Actions } from "../state.ts";
import type { Terminal } from "../terminal.ts";
import type { Text } from "../text.ts";
import { iconButton } from "./bar.ts";
import { createProblem } from "./problem.ts";
import { createTimeline } from "./timeline.ts";
import type { View } from "./view.ts";

/** Bytes of the keys that phones do not have. */
const TOUCH_KEYS = [
  ["Esc", "\u001b"],
  ["Tab", "\t"],
  ["^C", "\u0003"],
  ["^D", "\u0004"],
  ["^Z", "\u001a"],
  ["←", "\u001b[D"],
  ["↑", "\u001b[A"],
  ["↓", "\u001b[B"],
  ["→", "\u001b[C"],
  ["|", "|"],
  ["/", "/"],
  ["~", "~"],
  ["-", "-"],
] as const;

/** Two presses of Escape within this leave the screen. */
const DOUBLE_MS = 500;

export interface MachinePanel extends View {
  show(tab: "terminal" | "screen"): void;
}

/** The machine's two faces, its terminal and its screen, and below them how the boot went. */
export function createMachinePanel(
  text: Text,
  actions: Actions,
  terminal: Terminal,
  screen: HTMLElement,
): MachinePanel {
  const problem = createProblem(text, actions);
  const timeline = createTimeline(text);
  const find = el("input", {
    className: "field",
    type: "search",
    placeholder: text.search,
    attributes: { "aria-label": text.search },
  });
  find.style.width = "110px";
  const tools = el("div", { className: "tabs" }, find);
  const tool = (name: Parameters<typeof iconButton>[0], label: string, run: () => void): void => {
    const button = iconButton(name, label);
    button.addEventListener("click", run);
    tools.append(button);
  };
  tool("up", text.previous, () => terminal.find(find.value, "previous"));
  tool("down", text.next, () => terminal.find(find.value, "next"));
  tool("copy", text.copy, () => void terminal.copy());
  tool("paste", text.paste, () => void terminal.paste());
  tool("clear", text.clear, () => terminal.clear());
  for (const [label, title, step] of [
    ["A−", text.smaller, -1],
    ["A+", text.larger, 1],
  ] as const) {
    const button = el("button", { type: "button", className: "icon-button", title }, label);
    button.addEventListener("click", () => terminal.resizeFont(step));
    tools.append(button);
  }
  find.addEventListener("keydown", (event) => {
    if (event.key === "Enter") terminal.find(find.value, event.shiftKey ? "previous" : "next");
    if (event.key === "Escape") terminal.focus();
  });

  const ctrlAltDel = el("button", { type: "button", className: "button" }, text.ctrlAltDel);
  ctrlAltDel.addEventListener("click", () => actions.sendCtrlAltDel());
  const screenTools = el("div", { className: "tabs" }, el("span", { className: "soft" }, text.screenHint), ctrlAltDel);

  const keys = el("div", { className: "keys" });
  for (const [label, bytes] of TOUCH_KEYS) {
    const key = el("button", { type: "button", className: "button" }, label);
    // The terminal keeps the focus, and with it the phone its keyboard.
    key.addEventListener("pointerdown", (event) => event.preventDefault());
    key.addEventListener("click", () => terminal.type(bytes));
    keys.append(key);
  }

  const tabs = (["terminal", "screen"] as const).map((name) => {
    const button = el(
      "button",
      { type: "button", className: "tab", dataset: { testid: `tab-${name}` }, attributes: { role: "tab" } },
      text[name],
    );
    button.addEventListener("click", () => {
      show(name);
      if (name === "terminal") terminal.focus();
      else screen.focus();
    });
    return { name, button };
  });

  const show = (tab: "terminal" | "screen"): void => {
    terminal.element.hidden = tab !== "terminal";
    screen.hidden = tab !== "screen";
    tools.hidden = keys.hidden = tab !== "terminal";
    screenTools.hidden = tab !== "screen";
    for (const { name, button } of tabs) button.setAttribute("aria-selected", String(name === tab));
  };

  let lastEscape = 0;
  screen.addEventListener("focus", () => actions.focusScreen(true));
  screen.addEventListener("blur", () => actions.focusScreen(false));
  screen.addEventListener("pointerdown", () => screen.focus());
  screen.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (event.timeStamp - lastEscape < DOUBLE_MS) screen.blur();
    lastEscape = event.timeStamp;
  });

  const element = el(
    "section",
    { className: "panel machine-panel", attributes: { "aria-label": text.machine } },
    el(
      "div",
      { className: "head" },
      el("div", { className: "tabs", role: "tablist" }, ...tabs.map(({ button }) => button)),
      el("span", { className: "bar-space" }),
      tools,
      screenTools,
    ),
    el("div", { className: "stage" }, terminal.element, screen, problem.element),
    keys,
    timeline.element,
  );
  show("terminal");
  return {
    element,
    show,
    update(state) {
      problem.update(state);
      timeline.update(state);
    },
    dispose: () => timeline.dispose?.(),
  };
}
