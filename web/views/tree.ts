import { html, nothing, render } from "lit-html";
import { el } from "../dom.ts";
import type { Actions, AppState, FileRow } from "../state.ts";
import { formatMode, type Text } from "../text.ts";
import { iconButton } from "./bar.ts";
import { askMode, askText } from "./dialog.ts";
import { icon } from "./icon.ts";
import { type MenuItem, openMenu } from "./menu.ts";
import type { View } from "./view.ts";

/** The project's files as a tree: the default ones, the user's own, and those that are deleted. */
export function createTree(text: Text, actions: Actions): View {
  let state: AppState | null = null;
  let filter = "";
  let cursor = "/init";
  const folded = new Set<string>(["/usr"]);
  const list = el("div", {
    className: "tree",
    tabIndex: 0,
    dataset: { testid: "file-tree" },
    attributes: { role: "tree", "aria-label": text.files },
  });
  const search = el("input", {
    className: "field",
    type: "search",
    placeholder: text.filter,
    attributes: { "aria-label": text.filter },
  });
  search.style.flex = "1";
  search.style.width = "60px";
  const picker = el("input", { type: "file", multiple: true, hidden: true });
  const newFile = iconButton("plus", text.newFile, "new-file");
  const newFolder = iconButton("new-folder", text.newFolder, "new-folder");
  const upload = iconButton("upload", text.upload, "upload");
  const element = el(
    "section",
    { className: "panel tree-panel", attributes: { "aria-label": text.files } },
    el("div", { className: "head" }, search, newFile, newFolder, upload, picker),
    list,
  );

  /** The folder that new files go to: the chosen one, or the one around the chosen file. */
  const folder = (): string => {
    const row = state?.files.find(({ path }) => path === cursor);
    const path = row?.kind === "directory" ? cursor : cursor.slice(0, cursor.lastIndexOf("/"));
    return path === "" ? "/" : `${path}/`;
  };
  newFile.addEventListener(
    "click",
    () =>
      void askText(text, text.newFile, folder(), text.pathPrompt).then(
        (path) => path !== null && actions.addFile(path),
      ),
  );
  newFolder.addEventListener(
    "click",
    () =>
      void askText(text, text.newFolder, folder(), text.pathPrompt).then(
        (path) => path !== null && actions.addDirectory(path),
      ),
  );
  upload.addEventListener("click", () => picker.click());
  picker.addEventListener("change", () => {
    actions.upload(folder(), [...(picker.files ?? [])]);
    picker.value = "";
  });
  search.addEventListener("input", () => {
    filter = search.value.trim().toLowerCase();
    draw();
  });

  const visible = (): FileRow[] => {
    if (!state) return [];
    if (filter)
      return state.files.filter(({ path, kind }) => kind !== "directory" && path.toLowerCase().includes(filter));
    return state.files.filter(({ path }) => {
      for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1))
        if (folded.has(path.slice(0, end))) return false;
      return true;
    });
  };

  const activate = (row: FileRow): void => {
    cursor = row.path;
    if (row.kind === "directory") {
      if (!folded.delete(row.path)) folded.add(row.path);
    } else if (row.origin !== "deleted") actions.openFile(row.path);
    draw();
  };

  const rename = (row: FileRow): void =>
    void askText(text, text.rename, row.path, text.pathPrompt).then(
      (to) => to !== null && to !== row.path && actions.renameFile(row.path, to),
    );

  const openRowMenu = (row: FileRow, anchor: HTMLElement | { x: number; y: number }): void => {
    const isGone = row.origin === "deleted";
    const items: MenuItem[] = [];
    if (!isGone) {
      items.push({ label: `${text.rename} …`, run: () => rename(row) });
      if (row.kind !== "symlink")
        items.push({
          label: `${text.permissions} …`,
          run: () =>
            void askMode(text, row.path, row.mode).then((mode) => mode !== null && actions.chmod(row.path, mode)),
        });
      if (row.kind === "file") items.push({ label: text.download, run: () => actions.downloadFile(row.path) });
    }
    if (row.origin === "changed" || isGone)
      items.push({ label: text.restore, run: () => actions.restoreDefault(row.path) });
    if (!isGone) items.push("separator", { label: text.remove, danger: true, run: () => actions.removeFile(row.path) });
    openMenu(anchor, items);
  };

  list.addEventListener("keydown", (event) => {
    const rows = visible();
    const at = rows.findIndex(({ path }) => path === cursor);
    const row = rows[at];
    const move = (to: number): void => {
      cursor = rows[Math.max(0, Math.min(rows.length - 1, to))]?.path ?? cursor;
      draw();
      list.querySelector(".cursor")?.scrollIntoView({ block: "nearest" });
    };
    const isOpen = row?.kind === "directory" && !folded.has(row.path);
    if (event.key === "ArrowDown") move(at + 1);
    else if (event.key === "ArrowUp") move(at - 1);
    else if (event.key === "Home") move(0);
    else if (event.key === "End") move(rows.length - 1);
    else if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    else if (event.key === "Enter" || event.key === " ") activate(row);
    else if (event.key === "ArrowRight" && row.kind === "directory") isOpen ? move(at + 1) : activate(row);
    else if (event.key === "ArrowLeft")
      isOpen
        ? activate(row)
        : move(rows.findIndex(({ path }) => path === row.path.slice(0, row.path.lastIndexOf("/"))));
    else if (event.key === "F2") rename(row);
    else if (event.key === "Delete") actions.removeFile(row.path);
    else if (event.key === "ContextMenu") {
      const anchor = list.querySelector<HTMLElement>(".cursor");
      if (anchor) openRowMenu(row, anchor);
    } else return;
    event.preventDefault();
  });

  const dropTarget = (event: DragEvent): { folder: string; element: HTMLElement } => {
    const row = (event.target as HTMLElement).closest<HTMLElement>(".row");
    const path = row?.dataset.path;
    if (!row || !path) return { folder: "/", element: list };
    const isFolder = row.dataset.kind === "directory";
    return { folder: `${isFolder ? path : path.slice(0, path.lastIndexOf("/"))}/`, element: row };
  };
  const unmark = (): void => {
    for (const marked of element.querySelectorAll(".drop")) marked.classList.remove("drop");
  };
  list.addEventListener("dragover", (event) => {
    event.preventDefault();
    unmark();
    dropTarget(event).element.classList.add("drop");
  });
  list.addEventListener("dragleave", unmark);
  list.addEventListener("drop", (event) => {
    event.preventDefault();
    unmark();
    actions.upload(dropTarget(event).folder, [...(event.dataTransfer?.files ?? [])]);
  });

  const draw = (): void => {
    if (!state) return;
    const chosen = state.openFile?.path;
    const rows = visible().map((row) => {
      const depth = filter ? 0 : row.path.split("/").length - 2;
      const isFolder = row.kind === "directory";
      const isOpen = isFolder && !folded.has(row.path);
      const symbol = icon(
        isFolder
          ? isOpen
            ? "folder-open"
            : "folder"
          : row.kind === "symlink"
            ? "link"
            : row.kind === "device"
              ? "device"
              : "file",
      );
      const more = (event: Event): void => {
        event.stopPropagation();
        cursor = row.path;
        draw();
        openRowMenu(row, event.currentTarget as HTMLElement);
      };
      const onContext = (event: MouseEvent): void => {
        event.preventDefault();
        openRowMenu(row, { x: event.clientX, y: event.clientY });
      };
      const mark = row.origin === "default" ? nothing : html`<span class="mark">${text.origins[row.origin]}</span>`;
      return html`<div
        class=${`row${row.path === cursor ? " cursor" : ""}`}
        role="treeitem"
        aria-level=${depth + 1}
        aria-selected=${row.path === chosen}
        aria-expanded=${isFolder ? String(isOpen) : nothing}
        data-path=${row.path}
        data-kind=${row.kind}
        data-origin=${row.origin}
        title=${`${row.path}  ${formatMode(row.mode)}${row.target ? `  → ${row.target}` : ""}`}
        .style=${`--depth: ${depth}`}
        @click=${() => activate(row)}
        @contextmenu=${onContext}
      >
        ${symbol}<span class="name">${filter ? row.path : row.path.slice(row.path.lastIndexOf("/") + 1)}</span>${mark}<button
          type="button" class="icon-button" tabindex="-1" aria-label=${text.more} title=${text.more} @click=${more}
        >${icon("more")}</button>
      </div>`;
    });
    render(rows, list);
  };

  return {
    element,
    update(next) {
      const changed = state?.files !== next.files || state?.openFile?.path !== next.openFile?.path;
      if (next.openFile && next.openFile.path !== state?.openFile?.path) cursor = next.openFile.path;
      state = next;
      for (const button of [newFile, newFolder, upload]) button.disabled = !next.writable;
      if (changed) draw();
    },
  };
}
