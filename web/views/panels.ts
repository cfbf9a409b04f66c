import { el } from "../dom.ts";
import type { Text } from "../text.ts";
import { iconButton } from "./button.ts";
import { type IconName, icon } from "./icon.ts";
import { readPreference, writePreference } from "./preference.ts";
import { createSplitter } from "./splitter.ts";

export const PANELS = ["tree", "editor", "machine"] as const;
export type PanelName = (typeof PANELS)[number];

export interface Panels {
  readonly element: HTMLElement;
  /** The bar at the bottom of narrow screens, where one panel is shown at a time. */
  readonly tabs: HTMLElement;
  /** Brings a panel to the front: unfolds it, and on a narrow screen shows it. */
  show(name: PanelName): void;
  isFolded(name: PanelName): boolean;
}

const ICONS: Record<PanelName, IconName> = { tree: "folder", editor: "pencil", machine: "terminal" };
const TREE_WIDTH = 248;
const MACHINE_WIDTH = 0.46;
const LEAST = { tree: 168, machine: 300, editor: 260 };
/** Width of a folded panel. */
const RAIL = "36px";

/** Files, editor and machine side by side, with bars between them; each can be folded to a narrow strip. */
export function createPanels(text: Text, contents: Record<PanelName, HTMLElement>): Panels {
  const labels: Record<PanelName, string> = { tree: text.files, editor: text.editor, machine: text.machine };
  const folded = Object.fromEntries(PANELS.map((name) => [name, readPreference(`folded-${name}`, false)])) as Record<
    PanelName,
    boolean
  >;
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
    for (const name of PANELS) slots[name].dataset.folded = String(folded[name]);
    for (const [name, splitter] of Object.entries({ tree: left, machine: right }))
      splitter.dataset.off = String(folded[name as PanelName] || (name === "machine" && folded.editor));
  };
  const setFolded = (name: PanelName, value: boolean): void => {
    folded[name] = value;
    // Something has to be left to look at.
    if (folded.editor && folded.machine) folded[name === "editor" ? "machine" : "editor"] = false;
    for (const panel of PANELS) writePreference(`folded-${panel}`, folded[panel]);
    layOut();
    slots[name].querySelector<HTMLElement>(value ? ".rail" : ".fold")?.focus();
  };

  const slots = Object.fromEntries(
    PANELS.map((name) => {
      const fold = iconButton(
        name === "machine" ? "right" : "left",
        text.fold(labels[name]),
        () => setFolded(name, true),
        `fold-${name}`,
      );
      fold.classList.add("fold");
      contents[name].querySelector(".head")?.append(fold);
      const rail = el(
        "button",
        {
          type: "button",
          className: "rail",
          title: text.unfold(labels[name]),
          attributes: { "aria-label": text.unfold(labels[name]) },
        },
        icon(ICONS[name]),
        el("span", {}, labels[name]),
      );
      rail.addEventListener("click", () => setFolded(name, false));
      return [name, el("div", { className: `slot ${name}-slot` }, contents[name], rail)];
    }),
  ) as unknown as Record<PanelName, HTMLElement>;

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
  const choose = (name: PanelName): void => {
    element.dataset.panel = name;
    for (const tab of tabs) tab.button.setAttribute("aria-selected", String(tab.name === name));
  };
  choose("machine");

  return {
    element,
    tabs: el("div", { className: "tabbar", attributes: { role: "tablist" } }, ...tabs.map(({ button }) => button)),
    show(name) {
      choose(name);
      if (!folded[name]) return;
      folded[name] = false;
      writePreference(`folded-${name}`, false);
      layOut();
    },
    // Narrow pages have no strips: there a folded panel is as good as any.
    isFolded: (name) => folded[name] && slots[name].querySelector<HTMLElement>(".rail")?.offsetParent !== null,
  };
}
