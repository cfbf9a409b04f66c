import { describe, expect, it } from "vitest";
import { release as releaseInPage } from "../../web/release.ts";
import { gzipDisk, packCluster } from "../../worker/compress.ts";
import { exportPieces, inOrder, walkedDisk, writePieces } from "../../worker/export.ts";
import { encodeCompressedQcow2 } from "../../worker/format/qcow2.ts";
import { encodeVmdk } from "../../worker/format/vmdk.ts";
import { inPassing, release } from "../../worker/release.ts";
import { createRandom } from "../soak/mutants.ts";

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

describe("files that are made while memory is given back", () => {
  const size = 40 * MIB;
  const random = createRandom(1);
  const noise = Uint8Array.from({ length: MIB }, (_, at) => (at < MIB / 4 ? random(256) : at >> 9));
  const areas = [0, 9 * MIB, 30 * MIB + 512];
  const fresh = () => areas.map((offset) => ({ offset, bytes: noise.slice() }));
  const parts = { defaults: [], loadParts: never, loadCdParts: never };

  it.each(["disk-raw-gz", "disk-qcow2", "disk-vmdk"] as const)("are the same as without: %s", async (kind) => {
    const direct = {
      "disk-raw-gz": () => inOrder(gzipDisk({ size, extents: fresh })),
      "disk-qcow2": () => encodeCompressedQcow2({ size, extents: fresh }, packCluster),
      "disk-vmdk": () => inOrder(encodeVmdk({ size, extents: fresh }, "x.vmdk")),
    }[kind];
    const expected = new Uint8Array(50 * MIB);
    for await (const { offset, bytes } of direct()) expected.set(bytes, offset);

    let left: ReturnType<typeof fresh> = [];
    const walked = walkedDisk(size, async (restart) => {
      if (restart) left = fresh();
      return left.shift() ?? null;
    });
    const work = { signal: new AbortController().signal, onProgress: () => {} };
    const made = new Uint8Array(50 * MIB);
    const length = await writePieces(
      exportPieces({ kind, name: "x" }, [walked], parts, work),
      async (offset, bytes) => {
        made.set(bytes, offset);
        release(bytes);
      },
    );
    expect(length).toBeGreaterThan(MIB / 4);
    expect(Buffer.compare(made, expected)).toBe(0);
  });
});

function never(): never {
  throw new Error("nothing of the system is in a disk that is there");
}
