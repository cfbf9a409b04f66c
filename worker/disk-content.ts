/** What is on a disk: to look into it, to take files out, and to make the disk anew with other content or size. */
import type { DiskEntry, DiskInspection, RebuildRequest } from "./api.ts";
import { rewriteExt } from "./format/extfs.ts";
import { touched } from "./format/extfs-inode.ts";
import type { KeptFiles, KeptInode } from "./format/extfs-kept.ts";
import { type ExtEntry, type ExtReader, openExt } from "./format/extfs-reader.ts";
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
  const first = firstOf(source, content.partitions);
  const reader = first && (await openExt(first.source).catch(ignoreDamage));
  return { fileSystem: "partitions", label: reader?.label ?? "", usedBytes: reader?.usedBytes ?? null };
}

/** @throws FormatError when there is no such directory, or no file system to look into */
export async function listDirectory(source: BlockSource, path: string): Promise<DiskEntry[]> {
  const entries = await (await openFiles(source)).reader.list(path);
  return entries.map(describe);
}

/**
 * Where the content of a file is on the disk, as `ExtReader.locate` has it.
 * @throws FormatError when there is no such file
 */
export async function locateDiskFile(source: BlockSource, path: string): Promise<ComposedImage> {
  const { reader, start } = await openFiles(source);
  const { size, pieces } = await reader.locate(path);
  return { size, pieces: pieces.map((piece) => ("bytes" in piece ? piece : { ...piece, from: piece.from + start })) };
}

/**
 * Writes the file system anew, of another size or with other files in it, around the files that stay. With a partition
 * table, its one partition goes from where it starts to the disk's end, and what stands before it (GRUB) stays.
 * @throws FormatError when the files do not fit, or the disk is none that can be made anew
 */
export async function rebuildDisk(source: BlockSource, request: RebuildRequest): Promise<ComposedImage> {
  const content = await recognise(source);
  const { sizeBytes } = request;
  if (content.kind === "ext") return rebuildFiles(content.source, sizeBytes, request);
  if (content.kind !== "partitions") throw new FormatError("Cannot change the disk: there is no ext file system on it");
  const first = firstOf(source, content.partitions);
  if (!first || content.partitions.filter((partition) => partition !== null).length !== 1)
    throw new FormatError("Cannot change the disk: it has other than one partition with an ext file system");
  const start = first.partition.start * SECTOR_BYTES;
  const sectors = Math.floor(sizeBytes / SECTOR_BYTES);
  if (sizeBytes <= start) throw new FormatError("Cannot change the disk: its partition would begin behind its end");
  const partitions = content.partitions.map((one) => one && { ...one, sectors: sectors - one.start });
  const head = await source.read(0, SECTOR_BYTES);
  const table = encodeMbr({ signature: content.signature, partitions }, sectors);
  // The code of the boot loader comes before the table.
  head.set(table.subarray(TABLE_OFFSET), TABLE_OFFSET);
  const disk = new ImageWriter(sizeBytes);
  disk.place(0, head);
  disk.refer({ offset: SECTOR_BYTES, length: start - SECTOR_BYTES, source: 0, from: SECTOR_BYTES });
  for (const piece of (await rebuildFiles(first.source, sizeBytes - start, request)).pieces) {
    const offset = start + piece.offset;
    if ("bytes" in piece) disk.place(offset, piece.bytes);
    else disk.refer({ ...piece, offset, from: piece.from + (piece.source === 0 ? start : 0) });
  }
  return disk.compose();
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

/** @returns the file system and where on the disk it begins, in bytes */
async function openFiles(source: BlockSource): Promise<{ reader: ExtReader; start: number }> {
  const content = await recognise(source);
  if (content.kind === "ext") return { reader: await openExt(content.source), start: 0 };
  const first = content.kind === "partitions" ? firstOf(source, content.partitions) : null;
  if (!first) throw new FormatError("Cannot show files: there is no ext file system on this disk");
  return { reader: await openExt(first.source), start: first.partition.start * SECTOR_BYTES };
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

/** The first partition that lies on the disk. */
function firstOf(
  source: BlockSource,
  partitions: readonly (Partition | null)[],
): { partition: Partition; source: BlockSource } | null {
  for (const partition of partitions) {
    if (!partition) continue;
    const start = partition.start * SECTOR_BYTES;
    const size = partition.sectors * SECTOR_BYTES;
    if (start + size <= source.size) return { partition, source: partOf(source, start, size) };
  }
  return null;
}

function describe({ name, kind, mode, uid, gid, size, mtime, ...rest }: ExtEntry): DiskEntry {
  const target = "target" in rest ? { target: rest.target } : {};
  return { name, kind, mode, uid, gid, size: kind === "file" ? size : 0, mtime, ...target };
}

function ignoreDamage(error: unknown): null {
  if (error instanceof FormatError) return null;
  throw error;
}
