/**
 * Extended attributes, as they are moved from one file system to another: access lists, capabilities, labels and users'
 * own. Source: Documentation/filesystems/ext4/attributes.rst of Linux.
 *
 *   in the inode   magic | entry … | 0 0 0 0 | … values          places of values count from the first entry
 *   in a block     magic, users, blocks, hash, checksum | …      places of values count from the block's start
 *
 * Limitations: values in inodes of their own (ea_inode) are refused.
 */
import { crc32c, littleEndian } from "./extfs-checksum.ts";
import { EXTRA_BYTES } from "./extfs-inode.ts";
import { INODE_BYTES } from "./extfs-layout.ts";
import { unreadable } from "./extfs-reader-superblock.ts";
import { FormatError } from "./file-tree.ts";

const MAGIC = 0xea02_0000;
const OLD_INODE_BYTES = 128;
const MAGIC_BYTES = 4;
const BLOCK_HEADER_BYTES = 32;
const USERS = 4;
const CHECKSUM = 16;
const ENTRY_BYTES = 16;
const ENTRIES_END_BYTES = 4;

interface Attribute {
  /** The entry with its name, padded. */
  entry: Uint8Array;
  value: Uint8Array;
}

/**
 * An inode of any size and age as one of INODE_BYTES, with the attributes that it has in itself.
 * @throws FormatError when they do not fit, or are damaged
 */
export function inodeOfUsualSize(bytes: Uint8Array): Uint8Array {
  const usual = new Uint8Array(INODE_BYTES);
  usual.set(bytes.subarray(0, OLD_INODE_BYTES));
  if (bytes.length === OLD_INODE_BYTES) return usual;
  const extra = new DataView(bytes.buffer, bytes.byteOffset).getUint16(OLD_INODE_BYTES, true);
  const from = OLD_INODE_BYTES + extra;
  usual.set(bytes.subarray(OLD_INODE_BYTES, OLD_INODE_BYTES + Math.min(extra, EXTRA_BYTES)), OLD_INODE_BYTES);
  if (from + MAGIC_BYTES > bytes.length) return usual;
  const view = new DataView(bytes.buffer, bytes.byteOffset + from, bytes.length - from);
  if (view.getUint32(0, true) !== MAGIC) return usual;
  const attributes = readEntries(bytes.subarray(from + MAGIC_BYTES), 0, 0);
  if (attributes.length > 0) writeEntries(usual.subarray(OLD_INODE_BYTES + EXTRA_BYTES), attributes);
  return usual;
}

/**
 * A block of attributes for a file system without checksums. How many inodes share it is still to be written.
 * @throws FormatError when it is damaged
 */
export function attributeBlock(block: Uint8Array, number: number, seed: number | null): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(block);
  const view = new DataView(copy.buffer);
  if (view.getUint32(0, true) !== MAGIC || view.getUint32(8, true) !== 1) throw damaged("have no block");
  const stored = view.getUint32(CHECKSUM, true);
  view.setUint32(CHECKSUM, 0);
  const place = [littleEndian(number % 2 ** 32), littleEndian(Math.floor(number / 2 ** 32))];
  if (seed !== null && crc32c(place.reduce(crc32c, seed), copy) !== stored)
    throw damaged("have a checksum that does not match");
  readEntries(copy, BLOCK_HEADER_BYTES, 0);
  return copy;
}

export function setAttributeUsers(block: Uint8Array<ArrayBuffer>, users: number): void {
  new DataView(block.buffer, block.byteOffset).setUint32(USERS, users, true);
}

/**
 * @param first where the first entry is in `bytes`
 * @param base where the places of values count from
 */
function readEntries(bytes: Uint8Array, first: number, base: number): Attribute[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const attributes: Attribute[] = [];
  for (let at = first; at + ENTRIES_END_BYTES <= bytes.length && view.getUint32(at, true) !== 0; ) {
    if (at + ENTRY_BYTES > bytes.length) throw damaged("have an entry that is cut off");
    const end = at + ENTRY_BYTES + Math.ceil(view.getUint8(at) / 4) * 4;
    const size = view.getUint32(at + 8, true);
    const from = base + view.getUint16(at + 2, true);
    if (view.getUint32(at + 4, true) !== 0)
      throw new FormatError("Cannot change the disk: it has extended attributes in inodes of their own (ea_inode)");
    if (end > bytes.length || (size > 0 && from + size > bytes.length)) throw damaged("reach beyond their room");
    attributes.push({ entry: bytes.subarray(at, end), value: bytes.subarray(from, from + size) });
    at = end;
  }
  return attributes;
}

/** Writes them into an inode: entries from its front on, values from its end. */
function writeEntries(room: Uint8Array, attributes: readonly Attribute[]): void {
  const view = new DataView(room.buffer, room.byteOffset, room.length);
  view.setUint32(0, MAGIC, true);
  let front = MAGIC_BYTES;
  let back = room.length;
  for (const { entry, value } of attributes) {
    const padded = Math.ceil(value.length / 4) * 4;
    if (front + entry.length + ENTRIES_END_BYTES > back - padded)
      throw new FormatError("Cannot change the disk: a file has more extended attributes than an inode holds");
    room.set(entry, front);
    back -= padded;
    room.set(value, back);
    view.setUint16(front + 2, value.length === 0 ? 0 : back - MAGIC_BYTES, true);
    front += entry.length;
  }
}

function damaged(state: string): FormatError {
  return unreadable(`it is damaged, extended attributes ${state}`);
}
