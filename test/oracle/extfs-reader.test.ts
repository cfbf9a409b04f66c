/** Our reader of ext2, ext3 and ext4 against what mke2fs, debugfs, Linux here and Linux in v86 leave, and e2fsck repairs. */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  fstatSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { type ExtKind, encodeExt } from "../../worker/format/extfs.ts";
import { type ExtEntry, type ExtReader, openExt } from "../../worker/format/extfs-reader.ts";
import { FileTree, FormatError } from "../../worker/format/file-tree.ts";
import { type BlockSource, imageSource, type SparseImage } from "../../worker/format/sparse-image.ts";
import { bootGuest, buildTestInitramfs } from "../machine/guest.ts";
import { memoryDrive } from "../machine/memory-drive.ts";
import { bytesSource } from "./images.ts";
import { describeTree, trees } from "./trees.ts";

const MIB = 1024 * 1024;
const KINDS: readonly ExtKind[] = ["ext2", "ext3", "ext4"];
const scratch = mkdtempSync(join(tmpdir(), "smart-os-extfs-reader-"));
const handles: number[] = [];
afterAll(() => {
  for (const handle of handles) closeSync(handle);
  rmSync(scratch, { recursive: true });
});

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const pattern = (length: number, seed: number): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8) * 7 + seed) & 0xff));

function make(kind: ExtKind, tree: FileTree, size: number): SparseImage {
  const uuid = Uint8Array.from({ length: 16 }, (_, index) => index * 16 + 1);
  return encodeExt(tree, { kind, size, uuid, label: "smart", time: 1_700_000_000 });
}

function fileSource(path: string): BlockSource & { count: number } {
  const handle = openSync(path, "r");
  handles.push(handle);
  return {
    size: fstatSync(handle).size,
    count: 0,
    async read(offset, length) {
      this.count += length;
      const bytes = new Uint8Array(length);
      if (readSync(handle, bytes, 0, length, offset) !== length) throw new Error(`Cannot read ${length} at ${offset}`);
      return bytes;
    },
  };
}

function mke2fs(name: string, size: string, ...options: string[]): string {
  const path = join(scratch, name);
  execFileSync("truncate", ["-s", size, path]);
  execFileSync("/sbin/mke2fs", ["-q", "-F", ...options, path], { stdio: ["ignore", "ignore", "pipe"] });
  return path;
}

function repair(path: string): void {
  const { status, stdout, stderr } = spawnSync("/sbin/e2fsck", ["-fy", path], { encoding: "utf8" });
  expect(status, stdout + stderr).toBeLessThanOrEqual(1);
  expect(spawnSync("/sbin/e2fsck", ["-fn", path]).status).toBe(0);
}

const debugfs = (path: string, ...requests: string[]): string =>
  execFileSync("/sbin/debugfs", ["-w", "-f", "-", path], {
    input: `${requests.join("\n")}\n`,
    encoding: "utf8",
    stdio: ["pipe", "pipe", "ignore"],
    maxBuffer: 1 << 28,
  });

/** What the file system says of its own free blocks, as bytes. */
/** What the superblock counts in blocks, in bytes. */
function countedBytes(path: string, what: "Free blocks" | "Overhead clusters"): number {
  const header = execFileSync("/sbin/dumpe2fs", ["-h", path], { encoding: "utf8", stdio: ["pipe", "pipe", "ignore"] });
  const number = (name: string): number => Number(new RegExp(`^${name}: +(\\d+)$`, "m").exec(header)?.[1]);
  return number(what) * number("Block size");
}

type Facts = Record<string, string>;

/** Everything below a directory of this machine, as Linux sees it. */
function hostFacts(directory: string, except: readonly string[] = ["/lost+found"]): Facts {
  const facts: Facts = {};
  const visit = (path: string): void => {
    for (const name of readdirSync(join(directory, path), { encoding: "buffer" })) {
      const own = `${path}/${name.toString()}`;
      if (except.includes(own)) continue;
      const found = lstatSync(join(directory, own));
      const line = [(found.mode & 0o7777).toString(8), found.uid, found.gid, Math.floor(found.mtimeMs / 1000)];
      if (found.isDirectory()) {
        facts[own] = `directory ${line.join(" ")}`;
        visit(own);
        continue;
      }
      const what = found.isFile()
        ? `file ${found.size} ${hash(readFileSync(join(directory, own)))}`
        : found.isSymbolicLink()
          ? `symlink ${readlinkSync(join(directory, own))}`
          : found.isFIFO()
            ? "fifo"
            : found.isSocket()
              ? "socket"
              : `${found.isBlockDevice() ? "block" : "character"} ${majorOf(found.rdev)}:${minorOf(found.rdev)}`;
      facts[own] = `${what} ${line.join(" ")} links ${found.nlink} inode ${found.ino}`;
    }
  };
  visit("");
  return facts;
}

const majorOf = (device: number): number => (device >>> 8) & 0xfff;
const minorOf = (device: number): number => (device & 0xff) | ((device >>> 12) & 0xf_ff00);

const hash = (bytes: Uint8Array): string => createHash("sha1").update(bytes).digest("hex");

