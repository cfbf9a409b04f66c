import { inflateRawSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { createDeflater, MOST_BYTES } from "../../worker/format/deflate.ts";
import { readSystem } from "../machine/guest.ts";
import { createRandom } from "../soak/mutants.ts";

const deflate = createDeflater();

/** What zlib makes of it; null when it is not packed. */
function unpacked(bytes: Uint8Array): Buffer | null {
  const packed = deflate(bytes);
  if (packed) expect(packed.length).toBeLessThan(bytes.length);
  return packed && inflateRawSync(packed);
}

const filled = (length: number, byteAt: (at: number) => number): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => byteAt(at));

describe("a cluster", () => {
  it("is packed so that zlib unpacks it", () => {
    const random = createRandom(1);
    const noise = filled(MOST_BYTES, () => random(256));
    const samples: Record<string, Uint8Array> = {
      zeros: new Uint8Array(MOST_BYTES),
      "one byte": filled(MOST_BYTES, () => 0xff),
      "two bytes in turn": filled(MOST_BYTES, (at) => at & 1),
      "without any match": filled(400, (at) => (at % 4 === 0 ? at >> 2 : random(3))),
      "matches at every distance": filled(MOST_BYTES, (at) =>
        at < 32_768 ? (noise[at] as number) : (noise[at - 32_768] as number),
      ),
      "matches of every length": filled(MOST_BYTES, (at) => ((at * at) >> 9) & 0xff),
      // Counts like these want words of more than 15 bits.
      "rare and frequent": filled(MOST_BYTES, () => Math.min(30, Math.clz32(random(2 ** 31)) * 2 + random(2))),
      text: new TextEncoder().encode("all work and no play ".repeat(900)),
      short: new TextEncoder().encode("a".repeat(60)),
    };
    for (const [name, bytes] of Object.entries(samples)) expect(unpacked(bytes)?.equals(bytes), name).toBe(true);
    const program = readSystem("busybox");
    for (let at = 0; at < program.length; at += MOST_BYTES) {
      const part = program.subarray(at, at + MOST_BYTES);
      expect(unpacked(part)?.equals(part) ?? true, `at ${at}`).toBe(true);
    }
  });

  it("stays as it is when it would be no shorter", () => {
    const random = createRandom(2);
    expect(deflate(filled(MOST_BYTES, () => random(256)))).toBeNull();
    expect(deflate(new Uint8Array(0))).toBeNull();
    expect(deflate(filled(3, (at) => at))).toBeNull();
    expect(() => deflate(new Uint8Array(MOST_BYTES + 1))).toThrow("Cannot pack 65537 bytes at once");
  });

  it("has the same bytes whatever was packed before", () => {
    const random = createRandom(3);
    const other = createDeflater();
    for (let turn = 0; turn < 300; turn += 1) {
      const alphabet = 1 + random(256);
      const repeat = 1 + random(4000);
      const start = filled(repeat, () => random(alphabet));
      const bytes = filled(1 + random(MOST_BYTES), (at) =>
        random(50) === 0 ? random(256) : (start[at % repeat] as number),
      );
      const packed = deflate(bytes);
      if (packed) expect(inflateRawSync(packed).equals(bytes), `turn ${turn}`).toBe(true);
      if (turn % 50 === 0) expect(other(bytes), `turn ${turn}`).toEqual(packed);
    }
  });
});
