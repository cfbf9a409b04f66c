/**
 * Files from strangers: what they are, before anything of them is taken, and how they are opened. Everything is bounded
 * before it is unpacked, and refused with a sentence: FormatError "Cannot open NAME: …".
 */
import type { CustomKernel, Overlay, ProjectFile } from "./api.ts";
import { type Bundle, type OpenOptions, openBundle } from "./bundle.ts";
import { inflateCluster, unpackStart } from "./compress.ts";
import { decodeBzImage, isBzImage, kernelVersion, MOST_KERNEL_BYTES } from "./format/bzimage.ts";
import { decodeCpio } from "./format/cpio.ts";
import { type DiskStream, streamOfSource } from "./format/disk-stream.ts";
import { type FileTree, FormatError, quote, type TreeEntry } from "./format/file-tree.ts";
import { describeHead, type HeadContent } from "./format/head.ts";
import { MOST_DISK_BYTES, openQcow2 } from "./format/qcow2-reader.ts";
import type { BlockSource } from "./format/sparse-image.ts";
import { decodeTar, isTar } from "./format/tar.ts";
import { isZip } from "./format/zip.ts";
import { hashSha256 } from "./hash.ts";
import { inPassing } from "./release.ts";
import { checkSharedPath, checkTarget } from "./shared-project.ts";
import { gather, unpackStream } from "./unpack.ts";

/** What was found in a file. Sizes are in bytes. */
export type FileInspection =
  | {
      kind: "bundle";
      name: string;
      files: number;
      memoryMb: number;
      disks: { name: string; size: number }[];
      /** What its own kernel says of itself; null when it has none. */
      kernel: string | null;
      snapshot: boolean;
    }
  /** `size` of the disk; null while it is packed as a whole. */
  | { kind: "disk"; container: "raw" | "gzip" | "qcow2"; size: number | null; content: HeadContent }
  /** A root file system. Counts are null while it is packed: opening it tells. */
  | { kind: "files"; container: "cpio" | "tar"; isPacked: boolean }
  | { kind: "kernel"; version: string };

/** A disk's start in which partition table and first file system are found. */
const HEAD_BYTES = 1024 * 1024 + 64 * 1024;
/** Read to tell kinds apart. */
const START_BYTES = 64 * 1024;
/** A root file system is in memory, and was there packed. */
const MOST_ARCHIVE_BYTES = 256 * 1024 * 1024;
const MOST_ENTRIES = 100_000;
const STEP_BYTES = 256 * 1024;

/** @throws FormatError for what is none of the kinds, or damaged as far as has been looked */
export async function inspectFile(source: BlockSource, options: OpenOptions): Promise<FileInspection> {
  const { name, signal } = options;
  const what = `Cannot open ${quote(name)}`;
  if (source.size === 0) throw new FormatError(`${what}: it is empty`);
  const start = await source.read(0, Math.min(START_BYTES, source.size));
  if (isZip(start)) {
    const { project, disks, extras } = await openBundle(source, options);
    return {
      kind: "bundle",
      name: project.name,
      files: project.files.length,
      memoryMb: project.memoryMb,
      disks: disks.map(({ disk, size }) => ({ name: disk.name, size })),
      kernel: project.kernel?.version ?? null,
      snapshot: extras.length > 0,
    };
  }
  const isPacked = isGzip(start);
  const inner = isPacked ? unpackStart("gzip", start, START_BYTES) : start;
  if (isQcow2(start)) {
    const image = await openQcow2(source, inflateCluster, what);
    return { kind: "disk", container: "qcow2", size: image.size, content: describeHead(await headOf(image, signal)) };
  }
  if (isCpio(inner)) return { kind: "files", container: "cpio", isPacked };
  if (isTar(inner)) return { kind: "files", container: "tar", isPacked };
  if (isBzImage(start)) return { kind: "kernel", version: kernelVersion(start) };
  if (isPacked) {
    if (inner.length === 0) throw new FormatError(`${what}: it begins as a gzip file, but is damaged or cut off`);
    const content = describeHead(
      await headOf({ size: MOST_DISK_BYTES, extents: () => unpacked(source, what, signal) }, signal),
    );
    return { kind: "disk", container: "gzip", size: null, content };
  }
  refuseOthers(start, what);
  checkRawSize(source.size, what);
  return {
    kind: "disk",
    container: "raw",
    size: source.size,
    content: describeHead(await headOf(streamOfSource(source), signal)),
  };
}