async function readerFacts(reader: ExtReader, except: readonly string[] = ["/lost+found"]): Promise<Facts> {
  const facts: Facts = {};
  for await (const entry of reader.walk()) {
    if (entry.path === "/" || except.includes(entry.path)) continue;
    const line = [entry.mode.toString(8), entry.uid, entry.gid, entry.mtime].join(" ");
    if (entry.kind === "directory") {
      facts[entry.path] = `directory ${line}`;
      continue;
    }
    const what =
      entry.kind === "file"
        ? `file ${entry.size} ${hash(await reader.read(entry.path))}`
        : entry.kind === "symlink"
          ? `symlink ${entry.target}`
          : entry.kind === "device"
            ? `${entry.device} ${entry.major}:${entry.minor}`
            : entry.kind;
    facts[entry.path] = `${what} ${line} links ${entry.links} inode ${entry.inode}`;
  }
  return facts;
}

/** Inode numbers differ between a directory and the image that is made of it; which names share one does not. */
function withoutNumbers(facts: Facts): Facts {
  const first = new Map<string, string>();
  return Object.fromEntries(
    Object.keys(facts)
      .sort()
      .map((path) => {
        const line = facts[path] as string;
        const number = / inode (\d+)$/.exec(line)?.[1] ?? "";
        if (number && !first.has(number)) first.set(number, path);
        return [path, line.replace(/ inode \d+$/, ` is ${first.get(number)}`)];
      }),
  );
}

const canMount = (() => {
  if (process.getuid?.() !== 0) return false;
  const path = mke2fs("probe", "4M", "-t", "ext2");
  const at = mkdtempSync(join(scratch, "probe-"));
  if (spawnSync("mount", ["-o", "loop", path, at]).status !== 0) return false;
  execFileSync("umount", [at]);
  return true;
})();

function withMount<T>(path: string, options: string, work: (directory: string) => T): T {
  const at = mkdtempSync(join(scratch, "mount-"));
  execFileSync("mount", ["-o", `loop,${options}`, path, at]);
  try {
    return work(at);
  } finally {
    execFileSync("umount", [at]);
  }
}

const shell = (directory: string, script: string): void => {
  execFileSync("bash", ["-euc", script], { cwd: directory, stdio: ["ignore", "ignore", "inherit"] });
};

describe.each(KINDS)("%s as we write it", (kind) => {
  it("gives random trees back", async () => {
    await fc.assert(
      fc.asyncProperty(trees, fc.constantFrom(8, 40, 200), async (tree, sizeMb) => {
        const reader = await openExt(imageSource(make(kind, tree, sizeMb * MIB)));
        expect([reader.kind, reader.label, reader.wasReplayed]).toEqual([kind, "smart", false]);
        const back = await reader.tree();
        if (!tree.has("/lost+found")) back.remove("/lost+found");
        expect(describeTree(back)).toEqual(describeTree(tree));
        const links = (of: FileTree): number => of.sorted().filter((entry) => entry.kind === "hardlink").length;
        expect(links(back)).toBe(links(tree));
        // And from there to the same image again, at another size.
        const again = await openExt(imageSource(make(kind, back, (sizeMb + 1) * MIB)));
        expect(describeTree(await again.tree())).toMatchObject(describeTree(tree));
      }),
      { numRuns: 60, seed: 11 },
    );
  });

  it("gives parts of files, 20,000 names, and what is above a symlink's target", async () => {
    const content = pattern(700_000, 3);
    const tree = new FileTree();
    const own = { mode: 0o644, uid: 0, gid: 0, mtime: 5 };
    tree.add({ ...own, path: "/a/b/big", kind: "file", content });
    tree.add({ ...own, path: "/z", kind: "symlink", target: "a/b" });
    tree.add({ ...own, path: "/a/up", kind: "symlink", target: "/z/../b/../up" });
    for (let index = 0; index < 20_000; index += 1)
      tree.add({ ...own, path: `/many/name-${index}`, kind: "file", content: new Uint8Array() });
    const reader = await openExt(imageSource(make(kind, tree, 64 * MIB)));
    expect(await reader.list("/many")).toHaveLength(20_000);
    expect((await reader.list("/")).map(({ path }) => path)).toEqual(["/a", "/lost+found", "/many", "/z"]);
    expect((await reader.list("/z/")).map(({ path, name }) => [path, name])).toEqual([["/z/big", "big"]]);
    expect(await reader.stat("/z")).toMatchObject({ kind: "symlink", target: "a/b" });
    expect(await reader.stat("/z/../b/big")).toMatchObject({ kind: "file", size: 700_000, name: "big" });
    for (const [offset, length] of [
      [0, 1],
      [1023, 2],
      [300_000, 399_999],
      [699_999, 9],
      [700_000, 1],
      [9e9, 1],
    ] as const)
      expect(
        Buffer.compare(await reader.read("/z/big", { offset, length }), content.subarray(offset, offset + length)),
      ).toBe(0);
    await expect(reader.read("/a/up")).rejects.toThrow("Cannot find /a/up: too many symlinks follow each other");
    await expect(reader.read("/many")).rejects.toThrow("Cannot read /many: it is not a file");
    await expect(reader.list("/z/big")).rejects.toThrow("Cannot list /z/big: it is not a directory");
    await expect(reader.stat("/z/big/x")).rejects.toThrow("Cannot find /z/big/x: a part of it is not a directory");
    await expect(reader.stat("/no")).rejects.toThrow("Cannot find /no: there is nothing of that name");
    await expect(reader.read("/z/big", { offset: -1 })).rejects.toThrow("Cannot read /z/big: -1 is no place in it");
  });
});

