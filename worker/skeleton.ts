import type { FileTree } from "./format/file-tree.ts";

/** Directories that are empty until the system runs, or that have other permissions than 0755. */
const DIRECTORIES: readonly [path: string, mode: number][] = [
  ["/dev", 0o755],
  ["/proc", 0o555],
  ["/sys", 0o555],
  ["/run", 0o755],
  ["/tmp", 0o1777],
  ["/mnt", 0o755],
  ["/root", 0o700],
  ["/usr/local/bin", 0o755],
  ["/usr/local/sbin", 0o755],
  ["/var/log", 0o755],
  ["/var/spool/cron/crontabs", 0o755],
  ["/var/tmp", 0o1777],
  ["/var/www", 0o755],
];

/** Before /init has mounted devtmpfs the kernel opens /dev/console for it. */
const DEVICES = [
  { path: "/dev/console", mode: 0o600, major: 5, minor: 1 },
  { path: "/dev/null", mode: 0o666, major: 1, minor: 3 },
] as const;

const OWNER = { uid: 0, gid: 0, mtime: 0 } as const;

/** Adds what the root file system has besides files: git can carry neither empty directories nor device nodes. */
export function addSkeleton(tree: FileTree): void {
  for (const [path, mode] of DIRECTORIES) tree.add({ path, kind: "directory", mode, ...OWNER });
  for (const device of DEVICES) tree.add({ ...device, kind: "device", device: "character", ...OWNER });
  tree.add({ path: "/var/run", kind: "symlink", target: "/run", mode: 0o777, ...OWNER });
}
