/**
 * Inodes of ext2, ext3 and ext4 and how they find their blocks. Source: Documentation/filesystems/ext4/inodes.rst and
 * ifork.rst of Linux.
 */

import { type BlockAllocator, INODE_BYTES, type Run } from "./extfs-layout.ts";
import type { EntryAttributes } from "./file-tree.ts";

/** The kind of a file in the upper bits of its mode. */
export const FORMAT_BITS = {
  fifo: 0x1000,
  character: 0x2000,
  directory: 0x4000,
  block: 0x6000,
  file: 0x8000,
  symlink: 0xa000,
  socket: 0xc000,
} as const;

/** 60 bytes of the inode that tell where its blocks are, or hold a short symlink or a device number. */
export const MAP_BYTES = 60;
const MAP = 40;
const EXTENTS_FLAG = 0x80000;
/** What of an inode behind its first 128 bytes has a meaning of its own. */
export const EXTRA_BYTES = 32;
/** Flags that say what may be done with a file; the others say how it is stored. */
const KEPT_FLAGS = 0x1_80fb;
/** Time of deletion, upper halves of what is written in 32 bits, checksums, project: in steps of two bytes. */
const NOT_KEPT = [20, 22, 116, 118, 124, 130, 156, 158];

export interface Inode extends EntryAttributes {
  /** One of FORMAT_BITS. */
  format: number;
  size: number;
  links: number;
  /** 60 bytes. */
  map: Uint8Array;
  hasExtents: boolean;
  /** All blocks that belong to it, those that hold the map included. */
  blocks: number;
  /** What it was on the disk that it comes from: its times, flags and attributes stay. INODE_BYTES, or nothing. */
  before?: Uint8Array | undefined;
  /** The block of its further extended attributes; 0 or nothing: there is none. */
  attributeBlock?: number | undefined;
}

export function encodeInode(inode: Inode, blockBytes: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(INODE_BYTES);
  const view = new DataView(bytes.buffer);
  if (inode.before) {
    bytes.set(inode.before);
    for (const at of NOT_KEPT) view.setUint16(at, 0);
  }
  const { attributeBlock = 0 } = inode;
  const keptFlags = view.getUint32(32, true) & KEPT_FLAGS;
  view.setUint16(0, inode.format | inode.mode, true);
  view.setUint16(2, inode.uid & 0xffff, true);
  view.setUint32(4, inode.size % 2 ** 32, true);
  view.setUint16(24, inode.gid & 0xffff, true);
  view.setUint16(26, inode.links, true);
  view.setUint32(28, (inode.blocks + (attributeBlock ? 1 : 0)) * (blockBytes / 512), true);
  view.setUint32(32, keptFlags | (inode.hasExtents ? EXTENTS_FLAG : 0), true);
  bytes.set(inode.map, MAP);
  view.setUint32(104, attributeBlock, true);
  view.setUint32(108, Math.floor(inode.size / 2 ** 32), true);
  view.setUint16(120, inode.uid >>> 16, true);
  view.setUint16(122, inode.gid >>> 16, true);
  view.setUint16(128, EXTRA_BYTES, true);
  if (inode.before) return bytes;
  for (const at of [8, 12, 16]) view.setUint32(at, inode.mtime, true);
  // ctime, mtime, atime, crtime.
  for (const at of [132, 136, 140, 148]) view.setUint32(at, epochOf(inode.mtime), true);
  view.setUint32(144, inode.mtime, true);
  return bytes;
}

/** The seconds are signed; what is beyond 2038 counts from 2³² seconds before on. */
const epochOf = (time: number): number => (time >= 2 ** 31 ? 1 : 0);

/** An inode of INODE_BYTES as it is after its file was written at that time. */
export function touched(inode: Uint8Array, time: number): Uint8Array {
  const bytes = inode.slice();
  const view = new DataView(bytes.buffer);
  for (const at of [12, 16]) view.setUint32(at, time, true);
  for (const at of [132, 136]) view.setUint32(at, epochOf(time), true);
  return bytes;
}

/** The numbers of a device, as the kernel has them in the first or, for large ones, the second word of the map. */
export function encodeDevice(major: number, minor: number): Uint8Array {
  const map = new Uint8Array(MAP_BYTES);
  const view = new DataView(map.buffer);
  if (major < 256 && minor < 256) view.setUint32(0, (major << 8) | minor, true);
  else view.setUint32(4, (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12), true);
  return map;
}

/** Blocks of a file that are one behind the other in it and on the disk. */
export interface MappedRun extends Run {
  /** The first one's place in the file, in blocks. What no run has are zeros. */
  logical: number;
}

export interface BlockMap {
  map: Uint8Array;
  hasExtents: boolean;
  /** Blocks that hold a part of the map, with their content. */
  tables: { block: number; bytes: Uint8Array<ArrayBuffer> }[];
}

/**
 * @param runs in the order of the file
 * @returns null when there is no room for the map's own blocks
 */
