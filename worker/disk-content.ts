/** What is on a disk: to look into it, to take files out, and to make the disk anew with other content or size. */
import type { DiskEntry, DiskInspection, RebuildRequest } from "./api.ts";
import { encodeExt } from "./format/extfs.ts";
import { type ExtEntry, type ExtReader, openExt } from "./format/extfs-reader.ts";
import { type FileTree, FormatError, quote } from "./format/file-tree.ts";
import { decodeMbr, encodeMbr, type Partition, SECTOR_BYTES } from "./format/mbr.ts";
import { type BlockSource, ImageWriter, partOf, type SparseImage } from "./format/sparse-image.ts";
import { decodeSwap } from "./format/swap.ts";

/** The superblock of ext2, ext3 and ext4 and its magic number, in bytes from the file system's start. */
const EXT_MAGIC_OFFSET = 1024 + 56;
const EXT_MAGIC = 0xef53;
const PAGE_BYTES = 4096;
/** A disk without anything in its first bytes is taken for empty. */
const EMPTY_BYTES = 64 * 1024;
/** The rebuilt disk's files are in memory twice. */
const MOST_REBUILT_BYTES = 512 * 1024 * 1024;

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
  const entries = await (await openFiles(source)).list(path);
  return entries.map(describe);
}

/** @throws FormatError when there is no such file */
export async function readDiskFile(source: BlockSource, path: string): Promise<Uint8Array<ArrayBuffer>> {
  return (await openFiles(source)).read(path);
}

/**
 * Writes the file system anew, of another size or with other files in it. With a partition table, its one partition
 * goes from where it starts to the disk's end, and what stands before it (GRUB) stays.
 * @throws FormatError when the files do not fit, or the disk is none that can be made anew
 */
export async function rebuildDisk(source: BlockSource, request: RebuildRequest): Promise<SparseImage> {
  const content = await recognise(source);
  const { sizeBytes } = request;
  if (content.kind === "ext") return rebuildFiles(content.source, sizeBytes, request);
  if (content.kind !== "partitions") throw new FormatError("Cannot change the disk: there is no ext file system on it");
  const first = firstOf(source, content.partitions);
  if (!first || content.partitions.filter((partition) => partition !== null).length !== 1)
    throw new FormatError("Cannot change the disk: it has other than one partition with an ext file system");
  const { partition } = first;
  const start = partition.start * SECTOR_BYTES;
  const sectors = Math.floor(sizeBytes / SECTOR_BYTES);
  if (start > MOST_HEAD_BYTES)
    throw new FormatError("Cannot change the disk: its partition does not begin at its start");
  if (sizeBytes <= start) throw new FormatError("Cannot change the disk: its partition would begin behind its end");
  const partitions = content.partitions.map((one) => one && { ...one, sectors: sectors - one.start });
  const head = await source.read(0, start);
  const table = encodeMbr({ signature: content.signature, partitions }, sectors);
  // The code of the boot loader comes before the table.
  head.set(table.subarray(TABLE_OFFSET, SECTOR_BYTES), TABLE_OFFSET);
  const disk = new ImageWriter(sizeBytes);
  disk.place(0, head);
  disk.placeImage(start, await rebuildFiles(first.source, sizeBytes - start, request));
  return disk.finish();
}

/** A boot loader takes a MiB. */
const MOST_HEAD_BYTES = 16 * 1024 * 1024;
/** Of the partition table, behind code and signature. */
const TABLE_OFFSET = 446;

async function rebuildFiles(source: BlockSource, size: number, request: RebuildRequest): Promise<SparseImage> {
  const reader = await openExt(source);
  if (reader.usedBytes > MOST_REBUILT_BYTES)
    throw new FormatError(
      `Cannot change the disk: its ${Math.ceil(reader.usedBytes / 2 ** 20)} MB of files are more than the ` +
        `${MOST_REBUILT_BYTES / 2 ** 20} that fit into memory; make a new disk and copy them in the guest`,
    );
  const tree = await reader.tree();
  if (request.remove !== undefined) removeAll(tree, request.remove);
  if (request.put) put(tree, request.put);
  const { kind, uuid, label } = reader;
  return encodeExt(tree, { kind, size, uuid, label, time: request.time });
}

/** Removes a file, or a directory and all that is in it. What has a second name elsewhere stays under that. */
function removeAll(tree: FileTree, path: string): void {
  const isGone = (other: string): boolean => other === path || other.startsWith(`${path}/`);
  const heirs = new Map<string, string>();
  for (const entry of tree.sorted()) {
    if (entry.kind !== "hardlink" || isGone(entry.path) || !isGone(entry.target)) continue;
    const heir = heirs.get(entry.target);
    const file = tree.get(entry.target);
    if (heir !== undefined) tree.replace({ ...entry, target: heir });
    else if (file) {
      tree.replace({ ...file, path: entry.path });
      heirs.set(entry.target, entry.path);
    }
  }
  if (!tree.remove(path)) throw new FormatError(`Cannot delete ${quote(path)}: it is not there`, path);
}

function put(tree: FileTree, { directory, files }: NonNullable<RebuildRequest["put"]>): void {
  const stem = directory === "/" ? "" : directory;
  for (const { name, content, mtime } of files) {
    const path = `${stem}/${name}`;
    const before = tree.get(path);
    if (before?.kind === "directory") throw new FormatError(`Cannot put ${quote(name)} there: it is a directory`, path);
    const { mode, uid, gid } = before?.kind === "file" ? before : { mode: 0o644, uid: 0, gid: 0 };
    tree.replace({ path, kind: "file", content, mode, uid, gid, mtime: Math.max(0, mtime) });
  }
}

async function openFiles(source: BlockSource): Promise<ExtReader> {
  const content = await recognise(source);
  if (content.kind === "ext") return openExt(content.source);
  const first = content.kind === "partitions" ? firstOf(source, content.partitions) : null;
  if (!first) throw new FormatError("Cannot show files: there is no ext file system on this disk");
  return openExt(first.source);
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
