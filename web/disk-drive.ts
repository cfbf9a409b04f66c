/**
 * A stored disk as a drive of the machine. What is read comes from memory or, 32 KiB at a time and some ahead, from the
 * storage. A write is answered when its transaction is on the storage medium, not before: the drive has no cache of
 * writes that a guest would have to flush, so that whatever reaches it is kept, from `sync` on ext2 as well as from
 * `fsync` on ext4.
 */
import type { ChunkReader } from "./disk-chunks.ts";
import type { Database } from "./disk-database.ts";
import { type Layer, putChunks, readIndex } from "./disk-layers.ts";
import type { Release } from "./disk-locks.ts";
import { CHUNK_BYTES, type ChunkBuffer, DamagedChunkError, newChunk, ZERO_CHUNK } from "./disk-record.ts";
import type { DiskContent, StoredDisk } from "./disk-store.ts";
import type { DriveDevice } from "./drives.ts";

/** What a drive has to say while the machine runs. */
export interface DriveEvents {
  /** The guest saw an I/O error. */
  onProblem(problem: DriveProblem): void;
  /** Something was written, or what was written took other space: at most a few times a second. */
  onWrite(): void;
}

export interface DriveProblem {
  /** "quota": no room for a write. "damaged": what was stored is not what is there. "failed": the browser refused. */
  kind: "quota" | "damaged" | "failed" | "read-only";
  /** Where on the disk, in bytes. */
  offset: number;
  detail: string;
}

export interface DiskDrive extends DriveDevice {
  readonly writable: boolean;
  readonly statistics: DriveStatistics;
  /** Where its content lies just now. */
  readonly content: DiskContent;
  /** Resolves when all writes are stored or refused. */
  settled(): Promise<void>;
  /**
   * Goes on with other layers, which show the same, once everything that came before is stored; what comes meanwhile waits.
   * @throws what `next` throws; then nothing has changed
   */
  rebase(next: () => Promise<readonly Layer[]>): Promise<void>;
  /** Gives the disk back. Writes that are not stored yet still are. */
  close(): Promise<void>;
}

export interface DriveStatistics {
  transactions: number;
  chunksWritten: number;
  chunksRead: number;
}

/** Chunks kept in memory, of all drives together: 96 MiB. */
const KEPT_CHUNKS = 3072;
/** Chunks read ahead: a quarter of a MiB after a jump, 8 MiB in a row. */
const LEAST_AHEAD = 8;
const MOST_AHEAD = 256;
/** Chunks of one request to the storage: what has come can be used while the rest is on its way. */
const PIECE = 32;
const WRITE_EVENT_MS = 300;

/** @param release gives the disk's lock back */
export async function createDrive(
  database: Database,
  reader: ChunkReader,
  disk: StoredDisk,
  writable: boolean,
  events: DriveEvents,
  release: Release,
): Promise<DiskDrive> {
  const stored = await readIndex(database, disk.layers, disk.sizeBytes);
  const drive = new Drive(database, reader, disk, stored, writable, events, release);
  await drive.prepare();
  return drive;
}

let openDrives = 0;

class Drive implements DiskDrive {
  readonly byteLength: number;
  readonly writable: boolean;
  readonly statistics: DriveStatistics = { transactions: 0, chunksWritten: 0, chunksRead: 0 };
  onload: unknown = undefined;
  onFault: (() => void) | null = null;

