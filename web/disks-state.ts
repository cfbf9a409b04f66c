/** What the page shows of disks, and what a person can do with them. */
import type { DiskEntry } from "../worker/api.ts";
import type { PlacedFile } from "./placed-files.ts";

/** The machine's drives by the names that the guest gives them. The system disk is the first. */
export const DRIVES = ["sda", "sdb", "sdc", "sdd"] as const;
export type Drive = (typeof DRIVES)[number];

export type DiskFileSystem = "ext2" | "ext3" | "ext4" | "swap" | "empty";

/** A disk of the project as the disks view shows it. */
export interface DiskRow {
  id: string;
  name: string;
  /** The system disk is built from the project; it is there, unbuilt, before it has ever been asked for. */
  kind: "system" | "data";
  sizeBytes: number;
  /** What it costs in the browser's storage. */
  storedBytes: number;
  /** What its file system says is taken; null when there is none, or the disk is in use by the machine. */
  usedBytes: number | null;
  /** What is on it as far as the page knows; "unknown" for an imported disk that holds something else. */
  fileSystem: DiskFileSystem | "partitions" | "unknown";
  label: string;
  /** What a system disk is built with for swap, in MiB; 0: nothing. */
  swapMb: number;
  /** Where it is, or null while it lies beside the machine. Takes effect at the next boot. */
  drive: Drive | null;
  /** The running machine has it: its files cannot be listed, and it cannot be resized. */
  inUse: boolean;
  /** The system disk only: "unbuilt" or, when the project has changed since, "stale". */
  build: "unbuilt" | "stale" | "current" | null;
  /** The guest has written to it since it was built or made: "reset" brings the first content back. */
  changed: boolean;
  /** Another tab writes it: here it can only be read. */
  readOnly: boolean;
  /** Long work under way: bytes done of total. */
  work: { what: "build" | "import" | "resize" | "copy" | "download" | "merge"; done: number; total: number } | null;
  /** A sentence when something is wrong with it: no room for a write, a damaged block. */
  problem: string | null;
}

/** What the user can do with disks. Refusals and results of long work come as notices and in the rows, unless said otherwise. */
export interface DiskActions {
  create(wish: {
    name: string;
    sizeMb: number;
    fileSystem: DiskFileSystem;
    label: string;
    /** Adds a line to /etc/fstab, so that it is mounted there after a reboot; null for none. */
    mountAt: string | null;
  }): void;
  /** Null: the next drive that is free. */
  attach(id: string, drive: Drive | null): void;
  detach(id: string): void;
  resize(id: string, sizeMb: number): void;
  duplicate(id: string): void;
  rename(id: string, name: string): void;
  /** Shows a notice with "undo". */
  remove(id: string): void;
  /** A raw image, gzipped or not. */
  import(file: File): void;
  download(id: string): void;
  /** Builds the system disk from the project as it is; what the guest wrote on the old one is lost: the view asks first. */
  build(): void;
  setSystemDisk(wish: { sizeMb: number; fileSystem: "ext2" | "ext3" | "ext4"; swapMb: number }): void;
  /** Boots from it, and builds it before when there is none. */
  boot(): void;
  /** Forgets what the guest wrote. */
  reset(id: string): void;
  /** Makes what the guest wrote the disk's first content. */
  merge(id: string): void;
  cancel(id: string): void;
  /** Sorted by name, directories first. @throws Error with a sentence for the user */
  list(id: string, path: string): Promise<DiskEntry[]>;
  extract(id: string, path: string): void;
  /** @throws Error with a sentence for the user */
  put(id: string, directory: string, files: readonly PlacedFile[]): Promise<void>;
  /** @throws Error with a sentence for the user */
  removeEntry(id: string, path: string): Promise<void>;
}
