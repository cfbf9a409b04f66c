/** What is packed, unpacked as a stream by the platform: three times as fast as any code of ours. */
import { FormatError } from "./format/file-tree.ts";
import { release } from "./release.ts";

/** Goes in at once: what comes out of it is in memory together, up to a thousand times as much. */
const PUSH_BYTES = 32 * 1024;

/**
 * Unpacks a stream by the platform, as fast as the consumer takes it.
 * @param what "Cannot open NAME", for messages
 * @returns pieces, the memory of each of which is given back when the next one is asked for
 * @throws FormatError when it is damaged, cut off, or longer than `most` bytes
 */
export async function* unpackStream(
  format: "gzip" | "deflate-raw",
  source: AsyncIterable<Uint8Array>,
  { what, most, signal }: { what: string; most: number; signal?: AbortSignal | undefined },
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  const input = source[Symbol.asyncIterator]();
  const raw = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        let { value, done } = await input.next();
        // A pull that brings nothing is not followed by another one.
        while (!done && value.length === 0) ({ value, done } = await input.next());
        if (done) return controller.close();
        for (let at = 0; at < value.length; at += PUSH_BYTES) controller.enqueue(value.subarray(at, at + PUSH_BYTES));
      } catch (error) {
        controller.error(error);
      }
    },
    async cancel() {
      await input.return?.();
    },
  });
  const reader = raw
    .pipeThrough(new DecompressionStream(format) as ReadableWritablePair<Uint8Array, Uint8Array>)
    .getReader();
  let size = 0;
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { value: part, done } = await reader.read().catch((error: unknown) => {
        if (error instanceof FormatError || signal?.aborted) throw error;
        throw new FormatError(
          `${what}: after ${size} unpacked bytes its ${format === "gzip" ? "gzip" : "deflate"} data are damaged or cut off`,
        );
      });
      if (done) return;
      const value = part as Uint8Array<ArrayBuffer>;
      size += value.length;
      if (size > most) throw new FormatError(`${what}: unpacked it has more than the ${most} bytes that it may have`);
      yield value;
      release(value);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** All of a stream. Announced sizes are no reason to take memory: whoever makes it sees that it stays within bounds. */
export async function gather(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part.slice());
  return join(parts);
}

export function join(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}
