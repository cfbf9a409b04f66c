/**
 * A chunk of a disk as it lies in the storage, alone or in a group, and its key.
 *
 *   0        32768 (or 0)   +4         +8
 *   ┌──────────┬────────────┬──────────┐
 *   │  data    │ index u32  │ sum u32  │   little endian
 *   └──────────┴────────────┴──────────┘
 *
 *   0                        524288          +64
 *   ┌────────────────────────┬────────────────┐
 *   │  data of 16 chunks     │ their sums u32 │   a group: those whose indices begin at a multiple of 16
 *   └────────────────────────┴────────────────┘
 *
 * `sum` is the XXH32 of the data with the index as its seed, so that a chunk in the wrong place is found as well. A record
 * without data stands for zeros where a layer below has something else. What a layer has alone hides what it has in a group.
 *
 * 32 KiB is measured: small synced writes take hardly longer than with 4 KiB (1.2 against 0.8 ms), long ones run at 136 MB/s
 * against 46, and beyond 64 KiB Chromium makes a file of each record (3.8 ms for a synced write). For a long write those
 * files are what is fast: it takes 5 to 6 ms a MiB in groups, 9 to 14 alone, and twice that where records are replaced, since
 * Chromium's database notes what was there before and sorts what it has got, again and again.
 */
import { xxh32 } from "./disk-checksum.ts";

export const CHUNK_BYTES = 32 * 1024;
const TRAILER_BYTES = 8;
export const RECORD_BYTES = CHUNK_BYTES + TRAILER_BYTES;
export const SECTOR_BYTES = 512;

/** Keys of one layer: those of chunks, and from GROUP_KEYS on those of groups. */
export const LAYER_KEYS = 2 ** 24;
export const GROUP_KEYS = 2 ** 23;

/** Chunks of a group, which has 512 KiB. */
export const GROUP_CHUNKS = 16;
const GROUP_BYTES = GROUP_CHUNKS * CHUNK_BYTES;
const GROUP_RECORD_BYTES = GROUP_BYTES + GROUP_CHUNKS * 4;

/** A chunk in memory: its CHUNK_BYTES of data, and perhaps the rest of its record behind them. */
export type ChunkBuffer = Uint8Array<ArrayBuffer>;

export function newChunk(): ChunkBuffer {
  return new Uint8Array(RECORD_BYTES);
}

/** Stands for every chunk that is not stored. It must never be written to. */
export const ZERO_CHUNK: ChunkBuffer = newChunk();

/** Stands for a chunk of which a part is damaged that came from elsewhere: no reader takes it for a chunk. */
export const DAMAGED_RECORD = new Uint8Array(1);

/** Keys are numbers: IndexedDB compares and stores them faster than pairs. */
export function chunkKey(layer: number, index: number): number {
  return layer * LAYER_KEYS + index;
}

/** @param group a chunk's index divided by GROUP_CHUNKS */
export function groupKey(layer: number, group: number): number {
  return layer * LAYER_KEYS + GROUP_KEYS + group;
}

export function groupOf(index: number): number {
  return Math.floor(index / GROUP_CHUNKS);
}

export class DamagedChunkError extends Error {}

/**
 * Writes index and sum behind the data, in the chunk's memory where there is room for them, and returns what is to be stored:
 * a record without data when it is all zeros.
 */
export function sealRecord(chunk: ChunkBuffer, index: number): Uint8Array<ArrayBuffer> {
  if (isZero(chunk)) return sealTrailer(new Uint8Array(TRAILER_BYTES), index);
  if (chunk.length === RECORD_BYTES && chunk.buffer.byteLength === RECORD_BYTES) return sealTrailer(chunk, index);
  const record = newChunk();
  record.set(chunk.subarray(0, CHUNK_BYTES));
  return sealTrailer(record, index);
}

/**
 * Checks a record. Its buffer becomes the chunk's.
 * @throws DamagedChunkError when it is not what was stored for this index
 */
export function openRecord(record: unknown, index: number): ChunkBuffer {
  if (!(record instanceof Uint8Array) || (record.length !== RECORD_BYTES && record.length !== TRAILER_BYTES))
    throw new DamagedChunkError(`Cannot read chunk ${index}: what is stored there is no chunk`);
  const data = record.length - TRAILER_BYTES;
  const trailer = new DataView(record.buffer, record.byteOffset + data, TRAILER_BYTES);
  const isRight = trailer.getUint32(0, true) === index;
  if (!isRight || trailer.getUint32(4, true) !== xxh32(record.subarray(0, data), index))
    throw new DamagedChunkError(`Cannot read chunk ${index}: its checksum is wrong`);
  return data === 0 ? ZERO_CHUNK : (record as ChunkBuffer);
}

/** @param data of a group's chunks, one after the other */
export function sealGroup(data: Uint8Array, group: number): Uint8Array<ArrayBuffer> {
  const record = new Uint8Array(GROUP_RECORD_BYTES);
  record.set(data);
  const sums = new DataView(record.buffer, GROUP_BYTES);
  for (let at = 0; at < GROUP_CHUNKS; at += 1)
    sums.setUint32(at * 4, xxh32(chunkIn(record, at), group * GROUP_CHUNKS + at), true);
  return record;
}

/**
 * Takes a chunk out of a group's record, in whose memory it stays.
 * @throws DamagedChunkError when it is not what was stored for this index
 */
export function openInGroup(record: unknown, index: number): ChunkBuffer {
  if (!(record instanceof Uint8Array) || record.length !== GROUP_RECORD_BYTES)
    throw new DamagedChunkError(`Cannot read chunk ${index}: what is stored there is no group of chunks`);
  const at = index % GROUP_CHUNKS;
  const sums = new DataView(record.buffer, record.byteOffset + GROUP_BYTES);
  const data = chunkIn(record, at);
  if (sums.getUint32(at * 4, true) !== xxh32(data, index))
    throw new DamagedChunkError(`Cannot read chunk ${index}: its checksum is wrong`);
  return data as ChunkBuffer;
}

function chunkIn(record: Uint8Array, at: number): Uint8Array {
  return record.subarray(at * CHUNK_BYTES, (at + 1) * CHUNK_BYTES);
}

/** Whether a record says that there are zeros. */
export function isZeroRecord(record: unknown): boolean {
  return record instanceof Uint8Array && record.length === TRAILER_BYTES;
}

/** @param chunk whose data begin at a multiple of four in their buffer */
export function isZero(chunk: Uint8Array): boolean {
  if (chunk === ZERO_CHUNK) return true;
  const words = new Uint32Array(chunk.buffer, chunk.byteOffset, CHUNK_BYTES / 4);
  for (let at = 0; at < words.length; at += 1) if (words[at] !== 0) return false;
  return true;
}

function sealTrailer(record: Uint8Array<ArrayBuffer>, index: number): Uint8Array<ArrayBuffer> {
  const data = record.length - TRAILER_BYTES;
  const trailer = new DataView(record.buffer, record.byteOffset + data, TRAILER_BYTES);
  trailer.setUint32(0, index, true);
  trailer.setUint32(4, xxh32(record.subarray(0, data), index), true);
  return record;
}
