/**
 * A stored disk as a drive of the machine. What is read comes from memory or from the storage (disk-cache.ts). The drive has a
 * write cache (disk-writes.ts) for guests that flush it: from the first flush on, a write is answered when it is in the cache,
 * and a flush when all of it is on the storage medium. Until then, which is for ever with a guest that knows nothing of write
 * caches, each write is answered when its own transaction is on the medium.
 */
import { ChunkCache, type Place, placeOf } from "./disk-cache.ts";
import type { ChunkThread } from "./disk-chunks.ts";
import type { Database } from "./disk-database.ts";
import { type Layer, readIndex } from "./disk-layers.ts";
import type { Release } from "./disk-locks.ts";
import { type ChunkPages, type LoggedChunks, NOTHING_LOGGED, pageMask } from "./disk-log.ts";
import { CHUNK_BYTES, type ChunkBuffer, DamagedChunkError, newChunk } from "./disk-record.ts";
import type { DiskContent, StoredDisk } from "./disk-records.ts";
import { TopLayer } from "./disk-top.ts";
import { createPendingWrites } from "./disk-writes.ts";
import type { DriveDevice } from "./drives.ts";
import { isQuota } from "./quota.ts";
import { sentenceOf } from "./sentence.ts";

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
  flush(done: () => void): void;
  setCaching(isOn: boolean): void;
  /** Resolves when all writes are stored or refused. */
  settled(): Promise<void>;
  /**
   * Goes on with other layers, which show the same, once everything that came before is stored and in its chunks; what comes
   * meanwhile waits.
   * @throws what `next` throws, and what the storage refuses to store; then nothing has changed
   */
  rebase(next: () => Promise<readonly Layer[]>): Promise<void>;
  /** Gives the disk back. Writes that are not stored yet still are. */
  close(): Promise<void>;
}

export interface DriveStatistics {
  transactions: number;
  chunksWritten: number;
  /** Pages of 4 KiB that went into the log. */
  pagesLogged: number;
  chunksRead: number;
}

const WRITE_EVENT_MS = 300;

export interface DriveParts {
  database: Database;
  thread: ChunkThread;
  disk: StoredDisk;
  writable: boolean;
  /** What a killed page left in the log and is not in the chunks yet. */
  logged: LoggedChunks;
  /**
   * Null when the disk's top layer is the machine's own. Else there was no room for one: this puts the log in its place, makes
   * the layer, and returns the disk's layers. @throws DOMException QuotaExceededError
   */
  begin: (() => Promise<readonly Layer[]>) | null;
  events: DriveEvents;
  /** Gives the disk's lock back. */
  release: Release;
}

export async function createDrive(parts: DriveParts): Promise<DiskDrive> {
  const { database, disk } = parts;
  const drive = new Drive(parts, await readIndex(database, disk.layers, disk.sizeBytes));
  await drive.prepare();
  return drive;
}

class Drive implements DiskDrive {
  readonly byteLength: number;
  readonly writable: boolean;
  readonly statistics: DriveStatistics = { transactions: 0, chunksWritten: 0, pagesLogged: 0, chunksRead: 0 };
  onload: unknown = undefined;
  onFault: (() => void) | null = null;

  #layers: readonly Layer[];
  readonly #top: TopLayer;
  readonly #cache: ChunkCache;
  readonly #writes = createPendingWrites((batch) => this.#store(batch));
  readonly #events: DriveEvents;
  readonly #release: Release;
  #logged: LoggedChunks;
  #begin: DriveParts["begin"];
  /** Reads and writes that had to wait, one after the other; null when there are none. */
  #queue: Promise<void> | null = null;
  #isClosed = false;
  /** The guest flushes its writes. */
  #isCaching = false;
  /** The guest has switched the write cache off. */
  #isThrough = false;
  /** What the page has heard of already. */
  readonly #told = new WeakSet<object>();
  #writeTimer: ReturnType<typeof setTimeout> | undefined;
  /** A page that is hidden may be ended without another word. */
  readonly #onHide = (): void => this.#writes.hurry();

