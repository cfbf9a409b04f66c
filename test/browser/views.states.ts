/** Made-up states for the views' harness. */

import type { PlacedFile } from "../../web/placed-files.ts";
import { NO_SHARE } from "../../web/share-state.ts";
import {
  type AppState,
  type DiskEntry,
  type DiskRow,
  type FileRow,
  type MachineState,
  type NetworkState,
  NO_NETWORK,
  NO_SNAPSHOTS,
  type OpenFile,
  type SnapshotRow,
  type TimelineBar,
} from "../../web/state.ts";

const RCS = `#!/bin/sh
# Started once by /sbin/init (see /etc/inittab), before any shell.

echo "smart-os: init scripts: /etc/init.d/rcS"

read -r name </etc/hostname && echo "$name" >/proc/sys/kernel/hostname

# File systems and swap that /etc/fstab lists.
mount -a
while read -r device directory type options; do
  [ "$type" = swap ] && swapon "$device"
done </etc/fstab

# The network in the background, so that the prompt never waits for it.
/etc/init.d/network &

if [ -x /etc/init.d/rc.local ]; then
  /etc/init.d/rc.local
elif [ -f /etc/init.d/rc.local ]; then
  echo "smart-os: /etc/init.d/rc.local is not executable and was not run"
fi

while IFS= read -r line; do echo "$line"; done </etc/banner
read -r release </proc/sys/kernel/osrelease
echo " Linux $release"
`;
const EDITED = RCS.replace("mount -a\n", "mount -a\nmount -t tmpfs -o size=16m tmpfs /srv\n").replace(
  'echo " Linux',
  'echo " Hello from Linux',
);

const row = (path: string, change: Partial<FileRow> = {}): FileRow => ({
  path,
  kind: "file",
  origin: "default",
  mode: 0o644,
  size: 420,
  ...change,
});
const folder = (path: string, change: Partial<FileRow> = {}): FileRow =>
  row(path, { kind: "directory", mode: 0o755, size: 0, ...change });

/** A name that would be an element, were it ever parsed. */
export const MARKUP_PATH = "/root/<img src=x onerror=alert(1)>.txt";

export const FILES: FileRow[] = [
  row("/init", { mode: 0o755, size: 2104 }),
  folder("/etc"),
  row("/etc/banner", { size: 312 }),
  row("/etc/fstab", { origin: "changed" }),
  row("/etc/hostname"),
  folder("/etc/init.d"),
  row("/etc/init.d/hello", { origin: "added", size: 64 }),
  row("/etc/init.d/network", { mode: 0o755 }),
  row("/etc/init.d/rc.local", { mode: 0o755, origin: "deleted" }),
  row("/etc/init.d/rcS", { mode: 0o755, origin: "changed", size: EDITED.length }),
  row("/etc/inittab"),
  row("/etc/os-release"),
  row("/etc/passwd"),
  row("/etc/profile"),
  row("/etc/shadow", { mode: 0o600 }),
  row("/etc/mtab", { kind: "symlink", mode: 0o777, size: 0, target: "/proc/mounts" }),
  folder("/dev", { origin: "added" }),
  row("/dev/sda1", { kind: "device", origin: "added", mode: 0o660, size: 0 }),
  folder("/root", { origin: "added" }),
  row("/root/logo.png", { origin: "added", size: 48_213 }),
  row(MARKUP_PATH, { origin: "added", size: 3 }),
  folder("/usr"),
  folder("/usr/sbin"),
  row("/usr/sbin/autologin", { mode: 0o4755 }),
];

const TEXTS = new Map<string, string | null>([
  ["/etc/init.d/rcS", EDITED],
  ["/etc/init.d/hello", "#!/bin/sh\necho hello from a script of my own\n"],
  ["/root/logo.png", null],
  ["/etc/mtab", null],
  ["/dev/sda1", null],
]);

