/**
 * Writes ext2, ext3 and ext4 file systems. Sources: Documentation/filesystems/ext4/*.rst of Linux; for the journal
 * journal.rst.
 *
 * Limitations: extended attributes only of files that are kept, no checksums of metadata (GRUB 2.06 knows none), no hashed
 * directories, linear ones under the flag that allows both. Only what is not zero becomes part of the image.
 */

import { setAttributeUsers } from "./extfs-attributes.ts";
import { type DirectoryRecord, encodeDirectory, FILE_TYPES } from "./extfs-directory.ts";
import {
  type BlockMap,
  encodeDevice,
  encodeInode,
  FORMAT_BITS,
  type Inode,
  MAP_BYTES,
  type MappedRun,
  mapExtents,
  mapIndirect,
  mapInOrder,
} from "./extfs-inode.ts";
import { type KeptFiles, type KeptInode, type Placement, placeKept } from "./extfs-kept.ts";
import { BlockAllocator, INODE_BYTES, type Layout, planLayout, type Run } from "./extfs-layout.ts";
import { comparePaths, FileTree, FormatError, quote, type TreeEntry } from "./file-tree.ts";
import { type ComposedImage, ImageWriter, type SparseImage } from "./sparse-image.ts";

export type ExtKind = "ext2" | "ext3" | "ext4";

export interface ExtOptions {
  kind: ExtKind;
  /** In bytes. */
  size: number;
  /** 16 bytes. */
  uuid: Uint8Array;
  /** At most 16 bytes of UTF-8. */
  label: string;
  /** When it was made, in seconds since 1970-01-01 UTC. */
  time: number;
}

const ROOT_INODE = 2;
const JOURNAL_INODE = 8;
const FIRST_INODE = 11;
/** lost+found has room from the start, so that e2fsck needs none when the disk is full. */
const LOST_AND_FOUND = "/lost+found";
const LOST_AND_FOUND_BYTES = 16_384;
const FAST_SYMLINK_BYTES = 59;
const MOST_LINKS = { ext2: 32_000, ext3: 32_000, ext4: 65_000 } as const;

const encoder = new TextEncoder();

/**
 * @returns the file system as an image of `size` bytes
 * @throws FormatError when the tree does not fit, or has something that the file system cannot hold
 */
export function encodeExt(tree: FileTree, options: ExtOptions): SparseImage {
  return new ExtWriter(tree, options).write().finish();
}

/**
 * Writes a file system anew around files that are on a disk: they stay where they are, as far as that is free.
 * @returns the file system of `options.size` bytes; its source 0 is the file system that it takes the place of
 * @throws FormatError as `encodeExt` does
 */
export function rewriteExt(kept: KeptFiles, options: ExtOptions): ComposedImage {
  return new ExtWriter(kept.tree, options, kept).write().compose();
}

const NONE: KeptFiles = {
  tree: new FileTree(),
  inodes: new Map(),
  contents: new Map(),
  like: { blockBytes: 0, inodesPerGroup: 0 },
};

/** What an inode says of its content, and where that goes. */
type Placed = Pick<Inode, "size" | "map" | "hasExtents" | "blocks"> & { runs: readonly Run[] };

class ExtWriter {
  readonly #image: ImageWriter;
  readonly #layout: Layout;
  readonly #allocator: BlockAllocator;
  readonly #entries: TreeEntry[];
  /** Inode numbers by path, those of hard links included. */
  readonly #numbers = new Map<string, number>();
  readonly #inodes = new Map<number, Inode>();
  readonly #label: Uint8Array;
  readonly #placement: Placement;
  /** Blocks of extended attributes: by the number that they had, the one that they have, and who shares it. */
  readonly #attributes = new Map<number, { block: number; users: number; bytes: Uint8Array<ArrayBuffer> }>();
  #journal: Inode | null = null;

