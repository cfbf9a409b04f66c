/** The disk store on the browser's own IndexedDB, and what its tests need beside it: bare records, and a machine's way to read and write. */
import { openDatabase } from "../../web/disk-database.ts";
import type { DiskDrive, DriveProblem } from "../../web/disk-drive.ts";
import { readChunks } from "../../web/disk-layers.ts";
import { CHUNK_BYTES, chunkKey, LAYER_KEYS } from "../../web/disk-record.ts";
import type { StoredDisk } from "../../web/disk-records.ts";
import { type DiskStore, openDiskStore } from "../../web/disk-store.ts";
import type { Extent } from "../../worker/format/sparse-image.ts";
import { runModel } from "./disk-store.model.ts";

/** A drive as a machine has it. */
export interface Plugged {
  drive: DiskDrive;
  problems: DriveProblem[];
  writeEvents: number;
  /** Null when the guest saw an I/O error. */
  get(offset: number, length: number): Promise<Uint8Array | null>;
  /** Whether it was acknowledged. The memory of `bytes` is used again at once, as v86 does. */
  set(offset: number, bytes: Uint8Array): Promise<boolean>;
  /** Whether all that was acknowledged is stored. */
  flush(): Promise<boolean>;
}

export interface DiskBench {
  store: DiskStore;
  openDiskStore: typeof openDiskStore;
  CHUNK_BYTES: number;
  plug(id: string): Promise<Plugged>;
  /** The same once it can be written to: a dead page's locks are given back a moment later. */
  plugAgain(id: string): Promise<Plugged>;
  /**
   * @param written blocks of 4096 bytes and the seeds of the noise that was written there
   * @returns the seeds of those that are not there, and what the drive had to say
   */
  lost(id: string, written: readonly (readonly [block: number, seed: number])[]): Promise<unknown[]>;
  /** Drives, abort controllers and the like, from one evaluation to the next. */
  kept: Record<string, unknown>;
  random: typeof random;
  noise: typeof noise;
  sum: typeof sum;
  /** What a rejection says; "" when there is none. */
  refusal(promise: Promise<unknown>): Promise<string>;
  wholeDisk(id: string): Promise<Uint8Array>;
  record(id: string): Promise<StoredDisk>;
  /** The number of a disk's chunk in the bare database, in its layer at `at`. */
  key(id: string, at: number, index: number): Promise<number>;
  bare<T>(store: string, mode: IDBTransactionMode, run: (store: IDBObjectStore) => IDBRequest<T>): Promise<T>;
  layers(): Promise<{ listed: number[]; used: number[]; filled: number[] }>;
  readChunks: typeof readChunks;
  openDatabase: typeof openDatabase;
  runModel: typeof runModel;
  /** All transactions since the page began, with how each ended. */
  transactions: { mode: IDBTransactionMode; durability: string; state: "open" | "complete" | "abort" }[];
}

declare global {
  interface Window {
    diskBench: DiskBench;
  }
}

/** mulberry32 */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Bytes that tell by themselves where they come from. */
export function noise(seed: number, length: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1;
  for (let at = 0; at < words.length; at += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[at] = state;
  }
  return new Uint8Array(words.buffer, 0, length);
}