export { type Bundle, openBundle };

/**
 * A disk image: raw, gzipped or qcow2. A gzipped one is unpacked once to learn its size.
 * @throws FormatError
 */
export async function openDisk(source: BlockSource, { name, signal }: OpenOptions): Promise<DiskStream> {
  const what = `Cannot open ${quote(name)}`;
  const start = await source.read(0, Math.min(START_BYTES, source.size));
  if (isQcow2(start)) {
    const { size, extents } = await openQcow2(source, inflateCluster, what);
    return { size, extents };
  }
  if (!isGzip(start)) {
    checkRawSize(source.size, what);
    return { size: source.size, extents: () => inPassing(streamOfSource(source).extents()) };
  }
  let size = 0;
  for await (const { bytes } of unpacked(source, what, signal)) size += bytes.length;
  checkRawSize(size, what);
  return { size, extents: () => unpacked(source, what, signal) };
}

/**
 * A root file system from a cpio or tar archive, packed or not.
 * @throws FormatError
 */
export async function openTree(source: BlockSource, { name, signal }: OpenOptions): Promise<FileTree> {
  const what = `Cannot open ${quote(name)}`;
  const start = await source.read(0, Math.min(START_BYTES, source.size));
  const packed = isGzip(start);
  const bytes = packed ? await unpackAll(source, what, signal) : await readAll(source, MOST_ARCHIVE_BYTES, what);
  try {
    const tree = isCpio(bytes) ? decodeCpio(bytes, MOST_ENTRIES) : decodeTar(bytes, MOST_ENTRIES);
    for (const entry of tree.sorted()) {
      if (entry.path === "/") continue;
      checkSharedPath(entry.path, what);
      if (entry.kind === "symlink") checkTarget(entry.path, entry.target, what);
    }
    return tree;
  } catch (error) {
    if (!(error instanceof FormatError) || error.message.startsWith(what)) throw error;
    throw new FormatError(`${what}: ${error.message.slice(0, 1).toLowerCase()}${error.message.slice(1)}`, error.path);
  }
}

/** A bare kernel. @throws FormatError when it is none, or none that a machine here can start */
export async function openKernel(source: BlockSource, { name }: OpenOptions): Promise<CustomKernel> {
  const what = `Cannot open ${quote(name)}`;
  const content = await readAll(source, MOST_KERNEL_BYTES, what);
  const { version } = decodeBzImage(content, what);
  return { content, sha256: await hashSha256(content), version };
}

/**
 * What a project has to put over the default root file system to become another one. Further names of a file become
 * copies.
 * @throws FormatError for what a project cannot have
 */
export function overlayOf(tree: FileTree, base: FileTree): Overlay {
  const overlay: Overlay[number][] = [];
  for (const entry of tree.sorted()) {
    if (entry.path === "/") continue;
    const own = entry.kind === "hardlink" ? { ...(tree.get(entry.target) as TreeEntry), path: entry.path } : entry;
    if (own.kind === "fifo" || own.kind === "hardlink")
      throw new FormatError(
        `Cannot take ${quote(entry.path)}: it is a ${own.kind}, which a project does not have`,
        entry.path,
      );
    if (!isSame(own, base.get(entry.path))) overlay.push(own satisfies ProjectFile);
  }
  for (const { path } of base.sorted()) {
    const end = path.lastIndexOf("/");
    // What is in a deleted directory goes with it.
    if (path !== "/" && !tree.has(path) && tree.has(path.slice(0, end) || "/")) overlay.push({ path, kind: "deleted" });
  }
  return overlay.sort((a, b) => (a.path < b.path ? -1 : 1));
}