/** What is awkward for a file system, made in a directory of this machine. */
function makeAwkward(directory: string): void {
  mkdirSync(join(directory, "deep/er/and/deeper"), { recursive: true });
  mkdirSync(join(directory, "names"));
  for (let index = 0; index < 300; index += 1) writeFileSync(join(directory, `names/name-${index}`), "");
  writeFileSync(join(directory, "names", "n".repeat(255)), "255");
  writeFileSync(join(directory, "names", "über 日本語 😀 ' \" \\"), "unicode");
  for (const length of [1, 58, 59, 60, 61, 255, 1000])
    symlinkSync("t".repeat(length), join(directory, `link-${length}`));
  for (const size of [1, 1023, 1024, 1025, 12 * 1024, 12 * 1024 + 1, 280 * 1024])
    writeFileSync(join(directory, `size-${size}`), pattern(size, size));
  const sparse = openSync(join(directory, "sparse"), "w", 0o600);
  ftruncateSync(sparse, 12 * MIB);
  for (const at of [0, 300_000, 5 * MIB, 11 * MIB]) writeSync(sparse, pattern(5000, at), 0, 5000, at);
  closeSync(sparse);
  writeFileSync(join(directory, "all-holes"), "");
  truncateSync(join(directory, "all-holes"), 3 * MIB);
  linkSync(join(directory, "size-1"), join(directory, "deep/er/hard"));
  linkSync(join(directory, "size-1"), join(directory, "names/hard"));
  shell(
    directory,
    `mknod null c 1 3; mknod disk b 8 17; mknod large c 300 70000; mkfifo pipe; chmod 4755 size-1023; chmod 1777 deep
     chown 70000:80000 size-1024; touch -d @0 size-1025; touch -d @2147483647 deep/er; touch -d '1999-01-02' link-1 -h`,
  );
}

describe("what mke2fs makes", () => {
  const source = join(scratch, "awkward");
  mkdirSync(source);
  if (process.getuid?.() === 0) makeAwkward(source);
  const expected = withoutNumbers(hostFacts(source));
  const cases = KINDS.flatMap((kind) =>
    [1024, 2048, 4096].flatMap((block) => [128, 256].map((inode) => [kind, block, inode] as const)),
  );

  it.skipIf(process.getuid?.() !== 0).each(cases)(
    "%s with blocks of %i and inodes of %i bytes",
    async (kind, block, inode) => {
      const options = ["-t", kind, "-b", `${block}`, "-I", `${inode}`, "-L", "mke2fs", "-d", source];
      const path = mke2fs("mke2fs", "24M", ...options);
      const reader = await openExt(fileSource(path));
      expect([reader.kind, reader.label, reader.size]).toEqual([kind, "mke2fs", 24 * MIB]);
      expect(reader.freeBytes).toBe(countedBytes(path, "Free blocks"));
      // What mke2fs takes for tables and the journal; the inode of reserved descriptors has a block of its own.
      const overhead = countedBytes(path, "Overhead clusters");
      expect(reader.usedBytes + reader.freeBytes + overhead - reader.size).toBeLessThanOrEqual(2 * block);
      expect(reader.usedBytes + reader.freeBytes + overhead).toBeGreaterThanOrEqual(reader.size);
      expect(withoutNumbers(await readerFacts(reader))).toEqual(expected);
    },
  );

  it.each([
    ["bigalloc", ["-O", "bigalloc,extent", "-b", "1024", "-C", "16384"]],
    [
      "metadata_csum_seed, large_dir, ea_inode, project, quota, sparse_super2, orphan_file",
      ["-O", "metadata_csum_seed,large_dir,ea_inode,project,quota,sparse_super2,orphan_file,^resize_inode"],
    ],
    ["uninit_bg, without metadata_csum", ["-O", "uninit_bg,^metadata_csum"]],
    ["revision 0", ["-t", "ext2", "-r", "0", "-O", "none"]],
    ["64 KiB blocks", ["-b", "65536"]],
    ["mmp", ["-O", "mmp"]],
  ])("with %s", async (_, options) => {
    const from = mkdtempSync(join(scratch, "small-"));
    for (let index = 0; index < 90; index += 1) writeFileSync(join(from, `name-${index}`), pattern(index * 40, index));
    const path = mke2fs("features", "64M", ...(options[0] === "-t" ? [] : ["-t", "ext4"]), ...options, "-d", from);
    const reader = await openExt(fileSource(path));
    expect(withoutNumbers(await readerFacts(reader))).toEqual(withoutNumbers(hostFacts(from)));
    expect(reader.freeBytes).toBe(countedBytes(path, "Free blocks"));
  });

  it("is refused by name when it has what we do not read", async () => {
    for (const [size, options, message] of [
      ["8M", ["-t", "ext4", "-O", "meta_bg,^resize_inode"], "a feature that is not supported, meta_bg"],
      ["8M", ["-t", "ext4", "-O", "inline_data"], "a feature that is not supported, inline_data"],
      ["8M", ["-t", "ext4", "-O", "encrypt"], "a feature that is not supported, encrypt"],
      ["8M", ["-t", "ext4", "-O", "casefold"], "a feature that is not supported, casefold"],
      ["8M", ["-O", "journal_dev"], "journal_dev: it is the journal of another file system"],
    ] as const)
      await expect(openExt(fileSource(mke2fs("refused", size, ...options)))).rejects.toThrow(
        new RegExp(`^Cannot read the file system: it uses .*${message}`),
      );
    const change = async (at: number, value: number): Promise<ExtReader> => {
      const bytes = readFileSync(mke2fs("changed", "8M", "-t", "ext3"));
      bytes.writeUInt32LE(value, 1024 + at);
      return openExt(bytesSource(bytes));
    };
    await expect(change(56, 0)).rejects.toThrow("it is none of ext2, ext3 and ext4");
    await expect(change(96, 1)).rejects.toThrow("compression");
    await expect(change(96, 0x4000_0002)).rejects.toThrow("features that are not known, 0x40000000");
    await expect(change(4, 9000)).rejects.toThrow("it has 9216000 bytes, but its disk has 8388608");
    await expect(change(32, 1)).rejects.toThrow("a group has 1 blocks");
    await expect(openExt(bytesSource(new Uint8Array(100)))).rejects.toThrow("too small");
  });

  it("is opened without reading much of it", async () => {
    const source = fileSource(mke2fs("large", "4G", "-t", "ext4"));
    const reader = await openExt(source);
    await reader.list("/");
    expect(source.count).toBeLessThan(128 * 1024);
  });
});

