/**
 * The protocol between the page and the builder worker: types only, so that the page may import it without
 * pulling the builder into its own bundle. Results are plain values, because classes, `code` and `cause` do not
 * survive the structured clone and comlink flattens errors.
 */
import type { ComposedImage, Extent, SparseImage } from "./format/sparse-image.ts";
import type { FileInspection } from "./import.ts";
import type { SharedProject } from "./shared-project.ts";

export type { ComposedImage, Extent, Piece, SparseImage } from "./format/sparse-image.ts";

export type { FileInspection } from "./import.ts";
export type { SharedProject } from "./shared-project.ts";

/** One entry of a project's root file system. `path` is absolute, normalised and never ends in "/". */
export type ProjectFile =
  | (Attributes & { kind: "file"; content: Uint8Array })
  | (Attributes & { kind: "directory" })
  | (Attributes & { kind: "symlink"; target: string })
  | (Attributes & { kind: "device"; device: "character" | "block"; major: number; minor: number });

export interface Attributes {
  path: string;
  /** Permission bits with setuid, setgid and sticky: 0 to 0o7777. */
  mode: number;
  /** Owner and group, 0 when absent. */
  uid?: number;
  gid?: number;
  /** Seconds since 1970-01-01 UTC, 0 when absent: the same project gives the same bytes. */
  mtime?: number;
}

/** A default file that the project does not want. */
export interface DeletedFile {
  path: string;
  kind: "deleted";
}

/** What a project puts over the default root file system, one entry for each path. */
export type Overlay = ReadonlyArray<ProjectFile | DeletedFile>;

/** A kernel of a project's own, in place of the one that was built. */
export interface CustomKernel {
  /** A bzImage. */
  content: Uint8Array<ArrayBuffer>;
  /** Lower-case hexadecimal SHA-256 of it: what tells one kernel from another. */
  sha256: string;
  /** What it says of itself, for people; "" when it says nothing. */
  version: string;
}

/** What to build. */
export interface BuildRequest {
  target: "initramfs";
  overlay: Overlay;
  /** The emulator boots an uncompressed archive a second sooner; downloads are gzipped. */
  compression: "none" | "gzip";
  /** The guest's memory in MiB: an archive that cannot be unpacked into it is refused. */
  memoryMb: number;
}

/**
 * An overlay without the contents of its files, which stay with the page: what a warm boot has to do follows from how long
 * they are and which of them are the same.
 */
export type Outline = ReadonlyArray<OutlinedFile | Exclude<ProjectFile, { kind: "file" }> | DeletedFile>;

export type OutlinedFile = Attributes & {
  kind: "file";
  /** Length in bytes. */
  size: number;
  /** A number that no other content has. */
  content: number;
};

/** What a warm boot hands over of a project. */
export interface DeltaRequest {
  overlay: Outline;
  /** What the machine has been handed before; null: nothing, its /init included. */
  present: Outline | null;
  /** The guest's memory in MiB: what an initramfs could not bring into it is refused here too. */
  memoryMb: number;
}

/**
 * Batches of records with gaps for the files' contents (worker/format/hand-over.ts). Null: a machine that has `present`
 * cannot become that, one that has nothing can.
 */
export type DeltaResult = { ok: true; bytes: Uint8Array<ArrayBuffer> | null; buildMs: number } | BuildFailure;

/** Where a build is. `done` and `total` are bytes for "fetch", entries for "tree" and "pack", bytes for "compress". */
export interface BuildProgress {
  step: "fetch" | "tree" | "pack" | "compress";
  done: number;
  total: number;
}

export interface BuildSuccess {
  ok: true;
  bytes: Uint8Array<ArrayBuffer>;
  /** Lower-case hexadecimal SHA-256 of `bytes`. */
  sha256: string;
  entries: number;
  buildMs: number;
}

/** `problem` is a sentence for the user, in the form "Cannot X: state". `path` names the entry at fault. */
export interface BuildFailure {
  ok: false;
  reason: "cancelled" | "invalid" | "too-large" | "unavailable" | "crashed";
  problem: string;
  path?: string;
}

export type BuildResult = BuildSuccess | BuildFailure;

/**
 * A bootable disk made from a project: a partition with GRUB before it, kernel and initramfs in its /boot, and where it is
 * wanted a second one for swap.
 */
export interface DiskRequest {
  overlay: Overlay;
  /** Of the whole disk, in MiB. */
  sizeMb: number;
  /** Of the swap partition at its end, in MiB; 0 or absent: there is none. */
  swapMb?: number;
  fileSystem: "ext2" | "ext3" | "ext4";
  /** What GRUB gives the kernel beside `root=`. */
  commandLine: string;
  /** Of the file system. Its UUID and its times come from the rest: the same request makes the same bytes. */
  label: string;
  /** A bzImage in place of the one that was built. */
  kernel?: Uint8Array;
}

/** What tells one disk from the next. */
export interface DiskIdentity {
  /** 16 bytes, of the file system or the swap area. */
  uuid: Uint8Array;
  label: string;
  /** Seconds since 1970-01-01 UTC. */
  time: number;
}

/** An empty disk that is one file system or swap area, without a partition table. */
export interface FormatRequest {
  fileSystem: "ext2" | "ext3" | "ext4" | "swap";
  sizeBytes: number;
  identity: DiskIdentity;
}

/** What is on a disk. */
export interface DiskInspection {
  fileSystem: "ext2" | "ext3" | "ext4" | "swap" | "empty" | "partitions" | "unknown";
  label: string;
  /** What files take, in bytes; null where no file system says so. */
  usedBytes: number | null;
}

