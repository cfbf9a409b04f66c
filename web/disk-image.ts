/** What goes into and comes out of a stored disk: runs of bytes at their places, in order, zeros left out. */
import type { BlockSource, Extent, Piece } from "../worker/format/sparse-image.ts";
import { CHUNK_BYTES, type ChunkBuffer, isZero, newChunk, SECTOR_BYTES, ZERO_CHUNK } from "./disk-record.ts";
import { release } from "./release.ts";

/** What something that takes a while is given. */
export interface LongWork {
  signal?: AbortSignal;
  /** Bytes done. */
  onProgress?(done: number): void;
}

/** Extents in order, none overlapping another. */
export type Extents = Iterable<Extent> | AsyncIterable<Extent>;

/** What a file is read in. */
const FILE_STEP = 4 * 1024 * 1024;
/** The longest run of bytes that is handed out at once. */
export const MAX_RUN_BYTES = 4 * 1024 * 1024;

/** @throws Error "Cannot …" when a disk cannot have that size */
export function checkDiskSize(what: string, sizeBytes: number): void {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < SECTOR_BYTES || sizeBytes % SECTOR_BYTES !== 0)
    throw new Error(`${what}: ${sizeBytes} bytes are not a number of sectors of ${SECTOR_BYTES} bytes`);
  if (sizeBytes > MAX_DISK_BYTES)
    throw new Error(`${what}: ${sizeBytes} bytes are more than the ${MAX_DISK_BYTES} that a disk may have`);
}

/** What the page's disks are tested with. */
export const MAX_DISK_BYTES = 64 * 1024 ** 3;

/**
 * Cuts extents into chunks; those of zeros are left out. Each chunk is new memory.
 * @throws Error when the extents are not in order, overlap, or reach beyond the size
 */
export async function* cutChunks(
  extents: Extents,
  sizeBytes: number,
): AsyncGenerator<readonly [index: number, chunk: ChunkBuffer]> {
  let index = -1;
  let chunk: ChunkBuffer | null = null;
  let end = 0;
  for await (const { offset, bytes } of extents) {
    if (offset < end)
      throw new Error(`Cannot store the image: what is at ${offset} comes after what reaches to ${end}`);
    end = offset + bytes.length;
    if (end > sizeBytes) throw new Error(`Cannot store the image: ${end} bytes are beyond its ${sizeBytes}`);
    for (let at = offset; at < end; ) {
      const next = Math.floor(at / CHUNK_BYTES);
      if (next !== index) {
        if (chunk && !isZero(chunk)) yield [index, chunk];
        chunk = newChunk();
        index = next;
      }
      const within = at % CHUNK_BYTES;
      const length = Math.min(CHUNK_BYTES - within, end - at);
      (chunk as ChunkBuffer).set(bytes.subarray(at - offset, at - offset + length), within);
      at += length;
    }
  }
  if (chunk && !isZero(chunk)) yield [index, chunk];
}

/** A raw image in a file, read piece by piece. */
export async function* fileExtents(file: Blob): AsyncGenerator<Extent> {
  for (let offset = 0; offset < file.size; offset += FILE_STEP)
    yield { offset, bytes: new Uint8Array(await file.slice(offset, offset + FILE_STEP).arrayBuffer()) };
}

/** Pieces of which those of the sources from 1 on are read from files, a few MiB at a time. */
export async function* withFiles(pieces: Iterable<Piece>, files: readonly Blob[]): AsyncGenerator<Piece> {
  for (const piece of pieces) {
    const file = "bytes" in piece ? undefined : files[piece.source - 1];
    if ("bytes" in piece || !file) yield piece;
    else
      for (let done = 0; done < piece.length; done += FILE_STEP) {
        const length = Math.min(FILE_STEP, piece.length - done);
        const part = file.slice(piece.from + done, piece.from + done + length);
        yield { offset: piece.offset + done, bytes: new Uint8Array(await part.arrayBuffer()) };
      }
  }
}

/**
 * The content of pieces of which those of source 0 are read from a disk, a few MiB at a time.
 * @throws what the disk throws, and the signal's reason
 */
export async function* readPieces(
  source: BlockSource,
  pieces: Iterable<Piece>,
  { signal, onProgress }: LongWork = {},
): AsyncGenerator<Extent> {
  for (const piece of pieces) {
    const length = "bytes" in piece ? piece.bytes.length : piece.length;
    for (let done = 0; done < length; ) {
      signal?.throwIfAborted();
      const count = Math.min(MAX_RUN_BYTES, length - done);
      const bytes =
        "bytes" in piece ? piece.bytes.subarray(done, done + count) : await source.read(piece.from + done, count);
      yield { offset: piece.offset + done, bytes };
      done += count;
      onProgress?.(piece.offset + done);
    }
  }
}

