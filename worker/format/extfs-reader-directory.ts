/**
 * Directories of ext2, ext3 and ext4, read. Source: Documentation/filesystems/ext4/directory.rst of Linux. Hashed ones are
 * read as linear ones: the blocks of their trees look like blocks of unused records to whoever does not know them.
 */
import { crc32c } from "./extfs-checksum.ts";
import { runsOf } from "./extfs-reader-map.ts";
import { unreadable } from "./extfs-reader-superblock.ts";
import { type ExtVolume, INODE_FLAGS, type RawInode } from "./extfs-reader-volume.ts";

const HEADER_BYTES = 8;
const LEAST_RECORD_BYTES = 12;
/** A checksum behind the records poses as an unused record of this type. */
const TAIL_BYTES = 12;
const TAIL_TYPE = 0xde;
/** Where the entries of a tree begin: behind "." and ".." in its root, behind an unused record in its other nodes. */
const ROOT_ENTRIES = 32;
const NODE_ENTRIES = 8;
const NODE_ENTRY_BYTES = 8;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Names and targets as text. One that is not UTF-8 becomes half characters, U+DC80 to U+DCFF for its bytes: no other name
 * reads like it, and a FileTree refuses it.
 */
export function decodeName(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    return Array.from(bytes, (byte) => String.fromCharCode(byte < 0x80 ? byte : 0xdc00 + byte)).join("");
  }
}

/**
 * Inode numbers by name, without "." and "..", in the order of the disk.
 * @throws FormatError when the directory is damaged
 */
export async function readDirectory(volume: ExtVolume, inode: RawInode): Promise<Map<string, number>> {
  const { blockBytes, blocks } = volume.superblock;
  const count = inode.size / blockBytes;
  if (!Number.isInteger(count) || count < 1 || count > blocks)
    throw damaged(inode, `a directory would have ${inode.size} bytes`);
  const names = new Map<string, number>();
  // A block that came twice would make a small disk hold endless directories.
  const seen = new Set<number>();
  for await (const { logical, start, length } of runsOf(volume, inode, 0, count)) {
    if (start === null) throw damaged(inode, "a block of the directory is missing");
    for (let index = 0; index < length; index += 1) {
      if (seen.has(start + index)) throw damaged(inode, "a block of the directory comes twice");
      seen.add(start + index);
      const block = await volume.block(start + index);
      if (inode.seed !== null) checkBlock(inode, inode.seed, block, logical + index === 0);
      readRecords(volume, inode, block, logical + index === 0, names);
    }
  }
  return names;
}

function readRecords(
  volume: ExtVolume,
  inode: RawInode,
  block: Uint8Array,
  isFirst: boolean,
  names: Map<string, number>,
): void {
  const { hasTypes } = volume.superblock;
  const view = new DataView(block.buffer, block.byteOffset, block.length);
  let position = 0;
  for (let at = 0; at < block.length; position += 1) {
    const left = block.length - at;
    const recordBytes = left < LEAST_RECORD_BYTES ? 0 : recordLength(view, at);
    if (recordBytes < LEAST_RECORD_BYTES || recordBytes > left || recordBytes % 4 !== 0)
      throw damaged(inode, `a record of the directory has ${recordBytes} bytes`);
    const number = view.getUint32(at, true);
    // Before there were types, the length had their byte as well.
    const length = hasTypes ? view.getUint8(at + 6) : view.getUint16(at + 6, true);
    if (number !== 0) {
      if (length === 0 || length > 255 || HEADER_BYTES + length > recordBytes)
        throw damaged(inode, `a name in the directory has ${length} bytes`);
      const name = decodeName(block.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length));
      const isOwn = isFirst && position < 2 && name === (position === 0 ? "." : "..");
      if (!isOwn) {
        if (name === "." || name === ".." || /[/\0]/.test(name))
          throw damaged(inode, "a name in the directory is none");
        if (names.has(name)) throw damaged(inode, "a name in the directory comes twice");
        names.set(name, number);
      }
    }
    at += recordBytes;
  }
}

/** Blocks of 64 KiB are one more than the field holds. */
function recordLength(view: DataView, at: number): number {
  const length = view.getUint16(at + 4, true);
  return view.byteLength === 65_536 && (length === 0 || length === 0xffff) ? 65_536 : length;
}

function checkBlock(inode: RawInode, seed: number, block: Uint8Array, isFirst: boolean): void {
  const view = new DataView(block.buffer, block.byteOffset, block.length);
  const mismatch = (): Error => damaged(inode, "the checksum of the directory does not match");
  const isNode = (inode.flags & INODE_FLAGS.indexed) !== 0 && (isFirst || recordLength(view, 0) === block.length);
  if (isNode) {
    const entries = isFirst ? ROOT_ENTRIES : NODE_ENTRIES;
    const most = view.getUint16(entries, true);
    const count = view.getUint16(entries + 2, true);
    const tail = entries + most * NODE_ENTRY_BYTES;
    if (count > most || tail + 8 > block.length) throw mismatch();
    // Half of the tail is reserved and counts; it may still look like the tail of records that were here before.
    const sum = crc32c(seed, block.subarray(0, entries + count * NODE_ENTRY_BYTES));
    const whole = crc32c(crc32c(sum, block.subarray(tail, tail + 4)), new Uint8Array(4));
    if (whole !== view.getUint32(tail + 4, true)) throw mismatch();
    return;
  }
  const tail = block.length - TAIL_BYTES;
  const isTail = view.getUint16(tail + 4, true) === TAIL_BYTES && view.getUint8(tail + 7) === TAIL_TYPE;
  if (!isTail || crc32c(seed, block.subarray(0, tail)) !== view.getUint32(tail + 8, true)) throw mismatch();
}

function damaged(inode: RawInode, state: string): Error {
  return unreadable(`the inode ${inode.number} is damaged, ${state}`);
}