/** An entry of a directory on a disk. */
export interface DiskEntry {
  name: string;
  kind: "file" | "directory" | "symlink" | "device" | "fifo" | "socket";
  mode: number;
  uid: number;
  gid: number;
  /** Bytes; 0 for anything but files. */
  size: number;
  /** Seconds since 1970-01-01 UTC. */
  mtime: number;
  target?: string;
}

/** Another content for a disk, made from what is on it. */
export interface RebuildRequest {
  sizeBytes: number;
  /** Seconds since 1970-01-01 UTC. */
  time: number;
  /** The files' contents stay with the page: the first is source 1 of the image, and so on. */
  put?: { directory: string; files: readonly { name: string; size: number; mtime: number }[] };
  /** A path. */
  remove?: string;
}

/** Reads a disk that the page holds: offset and length in bytes. */
export type ReadDisk = (offset: number, length: number) => Promise<Uint8Array<ArrayBuffer>>;

export type Answer<T> = { ok: true; value: T } | BuildFailure;

export type DiskResult = { ok: true; image: SparseImage; buildMs: number } | BuildFailure;

/** Source 0 of the image is the disk itself. */
export type RebuildResult = { ok: true; image: ComposedImage; buildMs: number } | BuildFailure;
/**
 * A file to make for other machines. Disks are named by their places in the list that goes with the request, of which
 * `diskIds` are the ids; `name` is the file's, without its ending.
 */
export type ExportRequest =
  | { kind: "bundle"; project: SharedProject; diskIds: readonly string[]; snapshot: Blob | null }
  | { kind: "initramfs" | "rootfs-tar"; overlay: Overlay }
  | { kind: "disk-iso"; overlay: Overlay; commandLine: string; kernel: Uint8Array | null }
  | { kind: "disk-raw-gz" | "disk-qcow2" | "disk-vmdk"; name: string };

/** The next extent of a disk, the first one when it begins anew; null at the end. */
export type DiskWalk = (disk: number, restart: boolean) => Promise<Extent | null>;
/** Takes bytes of a file at their place; resolves when more may come. */
export type WritePiece = (offset: number, bytes: Uint8Array<ArrayBuffer>) => Promise<void>;

/** A file from outside that the page holds. */
export interface ForeignFile {
  name: string;
  sizeBytes: number;
}

/** A bundle without what is on its disks: that is taken disk by disk. */
export interface OpenedBundle {
  project: SharedProject;
  /** The disks whose content is in the bundle, by the project's ids. */
  contents: readonly { id: string; sizeBytes: number }[];
  /** There is a saved machine in it: `takeSnapshot`. */
  hasSnapshot: boolean;
}

/** Takes a disk's content in order; resolves when more may come. */
export type TakeExtent = (extent: Extent) => Promise<void>;

/** What the worker exposes over comlink. */
export interface BuilderApi {
  buildDisk(request: DiskRequest, onProgress: (progress: BuildProgress) => void): Promise<DiskResult>;
  formatDisk(request: FormatRequest): Promise<DiskResult>;
  /** @param sizeBytes of the disk */
  inspectDisk(sizeBytes: number, read: ReadDisk): Promise<Answer<DiskInspection>>;
  /** Sorted by name, directories first. A disk with several ext file systems has them as "/partition-1" and so on. */
  listDirectory(sizeBytes: number, read: ReadDisk, path: string): Promise<Answer<DiskEntry[]>>;
  /** Where a file's content is on the disk (source 0), with what of it is not in its place yet. */
  locateDiskFile(sizeBytes: number, read: ReadDisk, path: string): Promise<Answer<ComposedImage>>;
  rebuildDisk(sizeBytes: number, read: ReadDisk, request: RebuildRequest): Promise<RebuildResult>;
  /**
   * Makes a file piece by piece.
   * @param diskBytes sizes of the disks
   * @param onProgress called with bytes done: of the disk for a disk, of what is packed else
   * @returns the file's length
   */
  exportImage(
    request: ExportRequest,
    diskBytes: readonly number[],
    walk: DiskWalk,
    write: WritePiece,
    onProgress: (done: number) => void,
  ): Promise<Answer<number>>;
  /** What a file from outside is, without taking anything of it. */
  inspectFile(file: ForeignFile, read: ReadDisk): Promise<Answer<FileInspection>>;
  openBundle(file: ForeignFile, read: ReadDisk): Promise<Answer<OpenedBundle>>;
  /** A bzImage, checked. */
  openKernel(file: ForeignFile, read: ReadDisk): Promise<Answer<CustomKernel>>;
  /** What an archive's files are over the default ones, which it replaces when it has an /init, and else adds to. */
  openFiles(file: ForeignFile, read: ReadDisk): Promise<Answer<Overlay>>;
  /**
   * Takes the content of a disk: of an image, or of one of a bundle's.
   * @returns the disk's size in bytes
   */
  takeDisk(file: ForeignFile, read: ReadDisk, id: string | null, take: TakeExtent): Promise<Answer<number>>;
  /** Takes a bundle's saved machine, a file as web/snapshot-file.ts has it, in order. @returns its length in bytes */
  takeSnapshot(file: ForeignFile, read: ReadDisk, take: TakeExtent): Promise<Answer<number>>;
  /** A project as the text of a link. */
  encodeLink(project: SharedProject): Promise<Answer<string>>;
  openLink(text: string): Promise<Answer<SharedProject>>;
  build(request: BuildRequest, onProgress: (progress: BuildProgress) => void): Promise<BuildResult>;
  composeDelta(request: DeltaRequest): Promise<DeltaResult>;
  /** Ends the build under way, which then resolves to `{ok: false, reason: "cancelled"}`. */
  cancel(): void;
}