  constructor(
    tree: FileTree,
    readonly options: ExtOptions,
    private readonly kept: KeptFiles = NONE,
  ) {
    this.#label = encoder.encode(options.label);
    if (this.#label.length > 16)
      throw new FormatError(`Cannot label the file system ${quote(options.label)}: a label has at most 16 bytes`);
    if (options.uuid.length !== 16)
      throw new FormatError(`Cannot use a UUID of ${options.uuid.length} bytes: it has 16`);
    this.#entries = tree.sorted();
    if (!tree.has(LOST_AND_FOUND)) {
      const time = options.time;
      this.#entries.push({ path: LOST_AND_FOUND, kind: "directory", mode: 0o700, uid: 0, gid: 0, mtime: time });
      this.#entries.sort((a, b) => comparePaths(a.path, b.path));
    }
    const like = kept === NONE ? undefined : kept.like;
    this.#layout = planLayout(options.size, this.#entries.length + FIRST_INODE, like);
    this.#placement = placeKept(kept.inodes, this.#layout);
    this.#allocator = new BlockAllocator(this.#layout, this.#placement.taken);
    if (this.#allocator.free < 0) throw this.#full("/");
    this.#image = new ImageWriter(options.size);
  }

  write(): ImageWriter {
    this.#number();
    const children = this.#children();
    const links = this.#countLinks();
    if (this.options.kind !== "ext2") this.#journal = this.#writeJournal();
    for (const entry of this.#entries) {
      if (entry.kind === "hardlink") continue;
      const number = this.#numbers.get(entry.path) as number;
      this.#inodes.set(number, this.#writeEntry(entry, links.get(number) ?? 1, children));
    }
    for (const { block, users, bytes } of this.#attributes.values()) {
      setAttributeUsers(bytes, users);
      this.#image.place(block * this.#layout.blockBytes, bytes);
    }
    this.#writeInodes();
    this.#writeTables();
    return this.#image;
  }

  #number(): void {
    let next = FIRST_INODE + 1;
    for (const { path, kind } of this.#entries) {
      if (kind === "hardlink") continue;
      this.#numbers.set(path, path === "/" ? ROOT_INODE : path === LOST_AND_FOUND ? FIRST_INODE : next++);
    }
    for (const entry of this.#entries)
      if (entry.kind === "hardlink") this.#numbers.set(entry.path, this.#numbers.get(entry.target) as number);
  }

  /** The records of each directory but its own two. */
  #children(): Map<string, DirectoryRecord[]> {
    const children = new Map<string, DirectoryRecord[]>();
    for (const { path, kind, ...entry } of this.#entries) {
      if (path === "/") continue;
      const parent = parentOf(path);
      const isSocket = this.kept.inodes.get(path)?.format === FORMAT_BITS.socket;
      const type =
        kind === "device"
          ? FILE_TYPES[(entry as { device: "character" | "block" }).device]
          : FILE_TYPES[isSocket ? "socket" : kind === "hardlink" ? "file" : kind];
      const record = {
        inode: this.#numbers.get(path) as number,
        name: encoder.encode(path.slice(path.lastIndexOf("/") + 1)),
        type,
      };
      const siblings = children.get(parent);
      if (siblings) siblings.push(record);
      else children.set(parent, [record]);
    }
    return children;
  }

  #countLinks(): Map<number, number> {
    const { kind } = this.options;
    const links = new Map<number, number>();
    const add = (path: string): void => {
      const number = this.#numbers.get(path) as number;
      links.set(number, (links.get(number) ?? 0) + 1);
    };
    for (const entry of this.#entries) {
      add(entry.path);
      if (entry.kind !== "directory") continue;
      // Its own "." and, in its parent, "..".
      add(entry.path);
      if (entry.path !== "/") add(parentOf(entry.path));
    }
    for (const entry of this.#entries) {
      const number = this.#numbers.get(entry.path) as number;
      const count = links.get(number) as number;
      if (count <= MOST_LINKS[kind]) continue;
      // dir_nlink: a directory with more has 1, "not counted".
      if (kind === "ext4" && entry.kind === "directory") links.set(number, 1);
      else
        throw new FormatError(
          `Cannot store ${quote(entry.path)}: it has ${count} links, ${kind} counts to ${MOST_LINKS[kind]}`,
          entry.path,
        );
    }
    return links;
  }

