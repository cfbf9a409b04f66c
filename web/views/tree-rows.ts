import { ancestorsOf, parentOf } from "../project.ts";
import type { FileRow } from "../state.ts";

/** A row of the tree as it is shown: a file, where it stands among its siblings, and what its folder hides. */
export interface TreeRow {
  file: FileRow;
  name: string;
  /** From 1. */
  level: number;
  /** Null for anything but directories. */
  isOpen: boolean | null;
  /** A directory in which something is not as the default. */
  hasChanges: boolean;
}

/**
 * The rows to show, in the order of a file manager: in each folder first its folders, then its files.
 * With a filter only the files whose path contains it are there, with the folders that lead to them.
 */
export function listRows(files: readonly FileRow[], folded: ReadonlySet<string>, filter: string): TreeRow[] {
  const wanted = filter.toLowerCase();
  const matches = (file: FileRow): boolean => file.path.toLowerCase().includes(wanted);
  const kept = new Set<string>();
  const changed = new Set<string>();
  for (const file of files) {
    if (wanted !== "" && file.kind !== "directory" && matches(file))
      for (const path of [file.path, ...ancestorsOf(file.path)]) kept.add(path);
    if (file.origin !== "default") for (const path of ancestorsOf(file.path)) changed.add(path);
  }
  const children = new Map<string, FileRow[]>();
  for (const file of files) {
    if (wanted !== "" && !kept.has(file.path)) continue;
    const parent = parentOf(file.path);
    const siblings = children.get(parent);
    if (siblings) siblings.push(file);
    else children.set(parent, [file]);
  }
  const rows: TreeRow[] = [];
  const visit = (parent: string, level: number): void => {
    const siblings = (children.get(parent) ?? []).sort(compareRows);
    for (const file of siblings) {
      const isFolder = file.kind === "directory";
      const isOpen = isFolder ? wanted !== "" || !folded.has(file.path) : null;
      rows.push({
        file,
        name: file.path.slice(parent.length + 1),
        level,
        isOpen,
        hasChanges: isFolder && changed.has(file.path),
      });
      if (isOpen) visit(file.path, level + 1);
    }
  };
  visit("", 1);
  return rows;
}

function compareRows(a: FileRow, b: FileRow): number {
  const folders = Number(b.kind === "directory") - Number(a.kind === "directory");
  return folders || (a.path < b.path ? -1 : 1);
}
