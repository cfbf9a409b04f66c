import { html, nothing, render, type TemplateResult } from "lit-html";
import { repeat } from "lit-html/directives/repeat.js";
import { el } from "../dom.ts";
import { type PlacedFile, place, readDropped } from "../placed-files.ts";
import { sentenceOf } from "../sentence.ts";
import type { AppState, DiskActions, DiskEntry, DiskRow } from "../state.ts";
import type { Text } from "../text.ts";
import { iconButton, textButton } from "./button.ts";
import { openDialog } from "./dialog.ts";
import { drawEntry } from "./disks-entries.ts";
import { hasFiles, isFree, nameOf } from "./disks-menu.ts";
import { icon } from "./icon.ts";
import { acceptDrops } from "./tree-drop.ts";
import type { View } from "./view.ts";

/** A directory of more is shown in parts: twenty thousand rows would hold the page up for seconds. */
const ROWS = 500;

export interface DiskBrowser extends View {
  /** The disk whose files are shown, or null. */
  disk(): string | null;
  show(id: string | null): void;
  focus(): void;
}

/** What is under way or was found out about the directory that is shown. */
type Listing =
  | { state: "loading"; entries: readonly DiskEntry[] }
  | { state: "ready"; entries: readonly DiskEntry[] }
  | { state: "failed"; problem: string };

