/**
 * The master boot record of an MS-DOS partition table: sector 0 of a disk.
 * https://en.wikipedia.org/wiki/Master_boot_record ; the fields in the order in which they stand:
 *
 *   0    code            440 bytes
 *   440  disk signature  4 bytes
 *   444  zero            2 bytes
 *   446  partitions      4 × { status, first CHS (3), type, last CHS (3), first sector (4), sectors (4) }
 *   510  55 aa
 *
 * Limitations: primary partitions only, 512-byte sectors, 2 TiB.
 */
import { FormatError } from "./file-tree.ts";

export const SECTOR_BYTES = 512;
/** What partitioning programs have aligned to since 2009: 1 MiB. GRUB's core lies before it. */
export const FIRST_SECTOR = 2048;

export const PARTITION_TYPES = { empty: 0, linux: 0x83, swap: 0x82, fat32: 0x0c } as const;

export interface Partition {
  /** In sectors from the disk's start. */
  start: number;
  sectors: number;
  /** Partition type, 1 to 255. */
  type: number;
  /** The one that a plain boot record would start; GRUB does not care. */
  bootable: boolean;
}

export interface PartitionTable {
  /** Names the disk in `root=PARTUUID=…`. */
  signature: number;
  /** At most four; `null` keeps an entry empty. */
  partitions: readonly (Partition | null)[];
}

const SIGNATURE = 440;
const TABLE = 446;
const ENTRY_BYTES = 16;
const MOST_PARTITIONS = 4;
const BOOTABLE = 0x80;
const MAGIC = 0xaa55;
/** The geometry that every partitioning program pretends: 255 heads with 63 sectors. */
const HEADS = 255;
const SECTORS_PER_TRACK = 63;
const MAX_UINT32 = 0xffff_ffff;

/**
 * @param diskSectors size of the disk
 * @returns sector 0 without code
 * @throws FormatError when partitions overlap, touch sector 0, or reach beyond the disk's end
 */
export function encodeMbr({ signature, partitions }: PartitionTable, diskSectors: number): Uint8Array<ArrayBuffer> {
  if (partitions.length > MOST_PARTITIONS)
    throw new FormatError(`Cannot make ${partitions.length} partitions: the table holds ${MOST_PARTITIONS}`);
  const sector = new Uint8Array(SECTOR_BYTES);
  const view = new DataView(sector.buffer);
  view.setUint32(SIGNATURE, signature, true);
  for (const [index, partition] of partitions.entries()) {
    if (!partition) continue;
    check(partition, index, diskSectors);
    const at = TABLE + index * ENTRY_BYTES;
    const { start, sectors, type, bootable } = partition;
    view.setUint8(at, bootable ? BOOTABLE : 0);
    sector.set(encodeChs(start), at + 1);
    view.setUint8(at + 4, type);
    sector.set(encodeChs(start + sectors - 1), at + 5);
    view.setUint32(at + 8, start, true);
    view.setUint32(at + 12, sectors, true);
  }
  refuseOverlaps(partitions);
  view.setUint16(510, MAGIC, true);
  return sector;
}

/** @returns null when the sector holds no partition table, as on a disk that is one file system */
export function decodeMbr(sector: Uint8Array): PartitionTable | null {
  if (sector.length < SECTOR_BYTES) return null;
  const view = new DataView(sector.buffer, sector.byteOffset, SECTOR_BYTES);
  if (view.getUint16(510, true) !== MAGIC) return null;
  const partitions: (Partition | null)[] = [];
  for (let index = 0; index < MOST_PARTITIONS; index += 1) {
    const at = TABLE + index * ENTRY_BYTES;
    const status = view.getUint8(at);
    // A file system's own boot sector has the same last two bytes, and code where the table would be.
    if (status !== 0 && status !== BOOTABLE) return null;
    const type = view.getUint8(at + 4);
    const start = view.getUint32(at + 8, true);
    const sectors = view.getUint32(at + 12, true);
    partitions.push(
      type === PARTITION_TYPES.empty || sectors === 0 ? null : { start, sectors, type, bootable: status === BOOTABLE },
    );
  }
  return partitions.some(Boolean) ? { signature: view.getUint32(SIGNATURE, true), partitions } : null;
}

function check({ start, sectors, type }: Partition, index: number, diskSectors: number): void {
  const what = `Cannot make partition ${index + 1}`;
  for (const value of [start, sectors])
    if (!Number.isInteger(value) || value < 1 || value > MAX_UINT32)
      throw new FormatError(`${what}: ${value} is no number of sectors from 1 to ${MAX_UINT32}`);
  if (!Number.isInteger(type) || type < 1 || type > 255)
    throw new FormatError(`${what}: ${type} is no partition type from 1 to 255`);
  if (start + sectors > diskSectors)
    throw new FormatError(`${what}: it ends at sector ${start + sectors}, the disk has ${diskSectors}`);
}

function refuseOverlaps(partitions: PartitionTable["partitions"]): void {
  const sorted = partitions.filter((partition) => partition !== null).sort((a, b) => a.start - b.start);
  for (const [index, { start }] of sorted.entries()) {
    const before = sorted[index - 1];
    if (before && before.start + before.sectors > start)
      throw new FormatError(`Cannot make a partition at sector ${start}: another one reaches beyond it`);
  }
}

/** Cylinder, head, sector; what the field cannot hold is its highest value, as fdisk writes it. */
function encodeChs(sector: number): [number, number, number] {
  const cylinder = Math.floor(sector / (HEADS * SECTORS_PER_TRACK));
  if (cylinder > 1023) return [0xfe, 0xff, 0xff];
  const head = Math.floor(sector / SECTORS_PER_TRACK) % HEADS;
  return [head, ((cylinder >> 2) & 0xc0) | ((sector % SECTORS_PER_TRACK) + 1), cylinder & 0xff];
}
