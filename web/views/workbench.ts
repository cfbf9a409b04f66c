import { el } from "../dom.ts";
import type { Editor } from "../editor.ts";
import type { Actions, AppState, Language, Store } from "../state.ts";
import { createTerminal, type Terminal } from "../terminal.ts";
import { type Text, textOf } from "../text.ts";
import { createBanner } from "./banner.ts";
import { createBar } from "./bar.ts";
import { createDisks } from "./disks.ts";
import { createEditorPanel } from "./editor-panel.ts";
import { createMachinePanel, type MachineTab } from "./machine-panel.ts";
import { createNetwork } from "./network.ts";
import { createNetworkMark } from "./network-mark.ts";
import { createNotices } from "./notices.ts";
import { createPanels, GUESTS, type GuestName } from "./panels.ts";
import { createScreenContainer } from "./screen.ts";
import { acceptArrivals } from "./share-arrivals.ts";
import { createShareBanner } from "./share-banner.ts";
import { createShareOffer } from "./share-offer.ts";
import { createSnapshots } from "./snapshots.ts";
import { createTree } from "./tree.ts";
import type { View } from "./view.ts";

export interface MountedWorkbench {
  readonly terminal: Terminal;
  /** Where v86 draws. */
  readonly screenContainer: HTMLElement;
  showMachineTab(tab: MachineTab): void;
  dispose(): void;
}