  constructor({ database, thread, disk, writable, logged, begin, events, release }: DriveParts, stored: Set<number>) {
    this.byteLength = disk.sizeBytes;
    this.#layers = disk.layers;
    this.writable = writable;
    this.#events = events;
    this.#release = release;
    this.#logged = logged;
    this.#begin = begin;
    this.#cache = new ChunkCache({
      thread,
      layers: () => this.#layers,
      stored,
      isPinned: (index) => this.#writes.has(index) || this.#top.hasLogged(index) || this.#logged.has(index),
      onRead: (chunks) => {
        this.statistics.chunksRead += chunks;
      },
    });
    this.#top = new TopLayer((disk.layers.at(-1) as Layer).id, {
      database,
      thread,
      peek: (index) => this.#cache.peek(index),
      onStored: (chunks, pages) => this.#afterStoring(chunks, pages),
    });
    for (const [index, chunk] of logged) this.#cache.hold(index, chunk);
    document.addEventListener("visibilitychange", this.#onHide);
    addEventListener("pagehide", this.#onHide);
  }

  load(): void {
    (this.onload as ((event: object) => void) | undefined)?.({});
  }

  /** Has the first sector in memory: the emulator reads it before the machine runs. */
  prepare(): Promise<void> {
    // A damaged one is told when the guest reads it.
    return this.#cache.load(0, 0).catch(() => {});
  }

  get_from_cache(offset: number, length: number): Uint8Array | undefined {
    const { first, last } = placeOf(offset, length);
    return this.#cache.hasAll(first, last) ? this.#cache.bytes(offset, length, first, last) : undefined;
  }

  get(offset: number, length: number, done: (bytes: Uint8Array) => void): void {
    if (this.#isClosed) return;
    const { first, last } = placeOf(offset, Math.max(length, 1));
    const cache = this.#cache;
    const isReady = this.#queue === null && cache.hasAll(first, last);
    if (isReady) {
      cache.readAhead(first, last);
      return done(cache.bytes(offset, length, first, last));
    }
    // What is asked for goes before what may be asked for next.
    if (this.#queue === null) cache.ask(first, last);
    this.#enqueue(offset, async () => {
      await cache.load(first, last);
      if (!this.#isClosed) done(cache.bytes(offset, length, first, last));
    });
    cache.readAhead(first, last);
  }

  set(offset: number, bytes: Uint8Array, done: () => void): void {
    // The disk may be somebody else's by now.
    if (this.#isClosed) return;
    const place = placeOf(offset, bytes.length);
    if (this.#canTake(place)) {
      this.#take(offset, bytes, place);
      return done();
    }
    // v86 uses the memory of `bytes` again.
    const own = bytes.slice();
    this.#enqueue(offset, async () => {
      await this.#write(offset, own, place);
      if (!this.#isClosed) done();
    });
  }

  flush(done: () => void): void {
    if (this.#isClosed) return;
    this.#isCaching = this.writable && !this.#isThrough;
    if (this.#queue === null && this.#writes.isEmpty()) return done();
    this.#enqueue(0, async () => {
      await this.#writes.flush();
      if (!this.#isClosed) done();
    });
  }

  setCaching(isOn: boolean): void {
    this.#isThrough = !isOn;
    if (!isOn) this.#isCaching = false;
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
          await this.#beginTop();
          await this.#writes.flush();
          await this.#top.fold();
          this.#layers = await next();
          this.#top.moveTo((this.#layers.at(-1) as Layer).id);
          resolve();
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  isBusy(): boolean {
    return this.#queue !== null || !this.#writes.isEmpty();
  }

  async settled(): Promise<void> {
    do {
      while (this.#queue) await this.#queue;
      await this.#writes.flush().catch(() => {});
    } while (this.#queue);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    // The machine is gone: nobody is left to be told.
    this.#isClosed = true;
    this.onFault = null;
    await this.settled();
    // What is in the log is safe there as well.
    await this.#top.fold().catch(() => {});
    document.removeEventListener("visibilitychange", this.#onHide);
    removeEventListener("pagehide", this.#onHide);
    clearTimeout(this.#writeTimer);
    this.#cache.close();
    await this.#release();
  }

  /** Runs something after everything that came before it; what it throws is told to guest and page. */
  #enqueue(offset: number, run: () => Promise<void>): void {
    const before = this.#queue ?? Promise.resolve();
    const mine: Promise<void> = before
      .then(run)
      .catch((error: unknown) => {
        this.#tell(error, offset);
        this.onFault?.();
      })
      .then(() => {
        if (this.#queue === mine) this.#queue = null;
      });
    this.#queue = mine;
  }

  #tell(error: unknown, offset: number): void {
    const problem = error instanceof Object ? error : new Error(String(error));
    if (this.#told.has(problem)) return;
    this.#told.add(problem);
    this.#events.onProblem(problemOf(error, offset));
  }

  /** Whether a write can go into the cache at once. */
  #canTake(place: Place): boolean {
    if (!this.#isCaching || this.#queue !== null || this.#begin !== null) return false;
    if (this.#writes.isFull() || this.#writes.hasFailed()) return false;
    return this.#cache.isReadyFor(place);
  }

  /** Puts a write, which the cache must be ready for, there. */
  #take(offset: number, bytes: Uint8Array, { first, last }: Place): void {
    const taken: ChunkPages[] = [];
    for (let index = first; index <= last; index += 1) {
      const chunk = this.#cache.peek(index) ?? newChunk();
      taken.push([index, fill(chunk, index, bytes, offset)]);
      this.#cache.write(index, chunk);
    }
    this.#writes.add(taken);
    this.#cache.shrink();
  }

  async #write(offset: number, bytes: Uint8Array, place: Place): Promise<void> {
    if (!this.writable) throw new ReadOnlyError("somebody else writes this disk");
    await this.#beginTop();
    if (this.#isCaching) {
      await this.#writes.room();
      // The storage may take again what it refused.
      if (this.#writes.hasFailed()) await this.#writes.flush();
    }
    await this.#cache.makeReadyFor(place);
    if (this.#isCaching) this.#take(offset, bytes, place);
    else await this.#writeThrough(offset, bytes, place);
  }

  /** Nothing is taken from the guest before there is a layer to put it in. */
  async #beginTop(): Promise<void> {
    if (!this.#begin) return;
    this.#layers = await this.#begin();
    this.#top.moveTo((this.#layers.at(-1) as Layer).id);
    this.#begin = null;
    this.#logged = NOTHING_LOGGED;
  }

  async #writeThrough(offset: number, bytes: Uint8Array, { first, last, isPart }: Place): Promise<void> {
    // From before the guest has switched the cache off.
    await this.#writes.flush();
    await this.#top.fold();
    const chunks: [index: number, chunk: ChunkBuffer][] = [];
    for (let index = first; index <= last; index += 1) {
      // A copy: when the storage refuses the write, what was there before must still be.
      const chunk = newChunk();
      if (isPart(index)) chunk.set(this.#cache.use(index).subarray(0, CHUNK_BYTES));
      fill(chunk, index, bytes, offset);
      chunks.push([index, chunk]);
    }
    await this.#top.putThrough(this.#layers.length === 1, chunks);
    for (const [index, chunk] of chunks) this.#cache.write(index, chunk);
  }

  async #store(batch: readonly ChunkPages[]): Promise<void> {
    try {
      await this.#top.store(batch);
    } catch (error) {
      this.#tell(error, (batch[0]?.[0] ?? 0) * CHUNK_BYTES);
      throw error;
    }
  }

  #afterStoring(chunks: number, pages: number): void {
    this.statistics.transactions += 1;
    this.statistics.chunksWritten += chunks;
    this.statistics.pagesLogged += pages;
    this.#cache.shrink();
    this.#writeTimer ??= setTimeout(() => {
      this.#writeTimer = undefined;
      this.#events.onWrite();
    }, WRITE_EVENT_MS);
  }
}

/**
 * Copies what of the bytes, which begin at `offset` of the disk, belongs into a chunk.
 * @returns the pages that it touches
 */
function fill(chunk: ChunkBuffer, index: number, bytes: Uint8Array, offset: number): number {
  const start = index * CHUNK_BYTES;
  const from = Math.max(offset, start);
  const to = Math.min(offset + bytes.length, start + CHUNK_BYTES);
  chunk.set(bytes.subarray(from - offset, to - offset), from - start);
  return pageMask(from - start, to - start);
}

class ReadOnlyError extends Error {}

function problemOf(error: unknown, offset: number): DriveProblem {
  const detail = sentenceOf(error);
  if (error instanceof DamagedChunkError) return { kind: "damaged", offset, detail };
  if (error instanceof ReadOnlyError) return { kind: "read-only", offset, detail };
  return { kind: isQuota(error) ? "quota" : "failed", offset, detail };
}
