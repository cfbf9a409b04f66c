/** Files that are taken in: what they are said to be, what becomes of them, and changed ones by the thousand. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { gzipStream } from "../../worker/compress.ts";
import { encodeCpio } from "../../worker/format/cpio.ts";
import { FileTree } from "../../worker/format/file-tree.ts";
import { encodeTar, tarEntriesOf } from "../../worker/format/tar.ts";
import { inspectFile, openDisk, openKernel, openTree, overlayOf } from "../../worker/import.ts";
import { composeTree } from "../../worker/recipe.ts";
import { defaults, readParts, readSystem } from "../machine/guest.ts";
import { fuzz } from "../soak/mutants.ts";
import { bytesSource, collect, scratchFolder } from "./images.ts";

const MIB = 1024 * 1024;
const scratch = scratchFolder("import");
const options = { name: "a file" };
const file = (path: string) => bytesSource(readFileSync(join(scratch, path)));
const shell = (line: string): void => void execFileSync("sh", ["-ec", line], { cwd: scratch, stdio: "pipe" });

describe("what a file is", () => {
  it("is told of disk images, with file system and label", async () => {
    shell("truncate -s 8M ext.img; /sbin/mke2fs -q -t ext4 -L 'my data' ext.img; gzip -k ext.img");
    shell(
      "qemu-img convert -c -O qcow2 ext.img ext.qcow2; truncate -s 1M empty.img; printf x | dd of=odd.img bs=1 seek=1000 2>&1",
    );
    shell(
      "truncate -s 20M table.img; printf 'start=2048, type=83\\n' | /sbin/sfdisk -q table.img; dd if=ext.img of=table.img bs=1M seek=1 conv=notrunc 2>&1",
    );
    const content = { fileSystem: "ext4", label: "my data", partitions: 0, boots: false };
    expect(await inspectFile(file("ext.img"), options)).toEqual({
      kind: "disk",
      container: "raw",
      size: 8 * MIB,
      content,
    });
    expect(await inspectFile(file("ext.img.gz"), options)).toEqual({
      kind: "disk",
      container: "gzip",
      size: null,
      content,
    });
    expect(await inspectFile(file("ext.qcow2"), options)).toEqual({
      kind: "disk",
      container: "qcow2",
      size: 8 * MIB,
      content,
    });
    const table = { ...content, partitions: 1 };
    expect(await inspectFile(file("table.img"), options)).toMatchObject({ content: table });
    // Code alone starts nothing, nor does an active partition alone; GRUB needs none.
    shell("cp table.img code.img; printf '\\353\\143' | dd of=code.img conv=notrunc 2>&1");
    expect(await inspectFile(file("code.img"), options)).toMatchObject({ content: table });
    shell("cp table.img active.img; /sbin/sfdisk -q -A active.img 1");
    expect(await inspectFile(file("active.img"), options)).toMatchObject({ content: table });
    shell("printf '\\353\\143' | dd of=active.img conv=notrunc 2>&1");
    expect(await inspectFile(file("active.img"), options)).toMatchObject({ content: { ...table, boots: true } });
    shell("printf 'GRUB ' | dd of=code.img bs=1 seek=384 conv=notrunc 2>&1");
    expect(await inspectFile(file("code.img"), options)).toMatchObject({ content: { ...table, boots: true } });
    expect(await inspectFile(file("empty.img"), options)).toMatchObject({ content: { fileSystem: "empty" } });
    await expect(inspectFile(file("odd.img"), options)).rejects.toThrow(
      "Cannot open a file: it is none of the kinds that are known",
    );
    shell("qemu-img convert -O vmdk ext.img ext.vmdk");
    await expect(inspectFile(file("ext.vmdk"), options)).rejects.toThrow("Cannot open a file: it is a VMDK image");
    await expect(inspectFile(bytesSource(new Uint8Array(0)), options)).rejects.toThrow(
      "Cannot open a file: it is empty",
    );
    for (const name of ["ext.img", "ext.img.gz", "ext.qcow2"]) {
      const disk = await openDisk(file(name), options);
      const raw = Buffer.alloc(disk.size);
      for await (const { offset, bytes } of disk.extents()) raw.set(bytes, offset);
      expect(raw.equals(readFileSync(join(scratch, "ext.img"))), name).toBe(true);
    }
  });

  it("is told of kernels and archives", async () => {
    const kernel = bytesSource(readSystem("bzImage"));
    expect(await inspectFile(kernel, options)).toMatchObject({
      kind: "kernel",
      version: expect.stringMatching(/^6\.12/),
    });
    expect(Buffer.compare((await openKernel(kernel, options)).content, readSystem("bzImage"))).toBe(0);
    mkdirSync(join(scratch, "root/etc"), { recursive: true });
    writeFileSync(join(scratch, "root/etc/hostname"), "other\n");
    symlinkSync("hostname", join(scratch, "root/etc/link"));
    shell(
      "cd root; tar czf ../r.tgz .; tar cf ../r.tar etc; find . | cpio -o --quiet -H newc -F ../r.cpio; gzip -k ../r.cpio",
    );
    for (const [name, container, isPacked] of [
      ["r.tgz", "tar", true],
      ["r.tar", "tar", false],
      ["r.cpio", "cpio", false],
      ["r.cpio.gz", "cpio", true],
    ] as const) {
      expect(await inspectFile(file(name), options)).toEqual({ kind: "files", container, isPacked });
      const tree = await openTree(file(name), options);
      expect(Buffer.from((tree.get("/etc/hostname") as { content: Uint8Array }).content).toString()).toBe("other\n");
      expect(tree.get("/etc/link")).toMatchObject({ target: "hostname" });
    }
  });
});

describe("a root file system as a project", () => {
  const base = composeTree(readParts(), defaults, []);

  it("is what differs from the default, and becomes the same tree again", async () => {
    const overlay = [
      { path: "/etc/hostname", kind: "file", mode: 0o644, content: new TextEncoder().encode("other\n") },
      { path: "/etc/inittab", kind: "deleted" },
      { path: "/srv/new", kind: "directory", mode: 0o700 },
      { path: "/srv/new/link", kind: "symlink", mode: 0o777, target: "../x" },
    ] as const;
    const wanted = composeTree(readParts(), defaults, overlay);
    for (const archive of [encodeCpio(wanted), await collect(gzipStream(encodeTar(tarEntriesOf(wanted))))]) {
      const read = overlayOf(await openTree(bytesSource(archive), options), base);
      expect(read.map(({ path, kind }) => [path, kind])).toEqual([
        ["/etc/hostname", "file"],
        ["/etc/inittab", "deleted"],
        ["/srv", "directory"],
        ["/srv/new", "directory"],
        ["/srv/new/link", "symlink"],
      ]);
      expect(Buffer.compare(encodeCpio(composeTree(readParts(), defaults, read)), encodeCpio(wanted))).toBe(0);
    }
  });

  it("is refused with links out of it, control characters, and pipes", async () => {
    const open = async (change: (tree: FileTree) => void): Promise<unknown> => {
      const tree = new FileTree();
      change(tree);
      return overlayOf(await openTree(bytesSource(encodeCpio(tree)), options), base);
    };
    const owner = { uid: 0, gid: 0, mtime: 0, mode: 0o644 };
    await expect(
      open((tree) => tree.add({ ...owner, path: "/a/b", kind: "symlink", target: "../../etc" })),
    ).rejects.toThrow("Cannot open a file: the symlink /a/b leads out of the root (../../etc)");
    await expect(open((tree) => tree.add({ ...owner, path: "/a\u001b", kind: "directory" }))).rejects.toThrow(
      "Cannot open a file: the path /a\\x1b has a control character in it",
    );
    await expect(open((tree) => tree.add({ ...owner, path: "/p", kind: "fifo" }))).rejects.toThrow(
      "Cannot take /p: it is a fifo",
    );
  });

  it("is refused when it unpacks to more than there may be", async () => {
    const bomb = gzipSync(Buffer.concat([encodeCpio(new FileTree()), Buffer.alloc(257 * MIB)]), { level: 1 });
    expect(bomb.length).toBeLessThan(2 * MIB);
    await expect(openTree(bytesSource(bomb), options)).rejects.toThrow(
      "Cannot open a file: unpacked it has more than the 268435456 bytes that it may have",
    );
  });
});

describe("files of strangers", () => {
  it("are taken or refused in words, a thousand changed ones", async () => {
    const report = await fuzz(1000, 1);
    expect(report.taken + report.refused).toBe(1000);
    // Most changes do harm, and some do not.
    expect(report.refused).toBeGreaterThan(300);
    expect(report.taken).toBeGreaterThan(30);
    expect(report.grownMb).toBeLessThan(256);
  });
});
