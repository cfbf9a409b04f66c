/** The only importer of fflate. */
import { Gzip } from "fflate";

/** Bytes that go into the compressor at once: cancelling waits for no more than these. */
const CHUNK_BYTES = 256 * 1024;

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
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}
