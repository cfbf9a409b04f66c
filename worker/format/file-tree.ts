/**
 * A root file system in memory: what every image is made from and what every reader gives back.
 *
 * Paths are absolute ("/etc/passwd"), without "." or "..", and end in "/" only for the root itself. Iteration is sorted by
 * path, byte for byte, parents before their children, so that the same tree gives the same image.
 */

/** Something that a format cannot hold. `message` is for the user; `path` names the entry at fault. */
export class FormatError extends Error {
  override readonly name = "FormatError";
  constructor(
    message: string,
    readonly path?: string,
  ) {
    super(message);
  }
}

export interface EntryAttributes {
  /** Permission bits with setuid, setgid and sticky, 0 to 0o7777. */
  mode: number;
  uid: number;
  gid: number;
  /** Seconds since 1970-01-01 UTC. */
  mtime: number;
}

export type TreeEntry = EntryAttributes & { path: string } & EntryKind;

export type EntryKind =
  | { kind: "file"; content: Uint8Array }
  | { kind: "directory" }
  | { kind: "symlink"; target: string }
  | { kind: "device"; device: "character" | "block"; major: number; minor: number }
  | { kind: "fifo" }
  /** A further name of the file at `target`, which must be a file of the same tree. */
  | { kind: "hardlink"; target: string };

const MAX_NAME_BYTES = 255;
/** PATH_MAX of Linux without the terminating zero. */
const MAX_PATH_BYTES = 4095;
const MAX_UINT32 = 0xffff_ffff;
/** Linux device numbers: 12 bits of major, 20 bits of minor. */
const MAX_MAJOR = 0xfff;
const MAX_MINOR = 0xf_ffff;

