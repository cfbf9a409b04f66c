/**
 * A disk made of itself: what stays where it is costs nothing, what moves is copied a few MiB at a time. The result is a
 * layer for the top of the disk's stack.
 */
import type { Piece } from "../worker/format/sparse-image.ts";
import type { ChunkResult } from "./disk-layers.ts";
import { CHUNK_BYTES, type ChunkBuffer, DamagedChunkError, isZero, newChunk, ZERO_CHUNK } from "./disk-record.ts";

/** Bytes, or a part of the disk as it was (source 0); in order, none overlapping another. What they leave out is zero. */
export type Pieces = Iterable<Piece> | AsyncIterable<Piece>;

export interface OldDisk {
  /** Chunks that it has. */
  stored: ReadonlySet<number>;
  /** Null where it has none. */
  read(first: number, last: number): Promise<(ChunkResult | null)[]>;
}

/** Chunks read at once of what moves: 4 MiB. */
const READ_CHUNKS = 128;

/**
 * The chunks that are not what they were, zeros included, in order. Each is new memory, or ZERO_CHUNK.
 * @throws DamagedChunkError when something is damaged that has to be read
 */
export async function* changedChunks(
  pieces: Pieces,
  sizeBytes: number,
  old: OldDisk,
): AsyncGenerator<readonly [index: number, chunk: ChunkBuffer]> {
  const stored = [...old.stored].filter((index) => index * CHUNK_BYTES < sizeBytes).sort((a, b) => a - b);
  const read = readAhead(old);
  let next = 0;
  /** Chunks of the old disk before `end` that no piece has asked for. */
  function* forgotten(end: number): Generator<readonly [number, ChunkBuffer]> {
    for (let index = stored[next]; index !== undefined && index < end; index = stored[++next])
      yield [index, ZERO_CHUNK] as const;
  }
  let current = -1;
  let chunk: ChunkBuffer | null = null;
  let end = 0;
  async function* finish(): AsyncGenerator<readonly [number, ChunkBuffer]> {
    if (!chunk) return;
    const made = isZero(chunk) ? ZERO_CHUNK : chunk;
    chunk = null;
    if (stored[next] === current) next += 1;
    const before = await read(current).catch(ignoreDamage);
    if (!before || !isSame(before, made)) yield [current, made] as const;
  }
  for await (const piece of pieces) {
    const length = "bytes" in piece ? piece.bytes.length : piece.length;
    if (piece.offset < end)
      throw new Error(`Cannot store the image: what is at ${piece.offset} comes after what reaches to ${end}`);
    end = piece.offset + length;
    if (end > sizeBytes) throw new Error(`Cannot store the image: ${end} bytes are beyond its ${sizeBytes}`);
    for (let at = piece.offset; at < end; ) {
      const index = Math.floor(at / CHUNK_BYTES);
      if (index !== current) {
        yield* finish();
        yield* forgotten(index);
        current = index;
      }
      const stays = !("bytes" in piece) && piece.from === piece.offset;
      const whole = Math.floor((end === sizeBytes ? end + CHUNK_BYTES - 1 : end) / CHUNK_BYTES);
      if (stays && at === index * CHUNK_BYTES && whole > index) {
        // All of these are as they were.
        while ((stored[next] ?? whole) < whole) next += 1;
        at = Math.min(end, whole * CHUNK_BYTES);
        current = whole - 1;
        continue;
      }
      chunk ??= newChunk();
      const within = at - index * CHUNK_BYTES;
      const count = Math.min(CHUNK_BYTES - within, end - at);
      if ("bytes" in piece) chunk.set(piece.bytes.subarray(at - piece.offset, at - piece.offset + count), within);
      else await copy(read, piece.from + at - piece.offset, chunk.subarray(within, within + count));
      at += count;
    }
  }
  yield* finish();
  yield* forgotten(Number.POSITIVE_INFINITY);
}

async function copy(read: (index: number) => Promise<ChunkBuffer>, from: number, target: Uint8Array): Promise<void> {
  for (let done = 0; done < target.length; ) {
    const index = Math.floor((from + done) / CHUNK_BYTES);
    const within = from + done - index * CHUNK_BYTES;
    const count = Math.min(CHUNK_BYTES - within, target.length - done);
    target.set((await read(index)).subarray(within, within + count), done);
    done += count;
  }
}

function isSame(a: ChunkBuffer, b: ChunkBuffer): boolean {
  if (a === b) return true;
  const [left, right] = [a, b].map((chunk) => new Uint32Array(chunk.buffer, chunk.byteOffset, CHUNK_BYTES / 4));
  return (left as Uint32Array).every((word, at) => word === (right as Uint32Array)[at]);
}

/** What is damaged and not needed is written over. */
function ignoreDamage(error: unknown): null {
  if (error instanceof DamagedChunkError) return null;
  throw error;
}

/** Single chunks of a disk, read many at a time. */
function readAhead(old: OldDisk): (index: number) => Promise<ChunkBuffer> {
  let first = 0;
  let chunks: (ChunkResult | null)[] = [];
  return async (index) => {
    if (!old.stored.has(index)) return ZERO_CHUNK;
    if (index < first || index >= first + chunks.length) {
      // A single chunk after a jump, more when it goes on from there.
      const count = index === first + chunks.length ? Math.min(READ_CHUNKS, chunks.length * 2) : 1;
      first = index;
      chunks = await old.read(index, index + Math.max(count, 1) - 1);
    }
    const chunk = chunks[index - first];
    if (chunk instanceof DamagedChunkError) throw chunk;
    return chunk ?? ZERO_CHUNK;
  };
}