  #writeEntry(entry: TreeEntry, links: number, children: ReadonlyMap<string, DirectoryRecord[]>): Inode {
    const { mode, uid, gid, mtime } = entry;
    const kept = this.kept.inodes.get(entry.path);
    const attributeBlock = kept?.attributes ? this.#share(kept.attributes, entry.path) : 0;
    const base = { mode, uid, gid, mtime, links, before: kept?.before, attributeBlock };
    const empty = { size: 0, map: new Uint8Array(MAP_BYTES), hasExtents: false, blocks: 0 };
    switch (entry.kind) {
      case "file":
        return { ...base, format: FORMAT_BITS.file, ...this.#writeFile(entry.path, entry.content, kept) };
      case "directory":
        return { ...base, format: FORMAT_BITS.directory, ...this.#writeDirectory(entry.path, children) };
      case "symlink": {
        const target = encoder.encode(entry.target);
        if (target.length > FAST_SYMLINK_BYTES)
          return { ...base, format: FORMAT_BITS.symlink, ...this.#writeContent(target, entry.path) };
        const map = new Uint8Array(MAP_BYTES);
        map.set(target);
        return { ...base, ...empty, format: FORMAT_BITS.symlink, size: target.length, map };
      }
      case "device":
        return { ...base, ...empty, format: FORMAT_BITS[entry.device], map: encodeDevice(entry.major, entry.minor) };
      case "fifo":
        return { ...base, ...empty, format: kept?.format ?? FORMAT_BITS.fifo };
      case "hardlink":
        throw new FormatError(`Cannot store ${quote(entry.path)}: a hard link has no inode of its own`, entry.path);
    }
  }

  #writeDirectory(path: string, children: ReadonlyMap<string, DirectoryRecord[]>): Placed {
    const { blockBytes } = this.#layout;
    const own = this.#numbers.get(path) as number;
    const parent = path === "/" ? own : (this.#numbers.get(parentOf(path)) as number);
    const records = [
      { inode: own, name: encoder.encode("."), type: FILE_TYPES.directory },
      { inode: parent, name: encoder.encode(".."), type: FILE_TYPES.directory },
      ...(children.get(path) ?? []),
    ];
    const least = path === LOST_AND_FOUND ? LOST_AND_FOUND_BYTES / blockBytes : 1;
    return this.#writeContent(encodeDirectory(records, blockBytes, least), path);
  }

  #writeContent(content: Uint8Array, path: string): Placed {
    const placed = this.#place(content.length);
    if (!placed) throw this.#full(path);
    const { blockBytes } = this.#layout;
    let done = 0;
    for (const { start, length } of placed.runs) {
      const part = content.subarray(done, done + length * blockBytes) as Uint8Array<ArrayBuffer>;
      this.#image.place(start * blockBytes, part);
      done += part.length;
    }
    return placed;
  }

  #writeFile(path: string, content: Uint8Array, kept: KeptInode | undefined): Placed {
    const added = this.kept.contents.get(path);
    if (!added) return kept ? this.#writeKept(path, kept) : this.#writeContent(content, path);
    const { blockBytes } = this.#layout;
    const placed = this.#place(added.size);
    if (!placed) throw this.#full(path);
    let from = 0;
    for (const { start, length: count } of placed.runs) {
      const length = Math.min(count * blockBytes, added.size - from);
      this.#image.refer({ offset: start * blockBytes, length, source: added.source, from });
      from += length;
    }
    return placed;
  }

