/** Our reader of ext2, ext3 and ext4 against what mke2fs, debugfs, Linux here and Linux in v86 leave, and e2fsck repairs. */
import { execFileSync, spawnSync } from "node:child_process";
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
import { FileTree, FormatError, type TreeEntry } from "../../worker/format/file-tree.ts";
import { type BlockSource, imageSource, type SparseImage } from "../../worker/format/sparse-image.ts";
import { bootGuest, buildTestInitramfs } from "../machine/guest.ts";
import { memoryDrive } from "../machine/memory-drive.ts";
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

function bytesSource(bytes: Uint8Array): BlockSource {
  return {
    size: bytes.length,
    async read(offset, length) {
      if (offset < 0 || length < 0 || offset + length > bytes.length)
        throw new Error(`Cannot read ${length} at ${offset}`);
      return bytes.slice(offset, offset + length);
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
function freeBytes(path: string): number {
  const header = execFileSync("/sbin/dumpe2fs", ["-h", path], { encoding: "utf8", stdio: ["pipe", "pipe", "ignore"] });
  const number = (name: string): number => Number(new RegExp(`^${name}: +(\\d+)$`, "m").exec(header)?.[1]);
  return number("Free blocks") * number("Block size");
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

/** Sum and place of each byte; contents are compared by it where there are many. */
function hash(bytes: Uint8Array): string {
  let low = 1;
  let high = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    low = (low + (bytes[at] as number)) % 0xffff_fffb;
    high = (high + low) % 0xffff_fffb;
  }
  return `${low.toString(16)}-${high.toString(16)}`;
}

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
  ftruncateSync(sparse, 90 * MIB);
  for (const at of [0, 300_000, 5 * MIB, 80 * MIB]) writeSync(sparse, pattern(5000, at), 0, 5000, at);
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
      expect(reader.freeBytes).toBe(freeBytes(path));
      expect(reader.usedBytes + reader.freeBytes).toBe(reader.size);
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
    ["revision 0", ["-r", "0", "-O", "none", "-t", "ext2"]],
    ["64 KiB blocks", ["-b", "65536"]],
    ["mmp", ["-O", "mmp"]],
  ])("with %s", async (_, options) => {
    const from = mkdtempSync(join(scratch, "small-"));
    for (let index = 0; index < 90; index += 1) writeFileSync(join(from, `name-${index}`), pattern(index * 40, index));
    const path = mke2fs("features", "64M", "-t", "ext4", ...options, "-d", from);
    const reader = await openExt(fileSource(path));
    expect(withoutNumbers(await readerFacts(reader))).toEqual(withoutNumbers(hostFacts(from)));
    expect(reader.freeBytes).toBe(freeBytes(path));
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
      "chown -h 3000000000:4000000000 link-60; python3 -c \"import socket as s; s.socket(s.AF_UNIX).bind('sock')\"",
    );
  };

  it.each([
    ["ext2", 1024, 128],
    ["ext3", 1024, 256],
    ["ext4", 1024, 256],
    ["ext4", 4096, 256],
    ["ext3", 4096, 128],
  ] as const)("on %s with blocks of %i and inodes of %i bytes", async (kind, block, inode) => {
    const path = mke2fs("linux", "64M", "-t", kind, "-b", `${block}`, "-I", `${inode}`, "-N", "12000");
    const expected = withMount(path, "noatime", (at) => {
      populate(at, block === 1024 ? 6000 : 3000, 70);
      if (kind === "ext4")
        shell(at, "fallocate -l 300000 unwritten; printf x | dd of=unwritten bs=1 seek=150000 conv=notrunc");
      shell(at, "sync -f .");
      return hostFacts(at);
    });
    const reader = await openExt(fileSource(path));
    expect(reader.wasReplayed).toBe(false);
    expect(reader.freeBytes).toBe(freeBytes(path));
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
    ["ext4", ["-b", "4096", "-O", "^metadata_csum,^64bit"], "journal_async_commit"],
  ] as const)("on %s %j %s without unmounting it", async (kind, options, mountOptions) => {
    const path = mke2fs("mounted", "48M", "-t", kind, ...options);
    const copy = join(scratch, "copied");
    const early = withMount(path, `noatime,commit=300,${mountOptions}`, (at) => {
      makeAwkward(at);
      // A journal of 1 MB goes round several times; directories that go leave revocations behind.
      for (let round = 0; round < 40; round += 1)
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
    expect(reader.freeBytes).toBe(freeBytes(fixed));
  });

  it("is refused where changes are in fast commits alone", async () => {
    const path = mke2fs("fast", "48M", "-t", "ext4", "-O", "fast_commit");
    const copy = join(scratch, "fast-copied");
    withMount(path, "commit=300", (at) => {
      shell(at, "sync -f .; for i in 1 2 3; do echo $i >file-$i; sync file-$i; done");
      copyFileSync(path, copy);
    });
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

/** The journal of an image of 1024-byte blocks, and where its log is; what is made of it must be in one piece. */
function journalOf(path: string): { start: number; length: number } {
  const blocks = /\(\d+-\d+\):(\d+)-(\d+)|\(0-(?:\d+)\):(\d+)/.exec(debugfs(path, "stat <8>"));
  const all = debugfs(path, "blocks <8>").match(/\d+/g)?.slice(1).map(Number) ?? [];
  expect(blocks).not.toBeNull();
  return { start: all[0] as number, length: all.length };
}
