/** A disk built from a project, booted by v86 and by QEMU: the very same file. */
import { execFileSync, spawn } from "node:child_process";
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { DiskRequest, Overlay, SparseImage } from "../../worker/api.ts";
import { buildDisk } from "../../worker/build.ts";
import { bootGuest, buildTestInitramfs, defaults, type Guest, readParts, readSystem } from "./guest.ts";
import { memoryDrive } from "./memory-drive.ts";

const MIB = 1024 * 1024;
const FIRST = 2048 * 512;
const scratch = mkdtempSync(join(tmpdir(), "smart-os-disk-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const request = (change: Partial<DiskRequest> = {}): DiskRequest => ({
  overlay: [],
  sizeMb: 64,
  fileSystem: "ext4",
  commandLine: "console=tty0 console=ttyS0 tsc=reliable word='a b'",
  label: "smart-os",
  ...change,
});

async function build(change: Partial<DiskRequest> = {}): Promise<SparseImage> {
  const inputs = {
    defaults,
    loadParts: async () => readParts(),
    loadDiskParts: async () => ({
      kernel: readSystem("bzImage"),
      grub: { boot: readSystem("boot.img"), core: readSystem("core.img") },
    }),
  };
  const result = await buildDisk(request(change), inputs, new AbortController().signal, () => {});
  if (!result.ok) throw new Error(result.problem);
  return result.image;
}

function write(image: SparseImage, name: string): string {
  const path = join(scratch, name);
  const handle = openSync(path, "w");
  ftruncateSync(handle, image.size);
  for (const { offset, bytes } of image.extents) writeSync(handle, bytes, 0, bytes.length, offset);
  closeSync(handle);
  return path;
}

async function prompt(guest: Guest): Promise<(command: string) => Promise<string>> {
  await guest.until(() => guest.watch.promptMs !== null || guest.watch.failure !== null, "prompt", 60_000);
  expect(guest.watch.failure).toBeNull();
  return async (command) => (await guest.agent.run(command, 20_000)).output.trim();
}

/** The partition of a disk as a file of its own, checked. */
function checkPartition(bytes: Uint8Array, name: string): string {
  const path = join(scratch, name);
  writeFileSync(path, bytes.subarray(FIRST));
  // What the kernel has mounted last is clean once its journal is replayed.
  execFileSync("sh", ["-c", `/sbin/e2fsck -fy ${path} >${path}.log; test $? -le 1`]);
  execFileSync("/sbin/e2fsck", ["-fn", path]);
  return path;
}

