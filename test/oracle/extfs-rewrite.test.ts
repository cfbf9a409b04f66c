/** File systems that are written anew around their files, against e2fsck, debugfs and our reader. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import type { RebuildRequest } from "../../worker/api.ts";
import { locateDiskFile, rebuildDisk } from "../../worker/disk-content.ts";
import { type ExtKind, encodeExt } from "../../worker/format/extfs.ts";
import { openExt } from "../../worker/format/extfs-reader.ts";
import { FileTree } from "../../worker/format/file-tree.ts";
import { type BlockSource, type ComposedImage, imageSource, lengthOf } from "../../worker/format/sparse-image.ts";
import { bytesSource } from "./images.ts";
import { describeTree, trees } from "./trees.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const KINDS: readonly ExtKind[] = ["ext2", "ext3", "ext4"];
const TIME = 1_700_000_000;
const scratch = mkdtempSync(join(tmpdir(), "smart-os-rewrite-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const ZEROS = Buffer.alloc(16 * MIB);
const uuid = Uint8Array.from({ length: 16 }, (_, index) => index * 16 + 1);
const pattern = (length: number, seed: number): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8) * 7 + seed) & 0xff));

function open(path: string): BlockSource & { close(): void } {
  const handle = openSync(path, "r");
  return {
    size: fstatSync(handle).size,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      if (readSync(handle, bytes, 0, length, offset) !== length) throw new Error(`Cannot read ${length} at ${offset}`);
      return bytes;
    },
    close: () => closeSync(handle),
  };
}

/** Some know without reading where they are zero. */
type Source = BlockSource & { isZero?(offset: number, length: number): boolean };

/** Makes the image a file. Zeros are written to no place, so that what is not said to be there is seen to be zero. */
async function assemble(image: ComposedImage, sources: readonly Source[], name = "image"): Promise<string> {
  const path = join(scratch, name);
  const handle = openSync(path, "w");
  ftruncateSync(handle, image.size);
  for (const piece of image.pieces)
    for (let done = 0; done < lengthOf(piece); done += 16 * MIB) {
      const length = Math.min(16 * MIB, lengthOf(piece) - done);
      const source = "bytes" in piece ? undefined : (sources[piece.source] as Source);
      if (!("bytes" in piece) && source?.isZero?.(piece.from + done, length)) continue;
      const bytes =
        "bytes" in piece
          ? piece.bytes.subarray(done, done + length)
          : await (sources[piece.source] as BlockSource).read(piece.from + done, length);
      if (!ZEROS.subarray(0, length).equals(bytes)) writeSync(handle, bytes, 0, length, piece.offset + done);
    }
  closeSync(handle);
  return path;
}

function check(path: string): void {
  const { status, stdout, stderr } = spawnSync("/sbin/e2fsck", ["-fn", path], { encoding: "utf8" });
  expect({ status, output: status === 0 ? "" : stdout + stderr }).toEqual({ status: 0, output: "" });
}

const debugfs = (path: string, ...requests: string[]): string =>
  execFileSync("/sbin/debugfs", ["-w", "-f", "-", path], {
    input: `${requests.join("\n")}\n`,
    encoding: "utf8",
    stdio: ["pipe", "pipe", "ignore"],
    maxBuffer: 1 << 28,
  });

/** Another size, or a file more or less, of an image that is a file. */
async function rewrite(path: string, request: Partial<RebuildRequest>, files: readonly Source[] = []) {
  const source = open(path);
  const image = await rebuildDisk(source, { sizeBytes: source.size, time: TIME, ...request });
  const made = await assemble(image, [source, ...files], `rewritten-${Math.random()}`);
  source.close();
  return { image, path: made };
}

/** A file of a disk, made of the pieces that the disk has. */
async function locate(path: string, file: string) {
  const source = open(path);
  try {
    const image = await locateDiskFile(source, file);
    return { image, path: await assemble(image, [source], "located") };
  } finally {
    source.close();
  }
}

function native(name: string, size: string, options: readonly string[], folder?: string): string {
  const path = join(scratch, name);
  rmSync(path, { force: true });
  execFileSync("/sbin/mke2fs", ["-q", ...options, ...(folder ? ["-d", folder] : []), path, size]);
  return path;
}

