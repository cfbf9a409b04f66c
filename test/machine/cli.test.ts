/** The command line as a user has it: a process, its output, its exit status. */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { encodeBundle } from "../../worker/bundle.ts";
import { streamOf } from "../../worker/format/disk-stream.ts";
import { encodeExt } from "../../worker/format/extfs.ts";
import { FileTree } from "../../worker/format/file-tree.ts";
import type { SharedProject } from "../../worker/shared-project.ts";
import { scratchFolder, writeStream } from "../oracle/images.ts";
import { ROOT, readSystem } from "./guest.ts";
import { startQemu } from "./qemu.ts";

const scratch = scratchFolder("cli");
const PROGRAM = join(ROOT, "cli/smart-os.mjs");

function smartOs(...words: string[]): { status: number | null; out: string; error: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...words], {
    cwd: scratch,
    encoding: "utf8",
  });
  return { status, out: stdout, error: stderr };
}

const sha256 = (name: string): string =>
  createHash("sha256")
    .update(readFileSync(join(scratch, name)))
    .digest("hex");
const encoder = new TextEncoder();

const project: SharedProject = {
  ...{
    version: 1,
    name: "demo",
    components: [],
    commandLine: "console=tty0 console=ttyS0 tsc=reliable",
    memoryMb: 128,
  },
  ...{ network: { relay: null }, createdAt: 1, updatedAt: 2 },
  files: [
    { path: "/etc/hostname", kind: "file", mode: 0o644, content: encoder.encode("from-bundle\n") },
    { path: "/root/link", kind: "symlink", mode: 0o777, target: "/etc/hostname" },
  ],
  disks: [
    { id: "s", name: "system", kind: "system", fileSystem: "ext4", label: "sys", sizeMb: 48, drive: "sda" },
    { id: "d", name: "data", kind: "data", fileSystem: "ext2", label: "d", sizeMb: 4, drive: "sdb" },
  ],
};
const data = new FileTree();
data.add({
  path: "/kept",
  kind: "file",
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtime: 1,
  content: encoder.encode("written before\n"),
});
const dataDisk = encodeExt(data, {
  kind: "ext2",
  size: 4 * 2 ** 20,
  uuid: new Uint8Array(16).fill(3),
  label: "d",
  time: 1,
});
await writeStream(join(scratch, "demo.smartos"), encodeBundle(project, new Map([["d", streamOf(dataDisk)]])));