describe.skipIf(!canMount)("what Linux leaves", () => {
  /** Enough for trees of extents of two levels, tables of three, hashed directories of two, all of them with gaps. */
  const populate = (directory: string, names: number, lastMb: number): void => {
    makeAwkward(directory);
    mkdirSync(join(directory, "many"));
    for (let index = 0; index < names; index += 1)
      writeFileSync(join(directory, `many/a-name-of-middling-length-${index}`), index % 50 ? "" : pattern(index, 1));
    for (let index = 0; index < names; index += 7) rmSync(join(directory, `many/a-name-of-middling-length-${index}`));
    const gaps = openSync(join(directory, "gaps"), "w");
    for (let at = 0; at < 900; at += 1) writeSync(gaps, pattern(2000, at), 0, 2000, at * 8192);
    writeSync(gaps, pattern(3000, 1), 0, 3000, lastMb * MIB);
    closeSync(gaps);
    shell(
      directory,
      "chown -h 3000000000:4000000000 link-60; touch -d @4000000000 names; touch -d @-100000 pipe; touch -d @9000000000 disk; python3 -c \"import socket as s; s.socket(s.AF_UNIX).bind('sock')\"",
    );
  };

  it.each([
    ["ext2", 1024, 128],
    ["ext3", 1024, 256],
    ["ext4", 1024, 256],
    ["ext4", 4096, 256],
  ] as const)("on %s with blocks of %i and inodes of %i bytes", async (kind, block, inode) => {
    // What was on the disk before must not show where nothing has been written.
    shell(scratch, "head -c 64M /dev/zero | tr '\\0' j >linux");
    const path = mke2fs(
      "linux",
      "64M",
      "-E",
      "nodiscard",
      "-t",
      kind,
      "-b",
      `${block}`,
      "-I",
      `${inode}`,
      "-N",
      "12000",
    );
    const expected = withMount(path, "noatime", (at) => {
      populate(at, block === 1024 ? 3000 : 1500, 70);
      if (kind === "ext4")
        shell(at, "fallocate -l 300000 unwritten; printf x | dd of=unwritten bs=1 seek=150000 conv=notrunc");
      shell(at, "sync -f .");
      return hostFacts(at);
    });
    const reader = await openExt(fileSource(path));
    expect(reader.wasReplayed).toBe(false);
    expect(reader.freeBytes).toBe(countedBytes(path, "Free blocks"));
    expect(await readerFacts(reader)).toEqual(expected);
    await expect(reader.tree()).rejects.toThrow("Cannot copy /sock: it is a socket");
  });

  it.each([
    ["ext3", ["-b", "1024", "-J", "size=1"], ""],
    ["ext3", ["-b", "4096"], ""],
    ["ext3", ["-b", "1024"], "data=journal"],
    ["ext4", ["-b", "1024", "-J", "size=1"], ""],
    ["ext4", ["-b", "4096"], ""],
    ["ext4", ["-b", "2048", "-O", "^64bit"], "data=journal"],
    ["ext4", ["-b", "1024", "-O", "^metadata_csum"], "journal_checksum"],
    ["ext4", ["-b", "4096", "-O", "^metadata_csum,^64bit"], "journal_async_commit,data=writeback"],
  ] as const)("on %s %j %s without unmounting it", async (kind, options, mountOptions) => {
    const path = mke2fs("mounted", "48M", "-t", kind, ...options);
    const copy = join(scratch, "copied");
    const early = withMount(path, `noatime,commit=300,${mountOptions}`, (at) => {
      makeAwkward(at);
      // Directories that go leave revocations behind.
      for (let round = 0; round < 12; round += 1)
        shell(
          at,
          `mkdir -p round/${round}; for i in 1 2 3 4 5 6 7 8 9; do echo ${round} $i >round/${round}/file-$i; done
           rm -rf round/$((${round} - 3)); sync -f .`,
        );
      // It begins like a block of the journal itself, and what is read back must as well.
      shell(at, "for i in 1 2 3; do printf '\\xc0\\x3b\\x39\\x98%1020s' $i; done >magic; sync -f .");
      copyFileSync(path, copy);
      return hostFacts(at);
    });
    const reader = await openExt(fileSource(copy));
    expect(reader.wasReplayed).toBe(true);
    const found = await readerFacts(reader);
    expect(found).toEqual(early);
    const fixed = `${copy}-fixed`;
    copyFileSync(copy, fixed);
    repair(fixed);
    expect(found).toEqual(withMount(fixed, "ro", (at) => hostFacts(at)));
    expect(reader.freeBytes).toBe(countedBytes(fixed, "Free blocks"));
  });

  it("is refused where changes are in fast commits alone", async () => {
    const path = mke2fs("fast", "48M", "-t", "ext4", "-O", "fast_commit");
    const [copy, full] = [join(scratch, "fast-copied"), join(scratch, "fast-full")];
    withMount(path, "commit=300", (at) => {
      shell(at, "sync -f .; for i in 1 2 3; do echo $i >file-$i; sync file-$i; done");
      copyFileSync(path, copy);
      // A full commit has them all; what is left of the fast ones no longer counts.
      shell(at, "sync -f .");
      copyFileSync(path, full);
    });
    const synced = await openExt(fileSource(full));
    expect([synced.wasReplayed, await synced.read("/file-3")]).toEqual([true, text("3\n")]);
    await expect(openExt(fileSource(copy))).rejects.toThrow(
      "Cannot read the file system: its journal has changes in a form that is not supported, fast_commit",
    );
    const reader = await openExt(fileSource(path));
    expect(reader.wasReplayed).toBe(false);
    expect(await reader.read("/file-2")).toEqual(text("2\n"));
  });

  it("lists names that are not UTF-8, finds them, and refuses to copy them", async () => {
    const path = mke2fs("latin", "8M", "-t", "ext4");
    withMount(path, "noatime", (at) => shell(at, "echo umlaut >$'f\\xfcr'; ln -s $'\\xff' link"));
    const reader = await openExt(fileSource(path));
    const [, first, second] = (await reader.list("/")) as [ExtEntry, ExtEntry, ExtEntry];
    expect(first.name).toBe("f\udcfcr");
    expect(second).toMatchObject({ kind: "symlink", target: "\udcff" });
    expect(await reader.read(first.path)).toEqual(text("umlaut\n"));
    await expect(reader.tree()).rejects.toThrow("half a character");
  });
});

