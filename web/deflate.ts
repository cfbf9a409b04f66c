/** Raw deflate (RFC 1951) by the browser itself, in one piece. */

type Bytes = Uint8Array<ArrayBuffer>;

export const deflate = (bytes: Bytes): Promise<Bytes> => through(bytes, new CompressionStream("deflate-raw"));

/** @throws TypeError when it is damaged or cut off */
export const inflate = (bytes: Bytes): Promise<Bytes> => through(bytes, new DecompressionStream("deflate-raw"));

async function through(bytes: Bytes, stream: CompressionStream | DecompressionStream): Promise<Bytes> {
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
  }
  if (parts.length === 1) return parts[0] as Bytes;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
