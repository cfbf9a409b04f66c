/** Disk images in the formats of others, judged by qemu-img and gzip. */
import { execFileSync } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gzipDisk, inflateCluster, packCluster } from "../../worker/compress.ts";
import { crc32, crc32OfZeros } from "../../worker/format/crc32.ts";
import { type DiskStream, streamOf } from "../../worker/format/disk-stream.ts";
import { encodeCompressedQcow2, encodePlainQcow2, plainQcow2Bytes } from "../../worker/format/qcow2.ts";
import { openQcow2 } from "../../worker/format/qcow2-reader.ts";
import type { Extent, SparseImage } from "../../worker/format/sparse-image.ts";
import { encodeVmdk } from "../../worker/format/vmdk.ts";
import {
  bytesSource,
  collect,
  noise,
  sampleDisk,
  scratchFolder,
  writePieces,
  writeRaw,
  writeStream,
} from "./images.ts";

const MIB = 1024 * 1024;
const scratch = scratchFolder("formats");
const raw = writeRaw(join(scratch, "sample.raw"), sampleDisk());

function qemuImg(...words: string[]): string {
  return execFileSync("qemu-img", words, { encoding: "utf8", stdio: "pipe" });
}

/** Whole, and the same disk as the raw one, for QEMU. */
function judge(format: string, path: string, rawPath = raw): void {
  expect(qemuImg("check", "-f", format, path)).toContain("No errors were found");
  expect(JSON.parse(qemuImg("info", "--output=json", path))["virtual-size"]).toBe(statSync(rawPath).size);
  expect(qemuImg("compare", "-f", format, "-F", "raw", path, rawPath)).toContain("Images are identical");
}

/** A disk that tells where it has something. */
const telling = (image: SparseImage): DiskStream => ({
  ...streamOf(image),
  runs: () => image.extents.map(({ offset, bytes }) => ({ offset, length: bytes.length })),
});

/** Random disks of up to 4 MiB. */
const disks: fc.Arbitrary<SparseImage> = fc
  .record({
    size: fc.integer({ min: 1, max: 8192 }).map((sectors) => sectors * 512),
    areas: fc.array(fc.tuple(fc.nat(4 * MIB), fc.integer({ min: 1, max: 200_000 }), fc.nat(3)), { maxLength: 12 }),
  })
  .map(({ size, areas }) => {
    const extents: { offset: number; bytes: Uint8Array<ArrayBuffer> }[] = [];
    let end = 0;
    for (const [offset, length, kind] of areas.sort((a, b) => a[0] - b[0])) {
      if (offset < end || offset + length > size) continue;
      const bytes =
        kind === 0 ? new Uint8Array(length) : kind === 1 ? noise(length, offset) : new Uint8Array(length).fill(kind);
      extents.push({ offset, bytes });
      end = offset + length;
    }
    return { size, extents };
  });

