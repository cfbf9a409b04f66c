import { el } from "../dom.ts";
import { type PlacedFile, place } from "../placed-files.ts";
import { parentOf } from "../project.ts";
import type { Actions, AppState, FileRow } from "../state.ts";
import type { Text } from "../text.ts";
import { askText } from "./dialog.ts";
import type { MenuItem } from "./menu.ts";
import { askPermissions } from "./permissions.ts";

/** Asks for the path of something new in a folder. */
export async function askPath(
  text: Text,
  title: string,
  folder: string,
  files: readonly FileRow[],
): Promise<string | null> {
  const value = `${folder}/`;
  const check = (path: string): string => checkPath(text, path, files);
  return askText(text, {
    title,
    label: text.pathPrompt,
    value,
    confirm: text.create,
    check,
    select: [value.length, value.length],
  });
}

/** Asks for a file's new path, with its name selected up to the dot. */
export async function renameRow(text: Text, actions: Actions, row: FileRow, files: readonly FileRow[]): Promise<void> {
  const start = parentOf(row.path).length + 1;
  const dot = row.path.indexOf(".", start + 1);
  const to = await askText(text, {
    title: text.rename,
    label: text.pathPrompt,
    value: row.path,
    confirm: text.renameProject,
    check: (path) => (path === row.path ? "" : checkPath(text, path, files)),
    select: [start, dot < 0 ? row.path.length : dot],
  });
  if (to !== null && to !== row.path) actions.renameFile(row.path, to);
}

/** Asks for a file's permissions. */
export async function changePermissions(
  text: Text,
  actions: Actions,
  { path, mode }: Pick<FileRow, "path" | "mode">,
): Promise<void> {
  const chosen = await askPermissions(text, path, mode);
  if (chosen !== null && chosen !== (mode & 0o7777)) actions.chmod(path, chosen);
}

/** Has the browser ask for files, or for a folder with all in it; `use` is not called when nothing is chosen. */
function choose(isFolder: boolean, use: (files: readonly PlacedFile[]) => void): void {
  const picker = el("input", { type: "file", multiple: true, webkitdirectory: isFolder });
  picker.addEventListener("change", () => use(place(picker.files ?? [])));
  picker.click();
}

/** What can be done with a row of the tree. */
export function rowItems(text: Text, actions: Actions, row: FileRow, { files, writable }: AppState): MenuItem[] {
  const isGone = row.origin === "deleted";
  const isFolder = row.kind === "directory";
  const disabled = !writable;
  const items: MenuItem[] = [{ heading: row.path }];
  const addTo = async (title: string, add: (path: string) => void): Promise<void> => {
    const path = await askPath(text, title, row.path, files);
    if (path !== null) add(path);
  };
  const upload = (files: readonly PlacedFile[]): void => actions.upload(row.path, files);
  if (isFolder && !isGone)
    items.push(
      { label: `${text.newFile} …`, icon: "new-file", disabled, run: () => void addTo(text.newFile, actions.addFile) },
      {
        label: `${text.newFolder} …`,
        icon: "new-folder",
        disabled,
        run: () => void addTo(text.newFolder, actions.addDirectory),
      },
      { label: `${text.upload} …`, icon: "upload", disabled, run: () => choose(false, upload) },
      { label: `${text.uploadFolder} …`, icon: "upload", disabled, run: () => choose(true, upload) },
      "separator",
    );
  if (!isGone) {
    items.push({
      label: `${text.rename} …`,
      icon: "pencil",
      disabled,
      run: () => void renameRow(text, actions, row, files),
    });
    // The kernel ignores a symlink's own permissions.
    if (row.kind !== "symlink")
      items.push({
        label: `${text.permissions} …`,
        icon: "lock",
        disabled,
        run: () => void changePermissions(text, actions, row),
      });
    if (row.kind === "file")
      items.push({ label: text.download, icon: "download", run: () => actions.downloadFile(row.path) });
  }
  if (row.origin === "changed" || isGone)
    items.push({ label: text.restore, icon: "undo", disabled, run: () => actions.restoreDefault(row.path) });
  if (!isGone)
    items.push("separator", {
      label: text.remove,
      icon: "clear",
      danger: true,
      disabled,
      run: () => actions.removeFile(row.path),
    });
  return items;
}

function checkPath(text: Text, path: string, files: readonly FileRow[]): string {
  if (!path.startsWith("/")) return text.pathRelative;
  const plain = path.replace(/\/+$/, "");
  if (path.endsWith("/") || plain === "") return text.nameEmpty;
  return files.some((file) => file.path === plain && file.origin !== "deleted") ? text.pathTaken(plain) : "";
}
