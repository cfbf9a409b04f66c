/** The thread behind disk-chunks.ts. */
import type { ChunkAnswer, ChunkRequest, SentChunk } from "./disk-chunks.ts";
import { type Database, openDatabase } from "./disk-database.ts";
import { putBatch, readChunks } from "./disk-layers.ts";
import { clearLog } from "./disk-log.ts";
import { DamagedChunkError, ZERO_CHUNK } from "./disk-record.ts";

/** What a worker's global scope has, as far as it is used: the page's types know only windows. */
const port = globalThis as unknown as {
  onmessage: ((event: MessageEvent<ChunkRequest>) => void) | null;
  postMessage(message: ChunkAnswer, transfer: Transferable[]): void;
};

let database: Promise<Database> | null = null;

port.onmessage = ({ data }) => {
  if (data.kind === "open") {
    database = openDatabase(data.made);
    // Each request says so.
    database.catch(() => {});
    return;
  }
  (data.kind === "read" ? read(data) : write(data)).then(
    (chunks) =>
      port.postMessage(
        { id: data.id, chunks },
        // Those of a group are in the same memory.
        [...new Set(chunks.flatMap((chunk) => (chunk instanceof Uint8Array ? [chunk.buffer] : [])))],
      ),
    (error: unknown) => {
      const { name, message } =
        error instanceof Error || error instanceof DOMException ? error : new Error(String(error));
      port.postMessage({ id: data.id, error: { name, message } }, []);
    },
  );
};

async function write({ layer, indices, data }: Extract<ChunkRequest, { kind: "write" }>): Promise<SentChunk[]> {
  const storage = await (database as Promise<Database>);
  await storage.transact(["chunks", "log"], "readwrite", (transaction) => {
    putBatch(transaction, layer, indices, data);
    clearLog(transaction, layer);
  });
  return [];
}

async function read({ layers, first, last }: Extract<ChunkRequest, { kind: "read" }>): Promise<SentChunk[]> {
  const chunks = await readChunks(await (database as Promise<Database>), layers, first, last);
  return chunks.map((chunk) => {
    if (chunk === ZERO_CHUNK) return "zero";
    return chunk instanceof DamagedChunkError ? { damage: chunk.message } : chunk;
  });
}