/**
 * A gzipped raw image, unpacked piece by piece. Its size is known when the last piece is taken.
 * @throws Error "Cannot …" from the extents when the file is damaged, or larger unpacked than a disk may be
 */
export function unzippedExtents(
  file: Blob,
  signal: AbortSignal,
): { extents: AsyncIterable<Extent>; size: () => number } {
  let size = 0;
  async function* extents(): AsyncGenerator<Extent> {
    const reader = file.stream().pipeThrough(new DecompressionStream("gzip"), { signal }).getReader();
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        yield { offset: size, bytes: value };
        size += value.length;
        if (size > MAX_DISK_BYTES)
          throw new Error("Cannot import the image: unpacked it is larger than the 64 GiB that a disk may have");
      }
    } catch (error) {
      if (signal.aborted || !(error instanceof TypeError)) throw error;
      throw new Error(`Cannot import the image: after ${size} bytes the gzip file is damaged or cut off`);
    } finally {
      reader.cancel().catch(() => {});
    }
  }
  return { extents: extents(), size: () => size };
}

/** The whole image as a stream of bytes, zeros and all. */
export function rawStream(sizeBytes: number, extents: AsyncIterable<Extent>): ReadableStream<Uint8Array<ArrayBuffer>> {
  const pieces = rawPieces(sizeBytes, extents);
  return new ReadableStream({
    async pull(controller) {
      const { value, done } = await pieces.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await pieces.return(undefined);
    },
  });
}

/** The whole image as a file to download. Its holes take no memory: they are the same piece of zeros over and over. */
export async function rawBlob(sizeBytes: number, extents: AsyncIterable<Extent>): Promise<Blob> {
  const parts: BlobPart[] = [];
  const hole = new Blob([new Uint8Array(MAX_RUN_BYTES)]);
  let end = 0;
  const skip = (to: number): void => {
    for (; end < to; end += Math.min(MAX_RUN_BYTES, to - end))
      parts.push(to - end >= MAX_RUN_BYTES ? hole : hole.slice(0, to - end));
  };
  for await (const { offset, bytes } of extents) {
    skip(offset);
    // A Blob's content is the browser's to keep, on disk if it wants; an array would stay in this page's memory.
    parts.push(new Blob([bytes]));
    end += bytes.length;
  }
  skip(sizeBytes);
  return new Blob(parts, { type: "application/octet-stream" });
}

async function* rawPieces(
  sizeBytes: number,
  extents: AsyncIterable<Extent>,
): AsyncGenerator<Uint8Array<ArrayBuffer>, undefined> {
  let end = 0;
  const zeros = function* (to: number): Generator<Uint8Array<ArrayBuffer>> {
    for (; end < to; ) {
      const piece = new Uint8Array(Math.min(MAX_RUN_BYTES, to - end));
      end += piece.length;
      yield piece;
    }
  };
  for await (const { offset, bytes } of extents) {
    yield* zeros(offset);
    yield bytes;
    end += bytes.length;
  }
  yield* zeros(sizeBytes);
  return undefined;
}

/** Puts chunks that follow each other together, and cuts what is beyond the end. */
export async function* joinChunks(
  batches: AsyncIterable<(readonly [index: number, chunk: ChunkBuffer])[]>,
  sizeBytes: number,
): AsyncGenerator<Extent> {
  for await (const batch of batches) {
    for (let at = 0; at < batch.length; ) {
      const first = (batch[at] as (typeof batch)[number])[0];
      let count = 1;
      while (at + count < batch.length && batch[at + count]?.[0] === first + count) count += 1;
      const offset = first * CHUNK_BYTES;
      const bytes = new Uint8Array(Math.min(count * CHUNK_BYTES, sizeBytes - offset));
      for (let k = 0; k < count; k += 1) {
        const chunk = (batch[at + k] as (typeof batch)[number])[1];
        bytes.set(chunk.subarray(0, Math.min(CHUNK_BYTES, bytes.length - k * CHUNK_BYTES)), k * CHUNK_BYTES);
      }
      yield { offset, bytes };
      at += count;
    }
    // Not each after its use: those of a group look into the same buffer.
    const buffers = new Map(batch.map(([, chunk]) => [chunk.buffer, chunk]));
    buffers.delete(ZERO_CHUNK.buffer);
    for (const chunk of buffers.values()) release(chunk);
  }
}

/** A disk to read from, with a function that refuses what is beyond its end. */
export function blockSource(
  size: number,
  read: (offset: number, length: number) => Promise<Uint8Array> | Uint8Array,
): BlockSource {
  return {
    size,
    async read(offset, length) {
      if (offset < 0 || length < 0 || offset + length > size)
        throw new Error(`Cannot read ${length} bytes at ${offset}: the disk ends at ${size}`);
      return new Uint8Array(await read(offset, length));
    },
  };
}
