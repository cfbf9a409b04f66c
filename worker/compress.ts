/**
 * Compression: the only importer of fflate on the worker's side. What is packed is packed by it, so that browsers
 * and Node make the same bytes; what is unpacked as a stream is so by the platform: unpack.ts.
 */
import { Deflate, deflateSync, Gzip, Inflate, inflateSync } from "fflate";
import { crc32, crc32OfZeros } from "./format/crc32.ts";
import { clustersOf, type DiskStream } from "./format/disk-stream.ts";
import { release } from "./release.ts";
import { join } from "./unpack.ts";

/** Bytes that go into the compressor at once: cancelling waits for no more than these. */
const CHUNK_BYTES = 256 * 1024;
/** How long the thread is kept from anything else. */
const SLICE_MS = 30;
/**
 * Measured on programs, sources and documents: level 1 packs 37 MB/s to 42.7 %, 3 packs 28 MB/s to 40.7 %, 6 packs 18 MB/s to
 * 40.2 %; zlib's 6, 34 MB/s to 40.2 %.
 */
const STREAM_LEVEL = 3;
const CLUSTER_LEVEL = 1;
/** What the compressor gets at once. */
const PUSH_BYTES = 64 * 1024;
/** Zeros of this length are packed once and for all. */
const HOLE_BYTES = 1024 * 1024;

export interface Work {
  signal?: AbortSignal | undefined;
  /** Called with the number of bytes done, before packing. */
  onProgress?: ((done: number) => void) | undefined;
}

/**
 * Compresses with gzip, level 9, without a time in the header: the same bytes give the same bytes.
 * @param onProgress called with the number of input bytes done
 * @throws the signal's reason when it is aborted
 */
export async function compressGzip(
  bytes: Uint8Array,
  { signal, onProgress }: { signal: AbortSignal; onProgress(done: number): void },
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  const gzip = new Gzip({ level: 9, mtime: 0 }, (part) => parts.push(part));
  for (let start = 0; start < bytes.length || start === 0; start += CHUNK_BYTES) {
    signal.throwIfAborted();
    const end = Math.min(start + CHUNK_BYTES, bytes.length);
    gzip.push(bytes.subarray(start, end), end === bytes.length);
    onProgress(end);
    // A turn of the event loop lets "cancel" in.
    await new Promise((resolve) => setTimeout(resolve));
  }
  return join(parts);
}

/**
 * A stream as a gzip file.
 * @throws the signal's reason when it is aborted
 */
export async function* gzipStream(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  work: Work = {},
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  const packer = createPacker();
  let done = 0;
  let crc = 0;
  const pause = createPause(work.signal);
  yield GZIP_HEADER.slice();
  for await (const bytes of source) {
    for (const part of cut(bytes)) {
      crc = crc32(part, crc);
      yield* handOut(packer.push(part));
      done += part.length;
      await pause();
    }
    work.onProgress?.(done);
  }
  yield* handOut(packer.finish());
  yield gzipTrailer(crc, done);
}

/**
 * A disk as a gzipped raw image. Its holes are not packed anew: 16 GiB of them take no more time than a copy.
 * @throws the signal's reason when it is aborted
 */
export async function* gzipDisk(disk: DiskStream, work: Work = {}): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  let packer = createPacker();
  let hole: Uint8Array<ArrayBuffer> | null = null;
  let crc = 0;
  let end = 0;
  const pause = createPause(work.signal);
  async function* zeros(length: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    crc = crc32OfZeros(length, crc);
    let left = length;
    if (left >= HOLE_BYTES) {
      // Deflate streams follow one another when the former ends at a whole byte.
      yield* handOut(packer.flush());
      packer = createPacker();
      hole ??= packHole();
      for (; left >= HOLE_BYTES; left -= HOLE_BYTES) {
        yield hole.slice();
        await pause();
      }
    }
    if (left > 0) yield* packer.push(new Uint8Array(left));
  }
  yield GZIP_HEADER.slice();
  for await (const { index, bytes } of clustersOf(disk, PUSH_BYTES)) {
    const offset = index * PUSH_BYTES;
    const part = bytes.subarray(0, disk.size - offset);
    yield* zeros(offset - end);
    crc = crc32(part, crc);
    yield* handOut(packer.push(part));
    await pause();
    end = offset + part.length;
    work.onProgress?.(end);
  }
  yield* zeros(disk.size - end);
  yield* handOut(packer.finish());
  work.onProgress?.(disk.size);
  yield gzipTrailer(crc, disk.size);
}

/** A stream as raw deflate, with the sum and the sizes that a zip notes of it. */
export interface PackedStream {
  packed: AsyncGenerator<Uint8Array<ArrayBuffer>, void>;
  /** Right once all is packed. */
  result(): { crc: number; size: number };
}

export function deflateStream(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { signal, onProgress }: Work = {},
): PackedStream {
  let crc = 0;
  let size = 0;
  async function* packed(): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
    const packer = createPacker();
    const pause = createPause(signal);
    for await (const bytes of source) {
      for (const part of cut(bytes)) {
        crc = crc32(part, crc);
        yield* handOut(packer.push(part));
        size += part.length;
        await pause();
      }
      onProgress?.(size);
    }
    yield* handOut(packer.finish());
  }
  return { packed: packed(), result: () => ({ crc, size }) };
}

