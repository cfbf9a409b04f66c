/**
 * Reads ext2, ext3 and ext4 file systems: ours, those of mke2fs, and what Linux leaves of them, even when it had no time to
 * write its journal back. Sources: Documentation/filesystems/ext4/*.rst of Linux.
 *
 * Limitations: nothing is written; extended attributes (access lists, capabilities) and parts of a second are not seen;
 * extfs-reader-superblock.ts names the features that are refused. A disk that changes meanwhile gives a mixture.
 */
import { attributeBlock, inodeOfUsualSize } from "./extfs-attributes.ts";
import { FORMAT_BITS } from "./extfs-inode.ts";
import { readJournal } from "./extfs-journal.ts";
import { type KeptFiles, type KeptInode, type KeptRun, refuseChange } from "./extfs-kept.ts";
import { decodeName, readDirectory } from "./extfs-reader-directory.ts";
import { runsOf } from "./extfs-reader-map.ts";
import { unreadable } from "./extfs-reader-superblock.ts";
import { ExtVolume, INODE_FLAGS, type RawInode } from "./extfs-reader-volume.ts";
import { comparePaths, type EntryAttributes, FileTree, FormatError, quote, type TreeEntry } from "./file-tree.ts";
import type { BlockSource, ComposedImage, Piece } from "./sparse-image.ts";

/** What a name stands for. `mtime` can be outside of what a FileTree holds. */
export type ExtEntry = EntryAttributes & {
  /** Empty for the root. */
  name: string;
  path: string;
  inode: number;
  /** In bytes, holes included. */
  size: number;
  links: number;
} & ExtEntryKind;

export type ExtEntryKind =
  | { kind: "file" | "directory" | "fifo" | "socket" }
  | { kind: "symlink"; target: string }
  | { kind: "device"; device: "character" | "block"; major: number; minor: number };

/** Paths are absolute, and symlinks on the way are followed. All methods throw FormatErrors, with the path. */
export interface ExtReader {
  /** ext4 is what has any feature that ext3 has not; ext3 is what has a journal. */
  readonly kind: "ext2" | "ext3" | "ext4";
  readonly label: string;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** In bytes, of the file system: its disk can be larger. */
  readonly size: number;
  /** What files and directories take: its tables and its journal are not counted, as `df` does not count them. */
  readonly usedBytes: number;
  readonly freeBytes: number;
  /** It was not unmounted: what its journal had was put over it, in memory alone. */
  readonly wasReplayed: boolean;
  /** What is in a directory, directories first, then by name. */
  list(path: string): Promise<ExtEntry[]>;
  /** What a name stands for; a symlink stands for itself. */
  stat(path: string): Promise<ExtEntry>;
  /**
   * The content of a file, or as much as there is of the part that is asked for.
   * @param options.length all that follows, when it is left out
   */
  read(path: string, options?: { offset?: number; length?: number }): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Where the content of a file is, however large it is: its pieces are the disk's own (source 0), or bytes that the disk has
   * in its journal alone. What they leave out are zeros.
   */
  locate(path: string): Promise<ComposedImage>;
  /** Everything, the root first, each directory before what is in it. Hard links have the same inode. */
  walk(): AsyncIterable<ExtEntry>;
  /**
   * Everything with its content, to make the file system anew. Further names of a symlink, a device or a fifo become
   * copies; times before 1970 and after 2106 become the nearest that a tree holds.
   */
  tree(): Promise<FileTree>;
  /**
   * Everything but the contents of files, to write the file system anew around them.
   * @param without a path that is left out, and what is below it
   */
  keep(without?: string): Promise<KeptFiles>;
}

const ROOT_INODE = 2;
/** Symlinks that follow each other; Linux gives up there too. */
const MOST_SYMLINKS = 40;
const MOST_TARGET_BYTES = 4096;
/** Targets that are shorter are in the inode. */
const FAST_SYMLINK_BYTES = 60;
/** More is refused before there is memory for it: a file with holes can claim any size. */
const MOST_CONTENT_BYTES = 2 ** 31;
const MAX_UINT32 = 0xffff_ffff;
/** Directories that are kept for the paths to come, and the names that they may have together. */
const MOST_NAMES = 200_000;

