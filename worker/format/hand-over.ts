/**
 * The records in which a warm boot hands files to the program that waits for them. They are described, and taken, by
 * kernel-build/warm/waiter.c.
 *
 *   a batch:   u32 its length in the waiting program's memory, which has room for 1 MiB
 *              u32 how many gaps it has, and each gap: u32 where in the batch, u32 the content's number,
 *              u32 from which byte of it on, u32 how many bytes
 *              then records, without the gaps' bytes; web/hand-over.ts puts those in
 *   a record:  u32 what it is, u32 its length in bytes with these two words, and its own words; filled up to whole words
 *
 * All numbers are little endian.
 */
import type { TreeEntry } from "./file-tree.ts";

export const BATCH_BYTES = 1024 * 1024;

const KIND = {
  remove: 1,
  directory: 2,
  file: 3,
  data: 4,
  symlink: 5,
  device: 6,
  attributes: 7,
  enter: 13,
  wipe: 14,
} as const;
const TYPE_BITS = { character: 0o020000, block: 0o060000, symlink: 0o120000 } as const;
const SETGID = 0o2000;
/** As owner or group: who makes it. */
const UNCHANGED = 0xffff_ffff;
const WORD_BYTES = 4;
const HEADER_BYTES = 8;
const DATA_HEADER_BYTES = HEADER_BYTES + 4;
/** Less of a file than this does not begin at the end of a batch. */
const LEAST_DATA_BYTES = 4096;

export type HandOverStep =
  | { step: "remove"; path: string }
  /** Removes a file of which nothing may stay in the memory. */
  | { step: "wipe"; entry: TreeEntry & { kind: "file" } }
  /** Makes the entry, which must not be there; a directory may be. */
  | { step: "make"; entry: TreeEntry; parent: TreeEntry | undefined }
  /** Gives mode, owner and time to what is there. */
  | { step: "set"; entry: TreeEntry };

const encoder = new TextEncoder();

/**
 * @param numberOf the number of a content that is not in the batches; undefined for one that is
 * @throws Error when a step is one that no archive of the kernel's would need: a FIFO or a hard link
 */
export function encodeHandOver(
  steps: readonly HandOverStep[],
  numberOf: (content: Uint8Array) => number | undefined = () => undefined,
): Uint8Array<ArrayBuffer> {
  const writer = new BatchWriter(numberOf);
  for (const item of steps) {
    if (item.step === "remove") writer.record(KIND.remove, [], item.path);
    else if (item.step === "wipe") writer.record(KIND.wipe, [item.entry.content.length], item.entry.path);
    else if (item.step === "set")
      writer.record(KIND.attributes, attributes(item.entry, item.entry.kind === "symlink"), item.entry.path);
    else make(writer, item.entry, item.parent);
  }
  return writer.finish();
}

function make(writer: BatchWriter, entry: TreeEntry, parent: TreeEntry | undefined): void {
  const [mode, uid, gid, mtime] = attributes(entry) as [number, number, number, number];
  // What root makes is root's, but in a directory that hands its group down.
  const isAsMade = uid === 0 && gid === 0 && ((parent?.mode ?? SETGID) & SETGID) === 0;
  const owner = isAsMade ? [UNCHANGED, UNCHANGED] : [uid, gid];
  const words = [mode, ...owner, mtime];
  switch (entry.kind) {
    case "directory":
      return writer.record(KIND.directory, [mode, uid, gid, mtime], entry.path);
    case "symlink":
      return writer.record(KIND.symlink, words, entry.path, entry.target);
    case "device":
      words[0] = mode | TYPE_BITS[entry.device];
      return writer.record(KIND.device, [...words, entry.major, entry.minor], entry.path);
    case "file":
      return writer.file(words, entry.path, entry.content);
    default:
      throw new Error(`Cannot hand over ${entry.path}: it is a ${entry.kind}`);
  }
}

function attributes(entry: TreeEntry, isLink = false): number[] {
  return [entry.mode | (isLink ? TYPE_BITS.symlink : 0), entry.uid, entry.gid, entry.mtime];
}

class BatchWriter {
  readonly #finished: Uint8Array[] = [];
  /** The present batch: bytes that are there, and what belongs between them. */
  #bytes = new Uint8Array(BATCH_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #end = 0;
  #gaps: number[] = [];
  /** Bytes in gaps, filled up to words. */
  #gapBytes = 0;
  /** The directory that the waiting program is in; where it was left is not known. */
  #directory = "";

  constructor(private readonly numberOf: (content: Uint8Array) => number | undefined) {}

  record(kind: number, words: readonly number[], ...texts: readonly string[]): void {
    const strings = texts.map((text) => encoder.encode(`${text}\0`));
    const textBytes = strings.reduce((sum, { length }) => sum + length, 0);
    const length = HEADER_BYTES + words.length * WORD_BYTES + align(textBytes);
    this.#room(length);
    for (const word of [kind, length, ...words]) this.#word(word);
    const textEnd = this.#end + align(textBytes);
    for (const string of strings) {
      this.#bytes.set(string, this.#end);
      this.#end += string.length;
    }
    this.#bytes.fill(0, this.#end, textEnd);
    this.#end = textEnd;
  }

  /** Files come directory by directory: the kernel then looks up one name for each, not a path. */
  file(words: readonly number[], path: string, content: Uint8Array): void {
    const slash = path.lastIndexOf("/");
    const directory = path.slice(0, slash) || "/";
    if (directory !== this.#directory) {
      this.record(KIND.enter, [], directory);
      this.#directory = directory;
    }
    this.record(KIND.file, [...words, content.length], path.slice(slash + 1));
    this.#data(content);
  }

  finish(): Uint8Array<ArrayBuffer> {
    this.#close();
    const result = new Uint8Array(this.#finished.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of this.#finished) {
      result.set(part, at);
      at += part.length;
    }
    return result;
  }

  #data(content: Uint8Array): void {
    const number = this.numberOf(content);
    for (let at = 0; at < content.length; ) {
      this.#room(DATA_HEADER_BYTES + Math.min(LEAST_DATA_BYTES, align(content.length - at)));
      const free = BATCH_BYTES - this.#length - DATA_HEADER_BYTES;
      const length = Math.min(free, content.length - at);
      for (const word of [KIND.data, DATA_HEADER_BYTES + align(length), length]) this.#word(word);
      if (number === undefined) {
        this.#bytes.set(content.subarray(at, at + length), this.#end);
        this.#bytes.fill(0, this.#end + length, this.#end + align(length));
        this.#end += align(length);
      } else {
        this.#gaps.push(this.#length, number, at, length);
        this.#gapBytes += align(length);
      }
      at += length;
    }
  }

  get #length(): number {
    return this.#end + this.#gapBytes;
  }

  /** Begins another batch when the present one has less room. */
  #room(length: number): void {
    if (this.#length + length > BATCH_BYTES) this.#close();
  }

  #close(): void {
    const header = new DataView(new ArrayBuffer((2 + this.#gaps.length) * WORD_BYTES));
    const words = [this.#length, this.#gaps.length / 4, ...this.#gaps];
    for (const [index, word] of words.entries()) header.setUint32(index * WORD_BYTES, word, true);
    this.#finished.push(new Uint8Array(header.buffer), this.#bytes.slice(0, this.#end));
    this.#end = 0;
    this.#gaps = [];
    this.#gapBytes = 0;
  }

  #word(value: number): void {
    this.#view.setUint32(this.#end, value, true);
    this.#end += WORD_BYTES;
  }
}

function align(length: number): number {
  return (length + 3) & ~3;
}