describe("qcow2", () => {
  it.each([
    ["compressed", (disk: DiskStream) => encodeCompressedQcow2(disk, packCluster)],
    ["plain", (disk: DiskStream) => encodePlainQcow2(disk)],
  ])("%s is whole and the same for qemu-img", async (name, encode) => {
    for (const [kind, disk] of [
      ["known", telling(sampleDisk())],
      ["blind", streamOf(sampleDisk())],
    ] as const)
      judge("qcow2", await writePieces(join(scratch, `${name}-${kind}.qcow2`), encode(disk)));
    const empty: SparseImage = { size: 5 * MIB, extents: [] };
    judge(
      "qcow2",
      await writePieces(join(scratch, `${name}-empty.qcow2`), encode(streamOf(empty))),
      writeRaw(join(scratch, "empty.raw"), empty),
    );
  });

  it("is hardly larger than qemu-img's own, and comes out in order but for the header", async () => {
    const own = join(scratch, "own.qcow2");
    const path = join(scratch, "compressed-known.qcow2");
    qemuImg("convert", "-c", "-O", "qcow2", raw, own);
    expect(readFileSync(path).length).toBeLessThan(readFileSync(own).length * 1.15 + 256 * 1024);
    let end = 65_536;
    let isOver = false;
    for await (const { offset, bytes } of encodeCompressedQcow2(streamOf(sampleDisk()), packCluster)) {
      expect(isOver).toBe(false);
      if (offset === 0) isOver = true;
      else expect(offset).toBe(end);
      end = offset + bytes.length;
    }
    expect(isOver).toBe(true);
    end = 0;
    for await (const { offset, bytes } of encodePlainQcow2(streamOf(sampleDisk()))) {
      expect(offset).toBe(end);
      end += bytes.length;
    }
    expect(await plainQcow2Bytes(streamOf(sampleDisk()))).toBe(end);
  });

  it("holds random disks, with every byte where it was", async () => {
    await fc.assert(
      fc.asyncProperty(disks, fc.boolean(), async (disk, isPlain) => {
        const stream = streamOf(disk);
        const pieces = isPlain ? encodePlainQcow2(stream) : encodeCompressedQcow2(stream, packCluster);
        const path = await writePieces(join(scratch, "random.qcow2"), pieces);
        judge("qcow2", path, writeRaw(join(scratch, "random.raw"), disk));
      }),
      { numRuns: 15, seed: 6 },
    );
  });

  it("counts references beyond one block of counts", async () => {
    // 2 GiB and a half of data take more clusters than one block counts: the same bytes over and over.
    const bytes = noise(65_536, 9);
    const disk: DiskStream = {
      size: 2600 * MIB,
      *extents() {
        for (let offset = 0; offset < 2600 * MIB; offset += 65_536) yield { offset, bytes };
      },
    };
    let blocks = 0;
    for await (const piece of encodePlainQcow2({ ...disk, runs: () => [{ offset: 0, length: disk.size }] })) {
      blocks += 1;
      if (blocks > 10) break;
      if (piece.offset === 65_536) expect(new DataView(piece.bytes.buffer).getBigUint64(8)).not.toBe(0n);
    }
  });

  it("refuses what is out of order or beyond the end", async () => {
    const wrong = (extents: SparseImage["extents"]): Promise<Uint8Array> =>
      collect(
        (async function* () {
          for await (const { bytes } of encodeCompressedQcow2(streamOf({ size: 4096, extents }), packCluster))
            yield bytes;
        })(),
      );
    const bytes = new Uint8Array(512).fill(1);
    await expect(
      wrong([
        { offset: 512, bytes },
        { offset: 0, bytes },
      ]),
    ).rejects.toThrow("Cannot write the disk");
    await expect(wrong([{ offset: 3585, bytes }])).rejects.toThrow("4097 is beyond its 4096 bytes");
  });
});

describe("vmdk", () => {
  it("is whole and the same for qemu-img", async () => {
    for (const [kind, disk] of [
      ["known", telling(sampleDisk())],
      ["blind", streamOf(sampleDisk())],
      ["random", streamOf((fc.sample(disks, { numRuns: 1, seed: 8 }) as [SparseImage])[0])],
    ] as const) {
      const path = await writeStream(join(scratch, `${kind}.vmdk`), encodeVmdk(disk, "disk.vmdk"));
      const image = { size: disk.size, extents: [...(disk.extents() as SparseImage["extents"])] };
      judge("vmdk", path, kind === "random" ? writeRaw(join(scratch, "random.raw"), image) : raw);
      expect(qemuImg("info", path)).toContain("create type: monolithicSparse");
    }
  });

  it("is written to by QEMU as a disk of its own", async () => {
    const path = await writeStream(join(scratch, "written.vmdk"), encodeVmdk(streamOf(sampleDisk()), "written.vmdk"));
    const copy = writeRaw(join(scratch, "written.raw"), sampleDisk());
    for (const [format, file] of [
      ["vmdk", path],
      ["raw", copy],
    ] as const)
      execFileSync("qemu-io", ["-f", format, "-c", "write -P 7 100M 1M", "-c", "write -P 9 2M 100k", file], {
        stdio: "pipe",
      });
    judge("vmdk", path, copy);
  });

  it("refuses half a sector", async () => {
    await expect(collect(encodeVmdk({ size: 1000, extents: () => [] }, "x"))).rejects.toThrow(
      "1000 bytes are no whole sectors",
    );
  });
});

/** The disk that our reader sees, as a raw file. */
async function readBack(path: string): Promise<string> {
  const image = await openQcow2(bytesSource(readFileSync(path)), inflateCluster, "Cannot open it");
  const extents: Extent[] = [];
  for await (const extent of image.extents()) extents.push(extent);
  return writeRaw(join(scratch, "back.raw"), { size: image.size, extents });
}

