/** What is on a disk: to look into it, to take files out, and to make the disk anew with other content or size. */
import type { DiskEntry, DiskInspection, RebuildRequest } from "./api.ts";
import { rewriteExt } from "./format/extfs.ts";
import { touched } from "./format/extfs-inode.ts";
import type { KeptFiles, KeptInode } from "./format/extfs-kept.ts";
import { type ExtEntry, openExt } from "./format/extfs-reader.ts";
import { type FileTree, FormatError, quote } from "./format/file-tree.ts";
import { decodeMbr, encodeMbr, type Partition, SECTOR_BYTES } from "./format/mbr.ts";
import { type BlockSource, type ComposedImage, ImageWriter, partOf } from "./format/sparse-image.ts";
import { decodeSwap } from "./format/swap.ts";

/** The superblock of ext2, ext3 and ext4 and its magic number, in bytes from the file system's start. */
const EXT_MAGIC_OFFSET = 1024 + 56;
const EXT_MAGIC = 0xef53;
const PAGE_BYTES = 4096;
/** A disk without anything in its first bytes is taken for empty. */
const EMPTY_BYTES = 64 * 1024;

type Content =
  | { kind: "ext"; source: BlockSource }
  | { kind: "partitions"; partitions: readonly (Partition | null)[]; signature: number }
  | { kind: "swap"; label: string }
  | { kind: "empty" | "unknown" };

/** Never fails for what is on the disk: what it does not know, or what is broken, is "unknown". */
export async function inspectDisk(source: BlockSource): Promise<DiskInspection> {
  const content = await recognise(source);
  if (content.kind === "swap") return { fileSystem: "swap", label: content.label, usedBytes: null };
  if (content.kind === "ext") {
    const reader = await openExt(content.source).catch(ignoreDamage);
    if (!reader) return { fileSystem: "unknown", label: "", usedBytes: null };
    return { fileSystem: reader.kind, label: reader.label, usedBytes: reader.usedBytes };
  }
  if (content.kind !== "partitions") return { fileSystem: content.kind, label: "", usedBytes: null };
  const volumes = await volumesOf(source, content.partitions);
  const readers = await Promise.all(volumes.map((volume) => openExt(volume.source).catch(ignoreDamage)));
  const known = readers.filter((reader) => reader !== null);
  const usedBytes = known.length > 0 ? known.reduce((sum, reader) => sum + reader.usedBytes, 0) : null;
  return { fileSystem: "partitions", label: known[0]?.label ?? "", usedBytes };
}

/**
 * A disk with several ext file systems has them as directories, "partition-1" and so on; one with a single one has its files.
 * @throws FormatError when there is no such directory, or no file system to look into
 */
export async function listDirectory(source: BlockSource, path: string): Promise<DiskEntry[]> {
  const volumes = await findVolumes(source);
  if (volumes.length > 1 && path === "/") return volumes.map(describeVolume);
  const { volume, inside } = choose(volumes, path);
  return (await (await openExt(volume.source)).list(inside)).map(describe);
}

/**
 * Where the content of a file is on the disk, as `ExtReader.locate` has it.
 * @throws FormatError when there is no such file
 */
export async function locateDiskFile(source: BlockSource, path: string): Promise<ComposedImage> {
  const { volume, inside } = choose(await findVolumes(source), path);
  const { start } = volume;
  const { size, pieces } = await (await openExt(volume.source)).locate(inside);
  return { size, pieces: pieces.map((piece) => ("bytes" in piece ? piece : { ...piece, from: piece.from + start })) };
}

/**
 * Writes a file system anew, of another size or with other files in it, around the files that stay. A disk's only partition
 * goes from where it starts to the disk's end, and what stands before it (GRUB) stays. Of several partitions one can get
 * other files; the rest of such a disk stays as it is, and so does its size.
 * @throws FormatError when the files do not fit, or the disk is none that can be made anew
 */
export async function rebuildDisk(source: BlockSource, request: RebuildRequest): Promise<ComposedImage> {
  const content = await recognise(source);
  if (content.kind === "ext") return rebuildFiles(content.source, request.sizeBytes, request);
  const volumes = content.kind === "partitions" ? await volumesOf(source, content.partitions) : [];
  if (content.kind !== "partitions" || volumes.length === 0)
    throw new FormatError("Cannot change the disk: there is no ext file system on it");
  const isOnly = content.partitions.filter((partition) => partition !== null).length === 1;
  return isOnly
    ? rebuildOnly(source, content, volumes[0] as Volume, request)
    : rebuildAmongOthers(source, volumes, request);
}

