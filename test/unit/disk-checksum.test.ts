import { describe, expect, it } from "vitest";
import { xxh32 } from "../../web/disk-checksum.ts";

const ascii = (text: string): Uint8Array => new Uint8Array(new TextEncoder().encode(text));

/** XXH32 as its specification words it, byte by byte in arbitrary precision. */
function specified(bytes: Uint8Array, seed: number): number {
  const wrap = (value: bigint): bigint => value & 0xffffffffn;
  const turn = (value: bigint, bits: bigint): bigint => wrap((value << bits) | (value >> (32n - bits)));
  const [p1, p2, p3, p4, p5] = [2654435761n, 2246822519n, 3266489917n, 668265263n, 374761393n];
  const word = (at: number): bigint =>
    [3, 2, 1, 0].reduce((value, byte) => (value << 8n) | BigInt(bytes[at + byte] as number), 0n);
  const start = BigInt(seed);
  let at = 0;
  let sum = wrap(start + p5);
  if (bytes.length >= 16) {
    const lanes = [wrap(start + p1 + p2), wrap(start + p2), wrap(start), wrap(start - p1)];
    for (; at + 16 <= bytes.length; at += 16)
      lanes.forEach((lane, index) => {
        lanes[index] = wrap(turn(wrap(lane + word(at + index * 4) * p2), 13n) * p1);
      });
    sum = wrap(lanes.reduce((total, lane, index) => total + turn(lane, [1n, 7n, 12n, 18n][index] as bigint), 0n));
  }
  sum = wrap(sum + BigInt(bytes.length));
  for (; at + 4 <= bytes.length; at += 4) sum = wrap(turn(wrap(sum + word(at) * p3), 17n) * p4);
  for (; at < bytes.length; at += 1) sum = wrap(turn(wrap(sum + BigInt(bytes[at] as number) * p5), 11n) * p1);
  sum = wrap((sum ^ (sum >> 15n)) * p2);
  sum = wrap((sum ^ (sum >> 13n)) * p3);
  return Number(sum ^ (sum >> 16n));
}

/** The bytes that xxHash's own sanity test takes. */
function sanity(length: number): Uint8Array {
  let state = 2654435761n;
  return Uint8Array.from({ length }, () => {
    const byte = Number(state >> 56n);
    state = (state * 11400714785074694797n) & 0xffffffffffffffffn;
    return byte;
  });
}

describe("the checksum of chunks", () => {
  it.each([
    ["", 0, 0x02cc5d05],
    ["", 0x9e3779b1, 0x36b78ae7],
    ["a", 0, 0x550d7456],
    ["abc", 0, 0x32d153ff],
    ["abcd", 0, 0xa3643705],
    ["Nobody inspects the spammish repetition", 0, 0xe2293b2f],
  ])("of %j with seed %d is the known one", (text, seed, sum) => expect(xxh32(ascii(text), seed)).toBe(sum));

  it.each([
    [1, 0, 0xcf65b03e],
    [1, 0x9e3779b1, 0xb4545aa4],
    [14, 0, 0x1208e7e2],
    [14, 0x9e3779b1, 0x6af1d1fe],
    [222, 0, 0x5bd11dbd],
    [222, 0x9e3779b1, 0x58803c5f],
  ])("of xxHash's own %d bytes with seed %d is the known one", (length, seed, sum) =>
    expect(xxh32(sanity(length), seed)).toBe(sum),
  );

  it("is what the specification says, at every length up to 70 and wherever in its buffer the data begins", () => {
    for (let length = 0; length <= 70; length += 1)
      for (const seed of [0, 1, 0x7fffffff, 0x80000000, 0xffffffff]) {
        const data = sanity(length).map((byte) => byte ^ length);
        const expected = specified(data, seed);
        for (const start of [0, 4, 8, 60]) {
          const buffer = new Uint8Array(start + length + 5).fill(0xa5);
          buffer.set(data, start);
          expect(xxh32(buffer.subarray(start, start + length), seed), `${length} bytes, ${seed}`).toBe(expected);
        }
      }
  });

  it("is what the specification says of a chunk, and another one when any bit or the seed is", () => {
    const chunk = sanity(32 * 1024);
    const sum = xxh32(chunk, 77);
    expect(sum).toBe(specified(chunk, 77));
    expect(xxh32(chunk, 78)).not.toBe(sum);
    for (let at = 0; at < chunk.length; at += 509) {
      chunk[at] = (chunk[at] as number) ^ (1 << (at % 8));
      expect(xxh32(chunk, 77), `byte ${at}`).not.toBe(sum);
      chunk[at] = (chunk[at] as number) ^ (1 << (at % 8));
    }
    expect(xxh32(chunk, 77)).toBe(sum);
  });
});