describe("smart-os", () => {
  it("helps, and refuses in words with a status of its own", () => {
    expect(smartOs("--help")).toMatchObject({
      status: 0,
      out: expect.stringContaining("npx smart-os build"),
      error: "",
    });
    for (const [words, message] of [
      [["frobnicate"], "Cannot frobnicate: the commands are build, run, inspect"],
      [["build"], "Cannot build: where to? -o FILE"],
      [["build", "-o", "x.doc"], "Cannot build x.doc: its name tells no kind"],
      [["build", "-o", "-"], "Cannot build to standard output: of which kind?"],
      [["build", "-o", "x.img", "--size", "0"], "Cannot build a disk of 0 MB"],
      [["run", "--json"], "Cannot run: it does not take --json"],
    ] as const) {
      const result = smartOs(...words);
      expect([result.status, result.error.split("\n")[0]], words.join(" ")).toEqual([
        2,
        expect.stringContaining(message),
      ]);
    }
    writeFileSync(join(scratch, "bad.smartos"), "PK\u0003\u0004 and nothing");
    expect(smartOs("build", "bad.smartos", "-o", "x.img")).toEqual({
      ...{ status: 1, out: "", error: "Cannot open bad.smartos: it is no zip archive, or cut off\n" },
    });
    expect(smartOs("inspect", "nowhere").error).toMatch(/^Cannot read nowhere: ENOENT/);
    expect(smartOs("build", "demo.smartos", "-o", "no/such/folder.img").error).toMatch(/^Cannot write no\/such/);
    expect(existsSync(join(scratch, "x.img"))).toBe(false);
  });

  it("builds every kind; a bundle, its unpacked folder and a second time give the same bytes", () => {
    execFileSync("unzip", ["-q", "demo.smartos", "-d", "unpacked"], { cwd: scratch });
    for (const kind of ["img", "qcow2", "vmdk", "tar.gz", "smartos"]) {
      expect(smartOs("build", "demo.smartos", "-q", "-o", `a.${kind}`), kind).toEqual({
        status: 0,
        out: "",
        error: "",
      });
      expect(smartOs("build", "unpacked", "-q", "-o", `b.${kind}`).status).toBe(0);
      // The descriptor of a vmdk has its own name in it.
      if (kind !== "vmdk") expect(sha256(`a.${kind}`), kind).toBe(sha256(`b.${kind}`));
    }
    expect(sha256("a.smartos")).toBe(sha256("demo.smartos"));
    for (const kind of ["qcow2", "vmdk"])
      expect(execFileSync("qemu-img", ["compare", `a.${kind}`, "a.img"], { cwd: scratch, encoding: "utf8" })).toContain(
        "identical",
      );
    expect(smartOs("inspect", "a.qcow2").out).toBe(
      'disk image: qcow2, 48.0 MiB; 1 partition with boot code, the first ext4 labelled "sys"\n',
    );
    expect(JSON.parse(smartOs("inspect", "--json", "demo.smartos").out)).toMatchObject({
      kind: "bundle",
      name: "demo",
      files: 2,
    });
    expect(smartOs("build", "demo.smartos", "-q", "--disk", "data", "-o", "data.img").status).toBe(0);
    execFileSync("/sbin/e2fsck", ["-fn", join(scratch, "data.img")], { stdio: "pipe" });
  });

  it("makes a swap partition where one is asked for", () => {
    expect(smartOs("build", "demo.smartos", "-q", "--swap", "8", "-o", "swap.img").status).toBe(0);
    const table = execFileSync("/sbin/sfdisk", ["-d", join(scratch, "swap.img")], { encoding: "utf8" });
    expect(table).toMatch(/swap\.img2 : start= *81920, size= *16384, type=82/);
    expect(smartOs("build", "demo.smartos", "--swap", "many", "-o", "swap.img").error).toMatch(
      /^Cannot build a swap partition of many MB: --swap takes 0 to \d+/,
    );
  });

  it("works in a pipe, and takes a plain folder", () => {
    mkdirSync(join(scratch, "folder/etc"), { recursive: true });
    writeFileSync(join(scratch, "folder/etc/hostname"), "from-folder\n");
    symlinkSync("hostname", join(scratch, "folder/etc/name"));
    const run = (line: string): string =>
      execFileSync("bash", ["-o", "pipefail", "-ec", line], { cwd: scratch, encoding: "utf8" });
    const node = `${process.execPath} ${PROGRAM}`;
    expect(run(`${node} build folder --format cpio -o - | cpio -i --quiet --to-stdout etc/hostname`)).toBe(
      "from-folder\n",
    );
    expect(run(`${node} build folder --format tar.gz -o - | tar -tvzf - | grep etc/name`)).toContain(
      "etc/name -> hostname",
    );
    run(`${node} build demo.smartos --format qcow2 -o - > piped.qcow2`);
    expect(sha256("piped.qcow2")).toBe(sha256("a.qcow2"));
    // Whoever has read enough may go.
    expect(run(`(${node} build folder --format img -o - || echo failed >&2) | head -c 3 | wc -c`).trim()).toBe("3");
  });

  it("runs a command in the guest: output, status, disks, and a guest that does not come up", () => {
    const command = "cat /etc/hostname; mount -r /dev/sdb /mnt; cat /mnt/kept; exit 7";
    expect(smartOs("run", "demo.smartos", "--command", command)).toEqual({
      status: 7,
      out: "from-bundle\nwritten before\n",
      error: "",
    });
    mkdirSync(join(scratch, "broken"));
    writeFileSync(join(scratch, "broken/init"), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
    const result = smartOs("run", "broken", "--command", "true");
    expect(result.status).toBe(125);
    expect(result.error).toMatch(
      /^Cannot run true: the guest did not come up\. The guest's last lines:\n[\s\S]*Kernel panic/,
    );
  }, 180_000);

  it("takes a kernel: bare, beside a project, and in a bundle", () => {
    const built = Buffer.from(readSystem("bzImage")).toString("latin1");
    const release = /6\.12\.\d+/.exec(built)?.[0] as string;
    writeFileSync(
      join(scratch, "vmlinuz"),
      Buffer.from(built.replaceAll(release, "6.12.999".slice(0, release.length)), "latin1"),
    );
    expect(smartOs("inspect", "vmlinuz").out).toMatch(/^kernel: bzImage, Linux 6\.12\.9/);
    expect(smartOs("build", "vmlinuz", "-q", "-o", "kernel.smartos")).toEqual({ status: 0, out: "", error: "" });
    expect(smartOs("inspect", "kernel.smartos").out).toMatch(/\n {2}a kernel of its own: 6\.12\.9/);
    expect(smartOs("run", "kernel.smartos", "--command", "uname -r")).toMatchObject({
      ...{ status: 0, out: expect.stringMatching(/^6\.12\.9/), error: "" },
    });
    expect(smartOs("build", "demo.smartos", "-q", "--kernel", "vmlinuz", "-o", "bzImage").status).toBe(0);
    expect(sha256("bzImage")).toBe(sha256("vmlinuz"));
    execFileSync("unzip", ["-q", "kernel.smartos", "-d", "kernel"], { cwd: scratch });
    expect(smartOs("build", "kernel", "-q", "-o", "kernel-again.smartos").status).toBe(0);
    expect(sha256("kernel-again.smartos")).toBe(sha256("kernel.smartos"));
    writeFileSync(join(scratch, "short"), readSystem("bzImage").subarray(0, 1_000_000));
    expect(smartOs("run", "short", "--command", "true").error).toMatch(
      /^Cannot open short: it would reach to \d+, the file/,
    );
  }, 180_000);

  it.each(["qcow2", "vmdk"])(
    "makes a .%s that QEMU boots to a shell",
    async (kind) => {
      const qemu = startQemu(["-drive", `file=${join(scratch, `a.${kind}`)},format=${kind},if=ide`]);
      try {
        await qemu.prompt();
        expect(await qemu.run("cat /etc/hostname; grep ' / ' /proc/mounts", /ext4/)).toMatch(
          /from-bundle\s+\/dev\/sda1 \/ ext4 rw/,
        );
        await qemu.powerOff();
      } finally {
        qemu.kill();
      }
      expect(execFileSync("qemu-img", ["check", join(scratch, `a.${kind}`)], { encoding: "utf8" })).toContain(
        "No errors",
      );
    },
    180_000,
  );
});
