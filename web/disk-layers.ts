/**
 * The content of a disk: a stack of layers, each a set of chunks. What a higher layer has hides what is below it; what
 * none has is zero. Only the top layer is written to; layers below it may belong to several disks.
 *
 *   record.layers   [ built image │ …older │ top ]
 *                   └── built ──┘  └ changes ┘
 */
import { answer, chunkRange, type Database, groupRange } from "./disk-database.ts";
import {
  CHUNK_BYTES,
  type ChunkBuffer,
  chunkKey,
  DamagedChunkError,
  GROUP_CHUNKS,
  groupKey,
  groupOf,
  isZero,
  isZeroRecord,
  openInGroup,
  openRecord,
  sealGroup,
  sealRecord,
  ZERO_CHUNK,
} from "./disk-record.ts";

export interface Layer {
  id: number;
  /** In bytes: what the layer has from here on counts no longer, since the disk was once smaller. */
  limit: number;
}

/** Chunks that a layer has, alone and in groups. */
interface Held {
  alone: Set<number>;
  groups: Set<number>;
}

async function heldBy(store: IDBObjectStore, { id, limit }: Layer, first: number, last: number): Promise<Held> {
  const end = Math.min(last, Math.ceil(limit / CHUNK_BYTES) - 1);
  if (end < first) return { alone: new Set(), groups: new Set() };
  const [alone, groups] = await Promise.all([
    answer(store.getAllKeys(chunkRange(id, first, end))),
    answer(store.getAllKeys(groupRange(id, groupOf(first), groupOf(end)))),
  ]);
  return {
    alone: new Set(alone.map((key) => (key as number) - chunkKey(id, 0))),
    groups: new Set(groups.map((key) => (key as number) - groupKey(id, 0))),
  };
}

/** The chunks that any layer of a stack has, as it shows below the disk's end. */
export async function readIndex(database: Database, layers: readonly Layer[], sizeBytes: number): Promise<Set<number>> {
  const held = await database.transact(["chunks"], "readonly", (transaction) => {
    const store = transaction.objectStore("chunks");
    return Promise.all(layers.map((layer) => heldBy(store, layer, 0, Math.ceil(sizeBytes / CHUNK_BYTES) - 1)));
  });
  const all = new Set<number>();
  held.forEach(({ alone, groups }, at) => {
    const end = Math.ceil(Math.min((layers[at] as Layer).limit, sizeBytes) / CHUNK_BYTES);
    for (const index of alone) all.add(index);
    for (const group of groups) for (const index of chunksOf(group)) if (index < end) all.add(index);
  });
  return all;
}

function chunksOf(group: number): number[] {
  return Array.from({ length: GROUP_CHUNKS }, (_, at) => group * GROUP_CHUNKS + at);
}

export type ChunkResult = ChunkBuffer | DamagedChunkError;

/** Chunks taken at once by what goes through a whole layer: 4 MiB. */
export const BATCH_CHUNKS = 128;

/**
 * Reads the chunks from `first` to `last` as they are in a stack, in one transaction; null where no layer has one. First
 * the keys, then the records that count, one by one: Chromium answers that with 500 MB/s, and `getAll` with 160, since it
 * puts all records into one message.
 */
export async function readChunks(
  database: Database,
  layers: readonly Layer[],
  first: number,
  last: number,
): Promise<(ChunkResult | null)[]> {
  const found = await database.transact(["chunks"], "readonly", async (transaction) => {
    const store = transaction.objectStore("chunks");
    const held = await Promise.all(layers.map((layer) => heldBy(store, layer, first, last)));
    const groups = new Map<number, Promise<unknown>>();
    const result: Promise<Found | null>[] = [];
    for (let index = first; index <= last; index += 1) {
      const group = groupOf(index);
      const at = layers.findLastIndex(
        ({ limit }, layer) =>
          index * CHUNK_BYTES < limit && (held[layer]?.alone.has(index) || held[layer]?.groups.has(group)),
      );
      const layer = layers[at];
      if (!layer) result.push(Promise.resolve(null));
      else {
        const isAlone = (held[at] as Held).alone.has(index);
        const key = isAlone ? chunkKey(layer.id, index) : groupKey(layer.id, group);
        const request = (isAlone ? undefined : groups.get(key)) ?? answer<unknown>(store.get(key));
        if (!isAlone) groups.set(key, request);
        result.push(request.then((record) => ({ record, isAlone, limit: layer.limit })));
      }
    }
    return Promise.all(result);
  });
  return found.map((one, at) => one && checkRecord(one, first + at));
}

