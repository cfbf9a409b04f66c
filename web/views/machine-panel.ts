import { el } from "../dom.ts";
import type { Actions } from "../state.ts";
import type { Terminal } from "../terminal.ts";
import type { Text } from "../text.ts";
import { icon } from "./icon.ts";
import { createMachineOverlay } from "./machine-overlay.ts";
import { createProblemCard } from "./problem-card.ts";
import { createScreen } from "./screen.ts";
import { createSplitter } from "./splitter.ts";
import { createTerminalTools } from "./terminal-tools.ts";
import { createTimeline } from "./timeline.ts";
import { createTouchKeys } from "./touch-keys.ts";
import type { View } from "./view.ts";

export type MachineTab = "terminal" | "screen";

export interface MachinePanel extends View {
  show(tab: MachineTab): void;
  /** The tab that is shown. */
  shown(): MachineTab;
  focus(): void;
}

const ICONS = { terminal: "terminal", screen: "screen" } as const;

/** The machine's two faces, its terminal and its screen, and below them how the boot went. */
export function createMachinePanel(
  text: Text,
  actions: Actions,
  terminal: Terminal,
  container: HTMLElement,
): MachinePanel {
  let shown: MachineTab = "terminal";
  const problem = createProblemCard(text, actions);
  const overlay = createMachineOverlay(text, actions);
  const timeline = createTimeline(text, actions);
  const tools = createTerminalTools(text, terminal);
  const keys = createTouchKeys(text, terminal);
  const screen = createScreen(text, actions, container);

  const tabs = (["terminal", "screen"] as const).map((name) => {
    const button = el(
      "button",
      {
        type: "button",
        className: "tab",
        dataset: { testid: `tab-${name}` },
        attributes: { role: "tab", "aria-controls": "machine-stage" },
      },
      icon(ICONS[name]),
      text[name],
    );
    button.addEventListener("click", () => {
      show(name);
      focus();
    });
    return { name, button };
  });
  const tablist = el(
    "div",
    { className: "tabs", attributes: { role: "tablist", "aria-label": text.machine } },
    ...tabs.map(({ button }) => button),
  );
  tablist.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    show(shown === "terminal" ? "screen" : "terminal");
    tabs.find(({ name }) => name === shown)?.button.focus();
  });

  const show = (tab: MachineTab): void => {
    shown = tab;
    terminal.element.hidden = tools.element.hidden = keys.hidden = tab !== "terminal";
    screen.element.hidden = screen.tools.hidden = tab !== "screen";
    for (const { name, button } of tabs) {
      button.setAttribute("aria-selected", String(name === tab));
      button.tabIndex = name === tab ? 0 : -1;
    }
  };
  const focus = (): void => (shown === "terminal" ? terminal.focus() : screen.focus());

  const stage = el(
    "div",
    { className: "stage", id: "machine-stage", attributes: { role: "tabpanel" } },
    terminal.element,
    screen.element,
    problem.element,
    overlay.element,
  );
  const element = el("section", {
    className: "panel machine-panel",
    id: "panel-machine",
    attributes: { "aria-label": text.machine },
  });
  const splitter = createSplitter({
    name: "timeline-height",
    label: text.resizeTimeline,
    controls: "timeline",
    orientation: "horizontal",
    // Zero stands for as high as its bars.
    initial: 0,
    least: 0,
    most: () => element.clientHeight * 0.7,
    measure: () => timeline.element.offsetHeight,
    fromPointer: (_x, y) => element.getBoundingClientRect().bottom - y,
    apply: (height) => {
      timeline.element.style.height = height === 0 ? "" : `${height}px`;
    },
    isReversed: true,
  });
  element.append(
    el("div", { className: "head" }, tablist, el("span", { className: "space" }), tools.element, screen.tools),
    stage,
    keys,
    splitter,
    timeline.element,
  );
  // In the terminal Ctrl+F is the shell's.
  element.addEventListener(
    "keydown",
    (event) => {
      if (!(event.ctrlKey && event.shiftKey && event.code === "KeyF") || shown !== "terminal") return;
      event.preventDefault();
      event.stopPropagation();
      tools.find();
    },
    true,
  );
  show("terminal");
  return {
    element,
    show,
    shown: () => shown,
    focus,
    update(state) {
      for (const view of [problem, overlay, timeline]) view.update(state);
    },
    dispose() {
      for (const part of [timeline, tools, screen]) part.dispose?.();
    },
  };
}