interface Log {
  path: string;
  /** Blocks of the image by their place in the journal. */
  blocks: number[];
}

/** Attaches the journal of an image of blocks of 1024 bytes. */
function logOf(path: string): Log {
  const answers = debugfs(path, ...Array.from({ length: 1024 }, (_, index) => `bmap <8> ${index}`));
  return {
    path,
    blocks: answers
      .split("\n")
      .filter((line) => /^\d+$/.test(line))
      .map(Number),
  };
}

/** Moves the log on by so many blocks, beyond its end and round, and its sequence numbers. */
function moveLog({ path, blocks }: Log, by: number, sequence: number): void {
  const bytes = readFileSync(path);
  const old = Buffer.from(bytes);
  const superblock = (blocks[0] as number) * 1024;
  const [length, first] = [bytes.readUInt32BE(superblock + 16), bytes.readUInt32BE(superblock + 20)];
  const move = (at: number): number => ((at - first + by) % (length - first)) + first;
  const later = (number: number): number => (number + sequence) >>> 0;
  expect(blocks).toHaveLength(length);
  for (let at = first; at < length; at += 1) {
    const from = (blocks[at] as number) * 1024;
    const to = (blocks[move(at)] as number) * 1024;
    old.copy(bytes, to, from, from + 1024);
    if (bytes.readUInt32BE(to) === 0xc03b3998) bytes.writeUInt32BE(later(bytes.readUInt32BE(to + 8)), to + 8);
  }
  bytes.writeUInt32BE(later(bytes.readUInt32BE(superblock + 24)), superblock + 24);
  bytes.writeUInt32BE(move(bytes.readUInt32BE(superblock + 28)), superblock + 28);
  writeFileSync(path, bytes);
}

/** Where in the image the blocks of one type in the log are. */
function find(path: string, type: number): number[] {
  const bytes = readFileSync(path);
  const found: number[] = [];
  for (let at = 0; at < bytes.length; at += 1024)
    if (bytes.readUInt32BE(at) === 0xc03b3998 && bytes.readUInt32BE(at + 4) === type) found.push(at);
  return found;
}

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at] = (bytes[at] as number) ^ 0x55;
  writeFileSync(path, bytes);
}