const DIRECTORY: EntryAttributes = { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
const encoder = new TextEncoder();

export class FileTree {
  readonly #entries = new Map<string, TreeEntry>();
  /** How many entries each directory has: to replace or remove one takes no walk over all. */
  readonly #children = new Map<string, number>();

  constructor() {
    this.#entries.set("/", { path: "/", kind: "directory", ...DIRECTORY });
  }

  get size(): number {
    return this.#entries.size;
  }

  get(path: string): TreeEntry | undefined {
    return this.#entries.get(path);
  }

  has(path: string): boolean {
    return this.#entries.has(path);
  }

  /**
   * Adds an entry, and directories above it that are missing (0755, owned by root).
   * A directory may be added again and then takes the new attributes; anything else that is there already is refused.
   * @throws FormatError
   */
  add(entry: TreeEntry): void {
    check(entry);
    const present = this.#entries.get(entry.path);
    if (present && !(present.kind === "directory" && entry.kind === "directory"))
      throw new FormatError(
        `Cannot add ${quote(entry.path)}: there is a ${present.kind} of that name already`,
        entry.path,
      );
    this.#addParents(entry.path);
    this.#set(entry);
  }

  /**
   * Adds an entry in place of whatever has its name. A directory stays a directory with its new attributes;
   * a directory with something in it is not replaced by anything else.
   * @throws FormatError
   */
  replace(entry: TreeEntry): void {
    check(entry);
    const present = this.#entries.get(entry.path);
    if (present?.kind === "directory" && entry.kind !== "directory" && this.#children.has(entry.path)) {
      for (const path of this.#entries.keys())
        if (path.startsWith(`${entry.path}/`))
          throw new FormatError(
            `Cannot replace the directory ${quote(entry.path)}: ${quote(path)} is in it`,
            entry.path,
          );
    }
    this.#addParents(entry.path);
    this.#set(entry);
  }

  /** Removes an entry and everything below it. Says whether there was one. */
  remove(path: string): boolean {
    if (path === "/") throw new FormatError("Cannot remove /: every tree has a root", path);
    const present = this.#entries.get(path);
    if (!present) return false;
    this.#entries.delete(path);
    if (this.#children.delete(path))
      for (const below of [...this.#entries.keys()])
        if (below.startsWith(`${path}/`)) {
          this.#entries.delete(below);
          this.#children.delete(below);
        }
    const parent = parentOf(path);
    const left = (this.#children.get(parent) ?? 1) - 1;
    if (left > 0) this.#children.set(parent, left);
    else this.#children.delete(parent);
    return true;
  }

  /** All entries, the root first. @throws FormatError when a hard link's target is not a file of this tree. */
  sorted(): TreeEntry[] {
    const entries = [...this.#entries.values()].sort((a, b) => comparePaths(a.path, b.path));
    for (const entry of entries) {
      if (entry.kind !== "hardlink") continue;
      const target = this.#entries.get(entry.target);
      if (target?.kind !== "file")
        throw new FormatError(`Cannot link ${quote(entry.path)}: ${quote(entry.target)} is not a file`, entry.path);
    }
    return entries;
  }

  /** Adds all missing parents or, when one of them cannot be, none: a refusal leaves the tree as it was. */
  #addParents(path: string): void {
    const missing: string[] = [];
    for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
      const parent = path.slice(0, end);
      const present = this.#entries.get(parent);
      if (present?.kind === "directory") break;
      if (present)
        throw new FormatError(
          `Cannot add ${quote(path)}: ${quote(parent)} is a ${present.kind}, not a directory`,
          path,
        );
      missing.push(parent);
    }
    for (const parent of missing) this.#set({ path: parent, kind: "directory", ...DIRECTORY });
  }

  #set(entry: TreeEntry): void {
    if (!this.#entries.has(entry.path) && entry.path !== "/") {
      const parent = parentOf(entry.path);
      this.#children.set(parent, (this.#children.get(parent) ?? 0) + 1);
    }
    this.#entries.set(entry.path, entry);
  }
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

/** Orders paths so that a directory's contents follow it at once: "/a", "/a/b", "/a-b". */
export function comparePaths(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at += 1) {
    const left = a.charCodeAt(at);
    const right = b.charCodeAt(at);
    if (left === right) continue;
    // "/" sorts before every other character.
    if (left === 0x2f) return -1;
    if (right === 0x2f) return 1;
    return rank(left) - rank(right);
  }
  return a.length - b.length;
}

/** UTF-16 units in the order of UTF-8 bytes: surrogates stand for the characters above all others. */
function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

/** A path as a message shows it: control characters visible, never too long. */
export function quote(path: string): string {
  const visible = [...path]
    .map((c) => (c < " " || c === "\u007f" ? `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}` : c))
    .join("");
  return visible.length > 120 ? `${visible.slice(0, 117)}…` : visible;
}

/**
 * Refuses a path that is not absolute and normalised, or too long for Linux.
 * @throws FormatError
 */
export function checkPath(path: string): void {
  const refuse = (state: string): never => {
    throw new FormatError(`Cannot use the path ${quote(path)}: ${state}`, path);
  };
  if (path === "/") return;
  if (!path.startsWith("/")) refuse("it does not begin with /");
  if (path.includes("\0")) refuse("it contains a zero byte");
  if (!isWellFormed(path)) refuse("it contains half a character");
  if (encoder.encode(path).length > MAX_PATH_BYTES) refuse(`it is longer than ${MAX_PATH_BYTES} bytes`);
  for (const name of path.slice(1).split("/")) {
    if (name === "") refuse("it has an empty name in it");
    if (name === "." || name === "..") refuse(`it has "${name}" in it`);
    // Three bytes are the most that one UTF-16 unit needs: most names need no encoding to be known short.
    if (name.length * 3 > MAX_NAME_BYTES && encoder.encode(name).length > MAX_NAME_BYTES)
      refuse(`a name in it is longer than ${MAX_NAME_BYTES} bytes`);
  }
}

/** Every lone surrogate encodes to the same three bytes, so that two names would become one. */
function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

function check(entry: TreeEntry): void {
  const { path } = entry;
  checkPath(path);
  const within = (name: string, value: number, limit: number): void => {
    if (!Number.isInteger(value) || value < 0 || value > limit)
      throw new FormatError(
        `Cannot add ${quote(path)}: its ${name} is ${value}, which is not a number from 0 to ${limit}`,
        path,
      );
  };
  within("mode", entry.mode, 0o7777);
  within("owner", entry.uid, MAX_UINT32);
  within("group", entry.gid, MAX_UINT32);
  within("time", entry.mtime, MAX_UINT32);
  if (path === "/" && entry.kind !== "directory") throw new FormatError("Cannot add /: the root is a directory", path);
  if (entry.kind === "symlink") {
    const length = encoder.encode(entry.target).length;
    if (length === 0 || length > MAX_PATH_BYTES || entry.target.includes("\0"))
      throw new FormatError(
        `Cannot add the symlink ${quote(path)}: its target is empty, too long or has a zero byte`,
        path,
      );
    if (!isWellFormed(entry.target))
      throw new FormatError(`Cannot add the symlink ${quote(path)}: its target contains half a character`, path);
  }
  if (entry.kind === "device") {
    within("major number", entry.major, MAX_MAJOR);
    within("minor number", entry.minor, MAX_MINOR);
  }
  if (entry.kind === "hardlink") checkPath(entry.target);
}