export function setText(path: string, text: string): void {
  TEXTS.set(path, text);
}

export function openFile(path: string): OpenFile {
  const found = FILES.find((candidate) => candidate.path === path);
  const plain = `# ${path}\n`;
  const text = TEXTS.get(path);
  return {
    path,
    text: text === undefined ? plain : text,
    defaultText: path === "/etc/init.d/rcS" ? RCS : found?.origin === "added" ? null : plain,
    size: found?.size ?? 0,
    mode: found?.mode ?? 0o644,
    revision: 1,
  };
}

const BARS: readonly (TimelineBar & { endMs: number })[] = [
  { phase: "build", startMs: 0, endMs: 41, messages: [] },
  { phase: "bios", startMs: 41, endMs: 263, messages: ["SeaBIOS (version 1.16.2)", "Booting from ROM..."] },
  {
    phase: "kernel",
    startMs: 263,
    endMs: 1690,
    messages: Array.from(
      { length: 640 },
      (_, index) => `[    ${(0.1 + index / 500).toFixed(6)}] pci 0000:00:0${index % 8}.0: [1234:11${index}] type 00`,
    ),
  },
  { phase: "initramfs", startMs: 1690, endMs: 2090, messages: ["smart-os: initramfs", "smart-os: staying in memory"] },
  { phase: "init-scripts", startMs: 2090, endMs: 2566, messages: ["smart-os: init scripts: /etc/init.d/rcS"] },
  { phase: "shell", startMs: 2566, endMs: 2566, messages: [] },
];

/** The first phases of a boot; the last of them still runs when `live`. */
function bars(count: number, live = false): TimelineBar[] {
  return BARS.slice(0, count).map(({ endMs, ...bar }, index) =>
    live && index === count - 1 ? bar : { ...bar, endMs },
  );
}

const machine = (change: Partial<MachineState>): MachineState => ({
  status: "running",
  mode: "cold",
  coldReason: null,
  phase: "shell",
  poweredAt: performance.now() - 754_000,
  promptMs: 2566,
  memoryMb: 128,
  build: null,
  problem: null,
  ...change,
});

const PANIC = `[    1.702133] Run /init as init process
/init: line 3: exit: 1
[    1.731007] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100
[    1.731630] CPU: 0 PID: 1 Comm: init Not tainted 6.12.48 #1
[    1.732418] ---[ end Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100 ]---`;

const MIB = 1024 * 1024;
const disk = (id: string, change: Partial<DiskRow> = {}): DiskRow => ({
  id,
  name: id,
  kind: "data",
  sizeBytes: 64 * MIB,
  storedBytes: 2.4 * MIB,
  usedBytes: 18.2 * MIB,
  fileSystem: "ext4",
  label: "",
  swapMb: 0,
  drive: null,
  inUse: false,
  build: null,
  changed: false,
  readOnly: false,
  work: null,
  problem: null,
  ...change,
});
const systemDisk = (change: Partial<DiskRow> = {}): DiskRow =>
  disk("system", {
    kind: "system",
    drive: "sda",
    sizeBytes: 256 * MIB,
    usedBytes: 21 * MIB,
    storedBytes: 22.6 * MIB,
    label: "smart-os",
    build: "current",
    ...change,
  });

export const DISKS: DiskRow[] = [
  systemDisk({ build: "stale", changed: true }),
  disk("data", { drive: "sdb", inUse: true, usedBytes: null, label: "DATA", changed: true, storedBytes: 20.1 * MIB }),
  disk("swap", { drive: "sdc", fileSystem: "swap", usedBytes: null, storedBytes: 4096 }),
  disk("course", {
    name: "course material",
    fileSystem: "ext2",
    label: "COURSE",
    sizeBytes: 1536 * MIB,
    usedBytes: 421 * MIB,
    storedBytes: 430 * MIB,
    changed: true,
  }),
  disk("image", { name: "<i>alpine</i>.img", fileSystem: "partitions", usedBytes: null, sizeBytes: 130 * MIB }),
];

