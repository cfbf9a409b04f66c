import { encodeCpio } from "./format/cpio.ts";
import { type FileTree, FormatError } from "./format/file-tree.ts";

const MIB = 1024 * 1024;
const PAGE_BYTES = 4096;
/** What the kernel takes before it counts its free memory: its own image and tables, and about 1 % for page descriptors. */
const KERNEL_BYTES = 8 * MIB;
const KERNEL_SHARE = 0.01;
/** A symlink's target from this length on takes a page of its own. */
const LONG_TARGET_BYTES = 128;

/** The machine has too little memory for its files; `message` is for the user. */
export class MemoryError extends FormatError {}

/**
 * The archive that the kernel unpacks as its root file system, uncompressed.
 * @param memoryMb memory of the machine that shall boot it
 * @throws FormatError for what the archive cannot hold
 * @throws MemoryError when the machine could not hold it, which the kernel would tell only by a panic
 */
export function buildInitramfs(tree: FileTree, memoryMb: number): Uint8Array<ArrayBuffer> {
  checkMemory(tree, memoryMb);
  return encodeCpio(tree);
}

/** @throws MemoryError when a machine with that much memory could not hold the tree */
export function checkMemory(tree: FileTree, memoryMb: number): void {
  const { contentBytes, neededMb, isByNumber } = measureMemory(tree);
  if (neededMb <= memoryMb) return;
  const files = isByNumber ? `${tree.size} files` : `${Math.ceil(contentBytes / MIB)} MB of files`;
  throw new MemoryError(
    `Cannot boot with ${files}: unpacking them takes ${neededMb} MB of memory, the machine has ${memoryMb} MB. ` +
      "Give it more memory, or remove files",
  );
}

/**
 * The least memory in which the kernel unpacks a tree. Its first root is a tmpfs, which may fill half of the memory
 * that is free while the archive is still there: half of it in pages, and as many entries as half of its pages.
 * https://docs.kernel.org/filesystems/tmpfs.html (size, nr_inodes)
 */
export function measureMemory(tree: FileTree): {
  contentBytes: number;
  neededMb: number;
  /** Their number is what takes the memory, not their size. */
  isByNumber: boolean;
} {
  let contentBytes = 0;
  let pages = 0;
  // Headers and names; the trailer and paddings are within the rounding below.
  let archiveBytes = 0;
  for (const entry of tree.sorted()) {
    archiveBytes += 116 + entry.path.length;
    if (entry.kind === "file") {
      contentBytes += entry.content.length;
      pages += Math.ceil(entry.content.length / PAGE_BYTES);
    } else if (entry.kind === "symlink" && entry.target.length >= LONG_TARGET_BYTES) pages += 1;
  }
  archiveBytes += contentBytes;
  const freeBytes = 2 * PAGE_BYTES * Math.max(pages, tree.size);
  const neededMb = Math.ceil((freeBytes + archiveBytes + KERNEL_BYTES) / (1 - KERNEL_SHARE) / MIB);
  return { contentBytes, neededMb, isByNumber: tree.size > pages };
}
