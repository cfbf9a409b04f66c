import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readArtefact, run, SYSTEM } from "./system.ts";

/** As QEMU's own network shows this machine to the guest. */
const HOST = "10.0.2.2";
const TEXT = "hello from the host\n";

/** Prints facts, a line each, and switches the machine off. */
const INIT = `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
say() { echo "FACT $*"; }

say machine $(uname -m)
read -r before _ </proc/uptime
sleep 1
read -r after _ </proc/uptime
say slept $(echo "$after - $before" | bc)
timeout 1 sleep 5
say timeout $?

for module in ne2k-pci vfat isofs loop brd; do
  modprobe "$module"
  say modprobe $module $?
done
say loaded $(lsmod | cut -d' ' -f1 | sort)
say cards $(ls /sys/class/net)
rmmod brd; say unloaded brd $?; modprobe brd

mkfs.vfat /dev/ram0 >/dev/null 2>&1; mkdir /mnt
mount -t vfat /dev/ram0 /mnt && echo content >"/mnt/ä long name.txt"
umount /mnt; mount -t vfat /dev/ram0 /mnt
say vfat $(cat "/mnt/ä long name.txt")
umount /mnt
mkswap /dev/ram1 >/dev/null && swapon /dev/ram1
say swap $(wc -l </proc/swaps)
# Opening /dev/loop0 loads the driver again.
rmmod loop
dd if=/dev/zero of=/disk bs=1M count=4 2>/dev/null && mke2fs -F /disk >/dev/null 2>&1
mkdir /disk.d; mount -o loop /disk /disk.d && say loop ext2 $(stat -f -c %T /disk.d)

eth=
for card in /sys/class/net/*; do
  [ "$(basename "$(readlink "$card/device/driver")")" = virtio_net ] && eth=\${card##*/}
done
ip link set lo up; ip link set "$eth" up; ip address add 10.0.2.15/24 dev "$eth"; ip route add default via ${HOST}
say wget $(wget -q -T 5 -O - "http://${HOST}:$(sed 's/.*port=\\([0-9]*\\).*/\\1/' /proc/cmdline)/")

say memory $(awk '/MemTotal/ { print $2 }' /proc/meminfo)
say features $(grep -c -e nodev.9p -e ext4 -e iso9660 -e vfat /proc/filesystems)
say year $(date +%Y)
sync
poweroff -f
`;

describe("the kernel and busybox in QEMU", () => {
  const directory = mkdtempSync(join(tmpdir(), "smart-os-qemu-"));
  const facts = new Map<string, string>();
  let server: Server;
  let log = "";
  let exitStatus: number | null = null;

  beforeAll(async () => {
    server = createServer((_, response) => response.end(TEXT)).listen(0);
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    const qemu = spawn("qemu-system-i386", [
      ...[
        "-m",
        "128",
        "-nographic",
        "-no-reboot",
        "-kernel",
        join(SYSTEM, "bzImage"),
        "-initrd",
        packInitramfs(directory),
      ],
      ...["-append", `console=ttyS0 panic=-1 port=${port}`],
      ...[
        "-device",
        "virtio-net-pci,netdev=net0",
        "-netdev",
        "user,id=net0",
        "-device",
        "ne2k_pci,netdev=net1",
        "-netdev",
        "user,id=net1",
      ],
    ]);
    qemu.stdout.on("data", (bytes: Buffer) => {
      log += bytes.toString();
    });
    qemu.stderr.on("data", (bytes: Buffer) => {
      log += bytes.toString();
    });
    const timer = setTimeout(() => qemu.kill("SIGKILL"), 90_000);
    exitStatus = await new Promise((resolve, reject) => {
      qemu.on("error", reject);
      qemu.on("close", resolve);
    });
    clearTimeout(timer);
    for (const [, name, value] of log.matchAll(/FACT (\S+) ?(.*?)\r?\n/g))
      facts.set(String(name), [facts.get(String(name)), value].filter((part) => part !== undefined).join("; "));
  }, 120_000);

  afterAll(() => {
    server?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it("reach a script in the initramfs", () => {
    expect(facts.get("machine"), log).toBe("i686");
    expect(Math.abs(Number(facts.get("year")) - new Date().getUTCFullYear()), "the clock").toBeLessThanOrEqual(1);
  });

  it("sleep as long as they are asked to", () => {
    expect(Number(facts.get("slept"))).toBeGreaterThanOrEqual(0.9);
    expect(facts.get("timeout")).toBe("143");
  });

  it("load the five modules, with what they need", () => {
    expect(facts.get("modprobe")).toBe("ne2k-pci 0; vfat 0; isofs 0; loop 0; brd 0");
    for (const name of ["ne2k_pci", "8390", "vfat", "fat", "isofs", "loop", "brd"])
      expect(facts.get("loaded")?.split(" "), name).toContain(name);
    expect(facts.get("cards"), "one card of each driver").toMatch(/eth0 eth1/);
    expect(facts.get("unloaded")).toBe("brd 0");
  });

  it("keep files on a FAT disk, swap on a RAM disk and ext2 on a loop device", () => {
    expect(facts.get("vfat")).toBe("content");
    expect(facts.get("swap")).toBe("2");
    expect(facts.get("loop")).toMatch(/^ext2 ext2/);
  });

  it("fetch a page over the network", () => {
    expect(facts.get("wget")).toBe(TEXT.trim());
  });

  it("switch the machine off", () => {
    expect(log).toMatch(/Power down|Power off/i);
    expect(exitStatus).toBe(0);
  });
});

/** A root file system of busybox, its links, the modules and /init, packed by the real cpio. */
function packInitramfs(directory: string): string {
  const root = join(directory, "root");
  for (const name of ["bin", "sbin", "usr/bin", "usr/sbin", "proc", "sys", "dev", "tmp", "etc"])
    mkdirSync(join(root, name), { recursive: true });
  cpSync(join(SYSTEM, "busybox"), join(root, "bin/busybox"));
  for (const link of readArtefact("busybox.links").toString().trimEnd().split("\n")) {
    mkdirSync(dirname(join(root, link)), { recursive: true });
    symlinkSync("/bin/busybox", join(root, link));
  }
  run("cpio", ["-id", "--quiet", "--no-absolute-filenames"], { cwd: root, input: readArtefact("modules.cpio") });
  writeFileSync(join(root, "init"), INIT, { mode: 0o755 });
  const names = run("find", [".", "-mindepth", "1", "-printf", "%P\\n"], { cwd: root });
  const archive = join(directory, "initramfs.cpio");
  run("cpio", ["-o", "-H", "newc", "--quiet", "-R", "0:0", "-F", archive], { cwd: root, input: names });
  return archive;
}
