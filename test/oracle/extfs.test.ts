/** Our ext2, ext3 and ext4 against e2fsck, debugfs and dumpe2fs. */
import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { type ExtKind, type ExtOptions, encodeExt } from "../../worker/format/extfs.ts";
import { FileTree, type TreeEntry } from "../../worker/format/file-tree.ts";
import type { SparseImage } from "../../worker/format/sparse-image.ts";
import { trees } from "./trees.ts";

const MIB = 1024 * 1024;
const scratch = mkdtempSync(join(tmpdir(), "smart-os-extfs-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const uuid = Uint8Array.from({ length: 16 }, (_, index) => index * 16 + 1);
const KINDS: readonly ExtKind[] = ["ext2", "ext3", "ext4"];
const options = (change: Partial<ExtOptions>): ExtOptions => ({
  kind: "ext4",
  size: 64 * MIB,
  uuid,
  label: "smart",
  time: 1_700_000_000,
  ...change,
});
const OWNER = { uid: 0, gid: 0, mtime: 1_600_000_000 };
const file = (path: string, content: Uint8Array, mode = 0o644): TreeEntry => ({
  path,
  kind: "file",
  content,
  mode,
  ...OWNER,
});
const tree = (...entries: TreeEntry[]): FileTree => {
  const made = new FileTree();
  for (const entry of entries) made.add(entry);
  return made;
};

function write(image: SparseImage, name = "image"): string {
  const path = join(scratch, name);
  const handle = openSync(path, "w");
  ftruncateSync(handle, image.size);
  for (const { offset, bytes } of image.extents) writeSync(handle, bytes, 0, bytes.length, offset);
  closeSync(handle);
  return path;
}

function check(path: string): void {
  const { status, stdout, stderr } = spawnSync("/sbin/e2fsck", ["-fn", path], { encoding: "utf8" });
  expect({ status, output: status === 0 ? "" : stdout + stderr }).toEqual({ status: 0, output: "" });
}

const debugfs = (path: string, ...requests: string[]): string =>
  execFileSync("/sbin/debugfs", ["-f", "-", path], {
    input: `${requests.join("\n")}\n`,
    encoding: "utf8",
    stdio: ["pipe", "pipe", "ignore"],
    maxBuffer: 1 << 28,
  });

/** What debugfs' stat says of a file, as far as the tree says it. */
function facts(
  path: string,
  names: readonly string[],
): {
  type: string;
  mode: string;
  user: string;
  group: string;
  size: string;
  links: string;
  mtime: string;
  device: string;
  target: string;
}[] {
  const output = debugfs(path, ...names.map((name) => `stat "${name}"`));
  return output
    .split(/^debugfs: stat .*$/m)
    .slice(1)
    .map((text) => {
      const find = (pattern: RegExp): string => pattern.exec(text)?.[1] ?? "";
      return {
        type: find(/Type: (\S+(?: \S+)?) {2,}Mode/),
        mode: find(/Mode: +(\d+)/),
        user: find(/User: +(\d+)/),
        group: find(/Group: +(\d+)/),
        size: find(/Size: (\d+)/),
        links: find(/Links: (\d+)/),
        mtime: find(/mtime: 0x([0-9a-f]+)/),
        device: find(/Device major\/minor number: (\d+:\d+)/),
        target: find(/Fast link dest: "(.*)"/),
      };
    });
}

describe.each(KINDS)("%s", (kind) => {
  it("is clean and holds what the tree holds, for random trees of every kind of entry", () => {
    fc.assert(
      fc.property(trees, fc.constantFrom(8, 40, 200), (made, sizeMb) => {
        const path = write(encodeExt(made, options({ kind, size: sizeMb * MIB })));
        check(path);
        const entries = made.sorted().filter(({ path: name }) => !/["\\\n]/.test(name) && name !== "/");
        const found = facts(
          path,
          entries.map(({ path: name }) => name),
        );
        expect(found).toHaveLength(entries.length);
        for (const [index, entry] of entries.entries()) {
          const own = entry.kind === "hardlink" ? (made.get(entry.target) as TreeEntry) : entry;
          const have = found[index];
          expect(have, entry.path).toMatchObject({
            mode: `0${own.mode.toString(8).padStart(3, "0")}`,
            user: String(own.uid),
            group: String(own.gid),
            mtime: own.mtime.toString(16).padStart(8, "0"),
          });
          if (own.kind === "file") expect(have?.size, entry.path).toBe(String(own.content.length));
          if (own.kind === "device")
            expect(have?.device, entry.path).toBe(
              `${String(own.major).padStart(2, "0")}:${String(own.minor).padStart(2, "0")}`,
            );
        }
      }),
      { numRuns: 170, seed: 7 },
    );
  }, 120_000);

  it("gives contents of all sizes back, around each edge of a block and of a map", () => {
    const sizes = [0, 1, 1023, 1024, 1025, 12 * 1024, 12 * 1024 + 1, 268 * 1024, 268 * 1024 + 1, 3_000_000];
    const contents = sizes.map((size) => Uint8Array.from({ length: size }, (_, index) => (index * 31 + size) & 0xff));
    for (const sizeMb of [16, 160]) {
      const made = tree(...contents.map((content, index) => file(`/d/${index}`, content)));
      const path = write(encodeExt(made, options({ kind, size: sizeMb * MIB })));
      check(path);
      const out = mkdtempSync(join(scratch, "out-"));
      debugfs(path, `rdump /d ${out}`);
      for (const [index, content] of contents.entries())
        expect(Buffer.compare(readFileSync(join(out, "d", String(index))), content), `${sizes[index]} bytes`).toBe(0);
    }
  });

  it("holds 20,000 names in one directory", () => {
    const names = Array.from({ length: 20_000 }, (_, index) => `/many/a-name-of-middling-length-${index}`);
    const made = tree(...names.map((name) => file(name, new Uint8Array())));
    const path = write(encodeExt(made, options({ kind, size: 256 * MIB })));
    check(path);
    const out = mkdtempSync(join(scratch, "many-"));
    debugfs(path, `rdump /many ${out}`);
    expect(readdirSync(join(out, "many"))).toHaveLength(20_000);
  });

  it("says how much does not fit, and takes what just fits", () => {
    const fill = (bytes: number): SparseImage =>
      encodeExt(tree(file("/big", new Uint8Array(bytes).fill(1))), options({ kind, size: 16 * MIB }));
    let fits = 0;
    let fails = 16 * MIB;
    while (fails - fits > 1) {
      const middle = (fits + fails) >> 1;
      try {
        fill(middle);
        fits = middle;
      } catch {
        fails = middle;
      }
    }
    expect(fits).toBeGreaterThan(10 * MIB);
    check(write(fill(fits)));
    expect(() => fill(fails)).toThrow(/Cannot fit \d+ MB of files: the file system has 16 MB/);
  });
});

describe("the writer", () => {
  it("keeps symlinks of 59 bytes in the inode, and longer ones in a block", () => {
    for (const length of [1, 59, 60, 61, 255, 1023]) {
      const target = "x".repeat(length);
      const path = write(encodeExt(tree({ path: "/l", kind: "symlink", target, mode: 0o777, ...OWNER }), options({})));
      check(path);
      const [have] = facts(path, ["/l"]);
      expect(have?.size).toBe(String(length));
      if (length <= 59) expect(have?.target).toBe(target);
    }
  });

  it("counts links", () => {
    const made = tree(file("/a", Uint8Array.of(1)), {
      path: "/b",
      kind: "hardlink",
      target: "/a",
      mode: 0o644,
      ...OWNER,
    });
    made.add({ path: "/d/e", kind: "directory", mode: 0o755, ...OWNER });
    made.add({ path: "/d/f", kind: "directory", mode: 0o755, ...OWNER });
    const path = write(encodeExt(made, options({})));
    check(path);
    expect(facts(path, ["/a", "/b", "/d", "/d/e"]).map(({ links }) => links)).toEqual(["2", "2", "4", "2"]);
  });

  it("is sparse: 4 GiB and 64 GiB with little on them", () => {
    for (const [gib, limit] of [
      [4, 3],
      [64, 12],
    ] as const) {
      const image = encodeExt(tree(file("/a", new Uint8Array(MIB).fill(1))), options({ size: gib * 1024 * MIB }));
      expect(image.extents.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBeLessThan(limit * MIB);
      check(write(image, "sparse"));
    }
  }, 120_000);

  it("has the features of mke2fs, but for those that are listed here", () => {
    const dump = (path: string): Record<string, string> =>
      Object.fromEntries(
        execFileSync("/sbin/dumpe2fs", ["-h", path], { encoding: "utf8", stdio: ["pipe", "pipe", "ignore"] })
          .split("\n")
          .map((line) => /^([^:]+):\s*(.*)$/.exec(line))
          .filter((match) => match !== null)
          .map((match) => [match[1] as string, match[2] as string]),
      );
    const ours = dump(write(encodeExt(new FileTree(), options({ size: 512 * MIB }))));
    const theirs = join(scratch, "theirs");
    execFileSync("truncate", ["-s", "512M", theirs]);
    execFileSync("/sbin/mke2fs", [
      "-q",
      "-t",
      "ext4",
      "-b",
      "4096",
      "-L",
      "smart",
      "-O",
      "^64bit,^metadata_csum,^resize_inode,^flex_bg,^orphan_file",
      theirs,
    ]);
    const reference = dump(theirs);
    const differing = Object.keys(reference).filter((name) => reference[name] !== ours[name]);
    // Times, random names, and two figures that the kernel works out for itself.
    expect(differing.sort()).toEqual(DIFFERING);
  });

  it.each([
    [{ label: "seventeen letters" }, "a label has at most 16 bytes"],
    [{ size: 20_000 }, "Cannot make a file system of 20000 bytes"],
    [{ size: MIB, kind: "ext4" as const }, "Cannot make a journal: the file system is too small; use ext2"],
    [{ uuid: new Uint8Array(4) }, "Cannot use a UUID of 4 bytes"],
  ])("refuses %j", (change, message) => {
    expect(() => encodeExt(new FileTree(), options(change))).toThrow(message);
  });
});

const DIFFERING = [
  "Directory Hash Seed",
  "Filesystem UUID",
  "Filesystem created",
  "Last checked",
  "Last write time",
  "Lifetime writes",
  "Overhead clusters",
];
