import { html, nothing, render, type TemplateResult } from "lit-html";
import { el } from "../dom.ts";
import { place, readDropped } from "../placed-files.ts";
import { ancestorsOf, parentOf } from "../project.ts";
import type { Actions, AppState, FileRow } from "../state.ts";
import { formatMode, type Text } from "../text.ts";
import { iconButton } from "./button.ts";
import { type IconName, icon } from "./icon.ts";
import { openMenu } from "./menu.ts";
import { acceptDrops } from "./tree-drop.ts";
import { askPath, renameRow, rowItems } from "./tree-menu.ts";
import { listRows, type TreeRow } from "./tree-rows.ts";
import type { View } from "./view.ts";

/** Up to so many rows are all in the page; of more, only those in sight. */
const WINDOW_FROM = 300;
/** Rows beyond the edges of what is in sight. */
const OVERSCAN = 12;
/** Above the first row, as in style/tree.css. */
const PADDING = 6;

/** The project's files as a tree: the default ones, the user's own, and those that are deleted. */
export function createTree(text: Text, actions: Actions): View {
  let state: AppState | null = null;
  let rows: TreeRow[] = [];
  let filter = "";
  let cursor = "";
  let dropFolder: string | null = null;
  const folded = new Set<string>(["/usr"]);

  const canvas = el("div", { className: "tree-canvas", attributes: { role: "presentation" } });
  const tree = el(
    "div",
    {
      className: "tree",
      tabIndex: 0,
      dataset: { testid: "file-tree" },
      attributes: { role: "tree", "aria-label": text.files },
    },
    canvas,
  );
  const search = el("input", {
    className: "field filter",
    type: "search",
    placeholder: text.filter,
    dataset: { testid: "filter" },
    attributes: { "aria-label": text.filter },
  });
  const picker = el("input", { type: "file", multiple: true, hidden: true });
  const none = el("p", { className: "empty", hidden: true });
  const dropHint = el("p", { className: "drop-hint", hidden: true });

  /** The folder that new files go to: the chosen one, or the one around the chosen file; "" is the root. */
  const folder = (): string => {
    const row = rows.find(({ file }) => file.path === cursor)?.file;
    return row?.kind === "directory" && row.origin !== "deleted" ? row.path : parentOf(cursor);
  };
  const add = async (title: string, use: (path: string) => void): Promise<void> => {
    const path = await askPath(text, title, folder(), state?.files ?? []);
    if (path === null) return;
    use(path);
    reveal(path);
  };
  const newFile = iconButton("new-file", text.newFile, () => void add(text.newFile, actions.addFile), "new-file");
  const newFolder = iconButton(
    "new-folder",
    text.newFolder,
    () => void add(text.newFolder, actions.addDirectory),
    "new-folder",
  );
  const upload = iconButton("upload", text.upload, () => picker.click(), "upload");
  picker.addEventListener("change", () => {
    actions.upload(folder() || "/", place(picker.files ?? []));
    picker.value = "";
  });
  search.addEventListener("input", () => {
    filter = search.value.trim();
    refresh();
  });
  search.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown") return;
    event.preventDefault();
    tree.focus();
  });
  acceptDrops(
    tree,
    (directory) => {
      const next = state?.writable ? directory : null;
      if (next === dropFolder) return;
      dropFolder = next;
      dropHint.hidden = next === null;
      dropHint.textContent = next === null ? "" : text.dropHere(next);
      tree.classList.toggle("drop", next === "/");
      draw();
    },
    (directory, transfer) => state?.writable && actions.upload(directory, readDropped(transfer)),
  );

  const reveal = (path: string): void => {
    for (const ancestor of ancestorsOf(path)) folded.delete(ancestor);
    cursor = path;
    refresh();
    // Not at once: where it stands the browser would have to lay the page out for, once more than it does anyway.
    requestAnimationFrame(() => scrollTo(path));
  };
  const moveTo = (index: number): void => {
    cursor = rows[Math.max(0, Math.min(rows.length - 1, index))]?.file.path ?? cursor;
    scrollTo(cursor);
    draw();
  };
  const toggle = (path: string): void => {
    if (!folded.delete(path)) folded.add(path);
    refresh();
  };
  const activate = ({ file }: TreeRow): void => {
    cursor = file.path;
    if (file.kind === "directory") toggle(file.path);
    else if (file.origin !== "deleted") actions.openFile(file.path);
    draw();
  };
  const showMenu = (file: FileRow, anchor: HTMLElement | { x: number; y: number }): void => {
    cursor = file.path;
    draw();
    if (state) openMenu(anchor, file.path, rowItems(text, actions, file, state));
  };

  tree.addEventListener("keydown", (event) => {
    const at = rows.findIndex(({ file }) => file.path === cursor);
    const row = rows[at];
    const isWritable = state?.writable ?? false;
    if (event.key === "ArrowDown") moveTo(at + 1);
    else if (event.key === "ArrowUp") moveTo(at - 1);
    else if (event.key === "Home") moveTo(0);
    else if (event.key === "End") moveTo(rows.length - 1);
    else if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    else if (event.key === "Enter" || event.key === " ") activate(row);
    else if (event.key === "ArrowRight") {
      if (row.isOpen) moveTo(at + 1);
      else if (row.isOpen === false) toggle(row.file.path);
    } else if (event.key === "ArrowLeft") {
      if (row.isOpen && filter === "") toggle(row.file.path);
      else
        moveTo(
          Math.max(
            0,
            rows.findIndex(({ file }) => file.path === parentOf(row.file.path)),
          ),
        );
    } else if (event.key === "F2")
      isWritable && row.file.origin !== "deleted" && void renameRow(text, actions, row.file, state?.files ?? []);
    else if (event.key === "Delete") isWritable && row.file.origin !== "deleted" && actions.removeFile(row.file.path);
    else if (event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey))
      showMenu(row.file, activeElement() ?? tree);
    else if (event.key.length === 1) jumpTo(event.key, at);
    else return;
    event.preventDefault();
  });
  const jumpTo = (letter: string, from: number): void => {
    const found = [...rows.slice(from + 1), ...rows.slice(0, from + 1)].find(({ name }) =>
      name.toLowerCase().startsWith(letter.toLowerCase()),
    );
    if (found) moveTo(rows.indexOf(found));
  };
  const activeElement = (): HTMLElement | null => canvas.querySelector(".row.cursor");

  const rowHeight = (): number => (matchMedia("(max-width: 760px)").matches ? 44 : 26);
  const scrollTo = (path: string): void => {
    const height = rowHeight();
    const at = rows.findIndex(({ file }) => file.path === path);
    if (at < 0) return;
    const top = at * height + PADDING;
    if (top < tree.scrollTop) tree.scrollTop = top - PADDING;
    else if (top + height > tree.scrollTop + tree.clientHeight) tree.scrollTop = top + height - tree.clientHeight;
  };

  const drawRow = (row: TreeRow, index: number): TemplateResult => {
    const { file, name, level, isOpen } = row;
    const isFolder = file.kind === "directory";
    const mark =
      file.origin === "default"
        ? row.hasChanges && !isOpen
          ? html`<span class="mark dot" title=${text.hasChanges}></span>`
          : nothing
        : html`<span class="mark" title=${text.origins[file.origin]} aria-label=${text.origins[file.origin]}>${text.marks[file.origin]}</span>`;
    const isDropTarget =
      dropFolder !== null && dropFolder !== "/" && (file.path === dropFolder || file.path.startsWith(`${dropFolder}/`));
    return html`<div
      id=${`tree-row-${index}`}
      class=${`row${file.path === cursor ? " cursor" : ""}${isDropTarget ? " drop" : ""}`}
      role="treeitem"
      aria-level=${level}
      aria-selected=${file.path === state?.openFile?.path}
      aria-expanded=${isOpen ?? nothing}
      data-path=${file.path}
      data-kind=${file.kind}
      data-origin=${file.origin}
      title=${`${file.path}\n${text.kinds[file.kind]} · ${formatMode(file.mode)}${file.target ? ` · → ${file.target}` : ""}`}
      @click=${() => activate(row)}
      @contextmenu=${(event: MouseEvent) => {
        event.preventDefault();
        showMenu(file, { x: event.clientX, y: event.clientY });
      }}
    >
      ${Array.from({ length: level - 1 }, () => html`<i class="indent"></i>`)}<span class="twist">${isFolder ? icon(isOpen ? "down" : "right") : nothing}</span>
      ${icon(iconOf(row))}<span class="name">${name}${file.target ? html`<span class="target"> → ${file.target}</span>` : nothing}</span>
      ${mark}<button
        type="button"
        class="icon-button row-more"
        tabindex="-1"
        aria-label=${`${text.more}: ${name}`}
        @click=${(event: Event) => {
          event.stopPropagation();
          showMenu(file, event.currentTarget as HTMLElement);
        }}
      >${icon("more")}</button>
    </div>`;
  };

  const draw = (): void => {
    const height = rowHeight();
    let first = 0;
    let last = rows.length;
    if (rows.length > WINDOW_FROM) {
      first = Math.max(0, Math.floor(tree.scrollTop / height) - OVERSCAN);
      last = Math.min(rows.length, Math.ceil((tree.scrollTop + tree.clientHeight) / height) + OVERSCAN);
    }
    canvas.style.paddingTop = `${first * height}px`;
    canvas.style.paddingBottom = `${(rows.length - last) * height}px`;
    render(
      rows.slice(first, last).map((row, index) => drawRow(row, first + index)),
      canvas,
    );
    const at = rows.findIndex(({ file }) => file.path === cursor);
    if (at >= first && at < last) tree.setAttribute("aria-activedescendant", `tree-row-${at}`);
    else tree.removeAttribute("aria-activedescendant");
  };
  const refresh = (): void => {
    rows = listRows(state?.files ?? [], folded, filter);
    none.hidden = filter === "" || rows.length > 0;
    none.textContent = text.filterNone(filter);
    draw();
  };
  tree.addEventListener("scroll", () => rows.length > WINDOW_FROM && draw(), { passive: true });

  const element = el(
    "section",
    { className: "panel tree-panel", id: "panel-tree", attributes: { "aria-label": text.files } },
    el("div", { className: "head" }, search, newFile, newFolder, upload, picker),
    el("div", { className: "tree-body" }, tree, none, dropHint),
  );
  return {
    element,
    update(next) {
      const filesChanged = state?.files !== next.files;
      const opened = next.openFile && next.openFile.path !== state?.openFile?.path ? next.openFile.path : null;
      const isNew = filesChanged || opened !== null || state?.openFile?.path !== next.openFile?.path;
      state = next;
      for (const button of [newFile, newFolder, upload]) button.disabled = !next.writable;
      if (opened !== null) reveal(opened);
      else if (isNew) refresh();
    },
  };
}

function iconOf({ file, isOpen }: TreeRow): IconName {
  if (file.kind === "directory") return isOpen ? "folder-open" : "folder";
  if (file.kind === "symlink") return "link";
  if (file.kind === "device") return "device";
  return (file.mode & 0o111) === 0 ? "file" : "script";
}
