/** Bootable disks from projects, and empty data disks. */
import type { DiskIdentity, DiskRequest, FormatRequest } from "./api.ts";
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
/** The Filesystem Hierarchy Standard's places for what is not needed to start. */
const DATA_DIRECTORIES = ["/boot", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/tmp", "/var"];
/** What the default grub.cfg names. */
const KERNEL = "/boot/vmlinuz";
const INITRAMFS = "/boot/initramfs";
const COMMAND_LINE = "/boot/grub/cmdline.cfg";

/**
 * Lays out a disk as the original's scripts do: a partition table, GRUB before its one partition, in that the root file
 * system, with kernel and initramfs under /boot. The initramfs holds the same system: its /init finds the disk.
 * @param tree the project's root file system; the files of /boot are added to it
 * @throws FormatError for what does not fit
 */
export function composeDisk(
  tree: FileTree,
  { kernel, grub }: DiskParts,
  request: DiskRequest,
  identity: DiskIdentity,
): SparseImage {
  const { sizeMb, fileSystem, commandLine } = request;
  const initramfs = encodeCpio(initramfsOf(tree));
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
  add(KERNEL, request.kernel ?? kernel);
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

/**
 * What is needed to find the disk: the root file system without what is in its directories for data. GRUB reads the
 * initramfs through the BIOS and the kernel keeps it in memory until the disk is there; gigabytes of data must not be in it.
 */
function initramfsOf(tree: FileTree): FileTree {
  const small = new FileTree();
  for (const entry of tree.sorted()) {
    const isData = DATA_DIRECTORIES.some((directory) => entry.path.startsWith(`${directory}/`));
    if (entry.path === "/" || isData) continue;
    if (entry.kind === "hardlink" && !small.has(entry.target)) {
      const file = tree.get(entry.target);
      if (file?.kind === "file") small.add({ ...file, path: entry.path });
    } else small.add(entry);
  }
  return small;
}

/** @throws FormatError for what does not fit */
export function formatDisk({ fileSystem, sizeBytes, identity }: FormatRequest): SparseImage {
  if (fileSystem === "swap") return encodeSwap(sizeBytes, identity.uuid, identity.label);
  return encodeExt(new FileTree(), { kind: fileSystem, size: sizeBytes, ...identity });
}

/** In GRUB's scripts as in a shell's: nothing is special between single quotes. */
export function quoteForGrub(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