describe("a journal of debugfs", () => {
  const original = pattern(16 * 1024, 9);
  const [first, second, last] = [1, 2, 3].map((seed) => pattern(16 * 1024, 50 * seed)) as [Buffer, Buffer, Buffer];
  // Such a block is escaped in the log.
  for (const content of [first, second]) content.writeUInt32BE(0xc03b3998, 2 * 1024);

  /** Three transactions and one without its commit: all blocks, half of them, two that are revoked; then others. */
  function dirty(options: readonly string[], open: string): string {
    for (const [name, content] of Object.entries({ original, first, second, last }))
      writeFileSync(join(scratch, name), content);
    const path = mke2fs("journal", "16M", "-t", "ext4", "-b", "1024", "-J", "size=1", ...options);
    debugfs(path, `write ${join(scratch, "original")} f`);
    const [start = 0] = debugfs(path, "blocks /f").split("\n").slice(1).join(" ").match(/\d+/g)?.map(Number) ?? [];
    const range = (from: number, to: number): string =>
      Array.from({ length: to - from }, (_, at) => start + from + at).join(",");
    debugfs(
      path,
      `jo ${open}`,
      `jw -b ${range(0, 16)} ${join(scratch, "first")}`,
      `jw -b ${range(0, 8)} ${join(scratch, "second")}`,
      `jw -r ${start + 5},${start + 12}`,
      `jw -c -b ${range(0, 16)} ${join(scratch, "last")}`,
      "jc",
    );
    return path;
  }

  const expected = Buffer.concat([second.subarray(0, 8 * 1024), first.subarray(8 * 1024)]);
  for (const block of [5, 12]) original.copy(expected, block * 1024, block * 1024, (block + 1) * 1024);

  async function expectJudged(path: string, content: Uint8Array): Promise<void> {
    const reader = await openExt(fileSource(path));
    expect(reader.wasReplayed).toBe(true);
    const found = await reader.read("/f");
    const part = await reader.read("/f", { offset: 2047, length: 5000 });
    const fixed = join(scratch, "journal-fixed");
    copyFileSync(path, fixed);
    spawnSync("/sbin/e2fsck", ["-fy", fixed]);
    debugfs(fixed, `dump /f ${join(scratch, "dumped")}`);
    expect(Buffer.compare(found, readFileSync(join(scratch, "dumped")))).toBe(0);
    expect(Buffer.compare(found, content)).toBe(0);
    expect(Buffer.compare(part, content.subarray(2047, 7047))).toBe(0);
  }

  const formats = [
    ["", "^metadata_csum,64bit"],
    ["", "^metadata_csum,^64bit"],
    ["", "metadata_csum,64bit"],
    ["-c -v 2", "metadata_csum,64bit"],
    ["-c -v 2", "metadata_csum,^64bit"],
    ["-c -v 3", "metadata_csum,64bit"],
    ["-c -v 3", "metadata_csum,^64bit"],
  ] as const;
  it.each(formats)("opened with '%s' on %s", async (open, features) => {
    await expectJudged(dirty(["-O", features], open), expected);
  });

  it("whose checksum of a whole transaction does not match ends there", async () => {
    // debugfs sums up blocks of revocations as well, the kernel and e2fsck do not: for them, there are two transactions.
    const content = Buffer.concat([second.subarray(0, 8 * 1024), first.subarray(8 * 1024)]);
    await expectJudged(dirty(["-O", "^metadata_csum"], "-c"), content);
  });

  it("goes round, and so do its numbers", async () => {
    const path = dirty(["-O", "^metadata_csum"], "");
    for (const by of [700, 250, 40, 1]) {
      const log = logOf(path);
      const before = readFileSync(path).readUInt32BE((log.blocks[0] as number) * 1024 + 24);
      moveLog(log, by, 0xffff_fffe - before);
      await expectJudged(path, expected);
    }
    for (let by = 0; by < 24; by += 1) {
      moveLog(logOf(path), 1, 0);
      if (by % 12 === 0) await expectJudged(path, expected);
      else expect(Buffer.compare(await (await openExt(fileSource(path))).read("/f"), expected)).toBe(0);
    }
  });

  it.each(["-c -v 2", "-c -v 3"])("with damage, '%s'", async (open) => {
    const path = dirty(["-O", "metadata_csum,64bit"], open);
    const [commit, descriptor] = [find(path, 2)[1] as number, find(path, 1)[0] as number];
    flip(path, commit + 40);
    const onlyFirst = Buffer.from(first);
    await expectJudged(path, onlyFirst);
    flip(path, commit + 40);
    flip(path, descriptor + 1024 + 77);
    await expect(openExt(fileSource(path))).rejects.toThrow(
      /^Cannot read the file system: its journal is damaged, the checksum of the block \d+ of its log does not match$/,
    );
    flip(path, descriptor + 1024 + 77);
    flip(path, descriptor + 900);
    await expect(openExt(fileSource(path))).rejects.toThrow(
      /the checksum of the transaction \d+ in its log does not match$/,
    );
  });

  it("with damage, without checksums", async () => {
    const path = dirty(["-O", "^metadata_csum,^64bit"], "");
    const change = (at: number, value: number): void => {
      const bytes = readFileSync(path);
      bytes.writeUInt32BE(value, at);
      writeFileSync(path, bytes);
    };
    const superblock = find(path, 4)[0] as number;
    const descriptor = find(path, 1)[0] as number;
    const block = readFileSync(path).readUInt32BE(descriptor + 12);
    for (const [at, value, message] of [
      [descriptor + 12, 0xffff_fff0, "it has a version of the block 4294967280, which there is not"],
      [superblock + 16, 5000, "its log has 5000 blocks"],
      [superblock + 28, 5000, "its log begins at the block 5000 of 1024"],
      [superblock + 12, 4096, "its blocks have 4096 bytes"],
      [superblock + 40, 0x8000, "its journal uses features that are not known, 0x8000"],
      [superblock, 0, "its superblock is none"],
    ] as const) {
      const old = readFileSync(path).readUInt32BE(at);
      change(at, value);
      await expect(openExt(fileSource(path))).rejects.toThrow(message);
      change(at, old);
    }
    change(descriptor + 12, block);
    await expectJudged(path, expected);
    // A commit that never came: nothing of the transaction has happened.
    change(find(path, 2)[0] as number, 0);
    await expectJudged(path, original);
  });
});

