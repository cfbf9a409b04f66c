/**
 * Cuts a machine's state into pieces that are found again: in the next state of the same machine, and in that of another
 * one that has the same in its memory. A piece ends after a page whose checksum says so, so that what is put in between
 * moves the cuts near it, and no others.
 *
 * Pieces of four to fifteen pages were measured: an idle machine of 128 MB takes 4.2 MB, and 0.7 MB more when it is saved
 * again. Single pages would take 4.5 and 0.2 MB, in 2600 records. Beyond 64 kB Chromium makes a file of each record.
 */
import { xxh32 } from "./disk-checksum.ts";

const PAGE_BYTES = 4096;
const LEAST_PAGES = 4;
const MOST_PAGES = 15;
/** One page in eight ends a piece. */
const END_MASK = 7;
/** v86's header: magic, version, length of all, length of the description (machine-state.ts). */
const HEADER_BYTES = 16;
const MAGIC = 0x86768676 | 0;

/** @returns the pieces, in order; together they are the state */
export function cutState(state: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>[] {
  const { start, end } = memoryOf(state);
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  for (const [from, to] of [
    [0, start],
    [start, end],
    [end, state.length],
  ] as const) {
    let first = from;
    for (let at = from; at < to; at += PAGE_BYTES) {
      const stop = Math.min(at + PAGE_BYTES, to);
      const pages = Math.ceil((stop - first) / PAGE_BYTES);
      if (pages < MOST_PAGES && (pages < LEAST_PAGES || !isEnd(state, at, stop))) continue;
      pieces.push(state.subarray(first, stop));
      first = stop;
    }
    if (first < to) pieces.push(state.subarray(first, to));
  }
  return pieces;
}

function isEnd(state: Uint8Array, at: number, stop: number): boolean {
  return (xxh32(state.subarray(at, stop), 0) & END_MASK) === 0;
}

/** Where the pages of the guest's memory lie: the largest of the buffers. What is no state of v86's has none. */
function memoryOf(state: Uint8Array<ArrayBuffer>): { start: number; end: number } {
  const none = { start: state.length, end: state.length };
  if (state.length < HEADER_BYTES) return none;
  const view = new DataView(state.buffer, state.byteOffset, state.byteLength);
  const length = view.getInt32(12, true);
  if (view.getInt32(0, true) !== MAGIC || length < 0 || HEADER_BYTES + length > state.length) return none;
  const { buffer_infos: buffers } = JSON.parse(
    new TextDecoder().decode(state.subarray(HEADER_BYTES, HEADER_BYTES + length)),
  ) as { buffer_infos: { offset: number; length: number }[] };
  const [largest] = buffers.toSorted((a, b) => b.length - a.length);
  if (!largest) return none;
  const start = ((HEADER_BYTES + length + 3) & ~3) + largest.offset;
  return { start, end: Math.min(start + largest.length, state.length) };
}
