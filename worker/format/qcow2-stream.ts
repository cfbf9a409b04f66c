/**
 * Reads a plain qcow2 image as a stream, as qcow2.ts writes it and as a bundle has it: tables before data, everything at
 * ascending places. Other images need a file that can be read at any place: qcow2-reader.ts.
 */
import { FormatError } from "./file-tree.ts";
import { CLUSTER_BITS, CLUSTER_BYTES, ENTRY_BYTES } from "./qcow2.ts";
import { decodeQcow2Header, offsetOf, viewOf } from "./qcow2-reader.ts";
import type { Extent } from "./sparse-image.ts";

const HEADER_BYTES = 512;

/**
 * @param what "Cannot open NAME", for messages
 * @param size of the disk, as something else announced it: in bytes
 * @throws FormatError when the image is damaged, or in another order
 */
export async function* streamPlainQcow2(
  parts: AsyncIterable<Uint8Array>,
  size: number,
  what: string,
): AsyncGenerator<Extent, void> {
  const reader = new ForwardReader(parts, what);
  const header = decodeQcow2Header(await reader.take(HEADER_BYTES), what);
  if (header.size !== size) throw new FormatError(`${what}: its disk has ${header.size} bytes instead of ${size}`);
  const clusterBytes = CLUSTER_BYTES;
  if (header.clusterBits !== CLUSTER_BITS)
    throw new FormatError(`${what}: its clusters have 2^${header.clusterBits} bytes; import the image by itself`);
  const perTable = clusterBytes / ENTRY_BYTES;
  await reader.skipTo(header.l1Offset);
  const l1 = viewOf(await reader.take(header.l1Entries * ENTRY_BYTES));
  // Plain numbers: there can be a million.
  const offsets: number[] = [];
  const hosts: number[] = [];
  for (let number = 0; number < header.l1Entries; number += 1) {
    const tableOffset = offsetOf(l1, number);
    if (tableOffset === 0) continue;
    await reader.skipTo(tableOffset);
    const table = viewOf(await reader.take(clusterBytes));
    for (let at = 0; at < perTable; at += 1) {
      const host = offsetOf(table, at);
      if (host === 0) continue;
      const offset = (number * perTable + at) * clusterBytes;
      if (table.getUint32(at * ENTRY_BYTES) & 0x4000_0000 || offset >= size)
        throw new FormatError(`${what}: at ${tableOffset}, the entry ${at} is not one that is written here`);
      offsets.push(offset);
      hosts.push(host);
    }
  }
  for (const [at, offset] of offsets.entries()) {
    await reader.skipTo(hosts[at] as number);
    yield { offset, bytes: (await reader.take(clusterBytes)).subarray(0, size - offset) };
  }
  await reader.skipToEnd();
}

/** Takes what it is asked for from a stream, and never goes back. */
class ForwardReader {
  readonly #parts: AsyncIterator<Uint8Array>;
  #part: Uint8Array = new Uint8Array(0);
  #at = 0;
  #offset = 0;

  constructor(
    parts: AsyncIterable<Uint8Array>,
    private readonly what: string,
  ) {
    this.#parts = parts[Symbol.asyncIterator]();
  }

  async take(length: number): Promise<Uint8Array<ArrayBuffer>> {
    const result = new Uint8Array(length);
    for (let filled = 0; filled < length; ) {
      if (!(await this.#more())) throw new FormatError(`${this.what}: it is cut off at ${this.#offset}`);
      const part = this.#part.subarray(this.#at, this.#at + length - filled);
      result.set(part, filled);
      filled += part.length;
      this.#advance(part.length);
    }
    return result;
  }

  async skipTo(offset: number): Promise<void> {
    if (offset < this.#offset)
      throw new FormatError(
        `${this.what}: what is at ${offset} stands before ${this.#offset}; ` +
          "import the image by itself, in a bundle it must be in order",
      );
    while (this.#offset < offset) {
      if (!(await this.#more())) throw new FormatError(`${this.what}: it is cut off at ${this.#offset}`);
      this.#advance(Math.min(this.#part.length - this.#at, offset - this.#offset));
    }
  }

  /** So that whoever sums the stream has seen all of it. */
  async skipToEnd(): Promise<void> {
    while (await this.#more()) this.#advance(this.#part.length - this.#at);
  }

  #advance(bytes: number): void {
    this.#at += bytes;
    this.#offset += bytes;
  }

  async #more(): Promise<boolean> {
    while (this.#at >= this.#part.length) {
      const { value, done } = await this.#parts.next();
      if (done) return false;
      this.#part = value;
      this.#at = 0;
    }
    return true;
  }
}
