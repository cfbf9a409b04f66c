/**
 * What a warm boot has to hand over: the difference between a project's root file system and the default one, which is
 * unpacked in the machine already. The default files themselves are not needed for it, only a list of them.
 */
import type { DeltaRequest, Outline, Overlay } from "./api.ts";
import { FileTree, type TreeEntry } from "./format/file-tree.ts";
import { encodeHandOver, type HandOverStep } from "./format/hand-over.ts";
import { checkMemory } from "./initramfs.ts";
import { applyOverlay } from "./recipe.ts";

/** The files that a state holds, and /init, whose place the waiting program has taken. */
export type Listing = readonly ListedEntry[];

export type ListedEntry = [
  path: string,
  kind: "file" | "directory" | "symlink" | "character" | "block",
  mode: number,
  uid: number,
  gid: number,
  mtime: number,
  /** A file's size in bytes (of /init the text), a symlink's target, a device's major and minor number. */
  more?: number | string | [number, number],
];

/** The program that waits has taken its place and has removed itself. */
const WAITING = "/init";
/** The kernel's own of its first root, a tmpfs; an archive says nothing about it. */
const ROOT_MODE = 0o1777;
/** Where it has made and removed files of its own. */
const TOUCHED = ["/", "/dev"];

export function listTree(tree: FileTree): Listing {
  return tree.sorted().map((entry): ListedEntry => {
    const { path, mode, uid, gid, mtime } = entry;
    switch (entry.kind) {
      case "file":
        return [path, "file", mode, uid, gid, mtime, path === WAITING ? decode(entry.content) : entry.content.length];
      case "directory":
        return [path, "directory", mode, uid, gid, mtime];
      case "symlink":
        return [path, "symlink", mode, uid, gid, mtime, entry.target];
      case "device":
        return [path, entry.device, mode, uid, gid, mtime, [entry.major, entry.minor]];
      default:
        throw new Error(`Cannot list ${path}: a state holds no ${entry.kind}`);
    }
  });
}

/**
 * @returns batches of worker/format/hand-over.ts, for a machine that has the default files and `present`; null when it
 * wants a default file back that it has not any more, whose content is not known here
 * @throws FormatError and MemoryError for what the builder of an initramfs refuses, in the same words
 */
export function composeDelta(
  listing: Listing,
  { overlay, present, memoryMb }: DeltaRequest,
): Uint8Array<ArrayBuffer> | null {
  const contents = new Contents();
  const base = readListing(listing);
  const had = contents.lay(base, present ?? []);
  const tree = contents.lay(base, overlay);
  checkMemory(tree, memoryMb);
  if (!present) had.remove(WAITING);
  const numberOf = (content: Uint8Array): number | undefined => contents.numberOf(content);
  const steps = compare(had, tree, numberOf);
  const isLost = ({ path, ...entry }: TreeEntry): boolean =>
    entry.kind === "file" && path !== WAITING && numberOf(entry.content) === undefined;
  if (steps.some((item) => item.step === "make" && isLost(item.entry))) return null;
  return encodeHandOver(steps, numberOf);
}

/** Stands in for the contents that the page keeps: for each an array of its own, as long as it is. */
class Contents {
  readonly #arrays = new Map<number, Uint8Array>();
  readonly #numbers = new Map<Uint8Array, number>();
  #zeros = new Uint8Array();

  numberOf(content: Uint8Array): number | undefined {
    return this.#numbers.get(content);
  }

  /** The default files with an overlay over them. */
  lay(base: readonly TreeEntry[], outline: Outline): FileTree {
    const tree = new FileTree();
    for (const entry of base) tree.replace(entry);
    applyOverlay(
      tree,
      outline.map((file): Overlay[number] => {
        if (file.kind !== "file") return file;
        const { size, content, ...attributes } = file;
        return { ...attributes, content: this.#array(content, size) };
      }),
    );
    return tree;
  }

  #array(number: number, size: number): Uint8Array {
    const known = this.#arrays.get(number);
    if (known) return known;
    // Nobody reads them: they may all be the same memory.
    if (this.#zeros.length < size) this.#zeros = new Uint8Array(size);
    const array = this.#zeros.subarray(0, size);
    this.#arrays.set(number, array);
    this.#numbers.set(array, number);
    return array;
  }
}

function readListing(listing: Listing): TreeEntry[] {
  return listing.map(readEntry);
}

/** A file gets as many zeros as it is long: their number counts, and that they are the very same array. */
function readEntry([path, kind, mode, uid, gid, mtime, more]: ListedEntry): TreeEntry {
  const attributes = { path, mode, uid, gid, mtime };
  if (kind === "file") {
    const content = typeof more === "string" ? new TextEncoder().encode(more) : new Uint8Array(more as number);
    return { ...attributes, kind, content };
  }
  if (kind === "directory") return { ...attributes, kind };
  if (kind === "symlink") return { ...attributes, kind, target: more as string };
  const [major, minor] = more as [number, number];
  return { ...attributes, kind: "device", device: kind, major, minor };
}

function compare(had: FileTree, tree: FileTree, numberOf: (content: Uint8Array) => number | undefined): HandOverStep[] {
  const removals: HandOverStep[] = [];
  const makings: HandOverStep[] = [];
  const touched = new Set(TOUCHED);
  for (const present of had.sorted()) {
    const wanted = tree.get(present.path);
    if (wanted && stays(present, wanted)) continue;
    // What was handed over before is a version of a file that was never booted: nothing of it stays in the memory.
    const isHanded = present.kind === "file" && numberOf(present.content) !== undefined;
    removals.push(isHanded ? { step: "wipe", entry: present } : { step: "remove", path: present.path });
    touched.add(parentOf(present.path));
  }
  for (const wanted of tree.sorted()) {
    const present = had.get(wanted.path);
    if (present && stays(present, wanted)) {
      if (!hasSameAttributes(present, wanted)) makings.push({ step: "set", entry: wanted });
      continue;
    }
    makings.push({ step: "make", entry: wanted, parent: tree.get(parentOf(wanted.path)) });
    touched.add(parentOf(wanted.path));
  }
  // What happens in a directory changes its time, so that is set when nothing more happens.
  const last = [...touched].flatMap((path): HandOverStep[] => {
    const entry = tree.get(path);
    if (entry?.kind !== "directory") return [];
    return [{ step: "set", entry: path === "/" ? { ...entry, mode: ROOT_MODE } : entry }];
  });
  // Children before their directories.
  return [...removals.reverse(), ...makings, ...last];
}

/** Whether one can become the other without being made anew. */
function stays(present: TreeEntry, wanted: TreeEntry): boolean {
  switch (present.kind) {
    case "directory":
      return wanted.kind === "directory";
    case "file":
      return wanted.kind === "file" && wanted.content === present.content;
    case "symlink":
      return wanted.kind === "symlink" && wanted.target === present.target;
    case "device":
      return (
        wanted.kind === "device" &&
        wanted.device === present.device &&
        wanted.major === present.major &&
        wanted.minor === present.minor
      );
    default:
      return false;
  }
}

function hasSameAttributes(a: TreeEntry, b: TreeEntry): boolean {
  // Linux shows every symlink as 0777.
  const sameMode = a.mode === b.mode || a.kind === "symlink";
  return sameMode && a.uid === b.uid && a.gid === b.gid && a.mtime === b.mtime;
}

function decode(content: Uint8Array): string {
  return new TextDecoder().decode(content);
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}
