/** The page's side of the thread that stores saved machines (snapshot-worker.ts). */
import type { SnapshotStorage } from "./snapshot-storage.ts";

export interface SnapshotRequest {
  id: number;
  method: keyof SnapshotStorage;
  parameters: unknown[];
}

/** `name` is that of a DOMException. */
export type SnapshotAnswer = { id: number; value: unknown } | { id: number; error: { name: string; message: string } };

interface Waiting {
  resolve(value: never): void;
  reject(error: Error): void;
}

/** A thread that begins with the first call, and ends when nothing was asked of it for a while. */
export function createSnapshotClient(): SnapshotStorage {
  const waiting = new Map<number, Waiting>();
  let worker: Worker | null = null;
  let lastId = 0;
  let idle: ReturnType<typeof setTimeout> | undefined;

  const stop = (): void => {
    worker?.terminate();
    worker = null;
  };
  const settle = (id: number): Waiting | undefined => {
    const found = waiting.get(id);
    waiting.delete(id);
    if (waiting.size === 0) idle = setTimeout(stop, IDLE_MS);
    return found;
  };
  const start = (): Worker => {
    const next = new Worker(new URL("./snapshot-worker.ts", import.meta.url), { type: "module" });
    next.onmessage = ({ data }: MessageEvent<SnapshotAnswer>) => {
      const found = settle(data.id);
      if ("error" in data) found?.reject(new DOMException(data.error.message, data.error.name));
      else found?.resolve(data.value as never);
    };
    next.onerror = (event) => {
      const failure = new Error(
        `Cannot use snapshots: their worker has failed (${event.message || "it does not load"})`,
      );
      for (const { reject } of waiting.values()) reject(failure);
      waiting.clear();
      stop();
    };
    return next;
  };
  const call = <T>(method: keyof SnapshotStorage, parameters: unknown[], transfer: Transferable[] = []): Promise<T> =>
    new Promise((resolve, reject) => {
      clearTimeout(idle);
      worker ??= start();
      lastId += 1;
      waiting.set(lastId, { resolve, reject });
      worker.postMessage({ id: lastId, method, parameters } satisfies SnapshotRequest, transfer);
    });

  return {
    list: () => call("list", []),
    save: (facts, state, replaces) => call("save", [facts, state, replaces], [state]),
    load: (id) => call("load", [id]),
    change: (id, change) => call("change", [id, change]),
    remove: (id) => call("remove", [id]),
    left: (project) => call("left", [project]),
    dropLeft: (project) => call("dropLeft", [project]),
    pack: (id) => call("pack", [id]),
    unpack: (record, packed) => call("unpack", [record, packed], [packed]),
  };
}

const IDLE_MS = 30_000;
