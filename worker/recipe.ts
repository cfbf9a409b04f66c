import type { DeletedFile, Overlay, ProjectFile } from "./api.ts";
import { decodeCpio } from "./format/cpio.ts";
import { FileTree, FormatError, quote, type TreeEntry } from "./format/file-tree.ts";
import { addSkeleton } from "./skeleton.ts";

/** A file of `rootfs/`. */
export interface DefaultFile {
  path: string;
  mode: number;
  content?: string;
  target?: string;
}

/** What kernel-build/ makes and every root file system contains. */
export interface SystemParts {
  /** The static busybox program. */
  busybox: Uint8Array;
  /** Absolute paths of its applets, a line each. */
  busyboxLinks: string;
  /** A cpio archive of /lib/modules. */
  modules: Uint8Array;
}

const OWNER = { uid: 0, gid: 0, mtime: 0 } as const;
const BUSYBOX = "/bin/busybox";
const encoder = new TextEncoder();

/**
 * Puts a root file system together: skeleton, kernel modules, busybox and its applets, the default files, and over
 * them what the project changes, adds and deletes. A file at the place of an applet takes the applet's place.
 * @throws FormatError for what cannot be
 */
export function composeTree(parts: SystemParts, defaults: readonly DefaultFile[], overlay: Overlay): FileTree {
  const tree = new FileTree();
  addSkeleton(tree);
  for (const entry of decodeCpio(parts.modules).sorted()) if (entry.path !== "/") tree.replace(entry);
  tree.add({ path: BUSYBOX, kind: "file", content: parts.busybox, mode: 0o755, ...OWNER });
  for (const path of parts.busyboxLinks.split("\n")) {
    if (path === "" || tree.has(path)) continue;
    tree.add({ path, kind: "symlink", target: BUSYBOX, mode: 0o777, ...OWNER });
  }
  for (const file of defaults) tree.replace(defaultEntry(file));
  applyOverlay(tree, overlay);
  return tree;
}

function defaultEntry({ path, mode, content, target }: DefaultFile): TreeEntry {
  if (target !== undefined) return { path, kind: "symlink", target, mode, ...OWNER };
  return { path, kind: "file", content: encoder.encode(content ?? ""), mode, ...OWNER };
}

/**
 * Deletions come first: a project may delete a directory and put something else in its place.
 * @throws FormatError for what cannot be
 */
export function applyOverlay(tree: FileTree, overlay: Overlay): void {
  const seen = new Set<string>();
  const isDeleted = (file: ProjectFile | DeletedFile): file is DeletedFile => file.kind === "deleted";
  for (const file of overlay) {
    if (seen.has(file.path))
      throw new FormatError(`Cannot build the project: ${quote(file.path)} stands in it twice`, file.path);
    seen.add(file.path);
    if (isDeleted(file)) tree.remove(file.path);
  }
  for (const file of overlay) if (!isDeleted(file)) tree.replace({ ...OWNER, ...file });
}