/** A record that has a chunk. */
interface Found {
  record: unknown;
  isAlone: boolean;
  limit: number;
}

function checkRecord({ record, isAlone, limit }: Found, index: number): ChunkResult {
  try {
    const chunk = isAlone ? openRecord(record, index) : openInGroup(record, index);
    if ((index + 1) * CHUNK_BYTES > limit && chunk !== ZERO_CHUNK)
      chunk.fill(0, limit - index * CHUNK_BYTES, CHUNK_BYTES);
    return chunk;
  } catch (error) {
    if (error instanceof DamagedChunkError) return error;
    throw error;
  }
}

/** Puts chunks into a layer that has no groups. In the lowest one a chunk of zeros needs no record. */
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
 * Puts chunks into a layer, as groups where there are whole ones.
 * @param indices in order
 * @param data theirs, one after the other
 */
export function putBatch(
  transaction: IDBTransaction,
  layer: number,
  indices: ArrayLike<number>,
  data: Uint8Array<ArrayBuffer>,
): void {
  const store = transaction.objectStore("chunks");
  const part = (from: number, to: number): ChunkBuffer => data.subarray(from * CHUNK_BYTES, to * CHUNK_BYTES);
  for (let at = 0; at < indices.length; ) {
    const index = indices[at] as number;
    const isWhole = index % GROUP_CHUNKS === 0 && indices[at + GROUP_CHUNKS - 1] === index + GROUP_CHUNKS - 1;
    if (isWhole && !isMostlyZero(part(at, at + GROUP_CHUNKS))) {
      const group = groupOf(index);
      store.delete(chunkRange(layer, index, index + GROUP_CHUNKS - 1));
      store.put(sealGroup(part(at, at + GROUP_CHUNKS), group), groupKey(layer, group));
      at += GROUP_CHUNKS;
      continue;
    }
    // A group's chunks one by one: what is zero costs next to nothing then.
    const end = isWhole ? at + GROUP_CHUNKS : at + 1;
    for (; at < end; at += 1) {
      const index = indices[at] as number;
      store.put(sealRecord(part(at, at + 1), index), chunkKey(layer, index));
    }
  }
}

function isMostlyZero(group: Uint8Array): boolean {
  let zeros = 0;
  for (let at = 0; at < GROUP_CHUNKS; at += 1)
    if (isZero(group.subarray(at * CHUNK_BYTES, (at + 1) * CHUNK_BYTES))) zeros += 1;
  return zeros > GROUP_CHUNKS / 2;
}

/** How many chunks' room a layer takes. */
export async function countChunks(transaction: IDBTransaction, layer: number): Promise<number> {
  const store = transaction.objectStore("chunks");
  const [alone, groups] = await Promise.all([
    answer(store.count(chunkRange(layer))),
    answer(store.count(groupRange(layer))),
  ]);
  return alone + groups * GROUP_CHUNKS;
}

/**
 * Takes away what a layer has from a chunk on.
 * @returns false when it cannot be done, since a group would have to be taken apart that is damaged; nothing has happened then
 */
export async function cutLayer(transaction: IDBTransaction, layer: number, from: number): Promise<boolean> {
  const store = transaction.objectStore("chunks");
  const group = groupOf(from);
  const start = group * GROUP_CHUNKS;
  if (from > start) {
    const [record, keys] = await Promise.all([
      answer<unknown>(store.get(groupKey(layer, group))),
      answer(store.getAllKeys(chunkRange(layer, start, from - 1))),
    ]);
    if (record !== undefined) {
      const chunks = chunksOf(group)
        .filter((index) => index < from && !keys.includes(chunkKey(layer, index)))
        .map(
          (index) => [index, checkRecord({ record, isAlone: false, limit: Number.POSITIVE_INFINITY }, index)] as const,
        );
      if (chunks.some(([, chunk]) => chunk instanceof DamagedChunkError)) return false;
      for (const [index, chunk] of chunks) store.put(sealRecord(chunk as ChunkBuffer, index), chunkKey(layer, index));
    }
  }
  store.delete(chunkRange(layer, from));
  store.delete(groupRange(layer, group));
  return true;
}

