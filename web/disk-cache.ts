/**
 * What a drive has of its disk in memory: what the guest has read and written, and what it may want next. Reads bring 256
 * KiB, in sequence up to 8 MiB ahead. What the guest has written and the chunks in the storage do not have stays here.
 */
import type { ChunkThread } from "./disk-chunks.ts";
import type { ChunkResult, Layer } from "./disk-layers.ts";
import { CHUNK_BYTES, type ChunkBuffer, DamagedChunkError, newChunk, ZERO_CHUNK } from "./disk-record.ts";

/** Chunks kept in memory, of all drives together: 96 MiB. */
const KEPT_CHUNKS = 3072;
/** Chunks read ahead: a quarter of a MiB after a jump, 8 MiB in a row. */
const LEAST_AHEAD = 8;
const MOST_AHEAD = 256;
/** Chunks of one request to the storage: what has come can be used while the rest is on its way. */
const PIECE = 32;

let openCaches = 0;

export interface CacheParts {
  thread: ChunkThread;
  /** Where chunks are read. */
  layers(): readonly Layer[];
  /** Chunks that some layer has; all others are zeros. The cache adds what is written. */
  stored: Set<number>;
  /** Whether a chunk must stay in memory. */
  isPinned(index: number): boolean;
  onRead(chunks: number): void;
}

/** The chunks that so many bytes are in, and which of them they fill in part only. */
export interface Place {
  first: number;
  last: number;
  isPart(index: number): boolean;
}

export function placeOf(offset: number, length: number): Place {
  const end = offset + length;
  return {
    first: Math.floor(offset / CHUNK_BYTES),
    last: Math.floor((end - 1) / CHUNK_BYTES),
    isPart: (index) => index * CHUNK_BYTES < offset || (index + 1) * CHUNK_BYTES > end,
  };
}

export class ChunkCache {
  readonly #parts: CacheParts;
  /** The longest unused first. */
  readonly #kept = new Map<number, ChunkBuffer>();
  readonly #loading = new Map<number, Promise<void>>();
  readonly #damaged = new Map<number, string>();
  /** Where reading would go on. */
  #next = -1;
  #ahead = LEAST_AHEAD;
  /** What is being asked for, which must not make room for something else of it. */
  #wanted: readonly [first: number, last: number] = [0, -1];
  /** What a request is put together in that is in several places. */
  #scratch = new Uint8Array(0);

  constructor(parts: CacheParts) {
    this.#parts = parts;
    openCaches += 1;
  }

  close(): void {
    openCaches -= 1;
    this.#kept.clear();
  }

  /** A chunk as it is in memory. */
  peek(index: number): ChunkBuffer | undefined {
    return this.#kept.get(index);
  }

