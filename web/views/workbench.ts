import { el } from "../dom.ts";
import type { Editor } from "../editor.ts";
import type { Actions, AppState } from "../state.ts";
import type { Terminal } from "../terminal.ts";
import type { Text } from "../text.ts";
import { createBar } from "./bar.ts";
import { createEditorPanel } from "./editor-panel.ts";
import { createMachinePanel } from "./machine-panel.ts";
import { createNotices } from "./notices.ts";
import { createTree } from "./tree.ts";
import type { View } from "./view.ts";

export interface WorkbenchParts {
  terminal: Terminal;
  /** Where v86 draws. */
  screen: HTMLElement;
  loadEditor(): Promise<Editor>;
}

export interface Workbench extends View {
  /** Moves the focus to the next or the previous panel. */
  cycleFocus(step: 1 | -1): void;
  dispose(): void;
}

const SIZES = "smart-os:panels";

/** The whole page. It is made anew when the language changes; terminal, screen and editor are handed from one to the next. */
export function createWorkbench(
  text: Text,
  actions: Actions,
  { terminal, screen, loadEditor }: WorkbenchParts,
): Workbench {
  const bar = createBar(text, actions);
  const tree = createTree(text, actions);
  const editor = createEditorPanel(text, actions, loadEditor);
  const machine = createMachinePanel(text, actions, terminal, screen);
  const notices = createNotices(text, actions);
  const panels = el("main", { className: "panels", dataset: { panel: "machine" } });
  const sizes = readSizes();
  const applySizes = (): void => {
    panels.style.setProperty("--tree-width", `${sizes.tree}px`);
    panels.style.setProperty("--machine-width", `${sizes.machine}%`);
    panels.dataset.tree = sizes.tree === 0 ? "folded" : "open";
  };
  applySizes();

  const left = createSplitter(text.resizePanels, {
    value: () => sizes.tree,
    // Narrower than this is of no use: the panel folds away.
    set: (value) => {
      sizes.tree = value < 110 ? 0 : Math.min(480, value);
    },
    fromPointer: (x) => x,
    step: 20,
    initial: 240,
    changed: () => store(applySizes, sizes),
  });
  const right = createSplitter(text.resizePanels, {
    value: () => sizes.machine,
    set: (value) => {
      sizes.machine = Math.max(20, Math.min(75, value));
    },
    fromPointer: (x) => 100 * (1 - x / innerWidth),
    step: -3,
    initial: 46,
    changed: () => store(applySizes, sizes),
  });
  panels.append(tree.element, left, editor.element, right, machine.element);

  const tabs = (
    [
      ["tree", text.files],
      ["editor", text.editor],
      ["machine", text.machine],
    ] as const
  ).map(([name, label]) => {
    const button = el(
      "button",
      { type: "button", dataset: { testid: `panel-${name}` }, attributes: { role: "tab" } },
      label,
    );
    button.addEventListener("click", () => showPanel(name));
    return { name, button };
  });
  const showPanel = (panel: "tree" | "editor" | "machine"): void => {
    panels.dataset.panel = panel;
    for (const { name, button } of tabs) button.setAttribute("aria-selected", String(name === panel));
  };
  showPanel("machine");

  const banner = el("div", { className: "banner", hidden: true, attributes: { role: "status" } });
  const takeOver = el(
    "button",
    { type: "button", className: "button", dataset: { testid: "take-over" } },
    text.takeOver,
  );
  takeOver.addEventListener("click", () => actions.takeOver());

  const element = el(
    "div",
    { className: "workbench" },
    bar.element,
    banner,
    panels,
    el("nav", { className: "tabbar", attributes: { role: "tablist" } }, ...tabs.map(({ button }) => button)),
    notices.element,
  );

  let openPath: string | undefined;
  let lastStatus = "";
  return {
    element,
    update(state: AppState) {
      if (state.embed) element.dataset.embed = "";
      for (const view of [bar, tree, editor, machine, notices]) view.update(state);
      // On a narrow screen a chosen file opens its panel, a boot the machine's.
      if (openPath !== undefined && state.openFile && state.openFile.path !== openPath) showPanel("editor");
      openPath = state.openFile?.path ?? "";
      if (lastStatus !== "building" && state.machine.status === "building") showPanel("machine");
      lastStatus = state.machine.status;
      const reason = state.writable ? state.storage.reason : text.readOnly;
      banner.hidden = reason === undefined;
      if (reason !== undefined) banner.replaceChildren(reason, ...(state.writable ? [] : [takeOver]));
    },
    cycleFocus(step) {
      const stops = [
        bar.element.querySelector<HTMLElement>("button"),
        tree.element.querySelector<HTMLElement>(".tree"),
        editor.element.querySelector<HTMLElement>(".cm-content") ?? editor.element.querySelector<HTMLElement>("button"),
        machine.element.querySelector<HTMLElement>(".xterm-helper-textarea"),
        machine.element.querySelector<HTMLElement>(".bar-row"),
      ].filter((stop): stop is HTMLElement => stop !== null);
      const regions = stops.map((stop) => stop.closest(".bar, .tree-panel, .editor-panel, .timeline, .machine-panel"));
      const at = regions.indexOf(
        document.activeElement?.closest(".bar, .tree-panel, .editor-panel, .timeline, .machine-panel") ?? null,
      );
      stops[(at + step + stops.length) % stops.length]?.focus();
    },
    dispose() {
      for (const view of [bar, machine]) view.dispose?.();
      element.remove();
    },
  };
}

interface SplitterOptions {
  value(): number;
  set(value: number): void;
  fromPointer(x: number): number;
  step: number;
  initial: number;
  changed(): void;
}

/** A bar between two panels, for the pointer and for the arrow keys; a double click restores the size. */
function createSplitter(label: string, options: SplitterOptions): HTMLElement {
  const splitter = el("div", {
    className: "splitter",
    tabIndex: 0,
    attributes: { role: "separator", "aria-orientation": "vertical", "aria-label": label },
  });
  const set = (value: number): void => {
    options.set(value);
    options.changed();
    splitter.setAttribute("aria-valuenow", String(Math.round(options.value())));
  };
  splitter.addEventListener("pointerdown", (event) => {
    splitter.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  splitter.addEventListener("pointermove", (event) => {
    if (splitter.hasPointerCapture(event.pointerId)) set(options.fromPointer(event.clientX));
  });
  splitter.addEventListener("dblclick", () => set(options.initial));
  splitter.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") set(options.value() - options.step);
    else if (event.key === "ArrowRight") set(options.value() === 0 ? options.initial : options.value() + options.step);
    else if (event.key === "Enter") set(options.initial);
    else return;
    event.preventDefault();
  });
  return splitter;
}

function readSizes(): { tree: number; machine: number } {
  const sizes = { tree: 240, machine: 46 };
  try {
    const stored = JSON.parse(localStorage.getItem(SIZES) ?? "{}") as Partial<typeof sizes>;
    if (typeof stored.tree === "number") sizes.tree = stored.tree;
    if (typeof stored.machine === "number") sizes.machine = stored.machine;
  } catch {
    // Storage that is refused costs only the remembered sizes.
  }
  return sizes;
}

function store(apply: () => void, sizes: { tree: number; machine: number }): void {
  apply();
  try {
    localStorage.setItem(SIZES, JSON.stringify(sizes));
  } catch {
    // As above.
  }
}
