/** Disks with several partitions, made by sfdisk, mke2fs and mkswap: looked into, and changed in one of them. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { RebuildRequest } from "../../worker/api.ts";
import { inspectDisk, listDirectory, locateDiskFile, rebuildDisk } from "../../worker/disk-content.ts";
import { type BlockSource, type ComposedImage, lengthOf } from "../../worker/format/sparse-image.ts";
import { bytesSource, noise, scratchFolder } from "./images.ts";

const MIB = 1024 * 1024;
const TIME = 1_700_000_000;
const scratch = scratchFolder("volumes");

/** What a partition of so many MiB is made to hold. */
interface Part {
  type: string;
  sizeMib: number;
  make(path: string): void;
}

function ext(kind: string, files: Readonly<Record<string, Uint8Array | string>>): Omit<Part, "sizeMib"> {
  return {
    type: "83",
    make(path) {
      const folder = `${path}.files`;
      mkdirSync(folder);
      for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
      execFileSync("/sbin/mke2fs", ["-q", "-t", kind, "-d", folder, path]);
    },
  };
}

const swap = { type: "82", make: (path: string) => void execFileSync("/sbin/mkswap", [path], { stdio: "ignore" }) };
const fat = { type: "c", make: (path: string) => writeFileSync(path, noise(MIB, 9)) };

/** A disk with one MiB before its first partition and half a one behind its last. */
function disk(parts: readonly Part[]): Uint8Array<ArrayBuffer> {
  const path = join(scratch, `disk-${Math.random()}`);
  const size = parts.reduce((sum, { sizeMib }) => sum + sizeMib, 1) * MIB + MIB / 2;
  writeFileSync(path, "");
  truncateSync(path, size);
  const lines = parts.map(({ sizeMib, type }) => `size=${(sizeMib * MIB) / 512}, type=${type}`);
  execFileSync("/sbin/sfdisk", ["-q", "--no-reread", "--no-tell-kernel", path], {
    input: `label: dos\n${lines.join("\n")}\n`,
  });
  const bytes = new Uint8Array(readFileSync(path));
  let at = MIB;
  for (const [index, { sizeMib, make }] of parts.entries()) {
    const part = `${path}-${index + 1}`;
    writeFileSync(part, "");
    truncateSync(part, sizeMib * MIB);
    make(part);
    bytes.set(readFileSync(part), at);
    at += sizeMib * MIB;
  }
  bytes.set(noise(1000, 5), size - 1000);
  return bytes;
}

async function assemble({ size, pieces }: ComposedImage, sources: readonly BlockSource[]): Promise<Uint8Array> {
  const bytes = new Uint8Array(size);
  for (const piece of pieces)
    bytes.set(
      "bytes" in piece ? piece.bytes : await (sources[piece.source] as BlockSource).read(piece.from, lengthOf(piece)),
      piece.offset,
    );
  return bytes;
}

async function change(
  before: Uint8Array<ArrayBuffer>,
  request: Partial<RebuildRequest>,
  files: readonly Uint8Array<ArrayBuffer>[] = [],
) {
  const image = await rebuildDisk(bytesSource(before), { sizeBytes: before.length, time: TIME, ...request });
  return assemble(image, [before, ...files].map(bytesSource));
}

const read = async (bytes: Uint8Array, path: string): Promise<Uint8Array> =>
  assemble(await locateDiskFile(bytesSource(bytes), path), [bytesSource(bytes)]);
const names = async (bytes: Uint8Array, path: string): Promise<string[]> =>
  (await listDirectory(bytesSource(bytes), path)).map(({ name }) => name).filter((name) => name !== "lost+found");