describe("the guest", () => {
  it("leaves disks without unmounting them", async () => {
    const drives = (["ext2", "ext3", "ext4"] as const).map((kind) => {
      const tree = new FileTree();
      for (let index = 0; index < 50; index += 1)
        tree.add({
          path: `/old/${index}`,
          kind: "file",
          content: pattern(index * 300, index),
          mode: 0o644,
          uid: 0,
          gid: 0,
          mtime: 9,
        });
      const image = make(kind, tree, 24 * MIB);
      const bytes = new Uint8Array(image.size);
      for (const extent of image.extents) bytes.set(extent.bytes, extent.offset);
      return { kind, ...memoryDrive(bytes), drive: memoryDrive(bytes) };
    });
    const guest = await bootGuest({
      drives: drives.map(({ drive }) => drive),
      initramfs: await buildTestInitramfs(),
      commandLine: "console=tty0 console=ttyS0 tsc=reliable root=/dev/ram0",
    });
    await guest.until(() => guest.watch.promptMs !== null || guest.watch.failure !== null, "prompt", 60_000);
    for (const [index, { kind }] of drives.entries()) {
      const script = `mkdir -p /mnt && mount -t ${kind} /dev/sd${"abc"[index]} /mnt && cd /mnt && rm -r old/1* &&
        mkdir -p new/a/b && for i in $(seq 400); do echo $i >new/a/file-with-a-long-name-to-fill-blocks-$i; done &&
        sync && dd if=/dev/zero of=new/holes bs=1 count=1 seek=9000000 2>/dev/null && ln -s $(seq -s- 60) new/long &&
        ln old/20 new/hard && mknod new/device c 5 70000 && mkfifo new/pipe && cp -r old new/copy && sync && cd / && echo done`;
      // Beside other tests a guest has a small part of a processor.
      expect((await guest.agent.run(script.replaceAll("\n", " "), 60_000)).output.trim()).toBe("done");
    }
    const copies = drives.map(({ drive }) => Buffer.from(drive.bytes));
    await guest.machine.stop();
    for (const [index, { kind }] of drives.entries()) {
      const path = join(scratch, `guest-${kind}`);
      writeFileSync(path, copies[index] as Buffer);
      const reader = await openExt(fileSource(path));
      expect([reader.kind, reader.wasReplayed]).toEqual([kind, kind !== "ext2"]);
      const found = await readerFacts(reader, []);
      const free = reader.freeBytes;
      repair(path);
      expect(countedBytes(path, "Free blocks")).toBe(free);
      expect(found).toEqual(await readerFacts(await openExt(fileSource(path)), []));
      expect(Object.keys(found).filter((name) => name.startsWith("/new/a/"))).toHaveLength(401);
      const out = mkdtempSync(join(scratch, "guest-"));
      debugfs(path, `rdump /new ${out}`, `rdump /old ${out}`);
      const dumped = hostFacts(out);
      for (const [name, line] of Object.entries(found))
        if (line.startsWith("file ") || line.startsWith("symlink "))
          expect(dumped[name]?.split(" ").slice(0, 3), name).toEqual(line.split(" ").slice(0, 3));
    }
  }, 180_000);
});