function isSame(a: TreeEntry, b: TreeEntry | undefined): boolean {
  if (!b || a.kind !== b.kind) return false;
  // Archives have times that mean nothing here.
  if (a.uid !== b.uid || a.gid !== b.gid || (a.mode !== b.mode && a.kind !== "symlink")) return false;
  if (a.kind === "file" && b.kind === "file")
    return a.content.length === b.content.length && a.content.every((byte, at) => byte === b.content[at]);
  if (a.kind === "symlink" && b.kind === "symlink") return a.target === b.target;
  if (a.kind === "device" && b.kind === "device")
    return a.device === b.device && a.major === b.major && a.minor === b.minor;
  return true;
}

const isGzip = (start: Uint8Array): boolean => start[0] === 0x1f && start[1] === 0x8b && start[2] === 8;
const isQcow2 = (start: Uint8Array): boolean => startsWith(start, "QFI\u00fb");
const isCpio = (start: Uint8Array): boolean => startsWith(start, "070701") || startsWith(start, "070702");

function startsWith(bytes: Uint8Array, text: string): boolean {
  return [...text].every((letter, at) => bytes[at] === letter.charCodeAt(0));
}

/** Kinds that would pass for raw disks. */
function refuseOthers(start: Uint8Array, what: string): void {
  if (startsWith(start, "KDMV"))
    throw new FormatError(`${what}: it is a VMDK image; \`qemu-img convert -O qcow2\` makes one that is read`);
  if (startsWith(start.subarray(ISO_VOLUME), "CD001"))
    throw new FormatError(`${what}: it is a CD image, which is for QEMU and real machines`);
}

/** The name of the first volume descriptor of ISO 9660. */
const ISO_VOLUME = 16 * 2048 + 1;

function checkRawSize(size: number, what: string): void {
  if (size % 512 !== 0 || size === 0)
    throw new FormatError(
      `${what}: it is none of the kinds that are known, and no disk image: ${size} bytes are no whole sectors`,
    );
  if (size > MOST_DISK_BYTES) throw new FormatError(`${what}: it has ${size} bytes, ${MOST_DISK_BYTES} is the most`);
}

async function* unpacked(source: BlockSource, what: string, signal: AbortSignal | undefined) {
  let offset = 0;
  for await (const bytes of unpackStream("gzip", partsOf(source), { what, most: MOST_DISK_BYTES, signal })) {
    yield { offset, bytes };
    offset += bytes.length;
  }
}

/** All of a file, piece by piece. */
export async function* partsOf(source: BlockSource): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  for (let at = 0; at < source.size; at += STEP_BYTES)
    yield await source.read(at, Math.min(STEP_BYTES, source.size - at));
}

async function readAll(source: BlockSource, most: number, what: string): Promise<Uint8Array<ArrayBuffer>> {
  if (source.size > most) throw new FormatError(`${what}: it has ${source.size} bytes, ${most} is the most`);
  return source.read(0, source.size);
}

async function unpackAll(source: BlockSource, what: string, signal: AbortSignal | undefined) {
  return gather(unpackStream("gzip", partsOf(source), { what, most: MOST_ARCHIVE_BYTES, signal }));
}

async function headOf(disk: DiskStream, signal: AbortSignal | undefined): Promise<Uint8Array<ArrayBuffer>> {
  const head = new Uint8Array(Math.min(HEAD_BYTES, disk.size));
  for await (const { offset, bytes } of disk.extents()) {
    signal?.throwIfAborted();
    if (offset >= head.length) break;
    head.set(bytes.subarray(0, head.length - offset), offset);
    if (offset + bytes.length >= head.length) break;
  }
  return head;
}