  hasAll(first: number, last: number): boolean {
    for (let index = first; index <= last; index += 1)
      if (this.#parts.stored.has(index) && !this.#kept.has(index)) return false;
    return true;
  }

  /**
   * Bytes of chunks that are in memory.
   * @returns memory that is valid until the next call, and must not be written to
   */
  bytes(offset: number, length: number, first: number, last: number): Uint8Array {
    const start = offset - first * CHUNK_BYTES;
    if (first === last) return this.use(first).subarray(start, start + length);
    if (this.#scratch.length < length) this.#scratch = new Uint8Array(length);
    const bytes = this.#scratch.subarray(0, length);
    for (let index = first; index <= last; index += 1) {
      const from = Math.max(offset, index * CHUNK_BYTES);
      const to = Math.min(offset + length, (index + 1) * CHUNK_BYTES);
      bytes.set(this.use(index).subarray(from - index * CHUNK_BYTES, to - index * CHUNK_BYTES), from - offset);
    }
    return bytes;
  }

  /** A chunk that is in memory, or zeros; it counts as used. */
  use(index: number): ChunkBuffer {
    const chunk = this.#kept.get(index);
    if (!chunk) return ZERO_CHUNK;
    this.#kept.delete(index);
    this.#kept.set(index, chunk);
    return chunk;
  }

  /** Takes what the guest has written. */
  write(index: number, chunk: ChunkBuffer): void {
    this.#parts.stored.add(index);
    this.#damaged.delete(index);
    this.#keep(index, chunk);
  }

  /** Takes what the storage has elsewhere than in the layers. */
  hold(index: number, chunk: ChunkResult): void {
    this.#parts.stored.add(index);
    if (chunk instanceof DamagedChunkError) this.#damaged.set(index, chunk.message);
    else this.#keep(index, chunk);
  }

  /** Gives back memory that is not needed. */
  shrink(): void {
    const [first, last] = this.#wanted;
    let excess = this.#kept.size - Math.floor(KEPT_CHUNKS / openCaches);
    if (excess <= 0) return;
    for (const index of this.#kept.keys()) {
      if ((index >= first && index <= last) || this.#parts.isPinned(index)) continue;
      this.#kept.delete(index);
      excess -= 1;
      if (excess === 0) return;
    }
  }

  /** A guest that reads one chunk after the other is given the next ones before it asks. */
  readAhead(first: number, last: number): void {
    const isInOrder = first === this.#next || first === this.#next - 1;
    this.#next = last + 1;
    if (!isInOrder) {
      this.#ahead = LEAST_AHEAD;
      return;
    }
    const half = last + Math.ceil(this.#ahead / 2);
    if (this.#isThere(half)) return;
    this.#ahead = Math.min(this.#ahead * 2, MOST_AHEAD);
    this.#load(last + 1, last + this.#ahead).catch(() => {
      // Whoever wants these chunks asks again, and hears of it then.
    });
  }

  /** Asks for chunks, and as many after them as are read at once; whoever waits for them hears of a failure. */
  ask(first: number, last: number): void {
    this.#load(first, Math.max(last, first + LEAST_AHEAD - 1)).catch(() => {});
  }

  /** Brings chunks into memory, and as many after them as are read at once. @throws DamagedChunkError */
  async load(first: number, last: number): Promise<void> {
    this.#wanted = [first, last];
    while (!this.hasAll(first, last)) {
      const missing: number[] = [];
      for (let index = first; index <= last; index += 1) if (!this.#kept.has(index)) missing.push(index);
      const wanted = missing.filter((index) => this.#parts.stored.has(index));
      for (const index of wanted) {
        const damage = this.#damaged.get(index);
        if (damage !== undefined) throw new DamagedChunkError(damage);
      }
      await this.#load(wanted[0] as number, Math.max(last, first + LEAST_AHEAD - 1));
      await Promise.all(wanted.map((index) => this.#loading.get(index)));
    }
  }

  /** Whether a write needs nothing of the storage: nothing of where it begins and ends, nothing that is on its way. */
  isReadyFor({ first, last, isPart }: Place): boolean {
    for (let index = first; index <= last; index += 1)
      if (this.#loading.has(index) || (isPart(index) && !this.hasAll(index, index))) return false;
    return true;
  }

  /** @throws DamagedChunkError when what a write leaves of a chunk cannot be read */
  async makeReadyFor(place: Place): Promise<void> {
    const { first, last, isPart } = place;
    while (!this.isReadyFor(place)) {
      if (isPart(first)) await this.load(first, first);
      if (last !== first && isPart(last)) await this.load(last, last);
      // What is on its way from the storage would come after what is written now.
      for (let index = first; index <= last; index += 1) await this.#loading.get(index)?.catch(() => {});
    }
  }

  #keep(index: number, chunk: ChunkBuffer): void {
    this.#kept.delete(index);
    this.#kept.set(index, chunk);
  }

  #isThere(index: number): boolean {
    if (!this.#parts.stored.has(index) || this.#damaged.has(index)) return true;
    return this.#kept.has(index) || this.#loading.has(index);
  }

  /** Reads what is stored from `first` to `last` and neither in memory nor on its way. */
  async #load(first: number, last: number): Promise<void> {
    const runs: [from: number, to: number][] = [];
    for (let index = first; index <= last; index += 1) {
      if (this.#isThere(index)) continue;
      const run = runs.at(-1);
      if (run && run[1] === index - 1 && index - run[0] < PIECE) run[1] = index;
      else runs.push([index, index]);
    }
    await Promise.all(
      runs.map(([from, to]) => {
        const loading = this.#loadRun(from, to);
        for (let index = from; index <= to; index += 1) this.#loading.set(index, loading);
        return loading;
      }),
    );
  }

  async #loadRun(from: number, to: number): Promise<void> {
    try {
      const chunks = await this.#parts.thread.read(this.#parts.layers(), from, to);
      this.#parts.onRead(chunks.length);
      chunks.forEach((chunk, at) => {
        const index = from + at;
        // Only chunks that were there when the drive was opened, or were written since, are read.
        if (chunk === null) this.#damaged.set(index, `Cannot read chunk ${index}: it is gone`);
        else if (chunk instanceof DamagedChunkError) this.#damaged.set(index, chunk.message);
        else this.#keep(index, chunk === ZERO_CHUNK ? newChunk() : chunk);
      });
      this.shrink();
    } finally {
      for (let index = from; index <= to; index += 1) this.#loading.delete(index);
    }
  }
}
