/**
 * Chunks of running machines' disks, read on another thread: to copy a record out of the storage and to check its sum would
 * take a quarter of the emulator's time. Writes stay on this thread, because a guest waits for each, and the way to
 * another thread and back would make them longer.
 */
import type { Database } from "./disk-database.ts";
import type { ChunkResult, Layer } from "./disk-layers.ts";
import { type ChunkBuffer, DamagedChunkError, ZERO_CHUNK } from "./disk-record.ts";

export interface ChunkReader {
  /** What `readChunks` of disk-layers.ts gives. */
  read(layers: readonly Layer[], first: number, last: number): Promise<(ChunkResult | null)[]>;
  close(): void;
}

/** To the worker, disk-worker.ts. */
export type ChunkRequest =
  | { kind: "open"; made: string }
  | { kind: "read"; id: number; layers: readonly Layer[]; first: number; last: number };

/** A chunk on its way: zeros, nothing, the words of a damage, or the data. */
export type SentChunk = "zero" | null | { damage: string } | ChunkBuffer;

/** From the worker; `name` is that of a DOMException. */
export type ChunkAnswer =
  | { id: number; chunks: SentChunk[] }
  | { id: number; error: { name: string; message: string } };

interface Pending {
  resolve(chunks: SentChunk[]): void;
  reject(error: Error): void;
}

/** @param database whose chunks they are: the worker opens the same one */
export function startChunkReader(database: Database): ChunkReader {
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
    failure = new Error(`Cannot read the disks: their worker has failed (${event.message || "it does not load"})`);
    for (const { reject } of pending.values()) reject(failure);
    pending.clear();
  };
  const send = (request: ChunkRequest): void => worker.postMessage(request);
  send({ kind: "open", made: database.made });
  return {
    async read(layers, first, last) {
      const chunks = await new Promise<SentChunk[]>((resolve, reject) => {
        if (failure) return reject(failure);
        lastId += 1;
        pending.set(lastId, { resolve, reject });
        send({ kind: "read", id: lastId, layers, first, last });
      });
      return chunks.map((chunk) => {
        if (chunk === "zero") return ZERO_CHUNK;
        if (chunk === null || chunk instanceof Uint8Array) return chunk;
        return new DamagedChunkError(chunk.damage);
      });
    },
    close: () => worker.terminate(),
  };
}
