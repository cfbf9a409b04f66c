/** Memory that is given back when it is needed no longer, not when the collector comes round. */

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
