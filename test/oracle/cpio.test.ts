import { execFileSync } from "node:child_process";
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { decodeCpio, encodeCpio } from "../../worker/format/cpio.ts";
import { FileTree } from "../../worker/format/file-tree.ts";
import { describeTree, trees } from "./trees.ts";

const scratch = mkdtempSync(join(tmpdir(), "smart-os-cpio-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const isRoot = process.getuid?.() === 0;
const owner = { uid: 0, gid: 0, mtime: 1_700_000_000 };

function extract(archive: Uint8Array): string {
  const folder = mkdtempSync(join(scratch, "out-"));
  execFileSync("cpio", ["-idm", "--quiet", "--no-absolute-filenames"], { cwd: folder, input: archive });
  return folder;
}

/** Every kind of entry; device nodes need root, as for GNU cpio itself. */
function sample(): FileTree {
  const tree = new FileTree();
  tree.add({
    ...owner,
    path: "/etc/init.d/rcS",
    kind: "file",
    mode: 0o755,
    content: Buffer.from("#!/bin/sh\necho hello\n"),
  });
  tree.add({ ...owner, path: "/bin/su", kind: "file", mode: 0o4755, content: Buffer.alloc(5000, 7) });
  tree.add({ ...owner, path: "/bin/sh", kind: "symlink", mode: 0o777, target: "/bin/busybox" });
  tree.add({ ...owner, path: "/a", kind: "hardlink", mode: 0o644, target: "/z" });
  tree.add({ ...owner, path: "/z", kind: "file", mode: 0o644, content: Buffer.from("linked") });
  tree.add({ ...owner, path: "/tmp", kind: "directory", mode: 0o1777 });
  tree.add({ ...owner, path: "/run/pipe", kind: "fifo", mode: 0o600 });
  tree.add({ ...owner, path: "/文件", kind: "file", mode: 0o600, content: Buffer.from("内容") });
  if (isRoot) {
    tree.add({ ...owner, path: "/dev/console", kind: "device", device: "character", major: 5, minor: 1, mode: 0o600 });
    tree.add({ ...owner, path: "/dev/sda1", kind: "device", device: "block", major: 8, minor: 1, mode: 0o660, gid: 6 });
  }
  return tree;
}

describe("cpio judged by GNU cpio", () => {
  it("lists our archive entry by entry", () => {
    const listing = execFileSync("cpio", ["-itv", "--quiet"], {
      input: encodeCpio(sample()),
      encoding: "utf8",
      env: { ...process.env, LC_ALL: "C", TZ: "UTC" },
    });
    const lines = listing.trim().split("\n");
    expect(lines).toHaveLength(sample().size - 1);
    expect(listing).toMatch(/^-rwxr-xr-x +1 root +root +21 Nov 14 +2023 etc\/init\.d\/rcS$/m);
    expect(listing).toMatch(/^-rwsr-xr-x .* 5000 .*bin\/su$/m);
    expect(listing).toMatch(/^lrwxrwxrwx .*bin\/sh -> \/bin\/busybox$/m);
    expect(listing).toMatch(/^drwxrwxrwt .*tmp$/m);
    expect(listing).toMatch(/^prw------- .*run\/pipe$/m);
    expect(listing).toMatch(/^-rw-r--r-- +2 .*\bz$/m);
    if (isRoot) expect(listing).toMatch(/^brw-rw---- +1 root +disk +8, +1 .*dev\/sda1$/m);
  });

  it("extracts our archive to the same files, modes, owners, times and links", () => {
    const folder = extract(encodeCpio(sample()));
    for (const entry of sample().sorted()) {
      if (entry.path === "/") continue;
      const status = lstatSync(join(folder, entry.path));
      const real = entry.kind === "hardlink" ? sample().get(entry.target) : entry;
      if (entry.kind !== "symlink") expect(status.mode & 0o7777, entry.path).toBe(real?.mode);
      // GNU cpio sets no times on symlinks, and directories change while they are filled.
      if (entry.kind !== "directory" && entry.kind !== "symlink")
        expect(Math.floor(status.mtimeMs / 1000), entry.path).toBe(real?.mtime);
      if (isRoot) expect([status.uid, status.gid], entry.path).toEqual([real?.uid, real?.gid]);
      if (real?.kind === "file")
        expect(readFileSync(join(folder, entry.path)), entry.path).toEqual(Buffer.from(real.content));
      if (entry.kind === "symlink") expect(readlinkSync(join(folder, entry.path))).toBe(entry.target);
      // The kernel's encoding of a device number: 8 bits of minor, then 12 of major.
      if (entry.kind === "device") expect(status.rdev).toBe((entry.major << 8) | entry.minor);
    }
    expect(lstatSync(join(folder, "a")).ino).toBe(lstatSync(join(folder, "z")).ino);
  });

  it("reads what GNU cpio wrote, newc and crc", () => {
    const folder = mkdtempSync(join(scratch, "in-"));
    mkdirSync(join(folder, "d/e"), { recursive: true });
    writeFileSync(join(folder, "d/e/file"), Buffer.from([0, 1, 2, 255]));
    chmodSync(join(folder, "d/e/file"), 0o4711);
    linkSync(join(folder, "d/e/file"), join(folder, "d/linked"));
    symlinkSync("e/file", join(folder, "d/link"));
    writeFileSync(join(folder, "empty"), "");
    utimesSync(join(folder, "empty"), 1_600_000_000, 1_600_000_000);
    for (const format of ["newc", "crc"]) {
      const archive = execFileSync("sh", ["-c", `find . | cpio -o --quiet -H ${format}`], {
        cwd: folder,
        maxBuffer: 1 << 26,
      });
      const tree = decodeCpio(archive);
      const lines = describeTree(tree);
      expect(lines["/d/e/file"]).toMatch(/^file 4711 .* 000102ff$/);
      expect(lines["/d/linked"]).toBe(lines["/d/e/file"]);
      expect(lines["/d/link"]).toMatch(/ e\/file$/);
      expect(tree.get("/empty")).toMatchObject({ kind: "file", mtime: 1_600_000_000 });
    }
  });

  it("agrees with GNU cpio on random trees", () => {
    fc.assert(
      fc.property(trees, (tree) => {
        const listing = execFileSync("cpio", ["-it", "--quiet", "--null"], { input: encodeCpio(tree) }).toString();
        expect(listing.split("\0").filter(Boolean)).toHaveLength(tree.size - 1);
      }),
      { numRuns: 40 },
    );
  });

  it("writes 20,000 files", () => {
    const tree = new FileTree();
    for (let index = 0; index < 20_000; index += 1)
      tree.add({
        ...owner,
        path: `/many/file-${index}`,
        kind: "file",
        mode: 0o644,
        content: Buffer.from(String(index)),
      });
    const listing = execFileSync("cpio", ["-it", "--quiet"], {
      input: encodeCpio(tree),
      encoding: "utf8",
      maxBuffer: 1 << 26,
    });
    expect(listing.trim().split("\n")).toHaveLength(20_001);
  });
});
