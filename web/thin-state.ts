/**
 * The state of a machine that waits, as the site serves it and as it comes out of a download, in pieces. v86's own format
 * is read in one go and copied three times on the way; here each page of memory is copied once, to where the guest has it,
 * and what is zero in the devices' own memory (the graphics card's, above all) is left out.
 *
 *   16 bytes  magic, length of v86's own part, kept blocks of it, pages of memory; 32 bits each, little endian
 *   a bit     for each block of 4096 bytes of v86's part, lowest first: whether it is kept, that is not zero
 *   blocks    the kept ones; the last may be shorter
 *   pages     of memory that are not zero, in order; which they are is in v86's part
 */
import { join } from "./bytes.ts";

/** All of a file, in order. */
export type Pieces = readonly Uint8Array[];

/** A state without its memory, in v86's format, and the pages of memory that are not zero. */
export interface SplitState {
  rest: ArrayBuffer;
  pages: Uint8Array;
}

export const PAGE_BYTES = 4096;

const MAGIC = 0x534f5354;
const HEADER_WORDS = 4;

export function writeThinState({ rest, pages }: SplitState): Uint8Array<ArrayBuffer> {
  const count = Math.ceil(rest.byteLength / PAGE_BYTES);
  const map = new Uint8Array(Math.ceil(count / 8));
  const kept: Uint8Array[] = [];
  for (let block = 0; block < count; block += 1) {
    const start = block * PAGE_BYTES;
    const bytes = new Uint8Array(rest, start, Math.min(PAGE_BYTES, rest.byteLength - start));
    if (bytes.every((byte) => byte === 0)) continue;
    map[block >> 3] = (map[block >> 3] as number) | (1 << (block & 7));
    kept.push(bytes);
  }
  const header = new DataView(new ArrayBuffer(HEADER_WORDS * 4));
  for (const [at, word] of [MAGIC, rest.byteLength, kept.length, pages.length / PAGE_BYTES].entries())
    header.setUint32(at * 4, word, true);
  return join([new Uint8Array(header.buffer), map, ...kept, pages]);
}

/**
 * v86's part, and a function that fills the memory's pages one after the other, as many bytes as the given array has.
 * @throws Error "Cannot read the state: …"
 */
export function readThinState(pieces: Pieces): { rest: ArrayBuffer; readPages(into: Uint8Array): void } {
  const read = readerOf(pieces);
  const header = new Uint8Array(HEADER_WORDS * 4);
  read(header);
  const words = new DataView(header.buffer);
  if (words.getUint32(0, true) !== MAGIC) throw new Error("Cannot read the state: it does not begin as one");
  const rest = new ArrayBuffer(words.getUint32(4, true));
  const count = Math.ceil(rest.byteLength / PAGE_BYTES);
  const map = new Uint8Array(Math.ceil(count / 8));
  read(map);
  for (let block = 0; block < count; block += 1) {
    if (!((map[block >> 3] as number) & (1 << (block & 7)))) continue;
    const start = block * PAGE_BYTES;
    read(new Uint8Array(rest, start, Math.min(PAGE_BYTES, rest.byteLength - start)));
  }
  return { rest, readPages: read };
}

/** Fills one array after the other with what comes next. */
function readerOf(pieces: Pieces): (into: Uint8Array) => void {
  let index = 0;
  let from = 0;
  return (into) => {
    for (let at = 0; at < into.length; ) {
      const piece = pieces[index];
      if (!piece) throw new Error("Cannot read the state: it is cut off");
      const length = Math.min(into.length - at, piece.length - from);
      into.set(piece.subarray(from, from + length), at);
      at += length;
      from += length;
      if (from < piece.length) continue;
      index += 1;
      from = 0;
    }
  };
}