/** All that may have to be told of a disk. */
const TROUBLED_DISKS: DiskRow[] = [
  systemDisk({ work: { what: "build", done: 42, total: 100 } }),
  disk("full", {
    name: "full",
    drive: "sdb",
    usedBytes: 63.5 * MIB,
    storedBytes: 66 * MIB,
    problem: "The browser's storage is full: what the guest wrote last is not kept.",
  }),
  disk("other", { name: "in another tab", readOnly: true, drive: "sdc" }),
  disk("import", {
    name: "a-disk-image-with-a-very-long-name-that-has-no-spaces-at-all.img",
    fileSystem: "unknown",
    usedBytes: null,
    drive: "sdd",
    work: { what: "import", done: 0, total: 0 },
  }),
  disk("idle", { label: "一二三四五" }),
];

const network = (change: Partial<NetworkState> = {}): NetworkState => ({
  ...NO_NETWORK,
  status: "online",
  guestAddress: "10.0.2.15",
  gateway: "10.0.2.2",
  receivedRate: 1_240_000,
  sentRate: 38_400,
  receivedBytes: 83_400_000,
  sentBytes: 2_910_000,
  ...change,
});

/** Addresses as relays give them, and two that must not become links. */
export const NETWORK: NetworkState = network({
  reason: "The relay refused a connection to 169.254.169.254, port 80: metadata services of clouds are not allowed.",
  forwards: [
    { id: "f1", guestPort: 80, kind: "http", address: "http://k3v9x2m7q4wz--80.localhost:8080/" },
    { id: "f2", guestPort: 22, kind: "tcp", address: "relay.example.org:20417" },
    { id: "f3", guestPort: 5004, kind: "udp", address: "relay.example.org:20418" },
    { id: "f4", guestPort: 99, kind: "http", address: "javascript:alert(1)" },
  ],
  listening: [
    { port: 80, protocol: "tcp", program: "httpd" },
    { port: 8080, protocol: "tcp", program: "nc" },
    { port: 23, protocol: "tcp", program: "telnetd" },
    { port: 514, protocol: "udp", program: "<b>syslogd</b>" },
  ],
});

const entry = (name: string, change: Partial<DiskEntry> = {}): DiskEntry => ({
  name,
  kind: "file",
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 1204,
  mtime: 1_740_834_300,
  ...change,
});
const LISTINGS = new Map<string, DiskEntry[]>([
  [
    "/",
    [
      entry("empty", { kind: "directory", mode: 0o755, size: 0 }),
      entry("forbidden", { kind: "directory", mode: 0o700, size: 0 }),
      entry("many", { kind: "directory", mode: 0o755, size: 0 }),
      entry("notes", { kind: "directory", mode: 0o1777, size: 0 }),
      entry("<b>bold</b>.txt", { size: 0 }),
      entry("current", { kind: "symlink", mode: 0o777, size: 0, target: "notes/2025" }),
      entry("pipe", { kind: "fifo", mode: 0o600, size: 0 }),
      entry("run.sh", { mode: 0o755, size: 48_213 }),
      entry("中文文件名 with a rather long name that does not fit.tar.gz", { size: 21_400_000 }),
    ],
  ],
  ["/notes", [entry("2025", { kind: "directory", mode: 0o755, size: 0 }), entry("todo.txt")]],
  ["/notes/2025", [entry("march.txt")]],
  ["/empty", []],
  ["/many", Array.from({ length: 1200 }, (_, index) => entry(`file-${String(index).padStart(4, "0")}`))],
]);

/** A disk's directories: they answer late, as real ones do. */
export async function listDisk(_id: string, path: string): Promise<DiskEntry[]> {
  await new Promise((resolve) => setTimeout(resolve, 60));
  const found = LISTINGS.get(path);
  if (!found) throw new Error("Cannot read the directory: its first block is damaged");
  return [...found];
}