/**
 * Opens a file system. Only its superblock, its descriptors and, when it was not unmounted, its journal are read.
 * @throws FormatError "Cannot read the file system: …"
 */
export async function openExt(source: BlockSource): Promise<ExtReader> {
  let volume = await ExtVolume.open(source);
  let wasReplayed = false;
  if (volume.superblock.needsRecovery) {
    const logged = await readJournal(volume);
    wasReplayed = logged !== null;
    volume = await volume.withLogged(logged ?? new Map());
  }
  const { journalInode } = volume.superblock;
  const journalBytes =
    journalInode === 0 ? 0 : await volume.inode(journalInode).then(({ size }) => size, unlessDamaged);
  return new Reader(volume, wasReplayed, await volume.countFree(), journalBytes);
}

class Reader implements ExtReader {
  readonly kind: "ext2" | "ext3" | "ext4";
  readonly label: string;
  readonly uuid: Uint8Array;
  readonly size: number;
  readonly usedBytes: number;
  readonly freeBytes: number;
  readonly #volume: ExtVolume;
  readonly #names = new Map<number, Map<string, number>>();

  constructor(
    volume: ExtVolume,
    readonly wasReplayed: boolean,
    freeBlocks: number,
    journalBytes: number,
  ) {
    const { kind, label, uuid, blocks, blockBytes, tableBlocks } = volume.superblock;
    this.kind = kind;
    this.label = label;
    this.uuid = uuid;
    this.size = blocks * blockBytes;
    this.freeBytes = freeBlocks * blockBytes;
    this.usedBytes = Math.max(0, this.size - this.freeBytes - tableBlocks * blockBytes - journalBytes);
    this.#volume = volume;
  }

