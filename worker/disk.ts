/** Bootable disks from projects, and empty data disks. */
import type { DiskIdentity, DiskRequest, FormatRequest } from "./api.ts";
import { encodeCpio } from "./format/cpio.ts";
import { encodeExt } from "./format/extfs.ts";
import { FileTree, FormatError, type TreeEntry } from "./format/file-tree.ts";
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
const FSTAB = "/etc/fstab";
const SWAP_DEVICE = "/dev/sda2";
const SWAP_LABEL = "swap";

/**
 * Lays out a disk as the original's scripts do: a partition table, GRUB before the first partition, in that the root file
 * system, with kernel and initramfs under /boot, and behind it a swap partition where the request has one. The initramfs
 * holds the same system: its /init finds the disk.
 * @param tree the project's root file system; the files of /boot and the swap's line in /etc/fstab are added to it
 * @throws FormatError for what does not fit
 */
export function composeDisk(
  tree: FileTree,
  { kernel, grub }: DiskParts,
  request: DiskRequest,
  identity: DiskIdentity,
): SparseImage {
  const { sizeMb, swapMb = 0, fileSystem, commandLine } = request;
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
  if (swapMb > 0) mountSwap(tree);

  const size = sizeMb * MIB;
  const sectors = size / SECTOR_BYTES;
  const swapSectors = (swapMb * MIB) / SECTOR_BYTES;
  const rootSectors = sectors - FIRST_SECTOR - swapSectors;
  if (swapMb > 0 && rootSectors < FIRST_SECTOR)
    throw new FormatError(`Cannot make a swap partition of ${swapMb} MB: the disk has ${sizeMb} MB`);
  const root = { start: FIRST_SECTOR, sectors: rootSectors, type: PARTITION_TYPES.linux, bootable: true };
  const swap = { start: sectors - swapSectors, sectors: swapSectors, type: PARTITION_TYPES.swap, bootable: false };
  const partitions = swapMb > 0 ? [root, swap] : [root];
  const signature = new DataView(identity.uuid.buffer, identity.uuid.byteOffset).getUint32(0, true);
  const disk = new ImageWriter(size);
  for (const { offset, bytes } of embedGrub(grub, encodeMbr({ signature, partitions }, sectors)))
    disk.place(offset, bytes);
  const files = encodeExt(tree, { kind: fileSystem, size: root.sectors * SECTOR_BYTES, ...identity });
  disk.placeImage(root.start * SECTOR_BYTES, files);
  if (swapMb > 0) {
    const area = encodeSwap(swap.sectors * SECTOR_BYTES, siblingOf(identity.uuid), SWAP_LABEL);
    disk.placeImage(swap.start * SECTOR_BYTES, area);
  }
  return disk.finish();
}

/** /etc/init.d/rcS starts it at every boot. What the project says of the partition itself stays. */
function mountSwap(tree: FileTree): void {
  const found = tree.get(FSTAB);
  if (found && found.kind !== "file")
    throw new FormatError(`Cannot add the swap partition to ${FSTAB}: it is no file`, FSTAB);
  const lines = found ? new TextDecoder().decode(found.content).split("\n") : [];
  if (lines.some((line) => line.trim().split(/\s+/)[0] === SWAP_DEVICE)) return;
  while (lines.at(-1) === "") lines.pop();
  const line = `${SWAP_DEVICE.padEnd(11)} none        swap    defaults              0     0`;
  const content = new TextEncoder().encode(`${[...lines, line].join("\n")}\n`);
  tree.replace({ path: FSTAB, mode: 0o644, uid: 0, gid: 0, mtime: 0, ...found, kind: "file", content });
}

/** Another UUID that follows from the first. */
function siblingOf(uuid: Uint8Array): Uint8Array {
  const other = uuid.slice();
  other[15] = (other[15] as number) ^ 1;
  return other;
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