describe("the qcow2 reader", () => {
  it.each([
    ["as it is", ["-O", "qcow2"]],
    ["packed", ["-c", "-O", "qcow2"]],
    ["of version 2", ["-O", "qcow2", "-o", "compat=0.10"]],
    ["of version 2, packed", ["-c", "-O", "qcow2", "-o", "compat=0.10"]],
    ["of small clusters", ["-c", "-O", "qcow2", "-o", "cluster_size=4k"]],
    ["of large clusters", ["-c", "-O", "qcow2", "-o", "cluster_size=2M"]],
    ["with wide counts", ["-O", "qcow2", "-o", "refcount_bits=64,lazy_refcounts=on"]],
  ])("reads what qemu-img made, %s", async (_, words) => {
    const path = join(scratch, "made.qcow2");
    qemuImg("convert", ...words, raw, path);
    execFileSync("cmp", [await readBack(path), raw]);
  });

  it("reads ours, one with a snapshot inside and overwritten clusters, and one with clusters marked as zeros", async () => {
    const path = await writePieces(
      join(scratch, "snap.qcow2"),
      encodeCompressedQcow2(streamOf(sampleDisk()), packCluster),
    );
    execFileSync("cmp", [await readBack(path), raw]);
    const copy = writeRaw(join(scratch, "snap.raw"), sampleDisk());
    qemuImg("snapshot", "-c", "before", path);
    for (const [format, file] of [
      ["qcow2", path],
      ["raw", copy],
    ] as const)
      execFileSync("qemu-io", ["-f", format, "-c", "write -P 7 2M 300k", "-c", "write -z 64k 128k", file], {
        stdio: "pipe",
      });
    execFileSync("cmp", [await readBack(path), copy]);
    expect((await openQcow2(bytesSource(readFileSync(path)), inflateCluster, "")).hasSnapshots).toBe(true);
  });

  it("refuses in words what it does not read", async () => {
    const make = (...words: string[]): string => {
      // How long its key shall take is measured by processor time, which is not always to be had: "Unable to get accurate".
      for (let left = 4; ; left -= 1)
        try {
          qemuImg("create", "-f", "qcow2", ...words);
          break;
        } catch (error) {
          if (left === 0 || !String(error).includes("accurate CPU usage")) throw error;
        }
      return join(scratch, "refused.qcow2");
    };
    const path = join(scratch, "refused.qcow2");
    const secret = ["--object", "secret,id=s,data=abc"];
    for (const [words, message] of [
      [["-b", raw, "-F", "raw", path], "it needs a backing file"],
      [
        [...secret, "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", path, "1M"],
        "it is encrypted",
      ],
      [["-o", `data_file=${join(scratch, "data.raw")}`, path, "1M"], "its data are in another file"],
      [["-o", "extended_l2=on,cluster_size=128k", path, "1M"], "it has subclusters"],
      [["-o", "compression_type=zstd", path, "1M"], "it is packed with zstd"],
      [[path, "65G"], "its disk would have 69793218560 bytes"],
    ] as const)
      await expect(readBack(make(...words)), message).rejects.toThrow(`Cannot open it: ${message}`);
  });

  it("refuses tables that claim the same data twice, and data that are not there", async () => {
    const path = await writePieces(join(scratch, "hostile.qcow2"), encodePlainQcow2(streamOf(sampleDisk())));
    const good = readFileSync(path);
    const table = Number(good.readBigUInt64BE(Number(good.readBigUInt64BE(40))) & 0x00ff_ffff_ffff_ffffn);
    const tampered = async (change: (bytes: Buffer) => void): Promise<string> => {
      const bytes = Buffer.from(good);
      change(bytes);
      writeFileSync(join(scratch, "tampered.qcow2"), bytes);
      return readBack(join(scratch, "tampered.qcow2"));
    };
    await expect(tampered((b) => b.copy(b, table + 8, table, table + 8))).rejects.toThrow(
      /the data of 65536 is at \d+, where something else is/,
    );
    await expect(tampered((b) => b.writeBigUInt64BE(1n << 40n, table))).rejects.toThrow(
      `the data of 0 would be at ${2 ** 40}, the file ends`,
    );
    await expect(tampered((b) => b.writeBigUInt64BE(0n | 512n, table))).rejects.toThrow(
      "which is no start of a cluster",
    );
    await expect(
      tampered((b) =>
        b.copy(b, Number(b.readBigUInt64BE(40)) + 8, Number(b.readBigUInt64BE(40)), Number(b.readBigUInt64BE(40)) + 8),
      ),
    ).rejects.toThrow("the table 1 is at");
    await expect(tampered((b) => b.writeBigUInt64BE((1n << 62n) | 700_000n, table))).rejects.toThrow(
      "the data at 700000 are damaged",
    );
  });
});

