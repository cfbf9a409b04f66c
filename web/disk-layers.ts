/**
 * The content of a disk: a stack of layers, each a set of chunks. What a higher layer has hides what is below it; what
 * none has is zero. Only the top layer is written to; layers below it may belong to several disks.
 *
 *   record.layers   [ built image │ …older │ top ]
 *                   └── built ──┘  └ changes ┘
 */
import { answer, chunkRange, type Database } from "./disk-database.ts";
import {
  CHUNK_BYTES,
  type ChunkBuffer,
  chunkKey,
  DamagedChunkError,
  isZeroRecord,
  openRecord,
  sealRecord,
  ZERO_CHUNK,
} from "./disk-record.ts";

export interface Layer {
  id: number;
  /** In bytes: what the layer has from here on counts no longer, since the disk was once smaller. */
  limit: number;
}

/** The chunks that any layer of a stack has, as it shows below the disk's end. */
export async function readIndex(database: Database, layers: readonly Layer[], sizeBytes: number): Promise<Set<number>> {
  const keys = await database.transact(["chunks"], "readonly", (transaction) => {
    const store = transaction.objectStore("chunks");
    return Promise.all(
      layers.map(({ id, limit }) =>
        answer(store.getAllKeys(chunkRange(id, 0, Math.ceil(Math.min(limit, sizeBytes) / CHUNK_BYTES) - 1))),
      ),
    );
  });
  return new Set(
    keys.flatMap((list, at) => list.map((key) => (key as number) - chunkKey((layers[at] as Layer).id, 0))),
  );
}

export type ChunkResult = ChunkBuffer | DamagedChunkError;

/** Chunks taken at once by what goes through a whole layer: 4 MiB. */
export const BATCH_CHUNKS = 128;

/** Reads the chunks from `first` to `last` as they are in a stack, in one transaction; null where no layer has one. */
export async function readChunks(
  database: Database,
  layers: readonly Layer[],
  first: number,
  last: number,
): Promise<(ChunkResult | null)[]> {
  const found = await database.transact(["chunks"], "readonly", (transaction) => {
    const store = transaction.objectStore("chunks");
    return Promise.all(layers.map(({ id }) => readRun(store, id, first, last)));
  });
  const result: (ChunkResult | null)[] = new Array(last - first + 1).fill(null);
  found.forEach((records, at) => {
    const { limit } = layers[at] as Layer;
    for (const [index, record] of records)
      if (record !== undefined && index * CHUNK_BYTES < limit)
        result[index - first] = checkRecord(record, index, limit);
  });
  return result;
}

/**
 * What one layer has from `first` to `last`. Chunk by chunk in one transaction: Chromium answers that with 500 MB/s, and
 * `getAll` with 160, since it puts all records into one message.
 */
function readRun(
  store: IDBObjectStore,
  layer: number,
  first: number,
  last: number,
): Promise<(readonly [index: number, record: unknown])[]> {
  const reads: Promise<readonly [index: number, record: unknown]>[] = [];
  for (let index = first; index <= last; index += 1)
    reads.push(answer<unknown>(store.get(chunkKey(layer, index))).then((record) => [index, record] as const));
  return Promise.all(reads);
}

function checkRecord(record: unknown, index: number, limit: number): ChunkResult {
  try {
    const chunk = openRecord(record, index);
    if ((index + 1) * CHUNK_BYTES > limit && chunk !== ZERO_CHUNK)
      chunk.fill(0, limit - index * CHUNK_BYTES, CHUNK_BYTES);
    return chunk;
  } catch (error) {
    if (error instanceof DamagedChunkError) return error;
    throw error;
  }
}

/** Puts chunks into a layer. In the lowest one a chunk of zeros needs no record. */
export function putChunks(
  transaction: IDBTransaction,
  layer: number,
  isLowest: boolean,
  chunks: Iterable<readonly [index: number, chunk: ChunkBuffer]>,
): void {
  const store = transaction.objectStore("chunks");
  for (const [index, chunk] of chunks) {
    const record = sealRecord(chunk, index);
    if (isLowest && isZeroRecord(record)) store.delete(chunkKey(layer, index));
    else store.put(record, chunkKey(layer, index));
  }
}

/**
 * Goes through the chunks that any layer of a stack has, in order and in batches. Chunks that nobody has are left out; some
 * may be ZERO_CHUNK.
 */
export async function* walkChunks(
  database: Database,
  layers: readonly Layer[],
  chunkCount: number,
): AsyncGenerator<(readonly [index: number, chunk: ChunkResult])[]> {
  for (let at = 0; at < chunkCount; ) {
    const from = at;
    const next = await database.transact(["chunks"], "readonly", (transaction) => {
      const store = transaction.objectStore("chunks");
      return Promise.all(
        layers.map(({ id }) => answer(store.getAllKeys(chunkRange(id, from, chunkCount - 1), BATCH_CHUNKS))),
      );
    });
    const indices = next.map((keys, layer) =>
      keys.map((key) => (key as number) - chunkKey((layers[layer] as Layer).id, 0)),
    );
    const starts = indices.flatMap((list) => list.slice(0, 1));
    if (starts.length === 0) return;
    const first = Math.min(...starts);
    const last = Math.min(first + BATCH_CHUNKS, chunkCount) - 1;
    const wanted = new Set(indices.flat().filter((index) => index <= last));
    const chunks = await readChunks(database, layers, first, last);
    yield [...wanted].sort((a, b) => a - b).map((index) => [index, chunks[index - first] ?? ZERO_CHUNK] as const);
    at = last + 1;
  }
}

/**
 * Moves a batch of chunks from a layer into the one below it. The stack shows the same before and after, so that it may
 * be broken off between any two batches.
 * @returns whether the upper layer is empty now
 */
export function foldBatch(database: Database, upper: Layer, lower: Layer, isLowest: boolean): Promise<boolean> {
  return database.transact(["chunks"], "readwrite", async (transaction) => {
    const store = transaction.objectStore("chunks");
    const range = chunkRange(upper.id);
    const [keys, records] = await Promise.all([
      answer(store.getAllKeys(range, BATCH_CHUNKS)),
      answer(store.getAll(range, BATCH_CHUNKS)),
    ]);
    keys.forEach((key, at) => {
      const index = (key as number) - chunkKey(upper.id, 0);
      const target = chunkKey(lower.id, index);
      if (isLowest && isZeroRecord(records[at])) store.delete(target);
      else store.put(records[at], target);
      store.delete(key);
    });
    return keys.length < BATCH_CHUNKS;
  });
}
