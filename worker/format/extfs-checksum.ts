/**
 * The two checksums of ext4 and its journal. Sources: Documentation/filesystems/ext4/checksums.rst and journal.rst of
 * Linux. Neither is inverted at the end: what one call returns is the seed of the next.
 */

/** The seed of a checksum that continues no other. */
export const CHECKSUM_START = 0xffff_ffff;

const CASTAGNOLI = 0x82f6_3b78;
const IEEE = 0x04c1_1db7;

const reflected = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ CASTAGNOLI : value >>> 1;
  return value;
});

const forward = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index << 24;
  for (let bit = 0; bit < 8; bit += 1) value = value & 0x8000_0000 ? (value << 1) ^ IEEE : value << 1;
  return value;
});

/** CRC-32C, lowest bit first: metadata, and journals of the versions 2 and 3. */
export function crc32c(seed: number, bytes: Uint8Array): number {
  let sum = seed;
  for (let at = 0; at < bytes.length; at += 1)
    sum = (reflected[(sum ^ (bytes[at] as number)) & 0xff] as number) ^ (sum >>> 8);
  return sum >>> 0;
}

/** CRC-32, highest bit first: whole transactions of older journals. */
export function crc32Forward(seed: number, bytes: Uint8Array): number {
  let sum = seed;
  for (let at = 0; at < bytes.length; at += 1)
    sum = (forward[((sum >>> 24) ^ (bytes[at] as number)) & 0xff] as number) ^ (sum << 8);
  return sum >>> 0;
}

/** A number as four bytes, lowest first, as checksums take inode and group numbers in. */
export function littleEndian(value: number): Uint8Array {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}

/** CRC-32C of bytes that have it in themselves, at `field`, where four zeros count instead. */
export function checksumWithout(seed: number, bytes: Uint8Array, field: number): number {
  const before = crc32c(seed, bytes.subarray(0, field));
  return crc32c(crc32c(before, new Uint8Array(4)), bytes.subarray(field + 4));
}
