import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gzipStream } from "../../worker/compress.ts";
import { FileTree } from "../../worker/format/file-tree.ts";
import { decodeTar, encodeTar, isTar, tarEntriesOf } from "../../worker/format/tar.ts";
import { composeTree } from "../../worker/recipe.ts";
import { defaults, readParts } from "../machine/guest.ts";
import { collect, scratchFolder, writeStream } from "./images.ts";
import { describeTree, trees } from "./trees.ts";

const scratch = scratchFolder("tar");
const owner = { uid: 0, gid: 0, mtime: 1_700_000_000 };
const pack = (tree: FileTree): Promise<Uint8Array<ArrayBuffer>> => collect(encodeTar(tarEntriesOf(tree)));

function sample(): FileTree {
  const tree = new FileTree();
  const file = (path: string, content: string | Buffer, mode = 0o644): void =>
    tree.add({ ...owner, path, kind: "file", mode, content: Buffer.from(content) });
  file("/etc/init.d/rcS", "#!/bin/sh\n", 0o755);
  file("/bin/su", Buffer.alloc(5000, 7), 0o4755);
  file(`/${"d".repeat(90)}/${"e".repeat(90)}`, "by prefix");
  file(`/${"long/".repeat(60)}name`, "by pax");
  file(`/${"n".repeat(255)}`, "one name");
  file("/文件", "内容");
  file("/z", "linked");
  tree.add({ ...owner, path: "/a", kind: "hardlink", mode: 0o644, target: "/z" });
  tree.add({ ...owner, path: "/bin/sh", kind: "symlink", mode: 0o777, target: "/bin/busybox" });
  tree.add({ ...owner, path: "/far", kind: "symlink", mode: 0o777, target: `/${"t".repeat(200)}` });
  tree.add({ ...owner, path: "/tmp", kind: "directory", mode: 0o1777, uid: 3_000_000, gid: 70_000 });
  tree.add({ ...owner, path: "/run/pipe", kind: "fifo", mode: 0o600 });
  tree.add({ ...owner, path: "/dev/console", kind: "device", device: "character", major: 5, minor: 1, mode: 0o600 });
  tree.add({ ...owner, path: "/dev/sda1", kind: "device", device: "block", major: 8, minor: 1, mode: 0o660, gid: 6 });
  tree.add({ ...owner, path: "/old", kind: "directory", mode: 0o755, mtime: 0xffff_ffff });
  return tree;
}

