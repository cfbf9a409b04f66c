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
} as const;

/** 60 bytes of the inode that tell where its blocks are, or hold a short symlink or a device number. */
export const MAP_BYTES = 60;
const MAP = 40;
const EXTENTS_FLAG = 0x80000;
const EXTRA_BYTES = 32;

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
}

export function encodeInode(inode: Inode, blockBytes: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(INODE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, inode.format | inode.mode, true);
  view.setUint16(2, inode.uid & 0xffff, true);
  view.setUint32(4, inode.size % 2 ** 32, true);
  for (const at of [8, 12, 16]) view.setUint32(at, inode.mtime, true);
  view.setUint16(24, inode.gid & 0xffff, true);
  view.setUint16(26, inode.links, true);
  view.setUint32(28, inode.blocks * (blockBytes / 512), true);
  view.setUint32(32, inode.hasExtents ? EXTENTS_FLAG : 0, true);
  bytes.set(inode.map, MAP);
  view.setUint32(108, Math.floor(inode.size / 2 ** 32), true);
  view.setUint16(120, inode.uid >>> 16, true);
  view.setUint16(122, inode.gid >>> 16, true);
  view.setUint16(128, EXTRA_BYTES, true);
  // The seconds are signed; what is beyond 2038 counts from 2³² seconds before on. ctime, mtime, atime, crtime.
  const epoch = inode.mtime >= 2 ** 31 ? 1 : 0;
  for (const at of [132, 136, 140, 148]) view.setUint32(at, epoch, true);
  view.setUint32(144, inode.mtime, true);
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

export interface BlockMap {
  map: Uint8Array;
  hasExtents: boolean;
  /** Blocks that hold a part of the map, with their content. */
  tables: { block: number; bytes: Uint8Array<ArrayBuffer> }[];
}

/** @returns null when there is no room for the map's own blocks */
export type MapBlocks = (runs: readonly Run[], allocator: BlockAllocator, blockBytes: number) => BlockMap | null;

const EXTENT_MAGIC = 0xf30a;
const EXTENT_BYTES = 12;
/** Those that fit into the inode. */
const INLINE_EXTENTS = 4;
const MAX_EXTENT_BLOCKS = 32_768;

/** ext4: runs of blocks, in the inode itself or in blocks that it names. */
export const mapExtents: MapBlocks = (runs, allocator, blockBytes) => {
  const extents: { logical: number; start: number; length: number }[] = [];
  let logical = 0;
  for (const run of runs)
    for (let done = 0; done < run.length; done += MAX_EXTENT_BLOCKS) {
      const length = Math.min(MAX_EXTENT_BLOCKS, run.length - done);
      extents.push({ logical, start: run.start + done, length });
      logical += length;
    }
  const map = new Uint8Array(MAP_BYTES);
  if (extents.length <= INLINE_EXTENTS) {
    writeNode(map, 0, INLINE_EXTENTS, extents.length);
    for (const [index, extent] of extents.entries()) writeExtent(map, index, extent);
    return { map, hasExtents: true, tables: [] };
  }
  const perBlock = Math.floor((blockBytes - EXTENT_BYTES) / EXTENT_BYTES);
  const leaves = Math.ceil(extents.length / perBlock);
  // Files are written in ascending order: a gap comes once in a group, so that a tree of one level reaches to 64 GiB.
  if (leaves > INLINE_EXTENTS) return null;
  const blocks = allocator.allocate(leaves)?.flatMap((run) => blocksOf([run]));
  if (!blocks) return null;
  writeNode(map, 1, INLINE_EXTENTS, leaves);
  const tables = blocks.map((block, leaf) => {
    const part = extents.slice(leaf * perBlock, (leaf + 1) * perBlock);
    const bytes = new Uint8Array(blockBytes);
    writeNode(bytes, 0, perBlock, part.length);
    for (const [index, extent] of part.entries()) writeExtent(bytes, index, extent);
    const view = new DataView(map.buffer);
    view.setUint32((leaf + 1) * EXTENT_BYTES, part[0]?.logical ?? 0, true);
    view.setUint32((leaf + 1) * EXTENT_BYTES + 4, block, true);
    return { block, bytes };
  });
  return { map, hasExtents: true, tables };
};

function writeNode(bytes: Uint8Array, depth: number, most: number, count: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint16(0, EXTENT_MAGIC, true);
  view.setUint16(2, count, true);
  view.setUint16(4, most, true);
  view.setUint16(6, depth, true);
}

function writeExtent(
  bytes: Uint8Array,
  index: number,
  { logical, start, length }: { logical: number; start: number; length: number },
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const at = (index + 1) * EXTENT_BYTES;
  view.setUint32(at, logical, true);
  view.setUint16(at + 4, length, true);
  view.setUint32(at + 8, start, true);
}

const DIRECT = 12;

/** ext2 and ext3: twelve blocks in the inode, then tables of blocks of one, two and three levels. */
export const mapIndirect: MapBlocks = (runs, allocator, blockBytes) => {
  const map = new Uint8Array(MAP_BYTES);
  const view = new DataView(map.buffer);
  const blocks = blocksOf(runs);
  const tables: BlockMap["tables"] = [];
  let used = 0;
  for (; used < Math.min(DIRECT, blocks.length); used += 1) view.setUint32(used * 4, blocks[used] as number, true);
  const perTable = blockBytes / 4;

  /** @returns the table's block, or null without room */
  const table = (level: number): number | null => {
    const block = allocator.allocate(1)?.[0]?.start;
    if (block === undefined) return null;
    const bytes = new Uint8Array(blockBytes);
    const entries = new DataView(bytes.buffer);
    tables.push({ block, bytes });
    for (let index = 0; index < perTable && used < blocks.length; index += 1) {
      const entry = level === 0 ? (blocks[used++] as number) : table(level - 1);
      if (entry === null) return null;
      entries.setUint32(index * 4, entry, true);
    }
    return block;
  };
  for (let level = 0; level < 3 && used < blocks.length; level += 1) {
    const block = table(level);
    if (block === null) return null;
    view.setUint32((DIRECT + level) * 4, block, true);
  }
  return used < blocks.length ? null : { map, hasExtents: false, tables };
};

function blocksOf(runs: readonly Run[]): number[] {
  return runs.flatMap(({ start, length }) => Array.from({ length }, (_, index) => start + index));
}