/** Raw deflate of something that is in memory. */
export function deflateBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return deflateSync(bytes, { level: 6 }) as Uint8Array<ArrayBuffer>;
}

/** Raw deflate of a cluster of a disk, or a copy of the cluster where that is no shorter. */
export function packCluster(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const packed = deflateSync(bytes, { level: CLUSTER_LEVEL }) as Uint8Array<ArrayBuffer>;
  return packed.length < bytes.length ? packed : bytes.slice();
}

/**
 * Unpacks raw deflate of which the length is known; what follows it is not looked at.
 * @throws Error without words for the user when it is damaged or has another length
 */
export function inflateCluster(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const result = inflateSync(bytes, { out: new Uint8Array(length + 1) });
  if (result.length !== length) throw new Error(`${result.length} bytes instead of ${length}`);
  // One byte more was there to notice what is too long.
  return result.slice() as Uint8Array<ArrayBuffer>;
}

/** The first bytes of what is packed, as far as they can be had from the file's own first bytes. */
export function unpackStart(format: "gzip" | "deflate-raw", packed: Uint8Array, most: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let size = 0;
  const inflate = new Inflate((part) => {
    parts.push(part);
    size += part.length;
  });
  try {
    let at = format === "gzip" ? gzipDataStart(packed) : 0;
    for (; at < packed.length && size < most; at += 4096) inflate.push(packed.subarray(at, at + 4096));
  } catch {
    // Damage shows when all of it is unpacked.
  }
  return join(parts).subarray(0, most);
}

/** Magic, deflate, no flags, no time, "Unix". */
const GZIP_HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3);

function gzipDataStart(packed: Uint8Array): number {
  const flags = packed[3] as number;
  let at = GZIP_HEADER.length;
  if (flags & 4) at += 2 + ((packed[at] ?? 0) | ((packed[at + 1] ?? 0) << 8));
  // Name and comment end in a zero byte each.
  for (const flag of [8, 16]) if (flags & flag) at = packed.indexOf(0, at) + 1 || packed.length;
  return flags & 2 ? at + 2 : at;
}

function gzipTrailer(crc: number, size: number): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(8));
  view.setUint32(0, crc, true);
  view.setUint32(4, size % 2 ** 32, true);
  return new Uint8Array(view.buffer as ArrayBuffer);
}

/**
 * Deflates piece by piece; what comes out is handed over at once. fflate's result depends on how its input is cut: it gets
 * pieces of one length, however they come.
 */
function createPacker(): {
  push(bytes: Uint8Array): Uint8Array<ArrayBuffer>[];
  /** All that was pushed comes out, and the last byte is whole. */
  flush(): Uint8Array<ArrayBuffer>[];
  finish(): Uint8Array<ArrayBuffer>[];
} {
  let parts: Uint8Array<ArrayBuffer>[] = [];
  const held = new Uint8Array(PUSH_BYTES);
  let heldBytes = 0;
  const deflate = new Deflate({ level: STREAM_LEVEL }, (part) => {
    if (part.length > 0) parts.push(part as Uint8Array<ArrayBuffer>);
  });
  const take = (): Uint8Array<ArrayBuffer>[] => {
    const taken = parts;
    parts = [];
    return taken;
  };
  const pushHeld = (isLast: boolean): void => {
    deflate.push(held.subarray(0, heldBytes), isLast);
    heldBytes = 0;
  };
  return {
    push(bytes) {
      for (let at = 0; at < bytes.length; ) {
        const part = bytes.subarray(at, at + PUSH_BYTES - heldBytes);
        at += part.length;
        if (part.length === PUSH_BYTES) {
          deflate.push(part);
          continue;
        }
        held.set(part, heldBytes);
        heldBytes += part.length;
        if (heldBytes === PUSH_BYTES) pushHeld(false);
      }
      return take();
    },
    flush() {
      pushHeld(false);
      deflate.flush();
      // In fflate 0.8.3, flush(true) writes the empty block that ends at a whole byte to the wrong place.
      const { r } = (deflate as unknown as { s: { r: number } }).s;
      const isTwo = (r & 7) + 3 > 8;
      return [...take(), Uint8Array.of((r >> 3) & 0xff, ...(isTwo ? [0] : []), 0, 0, 0xff, 0xff)];
    },
    finish() {
      pushHeld(true);
      return take();
    },
  };
}

/** Whoever takes them is done with each when the next is asked for. */
function* handOut(parts: readonly Uint8Array<ArrayBuffer>[]): Generator<Uint8Array<ArrayBuffer>, void> {
  for (const part of parts) {
    yield part;
    release(part);
  }
}

function packHole(): Uint8Array<ArrayBuffer> {
  const packer = createPacker();
  return join([...packer.push(new Uint8Array(HOLE_BYTES)), ...packer.flush()]);
}

function* cut(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES);
}

/** Lets the event loop turn now and then, so that "cancel" gets in. */
export function createPause(signal: AbortSignal | undefined): () => Promise<void> {
  let turnedAt = performance.now();
  return async () => {
    signal?.throwIfAborted();
    if (performance.now() - turnedAt < SLICE_MS) return;
    await new Promise((resolve) => setTimeout(resolve));
    turnedAt = performance.now();
    signal?.throwIfAborted();
  };
}