describe("tar judged by GNU tar", () => {
  it("lists our archive entry by entry", async () => {
    const path = await writeStream(join(scratch, "sample.tar.gz"), gzipStream(encodeTar(tarEntriesOf(sample()))));
    const listing = execFileSync("tar", ["-tvf", path, "--numeric-owner"], {
      encoding: "utf8",
      env: { ...process.env, LC_ALL: "C.UTF-8", TZ: "UTC" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    expect(listing.trim().split("\n")).toHaveLength(sample().size - 1);
    expect(listing).toMatch(/^-rwsr-xr-x 0\/0 +5000 2023-11-14 22:13 bin\/su$/m);
    expect(listing).toMatch(/^lrwxrwxrwx .* bin\/sh -> \/bin\/busybox$/m);
    expect(listing).toMatch(/^drwxrwxrwt 3000000\/70000 .* tmp\/$/m);
    expect(listing).toMatch(/^crw------- 0\/0 +5,1 .* dev\/console$/m);
    expect(listing).toMatch(/^brw-rw---- 0\/6 +8,1 .* dev\/sda1$/m);
    expect(listing).toMatch(/^-rw-r--r-- .* a$/m);
    expect(listing).toMatch(/^hrw-r--r-- .* z link to a$/m);
    expect(listing).toContain("文件");
    expect(listing).toMatch(/^drwxr-xr-x .* 2106-02-07 06:28 old\/$/m);
  });

  it("is unpacked by it to the same files", async () => {
    const folder = mkdtempSync(join(scratch, "out-"));
    execFileSync("tar", ["-xpf", "-", "-C", folder], {
      input: await pack(sample()),
      stdio: ["pipe", "pipe", "inherit"],
    });
    for (const entry of sample().sorted()) {
      const path = join(folder, entry.path);
      const status = lstatSync(path);
      const real = entry.kind === "hardlink" ? sample().get(entry.target) : entry;
      if (entry.path === "/") continue;
      if (entry.kind !== "symlink") expect(status.mode & 0o7777, entry.path).toBe(real?.mode);
      expect([status.uid, status.gid, status.mtimeMs / 1000], entry.path).toEqual([real?.uid, real?.gid, real?.mtime]);
      if (real?.kind === "file") expect(readFileSync(path), entry.path).toEqual(real.content);
      if (entry.kind === "symlink") expect(readlinkSync(path)).toBe(entry.target);
      if (entry.kind === "device") expect(status.rdev).toBe((entry.major << 8) | entry.minor);
    }
    expect(lstatSync(join(folder, "a")).ino).toBe(lstatSync(join(folder, "z")).ino);
  });

  it.each(["pax", "gnu", "ustar", "v7"])("reads what GNU tar wrote as %s", async (format) => {
    const folder = mkdtempSync(join(scratch, "in-"));
    const tree = new FileTree();
    for (const entry of sample().sorted()) {
      const name = entry.path.slice(1);
      const isLong = name.length > 90 || (entry.kind === "symlink" && entry.target.length > 90);
      const isLarge = entry.uid > 2_000_000;
      // What the older formats cannot hold.
      if ((format === "ustar" || format === "v7") && (isLong || isLarge)) continue;
      if (format === "v7" && (entry.kind === "device" || entry.kind === "fifo")) continue;
      tree.replace(entry);
    }
    execFileSync("tar", ["-xpf", "-", "-C", folder], { input: await pack(tree), stdio: ["pipe", "pipe", "inherit"] });
    const archive = execFileSync("tar", ["-cf", "-", "-C", folder, `--format=${format}`, "--sort=name", "."], {
      maxBuffer: 1 << 26,
    });
    expect(isTar(archive)).toBe(true);
    const read = describeTree(decodeTar(archive));
    const wanted = describeTree(tree);
    // Directories that were only implied got their time from the clock.
    for (const [path, line] of Object.entries(wanted))
      if (!/^directory 755 0:0 0 /.test(line)) expect(read[path], path).toBe(line);
    expect(Object.keys(read).sort()).toEqual(Object.keys(wanted).sort());
  });

  it("gives random trees back", async () => {
    await fc.assert(
      fc.asyncProperty(trees, async (tree) => {
        const archive = await pack(tree);
        expect(describeTree(decodeTar(archive))).toEqual(describeTree(tree));
        const listing = execFileSync("tar", ["-tf", "-", "--quoting-style=literal", "--null"], {
          input: archive,
          stdio: "pipe",
        });
        expect(listing.length).toBeGreaterThanOrEqual(tree.size - 1);
      }),
      { numRuns: 40, seed: 3 },
    );
  });
});

describe("the root file system", () => {
  it("runs /bin/sh in a chroot, as a container would", async () => {
    const folder = mkdtempSync(join(scratch, "root-"));
    const tree = composeTree(readParts(), defaults, []);
    const path = await writeStream(join(scratch, "root.tar.gz"), gzipStream(encodeTar(tarEntriesOf(tree))));
    execFileSync("tar", ["-xpzf", path, "-C", folder]);
    const output = execFileSync(
      "/usr/sbin/chroot",
      [folder, "/bin/sh", "-c", "cat /etc/hostname; ls /etc/init.d/rcS; uname -m"],
      {
        encoding: "utf8",
      },
    );
    expect(output).toMatch(/^smart-os\n\/etc\/init.d\/rcS\n/);
    expect(existsSync(join(folder, "dev/console"))).toBe(true);
    rmSync(folder, { recursive: true });
  });
});

describe("hostile archives are refused in words", () => {
  const header = async (change: (bytes: Buffer) => void): Promise<Uint8Array> => {
    const tree = new FileTree();
    tree.add({ ...owner, path: "/file", kind: "file", mode: 0o644, content: Buffer.from("content") });
    const bytes = Buffer.from(await pack(tree));
    change(bytes);
    bytes.fill(" ", 148, 156);
    let sum = 0;
    for (const byte of bytes.subarray(0, 512)) sum += byte;
    bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    return bytes;
  };

  it.each([
    ["a path that leads out", (b: Buffer) => b.write("../etc/passwd", 0), /Cannot use the path \/\.\.\/etc\/passwd/],
    [
      "a content that is cut off",
      (b: Buffer) => b.write("77777777777", 124),
      /at byte 0, 8589934591 bytes of content are announced/,
    ],
    ["a sparse file", (b: Buffer) => b.write("S", 156), /is of the kind S, which is not known/],
    ["a link to nothing", (b: Buffer) => b.write("1nowhere", 156), /is a link to nowhere, which is no file before it/],
    ["a link to itself", (b: Buffer) => b.write("1file", 156), /which is no file before it/],
    ["a number that is none", (b: Buffer) => b.write("12x4", 100), /a number is not octal/],
    ["a huge number", (b: Buffer) => b.fill(0xff, 124, 136), /a number is too large/],
    ["a name that is not UTF-8", (b: Buffer) => b.fill(0xff, 0, 2), /a name is not UTF-8/],
  ])("%s", async (_, change, message) => {
    const bytes = await header(change);
    expect(() => decodeTar(bytes)).toThrow(message);
  });

  it("a damaged sum, a cut, too many directories, a file below a symlink", async () => {
    const tree = new FileTree();
    tree.add({ ...owner, path: `/${"d/".repeat(500)}file`, kind: "file", mode: 0o644, content: Buffer.alloc(600) });
    const bytes = await pack(tree);
    expect(() => decodeTar(bytes, 100)).toThrow("there are more than 100 files and directories");
    expect(() => decodeTar(bytes.subarray(0, 1000))).toThrow("at byte 512, the archive is cut off");
    const damaged = bytes.slice();
    damaged[5] = 0x41;
    expect(() => decodeTar(damaged)).toThrow("at byte 0, there is no header, its sum is wrong");
    const first = new FileTree();
    first.add({ ...owner, path: "/a", kind: "symlink", mode: 0o777, target: "/etc" });
    const second = new FileTree();
    second.add({ ...owner, path: "/a/passwd", kind: "file", mode: 0o644, content: Buffer.from("x") });
    const [link, rest] = [await pack(first), await pack(second)];
    expect(() => decodeTar(Buffer.concat([link.subarray(0, -1024), rest.subarray(512)]))).toThrow(
      "/a is a symlink, not a directory",
    );
  });
});

describe("writers", () => {
  it("refuse a content that is shorter than announced", async () => {
    async function* content(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(3);
    }
    const archive = encodeTar([{ ...owner, path: "/f", kind: "file", mode: 0o644, size: 4, content: content() }]);
    await expect(collect(archive)).rejects.toThrow("Cannot write /f: it has 3 bytes instead of 4");
  });
});
