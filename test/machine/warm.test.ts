/**
 * Warm and cold boots of the same projects end in the same system. Each project is booted both ways; the guest itself
 * lists what it is. What cannot be the same is listed in docs/boot.md.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Overlay } from "../../worker/api.ts";
import { bootGuest, buildTestInitramfs, type Guest } from "./guest.ts";
import { memoryDrive } from "./memory-drive.ts";
import { COMMAND_LINE, composeDelta, listing, makeTestState } from "./warm.ts";

const MIB = 1024 * 1024;
const encoder = new TextEncoder();
let state: ArrayBuffer;

const file = (path: string, text: string | Uint8Array, mode = 0o644, more: object = {}): Overlay[number] => ({
  path,
  kind: "file",
  mode,
  content: typeof text === "string" ? encoder.encode(text) : text,
  ...more,
});
const script = (path: string, text: string): Overlay[number] => file(path, `#!/bin/sh\n${text}\n`, 0o755);
const gone = (path: string): Overlay[number] => ({ path, kind: "deleted" });

/** Bytes that no compression or sharing of pages makes small. */
function noise(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let value = 1;
  for (let at = 0; at < length; at += 1) {
    value = (Math.imul(value, 1103515245) + 12345) >>> 0;
    bytes[at] = value >>> 16;
  }
  return bytes;
}

/** Paths, kinds, modes, owners, links and contents of everything in the root file system; times of all but directories. */
const FILES = `quiet="! -path /var/log/messages* ! -path /etc/resolv.conf"
find / -xdev $quiet | while IFS= read -r path; do stat -c '%n %F %a %u %g %t:%T %N' "$path"; done | sort
find / -xdev ! -type d $quiet | while IFS= read -r path; do stat -c '%n %s %Y' "$path"; done | sort
find / -xdev -type f $quiet -exec md5sum {} + | sort -k2; stat -c '%n %Y' /srv /srv/a/b/c`;
/** What the kernel tells of itself and of process 1. Signals that it blocks change whenever it is told of a child's end. */
const SYSTEM = `cat /proc/cmdline /proc/mounts; tr '\\0' ' ' </proc/1/cmdline; tr '\\0' '\\n' </proc/1/environ
ls -l /proc/1/fd | sed 's/.*:[0-9]* //'; cat /proc/1/limits; grep -E 'Cap|Sig[^B]|Uid|Groups|NoNew|Seccomp' /proc/1/status; readlink /proc/1/exe /proc/1/cwd /proc/1/root
ps -o ppid,args | grep -v -E 'kworker|ps -o|sh -c|udhcpc|mdev|agent|network|grep|sort|sed' | sed 's/^ *//' | sort
netstat -ltun 2>/dev/null | sort; cut -d' ' -f1 /proc/modules | sort; hostname; cat /proc/swaps /proc/partitions | sort; cat /sys/class/net/eth0/mtu
for port in 1344 1348; do grep -c "$port" /proc/ioports; done; cat /proc/sys/kernel/tainted; ls /dev /sys/block`;

async function settle(guest: Guest): Promise<void> {
  await guest.until(
    () => guest.watch.promptMs !== null || guest.watch.failure !== null || guest.trouble !== null,
    "prompt",
    120_000,
  );
  expect(guest.watch.failure).toBeNull();
  expect(guest.trouble).toBeNull();
}

async function boot(overlay: Overlay, isWarm: boolean, drives: readonly Uint8Array[] = []): Promise<Guest> {
  const options = {
    memoryMb: 128,
    commandLine: COMMAND_LINE,
    drives: drives.map((bytes) => memoryDrive(bytes.slice())),
  };
  const guest = await bootGuest(
    isWarm
      ? { ...options, warm: { state, files: composeDelta(listing, { overlay, memoryMb: 128 }) } }
      : { ...options, initramfs: await buildTestInitramfs(overlay, 128) },
  );
  await settle(guest);
  return guest;
}

async function run(guest: Guest, command: string): Promise<string> {
  return (await guest.agent.run(command, 60_000)).output.trim();
}

/** Both ways at the end of their start-up: all that comes after the prompt is done. */
async function both(overlay: Overlay, command: string, drives: readonly Uint8Array[] = []): Promise<[string, string]> {
  const outputs: string[] = [];
  for (const isWarm of [true, false]) {
    const guest = await boot(overlay, isWarm, drives);
    await run(guest, "while pgrep -f '[i]nit.d/late' >/dev/null; do sleep 0.1; done");
    // How large a tmpfs may be depends on how much memory the archive took when it was mounted.
    outputs.push((await run(guest, command)).replace(/size=\d+k,nr_inodes=\d+/g, "size"));
    await guest.machine.stop();
  }
  return outputs as [string, string];
}

