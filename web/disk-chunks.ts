/**
 * Chunks of running machines' disks, read and written on another thread: to copy a record into or out of the storage and to
 * work out its sum would take a quarter of the emulator's time. What is small and waited for is written on the emulator's
 * own thread, because the way to another one and back would make it longer (disk-top.ts).
 */
import type { Database } from "./disk-database.ts";
import type { ChunkResult, Layer } from "./disk-layers.ts";
import { type ChunkBuffer, DamagedChunkError, ZERO_CHUNK } from "./disk-record.ts";

export interface ChunkThread {
  /** What `readChunks` of disk-layers.ts gives. */
  read(layers: readonly Layer[], first: number, last: number): Promise<(ChunkResult | null)[]>;
  /**
   * What `putBatch` of disk-layers.ts does, and empties the layer's log, in a transaction of its own.
   * @param data goes to the other thread
   * @throws DOMException as `Database.transact` does
   */
  write(layer: number, indices: Uint32Array<ArrayBuffer>, data: Uint8Array<ArrayBuffer>): Promise<void>;
  close(): void;
}

/** To the worker, disk-worker.ts. */
export type ChunkRequest =
  | { kind: "open"; made: string }
  | { kind: "read"; id: number; layers: readonly Layer[]; first: number; last: number }
  | { kind: "write"; id: number; layer: number; indices: Uint32Array<ArrayBuffer>; data: Uint8Array<ArrayBuffer> };

/** A chunk on its way: zeros, nothing, the words of a damage, or the data. */
export type SentChunk = "zero" | null | { damage: string } | ChunkBuffer;

/** From the worker; `name` is that of a DOMException. What was written has no chunks. */
export type ChunkAnswer =
  | { id: number; chunks: SentChunk[] }
  | { id: number; error: { name: string; message: string } };

interface Pending {
  resolve(chunks: SentChunk[]): void;
  reject(error: Error): void;
}

/** @param database whose chunks they are: the worker opens the same one */
export function startChunkThread(database: Database): ChunkThread {
  const worker = new Worker(new URL("./disk-worker.ts", import.meta.url), { type: "module" });
  const pending = new Map<number, Pending>();
  let lastId = 0;
  let failure: Error | null = null;
  worker.onmessage = ({ data }: MessageEvent<ChunkAnswer>) => {
    const waiting = pending.get(data.id);
    pending.delete(data.id);
    if ("error" in data) waiting?.reject(new DOMException(data.error.message, data.error.name));
    else waiting?.resolve(data.chunks);
  };
  worker.onerror = (event) => {
    failure = new Error(`Cannot use the disks: their worker has failed (${event.message || "it does not load"})`);
    for (const { reject } of pending.values()) reject(failure);
    pending.clear();
  };
  const send = (request: ChunkRequest, transfer: Transferable[] = []): void => worker.postMessage(request, transfer);
  const ask = (request: (id: number) => ChunkRequest, transfer?: Transferable[]): Promise<SentChunk[]> =>
    new Promise((resolve, reject) => {
      if (failure) return reject(failure);
      lastId += 1;
      pending.set(lastId, { resolve, reject });
      send(request(lastId), transfer);
    });
  send({ kind: "open", made: database.made });
  return {
    async read(layers, first, last) {
      const chunks = await ask((id) => ({ kind: "read", id, layers, first, last }));
      return chunks.map((chunk) => {
        if (chunk === "zero") return ZERO_CHUNK;
        if (chunk === null || chunk instanceof Uint8Array) return chunk;
        return new DamagedChunkError(chunk.damage);
      });
    },
    async write(layer, indices, data) {
      await ask((id) => ({ kind: "write", id, layer, indices, data }), [indices.buffer, data.buffer]);
    },
    close: () => worker.terminate(),
  };
}
