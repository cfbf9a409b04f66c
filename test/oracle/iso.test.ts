/** The CD, judged by xorriso, by Linux, and by QEMU, which starts it. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FileTree } from "../../worker/format/file-tree.ts";
import { encodeIso } from "../../worker/format/iso9660.ts";
import { composeIso } from "../../worker/iso.ts";
import { composeTree } from "../../worker/recipe.ts";
import { defaults, readParts, readSystem } from "../machine/guest.ts";
import { startQemu } from "../machine/qemu.ts";
import { scratchFolder, writeStream } from "./images.ts";

const scratch = scratchFolder("iso");
const owner = { uid: 0, gid: 0, mtime: 0 };

async function* stream(parts: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* parts;
}

function sample(): FileTree {
  const tree = new FileTree();
  const file = (path: string, length: number, mode = 0o644): void =>
    tree.add({ ...owner, path, kind: "file", mode, content: new Uint8Array(length).fill(path.length) });
  file("/boot/image.bin", 3001, 0o755);
  file("/empty", 0);
  file("/a/b/c/d/deep.txt", 2048);
  file("/Long name with ä, and.two.dots", 2049);
  for (let index = 0; index < 60; index += 1) file(`/many/some-file-with-a-name-${index}.text`, index);
  return tree;
}

describe("a CD", () => {
  it("is read by xorriso with its names, modes and contents", async () => {
    const path = await writeStream(
      join(scratch, "sample.iso"),
      stream(encodeIso(sample(), { label: "SAMPLE", boot: "/boot/image.bin" })),
    );
    const report = execFileSync(
      "xorriso",
      ["-abort_on", "SORRY", "-indev", path, "-report_el_torito", "plain", "-lsl", "/many"],
      {
        encoding: "utf8",
        stdio: "pipe",
      },
    );
    expect(report).toMatch(/El Torito boot img : +1 +BIOS +y +none/);
    expect(report).toContain("some-file-with-a-name-59.text");
    const folder = mkdtempSync(join(scratch, "out-"));
    execFileSync("xorriso", ["-osirrox", "on", "-indev", path, "-extract", "/", join(folder, "all")], {
      stdio: "pipe",
    });
    for (const entry of sample().sorted()) {
      if (entry.kind !== "file" || entry.path === "/boot/image.bin") continue;
      expect(Buffer.compare(readFileSync(join(folder, "all", entry.path)), entry.content), entry.path).toBe(0);
    }
    // Where the file lies, and its sum: what mkisofs writes with -boot-info-table.
    const boot = readFileSync(join(folder, "all/boot/image.bin"));
    expect([boot.readUInt32LE(8), boot.readUInt32LE(16)]).toEqual([16, 3001]);
  });

  it("refuses what it cannot hold", () => {
    const encode = (tree: FileTree): unknown => [...encodeIso(tree, { label: "X", boot: "/boot/image.bin" })];
    const tree = sample();
    tree.add({ ...owner, path: "/link", kind: "symlink", mode: 0o777, target: "x" });
    expect(() => encode(tree)).toThrow("Cannot put /link on a CD: it is a symlink");
    const long = sample();
    long.add({ ...owner, path: `/${"n".repeat(200)}`, kind: "file", mode: 0o644, content: new Uint8Array(0) });
    expect(() => encode(long)).toThrow("its name is too long");
    expect(() => [...encodeIso(sample(), { label: "small", boot: "/x" })]).toThrow("Cannot label the CD small");
    expect(() => encode(new FileTree())).toThrow("it has no /boot/image.bin to start from");
  });

  it("made of a project, starts in QEMU to a shell", async () => {
    const tree = composeTree(readParts(), defaults, []);
    const parts = { kernel: readSystem("bzImage"), cd: readSystem("cd.img") };
    const options = { commandLine: "console=tty0 console=ttyS0 tsc=reliable mark=here", memoryMb: 128 };
    const path = await writeStream(join(scratch, "system.iso"), stream(composeIso(tree, parts, options)));
    const qemu = startQemu(["-cdrom", path]);
    try {
      await qemu.prompt();
      expect(await qemu.run("cat /proc/cmdline; blkid /dev/sr0", /SMART_OS/)).toContain("mark=here");
      // Linux reads the CD as well, by the names that Rock Ridge gives.
      const command =
        "modprobe isofs; mount -r /dev/sr0 /mnt; cmp /mnt/boot/initramfs /mnt/boot/initramfs && echo /mnt/boot/*; echo en''d";
      expect(await qemu.run(command, /^end/m)).toMatch(/boot\/grub \/mnt\/boot\/initramfs \/mnt\/boot\/vmlinuz/);
      await qemu.powerOff();
    } finally {
      qemu.kill();
    }
  }, 180_000);
});