/**
 * Goes through the chunks that any layer of a stack has, in order and in batches. Chunks that nobody has are left out; some
 * may be ZERO_CHUNK. Each is new memory.
 * @param newer chunks that are not as the layers have them, in order
 */
export async function* walkChunks(
  database: Database,
  layers: readonly Layer[],
  chunkCount: number,
  newer: ReadonlyMap<number, ChunkResult>,
): AsyncGenerator<(readonly [index: number, chunk: ChunkResult])[]> {
  for (let at = 0; at < chunkCount; ) {
    const from = at;
    const indices = await database.transact(["chunks"], "readonly", (transaction) => {
      const store = transaction.objectStore("chunks");
      return Promise.all(layers.map(({ id }) => nextChunks(store, id, from, chunkCount)));
    });
    indices.push([...newer.keys()].filter((index) => index >= from && index < chunkCount));
    const starts = indices.flatMap((list) => list.slice(0, 1));
    if (starts.length === 0) return;
    const first = Math.min(...starts);
    const last = Math.min(first + BATCH_CHUNKS, chunkCount) - 1;
    const wanted = new Set(indices.flat().filter((index) => index <= last));
    const chunks = await readChunks(database, layers, first, last);
    const chunk = (index: number): ChunkResult => {
      const changed = newer.get(index);
      if (!changed) return chunks[index - first] ?? ZERO_CHUNK;
      return changed instanceof DamagedChunkError ? changed : changed.slice();
    };
    yield [...wanted].sort((a, b) => a - b).map((index) => [index, chunk(index)] as const);
    at = last + 1;
  }
}

/** The next chunks that a layer has, at least all those of the batch that the first of them begins. */
async function nextChunks(store: IDBObjectStore, layer: number, from: number, chunkCount: number): Promise<number[]> {
  const [alone, groups] = await Promise.all([
    answer(store.getAllKeys(chunkRange(layer, from, chunkCount - 1), BATCH_CHUNKS)),
    answer(
      store.getAllKeys(groupRange(layer, groupOf(from), groupOf(chunkCount - 1)), BATCH_CHUNKS / GROUP_CHUNKS + 1),
    ),
  ]);
  return [
    ...alone.map((key) => (key as number) - chunkKey(layer, 0)),
    ...groups.flatMap((key) => chunksOf((key as number) - groupKey(layer, 0))),
  ]
    .filter((index) => index >= from && index < chunkCount)
    .sort((a, b) => a - b);
}

/**
 * Moves a batch of chunks from a layer into the one below it. The stack shows the same before and after, so that it may
 * be broken off between any two batches: groups go first, because what is alone hides them.
 * @returns whether the upper layer is empty now
 */
export function foldBatch(database: Database, upper: Layer, lower: Layer, isLowest: boolean): Promise<boolean> {
  return database.transact(["chunks"], "readwrite", async (transaction) => {
    const store = transaction.objectStore("chunks");
    const take = (range: IDBKeyRange, count: number): Promise<[IDBValidKey[], unknown[]]> =>
      Promise.all([answer(store.getAllKeys(range, count)), answer(store.getAll(range, count))]);
    const [groups, groupRecords] = await take(groupRange(upper.id), BATCH_CHUNKS / GROUP_CHUNKS);
    groups.forEach((key, at) => {
      const group = (key as number) - groupKey(upper.id, 0);
      store.delete(chunkRange(lower.id, group * GROUP_CHUNKS, (group + 1) * GROUP_CHUNKS - 1));
      store.put(groupRecords[at], groupKey(lower.id, group));
      store.delete(key);
    });
    if (groups.length > 0) return false;
    const [keys, records] = await take(chunkRange(upper.id), BATCH_CHUNKS);
    const indices = keys.map((key) => (key as number) - chunkKey(upper.id, 0));
    // Where nothing is below, zeros need no record.
    const isNeedless = await Promise.all(
      indices.map(async (index, at) => {
        if (!isLowest || !isZeroRecord(records[at])) return false;
        return (await answer(store.getKey(groupKey(lower.id, groupOf(index))))) === undefined;
      }),
    );
    indices.forEach((index, at) => {
      const target = chunkKey(lower.id, index);
      if (isNeedless[at]) store.delete(target);
      else store.put(records[at], target);
      store.delete(keys[at] as IDBValidKey);
    });
    return keys.length < BATCH_CHUNKS;
  });
}
