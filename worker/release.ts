/** Memory that is given back when it is needed no longer, not when the collector comes round. */
import type { Extent } from "./format/sparse-image.ts";

const { port1: away, port2: nobody } = new MessageChannel();
nobody.close();

/**
 * Sends a buffer where nobody is, which frees it at once. Left to the collector, dead buffers pile up, tens of megabytes in
 * each thread; and `ArrayBuffer.transfer` frees none that came by a message, from a Blob or from a database.
 * @param bytes all that anybody still uses of its buffer
 */
export function release(bytes: Uint8Array<ArrayBuffer>): void {
  away.postMessage(null, [bytes.buffer]);
}

/** Extents of which each is done with when the next is asked for, and no other looks into its buffer. */
export async function* inPassing(extents: Iterable<Extent> | AsyncIterable<Extent>): AsyncGenerator<Extent, void> {
  for await (const extent of extents) {
    yield extent;
    release(extent.bytes);
  }
}
