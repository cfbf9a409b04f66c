/**
 * The layer that a machine writes to. What is little goes into its log (disk-log.ts); what is much, or comes when the log is
 * long, into its chunks, with all that the log has, which is empty afterwards. Each is one transaction, and each begins when
 * the one before has ended.
 */
import type { ChunkThread } from "./disk-chunks.ts";
import type { Database } from "./disk-database.ts";
import { putBatch, putChunks } from "./disk-layers.ts";
import { type ChunkPages, clearLog, pagesOf, putLog, sealPages } from "./disk-log.ts";
import { CHUNK_BYTES, type ChunkBuffer, GROUP_CHUNKS, groupOf } from "./disk-record.ts";

/** Chunks that are not worth the way to the other thread. */
const FEW_CHUNKS = 8;
/** Of a group: with fewer, they are written one by one. */
const WORTH_A_GROUP = 4;
/** What is more than a quarter of a MiB goes into chunks at once. */
const MOST_PAGES = 64;
/** A log that is longer grows no more: whoever opens a killed page's disk waits for it to be read. */
const MOST_RECORDS = 512;
/** Chunks that the log keeps in memory, at most: 12 MiB. */
const MOST_LOGGED = 384;

export interface TopParts {
  database: Database;
  thread: ChunkThread;
  /** A chunk as it is in memory. */
  peek(index: number): ChunkBuffer | undefined;
  onStored(chunks: number, pages: number): void;
}

export class TopLayer {
  readonly #parts: TopParts;
  #layer: number;
  /** Chunks of which the log has pages. */
  readonly #logged = new Set<number>();
  #records = 0;
  /** Records are numbered from the machine's start on: none has the key of one that was there before. */
  #nextRecord = 0;

  constructor(layer: number, parts: TopParts) {
    this.#layer = layer;
    this.#parts = parts;
  }

  /** Whether the log has something of a chunk: then it must stay in memory. */
  hasLogged(index: number): boolean {
    return this.#logged.has(index);
  }

  /** Goes on in another layer; the log must be empty. */
  moveTo(layer: number): void {
    this.#layer = layer;
  }

  /**
   * Stores chunks of which all must be in memory; what is stored is copied before it returns its promise.
   * @param batch in order
   * @throws DOMException as `Database.transact` does; then the storage is as it was
   */
  async store(batch: readonly ChunkPages[]): Promise<void> {
    const pages = pagesOf(batch);
    const mayLog =
      pages.length <= MOST_PAGES && this.#records < MOST_RECORDS && this.#logged.size + batch.length <= MOST_LOGGED;
    if (mayLog) await this.#log(batch, pages);
    else await this.#put(batch.map(([index]) => index));
  }

  /** Takes what the log has into the chunks. @throws as `store` does */
  async fold(): Promise<void> {
    if (this.#logged.size > 0) await this.#put([]);
  }

  /** Stores chunks whose content is not in memory yet; the log must be empty. @throws as `store` does */
  async putThrough(
    isLowest: boolean,
    chunks: readonly (readonly [index: number, chunk: ChunkBuffer])[],
  ): Promise<void> {
    await this.#parts.database.transact(["chunks"], "readwrite", (transaction) =>
      putChunks(transaction, this.#layer, isLowest, chunks),
    );
    this.#parts.onStored(chunks.length, 0);
  }

  async #log(batch: readonly ChunkPages[], pages: readonly number[]): Promise<void> {
    const records = sealPages(this.#layer, this.#nextRecord, pages, (index) => this.#parts.peek(index) as ChunkBuffer);
    this.#nextRecord += records.length;
    await this.#parts.database.transact(["log"], "readwrite", (transaction) => putLog(transaction, records));
    for (const [index] of batch) this.#logged.add(index);
    this.#records += records.length;
    this.#parts.onStored(0, pages.length);
  }

  async #put(some: readonly number[]): Promise<void> {
    const all = this.#wholeGroups([...new Set([...some, ...this.#logged])].sort((a, b) => a - b));
    const indices = new Uint32Array(all);
    const data = new Uint8Array(all.length * CHUNK_BYTES);
    for (const [at, index] of all.entries())
      data.set((this.#parts.peek(index) as ChunkBuffer).subarray(0, CHUNK_BYTES), at * CHUNK_BYTES);
    const layer = this.#layer;
    if (all.length > FEW_CHUNKS) await this.#parts.thread.write(layer, indices, data);
    else
      await this.#parts.database.transact(["chunks", "log"], "readwrite", (transaction) => {
        putBatch(transaction, layer, indices, data);
        clearLog(transaction, layer);
      });
    this.#logged.clear();
    this.#records = 0;
    this.#parts.onStored(all.length, 0);
  }

  /**
   * Chunks with what completes their groups, where that is in memory: it costs less to write all of a group once more than
   * some of it chunk by chunk.
   * @param some in order
   */
  #wholeGroups(some: readonly number[]): number[] {
    const all: number[] = [];
    for (let at = 0; at < some.length; ) {
      const group = groupOf(some[at] as number);
      const start = at;
      while (at < some.length && groupOf(some[at] as number) === group) at += 1;
      const mine = some.slice(start, at);
      const whole = Array.from({ length: GROUP_CHUNKS }, (_, k) => group * GROUP_CHUNKS + k);
      const isWorth = mine.length >= WORTH_A_GROUP && whole.every((index) => this.#parts.peek(index));
      all.push(...(isWorth ? whole : mine));
    }
    return all;
  }
}