describe.each(KINDS)("%s", (kind) => {
  it("holds what it held, and what was put in, after any change of random trees", async () => {
    const sizes = fc.constantFrom(8, 24, 40, 140, 300);
    const change = fc.record({
      before: sizes,
      after: sizes,
      removed: fc.option(fc.nat()),
      put: fc.array(fc.tuple(fc.nat(), fc.uint8Array({ maxLength: 9000 })), { maxLength: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(trees, change, async (tree, { before, after, removed, put }) => {
        const options = { kind, uuid, label: "smart", time: TIME };
        const source = imageSource(encodeExt(tree, { ...options, size: before * MIB }));
        const model = await (await openExt(source)).tree();
        const entries = model.sorted().filter(({ path }) => path !== "/" && path !== "/lost+found");
        const request: RebuildRequest = { sizeBytes: after * MIB, time: TIME };
        const gone = removed === null ? undefined : entries[removed % entries.length];
        if (gone) {
          request.remove = gone.path;
          for (const entry of entries)
            if (entry.kind === "hardlink" && isBelow(entry.target, gone.path) && !isBelow(entry.path, gone.path))
              inherit(model, entry.path, entry.target);
          model.remove(gone.path);
        }
        // Over files that are there, or beside them.
        const targets = model.sorted().filter(({ path, kind: what }) => what === "file" && path.lastIndexOf("/") === 0);
        const files = new Map(
          put.map(([at, content], index) => {
            const target = targets[at % (targets.length + 2)];
            return [target ? target.path.slice(1) : `new ${index}`, content] as const;
          }),
        );
        request.put = {
          directory: "/",
          files: [...files].map(([name, content]) => ({ name, size: content.length, mtime: 5 })),
        };
        for (const [name, content] of files) {
          const old = model.get(`/${name}`);
          for (const { path, kind: what, ...rest } of model.sorted())
            if (what === "hardlink" && (rest as { target: string }).target === `/${name}`)
              inherit(model, path, `/${name}`);
          const { mode, uid, gid } = old ?? { mode: 0o644, uid: 0, gid: 0 };
          model.replace({ path: `/${name}`, kind: "file", content, mode, uid, gid, mtime: 5 });
        }
        const image = await rebuildDisk(source, request);
        const path = await assemble(image, [source, ...[...files.values()].map(bytesSource)]);
        check(path);
        const made = open(path);
        expect(describeTree(await (await openExt(made)).tree())).toEqual(describeTree(model));
        made.close();
      }),
      { numRuns: 60, seed: 11 },
    );
  }, 240_000);

  it.each([
    ["4096", 160],
    ["1024", 60],
  ])(
    "moves what an end or a table is in the way of, with blocks of %s bytes, and refuses what does not fit",
    async (_, before) => {
      const content = pattern(11 * MIB, 3);
      const tree = new FileTree();
      for (const name of ["a", "b", "c"])
        tree.add({ path: `/${name}`, kind: "file", content, mode: 0o600, uid: 1, gid: 2, mtime: 3 });
      const image = encodeExt(tree, { kind, size: before * MIB, uuid, label: "", time: TIME });
      const path = await assemble({ size: image.size, pieces: image.extents }, []);
      // The first two leave their places free, in front of what has to move.
      const one = await rewrite((await rewrite(path, { remove: "/a" })).path, { remove: "/b" });
      for (const sizeMb of [24, 3000, 20]) {
        const changed = await rewrite(one.path, { sizeBytes: sizeMb * MIB });
        check(changed.path);
        const made = open(changed.path);
        expect(Buffer.compare(await (await openExt(made)).read("/c"), content)).toBe(0);
        made.close();
        expect(
          changed.image.pieces.reduce((sum, piece) => sum + ("bytes" in piece ? piece.bytes.length : 0), 0),
        ).toBeLessThan(4 * MIB);
      }
      await expect(rewrite(one.path, { sizeBytes: 10 * MIB })).rejects.toThrow(
        "Cannot fit 11 MB of files: the file system has 10 MB",
      );
    },
  );
});

/** Gives the content of a file to a further name of it, before the first one goes. */
function inherit(tree: FileTree, path: string, target: string): void {
  const file = tree.get(target);
  if (file?.kind === "file") tree.replace({ ...file, path });
}

function isBelow(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory}/`);
}

describe("what mke2fs and Linux left", () => {
  const folder = join(scratch, "files");
  mkdirSync(join(folder, "d/e"), { recursive: true });
  for (const [name, size] of [
    ["small", 10],
    ["d/middle", 70_000],
    ["d/e/large", 9 * MIB],
  ] as const)
    writeFileSync(join(folder, name), pattern(size, size));
  const sparse = openSync(join(folder, "sparse"), "w");
  writeSync(sparse, "begin", 0);
  writeSync(sparse, "end", 3 * GIB);
  closeSync(sparse);
  const server = createServer().listen(join(folder, "socket"));
  afterAll(() => server.close());
  const names = Array.from({ length: 3000 }, (_, index) => `d/a name of middling length ${index}`);
  for (const name of names) writeFileSync(join(folder, name), name);

  it.each([
    ["-t ext4 -b 4096"],
    ["-t ext4 -b 1024 -I 128"],
    ["-t ext4 -b 2048 -I 512 -O ^64bit,^metadata_csum"],
    ["-t ext3 -b 4096"],
    ["-t ext2 -b 1024"],
  ])("keeps contents, times, flags and extended attributes: %s", async (options) => {
    const path = native("native.img", "80M", options.split(" "), folder);
    const values = { small: "s".repeat(20), large: "L".repeat(500), "\u00e9": "\u00fc" };
    const sets = ["/small", "/d", "/d/e/large"].flatMap((file) =>
      Object.entries(values).map(([name, value]) => `ea_set "${file}" user.${name} "${value}"`),
    );
    debugfs(
      path,
      ...sets,
      `set_inode_field small flags ${options.includes("ext4") ? "0x80050" : "0x50"}`,
      "set_inode_field small atime 20010203040506",
    );
    const facts = (image: string): string =>
      debugfs(
        image,
        ...["/small", "/d", "/d/e/large", "/sparse"].flatMap((file) => [
          `stat "${file}"`,
          ...Object.keys(values).map((name) => `ea_get "${file}" user.${name}`),
        ]),
      )
        .split("\n")
        .filter((line) => !(options.includes("-I 128") && line.includes("crtime")))
        .filter((line) => /^(User| *[acm]time|crtime)|Flags|user\./.test(line))
        // Where and how it is stored may change.
        .map((line) =>
          line
            .replace(/^Inode: \d+|Generation.*|Size: \d+|Project: +\d+|:00000000/g, "")
            .replace(/Flags: 0x[0-9a-f]+/, (flags) => (flags.endsWith("50") ? "immutable, nodump" : ""))
            .trim(),
        )
        .join("\n");
    for (const name of ["small", "d/middle", "d/e/large", names[1234] as string]) {
      const located = await locate(path, `/${name}`);
      expect(Buffer.compare(readFileSync(located.path), readFileSync(join(folder, name))), name).toBe(0);
      // What is on the disk is read from there.
      expect(located.image.pieces.every((piece) => !("bytes" in piece))).toBe(true);
    }
    const holes = open((await locate(path, "/sparse")).path);
    expect(holes.size).toBe(3 * GIB + 3);
    expect(
      [await holes.read(0, 6), await holes.read(3 * GIB - 5, 8)].map((bytes) => Buffer.from(bytes).toString()),
    ).toEqual(["begin\0", "\0\0\0\0\0end"]);
    holes.close();
    await expect(locate(path, "/d")).rejects.toThrow("Cannot read /d: it is not a file");
    const before = facts(path);
    expect(before).toContain("L".repeat(500));
    expect(before).toContain("immutable");
    for (const sizeMb of [300, 60]) {
      const changed = await rewrite(
        path,
        {
          sizeBytes: sizeMb * MIB,
          put: { directory: "/d", files: [{ name: "new", size: 5000, mtime: 1 }] },
        },
        [bytesSource(pattern(5000, 9))],
      );
      check(changed.path);
      expect(facts(changed.path)).toBe(before);
      const out = mkdtempSync(join(scratch, "out-"));
      debugfs(changed.path, `rdump /d ${out}`, `dump /small ${out}/small`);
      for (const name of ["small", "d/middle", "d/e/large", names[1234] as string])
        expect(Buffer.compare(readFileSync(join(out, name)), readFileSync(join(folder, name))), name).toBe(0);
      expect(Buffer.compare(readFileSync(join(out, "d/new")), pattern(5000, 9))).toBe(0);
      const made = open(changed.path);
      const reader = await openExt(made);
      expect(Buffer.from(await reader.read("/sparse", { offset: 3 * GIB })).toString()).toBe("end");
      expect((await reader.stat("/socket")).kind).toBe("socket");
      expect(reader.usedBytes).toBeLessThan(100 * MIB);
      made.close();
    }
  });

  it("keeps what is in the journal alone, and leaves it empty", async () => {
    const path = native("dirty.img", "40M", ["-t", "ext4"], folder);
    const [block] = debugfs(path, "bmap /d/middle 3").split("\n").slice(1).join(" ").match(/\d+/) ?? [];
    const newest = join(scratch, "newest");
    writeFileSync(newest, pattern(4096, 77).subarray(0, 1024));
    debugfs(path, "journal_open", `journal_write -b ${block} ${newest}`, "journal_close");
    const source = open(path);
    const reader = await openExt(source);
    const wanted = await reader.read("/d/middle");
    source.close();
    expect(reader.wasReplayed).toBe(true);
    expect(Buffer.compare(wanted.subarray(3 * 1024, 4 * 1024), readFileSync(newest))).toBe(0);
    expect(Buffer.compare(readFileSync((await locate(path, "/d/middle")).path), wanted)).toBe(0);
    const changed = await rewrite(path, { remove: "/small" });
    check(changed.path);
    const out = join(scratch, "middle");
    debugfs(changed.path, `dump /d/middle ${out}`);
    expect(Buffer.compare(readFileSync(out), wanted)).toBe(0);
    const made = open(changed.path);
    const after = await openExt(made);
    expect(after.wasReplayed).toBe(false);
    await expect(after.stat("/small")).rejects.toThrow("there is nothing of that name");
    made.close();
  });

  it("refuses to lose what it cannot write", async () => {
    const path = native("inodes.img", "40M", ["-t", "ext4", "-O", "ea_inode"], folder);
    writeFileSync(join(scratch, "value"), "v".repeat(9000));
    debugfs(path, `ea_set -f ${join(scratch, "value")} /small user.long`);
    await expect(rewrite(path, { sizeBytes: 80 * MIB })).rejects.toThrow("in inodes of their own (ea_inode)");
    const plain = native("plain.img", "40M", ["-t", "ext4"], folder);
    await expect(rewrite(plain, { remove: "/none" })).rejects.toThrow("Cannot delete /none: it is not there");
  });
});

describe("large files and disks", () => {
  /** 4 GiB that are zero but for their first bytes, their last, and some at each GiB. */
  const large = (size: number): Source => ({
    size,
    isZero: (offset, length) => offset % GIB >= 8 && (offset % GIB) + length < GIB - 8,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      for (let at = 0; at < size; at += GIB) {
        const place = Math.max(0, Math.min(at, size - 8));
        if (place >= offset && place + 8 <= offset + length) bytes.set(pattern(8, at / GIB), place - offset);
      }
      if (offset + length === size) bytes.set(pattern(8, 99), length - 8);
      return bytes;
    },
  });

  it.each([
    ["ext4", 64 * 1024],
    ["ext2", 8 * 1024],
    ["ext4", 100],
    // Blocks of 1 KiB: a table of tables of tables.
    ["ext2", 100],
    ["ext3", 100],
  ] as const)(
    "hold a file of 4 GiB on %s, on a disk that was %d MB large",
    async (kind, sizeMb) => {
      const image = encodeExt(new FileTree(), { kind, size: sizeMb * MIB, uuid, label: "", time: TIME });
      const path = await assemble({ size: image.size, pieces: image.extents }, [], "empty");
      const source = large(4 * GIB);
      const put = { directory: "/", files: [{ name: "large", size: source.size, mtime: 1 }] };
      const changed = await rewrite(path, { sizeBytes: Math.max(sizeMb, 8 * 1024) * MIB, put }, [source]);
      const own = changed.image.pieces.reduce((sum, piece) => sum + ("bytes" in piece ? piece.bytes.length : 0), 0);
      // Tables of blocks alone take four bytes for each block.
      expect(own).toBeLessThan(24 * MIB);
      check(changed.path);
      expect(debugfs(changed.path, "stat /large")).toMatch(/Size: 4294967296\n/);
      const dumped = open(changed.path);
      const blockBytes = Number(/Block size: +(\d+)/.exec(debugfs(changed.path, "show_super_stats -h"))?.[1]);
      for (const at of [0, GIB, 2 * GIB, 3 * GIB, 4 * GIB - 8]) {
        const block = Math.floor(at / blockBytes);
        const [place] = debugfs(changed.path, `bmap /large ${block}`).split("\n").slice(1).join(" ").match(/\d+/) ?? [];
        const from = Number(place) * blockBytes + (at % blockBytes);
        expect(await dumped.read(from, 8), `at ${at}`).toEqual(await source.read(at, 8));
      }
      const located = await locateDiskFile(dumped, "/large");
      expect(located.size).toBe(source.size);
      expect(located.pieces.reduce((sum, piece) => sum + lengthOf(piece), 0)).toBe(source.size);
      dumped.close();
      if (blockBytes === 1024 && kind !== "ext4") expect(debugfs(changed.path, "stat /large")).toContain("(TIND)");
      if (sizeMb === 100) await expectToShrink(changed.path, kind === "ext3" ? 4500 : 4400);
      for (const file of [path, changed.path]) rmSync(file);
    },
    240_000,
  );

  async function expectToShrink(path: string, leastMb: number): Promise<void> {
    // It gives way to the smallest disk that still holds it.
    const smaller = await rewrite(path, { sizeBytes: leastMb * MIB });
    check(smaller.path);
    rmSync(smaller.path);
    await expect(rewrite(path, { sizeBytes: 4096 * MIB })).rejects.toThrow("Cannot fit 4096 MB of files");
  }
});
