import { parentOf } from "./tree-rows.ts";

/**
 * Lets files be dropped onto the tree: onto a folder, onto a file's folder, or beside all rows for the root.
 * @param mark shows where a drop would go, null for nowhere
 */
export function acceptDrops(
  element: HTMLElement,
  mark: (directory: string | null) => void,
  drop: (directory: string, files: readonly File[]) => void,
): void {
  let depth = 0;
  const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
  const leave = (): void => {
    depth = 0;
    mark(null);
  };
  // Each row entered and left tells so; only the last leaving is one.
  element.addEventListener("dragenter", (event) => {
    if (hasFiles(event)) depth += 1;
  });
  element.addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) leave();
  });
  element.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = "copy";
    mark(folderUnder(event));
  });
  element.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    leave();
    drop(folderUnder(event), [...(event.dataTransfer?.files ?? [])]);
  });
}

/** @returns the folder's path, "/" for the root */
function folderUnder(event: DragEvent): string {
  const row = (event.target as Element).closest<HTMLElement>("[data-path]");
  const path = row?.dataset.path;
  if (!row || path === undefined) return "/";
  return (row.dataset.kind === "directory" ? path : parentOf(path)) || "/";
}
