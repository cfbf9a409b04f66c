/**
 * The log of a layer that a machine writes to: the pages of 4 KiB that were changed since its chunks were last brought up to
 * date. A small flush costs one new record here; to write the chunks themselves again, 32 KiB each, takes three times as long.
 * Whatever writes a layer's chunks takes in what its log has, and empties it in the same transaction: what the log has is
 * always newer. A layer that no machine writes to has none, but for what a killed page leaves (`replayLog`). Where there is
 * no room for that, it stays, and whoever uses the disk has it in memory (`readLog`).
 *
 *   key     [layer, number, page, page, …]   the pages' numbers on the disk, so that damage is known by its place
 *
 *   0                       count × 4096      + count × 4
 *   ┌───────────────────────┬─────────────────┐
 *   │  data of the pages    │ their sums u32  │   little endian; XXH32 with the page's number as its seed
 *   └───────────────────────┴─────────────────┘
 *
 * Limitations: a record has at most 15 pages, since Chromium makes a file of what is longer than 64 KiB.
 */
import { xxh32 } from "./disk-checksum.ts";
import { answer, type Database } from "./disk-database.ts";
import { type ChunkResult, type Layer, putBatch, readChunks } from "./disk-layers.ts";
import { CHUNK_BYTES, type ChunkBuffer, chunkKey, DAMAGED_RECORD, DamagedChunkError, newChunk } from "./disk-record.ts";

export const PAGE_BYTES = 4096;
/** Pages of a chunk: one bit each of a mask. */
export const CHUNK_PAGES = CHUNK_BYTES / PAGE_BYTES;
const RECORD_PAGES = 15;
const SUM_BYTES = 4;

export type LogKey = [layer: number, number: number, ...pages: number[]];

export interface LogRecord {
  key: LogKey;
  value: Uint8Array<ArrayBuffer>;
}

/** A chunk and which of its pages are meant. */
export type ChunkPages = readonly [index: number, mask: number];

/** The pages of a chunk that bytes from `from` to `to` within it touch. */
export function pageMask(from: number, to: number): number {
  const first = Math.floor(from / PAGE_BYTES);
  const end = Math.ceil(to / PAGE_BYTES);
  return (2 ** end - 1) & ~(2 ** first - 1);
}

/** The numbers on the disk of the pages that are meant. */
export function pagesOf(chunks: Iterable<ChunkPages>): number[] {
  const pages: number[] = [];
  for (const [index, mask] of chunks)
    for (let page = 0; page < CHUNK_PAGES; page += 1) if (mask & (1 << page)) pages.push(index * CHUNK_PAGES + page);
  return pages;
}

/**
 * Pages as records of a log.
 * @param next the number of the first record
 * @param chunk gives a page's chunk; its data are copied
 */
export function sealPages(
  layer: number,
  next: number,
  pages: readonly number[],
  chunk: (index: number) => ChunkBuffer,
): LogRecord[] {
  const records: LogRecord[] = [];
  for (let at = 0; at < pages.length; at += RECORD_PAGES) {
    const some = pages.slice(at, at + RECORD_PAGES);
    const value = new Uint8Array(some.length * (PAGE_BYTES + SUM_BYTES));
    const sums = new DataView(value.buffer, some.length * PAGE_BYTES);
    for (const [k, page] of some.entries()) {
      const from = (page % CHUNK_PAGES) * PAGE_BYTES;
      const data = chunk(Math.floor(page / CHUNK_PAGES)).subarray(from, from + PAGE_BYTES);
      value.set(data, k * PAGE_BYTES);
      sums.setUint32(k * SUM_BYTES, xxh32(value.subarray(k * PAGE_BYTES, (k + 1) * PAGE_BYTES), page), true);
    }
    records.push({ key: [layer, next + records.length, ...some], value });
  }
  return records;
}

/** The pages of a record, in order; null where one is damaged. */
export function openPages({ key, value }: { key: LogKey; value: unknown }): (readonly [number, Uint8Array | null])[] {
  const [, , ...pages] = key;
  const isRight = value instanceof Uint8Array && value.length === pages.length * (PAGE_BYTES + SUM_BYTES);
  return pages.map((page, at) => {
    if (!isRight) return [page, null];
    const data = value.subarray(at * PAGE_BYTES, (at + 1) * PAGE_BYTES);
    const sums = new DataView(value.buffer, value.byteOffset + pages.length * PAGE_BYTES);
    return [page, sums.getUint32(at * SUM_BYTES, true) === xxh32(data, page) ? data : null];
  });
}

