/**
 * Puts GRUB before a disk's first partition, byte for byte as `grub-bios-setup --no-rs-codes` does.
 * Source of the offsets: include/grub/i386/pc/boot.h and kernel.h of GRUB 2.06.
 *
 *   sector 0            boot.img's code around the partition table
 *   sector 1            core.img: first its own loader, which holds the list of the sectors that follow,
 *   sector 2 and on     then the rest of it
 */
import { FormatError } from "./file-tree.ts";
import { FIRST_SECTOR, SECTOR_BYTES } from "./mbr.ts";
import type { Extent } from "./sparse-image.ts";

export interface GrubImages {
  /** GRUB's boot.img: 512 bytes. */
  boot: Uint8Array;
  /** GRUB's core.img, with its modules and its prefix. */
  core: Uint8Array;
}

/** What boot.img leaves to the disk: from its signature to the end of the partition table. */
const KEPT_START = 440;
const KEPT_END = 510;
/** Two bytes that jump over the next instruction when the BIOS names a floppy. */
const DRIVE_CHECK = 0x66;
const NOP = 0x90;
/** Where boot.img says at which sector core.img begins: 8 bytes. */
const KERNEL_SECTOR = 0x5c;
/** The first entry of core.img's block list, which grows towards the code: sector (8), length (2), segment (2). */
const BLOCK_LIST = 0x1f4;
const BLOCK_ENTRY_BYTES = 12;
const CORE_SEGMENT = 0x820;
/** Bytes that error correction has appended to core.img; here none. */
const REDUNDANCY = SECTOR_BYTES + 0x10;

/**
 * @param mbr sector 0 with the partition table
 * @returns what to write from the disk's start on
 * @throws FormatError when core.img does not fit before the first partition
 */
export function embedGrub({ boot, core }: GrubImages, mbr: Uint8Array): Extent[] {
  if (boot.length !== SECTOR_BYTES) throw new FormatError(`Cannot use boot.img: it has ${boot.length} bytes, not 512`);
  const sectors = Math.ceil(core.length / SECTOR_BYTES);
  if (core.length < 2 * SECTOR_BYTES) throw new FormatError(`Cannot use core.img: it has ${core.length} bytes only`);
  if (1 + sectors > FIRST_SECTOR)
    throw new FormatError(
      `Cannot fit ${core.length} bytes of core.img: before the first partition are ${(FIRST_SECTOR - 1) * SECTOR_BYTES}`,
    );
  const first = new Uint8Array(boot);
  first.set(mbr.subarray(KEPT_START, KEPT_END), KEPT_START);
  first.fill(NOP, DRIVE_CHECK, DRIVE_CHECK + 2);
  new DataView(first.buffer).setBigUint64(KERNEL_SECTOR, 1n, true);

  const rest = new Uint8Array(sectors * SECTOR_BYTES);
  rest.set(core);
  const view = new DataView(rest.buffer);
  view.setBigUint64(BLOCK_LIST, 2n, true);
  view.setUint16(BLOCK_LIST + 8, sectors - 1, true);
  view.setUint16(BLOCK_LIST + 10, CORE_SEGMENT, true);
  // An entry of zeros ends the list.
  rest.fill(0, BLOCK_LIST - BLOCK_ENTRY_BYTES, BLOCK_LIST);
  view.setUint32(REDUNDANCY, 0, true);
  return [
    { offset: 0, bytes: first },
    { offset: SECTOR_BYTES, bytes: rest },
  ];
}
