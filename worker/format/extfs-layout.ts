/**
 * Where the parts of an ext2, ext3 or ext4 file system lie. Source: Documentation/filesystems/ext4/blockgroup.rst and
 * globals.rst of Linux. Each block group is
 *
 *   [superblock, group descriptors]  block bitmap  inode bitmap  inode table  data …
 *
 * the first two only in the groups 0, 1 and powers of 3, 5 and 7 (sparse_super).
 * Limitations: 32-byte descriptors (no 64bit), no reserved descriptors: the kernel cannot grow it while it is mounted.
 */
import { FormatError } from "./file-tree.ts";

export interface Layout {
  blockBytes: number;
  blocks: number;
  /** 1 when a block is 1024 bytes: the superblock has a block of its own behind the boot sectors. */
  firstDataBlock: number;
  blocksPerGroup: number;
  inodesPerGroup: number;
  groups: readonly Group[];
}

export interface Group {
  /** The group's first block. */
  start: number;
  blocks: number;
  hasSuperblock: boolean;
  blockBitmap: number;
  inodeBitmap: number;
  inodeTable: number;
  /** The first block behind all of these. */
  data: number;
}

export const INODE_BYTES = 256;
const DESCRIPTOR_BYTES = 32;
/** A disk smaller than this has blocks of 1024 bytes, as mke2fs gives it: less is lost behind small files. */
const SMALL_BYTES = 128 * 1024 * 1024;
const SMALL_BYTES_PER_INODE = 4096;
const BYTES_PER_INODE = 16_384;
/** A last group with fewer blocks for data is left out, as mke2fs does. */
const LEAST_DATA_BLOCKS = 50;

/** What a file system that is written anew around its files keeps, so that few of them are in the way. */
export type Likeness = Pick<Layout, "blockBytes" | "inodesPerGroup">;

/**
 * @param size in bytes
 * @param inodes how many there must be at least, those that the file system keeps for itself included
 * @param like decides over the size of blocks, and how many inodes a group has at least
 * @throws FormatError when the size holds no file system
 */
export function planLayout(size: number, inodes: number, like?: Likeness): Layout {
  const blockBytes = like?.blockBytes ?? (size < SMALL_BYTES ? 1024 : 4096);
  const firstDataBlock = blockBytes === 1024 ? 1 : 0;
  const blocksPerGroup = 8 * blockBytes;
  let blocks = Math.floor(size / blockBytes);
  const perInode = size < SMALL_BYTES ? SMALL_BYTES_PER_INODE : BYTES_PER_INODE;
  for (;;) {
    const count = Math.ceil((blocks - firstDataBlock) / blocksPerGroup);
    if (count < 1) throw new FormatError(`Cannot make a file system of ${size} bytes: it is too small`);
    const perBlock = blockBytes / INODE_BYTES;
    const usual = like ? like.inodesPerGroup * count : Math.floor((blocks * blockBytes) / perInode);
    const wanted = Math.max(inodes + 8, usual);
    const multiple = Math.max(8, perBlock);
    const inodesPerGroup = Math.ceil(wanted / count / multiple) * multiple;
    if (inodesPerGroup > 8 * blockBytes)
      throw new FormatError(
        `Cannot fit ${inodes} files: a file system of ${size} bytes can have ${8 * blockBytes * count}`,
      );
    const descriptorBlocks = Math.ceil((count * DESCRIPTOR_BYTES) / blockBytes);
    const tableBlocks = inodesPerGroup / perBlock;
    const groups: Group[] = [];
    for (let index = 0; index < count; index += 1) {
      const start = firstDataBlock + index * blocksPerGroup;
      const hasSuperblock = hasCopies(index);
      const blockBitmap = start + (hasSuperblock ? 1 + descriptorBlocks : 0);
      groups.push({
        start,
        blocks: Math.min(blocksPerGroup, blocks - start),
        hasSuperblock,
        blockBitmap,
        inodeBitmap: blockBitmap + 1,
        inodeTable: blockBitmap + 2,
        data: blockBitmap + 2 + tableBlocks,
      });
    }
    const last = groups.at(-1) as Group;
    if (last.start + last.blocks - last.data >= LEAST_DATA_BLOCKS)
      return { blockBytes, blocks, firstDataBlock, blocksPerGroup, inodesPerGroup, groups };
    if (count === 1)
      throw new FormatError(`Cannot make a file system of ${size} bytes: its own tables leave no room for files`);
    blocks = last.start;
  }
}

/** Says whether a group has copies of the superblock and the descriptors, under sparse_super. */
export function hasCopies(group: number): boolean {
  if (group <= 1) return true;
  for (const base of [3, 5, 7]) {
    let power = base;
    while (power < group) power *= base;
    if (power === group) return true;
  }
  return false;
}

export interface Run {
  start: number;
  length: number;
}

/** Hands out blocks in ascending order, past the tables of each group and past what is taken. */
export class BlockAllocator {
  #group = 0;
  #next: number;
  #free: number;
  /** The first taken run that does not end before `#next`. */
  #at = 0;

  /** @param taken blocks of files that stay where they are: in order, none overlapping another or a table */
  constructor(
    private readonly layout: Layout,
    private readonly taken: readonly Run[] = [],
  ) {
    this.#next = (layout.groups[0] as Group).data;
    this.#free =
      layout.groups.reduce((sum, { start, blocks, data }) => sum + start + blocks - data, 0) -
      taken.reduce((sum, { length }) => sum + length, 0);
  }

  /** Blocks that are still free. */
  get free(): number {
    return this.#free;
  }

  /** @returns null when there are not that many; then none is taken */
  allocate(count: number): Run[] | null {
    if (count > this.#free) return null;
    const runs: Run[] = [];
    for (let left = count; left > 0; ) {
      const length = Math.min(left, this.#findGap() - this.#next);
      runs.push({ start: this.#next, length });
      this.#next += length;
      left -= length;
    }
    this.#free -= count;
    return runs;
  }

  /** Goes on to the next free block. @returns where the free ones behind it end */
  #findGap(): number {
    for (;;) {
      const { start, blocks } = this.layout.groups[this.#group] as Group;
      const end = start + blocks;
      let run = this.taken[this.#at];
      while (run && run.start + run.length <= this.#next) run = this.taken[++this.#at];
      if (this.#next >= end) {
        this.#group += 1;
        this.#next = (this.layout.groups[this.#group] as Group).data;
      } else if (run && run.start <= this.#next) this.#next = run.start + run.length;
      else return Math.min(end, run?.start ?? end);
    }
  }

  /** What is in use of a group, its tables included: runs in order. */
  used(index: number): Run[] {
    const { start, blocks, data } = this.layout.groups[index] as Group;
    const end = start + blocks;
    if (index < this.#group) return [{ start, length: blocks }];
    const first = index === this.#group ? this.#next : data;
    const runs: Run[] = [{ start, length: first - start }];
    let low = 0;
    let high = this.taken.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.taken[middle] as Run).start < first) low = middle + 1;
      else high = middle;
    }
    for (let at = low; at < this.taken.length && (this.taken[at] as Run).start < end; at += 1)
      runs.push(this.taken[at] as Run);
    return runs;
  }
}