async function rebuildOnly(
  source: BlockSource,
  { partitions, signature }: Extract<Content, { kind: "partitions" }>,
  { start, source: before }: Volume,
  request: RebuildRequest,
): Promise<ComposedImage> {
  const { sizeBytes } = request;
  const sectors = Math.floor(sizeBytes / SECTOR_BYTES);
  if (sizeBytes <= start) throw new FormatError("Cannot change the disk: its partition would begin behind its end");
  const resized = partitions.map((one) => one && { ...one, sectors: sectors - one.start });
  const head = await source.read(0, SECTOR_BYTES);
  const table = encodeMbr({ signature, partitions: resized }, sectors);
  // The code of the boot loader comes before the table.
  head.set(table.subarray(TABLE_OFFSET), TABLE_OFFSET);
  const disk = new ImageWriter(sizeBytes);
  disk.place(0, head);
  disk.refer({ offset: SECTOR_BYTES, length: start - SECTOR_BYTES, source: 0, from: SECTOR_BYTES });
  embed(disk, start, await rebuildFiles(before, sizeBytes - start, request));
  return disk.compose();
}

async function rebuildAmongOthers(
  source: BlockSource,
  volumes: readonly Volume[],
  request: RebuildRequest,
): Promise<ComposedImage> {
  if (request.sizeBytes !== source.size)
    throw new FormatError("Cannot resize the disk: it has several partitions. Use fdisk in a guest");
  const { put, remove, ...rest } = request;
  const { volume, inside } = choose(volumes, put?.directory ?? remove ?? "/");
  if (remove !== undefined && inside === "/") throw new FormatError("Cannot remove a partition. Use fdisk in a guest");
  const within = {
    ...rest,
    ...(put ? { put: { ...put, directory: inside } } : {}),
    ...(remove ? { remove: inside } : {}),
  };
  const { start, source: before } = volume;
  const end = start + before.size;
  const disk = new ImageWriter(source.size);
  disk.refer({ offset: 0, length: start, source: 0, from: 0 });
  embed(disk, start, await rebuildFiles(before, before.size, within));
  if (end < source.size) disk.refer({ offset: end, length: source.size - end, source: 0, from: end });
  return disk.compose();
}

/** Puts a file system into a disk; what it refers to in its former self lies as far into the former disk. */
function embed(disk: ImageWriter, start: number, files: ComposedImage): void {
  for (const piece of files.pieces) {
    const offset = start + piece.offset;
    if ("bytes" in piece) disk.place(offset, piece.bytes);
    else disk.refer({ ...piece, offset, from: piece.from + (piece.source === 0 ? start : 0) });
  }
}

/** Of the partition table, behind code and signature. */
const TABLE_OFFSET = 446;

async function rebuildFiles(source: BlockSource, size: number, request: RebuildRequest): Promise<ComposedImage> {
  const reader = await openExt(source);
  const kept = await reader.keep(request.remove);
  if (request.put) put(kept, request.put);
  const { kind, uuid, label } = reader;
  return rewriteExt(kept, { kind, size, uuid, label, time: request.time });
}

function put({ tree, inodes, contents }: KeptFiles, { directory, files }: NonNullable<RebuildRequest["put"]>): void {
  const stem = directory === "/" ? "" : directory;
  for (const [index, { name, size, mtime }] of files.entries()) {
    const path = `${stem}/${name}`;
    const before = tree.get(path);
    if (before?.kind === "directory") throw new FormatError(`Cannot put ${quote(name)} there: it is a directory`, path);
    const { mode, uid, gid } = before?.kind === "file" ? before : { mode: 0o644, uid: 0, gid: 0 };
    const replaced = unlink(tree, inodes, path);
    // What was there under this name alone is written over: its attributes stay.
    if (replaced) inodes.set(path, { ...replaced, before: touched(replaced.before, mtime), size: 0, runs: [] });
    tree.replace({ path, kind: "file", content: new Uint8Array(), mode, uid, gid, mtime: Math.max(0, mtime) });
    contents.set(path, { size, source: index + 1 });
  }
}