function logRange(layer: number): IDBKeyRange {
  // Arrays come after all numbers.
  return IDBKeyRange.bound([layer], [layer, []]);
}

/** @param transaction over "log" */
export function putLog(transaction: IDBTransaction, records: readonly LogRecord[]): void {
  const store = transaction.objectStore("log");
  for (const { key, value } of records) store.add(value, key);
}

/** @param transaction over "log" */
export function clearLog(transaction: IDBTransaction, layer: number): void {
  transaction.objectStore("log").delete(logRange(layer));
}

/** How many records a layer's log has. @param transaction over "log" */
export function countLog(transaction: IDBTransaction, layer: number): Promise<number> {
  return answer(transaction.objectStore("log").count(logRange(layer)));
}

/** Chunks that a log has pages of, as they are with those: newer than what the layers have. */
export type LoggedChunks = ReadonlyMap<number, ChunkResult>;

export const NOTHING_LOGGED: LoggedChunks = new Map();

/**
 * The chunks of a stack that the top layer's log has pages of, in order and in new memory. A page that is damaged makes its
 * chunk a damaged one.
 */
export async function readLog(database: Database, layers: readonly Layer[]): Promise<LoggedChunks> {
  const top = layers.at(-1);
  if (!top) return NOTHING_LOGGED;
  const [keys, values] = await database.transact(["log"], "readonly", async (transaction) => {
    const store = transaction.objectStore("log");
    if ((await countLog(transaction, top.id)) === 0) return [[], []];
    return Promise.all([answer(store.getAllKeys(logRange(top.id))), answer(store.getAll(logRange(top.id)))]);
  });
  if (keys.length === 0) return NOTHING_LOGGED;
  /** By chunk: its pages as they were written last. */
  const written = new Map<number, (Uint8Array | null | undefined)[]>();
  for (const [at, key] of keys.entries())
    for (const [page, data] of openPages({ key: key as LogKey, value: values[at] })) {
      const index = Math.floor(page / CHUNK_PAGES);
      const pages = written.get(index) ?? new Array<undefined>(CHUNK_PAGES).fill(undefined);
      pages[page % CHUNK_PAGES] = data;
      written.set(index, pages);
    }
  const logged = new Map<number, ChunkResult>();
  for (const [index, pages] of [...written].sort(([a], [b]) => a - b)) {
    const isWhole = pages.every((data) => data !== undefined);
    const [before] = isWhole ? [null] : await readChunks(database, layers, index, index);
    if (before instanceof DamagedChunkError) logged.set(index, before);
    else if (pages.some((data) => data === null))
      logged.set(
        index,
        new DamagedChunkError(`Cannot read chunk ${index}: the checksum of what was last written is wrong`),
      );
    else {
      const chunk = newChunk();
      if (before) chunk.set(before.subarray(0, CHUNK_BYTES));
      for (const [at, data] of pages.entries()) if (data) chunk.set(data, at * PAGE_BYTES);
      logged.set(index, chunk);
    }
  }
  return logged;
}

/**
 * Brings the chunks of a stack's top layer up to date with its log, and empties that. To be called while nobody writes the
 * layer; it may be broken off anywhere.
 * @throws DOMException QuotaExceededError when there is no room for it; then all is as it was
 */
export async function replayLog(database: Database, layers: readonly Layer[]): Promise<void> {
  const logged = await readLog(database, layers);
  if (logged.size === 0) return;
  const top = layers.at(-1) as Layer;
  const indices: number[] = [];
  const damaged: number[] = [];
  for (const [index, chunk] of logged) (chunk instanceof DamagedChunkError ? damaged : indices).push(index);
  const data = new Uint8Array(indices.length * CHUNK_BYTES);
  for (const [at, index] of indices.entries())
    data.set((logged.get(index) as ChunkBuffer).subarray(0, CHUNK_BYTES), at * CHUNK_BYTES);
  await database.transact(["chunks", "log"], "readwrite", (transaction) => {
    putBatch(transaction, top.id, indices, data);
    for (const index of damaged) transaction.objectStore("chunks").put(DAMAGED_RECORD, chunkKey(top.id, index));
    clearLog(transaction, top.id);
  });
}
