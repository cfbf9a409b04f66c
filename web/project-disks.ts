/** The disks of a project: which there are and where they are plugged in. What is on them lies in the disk store. */
import { type Project, ProjectError } from "./project.ts";
import { type DiskFileSystem, DRIVES, type Drive } from "./state.ts";

export interface ProjectDisk {
  /** Names the disk in the store. */
  id: string;
  name: string;
  kind: "system" | "data";
  fileSystem: DiskFileSystem | "partitions" | "unknown";
  label: string;
  sizeMb: number;
  /** The system disk only: of its swap partition, which the size includes. Absent where it has none. */
  swapMb?: number;
  /** Null while it lies beside the machine. */
  drive: Drive | null;
  /** The system disk only: what it was built from, as `fingerprint` of project-sum.ts has it. */
  builtFrom?: string;
}

export const MAX_DISK_MB = 64 * 1024;
/** A journal and the tables beside it leave nothing for files on less. */
const LEAST_MB: Readonly<Record<DiskFileSystem, number>> = { ext2: 1, ext3: 4, ext4: 4, swap: 1, empty: 1 };
/** The volume name of ext2, ext3 and ext4, and that of a swap area. */
const MOST_LABEL_BYTES = { ext2: 16, ext3: 16, ext4: 16, swap: 15, empty: 0 } as const;
export const FSTAB = "/etc/fstab";

const encoder = new TextEncoder();

/** @throws ProjectError when a disk of this kind cannot be made */
export function checkDisk(wish: { name: string; sizeMb: number; fileSystem: DiskFileSystem; label: string }): void {
  const { name, sizeMb, fileSystem, label } = wish;
  const what = `Cannot make the disk ${JSON.stringify(name)}`;
  if (name.trim() === "") throw new ProjectError("Cannot make a disk without a name: give it one");
  if (!(fileSystem in LEAST_MB))
    throw new ProjectError(`${what}: ${JSON.stringify(fileSystem)} is none of ${Object.keys(LEAST_MB).join(", ")}`);
  checkSize(what, fileSystem, sizeMb);
  if (/\p{Cc}/u.test(label)) throw new ProjectError(`${what}: its label contains a control character`);
  if (encoder.encode(label).length > MOST_LABEL_BYTES[fileSystem])
    throw new ProjectError(`${what}: its label may have ${MOST_LABEL_BYTES[fileSystem]} bytes with ${fileSystem}`);
}

/** The least that a disk of that file system can have, in MiB. */
export function leastMb(fileSystem: ProjectDisk["fileSystem"]): number {
  return fileSystem in LEAST_MB ? LEAST_MB[fileSystem as DiskFileSystem] : 1;
}

/** @throws ProjectError when no disk of that file system can have the size */
export function checkSize(what: string, fileSystem: ProjectDisk["fileSystem"], sizeMb: number): void {
  const least = leastMb(fileSystem);
  if (!Number.isInteger(sizeMb) || sizeMb < least || sizeMb > MAX_DISK_MB)
    throw new ProjectError(`${what}: ${sizeMb} MB is not between ${least} and ${MAX_DISK_MB} MB`);
}

/** @throws ProjectError when the system disk cannot have that much swap */
export function checkSwap(fileSystem: DiskFileSystem, sizeMb: number, swapMb: number): void {
  const most = mostSwapMb(fileSystem, sizeMb);
  if (!Number.isInteger(swapMb) || swapMb < 0 || swapMb > most)
    throw new ProjectError(
      `Cannot make a swap partition of ${swapMb} MB: a disk of ${sizeMb} MB has room for ${most} MB`,
    );
}

/** What the partition table and the least of file systems leave of a system disk, in MiB. */
export function mostSwapMb(fileSystem: ProjectDisk["fileSystem"], sizeMb: number): number {
  return Math.max(0, sizeMb - 1 - leastMb(fileSystem));
}

/** A disk that has no swap does not say so: it stays the same as one from before there was swap. */
export function withSwap(disk: ProjectDisk, swapMb: number): ProjectDisk {
  const { swapMb: _, ...rest } = disk;
  return swapMb > 0 ? { ...rest, swapMb } : rest;
}

/** @throws ProjectError when there is none: an id, else a name */
export function findDisk(project: Project, idOrName: string): ProjectDisk {
  const disk = project.disks.find(({ id }) => id === idOrName) ?? project.disks.find(({ name }) => name === idOrName);
  if (!disk) throw new ProjectError(`Cannot find the disk ${JSON.stringify(idOrName)}: the project has no such disk`);
  return disk;
}

/** One that lies beside the machine. */
export function newDataDisk(
  id: string,
  facts: Pick<ProjectDisk, "name" | "fileSystem" | "label" | "sizeMb">,
): ProjectDisk {
  return { id, kind: "data", ...facts, drive: null };
}