/** Several of the twenty projects are one overlay here: what each changes is apart from what the others do. */
const FILES_PROJECT: Overlay = [
  gone("/usr/bin/bc"),
  gone("/etc/os-release"),
  gone("/var/www"),
  file("/usr/bin/suid", "#!/bin/sh\n", 0o4755),
  file("/srv/owned", "mine\n", 0o640, { uid: 1000, gid: 100, mtime: 1_600_000_000 }),
  { path: "/srv/null", kind: "device", device: "character", major: 1, minor: 3, mode: 0o666 },
  { path: "/srv/disk", kind: "device", device: "block", major: 8, minor: 300, mode: 0o600, uid: 0, gid: 6 },
  file("/srv/ten megabytes", noise(10 * MIB + 1)),
  file("/srv/empty", ""),
  { path: "/srv/link", kind: "symlink", target: "ten megabytes", mode: 0o777 },
  { path: `/srv/${"n".repeat(200)}`, kind: "symlink", target: `/${"t".repeat(300)}`, mode: 0o777, uid: 7, mtime: 1 },
  { path: "/srv/a/b/c", kind: "directory", mode: 0o1777, uid: 5, gid: 6, mtime: 1_500_000_000 },
  { path: "/srv/a", kind: "directory", mode: 0o700 },
  file("/srv/ü 字 'quoted\" $name", "utf-8\n"),
  file("/usr/bin/cal", "#!/bin/sh\necho my own\n", 0o755),
  { path: "/root", kind: "directory", mode: 0o711, uid: 3 },
  gone("/usr/local/bin"),
  gone("/usr/local/sbin"),
  file("/usr/local", "a file where a directory was\n"),
];
const SYSTEM_PROJECT: Overlay = [
  file("/etc/hostname", "other\n"),
  file("/etc/modules", "loop max_loop=3\nvfat\n"),
  file("/etc/motd", "hello\n"),
  script("/etc/init.d/rc.local", "nc -l -p 4711 >/dev/null &\nhttpd -p 8080 -h /tmp\nmkdir -p /srv/x"),
];

describe("warm and cold boots", () => {
  beforeAll(async () => {
    state = await makeTestState(128);
  }, 240_000);

  it("have the same files: changed, added and deleted, of every kind", async () => {
    const [warm, cold] = await both(FILES_PROJECT, `${FILES}; cal`);
    expect(warm).toBe(cold);
    expect(warm).toContain("a file where a directory was".length.toString());
    expect(warm).toMatch(/suid regular file 4755 0 0/);
  }, 240_000);

  it("are the same to programs: mounts, process 1, processes, ports, modules, devices", async () => {
    const [warm, cold] = await both(SYSTEM_PROJECT, SYSTEM);
    expect(warm).toBe(cold);
    expect(warm).toMatch(/4711|loop/);
  }, 240_000);

  it("name the same disks, with their partitions, when there are some", async () => {
    const table = new Uint8Array(4 * MIB);
    // One partition of 1 MiB from sector 2048 on.
    table.set([0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0], 446);
    table.set([0x55, 0xaa], 510);
    const probe =
      "cat /proc/cmdline; grep sd /proc/partitions | sort; ls -l /dev/sd* | sed 's/ [A-Z].*:.. / /' ; grep ' / ' /proc/mounts";
    const [warm, cold] = await both([], `${probe}; mke2fs /dev/sdb >/dev/null && mount /dev/sdb /mnt && echo ok`, [
      table,
      new Uint8Array(2 * MIB),
    ]);
    expect(warm).toBe(cold);
    expect(warm).toContain("sda1");
  }, 240_000);

  it("run a replaced /sbin/init, and a replaced busybox", async () => {
    const busybox = (await import("./guest.ts")).readParts().busybox.slice();
    const overlay: Overlay = [
      script("/sbin/init", "echo my own init >/srv-init\nexec /bin/busybox init"),
      file("/bin/busybox", busybox, 0o755),
      script(
        "/init",
        "mount -t proc proc /proc\nmount -t devtmpfs dev /dev\nmkdir -p /dev/pts\nmount -t tmpfs run /run\nexec /sbin/init",
      ),
    ];
    const [warm, cold] = await both(
      overlay,
      "cat /srv-init /proc/mounts; tr '\\0' ' ' </proc/1/cmdline; md5sum /bin/busybox",
    );
    expect(warm).toBe(cold);
    expect(warm).toContain("my own init");
  }, 240_000);

  it("have the time of day and nothing in common that must be new at each boot", async () => {
    const probe = `cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | md5sum; cat /sys/class/net/eth0/address; mktemp -u; date +%s`;
    const seen: string[][] = [];
    for (let turn = 0; turn < 2; turn += 1) {
      const guest = await boot([], true);
      const lines = (await run(guest, probe)).split("\n");
      expect(Math.abs(Number(lines.pop()) - Date.now() / 1000)).toBeLessThan(2);
      seen.push(lines);
      await guest.machine.stop();
    }
    for (const [index, value] of (seen[0] as string[]).entries()) expect(value).not.toBe(seen[1]?.[index]);
  }, 240_000);

  it("say when the first program cannot be run, so that a cold boot may show why", async () => {
    for (const overlay of [
      [gone("/init")],
      [file("/init", "#!/bin/none\n", 0o755)],
      [file("/init", "echo\n", 0o644)],
    ]) {
      const files = composeDelta(listing, { overlay: overlay as Overlay, memoryMb: 128 });
      const guest = await bootGuest({ warm: { state, files } });
      await guest.until(() => guest.trouble !== null, "word of trouble");
      expect(guest.trouble).toMatch(/^run \/init: error \d+$/);
      await guest.machine.stop();
    }
  }, 120_000);

  afterAll(() => {
    state = new ArrayBuffer(0);
  });
});