/** To compare megabytes with. */
async function sum(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(digest).slice(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export async function plug(store: DiskStore, id: string): Promise<Plugged> {
  const problems: DriveProblem[] = [];
  /** The drive does one thing after the other: a fault is about the oldest. */
  const waiting = new Set<() => void>();
  const drive = await store.open(id, {
    onProblem: (problem) => problems.push(problem),
    onWrite: () => {
      plugged.writeEvents += 1;
    },
  });
  drive.onFault = () => {
    const [oldest] = waiting;
    if (!oldest) throw new Error("A fault, and nobody asked for anything");
    oldest();
  };
  const once = <T>(begin: (end: (value: T) => void) => void, fault: T): Promise<T> =>
    new Promise((resolve) => {
      const end = (value: T): void => {
        if (!waiting.delete(fail)) throw new Error("The drive answered twice");
        resolve(value);
      };
      const fail = (): void => end(fault);
      waiting.add(fail);
      begin(end);
    });
  const plugged: Plugged = {
    drive,
    problems,
    writeEvents: 0,
    get: (offset, length) => once<Uint8Array | null>((end) => drive.get(offset, length, (b) => end(b.slice())), null),
    set: (offset, bytes) =>
      once<boolean>((end) => {
        drive.set(offset, bytes, () => end(true));
        bytes.fill(0xee);
      }, false),
    flush: () => once<boolean>((end) => drive.flush(() => end(true)), false),
  };
  return plugged;
}

const transactions: DiskBench["transactions"] = [];
const begin = IDBDatabase.prototype.transaction;
IDBDatabase.prototype.transaction = function (this: IDBDatabase, stores, mode = "readonly", options = {}) {
  const transaction = begin.call(this, stores, mode, options);
  const seen: DiskBench["transactions"][number] = { mode, durability: options.durability ?? "default", state: "open" };
  transactions.push(seen);
  transaction.addEventListener("complete", () => {
    seen.state = "complete";
  });
  transaction.addEventListener("abort", () => {
    seen.state = "abort";
  });
  return transaction;
};

const store = await openDiskStore();

const bare: DiskBench["bare"] = async (name, mode, run) => {
  const database = await new Promise<IDBDatabase>((resolve, reject) => {
    const request = indexedDB.open("smart-os-disks");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  try {
    return await new Promise((resolve, reject) => {
      const transaction = begin.call(database, [name], mode);
      const request = run(transaction.objectStore(name));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
};

const record = (id: string): Promise<StoredDisk> => bare<StoredDisk>("disks", "readonly", (disks) => disks.get(id));

window.diskBench = {
  store,
  openDiskStore,
  CHUNK_BYTES,
  plug: (id) => plug(store, id),
  async plugAgain(id) {
    for (;;) {
      const plugged = await plug(store, id);
      if (plugged.drive.writable) return plugged;
      await plugged.drive.close();
    }
  },
  async lost(id, written) {
    const { get, drive, problems } = await window.diskBench.plugAgain(id);
    const missing: unknown[] = [];
    for (const [block, seed] of written) {
      const bytes = await get(block * 4096, 4096);
      const expected = noise(seed, 4096);
      if (!bytes?.every((byte, at) => byte === expected[at])) missing.push(seed);
    }
    await drive.close();
    return [...missing, ...problems.map(({ detail }) => detail)];
  },
  kept: {},
  random,
  noise,
  sum,
  refusal: (promise) =>
    promise.then(
      () => "",
      (error: Error) => `${error.name}: ${error.message}`,
    ),
  wholeDisk: (id) =>
    store.read(id, async ({ source, extents }) => {
      const bytes = await source.read(0, source.size);
      const again = new Uint8Array(source.size);
      for await (const extent of extents() as AsyncIterable<Extent>) again.set(extent.bytes, extent.offset);
      if (bytes.some((byte, at) => byte !== again[at])) throw new Error("source and extents differ");
      return bytes;
    }),
  record,
  key: async (id, at, index) => chunkKey(((await record(id)).layers.at(at) as { id: number }).id, index),
  bare,
  async layers() {
    const listed = (await bare("layers", "readonly", (all) => all.getAllKeys())) as number[];
    const disks = await bare<StoredDisk[]>("disks", "readonly", (all) => all.getAll());
    const keys = (await bare("chunks", "readonly", (all) => all.getAllKeys())) as number[];
    const sorted = (all: Iterable<number>): number[] => [...new Set(all)].sort((a, b) => a - b);
    return {
      listed,
      used: sorted(disks.flatMap((disk) => disk.layers.map((layer) => layer.id))),
      filled: sorted(keys.map((key) => Math.floor(key / LAYER_KEYS))),
    };
  },
  readChunks,
  openDatabase,
  runModel: (seed, milliseconds) => runModel(seed, milliseconds),
  transactions,
};
