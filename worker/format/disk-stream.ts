/** A disk on its way into a file: its written areas in order, taken one after the other, never all at once. */
import { FormatError } from "./file-tree.ts";
import type { BlockSource, Extent, SparseImage } from "./sparse-image.ts";

/** An area of a disk, in bytes. */
export interface Run {
  offset: number;
  length: number;
}

/** A disk to be written out. What no extent holds is zero. */
export interface DiskStream {
  /** In bytes. */
  readonly size: number;
  /** In order, none overlapping another. They can be walked more than once. */
  extents(): Iterable<Extent> | AsyncIterable<Extent>;
  /** Where the extents are, for formats that have their map at the start. Without it they are walked twice. */
  runs?(): Iterable<Run> | AsyncIterable<Run>;
}

/** Bytes at their place in a file that is being made. */
export interface Piece {
  /** In bytes from the file's start. */
  offset: number;
  bytes: Uint8Array<ArrayBuffer>;
}

/** One cluster of a disk that is not zero. */
export interface Cluster {
  index: number;
  /** As long as a cluster: the last one of a disk is filled up with zeros. */
  bytes: Uint8Array<ArrayBuffer>;
}

/** Pieces of this length are read from a file or another disk. */
const STEP_BYTES = 256 * 1024;

export function streamOf(image: SparseImage): DiskStream {
  return { size: image.size, extents: () => image.extents };
}

/** A disk that is read piece by piece; what is zero in it is found by reading. */
export function streamOfSource(source: BlockSource): DiskStream {
  return {
    size: source.size,
    async *extents() {
      for (let offset = 0; offset < source.size; offset += STEP_BYTES)
        yield { offset, bytes: await source.read(offset, Math.min(STEP_BYTES, source.size - offset)) };
    },
  };
}

/**
 * Cuts a disk into clusters and leaves out those of zeros. A cluster that lies within one extent is a view into it.
 * @throws FormatError when the extents are not in order or reach beyond the disk
 */
export async function* clustersOf(disk: DiskStream, clusterBytes: number): AsyncGenerator<Cluster, void> {
  let open: Cluster | null = null;
  let end = 0;
  for await (const { offset, bytes } of disk.extents()) {
    if (offset < end) throw new FormatError(`Cannot write the disk: what is at ${offset} comes after ${end}`);
    end = offset + bytes.length;
    if (end > disk.size) throw new FormatError(`Cannot write the disk: ${end} is beyond its ${disk.size} bytes`);
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / clusterBytes);
      const within = at - index * clusterBytes;
      const part = bytes.subarray(at - offset, Math.min(at - offset + clusterBytes - within, bytes.length));
      at += part.length;
      if (open && open.index !== index) {
        if (!isZero(open.bytes)) yield open;
        open = null;
      }
      if (!open && part.length === clusterBytes) {
        if (!isZero(part)) yield { index, bytes: part };
        continue;
      }
      open ??= { index, bytes: new Uint8Array(clusterBytes) };
      open.bytes.set(part, within);
    }
  }
  if (open && !isZero(open.bytes)) yield open;
}

/** The clusters in which a disk has anything, in order. Ones with zeros alone can be among them. */
export async function usedClusters(disk: DiskStream, clusterBytes: number): Promise<number[]> {
  const used: number[] = [];
  if (!disk.runs) {
    for await (const { index } of clustersOf(disk, clusterBytes)) used.push(index);
    return used;
  }
  let next = 0;
  for await (const { offset, length } of disk.runs()) {
    if (length === 0) continue;
    const last = Math.floor((offset + length - 1) / clusterBytes);
    for (next = Math.max(next, Math.floor(offset / clusterBytes)); next <= last; next += 1) used.push(next);
  }
  return used;
}

/** Four bytes at a time where they lie at a multiple of four. */
export function isZero(bytes: Uint8Array): boolean {
  if (bytes.byteOffset % 4 !== 0 || bytes.length % 4 !== 0) return bytes.every((byte) => byte === 0);
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  for (let at = 0; at < words.length; at += 1) if (words[at] !== 0) return false;
  return true;
}

export function alignTo(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}
