/** A disk at rest, to be read as a whole. */
import type { BlockSource, Extent } from "../worker/format/sparse-image.ts";
import type { Database } from "./disk-database.ts";
import { blockSource, joinChunks, type LongWork } from "./disk-image.ts";
import { readChunks, walkChunks } from "./disk-layers.ts";
import { type LoggedChunks, NOTHING_LOGGED } from "./disk-log.ts";
import { CHUNK_BYTES, type ChunkBuffer, DamagedChunkError, ZERO_CHUNK } from "./disk-record.ts";
import type { StoredDisk } from "./disk-records.ts";

export interface StoredImage {
  source: BlockSource;
  /** What is not zero, in order and in pieces of a few MiB. @throws DamagedChunkError */
  extents(work?: LongWork): AsyncGenerator<Extent>;
}

const NEVER = new AbortController().signal;

/** @param logged what of it the layers do not have yet */
export function storedImage(
  database: Database,
  { layers, sizeBytes }: StoredDisk,
  logged: LoggedChunks = NOTHING_LOGGED,
): StoredImage {
  const source = blockSource(sizeBytes, async (offset, length) => {
    const bytes = new Uint8Array(length);
    if (length === 0) return bytes;
    const first = Math.floor(offset / CHUNK_BYTES);
    const last = Math.floor((offset + length - 1) / CHUNK_BYTES);
    const chunks = await readChunks(database, layers, first, last);
    chunks.forEach((chunk, at) => {
      const from = (first + at) * CHUNK_BYTES;
      const start = Math.max(offset, from);
      const end = Math.min(offset + length, from + CHUNK_BYTES);
      bytes.set(sound(logged.get(first + at) ?? chunk).subarray(start - from, end - from), start - offset);
    });
    return bytes;
  });
  async function* batches({ signal = NEVER, onProgress }: LongWork) {
    for await (const batch of walkChunks(database, layers, Math.ceil(sizeBytes / CHUNK_BYTES), logged)) {
      signal.throwIfAborted();
      yield batch.map(([index, chunk]) => [index, sound(chunk)] as const);
      onProgress?.(((batch.at(-1)?.[0] ?? 0) + 1) * CHUNK_BYTES);
    }
  }
  return { source, extents: (work = {}) => joinChunks(batches(work), sizeBytes) };
}

function sound(chunk: ChunkBuffer | DamagedChunkError | null): ChunkBuffer {
  if (chunk instanceof DamagedChunkError) throw chunk;
  return chunk ?? ZERO_CHUNK;
}