  #writeKept(path: string, { size }: KeptInode): Placed {
    const { blockBytes } = this.#layout;
    const { stay, move } = this.#placement.files.get(path) ?? { stay: [], move: [] };
    const runs: MappedRun[] = [...stay];
    const put = (start: number, from: number, count: number, bytes: Uint8Array<ArrayBuffer> | undefined): void => {
      const [offset, length] = [start * blockBytes, count * blockBytes];
      if (bytes) this.#image.place(offset, bytes);
      else this.#image.refer({ offset, length, source: 0, from: from * blockBytes });
    };
    for (const { start, length, bytes } of stay) put(start, start, length, bytes);
    for (const run of move) {
      const found = this.#allocator.allocate(run.length);
      if (!found) throw this.#full(path);
      let done = 0;
      for (const { start, length } of found) {
        const bytes = run.bytes?.subarray(done * blockBytes, (done + length) * blockBytes);
        put(start, run.start + done, length, bytes);
        runs.push({ logical: run.logical + done, start, length });
        done += length;
      }
    }
    const placed = this.#map(size, joinRuns(runs));
    if (!placed) throw this.#full(path);
    return placed;
  }

  /** A block of attributes, once for all that had the same. @returns where it is */
  #share({ block: before, bytes }: NonNullable<KeptInode["attributes"]>, path: string): number {
    let shared = this.#attributes.get(before);
    if (!shared) {
      const block = this.#allocator.allocate(1)?.[0]?.start;
      if (block === undefined) throw this.#full(path);
      shared = { block, users: 0, bytes };
      this.#attributes.set(before, shared);
    }
    shared.users += 1;
    return shared.block;
  }

  /** Takes blocks for so many bytes and writes their map. @returns null without room */
  #place(size: number): Placed | null {
    const runs = this.#allocator.allocate(Math.ceil(size / this.#layout.blockBytes));
    return runs && this.#map(size, mapInOrder(runs));
  }

  /** Writes where a file's blocks are. @returns null without room */
  #map(size: number, runs: readonly MappedRun[]): Placed | null {
    const { blockBytes } = this.#layout;
    const map: BlockMap | null = (this.options.kind === "ext4" ? mapExtents : mapIndirect)(
      runs,
      this.#allocator,
      blockBytes,
    );
    if (!map) return null;
    for (const { block, bytes } of map.tables) this.#image.place(block * blockBytes, bytes);
    const count = runs.reduce((sum, { length }) => sum + length, 0);
    return { size, runs, map: map.map, hasExtents: map.hasExtents, blocks: count + map.tables.length };
  }

  #full(path: string): FormatError {
    const { inodes, contents } = this.kept;
    const sizeOf = (entry: TreeEntry): number =>
      entry.kind === "file"
        ? (contents.get(entry.path)?.size ?? this.#storedBytes(inodes.get(entry.path)) ?? entry.content.length)
        : 0;
    const needed = this.#entries.reduce((sum, entry) => sum + sizeOf(entry), 0);
    const mb = (bytes: number): string => `${Math.ceil(bytes / 1024 / 1024)} MB`;
    return new FormatError(
      `Cannot fit ${mb(needed)} of files: the file system has ${mb(this.options.size)}, its own tables included`,
      path,
    );
  }

  /** What a file takes, holes not counted. */
  #storedBytes(kept: KeptInode | undefined): number | undefined {
    return kept && kept.runs.reduce((sum, { length }) => sum + length, 0) * this.#layout.blockBytes;
  }

  /** A journal with nothing in it: its superblock, and zeros. */
  #writeJournal(): Inode {
    const { blockBytes, blocks } = this.#layout;
    const length = journalBlocks(blocks);
    const placed = this.#place(length * blockBytes);
    if (!placed) throw this.#full("/");
    const superblock = new Uint8Array(1024);
    // Unlike everything else, the journal is big endian.
    const view = new DataView(superblock.buffer);
    view.setUint32(0, 0xc03b3998);
    view.setUint32(4, 4);
    view.setUint32(12, blockBytes);
    view.setUint32(16, length);
    view.setUint32(20, 1);
    view.setUint32(24, 1);
    superblock.set(this.options.uuid, 48);
    view.setUint32(64, 1);
    this.#image.place((placed.runs[0]?.start as number) * blockBytes, superblock);
    return { ...placed, format: FORMAT_BITS.file, mode: 0o600, uid: 0, gid: 0, mtime: this.options.time, links: 1 };
  }

  /** Tables of inodes, of each group as far as it has any. */
  #writeInodes(): void {
    const { blockBytes, groups, inodesPerGroup } = this.#layout;
    if (this.#journal) this.#inodes.set(JOURNAL_INODE, this.#journal);
    for (const [index, { inodeTable }] of groups.entries()) {
      const first = index * inodesPerGroup + 1;
      let used = 0;
      for (let at = inodesPerGroup; at > 0 && used === 0; at -= 1) if (this.#inodes.has(first + at - 1)) used = at;
      if (used === 0) break;
      const table = new Uint8Array(used * INODE_BYTES);
      for (let at = 0; at < used; at += 1) {
        const inode = this.#inodes.get(first + at);
        if (inode) table.set(encodeInode(inode, blockBytes), at * INODE_BYTES);
      }
      this.#image.place(inodeTable * blockBytes, table);
    }
  }

  /** Bitmaps, descriptors, superblocks. */
  #writeTables(): void {
    const { groups, blockBytes, inodesPerGroup } = this.#layout;
    const descriptors = new Uint8Array(groups.length * 32);
    const view = new DataView(descriptors.buffer);
    let lastInode = FIRST_INODE;
    for (const number of this.#inodes.keys()) lastInode = Math.max(lastInode, number);
    const directories = new Array<number>(groups.length).fill(0);
    for (const [number, { format }] of this.#inodes)
      if (format === FORMAT_BITS.directory) {
        const group = Math.floor((number - 1) / inodesPerGroup);
        directories[group] = (directories[group] as number) + 1;
      }
    let freeBlocks = 0;
    let freeInodes = 0;
    for (const [index, group] of groups.entries()) {
      const runs = this.#allocator.used(index).map((run) => ({ ...run, start: run.start - group.start }));
      const usedBlocks = runs.reduce((sum, { length }) => sum + length, 0);
      const usedInodes = Math.min(inodesPerGroup, Math.max(0, lastInode - index * inodesPerGroup));
      this.#image.place(group.blockBitmap * blockBytes, bitmap(runs, group.blocks, blockBytes));
      this.#image.place(
        group.inodeBitmap * blockBytes,
        bitmap([{ start: 0, length: usedInodes }], inodesPerGroup, blockBytes),
      );
      const at = index * 32;
      view.setUint32(at, group.blockBitmap, true);
      view.setUint32(at + 4, group.inodeBitmap, true);
      view.setUint32(at + 8, group.inodeTable, true);
      view.setUint16(at + 12, group.blocks - usedBlocks, true);
      view.setUint16(at + 14, inodesPerGroup - usedInodes, true);
      view.setUint16(at + 16, directories[index] as number, true);
      freeBlocks += group.blocks - usedBlocks;
      freeInodes += inodesPerGroup - usedInodes;
    }
    for (const [index, group] of groups.entries()) {
      if (!group.hasSuperblock) continue;
      const superblock = this.#superblock(index, freeBlocks, freeInodes);
      // The first one stands behind two boot sectors.
      const at = index === 0 ? 1024 : group.start * blockBytes;
      this.#image.place(at, superblock);
      this.#image.place((group.start + 1) * blockBytes, descriptors);
    }
  }

  #superblock(index: number, freeBlocks: number, freeInodes: number): Uint8Array<ArrayBuffer> {
    const { kind, uuid, time } = this.options;
    const { blocks, blockBytes, blocksPerGroup, inodesPerGroup, groups, firstDataBlock } = this.#layout;
    const bytes = new Uint8Array(1024);
    const view = new DataView(bytes.buffer);
    const u32 = (at: number, value: number): void => view.setUint32(at, value, true);
    const u16 = (at: number, value: number): void => view.setUint16(at, value, true);
    u32(0, inodesPerGroup * groups.length);
    u32(4, blocks);
    // A twentieth is kept for root, as mke2fs does.
    u32(8, Math.floor(blocks / 20));
    u32(12, freeBlocks);
    u32(16, freeInodes);
    u32(20, firstDataBlock);
    u32(24, Math.log2(blockBytes / 1024));
    u32(28, Math.log2(blockBytes / 1024));
    u32(32, blocksPerGroup);
    u32(36, blocksPerGroup);
    u32(40, inodesPerGroup);
    u32(48, time);
    u16(54, 0xffff);
    u16(56, 0xef53);
    u16(58, 1);
    u16(60, 1);
    u32(64, time);
    u32(76, 1);
    u32(84, FIRST_INODE);
    u16(88, INODE_BYTES);
    u16(90, index);
    const journal = kind === "ext2" ? 0 : HAS_JOURNAL;
    u32(92, journal | EXT_ATTR | DIR_INDEX);
    u32(96, FILETYPE | (kind === "ext4" ? EXTENTS : 0));
    u32(100, SPARSE_SUPER | LARGE_FILE | (kind === "ext4" ? HUGE_FILE | DIR_NLINK | EXTRA_ISIZE : 0));
    bytes.set(uuid, 104);
    bytes.set(this.#label, 120);
    // The seed for hashes of names in directories that the kernel hashes later; half MD4 is what it uses by default.
    bytes.set(uuid, 236);
    view.setUint8(252, 1);
    u32(256, USER_XATTR | ACL);
    u32(264, time);
    u32(352, SIGNED_HASH);
    if (kind === "ext4") {
      u16(348, 32);
      u16(350, 32);
    }
    if (this.#journal) {
      u32(224, JOURNAL_INODE);
      // A copy of the journal's map, for the case that its inode is damaged.
      view.setUint8(253, 1);
      bytes.set(this.#journal.map, 268);
      u32(268 + 64, this.#journal.size);
    }
    return bytes;
  }
}

const HAS_JOURNAL = 0x4;
const EXT_ATTR = 0x8;
const DIR_INDEX = 0x20;
const FILETYPE = 0x2;
const EXTENTS = 0x40;
const SPARSE_SUPER = 0x1;
const LARGE_FILE = 0x2;
const HUGE_FILE = 0x8;
const DIR_NLINK = 0x20;
const EXTRA_ISIZE = 0x40;
const USER_XATTR = 0x4;
const ACL = 0x8;
const SIGNED_HASH = 0x1;

/** As large as mke2fs makes it. */
function journalBlocks(blocks: number): number {
  if (blocks < 2048) throw new FormatError("Cannot make a journal: the file system is too small; use ext2");
  for (const [below, length] of [
    [32_768, 1024],
    [262_144, 4096],
    [524_288, 8192],
    [4_194_304, 16_384],
    [8_388_608, 32_768],
  ] as const)
    if (blocks < below) return length;
  return 65_536;
}

/** The bits of `used` are set, and those behind `total`, which stand for nothing. */
function bitmap(used: readonly Run[], total: number, bytes: number): Uint8Array<ArrayBuffer> {
  const map = new Uint8Array(bytes);
  for (const { start, length } of used) setBits(map, start, start + length);
  setBits(map, total, bytes * 8);
  return map;
}

function setBits(map: Uint8Array, from: number, to: number): void {
  const whole = Math.min(to, Math.ceil(from / 8) * 8);
  for (let bit = from; bit < whole; bit += 1) map[bit >> 3] = (map[bit >> 3] as number) | (1 << (bit & 7));
  if (whole === to) return;
  map.fill(0xff, whole >> 3, to >> 3);
  if (to & 7) map[to >> 3] = (map[to >> 3] as number) | ((1 << (to & 7)) - 1);
}

/** In the order of the file, those that follow each other on the disk as one. */
function joinRuns(runs: MappedRun[]): MappedRun[] {
  const joined: MappedRun[] = [];
  for (const run of runs.sort((a, b) => a.logical - b.logical)) {
    const last = joined.at(-1);
    if (last && last.logical + last.length === run.logical && last.start + last.length === run.start)
      last.length += run.length;
    else joined.push({ logical: run.logical, start: run.start, length: run.length });
  }
  return joined;
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}