/** Puts the whole page into an element, and keeps it showing the store's state in the chosen language and colours. */
export function mountWorkbench(root: HTMLElement, store: Store, actions: Actions): MountedWorkbench {
  const terminal = createTerminal();
  const screen = createScreenContainer();
  const abort = new AbortController();
  let page: Workbench | null = null;
  let language: Language | null = null;
  let tab: MachineTab = "terminal";
  let editor: Promise<Editor> | null = null;
  const loadEditor = (): Promise<Editor> => {
    editor ??= quiet().then(async () => {
      const { createEditor } = await import("../editor.ts");
      return createEditor((path, text) => actions.editFile(path, text));
    });
    return editor;
  };

  const darkSystem = matchMedia("(prefers-color-scheme: dark)");
  const colour = ({ theme }: AppState): void => {
    const isDark = theme === "dark" || (theme === "system" && darkSystem.matches);
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    terminal.setDark(isDark);
  };
  darkSystem.addEventListener("change", () => colour(store.state), { signal: abort.signal });

  const stop = store.subscribe((state) => {
    colour(state);
    document.title = state.project.name ? `${state.project.name} – smart-os` : "smart-os";
    if (state.language !== language) {
      language = state.language;
      document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
      const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.testid : undefined;
      page?.dispose();
      page = createWorkbench(textOf(language), actions, { terminal, screen, loadEditor });
      root.replaceChildren(page.element);
      page.showMachineTab(tab);
      if (focused) root.querySelector<HTMLElement>(`[data-testid="${focused}"]`)?.focus();
    }
    page?.update(state);
  });

  // Before the editor's own keys, the terminal's and the guest's screen see them.
  addEventListener(
    "keydown",
    (event) => {
      const isApply = event.key === "Enter" && (event.ctrlKey || event.metaKey);
      if ((!isApply && event.key !== "F6") || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      event.stopPropagation();
      if (!isApply) page?.cycleFocus(event.shiftKey ? -1 : 1);
      else if (!event.repeat) actions.applyAndReboot();
    },
    { capture: true, signal: abort.signal },
  );

  return {
    terminal,
    screenContainer: screen,
    showMachineTab(next) {
      tab = next;
      page?.showMachineTab(next);
    },
    dispose() {
      stop();
      abort.abort();
      page?.dispose();
    },
  };
}

export interface WorkbenchParts {
  terminal: Terminal;
  /** Where v86 draws. */
  screen: HTMLElement;
  loadEditor(): Promise<Editor>;
}

export interface Workbench extends View {
  showMachineTab(tab: MachineTab): void;
  /** Moves the focus to the next or the previous panel. */
  cycleFocus(step: 1 | -1): void;
  dispose(): void;
}

/** The whole page. It is made anew when the language changes; terminal, screen and editor are handed from one to the next. */
export function createWorkbench(
  text: Text,
  actions: Actions,
  { terminal, screen, loadEditor }: WorkbenchParts,
): Workbench {
  const mark = createNetworkMark(text, () => {
    panels.show("network");
    network.focus();
  });
  const bar = createBar(text, actions, mark);
  const banner = createBanner(text, actions);
  const stranger = createShareBanner(text, actions.share);
  const offer = createShareOffer(text, actions.share);
  // Opening a file shows it, also when it is the open one already and nothing changes in the state.
  const opening: Actions = Object.create(actions, {
    openFile: {
      value: (path: string) => {
        actions.openFile(path);
        panels.show("editor");
      },
    },
  });
  const tree = createTree(text, opening);
  const editor = createEditorPanel(text, actions, loadEditor);
  const disks = createDisks(text, actions.disks);
  const network = createNetwork(text, actions.network);
  const snapshots = createSnapshots(text, actions.snapshots);
  const machine = createMachinePanel(text, opening, terminal, screen);
  const notices = createNotices(text, actions);
  /** What stands behind the editor is drawn when it comes to the front: most users never look at most of it. */
  const guests = { disks, network, snapshots };
  let shown: AppState | null = null;
  const panels = createPanels(
    text,
    {
      tree: tree.element,
      editor: editor.element,
      disks: disks.element,
      network: network.element,
      snapshots: snapshots.element,
      machine: machine.element,
    },
    (name) => {
      if (shown && name in guests) guests[name as GuestName].update(shown);
    },
  );

  const skip = (label: string, run: () => void): HTMLElement => {
    const button = el("button", { type: "button", className: "skip" }, label);
    button.addEventListener("click", run);
    return button;
  };
  const focusTree = (): void => tree.element.querySelector<HTMLElement>("[role=tree]")?.focus();
  const stops = [
    {
      element: bar.element,
      isThere: () => true,
      focus: () => bar.element.querySelector<HTMLElement>("button")?.focus(),
    },
    { element: tree.element, isThere: () => !panels.isAway("tree"), focus: focusTree, name: "tree" as const },
    {
      element: editor.element,
      isThere: () => !panels.isAway("editor"),
      focus: () => editor.focus(),
      name: "editor" as const,
    },
    {
      element: disks.element,
      isThere: () => !panels.isAway("disks"),
      focus: () => disks.focus(),
      name: "disks" as const,
    },
    {
      element: network.element,
      isThere: () => !panels.isAway("network"),
      focus: () => network.focus(),
      name: "network" as const,
    },
    {
      element: snapshots.element,
      isThere: () => !panels.isAway("snapshots"),
      focus: () => snapshots.focus(),
      name: "snapshots" as const,
    },
    {
      element: machine.element,
      isThere: () => !panels.isAway("machine"),
      focus: () => machine.focus(),
      name: "machine" as const,
    },
  ];

  const element = el(
    "div",
    { className: "workbench" },
    skip(text.skipToTerminal, () => machine.focus()),
    skip(text.skipToFiles, focusTree),
    bar.element,
    banner.element,
    stranger.element,
    panels.element,
    panels.tabs,
    notices.element,
  );

  const arrivals = acceptArrivals(element, text, actions.share);

  let openPath: string | undefined;
  let lastStatus = "";
  return {
    element,
    showMachineTab: (tab) => machine.show(tab),
    update(state) {
      element.toggleAttribute("data-embed", state.embed);
      shown = state;
      for (const view of [bar, banner, stranger, offer, tree, editor, machine, notices]) view.update(state);
      for (const name of GUESTS) if (!guests[name].element.hidden) guests[name].update(state);
      const { status: connection } = state.network;
      panels.mark("network", connection, text.network.mark(text.network.status[connection]));
      // A chosen file comes to the front, and so does the machine when it boots or fails.
      const path = state.openFile?.path ?? "";
      if (openPath !== undefined && path !== "" && path !== openPath) panels.show("editor");
      openPath = path;
      const { status } = state.machine;
      if (lastStatus !== "" && lastStatus !== status && (status === "building" || status === "failed"))
        panels.show("machine");
      lastStatus = status;
    },
    cycleFocus(step) {
      const present = stops.filter(({ isThere }) => isThere());
      const at = present.findIndex((stop) => stop.element.contains(document.activeElement));
      const next = present[(Math.max(at, step < 0 ? 0 : at) + step + present.length) % present.length];
      if (next?.name) panels.show(next.name);
      next?.focus();
    },
    dispose() {
      for (const view of [bar, offer, network, machine]) view.dispose?.();
      arrivals.stop();
      element.remove();
    },
  };
}

/** Resolves when the browser has a moment, so that the editor's code never delays the boot. */
function quiet(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof requestIdleCallback === "function") requestIdleCallback(() => resolve(), { timeout: 1500 });
    else setTimeout(resolve, 200);
  });
}
