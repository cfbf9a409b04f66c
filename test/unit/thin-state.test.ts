import { describe, expect, it } from "vitest";
import { PAGE_BYTES, readThinState, writeThinState } from "../../web/thin-state.ts";

/** v86's part with so many blocks, of which every third is not zero, and a short one at the end. */
function stateOf(blocks: number, tail: number, pages: number) {
  const rest = new Uint8Array(blocks * PAGE_BYTES + tail);
  for (let block = 0; block < blocks; block += 3) rest[block * PAGE_BYTES + (block % PAGE_BYTES)] = 1 + (block % 255);
  if (tail > 0) rest[rest.length - 1] = 7;
  return { rest: rest.buffer, pages: new Uint8Array(pages * PAGE_BYTES).map((_, at) => (at * 7) >> 3) };
}

function cut(file: Uint8Array, length: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < file.length; at += length) pieces.push(file.subarray(at, at + length));
  return pieces;
}

describe("a thin state", () => {
  it.each([
    [0, 0, 0],
    [1, 0, 1],
    [9, 1, 3],
    [800, 4095, 20],
  ])("comes back whole, however it is cut: %i blocks, %i bytes, %i pages", (blocks, tail, pages) => {
    const state = stateOf(blocks, tail, pages);
    const file = writeThinState(state);
    for (const length of [1000, PAGE_BYTES, PAGE_BYTES + 1, file.length]) {
      const { rest, readPages } = readThinState(cut(file, length));
      expect(Buffer.compare(Buffer.from(rest), Buffer.from(state.rest))).toBe(0);
      const read = new Uint8Array(state.pages.length);
      const half = Math.floor(pages / 2) * PAGE_BYTES;
      readPages(read.subarray(0, half));
      readPages(read.subarray(half));
      expect(Buffer.compare(read, state.pages)).toBe(0);
    }
  });

  it("has nothing of what is zero, and does not touch what it was read from", () => {
    const state = stateOf(600, 0, 0);
    const file = writeThinState(state);
    expect(file.length).toBeLessThan(202 * PAGE_BYTES);
    const before = file.slice();
    new Uint8Array(readThinState([file]).rest).fill(9);
    expect(Buffer.compare(file, before)).toBe(0);
  });

  it("that is none, or not all of one, is refused", () => {
    const file = writeThinState(stateOf(9, 1, 3));
    expect(() => readThinState([file.map((byte) => byte ^ 1)])).toThrow(
      "Cannot read the state: it does not begin as one",
    );
    expect(() => readThinState([file.subarray(0, 5000)])).toThrow("Cannot read the state: it is cut off");
    const { readPages } = readThinState([file.subarray(0, file.length - 1)]);
    expect(() => readPages(new Uint8Array(3 * PAGE_BYTES))).toThrow("Cannot read the state: it is cut off");
  });
});
