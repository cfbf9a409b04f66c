/**
 * States of warm boots that the site does not have: of another memory size, kernel or kernel command line. The page makes
 * one after the first cold boot of that kind, beside the running machine, and keeps it in the browser.
 *
 * Database "smart-os-states", store "states": {key, version, packed, usedAt}; `packed` is a gzipped state. What another
 * version of the site has left is removed.
 */
import type { CustomKernel } from "../worker/api.ts";
import type { StateAnswer } from "./state-worker.ts";
import type { Pieces } from "./thin-state.ts";
import type { StateParts } from "./warm-state.ts";

export interface StateKind {
  memoryMb: number;
  commandLine: string;
  /** The project's own; null: the one that was built. */
  kernel: CustomKernel | null;
}

export interface OwnStates {
  /** Null when there is none, or it cannot be read. */
  load(kind: StateKind): Promise<Pieces | null>;
  /** Makes one and keeps it, unless there is one. What fails leaves things as they are. */
  make(kind: StateKind): Promise<void>;
}

interface Kept {
  key: string;
  version: string;
  packed: Blob;
  /** Milliseconds since 1970. */
  usedAt: number;
}

const MOST_STATES = 6;
const MOST_BYTES = 48 * 1024 * 1024;
/** Larger machines take too much memory beside the one that runs. */
const MOST_MEMORY_MB = 512;

export interface OwnStatesParts {
  /** Of the site's own states: another one makes all others useless. */
  version: string;
  loadParts(kind: StateKind): Promise<StateParts>;
}

export function createOwnStates({ version, loadParts }: OwnStatesParts): OwnStates {
  let opening: Promise<IDBDatabase> | null = null;
  const open = (): Promise<IDBDatabase> => {
    opening ??= openDatabase(version).catch((error: unknown) => {
      opening = null;
      throw error;
    });
    return opening;
  };
  const keyOf = ({ memoryMb, commandLine, kernel }: StateKind): string =>
    `${memoryMb} ${kernel ? `${kernel.sha256} ` : ""}${commandLine}`;
  const find = async (kind: StateKind): Promise<Kept | undefined> => {
    const store = (await open()).transaction("states").objectStore("states");
    return settled(store.get(keyOf(kind)) as IDBRequest<Kept | undefined>);
  };
  const keep = async (kept: Kept): Promise<void> => {
    const store = (await open()).transaction("states", "readwrite").objectStore("states");
    store.put(kept);
    await forgetOldest(store);
  };
  let making: Promise<unknown> = Promise.resolve();
  /** What did not work is not tried again and again: a kernel from outside may be none that the program can wait in. */
  const failed = new Set<string>();

  return {
    async load(kind) {
      try {
        const kept = await find(kind);
        if (!kept) return null;
        await keep({ ...kept, usedAt: Date.now() });
        const unpacked = kept.packed.stream().pipeThrough(new DecompressionStream("gzip"));
        const pieces: Uint8Array[] = [];
        for (const reader = unpacked.getReader(); ; ) {
          const { value, done } = await reader.read();
          if (done) return pieces;
          pieces.push(value);
        }
      } catch {
        return null;
      }
    },
    async make(kind) {
      if (kind.memoryMb > MOST_MEMORY_MB) return;
      const before = making;
      const mine = before.then(async () => {
        if (failed.has(keyOf(kind)) || (await find(kind))) return;
        const packed = await makeBeside(await loadParts(kind)).catch((error: unknown) => {
          failed.add(keyOf(kind));
          throw error;
        });
        await keep({ key: keyOf(kind), version, packed, usedAt: Date.now() });
      });
      making = mine.catch(() => {});
      await mine;
    },
  };
}

function makeBeside(parts: StateParts): Promise<Blob> {
  const worker = new Worker(new URL("./state-worker.ts", import.meta.url), { type: "module" });
  return new Promise<Blob>((resolve, reject) => {
    worker.addEventListener("message", ({ data }: MessageEvent<StateAnswer>) =>
      data.ok ? resolve(data.packed) : reject(new Error(data.problem)),
    );
    worker.addEventListener("error", (event) => reject(new Error(`Cannot make a state: ${event.message}`)));
    worker.postMessage(parts);
  }).finally(() => worker.terminate());
}

async function openDatabase(version: string): Promise<IDBDatabase> {
  const request = indexedDB.open("smart-os-states", 1);
  request.onupgradeneeded = () => request.result.createObjectStore("states", { keyPath: "key" });
  const database = await settled(request);
  const store = database.transaction("states", "readwrite").objectStore("states");
  for (const kept of await settled(store.getAll() as IDBRequest<Kept[]>))
    if (kept.version !== version) store.delete(kept.key);
  return database;
}

async function forgetOldest(store: IDBObjectStore): Promise<void> {
  const all = await settled(store.getAll() as IDBRequest<Kept[]>);
  let bytes = 0;
  for (const [index, { key, packed }] of all.sort((a, b) => b.usedAt - a.usedAt).entries()) {
    bytes += packed.size;
    if (index >= MOST_STATES || bytes > MOST_BYTES) store.delete(key);
  }
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
