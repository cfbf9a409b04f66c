import { el } from "../dom.ts";
import type { Text } from "../text.ts";
import { iconButton } from "./button.ts";
import { type IconName, icon } from "./icon.ts";
import { readPreference, writePreference } from "./preference.ts";
import { createSplitter } from "./splitter.ts";

export const PANELS = ["tree", "editor", "disks", "network", "snapshots", "machine"] as const;
export type PanelName = (typeof PANELS)[number];
/** The columns of a wide page, each named after its first panel. */
const COLUMNS = ["tree", "editor", "machine"] as const;
type Column = (typeof COLUMNS)[number];
/** What shares the middle column with the editor: one of them is in front. */
export const GUESTS = ["disks", "network", "snapshots"] as const satisfies PanelName[];
export type GuestName = (typeof GUESTS)[number];

export interface Panels {
  readonly element: HTMLElement;
  /** The bar at the bottom of narrow screens, where one panel is shown at a time. */
  readonly tabs: HTMLElement;
  /** Brings a panel to the front: unfolds it, and on a narrow screen shows it. */
  show(name: PanelName): void;
  /** Not to be seen, and nothing that the focus should go to: folded, or behind another panel of its column. */
  isAway(name: PanelName): boolean;
  /** Puts a dot of a kind on the buttons that lead to a panel, and into their names what it stands for. */
  mark(name: PanelName, kind: string, label: string): void;
}

const ICONS: Record<PanelName, IconName> = {
  tree: "folder",
  editor: "pencil",
  disks: "disk",
  network: "network",
  snapshots: "snapshot",
  machine: "terminal",
};
const TREE_WIDTH = 248;
const MACHINE_WIDTH = 0.46;
const LEAST = { tree: 168, machine: 300, editor: 260 };
/** Width of a folded panel. */
const RAIL = "36px";

/**
 * Files, editor and machine side by side, with bars between them; each can be folded to a narrow strip. Below the files
 * stand the panels that take the editor's place.
 * @param onFront hears which of those that share the middle column is to be seen from now on
 */
