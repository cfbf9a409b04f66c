import { parentOf } from "../project.ts";

/**
 * Lets files be dropped onto an element.
 * @param mark shows where a drop would go, null for nowhere
 * @param drop is given what was dropped, which is there during the call only
 * @param under where a drop at this place goes to; in the tree a folder, a file's folder, or beside all rows the root
 */
export function acceptDrops(
  element: HTMLElement,
  mark: (directory: string | null) => void,
  drop: (directory: string, transfer: DataTransfer) => void,
  under: (event: DragEvent) => string = folderUnder,
): void {
  const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
  // Each row that is left tells so, too: only where the pointer went counts. A browser that does not say is put right by
  // the next dragover.
  element.addEventListener("dragleave", (event) => {
    if (!element.contains(event.relatedTarget as Node | null)) mark(null);
  });
  element.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = "copy";
    mark(under(event));
  });
  element.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(null);
    if (event.dataTransfer) drop(under(event), event.dataTransfer);
  });
}

/** @returns the folder's path, "/" for the root */
function folderUnder(event: DragEvent): string {
  const row = (event.target as Element).closest<HTMLElement>("[data-path]");
  const path = row?.dataset.path;
  if (!row || path === undefined) return "/";
  return (row.dataset.kind === "directory" ? path : parentOf(path)) || "/";
}
