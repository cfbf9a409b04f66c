/**
 * What a file system keeps when it is written anew around its files: their blocks stay where they are unless a table or
 * the new end is in the way, and so do their times, flags and extended attributes.
 *
 * Limitations: names, directories and tables are in memory, contents are not.
 */
import type { Layout, Likeness, Run } from "./extfs-layout.ts";
import { type FileTree, FormatError, quote } from "./file-tree.ts";

/** Blocks of a file as they are on the disk. */
export interface KeptRun {
  /** The first one's place in the file, in blocks. */
  logical: number;
  start: number;
  length: number;
  /** What they hold, when that is in the journal instead. */
  bytes?: Uint8Array<ArrayBuffer>;
}

/** An inode of the disk. */
export interface KeptInode {
  /** INODE_BYTES, its own extended attributes included. */
  before: Uint8Array;
  /** One of FORMAT_BITS. */
  format: number;
  /** A block of further extended attributes, and its number, by which several inodes share it. */
  attributes: { block: number; bytes: Uint8Array<ArrayBuffer> } | null;
  /** The content of a file; nothing for anything else. */
  size: number;
  runs: readonly KeptRun[];
}

/** The content of a file that comes from elsewhere. */
export interface NewContent {
  size: number;
  /** Number of the source: see Reference. */
  source: number;
}

/** A tree whose files have no content of their own. */
export interface KeptFiles {
  tree: FileTree;
  /** By path. */
  inodes: Map<string, KeptInode>;
  /** By path: files that are new. */
  contents: Map<string, NewContent>;
  like: Likeness;
}

export interface Placement {
  /** By path: the parts of files that stay, and those that have to go elsewhere, in the order of the file. */
  files: Map<string, { stay: KeptRun[]; move: KeptRun[] }>;
  /** All that stay, in the order of the disk. */
  taken: Run[];
}

/** @throws FormatError when two files have the same block */
export function placeKept(inodes: ReadonlyMap<string, KeptInode>, layout: Layout): Placement {
  const files: Placement["files"] = new Map();
  const taken: Run[] = [];
  for (const [path, { runs }] of inodes) {
    if (runs.length === 0) continue;
    const parts = { stay: [] as KeptRun[], move: [] as KeptRun[] };
    for (const run of runs)
      for (const part of splitRun(run, layout)) {
        const piece = cutRun(run, part.start, part.length, layout.blockBytes);
        (part.stays ? parts.stay : parts.move).push(piece);
        if (part.stays) taken.push({ start: piece.start, length: piece.length });
      }
    files.set(path, parts);
  }
  taken.sort((a, b) => a.start - b.start);
  let end = 0;
  for (const { start, length } of taken) {
    if (start < end)
      throw new FormatError(`Cannot change the file system: it is damaged, two files have the block ${start}`);
    end = start + length;
  }
  return { files, taken };
}

/** Cuts a run where the tables of groups, and the end, begin and end. */
function* splitRun(run: Run, layout: Layout): Generator<Run & { stays: boolean }> {
  const { groups, firstDataBlock, blocksPerGroup, blocks } = layout;
  const end = run.start + run.length;
  for (let at = run.start; at < end; ) {
    const group = groups[Math.floor((at - firstDataBlock) / blocksPerGroup)];
    if (!group || at >= blocks) {
      yield { start: at, length: end - at, stays: false };
      return;
    }
    const stays = at >= group.data;
    const next = Math.min(end, stays ? group.start + group.blocks : group.data);
    yield { start: at, length: next - at, stays };
    at = next;
  }
}

function cutRun(run: KeptRun, start: number, length: number, blockBytes: number): KeptRun {
  const skipped = start - run.start;
  const piece = { logical: run.logical + skipped, start, length };
  const bytes = run.bytes?.subarray(skipped * blockBytes, (skipped + length) * blockBytes);
  return bytes ? { ...piece, bytes } : piece;
}

export function refuseChange(path: string, state: string): FormatError {
  return new FormatError(`Cannot change the disk: ${quote(path)} ${state}`, path);
}