export type MapBlocks = (runs: readonly MappedRun[], allocator: BlockAllocator, blockBytes: number) => BlockMap | null;

/** The runs of a file from its first block on, without a gap. */
export function mapInOrder(runs: readonly Run[]): MappedRun[] {
  let logical = 0;
  return runs.map(({ start, length }) => {
    const run = { logical, start, length };
    logical += length;
    return run;
  });
}

const EXTENT_MAGIC = 0xf30a;
const EXTENT_BYTES = 12;
/** Those that fit into the inode. */
const INLINE_EXTENTS = 4;
const MAX_EXTENT_BLOCKS = 32_768;

/** ext4: runs of blocks, in the inode itself or in a tree of blocks that it names. */
export const mapExtents: MapBlocks = (runs, allocator, blockBytes) => {
  let level = runs.flatMap(({ logical, start, length }) =>
    Array.from({ length: Math.ceil(length / MAX_EXTENT_BLOCKS) }, (_, part): MappedRun => {
      const done = part * MAX_EXTENT_BLOCKS;
      return { logical: logical + done, start: start + done, length: Math.min(MAX_EXTENT_BLOCKS, length - done) };
    }),
  );
  const tables: BlockMap["tables"] = [];
  const perBlock = Math.floor((blockBytes - EXTENT_BYTES) / EXTENT_BYTES);
  let depth = 0;
  for (; level.length > INLINE_EXTENTS; depth += 1) {
    const blocks = allocator.allocate(Math.ceil(level.length / perBlock))?.flatMap(blocksOf);
    if (!blocks) return null;
    const below = level;
    level = blocks.map((block, index) => {
      const part = below.slice(index * perBlock, (index + 1) * perBlock);
      const bytes = new Uint8Array(blockBytes);
      writeNode(bytes, depth, perBlock, part);
      tables.push({ block, bytes });
      return { logical: (part[0] as MappedRun).logical, start: block, length: 1 };
    });
  }
  const map = new Uint8Array(MAP_BYTES);
  writeNode(map, depth, INLINE_EXTENTS, level);
  return { map, hasExtents: true, tables };
};

/** @param entries extents of the file, or at a depth above 0 the nodes below and where in the file they begin */
function writeNode(bytes: Uint8Array, depth: number, most: number, entries: readonly MappedRun[]): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint16(0, EXTENT_MAGIC, true);
  view.setUint16(2, entries.length, true);
  view.setUint16(4, most, true);
  view.setUint16(6, depth, true);
  for (const [index, { logical, start, length }] of entries.entries()) {
    const at = (index + 1) * EXTENT_BYTES;
    view.setUint32(at, logical, true);
    if (depth === 0) {
      view.setUint16(at + 4, length, true);
      view.setUint32(at + 8, start, true);
    } else view.setUint32(at + 4, start, true);
  }
}

const DIRECT = 12;

/** ext2 and ext3: twelve blocks in the inode, then tables of blocks of one, two and three levels. */
export const mapIndirect: MapBlocks = (runs, allocator, blockBytes) => {
  const map = new Uint8Array(MAP_BYTES);
  const view = new DataView(map.buffer);
  const tables: BlockMap["tables"] = [];
  const perTable = blockBytes / 4;
  const last = runs.at(-1);
  const end = last ? last.logical + last.length : 0;
  let at = 0;
  /** Blocks are asked for in the order of the file. @returns 0 for a hole */
  const find = (logical: number): number => {
    let run = runs[at];
    while (run && run.logical + run.length <= logical) run = runs[++at];
    return run && run.logical <= logical ? run.start + logical - run.logical : 0;
  };
  const isHole = (from: number, to: number): boolean => find(from) === 0 && (runs[at]?.logical ?? to) >= to;

  /** @returns the table's block, 0 for one of holes, or null without room */
  const table = (level: number, from: number): number | null => {
    const span = perTable ** level;
    if (isHole(from, from + span * perTable)) return 0;
    const block = allocator.allocate(1)?.[0]?.start;
    if (block === undefined) return null;
    const bytes = new Uint8Array(blockBytes);
    const entries = new DataView(bytes.buffer);
    tables.push({ block, bytes });
    for (let index = 0; index < perTable && from + index * span < end; index += 1) {
      const entry = level === 0 ? find(from + index) : table(level - 1, from + index * span);
      if (entry === null) return null;
      entries.setUint32(index * 4, entry, true);
    }
    return block;
  };
  for (let index = 0; index < DIRECT; index += 1) view.setUint32(index * 4, find(index), true);
  let from = DIRECT;
  for (let level = 0; level < 3 && from < end; level += 1) {
    const block = table(level, from);
    if (block === null) return null;
    view.setUint32((DIRECT + level) * 4, block, true);
    from += perTable ** (level + 1);
  }
  return from < end ? null : { map, hasExtents: false, tables };
};

function blocksOf({ start, length }: Run): number[] {
  return Array.from({ length }, (_, index) => start + index);
}
