/**
 * Where the blocks of a file are: trees of extents, and tables of blocks of one, two and three levels. Source:
 * Documentation/filesystems/ext4/ifork.rst of Linux.
 */
import { crc32c } from "./extfs-checksum.ts";
import { unreadable } from "./extfs-reader-superblock.ts";
import { type ExtVolume, INODE_FLAGS, type RawInode } from "./extfs-reader-volume.ts";

/** Blocks of a file that are one behind the other on the disk. */
export interface FileRun {
  /** The first one's place in the file, in blocks. */
  logical: number;
  /** The first one's place in the file system; null: they are zeros that have no blocks. */
  start: number | null;
  length: number;
}

const EXTENT_MAGIC = 0xf30a;
const ENTRY_BYTES = 12;
const MOST_LEVELS = 5;
/** An extent that says it is longer is allocated, but has not been written. */
const MOST_WRITTEN = 32_768;
const MOST_LOGICAL = 2 ** 32;
const DIRECT = 12;

/**
 * The runs of the blocks `first` to `end - 1` of a file, without a gap.
 * @throws FormatError when they cannot be known
 */
export async function* runsOf(
  volume: ExtVolume,
  inode: RawInode,
  first: number,
  end: number,
): AsyncGenerator<FileRun, void> {
  const mapped =
    inode.flags & INODE_FLAGS.extents
      ? extentsOf(volume, inode, inode.map, null, { low: 0, high: MOST_LOGICAL, first, end })
      : tablesOf(volume, inode, first, end);
  let next = first;
  let pending: FileRun | null = null;
  for await (const { logical, start, length } of mapped) {
    const from = Math.max(logical, first);
    const to = Math.min(logical + length, end);
    if (from >= to) continue;
    const run: FileRun = { logical: from, start: start === null ? null : start + from - logical, length: to - from };
    if (pending && isContinued(pending, run)) {
      pending.length += run.length;
    } else {
      if (pending) yield pending;
      if (from > next) yield { logical: next, start: null, length: from - next };
      pending = run;
    }
    next = to;
  }
  if (pending) yield pending;
  if (next < end) yield { logical: next, start: null, length: end - next };
}

function isContinued(run: FileRun, next: FileRun): boolean {
  if (run.logical + run.length !== next.logical) return false;
  return run.start === null ? next.start === null : run.start + run.length === next.start;
}

interface Range {
  /** What the node may speak of. */
  low: number;
  high: number;
  /** What is asked for. */
  first: number;
  end: number;
}

/**
 * @param level of the node above, null for the one in the inode. It falls by one with each step, and the ranges of the
 * nodes beside each other do not overlap, so that damage cannot make the walk endless.
 */
async function* extentsOf(
  volume: ExtVolume,
  inode: RawInode,
  node: Uint8Array,
  level: number | null,
  { low, high, first, end }: Range,
): AsyncGenerator<FileRun, void> {
  const damaged = (state: string): Error =>
    unreadable(`the inode ${inode.number} is damaged, its tree of extents ${state}`);
  const view = new DataView(node.buffer, node.byteOffset, node.length);
  const count = view.getUint16(2, true);
  const most = view.getUint16(4, true);
  const depth = view.getUint16(6, true);
  if (view.getUint16(0, true) !== EXTENT_MAGIC) throw damaged("has a node that is none");
  if (count > most || (most + 1) * ENTRY_BYTES > node.length) throw damaged(`has a node of ${count} entries`);
  if (level === null ? depth > MOST_LEVELS : depth !== level - 1) throw damaged(`has a node of the level ${depth}`);
  if (count === 0 && level !== null) throw damaged("has a node without entries");
  let next = low;
  for (let index = 1; index <= count; index += 1) {
    const at = index * ENTRY_BYTES;
    const logical = view.getUint32(at, true);
    if (logical < next || logical >= high) throw damaged("is not in order");
    if (depth > 0) {
      const to = index < count ? view.getUint32(at + ENTRY_BYTES, true) : high;
      if (to <= logical) throw damaged("is not in order");
      next = to;
      if (logical >= end || to <= first) continue;
      const block = view.getUint32(at + 4, true) + view.getUint16(at + 8, true) * 2 ** 32;
      const child = await volume.block(block);
      checkNode(inode, child);
      yield* extentsOf(volume, inode, child, depth, { low: logical, high: to, first, end });
      continue;
    }
    const said = view.getUint16(at + 4, true);
    const length = said > MOST_WRITTEN ? said - MOST_WRITTEN : said;
    next = logical + length;
    if (length === 0 || next > high) throw damaged("is not in order");
    const start = view.getUint32(at + 8, true) + view.getUint16(at + 6, true) * 2 ** 32;
    volume.checkBlocks(start, length);
    yield { logical, start: said > MOST_WRITTEN ? null : start, length };
  }
}

function checkNode(inode: RawInode, node: Uint8Array): void {
  if (inode.seed === null) return;
  const view = new DataView(node.buffer, node.byteOffset, node.length);
  const tail = (view.getUint16(4, true) + 1) * ENTRY_BYTES;
  if (tail + 4 > node.length || crc32c(inode.seed, node.subarray(0, tail)) !== view.getUint32(tail, true))
    throw unreadable(`the inode ${inode.number} is damaged, the checksum of its tree of extents does not match`);
}

async function* tablesOf(
  volume: ExtVolume,
  inode: RawInode,
  first: number,
  end: number,
): AsyncGenerator<FileRun, void> {
  const perTable = volume.superblock.blockBytes / 4;
  const map = new DataView(inode.map.buffer, inode.map.byteOffset, inode.map.length);
  yield* entriesOf(volume, map, { count: DIRECT, base: 0, span: 1, first, end });
  let base = DIRECT;
  for (let level = 1; level <= 3; level += 1) {
    const span = perTable ** level;
    const block = map.getUint32((DIRECT + level - 1) * 4, true);
    if (block !== 0 && base < end && base + span > first)
      yield* tableOf(volume, block, { base, span: span / perTable, first, end });
    base += span;
  }
  if (end > base) throw unreadable(`the inode ${inode.number} is damaged, it is larger than a file can be`);
}

interface TableRange {
  /** The first block of the file that the table speaks of. */
  base: number;
  /** Blocks that one entry stands for: 1, or what a table below holds. */
  span: number;
  first: number;
  end: number;
}

async function* tableOf(volume: ExtVolume, block: number, range: TableRange): AsyncGenerator<FileRun, void> {
  const bytes = await volume.block(block);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  yield* entriesOf(volume, view, { ...range, count: bytes.length / 4 });
}

async function* entriesOf(
  volume: ExtVolume,
  view: DataView,
  { base, span, first, end, count }: TableRange & { count: number },
): AsyncGenerator<FileRun, void> {
  const from = Math.max(0, Math.floor((first - base) / span));
  const to = Math.min(count, Math.ceil((end - base) / span));
  const perTable = volume.superblock.blockBytes / 4;
  let run: FileRun | null = null;
  for (let index = from; index < to; index += 1) {
    const block = view.getUint32(index * 4, true);
    if (block === 0) continue;
    const logical = base + index * span;
    if (span > 1) {
      yield* tableOf(volume, block, { base: logical, span: span / perTable, first, end });
      continue;
    }
    volume.checkBlocks(block, 1);
    const next: FileRun = { logical, start: block, length: 1 };
    if (run && isContinued(run, next)) {
      run.length += 1;
      continue;
    }
    if (run) yield run;
    run = next;
  }
  if (run) yield run;
}
