/**
 * The records in which a warm boot hands files to the program that waits for them. They are described, and taken, by
 * kernel-build/warm/waiter.c.
 *
 *   a batch:   u32 its length without this word, then records; the waiting program has room for 1 MiB of them
 *   a record:  u32 what it is, u32 its length in bytes with these two words, and its own words; filled up to whole words
 *
 * All numbers are little endian.
 */
import type { TreeEntry } from "./file-tree.ts";

export const BATCH_BYTES = 1024 * 1024;

const KIND = { remove: 1, directory: 2, file: 3, data: 4, symlink: 5, device: 6, attributes: 7 } as const;
const TYPE_BITS = { character: 0o020000, block: 0o060000, symlink: 0o120000 } as const;
const HEADER_BYTES = 8;
/** Less of a file than this does not begin at the end of a batch. */
const LEAST_DATA_BYTES = 4096;

export type HandOverStep =
  | { step: "remove"; path: string }
  /** Makes the entry, which must not be there; a directory may be. */
  | { step: "make"; entry: TreeEntry }
  /** Gives mode, owner and time to what is there. */
  | { step: "set"; entry: TreeEntry };

const encoder = new TextEncoder();

/** @throws Error when a step is one that no archive of the kernel's would need: a FIFO or a hard link */
export function encodeHandOver(steps: readonly HandOverStep[]): Uint8Array<ArrayBuffer> {
  const writer = new BatchWriter();
  for (const item of steps) {
    if (item.step === "remove") writer.record(KIND.remove, [], item.path);
    else if (item.step === "set")
      writer.record(KIND.attributes, attributes(item.entry, item.entry.kind === "symlink"), item.entry.path);
    else make(writer, item.entry);
  }
  return writer.finish();
}

function make(writer: BatchWriter, entry: TreeEntry): void {
  switch (entry.kind) {
    case "directory":
      return writer.record(KIND.directory, attributes(entry), entry.path);
    case "symlink":
      return writer.record(KIND.symlink, attributes(entry), entry.path, entry.target);
    case "device": {
      const [mode, ...rest] = attributes(entry) as [number, ...number[]];
      const words = [mode | TYPE_BITS[entry.device], ...rest, entry.major, entry.minor];
      return writer.record(KIND.device, words, entry.path);
    }
    case "file":
      writer.record(KIND.file, [...attributes(entry), entry.content.length], entry.path);
      return writer.data(entry.content);
    default:
      throw new Error(`Cannot hand over ${entry.path}: it is a ${entry.kind}`);
  }
}

function attributes(entry: TreeEntry, isLink = false): number[] {
  return [entry.mode | (isLink ? TYPE_BITS.symlink : 0), entry.uid, entry.gid, entry.mtime];
}

class BatchWriter {
  #bytes = new Uint8Array(64 * 1024);
  #view = new DataView(this.#bytes.buffer);
  #end = 4;
  /** Where the length of the present batch stands. */
  #batch = 0;

  record(kind: number, words: readonly number[], ...texts: readonly string[]): void {
    const strings = texts.map((text) => encoder.encode(`${text}\0`));
    const textBytes = strings.reduce((sum, { length }) => sum + length, 0);
    const length = HEADER_BYTES + words.length * 4 + align(textBytes);
    this.#room(length);
    for (const word of [kind, length, ...words]) this.#word(word);
    for (const string of strings) {
      this.#bytes.set(string, this.#end);
      this.#end += string.length;
    }
    this.#end = align(this.#end);
  }

  data(content: Uint8Array): void {
    for (let at = 0; at < content.length; ) {
      this.#room(HEADER_BYTES + 4 + Math.min(LEAST_DATA_BYTES, align(content.length - at)));
      const free = BATCH_BYTES - (this.#end - this.#batch - 4) - HEADER_BYTES - 4;
      const part = content.subarray(at, at + free);
      this.#grow(HEADER_BYTES + 4 + align(part.length));
      for (const word of [KIND.data, HEADER_BYTES + 4 + align(part.length), part.length]) this.#word(word);
      this.#bytes.set(part, this.#end);
      this.#end += align(part.length);
      at += part.length;
    }
  }

  finish(): Uint8Array<ArrayBuffer> {
    this.#close();
    return this.#bytes.subarray(0, this.#end);
  }

  /** Begins another batch when the present one has less room. */
  #room(length: number): void {
    if (this.#end - this.#batch - 4 + length > BATCH_BYTES) {
      this.#close();
      this.#batch = this.#end;
      this.#grow(4);
      this.#end += 4;
    }
    this.#grow(length);
  }

  #close(): void {
    this.#view.setUint32(this.#batch, this.#end - this.#batch - 4, true);
  }

  #grow(length: number): void {
    if (this.#end + length <= this.#bytes.length) return;
    const larger = new Uint8Array(2 ** Math.ceil(Math.log2(this.#end + length)));
    larger.set(this.#bytes);
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }

  #word(value: number): void {
    this.#view.setUint32(this.#end, value, true);
    this.#end += 4;
  }
}

function align(length: number): number {
  return (length + 3) & ~3;
}