/** A partition as a file, clean as e2fsck finds it. @returns what debugfs reads there */
function judge(bytes: Uint8Array, startMib: number, sizeMib: number, file: string): Buffer {
  const path = join(scratch, `part-${Math.random()}`);
  writeFileSync(path, bytes.subarray(startMib * MIB, (startMib + sizeMib) * MIB));
  execFileSync("/sbin/e2fsck", ["-fn", path], { stdio: "ignore" });
  return execFileSync("/sbin/debugfs", ["-R", `cat ${file}`, path], {
    stdio: ["ignore", "pipe", "ignore"],
    maxBuffer: 16 * MIB,
  });
}

describe("a disk with several partitions", () => {
  const large = noise(3 * MIB + 17, 1);

  it("with two file systems shows both, and gets and loses files in each; all else stays as it is", async () => {
    const bytes = disk([
      { ...swap, sizeMib: 1 },
      { ...ext("ext4", { large, gone: "gone" }), sizeMib: 16 },
      { ...fat, sizeMib: 1 },
      { ...ext("ext2", { note: "two" }), sizeMib: 8 },
    ]);
    expect(await inspectDisk(bytesSource(bytes))).toMatchObject({
      fileSystem: "partitions",
      usedBytes: expect.any(Number),
    });
    expect(await names(bytes, "/")).toEqual(["partition-2", "partition-4"]);
    expect(await names(bytes, "/partition-2")).toEqual(["gone", "large"]);
    expect(Buffer.compare(await read(bytes, "/partition-2/large"), large)).toBe(0);
    expect(Buffer.from(await read(bytes, "/partition-4/note")).toString()).toBe("two");

    const added = noise(100_000, 2);
    const put = { directory: "/partition-4", files: [{ name: "added", size: added.length, mtime: TIME }] };
    const more = new Uint8Array(await change(bytes, { put }, [added]));
    const less = new Uint8Array(await change(more, { remove: "/partition-2/gone" }));
    expect(Buffer.compare(judge(less, 19, 8, "added"), added)).toBe(0);
    expect(judge(less, 19, 8, "note").toString()).toBe("two");
    expect(Buffer.compare(judge(less, 2, 16, "large"), large)).toBe(0);
    expect(await names(less, "/partition-2")).toEqual(["large"]);
    for (const [from, to] of [
      [0, 2 * MIB],
      [18 * MIB, 19 * MIB],
      [27 * MIB, bytes.length],
    ])
      expect(Buffer.compare(less.subarray(from, to), bytes.subarray(from, to))).toBe(0);
  });

  it("with one file system among others shows its files", async () => {
    const bytes = disk([
      { ...swap, sizeMib: 2 },
      { ...ext("ext3", { large }), sizeMib: 16 },
    ]);
    expect(await names(bytes, "/")).toEqual(["large"]);
    const added = noise(5000, 3);
    const put = { directory: "/", files: [{ name: "added", size: added.length, mtime: TIME }] };
    const more = await change(bytes, { put }, [added]);
    expect(Buffer.compare(judge(more, 3, 16, "added"), added)).toBe(0);
    expect(Buffer.compare(judge(more, 3, 16, "large"), large)).toBe(0);
    expect(Buffer.compare(more.subarray(0, 3 * MIB), bytes.subarray(0, 3 * MIB))).toBe(0);
  });

  it("says what cannot be done with it", async () => {
    const bytes = disk([
      { ...ext("ext4", {}), sizeMib: 8 },
      { ...ext("ext4", {}), sizeMib: 8 },
    ]);
    await expect(change(bytes, { sizeBytes: 64 * MIB })).rejects.toThrow(
      "Cannot resize the disk: it has several partitions",
    );
    await expect(change(bytes, { remove: "/partition-1" })).rejects.toThrow("Cannot remove a partition");
    await expect(names(bytes, "/partition-3")).rejects.toThrow("the disk has several file systems");
    const none = disk([
      { ...swap, sizeMib: 1 },
      { ...fat, sizeMib: 1 },
    ]);
    await expect(names(none, "/")).rejects.toThrow("there is no ext file system on this disk");
    await expect(change(none, {})).rejects.toThrow("there is no ext file system on it");
  });
});
