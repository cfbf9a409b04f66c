/** Bootable disks from projects, and empty data disks. */
import type { DiskRequest, FormatRequest } from "./api.ts";
import { encodeCpio } from "./format/cpio.ts";
import { encodeExt } from "./format/extfs.ts";
import { FileTree, type TreeEntry } from "./format/file-tree.ts";
import { embedGrub, type GrubImages } from "./format/grub.ts";
import { encodeMbr, FIRST_SECTOR, PARTITION_TYPES, SECTOR_BYTES } from "./format/mbr.ts";
import { ImageWriter, type SparseImage } from "./format/sparse-image.ts";
import { encodeSwap } from "./format/swap.ts";

/** What a disk needs beside the root file system; kernel-build/ makes it. */
export interface DiskParts {
  /** A bzImage. */
  kernel: Uint8Array;
  grub: GrubImages;
}

const MIB = 1024 * 1024;
/** What the default grub.cfg names. */
const KERNEL = "/boot/vmlinuz";
const INITRAMFS = "/boot/initramfs";
const COMMAND_LINE = "/boot/grub/cmdline.cfg";

/**
 * Lays out a disk as the original's scripts do: a partition table, GRUB before its one partition, in that the root file
 * system, with kernel and initramfs under /boot. The initramfs is the same root file system: its /init finds the disk.
 * @param tree the project's root file system; the files of /boot are added to it
 * @throws FormatError for what does not fit
 */
export function composeDisk(tree: FileTree, { kernel, grub }: DiskParts, request: DiskRequest): SparseImage {
  const { sizeMb, fileSystem, commandLine, identity } = request;
  const initramfs = encodeCpio(tree);
  const add = (path: string, content: Uint8Array): void =>
    tree.replace({
      path,
      kind: "file",
      content,
      mode: 0o644,
      uid: 0,
      gid: 0,
      mtime: identity.time,
    } satisfies TreeEntry);
  add(KERNEL, kernel);
  add(INITRAMFS, initramfs);
  add(COMMAND_LINE, new TextEncoder().encode(`set cmdline=${quoteForGrub(commandLine)}\n`));

  const size = sizeMb * MIB;
  const sectors = size / SECTOR_BYTES;
  const partition = {
    start: FIRST_SECTOR,
    sectors: sectors - FIRST_SECTOR,
    type: PARTITION_TYPES.linux,
    bootable: true,
  };
  const signature = new DataView(identity.uuid.buffer, identity.uuid.byteOffset).getUint32(0, true);
  const disk = new ImageWriter(size);
  for (const { offset, bytes } of embedGrub(grub, encodeMbr({ signature, partitions: [partition] }, sectors)))
    disk.place(offset, bytes);
  const files = encodeExt(tree, { kind: fileSystem, size: partition.sectors * SECTOR_BYTES, ...identity });
  disk.placeImage(partition.start * SECTOR_BYTES, files);
  return disk.finish();
}

/** @throws FormatError for what does not fit */
export function formatDisk({ fileSystem, sizeBytes, identity }: FormatRequest): SparseImage {
  if (fileSystem === "swap") return encodeSwap(sizeBytes, identity.uuid, identity.label);
  return encodeExt(new FileTree(), { kind: fileSystem, size: sizeBytes, ...identity });
}

/** In GRUB's scripts as in a shell's: nothing is special between single quotes. */
function quoteForGrub(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