export async function putOnDisk(_id: string, directory: string, files: readonly PlacedFile[]): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 60));
  if (files.some(({ path }) => path === "huge.bin")) throw new Error("Cannot put huge.bin: the disk has 12 MB left");
  for (const { path, file } of files) LISTINGS.get(directory)?.push(entry(path, { size: file.size }));
}

export async function removeFromDisk(_id: string, path: string): Promise<void> {
  const at = path.lastIndexOf("/");
  const directory = path.slice(0, at) || "/";
  LISTINGS.set(directory, LISTINGS.get(directory)?.filter(({ name }) => name !== path.slice(at + 1)) ?? []);
}

export const BASE: AppState = {
  language: "en",
  hidden: "run",
  theme: "system",
  embed: false,
  projects: [
    { id: "1", name: "smart-os", updatedAt: 0 },
    { id: "2", name: "course 3: init scripts", updatedAt: 0 },
    { id: "3", name: "<b>bold</b>", updatedAt: 0 },
  ],
  project: {
    id: "1",
    name: "smart-os",
    commandLine: "console=tty0 console=ttyS0 tsc=reliable",
    memoryMb: 128,
    kernel: null,
  },
  writable: true,
  files: FILES,
  openFile: openFile("/etc/init.d/rcS"),
  pendingEdits: true,
  storage: { state: "saved" },
  machine: machine({}),
  timeline: bars(6),
  download: null,
  disks: [],
  quota: null,
  network: NO_NETWORK,
  snapshots: NO_SNAPSHOTS,
  share: NO_SHARE,
  notices: [],
};

/** What each scenario changes of it. */
const LINES = [
  "smart-os: init scripts: /etc/init.d/rcS",
  " Linux 6.12.48, up after 1.31 s",
  "",
  "root@smart-os:~# ls -l /etc/init.d",
  "-rwxr-xr-x    1 root     root           612 network",
  "-rwxr-xr-x    1 root     root           871 rcS",
  "root@smart-os:~# make",
  "cc -O2 -o hello hello.c",
];
const snapshot = (id: string, change: Partial<SnapshotRow> = {}): SnapshotRow => ({
  id,
  kind: "named",
  projectId: "one",
  name: `Snapshot ${id}`,
  createdAt: Date.UTC(2026, 10, 3, 9, 41),
  picture: { lines: LINES, image: null },
  memoryMb: 128,
  mode: "cold",
  uptimeMs: 249_000,
  disks: [],
  storedBytes: 4_236_000,
  unfit: null,
  ...change,
});
const SNAPSHOTS: SnapshotRow[] = [
  snapshot("s", { kind: "suspended", name: "Suspended", disks: ["data"], uptimeMs: 5_400_000 }),
  snapshot("2", { name: "before the upgrade, with everything that was there", disks: ["data", "swap"] }),
  snapshot("1", { unfit: "emulator", memoryMb: 64, mode: "disk" }),
];

