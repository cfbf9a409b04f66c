/** What the first MiB of a disk tells: partition table, first file system, label. Nothing in it can be wrong enough to fail. */
import { decodeMbr, type Partition, SECTOR_BYTES } from "./mbr.ts";
import { decodeSwap } from "./swap.ts";

export interface HeadContent {
  /** Null: none that is known, on a disk that is not empty. */
  fileSystem: "ext2" | "ext3" | "ext4" | "swap" | "empty" | null;
  label: string;
  /** 0 without a partition table; the file system is then the disk's own, else the first partition's. */
  partitions: number;
  /** A BIOS can start it: there is boot code before the table, and what that code starts. */
  boots: boolean;
}

/** The superblock of ext2, ext3 and ext4. */
const SUPERBLOCK = 1024;
const MAGIC = { at: 56, value: 0xef53 };
const COMPATIBLE = 92;
const INCOMPATIBLE = 96;
const LABEL = { at: 120, bytes: 16 };
const HAS_JOURNAL = 4;
const EXTENTS = 0x40;
const PAGE_BYTES = 4096;
/** Of the boot record, before the disk's signature and the table. */
const CODE_BYTES = 440;

export function describeHead(head: Uint8Array): HeadContent {
  const own = fileSystemAt(head, 0);
  if (own) return { ...own, partitions: 0, boots: false };
  const table = decodeMbr(head.subarray(0, SECTOR_BYTES));
  const present = table?.partitions.filter((partition) => partition !== null) ?? [];
  const [first] = present;
  if (first) {
    const inside = fileSystemAt(head, first.start * SECTOR_BYTES) ?? { fileSystem: null, label: "" };
    return { ...inside, partitions: present.length, boots: hasBootCode(head, present) };
  }
  return { fileSystem: head.every((byte) => byte === 0) ? "empty" : null, label: "", partitions: 0, boots: false };
}

/**
 * Partitioning programs write code too that starts the active partition. Without one, only a boot loader of its own
 * starts anything; GRUB's has its name in the sector, and asks for no active partition.
 */
function hasBootCode(head: Uint8Array, partitions: readonly Partition[]): boolean {
  const code = head.subarray(0, CODE_BYTES);
  if (code.every((byte) => byte === 0)) return false;
  return partitions.some(({ bootable }) => bootable) || new TextDecoder("latin1").decode(code).includes("GRUB");
}

function fileSystemAt(head: Uint8Array, start: number): Pick<HeadContent, "fileSystem" | "label"> | null {
  const part = head.subarray(start);
  const swap = decodeSwap(part.subarray(0, PAGE_BYTES));
  if (swap) return { fileSystem: "swap", label: visible(swap.label) };
  if (part.length < SUPERBLOCK + 1024) return null;
  const view = new DataView(part.buffer, part.byteOffset + SUPERBLOCK, 1024);
  if (view.getUint16(MAGIC.at, true) !== MAGIC.value) return null;
  const hasJournal = (view.getUint32(COMPATIBLE, true) & HAS_JOURNAL) !== 0;
  const hasExtents = (view.getUint32(INCOMPATIBLE, true) & EXTENTS) !== 0;
  const name = part.subarray(SUPERBLOCK + LABEL.at, SUPERBLOCK + LABEL.at + LABEL.bytes);
  const end = name.indexOf(0);
  const label = visible(new TextDecoder().decode(end < 0 ? name : name.subarray(0, end)));
  return { fileSystem: hasExtents ? "ext4" : hasJournal ? "ext3" : "ext2", label };
}

/** A label is shown: what is no letter in it is not. */
function visible(label: string): string {
  return label.replaceAll(/\p{Cc}/gu, "");
}