/** The files on a disk, a directory at a time: to look at, to pull out, to put in and to delete. */
export function createDiskBrowser(text: Text, actions: DiskActions, leave: () => void): DiskBrowser {
  const words = text.disks;
  let state: AppState | null = null;
  let id: string | null = null;
  let path = "/";
  let listing: Listing = { state: "loading", entries: [] };
  let shown = ROWS;
  let putting = 0;
  let dropFolder: string | null = null;
  /** Counts what was asked for: an answer that comes after another question is not for now. */
  let asked = 0;
  let wasListable = false;

  const row = (): DiskRow | undefined => state?.disks.find((disk) => disk.id === id);
  const isListable = (disk: DiskRow): boolean => !disk.inUse && disk.work === null && hasFiles(disk);

  const crumbs = el("nav", { className: "crumbs", attributes: { "aria-label": words.path } });
  const picker = el("input", { type: "file", multiple: true, hidden: true, dataset: { testid: "put-picker" } });
  const put = textButton(words.put, () => picker.click(), { className: "small", icon: "upload", testid: "put-files" });
  const reload = iconButton("restart", words.reload, () => void load(), "reload-directory");
  const list = el("div", { className: "entries", dataset: { testid: "entries" } });
  const note = el("p", { className: "entries-note", hidden: true, attributes: { role: "status" } });
  const fault = el("p", { className: "strip fault", hidden: true, attributes: { role: "alert" } });
  const dropHint = el("p", { className: "drop-hint", hidden: true });
  const body = el("div", { className: "disks-body" }, list, note, dropHint);
  const back = iconButton("left", words.back, leave, "disks-back");
  const element = el(
    "div",
    { className: "disk-browser", hidden: true, dataset: { testid: "disk-browser" } },
    el("div", { className: "browser-head" }, back, crumbs, put, reload, picker),
    fault,
    body,
  );

  const childOf = (directory: string, name: string): string => `${directory === "/" ? "" : directory}/${name}`;
  const parentOf = (child: string): string => child.slice(0, child.lastIndexOf("/")) || "/";
  const sayFault = (error: unknown): void => {
    fault.textContent = sentenceOf(error);
    fault.hidden = false;
  };

  /** @param focusOn the name of the entry that gets the focus; "" for the first, null to leave it where it is */
  const load = async (focusOn: string | null = null): Promise<void> => {
    const disk = row();
    if (!disk || !isListable(disk)) return draw();
    asked += 1;
    const mine = asked;
    const [ofDisk, ofPath] = [disk.id, path];
    listing = { state: "loading", entries: listing.state === "failed" ? [] : listing.entries };
    draw();
    try {
      const entries = await actions.list(ofDisk, ofPath);
      if (mine !== asked) return;
      listing = { state: "ready", entries };
    } catch (error) {
      if (mine !== asked) return;
      listing = { state: "failed", problem: sentenceOf(error) };
    }
    draw();
    // Whoever went elsewhere in the meantime stays there.
    const active = document.activeElement;
    if (focusOn !== null && (element.contains(active) || active === document.body)) focusEntry(focusOn);
  };
  const go = (to: string): void => {
    const from = path;
    path = to;
    shown = ROWS;
    fault.hidden = true;
    listing = { state: "loading", entries: [] };
    // Going up leads back to where one was.
    void load(parentOf(from) === to && from !== to ? from.slice(from.lastIndexOf("/") + 1) : "");
  };
  const putFiles = async (
    directory: string,
    coming: readonly PlacedFile[] | Promise<readonly PlacedFile[]>,
  ): Promise<void> => {
    const disk = row();
    if (!disk || !state || !isFree(disk, state)) return;
    fault.hidden = true;
    let count = 0;
    try {
      const files = await coming;
      if (files.length === 0) return;
      count = files.length;
      putting += count;
      draw();
      await actions.put(disk.id, directory, files);
    } catch (error) {
      sayFault(error);
    }
    putting -= count;
    await load();
  };
  const remove = async (entry: DiskEntry): Promise<void> => {
    const target = childOf(path, entry.name);
    const question = { title: words.removeTitle(entry.name), confirm: text.remove, danger: true };
    const hint = entry.kind === "directory" ? words.removeTree : words.removeHint;
    const disk = id;
    if (!(await openDialog(text, question, el("p", {}, hint))) || disk === null) return;
    fault.hidden = true;
    try {
      await actions.removeEntry(disk, target);
    } catch (error) {
      sayFault(error);
    }
    await load("");
  };
  picker.addEventListener("change", () => {
    void putFiles(path, place(picker.files ?? []));
    picker.value = "";
  });

  const names = (): HTMLElement[] => [...list.querySelectorAll<HTMLElement>(".entry-open")];
  const focusEntry = (name: string): void => {
    const wanted = names().find((button) => button.closest<HTMLElement>("li")?.dataset.path === childOf(path, name));
    (wanted ?? names()[0] ?? back).focus();
  };
  list.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const buttons = names();
    const current = (event.target as Element).closest("li")?.querySelector<HTMLElement>(".entry-open");
    const at = current ? buttons.indexOf(current) : -1;
    if (event.key === "ArrowDown") buttons[Math.min(at + 1, buttons.length - 1)]?.focus();
    else if (event.key === "ArrowUp") buttons[Math.max(at - 1, 0)]?.focus();
    else if (event.key === "Home") buttons[0]?.focus();
    else if (event.key === "End") buttons.at(-1)?.focus();
    else if (event.key === "Backspace") path === "/" ? leave() : go(parentOf(path));
    else if (event.key === "Delete")
      current?.closest("li")?.querySelector<HTMLElement>('[data-testid="entry-remove"]')?.click();
    else return;
    event.preventDefault();
  });
  acceptDrops(
    body,
    (directory) => {
      const disk = row();
      const next = disk && state && isFree(disk, state) ? directory : null;
      if (next === dropFolder) return;
      dropFolder = next;
      dropHint.hidden = next === null;
      dropHint.textContent = next === null ? "" : words.dropInto(next);
      body.classList.toggle("drop", next === path);
      draw();
    },
    (directory, transfer) => void putFiles(directory, readDropped(transfer)),
    (event) => {
      const over = (event.target as Element).closest<HTMLElement>('[data-kind="directory"]');
      return over?.dataset.path ?? path;
    },
  );

  const drawCrumbs = (disk: DiskRow): TemplateResult => {
    const steps = path.split("/").filter((step) => step !== "");
    const crumb = (label: string, to: string): TemplateResult =>
      html`<button type="button" class="crumb" aria-current=${to === path ? "page" : nothing} @click=${() => go(to)}>${label}</button>`;
    return html`${crumb(nameOf(text, disk), "/")}${steps.map(
      (step, index) =>
        html`<span class="crumb-line" aria-hidden="true">/</span>${crumb(step, `/${steps.slice(0, index + 1).join("/")}`)}`,
    )}`;
  };
  const draw = (): void => {
    const disk = row();
    element.hidden = !disk;
    if (!disk || !state) return;
    const canChange = isFree(disk, state) && putting === 0;
    const isOpen = isListable(disk);
    put.disabled = !canChange || listing.state === "failed";
    reload.disabled = !isOpen;
    render(drawCrumbs(disk), crumbs);
    const entries = isOpen && listing.state !== "failed" ? listing.entries : [];
    const rest = entries.length - shown;
    list.setAttribute("aria-busy", String(isOpen && listing.state === "loading"));
    render(
      html`<ul>
        ${repeat(
          entries.slice(0, shown),
          ({ name }) => name,
          (entry) => {
            const child = childOf(path, entry.name);
            return drawEntry(text, {
              entry,
              path: child,
              canChange,
              isDropTarget: child === dropFolder,
              open: () => go(child),
              extract: () => actions.extract(disk.id, child),
              remove: () => void remove(entry),
            });
          },
        )}
      </ul>
      ${
        rest > 0
          ? html`<button
              type="button"
              class="button show-more"
              @click=${() => {
                shown += ROWS;
                draw();
              }}
            >${icon("down")}${words.showMore(Math.min(rest, ROWS))}</button>`
          : nothing
      }`,
      list,
    );
    const said = tell(disk, entries.length);
    note.hidden = said === "";
    note.dataset.kind = isOpen && listing.state === "failed" ? "problem" : "plain";
    if (note.textContent !== said) note.textContent = said;
  };
  const tell = (disk: DiskRow, count: number): string => {
    if (disk.inUse) return words.listInUse;
    if (disk.work) return words.listBusy;
    if (listing.state === "failed") return listing.problem;
    if (putting > 0) return words.putting(putting);
    if (count > 0) return "";
    return listing.state === "loading" ? words.loading : words.emptyDirectory;
  };

  return {
    element,
    disk: () => id,
    show(next) {
      id = next;
      path = "/";
      shown = ROWS;
      fault.hidden = true;
      asked += 1;
      listing = { state: "loading", entries: [] };
      const disk = row();
      wasListable = disk !== undefined && isListable(disk);
      if (disk) void load("");
      draw();
    },
    focus: () => (names()[0] ?? back).focus(),
    update(next) {
      state = next;
      if (id === null) return;
      const disk = row();
      if (!disk) return leave();
      const isNow = isListable(disk);
      // The guest, or work, may have changed everything.
      if (isNow && !wasListable) void load();
      wasListable = isNow;
      draw();
    },
  };
}
