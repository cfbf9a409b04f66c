import { describe, expect, it } from "vitest";
import { cutState } from "../../web/snapshot-pieces.ts";

const PAGE = 4096;

/** Noise that tells pages apart. */
function pages(count: number, seed: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array((count * PAGE) / 4);
  let value = Math.imul(seed + 1, 0x9e3779b1) | 1;
  for (let at = 0; at < words.length; at += 1) {
    value ^= value << 13;
    value ^= value >>> 17;
    value ^= value << 5;
    words[at] = value;
  }
  return new Uint8Array(words.buffer);
}

function join(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** What v86 writes: header, description, buffers. */
function state(memory: Uint8Array, note: string): Uint8Array<ArrayBuffer> {
  const small = new Uint8Array(100).fill(7);
  const description = new TextEncoder().encode(
    JSON.stringify({
      buffer_infos: [
        { offset: 0, length: small.length },
        { offset: 100, length: memory.length },
        { offset: 100 + memory.length, length: 50 },
      ],
      state: note,
    }),
  );
  const header = new DataView(new ArrayBuffer(16));
  header.setInt32(0, -2039052682, true);
  header.setInt32(4, 6, true);
  header.setInt32(12, description.length, true);
  const gap = new Uint8Array((4 - (description.length % 4)) % 4);
  return join(new Uint8Array(header.buffer), description, gap, small, memory, new Uint8Array(50).fill(9));
}

/** The test's own comparison takes seconds for a megabyte. */
const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
const key = (piece: Uint8Array): string => Buffer.from(piece).toString("base64");
const shared = (a: Uint8Array<ArrayBuffer>, b: Uint8Array<ArrayBuffer>): number => {
  const known = new Set(cutState(a).map(key));
  const pieces = cutState(b);
  return pieces.filter((piece) => known.has(key(piece))).length / pieces.length;
};

describe("the pieces of a state", () => {
  it.each([0, 1, 15, 16, PAGE - 1, PAGE, PAGE + 1, 300_001])("make it again: %i bytes of anything", (length) => {
    const bytes = pages(100, 3).slice(0, length);
    expect(isSame(join(...cutState(bytes)), bytes)).toBe(true);
  });

  it("make it again, and none is larger than what stays a record in Chromium", () => {
    for (const memory of [pages(400, 1), new Uint8Array(400 * PAGE)]) {
      const whole = state(memory, "x");
      const pieces = cutState(whole);
      expect(isSame(join(...pieces), whole)).toBe(true);
      expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThanOrEqual(15 * PAGE);
      expect(pieces.length).toBeLessThan(120);
    }
  });

  it("are the same where the memory is, whatever the description's length and what pages come in between", () => {
    const memory = pages(400, 1);
    expect(shared(state(memory, "x"), state(memory, "a longer one"))).toBeGreaterThan(0.9);
    const more = join(memory.subarray(0, 100 * PAGE), pages(1, 2), memory.subarray(100 * PAGE));
    expect(shared(state(memory, "x"), state(more, "y"))).toBeGreaterThan(0.9);
  });

  it("are cut from what is no state as well", () => {
    const broken = state(pages(20, 1), "x");
    new DataView(broken.buffer).setInt32(12, 1 << 30, true);
    expect(isSame(join(...cutState(broken)), broken)).toBe(true);
  });
});