export const SCENARIOS: Record<string, () => Partial<AppState>> = {
  running: () => ({}),
  snapshots: () => ({
    snapshots: {
      rows: SNAPSHOTS,
      count: 5,
      storedBytes: 18_600_000,
      most: { count: 32, bytes: 500e6 },
      work: null,
      resumes: true,
    },
  }),
  applied: () => ({ pendingEdits: false, storage: { state: "saving" } }),
  off: () => ({
    pendingEdits: false,
    machine: machine({ status: "off", phase: null, poweredAt: null, promptMs: null }),
    timeline: [],
    openFile: null,
  }),
  building: () => ({
    machine: machine({
      status: "building",
      phase: "build",
      poweredAt: null,
      promptMs: null,
      build: { step: "pack", done: 182, total: 403 },
    }),
    timeline: bars(1, true),
  }),
  loading: () => ({
    machine: machine({ status: "building", phase: "build", poweredAt: null, promptMs: null }),
    download: { done: 1_900_000, total: 3_120_000 },
    timeline: bars(1, true),
  }),
  booting: () => ({
    pendingEdits: false,
    machine: machine({ status: "booting", phase: "kernel", poweredAt: performance.now() - 900, promptMs: null }),
    timeline: bars(3, true),
  }),
  paused: () => ({ machine: machine({ status: "paused" }) }),
  failed: () => ({
    machine: machine({
      status: "failed",
      phase: "initramfs",
      promptMs: null,
      problem: {
        phase: "initramfs",
        kind: "init-failed",
        text: "The first program ended or could not be started. The kernel says: Attempted to kill init! exitcode=0x00000100",
        lines: PANIC.split("\n"),
        path: "/init",
        canGoBack: true,
      },
    }),
    timeline: bars(4),
  }),
  memory: () => ({
    storage: {
      state: "memory-only",
      reason:
        "The browser refuses storage here (a private window?). Your work stays until this tab closes; download it to keep it.",
    },
    notices: [
      { id: 1, kind: "info", text: "“/etc/init.d/rc.local” was deleted.", action: { label: "Undo", run: () => {} } },
      { id: 2, kind: "error", text: "Cannot upload kernel.iso: > 256 MB" },
    ],
  }),
  full: () => ({
    storage: {
      state: "failed",
      reason: "The browser's storage is full. Delete projects or download this one, then try again.",
    },
  }),
  "read-only": () => ({ writable: false, pendingEdits: false }),
  many: () => ({
    files: [
      ...FILES,
      folder("/data"),
      ...Array.from({ length: 6000 }, (_, index) =>
        row(`/data/file-${String(index).padStart(4, "0")}`, { origin: "added" }),
      ),
    ],
  }),
  binary: () => ({ openFile: openFile("/root/logo.png") }),
  script: () => ({ openFile: openFile("/etc/init.d/hello") }),
  embed: () => ({ embed: true }),
  disks: () => ({ disks: DISKS, quota: { used: 512 * MIB, total: 10 * 1024 * MIB } }),
  "disks-troubled": () => ({
    disks: TROUBLED_DISKS,
    quota: { used: 60.5 * 1024 * MIB, total: 61 * 1024 * MIB },
  }),
  "disks-first": () => ({
    disks: [systemDisk({ build: "unbuilt", storedBytes: 0, usedBytes: null })],
    quota: { used: 5 * MIB, total: 10 * 1024 * MIB },
  }),
  network: () => ({ network: NETWORK }),
  "network-online": () => ({ network: network({ receivedRate: 0, sentRate: 0, receivedBytes: 912, sentBytes: 684 }) }),
  "network-connecting": () => ({
    network: { ...NO_NETWORK, status: "connecting", relay: "wss://relay.example.org" },
  }),
  "network-off": () => ({ network: { ...NO_NETWORK, status: "off" } }),
  "network-waiting": () => ({
    network: network({
      status: "waiting",
      relay: "wss://a-relay-with-a-very-long-name-that-has-no-spaces.example.org:8443/relay/v1?token=abcdefghijklmnop",
      reason: "The relay does not answer: the connection was refused.",
      retryAt: performance.now() + 12_500,
      receivedRate: 0,
      sentRate: 0,
    }),
  }),
  "network-room": () => ({
    network: network({ room: "course 3 网络", roomSecret: "correct horse #1", roomMembers: 7 }),
  }),
  "network-tabs": () => ({
    network: {
      ...NO_NETWORK,
      room: "course 3 网络",
      roomSecret: "correct horse #1",
      roomMembers: 3,
      guestAddress: "10.77.0.2",
      receivedBytes: 2_104_000,
      sentBytes: 91_000,
    },
  }),
  "disks-read-only": () => ({ disks: DISKS, writable: false, pendingEdits: false }),
};
