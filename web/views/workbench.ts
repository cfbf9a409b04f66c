import { el } from "../dom.ts";
import type { Editor } from "../editor.ts";
import type { Actions, AppState } from "../state.ts";
import type { Terminal } from "../terminal.ts";
import type { Text } from "../text.ts";
import { createBanner } from "./banner.ts";
import { createBar } from "./bar.ts";
import { createDisks } from "./disks.ts";
import { createEditorPanel } from "./editor-panel.ts";
import { createMachinePanel, type MachineTab } from "./machine-panel.ts";
import { createNetwork } from "./network.ts";
import { createNetworkMark } from "./network-mark.ts";
import { createNotices } from "./notices.ts";
import { createPanels, GUESTS, type GuestName } from "./panels.ts";
import { acceptArrivals } from "./share-arrivals.ts";
import { createShareBanner } from "./share-banner.ts";
import { createShareOffer } from "./share-offer.ts";
import { createSnapshots } from "./snapshots.ts";
import { createTree } from "./tree.ts";
import type { View } from "./view.ts";

export interface WorkbenchParts {
  terminal: Terminal;
  /** Where v86 draws. */
  screen: HTMLElement;
  loadEditor(): Promise<Editor>;
}

export interface Workbench extends View {
  showMachineTab(tab: MachineTab): void;
  /** The one that is shown. */
  machineTab(): MachineTab;
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
    machineTab: () => machine.shown(),
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
