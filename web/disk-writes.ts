/**
 * What a guest has written to a drive and the storage does not have yet: the drive's write cache. It is stored as one batch
 * after the other, each a transaction with all that has come meanwhile, so that the storage always has the disk as it was at
 * some moment between two write commands.
 *
 * A batch that the storage refuses stays here, and is tried again with whatever is waited for next.
 */
import type { ChunkPages } from "./disk-log.ts";
import { CHUNK_BYTES } from "./disk-record.ts";

export interface PendingWrites {
  /** From now on these are newer than the storage; they must stay in memory while `has` says so. They go together. */
  add(chunks: readonly ChunkPages[]): void;
  has(index: number): boolean;
  /** Nothing waits to be stored. */
  isEmpty(): boolean;
  /** As much waits as may: the guest must wait for `room`. */
  isFull(): boolean;
  /** Resolves when there is room, or the storage has refused a batch. */
  room(): Promise<void>;
  /** The last batch was refused. */
  hasFailed(): boolean;
  /** Sends what waits for company, if there is anything. */
  hurry(): void;
  /** Stores all that was added until now. @throws what the storage refused it with; it is kept for another try */
  flush(): Promise<void>;
}

/** A batch of this size does not wait for more: the storage is idle otherwise, and takes larger ones hardly faster. */
const ENOUGH_CHUNKS = (2 * 1024 * 1024) / CHUNK_BYTES;
/** What may wait while a batch is on its way. */
const MOST_CHUNKS = (16 * 1024 * 1024) / CHUNK_BYTES;
/** So long may a small write wait for others. */
const PATIENCE_MS = 50;

/** @param store how a batch is stored, in the order of its chunks; it copies what it stores before it returns its promise */
export function createPendingWrites(store: (batch: readonly ChunkPages[]) => Promise<void>): PendingWrites {
  let waiting = new Map<number, number>();
  let flying = new Map<number, number>();
  /** The batch on its way, and the number of the last addition that it has. */
  let flight: { landing: Promise<void>; last: number } | null = null;
  let added = 0;
  let stored = 0;
  let failed = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  /** Sends all that waits on its way. */
  const send = (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    const last = added;
    flying = waiting;
    waiting = new Map();
    const landing = store([...flying].sort(([a], [b]) => a - b)).then(
      () => {
        flight = null;
        flying = new Map();
        failed = false;
        stored = last;
        if (waiting.size > 0) goOn();
      },
      (error: unknown) => {
        flight = null;
        failed = true;
        for (const [index, mask] of flying) waiting.set(index, mask | (waiting.get(index) ?? 0));
        flying = new Map();
        throw error;
      },
    );
    flight = { landing, last };
    return landing;
  };
  const hurry = (): void => {
    // What was refused is tried again when somebody waits for it.
    if (!flight && !failed && waiting.size > 0) send().catch(() => {});
  };
  const goOn = (): void => {
    // A hidden page's timers come late.
    if (waiting.size >= ENOUGH_CHUNKS || document.hidden) hurry();
    else
      timer ??= setTimeout(() => {
        timer = undefined;
        hurry();
      }, PATIENCE_MS);
  };

  return {
    add(chunks) {
      added += 1;
      for (const [index, mask] of chunks) waiting.set(index, mask | (waiting.get(index) ?? 0));
      if (!flight && !failed) goOn();
    },
    has: (index) => waiting.has(index) || flying.has(index),
    isEmpty: () => waiting.size === 0 && flight === null,
    isFull: () => waiting.size >= MOST_CHUNKS,
    async room() {
      while (waiting.size >= MOST_CHUNKS && flight) await flight.landing.catch(() => {});
    },
    hasFailed: () => failed,
    hurry,
    async flush() {
      const last = added;
      while (stored < last) {
        if (!flight) await send();
        else if (flight.last >= last) await flight.landing;
        else await flight.landing.catch(() => {});
      }
    },
  };
}
