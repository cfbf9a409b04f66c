import { encodeCpio } from "./format/cpio.ts";
import { type FileTree, FormatError } from "./format/file-tree.ts";

const MIB = 1024 * 1024;
/** What a running kernel of ours needs for itself, and for the first programs. */
const KERNEL_MB = 16;

/**
 * The archive that the kernel unpacks as its root file system, uncompressed.
 * @param memoryMb memory of the machine that shall boot it
 * @throws FormatError when the machine could not hold it, which the kernel would tell only by a panic
 */
export function buildInitramfs(tree: FileTree, memoryMb: number): Uint8Array<ArrayBuffer> {
  let bytes = 0;
  for (const entry of tree.sorted()) if (entry.kind === "file") bytes += entry.content.length;
  // The kernel has the archive and its unpacked files in memory at the same time.
  const neededMb = Math.ceil((2 * bytes) / MIB) + KERNEL_MB;
  if (neededMb > memoryMb)
    throw new FormatError(
      `Cannot boot with ${Math.ceil(bytes / MIB)} MB of files: unpacking them takes ${neededMb} MB of memory, ` +
        `the machine has ${memoryMb} MB. Give it more memory, or remove files`,
    );
  return encodeCpio(tree);
}
