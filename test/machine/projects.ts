/** Twenty projects, each with something of its own over the default system: what a warm boot has to get right. */
import { readFileSync } from "node:fs";
import type { Overlay } from "../../worker/api.ts";
import { readParts } from "./guest.ts";

const MIB = 1024 * 1024;
const encoder = new TextEncoder();
const FSTAB = readFileSync(new URL("../../rootfs/etc/fstab", import.meta.url), "utf8");

export const file = (path: string, text: string | Uint8Array, mode = 0o644, more: object = {}): Overlay[number] => ({
  path,
  kind: "file",
  mode,
  content: typeof text === "string" ? encoder.encode(text) : text,
  ...more,
});
export const script = (path: string, text: string): Overlay[number] => file(path, `#!/bin/sh\n${text}\n`, 0o755);
export const gone = (path: string): Overlay[number] => ({ path, kind: "deleted" });
const link = (path: string, target: string, more: object = {}): Overlay[number] => ({
  path,
  kind: "symlink",
  target,
  mode: 0o777,
  ...more,
});

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

const OWN_INIT = `mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs run /run
exec /sbin/init`;

const OWN_INITTAB = `::sysinit:/etc/init.d/rcS
ttyS0::respawn:-/bin/sh
::respawn:/usr/lib/smart-os/agent
::once:/bin/sleep 1000000
`;

export interface TestProject {
  name: string;
  overlay: Overlay;
  /** What the guest's listing has to have, besides being the same both ways. */
  shows?: RegExp;
}

export const PROJECTS: readonly TestProject[] = [
  { name: "the default", overlay: [], shows: /^\/etc\/inittab regular file 644 0 0/m },
  {
    name: "deleted files and a deleted directory",
    overlay: [gone("/usr/bin/bc"), gone("/etc/os-release"), gone("/var/www")],
  },
  {
    name: "a setuid file, other owners, an old date",
    overlay: [
      file("/usr/bin/suid", "#!/bin/sh\n", 0o4755),
      file("/srv/owned", "mine\n", 0o640, { uid: 1000, gid: 100, mtime: 1_600_000_000 }),
    ],
    shows: /suid regular file 4755 0 0/,
  },
  {
    name: "device nodes",
    overlay: [
      { path: "/srv/null", kind: "device", device: "character", major: 1, minor: 3, mode: 0o666 },
      { path: "/srv/disk", kind: "device", device: "block", major: 8, minor: 300, mode: 0o600, uid: 0, gid: 6 },
    ],
    shows: /null character special file 666 0 0 1:3/,
  },
  {
    name: "a binary of 10 MB, and an empty file",
    overlay: [file("/srv/ten megabytes", noise(10 * MIB + 1)), file("/srv/empty", "")],
  },
  {
    name: "symbolic links, long ones and one in a file's place",
    overlay: [
      link("/srv/link", "ten megabytes"),
      link(`/srv/${"n".repeat(200)}`, `/${"t".repeat(300)}`, { uid: 7, mtime: 1 }),
      link("/etc/motd", "/etc/banner"),
    ],
  },
  {
    name: "directories with modes, owners and dates",
    overlay: [
      { path: "/srv/a/b/c", kind: "directory", mode: 0o1777, uid: 5, gid: 6, mtime: 1_500_000_000 },
      { path: "/srv/a", kind: "directory", mode: 0o700 },
      { path: "/root", kind: "directory", mode: 0o711, uid: 3 },
    ],
    shows: /c directory 1777 5 6/,
  },
  {
    name: "names with spaces, quotes and letters of all kinds",
    overlay: [file("/srv/ü 字 'quoted\" $name", "utf-8\n"), file("/srv/ -n", "")],
  },
  { name: "an applet replaced by a script", overlay: [file("/usr/bin/cal", "#!/bin/sh\necho my own\n", 0o755)] },
  {
    name: "a file where a directory was",
    overlay: [gone("/usr/local/bin"), gone("/usr/local/sbin"), file("/usr/local", "a file\n")],
    shows: /^\/usr\/local regular file/m,
  },
  {
    name: "another host name and a message of the day",
    overlay: [file("/etc/hostname", "other\n"), file("/etc/motd", "hello\n")],
    shows: /^other$/m,
  },
  { name: "modules with parameters", overlay: [file("/etc/modules", "loop max_loop=3\nvfat\n")], shows: /^vfat$/m },
  {
    name: "servers that rc.local starts",
    overlay: [script("/etc/init.d/rc.local", "nc -l -p 4711 >/dev/null &\nhttpd -p 8080 -h /tmp\nmkdir -p /srv/x")],
    shows: /4711/,
  },
  {
    name: "a replaced /sbin/init",
    overlay: [
      script(
        "/sbin/init",
        "echo my own init >/my-init; touch -d '2001-02-03 04:05:06' /my-init\nexec /bin/busybox init",
      ),
    ],
    shows: /\/my-init regular file/,
  },
  { name: "a replaced /init", overlay: [script("/init", OWN_INIT)] },
  { name: "a replaced busybox", overlay: [file("/bin/busybox", readParts().busybox.slice(), 0o755)] },
  { name: "an inittab of its own", overlay: [file("/etc/inittab", OWN_INITTAB)], shows: /sleep 1000000/ },
  {
    name: "a file system more in fstab",
    overlay: [file("/etc/fstab", `${FSTAB}data /data tmpfs mode=750 0 0\n`)],
    shows: /^data \/data tmpfs/m,
  },
  {
    name: "no network, no log, settings of the kernel",
    overlay: [
      script("/etc/init.d/network", "exit 0"),
      gone("/sbin/syslogd"),
      script("/etc/init.d/rc.local", "echo 1 >/proc/sys/net/ipv4/ip_forward; mount -t tmpfs -o ro none /mnt"),
    ],
  },
  {
    name: "a thousand files",
    overlay: Array.from({ length: 1000 }, (_, index) =>
      file(`/srv/${index % 10}/${index}`, `${index}\n`, 0o600 + (index % 8)),
    ),
    shows: /\/srv\/9\/999 regular file 607/,
  },
];