describe("a damaged image", () => {
  /** What the checksums of ext4 cover: all but the contents of files. */
  const outline = (tree: FileTree): string[] =>
    tree
      .sorted()
      .map((entry) => JSON.stringify(entry.kind === "file" ? { ...entry, content: entry.content.length } : entry));

  const from = join(scratch, "damage-tree");
  mkdirSync(join(from, "d/e"), { recursive: true });
  for (let index = 0; index < 60; index += 1) writeFileSync(join(from, `d/name-${index}`), pattern(index, index));
  for (const size of [3000, 30_000, 300_000]) writeFileSync(join(from, `${size}`), pattern(size, 1));
  symlinkSync("d/e", join(from, "l"));

  /** Its log renews the blocks of the root directory with what they had. */
  function withLog(path: string, open: string): string {
    const [block] = debugfs(path, "blocks /").split("\n").slice(1).join(" ").match(/\d+/) ?? [];
    writeFileSync(
      join(scratch, "block"),
      readFileSync(path).subarray(Number(block) * 1024, Number(block) * 1024 + 1024),
    );
    debugfs(path, `jo ${open}`, `jw -b ${block} ${join(scratch, "block")}`, `jw -r 3000`, "jc");
    return path;
  }

  const cases = {
    ext2: () => mke2fs("damaged-2", "1M", "-t", "ext2", "-b", "1024", "-N", "96", "-d", from),
    ext3: () => withLog(mke2fs("damaged-3", "3M", "-t", "ext3", "-b", "1024", "-N", "96", "-d", from), ""),
    "ext4 without checksums": () =>
      withLog(
        mke2fs("damaged-4", "3M", "-t", "ext4", "-b", "1024", "-N", "96", "-O", "^metadata_csum", "-d", from),
        "-c -v 3",
      ),
    ext4: () => withLog(mke2fs("damaged-5", "3M", "-t", "ext4", "-b", "1024", "-N", "96", "-d", from), "-c -v 3"),
  };

  it.each(Object.keys(cases) as (keyof typeof cases)[])("of %s is read or refused, and soon", async (name) => {
    const bytes = readFileSync(cases[name]());
    const sound = outline(await (await openExt(bytesSource(bytes))).tree());
    expect(sound).toHaveLength(68);
    // Lines of 16 bytes that have anything in them; contents of files are most of it and count little.
    const lines: number[] = [];
    for (let at = 0; at < bytes.length; at += 16)
      if (bytes.subarray(at, at + 16).some((byte) => byte !== 0) && (at < 100_000 || at % 512 === 0)) lines.push(at);
    let state = 12345;
    const random = (below: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const results = { read: 0, refused: 0 };
    for (let round = 0; round < 600; round += 1) {
      const changes = Array.from({ length: 1 + random(3) }, () => {
        const at = (lines[random(lines.length)] as number) + random(16);
        const old = bytes[at] as number;
        bytes[at] = [0, 0xff, random(256), old ^ (1 << random(8))][random(4)] as number;
        return { at, old };
      });
      const start = performance.now();
      try {
        const reader = await openExt(bytesSource(bytes));
        const tree = await reader.tree();
        results.read += 1;
        if (name === "ext4") expect(outline(tree)).toEqual(sound);
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        expect(error.message).toMatch(/^Cannot [a-z]+ .*: ./);
        results.refused += 1;
      }
      expect(performance.now() - start).toBeLessThan(3000);
      for (const { at, old } of changes.reverse()) bytes[at] = old;
    }
    expect(results.read).toBeGreaterThan(20);
    expect(results.refused).toBeGreaterThan(20);
  });

  it("with a directory in itself, an absurd size, a wild block or a tree without end is refused in words", async () => {
    const path = mke2fs("absurd", "8M", "-t", "ext4", "-b", "1024", "-O", "^metadata_csum", "-d", from);
    const expectRefused = async (
      requests: string[],
      message: string,
      work = (reader: ExtReader): Promise<unknown> => reader.tree(),
    ) => {
      const copy = join(scratch, "absurd-copy");
      copyFileSync(path, copy);
      debugfs(copy, ...requests);
      await expect(openExt(fileSource(copy)).then(work)).rejects.toThrow(message);
    };
    await expectRefused(
      ["link /d /d/e/d"],
      "Cannot read /d/e/d: the file system is damaged, the directory is in two places",
    );
    await expectRefused(
      ["sif /3000 size 0x10000000000"],
      "Cannot copy /3000: the files of the file system have more than 2 GiB",
    );
    await expectRefused(
      ["sif /3000 size 0x10000000000"],
      "Cannot read /3000: 1099511627776 bytes are too many at once",
      (reader) => reader.read("/3000"),
    );
    await expectRefused(["sif /d size 0x40000000"], "a directory would have 1073741824 bytes");
    await expectRefused(["sif /3000 mode 0x1000"], "nothing", async (reader) => {
      expect((await reader.stat("/3000")).kind).toBe("fifo");
      throw new Error("nothing");
    });
    await expectRefused(["sif /3000 mode 0xb1a4"], "0xb000 is no kind of file");
    await expectRefused(["sif /3000 links_count 0"], "it is named, but deleted");
    await expectRefused(["sif /3000 block[5] 0x7fffffff"], "something is said to be at the block 2147483647 of 8192");
    await expectRefused(["sif /3000 block[0] 0x0004f30b"], "its tree of extents has a node that is none");
    await expectRefused(["sif /3000 block[1] 0x00010004"], "is damaged");
    await expectRefused(["sif /3000 flags 0x10080000"], "its content is in its inode (inline_data)");
    await expectRefused(["sif /l size 0"], "a target would have 0 bytes");
    // Tables of all levels that are the same block: only what is asked for is walked.
    const loop = mke2fs("loop", "8M", "-t", "ext2", "-b", "1024", "-d", from);
    const [table = 0] =
      debugfs(loop, "stat /300000")
        .match(/\(IND\):(\d+)/)
        ?.slice(1)
        .map(Number) ?? [];
    expect(table).toBeGreaterThan(0);
    const bytes = readFileSync(loop);
    for (let at = 0; at < 256; at += 1) bytes.writeUInt32LE(table, table * 1024 + at * 4);
    writeFileSync(loop, bytes);
    debugfs(
      loop,
      `sif /300000 block[DIND] ${table}`,
      `sif /300000 block[TIND] ${table}`,
      "sif /300000 size 0x3ffffffff",
    );
    const reader = await openExt(fileSource(loop));
    expect(await reader.read("/300000", { offset: 2 ** 33, length: 1024 })).toEqual(
      new Uint8Array(bytes.subarray(table * 1024, (table + 1) * 1024)),
    );
    await expect(reader.read("/300000", { offset: 0x3_0000_0000, length: 100_000_000 })).resolves.toHaveLength(
      100_000_000,
    );
    await expect(reader.read("/300000")).rejects.toThrow("are too many at once");
  });
});
