import { describe, expect, it } from "vitest";
import { release as releaseInPage } from "../../web/release.ts";
import { inPassing, release } from "../../worker/release.ts";

const MIB = 1024 * 1024;

describe("memory that is given back", () => {
  it.each([
    ["in the worker", release],
    ["in the page", releaseInPage],
  ])("is free at once, %s", (_, give) => {
    const before = process.memoryUsage();
    for (let count = 0; count < 512; count += 1) {
      const bytes = new Uint8Array(MIB).fill(1);
      give(bytes);
      expect(bytes.length).toBe(0);
    }
    // The collector may have had no turn: there was none between two of these.
    expect(process.memoryUsage().arrayBuffers - before.arrayBuffers).toBeLessThan(8 * MIB);
  });

  it("is an extent's until the next one is asked for", async () => {
    const extents = [1, 2, 3].map((offset) => ({ offset, bytes: new Uint8Array(4).fill(offset) }));
    const seen: number[] = [];
    for await (const { bytes } of inPassing(extents)) seen.push(...bytes);
    expect(seen).toEqual([1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]);
    expect(extents.map(({ bytes }) => bytes.length)).toEqual([0, 0, 0]);
  });
});