export function createPanels(
  text: Text,
  contents: Record<PanelName, HTMLElement>,
  onFront: (name: PanelName) => void,
): Panels {
  const labels: Record<PanelName, string> = {
    tree: text.files,
    editor: text.editor,
    disks: text.disks.title,
    network: text.network.title,
    snapshots: text.snapshots.title,
    machine: text.machine,
  };
  const folded = Object.fromEntries(COLUMNS.map((name) => [name, readPreference(`folded-${name}`, false)])) as Record<
    Column,
    boolean
  >;
  let front: PanelName = GUESTS.find((name) => name === readPreference<string>("front", "editor")) ?? "editor";
  const size = { tree: TREE_WIDTH, machine: MACHINE_WIDTH };
  const element = el("main", { className: "panels" });

  const layOut = (): void => {
    const machine = folded.editor ? "minmax(0, 1fr)" : `minmax(${LEAST.machine}px, ${size.machine * 100}%)`;
    const columns = [
      folded.tree ? RAIL : `${size.tree}px`,
      "5px",
      folded.editor ? RAIL : "minmax(0, 1fr)",
      "5px",
      folded.machine ? RAIL : machine,
    ];
    element.style.setProperty("--columns", columns.join(" "));
    for (const name of COLUMNS) slots[name].dataset.folded = String(folded[name]);
    for (const [name, splitter] of Object.entries({ tree: left, machine: right }))
      splitter.dataset.off = String(folded[name as Column] || (name === "machine" && folded.editor));
  };
  const setFolded = (name: Column, value: boolean): void => {
    folded[name] = value;
    // Something has to be left to look at.
    if (folded.editor && folded.machine) folded[name === "editor" ? "machine" : "editor"] = false;
    for (const column of COLUMNS) writePreference(`folded-${column}`, folded[column]);
    layOut();
    slots[name].querySelector<HTMLElement>(value ? ".rail" : ".panel:not([hidden]) .fold")?.focus();
  };
  const membersOf = (column: Column): readonly PanelName[] => (column === "editor" ? ["editor", ...GUESTS] : [column]);

  for (const name of GUESTS)
    contents[name].querySelector(".head")?.append(iconButton("close", text.close, () => leave(name), `close-${name}`));
  const rails = {} as Record<Column, HTMLElement>;
  const slots = {} as Record<Column, HTMLElement>;
  for (const column of COLUMNS) {
    const members = membersOf(column);
    for (const name of members) {
      const fold = iconButton(
        column === "machine" ? "right" : "left",
        text.fold(labels[name]),
        () => setFolded(column, true),
        `fold-${name}`,
      );
      fold.classList.add("fold");
      contents[name].querySelector(".head")?.append(fold);
    }
    const rail = el("button", { type: "button", className: "rail" });
    rail.addEventListener("click", () => setFolded(column, false));
    rails[column] = rail;
    slots[column] = el("div", { className: `slot ${column}-slot` }, ...members.map((name) => contents[name]), rail);
  }
  const nameRail = (column: Column, name: PanelName): void => {
    const label = text.unfold(labels[name]);
    rails[column].title = label;
    rails[column].setAttribute("aria-label", label);
    rails[column].replaceChildren(icon(ICONS[name]), el("span", {}, labels[name]));
  };
  for (const column of COLUMNS) nameRail(column, column);

  const places = GUESTS.map((name) => {
    const button = el(
      "button",
      {
        type: "button",
        className: "place",
        title: labels[name],
        dataset: { testid: `place-${name}` },
        attributes: { "aria-controls": contents[name].id },
      },
      icon(ICONS[name]),
      el("span", {}, labels[name]),
    );
    button.addEventListener("click", () => (isAway(name) ? show(name) : leave(name)));
    return { name, button };
  });
  slots.tree.append(el("div", { className: "places" }, ...places.map(({ button }) => button)));

  const left = createSplitter({
    name: "tree-width",
    label: text.resize(labels.tree),
    controls: contents.tree.id,
    orientation: "vertical",
    initial: TREE_WIDTH,
    least: LEAST.tree,
    most: () => element.clientWidth * 0.4,
    measure: () => contents.tree.offsetWidth,
    fromPointer: (x) => x - element.getBoundingClientRect().left,
    apply(width) {
      size.tree = width;
      requestLayout();
    },
    fold: () => setFolded("tree", true),
  });
  const right = createSplitter({
    name: "machine-width",
    label: text.resize(labels.machine),
    controls: contents.machine.id,
    orientation: "vertical",
    // Zero stands for the share that it has at first.
    initial: 0,
    least: LEAST.machine,
    most: () => element.clientWidth - (folded.tree ? 36 : size.tree) - LEAST.editor,
    measure: () => contents.machine.offsetWidth,
    fromPointer: (x) => element.getBoundingClientRect().right - x,
    apply(width) {
      size.machine = width === 0 ? MACHINE_WIDTH : width / Math.max(1, innerWidth);
      requestLayout();
    },
    isReversed: true,
  });
  // The bars apply their remembered sizes before both exist.
  function requestLayout(): void {
    if (element.childElementCount > 0) layOut();
  }
  element.append(slots.tree, left, slots.editor, right, slots.machine);
  layOut();

  const tabs = PANELS.map((name) => {
    const button = el(
      "button",
      {
        type: "button",
        dataset: { testid: `panel-${name}` },
        attributes: { role: "tab", "aria-controls": contents[name].id },
      },
      icon(ICONS[name]),
      el("span", {}, labels[name]),
    );
    button.addEventListener("click", () => choose(name));
    return { name, button };
  });
  const tabbar = el(
    "div",
    { className: "tabbar", attributes: { role: "tablist" } },
    ...tabs.map(({ button }) => button),
  );
  const bringToFront = (name: PanelName): void => {
    front = name;
    for (const member of membersOf("editor")) contents[member].hidden = member !== name;
    onFront(name);
    nameRail("editor", name);
    for (const place of places) place.button.setAttribute("aria-pressed", String(place.name === name));
  };
  const choose = (name: PanelName): void => {
    element.dataset.panel = name;
    for (const tab of tabs) tab.button.setAttribute("aria-selected", String(tab.name === name));
    if (!membersOf("editor").includes(name)) return;
    bringToFront(name);
    writePreference("front", name);
  };
  const columnOf = (name: PanelName): Column => COLUMNS.find((column) => membersOf(column).includes(name)) ?? "editor";
  const show = (name: PanelName): void => {
    const column = columnOf(name);
    choose(name);
    if (!folded[column]) return;
    folded[column] = false;
    writePreference(`folded-${column}`, false);
    layOut();
  };
  /** Gives the middle column back to the editor. */
  const leave = (name: PanelName): void => {
    choose("editor");
    places.find((place) => place.name === name)?.button.focus();
  };
  const isAway = (name: PanelName): boolean => {
    // Narrow pages have no strips, and a tab for each panel: there one that is not seen is as good as any.
    if (tabbar.offsetParent !== null) return false;
    const column = columnOf(name);
    return contents[name].hidden === true || (folded[column] && rails[column].offsetParent !== null);
  };
  const mark = (name: PanelName, kind: string, label: string): void => {
    for (const { button } of [...places, ...tabs].filter((candidate) => candidate.name === name)) {
      button.dataset.mark = kind;
      button.title = label;
      button.setAttribute("aria-label", label);
    }
  };
  bringToFront(front);
  choose("machine");

  return { element, tabs: tabbar, show, isAway, mark };
}
