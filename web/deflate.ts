/** Raw deflate (RFC 1951) by the browser itself, in one piece. */
import { join } from "./bytes.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export const deflate = (bytes: Bytes): Promise<Bytes> => through(bytes, new CompressionStream("deflate-raw"));

/**
 * @param most bytes that it may have unpacked
 * @throws TypeError when it is damaged or cut off, RangeError when it has more than it may
 */
export const inflate = (bytes: Bytes, most: number): Promise<Bytes> =>
  through(bytes, new DecompressionStream("deflate-raw"), most);

async function through(
  bytes: Bytes,
  stream: CompressionStream | DecompressionStream,
  most = Number.POSITIVE_INFINITY,
): Promise<Bytes> {
  const writer = stream.writable.getWriter();
  // What goes wrong shows at the other end as well.
  writer.write(bytes).catch(() => {});
  writer.close().catch(() => {});
  const parts: Bytes[] = [];
  let length = 0;
  for (const reader = (stream.readable as ReadableStream<Bytes>).getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    length += value.length;
    if (length > most) {
      reader.cancel().catch(() => {});
      throw new RangeError(`Cannot unpack: there are more than ${most} bytes`);
    }
  }
  return parts.length === 1 ? (parts[0] as Bytes) : join(parts);
}