export function addDisk(project: Project, disk: ProjectDisk): Project {
  return { ...project, disks: [...project.disks, disk] };
}

export function changeDisk(project: Project, id: string, change: Partial<ProjectDisk>): Project {
  return { ...project, disks: project.disks.map((disk) => (disk.id === id ? { ...disk, ...change } : disk)) };
}

export function replaceDisk(project: Project, disk: ProjectDisk): Project {
  return { ...project, disks: project.disks.map((other) => (other.id === disk.id ? disk : other)) };
}

export function dropDisk(project: Project, id: string): Project {
  return { ...project, disks: project.disks.filter((disk) => disk.id !== id) };
}

/**
 * Plugs a disk in. The first drive is the system disk's.
 * @param drive null: the first that is free
 * @throws ProjectError when the drive is taken, or all are
 */
export function attachDisk(project: Project, id: string, drive: Drive | null): Project {
  const disk = findDisk(project, id);
  if (disk.kind === "system") return changeDisk(project, id, { drive: DRIVES[0] });
  const taken = new Map(project.disks.filter((other) => other.id !== id).map((other) => [other.drive, other.name]));
  const free = DRIVES.slice(1).filter((name) => !taken.has(name));
  const target = drive ?? (disk.drive && !taken.has(disk.drive) ? disk.drive : free[0]);
  if (target === undefined)
    throw new ProjectError(`Cannot attach ${disk.name}: all drives are taken; detach a disk first`);
  if (target === DRIVES[0])
    throw new ProjectError(`Cannot attach ${disk.name} as sda: that is the system disk's drive`);
  if (!DRIVES.includes(target))
    throw new ProjectError(`Cannot attach ${disk.name} as ${target}: drives are ${DRIVES.join(", ")}`);
  const holder = taken.get(target);
  if (holder !== undefined)
    throw new ProjectError(`Cannot attach ${disk.name} as ${target}: ${holder} is there; detach it first`);
  return changeDisk(project, id, { drive: target });
}

/** Brings back a disk that the project had: to its drive, unless another one is there now. */
export function bringBack(project: Project, disk: ProjectDisk): Project {
  const isTaken = project.disks.some(({ drive }) => drive === disk.drive);
  return addDisk(project, { ...disk, name: diskName(project, disk.name), drive: isTaken ? null : disk.drive });
}

/** A name that no other disk of the project has. */
export function diskName(project: Project, wanted: string): string {
  const taken = project.disks.map(({ name }) => name);
  const name = wanted.trim().slice(0, 40) || "disk";
  if (!taken.includes(name)) return name;
  const stem = name.replace(/ \d+$/, "");
  for (let number = 2; ; number += 1) if (!taken.includes(`${stem} ${number}`)) return `${stem} ${number}`;
}

/**
 * The line that mounts a disk at every start, in place of one for the same device or directory.
 * @param fstab text of /etc/fstab
 * @param mountAt an absolute directory; for swap it is not used
 * @throws ProjectError when a directory cannot stand in fstab
 */
export function withFstabLine(fstab: string, disk: ProjectDisk, mountAt: string): string {
  const { drive, fileSystem } = disk;
  if (drive === null) throw new ProjectError(`Cannot mount ${disk.name} at every start: attach it first`);
  if (fileSystem === "empty" || fileSystem === "partitions" || fileSystem === "unknown")
    throw new ProjectError(`Cannot mount ${disk.name} at every start: there is no file system on it`);
  const isSwap = fileSystem === "swap";
  if (!isSwap && !/^\/[^\s#]+$/.test(mountAt))
    throw new ProjectError(
      `Cannot mount ${disk.name} at ${JSON.stringify(mountAt)}: write an absolute path without spaces`,
    );
  const device = `/dev/${drive}`;
  const directory = isSwap ? "none" : mountAt;
  const lines = fstab.split("\n").filter((line) => {
    const [first, second] = line.trim().split(/\s+/);
    return first !== device && (isSwap || second !== directory || first?.startsWith("#"));
  });
  while (lines.at(-1) === "") lines.pop();
  const line = `${device.padEnd(11)} ${directory.padEnd(11)} ${fileSystem.padEnd(7)} ${"defaults".padEnd(21)} 0     0`;
  return `${[...lines, line].join("\n")}\n`;
}

/** Without the line of a drive, as when its disk is deleted. */
export function withoutFstabLine(fstab: string, drive: Drive): string {
  return fstab
    .split("\n")
    .filter((line) => line.trim().split(/\s+/)[0] !== `/dev/${drive}`)
    .join("\n");
}