describe("a system disk", () => {
  it.each(["ext2", "ext3", "ext4"] as const)("of %s boots in v86 to a shell on /dev/sda1", async (fileSystem) => {
    const drive = memoryDrive(readFileSync(write(await build({ fileSystem }), `${fileSystem}.img`)));
    const guest = await bootGuest({ drives: [drive] });
    const run = await prompt(guest);
    expect(guest.watch.timeline.map(({ phase }) => phase)).toEqual([
      "bios",
      "boot-loader",
      "kernel",
      "initramfs",
      "init-scripts",
      "shell",
    ]);
    expect(guest.output()).toContain("GNU GRUB");
    expect(await run("grep ' / ' /proc/mounts")).toMatch(new RegExp(`^/dev/sda1 / ${fileSystem} rw`));
    expect(await run("cat /proc/cmdline")).toMatch(/ root=\/dev\/sda1 .*tsc=reliable/);
    expect(await run("cat /proc/1/comm; ls -d /lost+found")).toBe("init\n/lost+found");
    await run("echo kept > /root/kept; sync");
    await guest.machine.stop();
    const path = checkPartition(drive.bytes, `${fileSystem}.part`);
    expect(execFileSync("/sbin/debugfs", ["-R", "cat /root/kept", path], { stdio: "pipe" }).toString()).toBe("kept\n");
  });

  it.each([0, 16])("boots in QEMU from the same file, with %i MB of swap", async (swapMb) => {
    const image = write(await build({ swapMb }), "qemu.img");
    const qemu = spawn("qemu-system-i386", [
      ...["-m", "128", "-nographic", "-no-reboot", "-nic", "none", "-accel", "tcg"],
      ...["-drive", `file=${image},format=raw,if=ide`],
    ]);
    let output = "";
    qemu.stdout.on("data", (bytes: Buffer) => {
      output += bytes.toString();
    });
    try {
      await expect.poll(() => output, { timeout: 60_000 }).toContain("\u001b]133;A");
      qemu.stdin.write("grep ' / ' /proc/mounts; grep -c ^/dev/sda2 /proc/swaps; poweroff\n");
      await expect.poll(() => output, { timeout: 30_000 }).toMatch(/\/dev\/sda1 \/ ext4 rw[^\n]*\n/);
      await expect.poll(() => output, { timeout: 30_000 }).toMatch(swapMb > 0 ? /\n1\r?\n/ : /\n0\r?\n/);
      await expect.poll(() => qemu.exitCode, { timeout: 30_000 }).toBe(0);
    } finally {
      qemu.kill("SIGKILL");
    }
    checkPartition(readFileSync(image).subarray(0, (64 - swapMb) * MIB), "qemu.part");
  });

  it("is the same for the same request, and holds the project", async () => {
    const overlay: Overlay = [
      { path: "/etc/hello", kind: "file", content: new TextEncoder().encode("hello\n"), mode: 0o600 },
    ];
    const first = await build({ overlay });
    const bytes = readFileSync(write(first, "project.img"));
    expect(readFileSync(write(await build({ overlay }), "again.img")).equals(bytes)).toBe(true);
    expect(execFileSync("/sbin/sfdisk", ["-d", join(scratch, "project.img")]).toString()).toMatch(
      /start= +2048, size= +129024, type=83, bootable/,
    );
    const path = join(scratch, "project.part");
    writeFileSync(path, bytes.subarray(FIRST));
    execFileSync("/sbin/e2fsck", ["-fn", path]);
    expect(execFileSync("/sbin/debugfs", ["-R", "cat /etc/hello", path], { stdio: "pipe" }).toString()).toBe("hello\n");
  });

  it("can have a swap partition, which the guest uses at every boot", async () => {
    const path = write(await build({ swapMb: 24 }), "swap.img");
    const table = execFileSync("/sbin/sfdisk", ["-d", path]).toString();
    expect(table).toMatch(/swap\.img1 : start= +2048, size= +79872, type=83, bootable\n/);
    expect(table).toMatch(/swap\.img2 : start= +81920, size= +49152, type=82\n/);
    const bytes = readFileSync(path);
    const [root, area] = [join(scratch, "swap.root"), join(scratch, "swap.area")];
    writeFileSync(root, bytes.subarray(FIRST, 81920 * 512));
    writeFileSync(area, bytes.subarray(81920 * 512));
    execFileSync("/sbin/e2fsck", ["-fn", root]);
    expect(execFileSync("/sbin/swaplabel", [area]).toString()).toMatch(/^LABEL: swap\nUUID: +[0-9a-f-]{36}\n$/);
    const uuids = [root, area].map((part) =>
      execFileSync("/sbin/blkid", ["-p", "-s", "UUID", part]).toString().slice(-38),
    );
    expect(new Set(uuids).size).toBe(2);
    const fstab = execFileSync("/sbin/debugfs", ["-R", "cat /etc/fstab", root], { stdio: "pipe" }).toString();
    expect(fstab.match(/^\/dev\/sda2 .*/gm)).toEqual(["/dev/sda2   none        swap    defaults              0     0"]);

    const guest = await bootGuest({ drives: [memoryDrive(bytes)] });
    const run = await prompt(guest);
    expect(await run("cat /proc/swaps")).toMatch(/^\/dev\/sda2\s+partition\s+24572\s/m);
    expect(await run("free | grep Swap")).toMatch(/^Swap:\s+24572\s/);
    expect(await run("grep ' / ' /proc/mounts")).toMatch(/^\/dev\/sda1 /);
    await guest.machine.stop();
  });

  it("keeps what the project says of its swap partition, and refuses one that leaves no room", async () => {
    const content = new TextEncoder().encode("/dev/sda2 none swap pri=5 0 0");
    const overlay: Overlay = [{ path: "/etc/fstab", kind: "file", content, mode: 0o644 }];
    const path = write(await build({ swapMb: 24, overlay }), "own-swap.img");
    const root = join(scratch, "own-swap.root");
    writeFileSync(root, readFileSync(path).subarray(FIRST, 81920 * 512));
    const fstab = execFileSync("/sbin/debugfs", ["-R", "cat /etc/fstab", root], { stdio: "pipe" });
    expect(fstab.equals(content)).toBe(true);
    await expect(build({ swapMb: 63 })).rejects.toThrow("Cannot make a swap partition of 63 MB: the disk has 64 MB");
    await expect(build({ swapMb: 60 })).rejects.toThrow(/Cannot /);
  });

  it("is the same as ever without a swap partition", async () => {
    const [without, none] = [await build(), await build({ swapMb: 0 })];
    expect(readFileSync(write(none, "none.img")).equals(readFileSync(write(without, "without.img")))).toBe(true);
  });

  it("says when the project does not fit", async () => {
    await expect(build({ sizeMb: 6 })).rejects.toThrow(/Cannot fit \d+ MB of files: the file system has 5 MB/);
    await expect(build({ sizeMb: 1 })).rejects.toThrow(/Cannot make/);
  });
});

describe("four drives", () => {
  it("are sda to sdd, in a cold boot as well, which leaves a system on them alone", async () => {
    const system = memoryDrive(readFileSync(write(await build(), "four.img")));
    const drives = [system, ...[8, 9, 10].map((mb) => memoryDrive(new Uint8Array(mb * MIB)))];
    const guest = await bootGuest({
      drives,
      initramfs: await buildTestInitramfs(),
      commandLine: "console=tty0 console=ttyS0 tsc=reliable root=/dev/ram0",
    });
    const run = await prompt(guest);
    expect(await run("grep ' / ' /proc/mounts")).toMatch(/^rootfs \/ rootfs/);
    expect(await run("awk '/sd/ {print $4, $3}' /proc/partitions | sort")).toBe(
      "sda 65536\nsda1 64512\nsdb 8192\nsdc 9216\nsdd 10240",
    );
    for (const name of ["sdb", "sdc", "sdd"])
      await run(`echo ${name} | dd of=/dev/${name} bs=512 conv=sync 2>/dev/null; sync`);
    await guest.machine.stop();
    expect(drives.slice(1).map(({ bytes }) => new TextDecoder().decode(bytes.subarray(0, 3)))).toEqual([
      "sdb",
      "sdc",
      "sdd",
    ]);
  });
});