describe("a qcow2 whose tables use the same packed data for everything", () => {
  it("is refused before it has unpacked to gigabytes", async () => {
    const extents = [{ offset: 0, bytes: new Uint8Array(65_536).fill(1) }];
    const path = await writePieces(
      join(scratch, "bomb.qcow2"),
      encodeCompressedQcow2(streamOf({ size: 512 * MIB, extents }), packCluster),
    );
    const bytes = readFileSync(path);
    const table = Number(bytes.readBigUInt64BE(Number(bytes.readBigUInt64BE(40))) & 0x00ff_ffff_ffff_ffffn);
    for (let at = 8; at < 65_536; at += 8) bytes.copy(bytes, table + at, table, table + 8);
    const image = await openQcow2(bytesSource(bytes), inflateCluster, "Cannot open it");
    const taking = async (): Promise<void> => {
      for await (const _ of image.extents());
    };
    await expect(taking()).rejects.toThrow("its packed data are used more often than they can be");
  });
});

describe("gzipped images", () => {
  it("unpack to the raw image, holes and all", async () => {
    const path = await writeStream(join(scratch, "sample.img.gz"), gzipDisk(streamOf(sampleDisk())));
    execFileSync("sh", ["-c", `gunzip -c ${path} | cmp - ${raw}`]);
    // 520 MiB of zeros, packed by gzip at most a thousandfold.
    expect(readFileSync(path).length).toBeLessThan(1_800_000);
  });

  it("and packed members do not depend on how the disk comes in pieces", async () => {
    const disk = sampleDisk(6 * MIB);
    const whole = new Uint8Array(6 * MIB);
    const extents = disk.extents.filter(({ offset, bytes }) => offset + bytes.length <= 6 * MIB);
    for (const { offset, bytes } of extents) whole.set(bytes, offset);
    const inPieces = (step: number): SparseImage["extents"] =>
      Array.from({ length: Math.ceil(whole.length / step) }, (_, at) => ({
        offset: at * step,
        bytes: whole.slice(at * step, (at + 1) * step),
      }));
    const packed = await collect(gzipDisk(streamOf({ size: disk.size, extents })));
    for (const step of [4096, 100_000, 6 * MIB])
      expect(
        Buffer.compare(await collect(gzipDisk(streamOf({ size: disk.size, extents: inPieces(step) }))), packed),
      ).toBe(0);
  });

  it("are one stream, which browsers unpack as well", async () => {
    const disk: SparseImage = { size: 5 * MIB + 512, extents: [{ offset: 3 * MIB + 7, bytes: noise(1000, 5) }] };
    const packed = await collect(gzipDisk(streamOf(disk)));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const unpacked = new Uint8Array(await new Response(stream).arrayBuffer());
    expect(Buffer.compare(unpacked, readFileSync(writeRaw(join(scratch, "small.raw"), disk)))).toBe(0);
  });

  it("hold random disks, and stop when they are told to", async () => {
    await fc.assert(
      fc.asyncProperty(disks, async (disk) => {
        const path = await writeStream(join(scratch, "random.gz"), gzipDisk(streamOf(disk)));
        const unpacked = execFileSync("gunzip", ["-c", path], { maxBuffer: 1 << 26 });
        expect(unpacked.equals(readFileSync(writeRaw(join(scratch, "random.raw"), disk)))).toBe(true);
      }),
      { numRuns: 20, seed: 6 },
    );
    const abort = new AbortController();
    const packing = collect(
      gzipDisk(streamOf(sampleDisk()), { signal: abort.signal, onProgress: () => abort.abort() }),
    );
    await expect(packing).rejects.toThrow(/abort/i);
  });

  it("have zeros summed as if they were walked over", () => {
    for (const length of [0, 1, 7, 4096, 1_000_003]) {
      const before = crc32(noise(100, 3));
      expect(crc32OfZeros(length, before)).toBe(crc32(new Uint8Array(length), before));
    }
    expect(crc32(new TextEncoder().encode("123456789"))).toBe(0xcbf43926);
  });
});