/** Takes a name away; what has a second one stays under that. @returns a file that has none */
function unlink(tree: FileTree, inodes: KeptFiles["inodes"], path: string): KeptInode | undefined {
  const inode = inodes.get(path);
  const file = tree.get(path);
  inodes.delete(path);
  if (!inode || file?.kind !== "file") return undefined;
  let heir: string | undefined;
  for (const entry of tree.sorted()) {
    if (entry.kind !== "hardlink" || entry.target !== path) continue;
    tree.replace(heir === undefined ? { ...file, path: entry.path } : { ...entry, target: heir });
    heir ??= entry.path;
  }
  if (heir === undefined) return inode;
  inodes.set(heir, inode);
  return undefined;
}

/** An ext file system on a disk. */
interface Volume {
  /** Of the partition, from 1; 0 for the whole disk. */
  number: number;
  /** Where on the disk it begins, in bytes. */
  start: number;
  source: BlockSource;
}

/** @throws FormatError when there is none */
async function findVolumes(source: BlockSource): Promise<Volume[]> {
  const content = await recognise(source);
  if (content.kind === "ext") return [{ number: 0, start: 0, source: content.source }];
  const volumes = content.kind === "partitions" ? await volumesOf(source, content.partitions) : [];
  if (volumes.length === 0) throw new FormatError("Cannot show files: there is no ext file system on this disk");
  return volumes;
}

/** Those of the partitions that lie on the disk. */
async function volumesOf(source: BlockSource, partitions: readonly (Partition | null)[]): Promise<Volume[]> {
  const volumes: Volume[] = [];
  for (const [index, partition] of partitions.entries()) {
    if (!partition) continue;
    const start = partition.start * SECTOR_BYTES;
    const size = partition.sectors * SECTOR_BYTES;
    if (start + size > source.size || size < EXT_MAGIC_OFFSET + 2) continue;
    const magic = await source.read(start + EXT_MAGIC_OFFSET, 2);
    if (new DataView(magic.buffer, magic.byteOffset).getUint16(0, true) !== EXT_MAGIC) continue;
    volumes.push({ number: index + 1, start, source: partOf(source, start, size) });
  }
  return volumes;
}

/** @returns the file system that a path leads into, and the path in there */
function choose(volumes: readonly Volume[], path: string): { volume: Volume; inside: string } {
  const [only] = volumes;
  if (only && volumes.length === 1) return { volume: only, inside: path };
  const [, number, rest = ""] = /^\/partition-(\d)(\/.*)?$/s.exec(path) ?? [];
  const volume = volumes.find((one) => String(one.number) === number);
  if (!volume)
    throw new FormatError(
      `Cannot find ${quote(path)}: the disk has several file systems; their files are in partition-1, …`,
    );
  return { volume, inside: rest === "" ? "/" : rest };
}

function describeVolume({ number }: Volume): DiskEntry {
  return { name: `partition-${number}`, kind: "directory", mode: 0o755, uid: 0, gid: 0, size: 0, mtime: 0 };
}

async function recognise(source: BlockSource): Promise<Content> {
  const head = await source.read(0, Math.min(EMPTY_BYTES, source.size));
  const view = new DataView(head.buffer);
  if (head.length >= EXT_MAGIC_OFFSET + 2 && view.getUint16(EXT_MAGIC_OFFSET, true) === EXT_MAGIC)
    return { kind: "ext", source };
  const swap = decodeSwap(head.subarray(0, PAGE_BYTES));
  if (swap) return { kind: "swap", ...swap };
  const table = head.length >= SECTOR_BYTES ? decodeMbr(head.subarray(0, SECTOR_BYTES)) : null;
  if (table?.partitions.some((partition) => partition !== null)) return { kind: "partitions", ...table };
  return { kind: head.every((byte) => byte === 0) ? "empty" : "unknown" };
}

function describe({ name, kind, mode, uid, gid, size, mtime, ...rest }: ExtEntry): DiskEntry {
  const target = "target" in rest ? { target: rest.target } : {};
  return { name, kind, mode, uid, gid, size: kind === "file" ? size : 0, mtime, ...target };
}

function ignoreDamage(error: unknown): null {
  if (error instanceof FormatError) return null;
  throw error;
}