  readonly #database: Database;
  readonly #reader: ChunkReader;
  #layers: readonly Layer[];
  #top: Layer;
  /** Chunks that some layer has. All others are zeros. */
  readonly #stored: Set<number>;
  /** What is in memory, the longest unused first. */
  readonly #kept = new Map<number, ChunkBuffer>();
  readonly #loading = new Map<number, Promise<void>>();
  readonly #damaged = new Map<number, string>();
  readonly #events: DriveEvents;
  readonly #release: Release;
  /** Reads and writes that had to wait, one after the other; null when there are none. */
  #queue: Promise<void> | null = null;
  /** Where reading would go on. */
  #next = -1;
  #ahead = LEAST_AHEAD;
  /** What is being asked for, which must not make room for something else of it. */
  #wanted: readonly [first: number, last: number] = [0, -1];
  #isClosed = false;
  #writeTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    database: Database,
    reader: ChunkReader,
    disk: StoredDisk,
    stored: Set<number>,
    writable: boolean,
    events: DriveEvents,
    release: Release,
  ) {
    this.#database = database;
    this.#reader = reader;
    this.byteLength = disk.sizeBytes;
    this.#layers = disk.layers;
    this.#top = disk.layers.at(-1) as Layer;
    this.#stored = stored;
    this.writable = writable;
    this.#events = events;
    this.#release = release;
    openDrives += 1;
  }

  load(): void {
    (this.onload as ((event: object) => void) | undefined)?.({});
  }

  /** Has the first sector in memory: the emulator reads it before the machine runs. */
  prepare(): Promise<void> {
    // A damaged one is told when the guest reads it.
    return this.#loadAll(0, 0).catch(() => {});
  }

  get_from_cache(offset: number, length: number): Uint8Array | undefined {
    const first = Math.floor(offset / CHUNK_BYTES);
    const last = Math.floor((offset + length - 1) / CHUNK_BYTES);
    return this.#hasAll(first, last) ? this.#bytes(offset, length, first, last) : undefined;
  }

  get(offset: number, length: number, done: (bytes: Uint8Array) => void): void {
    if (this.#isClosed) return;
    const first = Math.floor(offset / CHUNK_BYTES);
    const last = Math.floor((offset + Math.max(length, 1) - 1) / CHUNK_BYTES);
    const isReady = this.#queue === null && this.#hasAll(first, last);
    if (isReady) {
      this.#readAhead(first, last);
      return done(this.#bytes(offset, length, first, last));
    }
    // What is asked for goes before what may be asked for next. Its failure is heard of below.
    if (this.#queue === null) this.#load(first, Math.max(last, first + LEAST_AHEAD - 1)).catch(() => {});
    this.#enqueue(offset, async () => {
      await this.#loadAll(first, last);
      if (!this.#isClosed) done(this.#bytes(offset, length, first, last));
    });
    this.#readAhead(first, last);
  }

  set(offset: number, bytes: Uint8Array, done: () => void): void {
    // The disk may be somebody else's by now.
    if (this.#isClosed) return;
    // v86 uses the memory of `bytes` again.
    const own = bytes.slice();
    this.#enqueue(offset, async () => {
      await this.#write(offset, own);
      if (!this.#isClosed) done();
    });
  }

  get_buffer(done: (buffer?: ArrayBuffer) => void): void {
    done(undefined);
  }

  /** A machine's state does not contain its disks: they are in the storage. */
  get_state(): unknown {
    return [];
  }

  set_state(): void {}

  get content(): DiskContent {
    return { sizeBytes: this.byteLength, layers: this.#layers };
  }

  rebase(next: () => Promise<readonly Layer[]>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#enqueue(0, async () => {
        try {
          this.#layers = await next();
          this.#top = this.#layers.at(-1) as Layer;
          resolve();
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  isBusy(): boolean {
    return this.#queue !== null;
  }

  async settled(): Promise<void> {
    while (this.#queue) await this.#queue;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    // The machine is gone: nobody is left to be told.
    this.#isClosed = true;
    this.onFault = null;
    await this.settled();
    clearTimeout(this.#writeTimer);
    openDrives -= 1;
    this.#kept.clear();
    await this.#release();
  }

  /** Runs something after everything that came before it; what it throws is told to guest and page. */
  #enqueue(offset: number, run: () => Promise<void>): void {
    const before = this.#queue ?? Promise.resolve();
    const mine: Promise<void> = before
      .then(run)
      .catch((error: unknown) => {
        this.#events.onProblem(problemOf(error, offset));
        this.onFault?.();
      })
      .then(() => {
        if (this.#queue === mine) this.#queue = null;
      });
    this.#queue = mine;
  }

  #hasAll(first: number, last: number): boolean {
    for (let index = first; index <= last; index += 1)
      if (this.#stored.has(index) && !this.#kept.has(index)) return false;
    return true;
  }

  /** The chunks must be in memory. */
  #bytes(offset: number, length: number, first: number, last: number): Uint8Array {
    const start = offset - first * CHUNK_BYTES;
    if (first === last) return this.#use(first).subarray(start, start + length);
    const bytes = new Uint8Array(length);
    for (let index = first; index <= last; index += 1) {
      const from = Math.max(offset, index * CHUNK_BYTES);
      const to = Math.min(offset + length, (index + 1) * CHUNK_BYTES);
      bytes.set(this.#use(index).subarray(from - index * CHUNK_BYTES, to - index * CHUNK_BYTES), from - offset);
    }
    return bytes;
  }

  #use(index: number): ChunkBuffer {
    const chunk = this.#kept.get(index);
    if (!chunk) return ZERO_CHUNK;
    this.#kept.delete(index);
    this.#kept.set(index, chunk);
    return chunk;
  }

  #keep(index: number, chunk: ChunkBuffer): void {
    this.#kept.delete(index);
    this.#kept.set(index, chunk);
  }

  #shrink(): void {
    const [first, last] = this.#wanted;
    for (const index of this.#kept.keys()) {
      if (this.#kept.size <= KEPT_CHUNKS / openDrives) return;
      if (index < first || index > last) this.#kept.delete(index);
    }
  }

  /** A guest that reads one chunk after the other is given the next ones before it asks. */
  #readAhead(first: number, last: number): void {
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

  #isThere(index: number): boolean {
    return !this.#stored.has(index) || this.#kept.has(index) || this.#loading.has(index);
  }

  /** Brings chunks into memory, and as many after them as are read at once. @throws DamagedChunkError */
  async #loadAll(first: number, last: number): Promise<void> {
    this.#wanted = [first, last];
    while (!this.#hasAll(first, last)) {
      const missing: number[] = [];
      for (let index = first; index <= last; index += 1) if (!this.#kept.has(index)) missing.push(index);
      const wanted = missing.filter((index) => this.#stored.has(index));
      for (const index of wanted) {
        const damage = this.#damaged.get(index);
        if (damage !== undefined) throw new DamagedChunkError(damage);
      }
      await this.#load(wanted[0] as number, Math.max(last, first + LEAST_AHEAD - 1));
      await Promise.all(wanted.map((index) => this.#loading.get(index)));
    }
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
      const chunks = await this.#reader.read(this.#layers, from, to);
      this.statistics.chunksRead += chunks.length;
      chunks.forEach((chunk, at) => {
        const index = from + at;
        // Only chunks that were there when the drive was opened, or were written since, are read.
        if (chunk === null) this.#damaged.set(index, `Cannot read chunk ${index}: it is gone`);
        else if (chunk instanceof DamagedChunkError) this.#damaged.set(index, chunk.message);
        else this.#keep(index, chunk === ZERO_CHUNK ? newChunk() : chunk);
      });
      this.#shrink();
    } finally {
      for (let index = from; index <= to; index += 1) this.#loading.delete(index);
    }
  }

  async #write(offset: number, bytes: Uint8Array): Promise<void> {
    if (!this.writable) throw new ReadOnlyError("somebody else writes this disk");
    const end = offset + bytes.length;
    const first = Math.floor(offset / CHUNK_BYTES);
    const last = Math.floor((end - 1) / CHUNK_BYTES);
    const isPart = (index: number): boolean => index * CHUNK_BYTES < offset || (index + 1) * CHUNK_BYTES > end;
    if (isPart(first)) await this.#loadAll(first, first);
    if (last !== first && isPart(last)) await this.#loadAll(last, last);
    // What is on its way from the storage would come after what is written now.
    for (let index = first; index <= last; index += 1) await this.#loading.get(index)?.catch(() => {});
    const chunks: [index: number, chunk: ChunkBuffer][] = [];
    for (let index = first; index <= last; index += 1) {
      // A copy: when the storage refuses the write, what was there before must still be.
      const chunk = newChunk();
      if (isPart(index)) chunk.set(this.#use(index));
      const from = Math.max(offset, index * CHUNK_BYTES);
      const to = Math.min(end, (index + 1) * CHUNK_BYTES);
      chunk.set(bytes.subarray(from - offset, to - offset), from - index * CHUNK_BYTES);
      chunks.push([index, chunk]);
    }
    this.statistics.transactions += 1;
    this.statistics.chunksWritten += chunks.length;
    await this.#database.transact(["chunks"], "readwrite", (transaction) =>
      putChunks(transaction, this.#top.id, this.#layers.length === 1, chunks),
    );
    for (const [index, chunk] of chunks) {
      this.#stored.add(index);
      this.#damaged.delete(index);
      this.#keep(index, chunk);
    }
    this.#shrink();
    this.#writeTimer ??= setTimeout(() => {
      this.#writeTimer = undefined;
      this.#events.onWrite();
    }, WRITE_EVENT_MS);
  }
}

class ReadOnlyError extends Error {}

function problemOf(error: unknown, offset: number): DriveProblem {
  const detail = error instanceof Error ? error.message : String(error);
  if (error instanceof DamagedChunkError) return { kind: "damaged", offset, detail };
  if (error instanceof ReadOnlyError) return { kind: "read-only", offset, detail };
  const isQuota = error instanceof DOMException && error.name === "QuotaExceededError";
  return { kind: isQuota ? "quota" : "failed", offset, detail };
}