  async list(path: string): Promise<ExtEntry[]> {
    const inode = await this.#resolve(path, true);
    if (inode.format !== FORMAT_BITS.directory) throw refusal("list", path, "it is not a directory");
    return (await this.#children(inode, path.replace(/\/+$/, ""))).map(({ entry }) => entry);
  }

  async stat(path: string): Promise<ExtEntry> {
    const inode = await this.#resolve(path, false);
    const own = path.replace(/\/+$/, "");
    return this.#entry(inode, own.slice(own.lastIndexOf("/") + 1), own || "/");
  }

  async read(path: string, { offset = 0, length }: { offset?: number; length?: number } = {}) {
    const inode = await this.#resolve(path, true);
    if (inode.format !== FORMAT_BITS.file) throw refusal("read", path, "it is not a file");
    for (const number of [offset, length ?? 0])
      if (!Number.isSafeInteger(number) || number < 0) throw refusal("read", path, `${number} is no place in it`);
    const start = Math.min(offset, inode.size);
    const bytes = Math.min(length ?? inode.size, inode.size - start);
    if (bytes > MOST_CONTENT_BYTES) throw refusal("read", path, `${bytes} bytes are too many at once`);
    return this.#content(inode, start, bytes);
  }

  async locate(path: string): Promise<ComposedImage> {
    const inode = await this.#resolve(path, true);
    const { format, size } = inode;
    if (format !== FORMAT_BITS.file) throw refusal("read", path, "it is not a file");
    const { blockBytes } = this.#volume.superblock;
    const pieces: Piece[] = [];
    for (const { logical, start, length: blocks, bytes } of await this.#runs(inode)) {
      const offset = logical * blockBytes;
      const length = Math.min(blocks * blockBytes, size - offset);
      if (bytes) pieces.push({ offset, bytes: bytes.subarray(0, length) });
      else pieces.push({ offset, length, source: 0, from: start * blockBytes });
    }
    return { size, pieces };
  }

  async *walk(): AsyncGenerator<ExtEntry, void> {
    for await (const { entry } of this.#all()) yield entry;
  }

  async tree(): Promise<FileTree> {
    const tree = new FileTree();
    const paths = new Map<number, string>();
    let total = 0;
    for await (const { entry, inode } of this.#all()) {
      const { path, mode, uid, gid } = entry;
      const own = { path, mode, uid, gid, mtime: Math.min(Math.max(entry.mtime, 0), MAX_UINT32) };
      if (entry.kind === "socket")
        throw refusal("copy", path, "it is a socket, which belongs to a program that runs; delete it");
      if (entry.kind !== "file") {
        tree.add(treeEntry(own, entry));
        continue;
      }
      const target = paths.get(entry.inode);
      if (target !== undefined) {
        tree.add({ ...own, kind: "hardlink", target });
        continue;
      }
      paths.set(entry.inode, path);
      total += entry.size;
      if (total > MOST_CONTENT_BYTES)
        throw refusal("copy", path, "the files of the file system have more than 2 GiB, their holes included");
      tree.add({ ...own, kind: "file", content: await this.#content(inode, 0, inode.size) });
    }
    return tree;
  }

  async keep(without?: string): Promise<KeptFiles> {
    const { blockBytes, inodesPerGroup } = this.#volume.superblock;
    if (![1024, 2048, 4096].includes(blockBytes))
      throw new FormatError(
        `Cannot change the disk: its blocks of ${blockBytes} bytes are none that Linux mounts on a PC`,
      );
    const tree = new FileTree();
    const inodes: KeptFiles["inodes"] = new Map();
    const paths = new Map<number, string>();
    let isFound = without === undefined;
    for await (const { entry, inode } of this.#all(without)) {
      const { path, mode, uid, gid } = entry;
      if (path === without) {
        isFound = true;
        continue;
      }
      const own = { path, mode, uid, gid, mtime: Math.min(Math.max(entry.mtime, 0), MAX_UINT32) };
      const target = paths.get(entry.inode);
      if (target !== undefined && entry.kind === "file") {
        tree.add({ ...own, kind: "hardlink", target });
        continue;
      }
      paths.set(entry.inode, path);
      if (entry.kind === "file") tree.add({ ...own, kind: "file", content: new Uint8Array() });
      // A tree knows no sockets; what an inode is says the kept one.
      else tree.add(entry.kind === "socket" ? { ...own, kind: "fifo" } : treeEntry(own, entry));
      inodes.set(path, await about(path, this.#kept(inode, path)));
    }
    if (!isFound) throw new FormatError(`Cannot delete ${quote(without as string)}: it is not there`, without);
    return { tree, inodes, contents: new Map(), like: { blockBytes, inodesPerGroup } };
  }

  async #kept(inode: RawInode, path: string): Promise<KeptInode> {
    if (inode.flags & INODE_FLAGS.verity) throw refuseChange(path, "is protected by fs-verity");
    const { seed } = this.#volume.superblock;
    const { format, attributeBlock: number } = inode;
    const attributes =
      number === 0 ? null : { block: number, bytes: attributeBlock(await this.#volume.block(number), number, seed) };
    const before = inodeOfUsualSize(inode.bytes);
    if (format !== FORMAT_BITS.file) return { before, format, attributes, size: 0, runs: [] };
    return { before, format, attributes, size: inode.size, runs: await this.#runs(inode) };
  }

  /** The blocks of a file that are no holes. */
  async #runs(inode: RawInode): Promise<KeptRun[]> {
    const blocks = Math.ceil(inode.size / this.#volume.superblock.blockBytes);
    const runs: KeptRun[] = [];
    for await (const { logical, start, length } of runsOf(this.#volume, inode, 0, blocks))
      if (start !== null) runs.push(...(await this.#withLogged({ logical, start, length })));
    return runs;
  }

  /** A run, cut where the newest version of a block is in the journal. */
  async #withLogged(run: KeptRun): Promise<KeptRun[]> {
    if (!this.#volume.hasLogged) return [run];
    const runs: KeptRun[] = [];
    let plain = 0;
    for (let done = 0; done <= run.length; done += 1) {
      const isEnd = done === run.length;
      if (!isEnd && !this.#volume.isLogged(run.start + done)) continue;
      if (done > plain) runs.push({ logical: run.logical + plain, start: run.start + plain, length: done - plain });
      plain = done + 1;
      if (isEnd) break;
      const bytes = new Uint8Array(await this.#volume.block(run.start + done));
      runs.push({ logical: run.logical + done, start: run.start + done, length: 1, bytes });
    }
    return runs;
  }

  /** @param without a path of which what is below is left out */
  async *#all(without?: string): AsyncGenerator<{ entry: ExtEntry; inode: RawInode }, void> {
    const root = await this.#root();
    const open = [{ entry: await this.#entry(root, "", "/"), inode: root }];
    // A directory has one name. One that is inside itself would never end.
    const seen = new Set<number>([ROOT_INODE]);
    for (let next = open.pop(); next; next = open.pop()) {
      yield next;
      const { entry, inode } = next;
      if (entry.kind !== "directory" || entry.path === without) continue;
      const children = await this.#children(inode, entry.path === "/" ? "" : entry.path);
      for (const child of children.toReversed()) {
        if (child.entry.kind === "directory") {
          if (seen.has(child.inode.number))
            throw refusal("read", child.entry.path, "the file system is damaged, the directory is in two places");
          seen.add(child.inode.number);
        }
        open.push(child);
      }
    }
  }

  async #children(directory: RawInode, path: string): Promise<{ entry: ExtEntry; inode: RawInode }[]> {
    const names = await this.#namesOf(directory, path || "/");
    const children: { entry: ExtEntry; inode: RawInode }[] = [];
    // In the order of the inodes, each part of their tables is read once.
    for (const [name, number] of [...names].sort((a, b) => a[1] - b[1])) {
      const inode = await this.#named(number, `${path}/${name}`);
      children.push({ entry: await this.#entry(inode, name, `${path}/${name}`), inode });
    }
    const rank = ({ entry }: { entry: ExtEntry }): number => (entry.kind === "directory" ? 0 : 1);
    return children.sort((a, b) => rank(a) - rank(b) || comparePaths(a.entry.name, b.entry.name));
  }

  async #namesOf(directory: RawInode, path: string): Promise<ReadonlyMap<string, number>> {
    const present = this.#names.get(directory.number);
    if (present) return present;
    const names = await about(path, readDirectory(this.#volume, directory));
    let kept = names.size;
    for (const { size } of this.#names.values()) kept += size;
    for (const [number, { size }] of this.#names) {
      if (kept <= MOST_NAMES && this.#names.size < 1000) break;
      this.#names.delete(number);
      kept -= size;
    }
    this.#names.set(directory.number, names);
    return names;
  }

  async #root(): Promise<RawInode> {
    const root = await about("/", this.#volume.inode(ROOT_INODE));
    if (root.format !== FORMAT_BITS.directory) throw unreadable("it is damaged, its root is not a directory");
    return root;
  }

  /** An inode that a directory names. */
  async #named(number: number, path: string): Promise<RawInode> {
    if (number < this.#volume.superblock.firstInode && number !== ROOT_INODE)
      throw refusal("read", path, `the file system is damaged, the inode ${number} is its own`);
    const inode = await about(path, this.#volume.inode(number));
    if (inode.flags & INODE_FLAGS.encrypted) throw refusal("read", path, "it is encrypted");
    if (inode.flags & INODE_FLAGS.inline) throw refusal("read", path, "its content is in its inode (inline_data)");
    return inode;
  }

  /** Finds what a path names. ".." after a symlink is above what the symlink names. */
  async #resolve(path: string, followLast: boolean): Promise<RawInode> {
    if (!path.startsWith("/")) throw refusal("find", path, "it does not begin with /");
    const root = await this.#root();
    let above: RawInode[] = [root];
    const left = path.split("/").reverse();
    let followed = 0;
    while (left.length > 0) {
      const name = left.pop() as string;
      const current = above.at(-1) as RawInode;
      if (name === "" || name === ".") continue;
      if (current.format !== FORMAT_BITS.directory) throw refusal("find", path, "a part of it is not a directory");
      if (name === "..") {
        if (above.length > 1) above.pop();
        continue;
      }
      const number = (await this.#namesOf(current, path)).get(name);
      if (number === undefined) throw refusal("find", path, "there is nothing of that name");
      const inode = await this.#named(number, path);
      const isLast = left.every((part) => part === "");
      if (inode.format === FORMAT_BITS.symlink && (followLast || !isLast)) {
        followed += 1;
        if (followed > MOST_SYMLINKS) throw refusal("find", path, "too many symlinks follow each other");
        const target = await this.#target(inode, path);
        if (target.startsWith("/")) above = [root];
        left.push(...target.split("/").reverse());
      } else {
        above.push(inode);
      }
    }
    return above.at(-1) as RawInode;
  }

  async #entry(inode: RawInode, name: string, path: string): Promise<ExtEntry> {
    const { number, mode, uid, gid, mtime, size, links } = inode;
    const common = { name, path, inode: number, mode, uid, gid, mtime, size, links };
    switch (inode.format) {
      case FORMAT_BITS.file:
        return { ...common, kind: "file" };
      case FORMAT_BITS.directory:
        return { ...common, kind: "directory" };
      case FORMAT_BITS.fifo:
        return { ...common, kind: "fifo" };
      case FORMAT_BITS.socket:
        return { ...common, kind: "socket" };
      case FORMAT_BITS.symlink:
        return { ...common, kind: "symlink", target: await this.#target(inode, path) };
      case FORMAT_BITS.character:
        return { ...common, kind: "device", device: "character", ...decodeDevice(inode.map) };
      case FORMAT_BITS.block:
        return { ...common, kind: "device", device: "block", ...decodeDevice(inode.map) };
      default:
        throw refusal("read", path, `the file system is damaged, 0x${inode.format.toString(16)} is no kind of file`);
    }
  }

  async #target(inode: RawInode, path: string): Promise<string> {
    const { size, flags, sectors, attributeBlock, map } = inode;
    if (size === 0 || size > MOST_TARGET_BYTES)
      throw refusal("read", path, `the file system is damaged, a target would have ${size} bytes`);
    const { blockBytes, clusterBlocks } = this.#volume.superblock;
    const ownSectors = sectors - (attributeBlock ? (blockBytes * clusterBlocks) / 512 : 0);
    const isFast = size < FAST_SYMLINK_BYTES && (ownSectors <= 0 || (flags & INODE_FLAGS.ea) !== 0);
    const bytes =
      isFast && !(flags & INODE_FLAGS.extents) ? map.subarray(0, size) : await this.#content(inode, 0, size);
    if (bytes.includes(0)) throw refusal("read", path, "the file system is damaged, a target has a zero byte");
    return decodeName(bytes);
  }

  async #content(inode: RawInode, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(length);
    if (length === 0) return bytes;
    const { blockBytes } = this.#volume.superblock;
    const first = Math.floor(offset / blockBytes);
    const end = Math.ceil((offset + length) / blockBytes);
    for await (const run of runsOf(this.#volume, inode, first, end)) {
      if (run.start === null) continue;
      const from = Math.max(offset, run.logical * blockBytes);
      const to = Math.min(offset + length, (run.logical + run.length) * blockBytes);
      const place = (run.start - run.logical) * blockBytes + from;
      await this.#volume.read(place, bytes.subarray(from - offset, to - offset));
    }
    return bytes;
  }
}

/** The same in a tree, for what needs neither its content nor its other names. */
function treeEntry(own: EntryAttributes & { path: string }, entry: ExtEntryKind): TreeEntry {
  switch (entry.kind) {
    case "symlink":
      return { ...own, kind: "symlink", target: entry.target };
    case "device":
      return { ...own, kind: "device", device: entry.device, major: entry.major, minor: entry.minor };
    case "directory":
    case "fifo":
      return { ...own, kind: entry.kind };
    default:
      throw refusal("copy", own.path, `it is a ${entry.kind}`);
  }
}

/** What encodeDevice of extfs-inode.ts makes. */
function decodeDevice(map: Uint8Array): { major: number; minor: number } {
  const view = new DataView(map.buffer, map.byteOffset, map.length);
  const short = view.getUint32(0, true);
  if (short !== 0) return { major: (short >>> 8) & 0xff, minor: short & 0xff };
  const long = view.getUint32(4, true);
  return { major: (long >>> 8) & 0xfff, minor: (long & 0xff) | ((long >>> 12) & 0xf_ff00) };
}

/** A journal that is not needed may be damaged. */
function unlessDamaged(error: unknown): number {
  if (error instanceof FormatError) return 0;
  throw error;
}

/** Adds to what goes wrong which path it was about. */
async function about<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof FormatError && error.path === undefined) throw new FormatError(error.message, path);
    throw error;
  }
}

function refusal(verb: "list" | "read" | "find" | "copy", path: string, state: string): FormatError {
  return new FormatError(`Cannot ${verb} ${quote(path)}: ${state}`, path);
}
