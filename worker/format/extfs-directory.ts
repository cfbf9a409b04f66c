/**
 * Blocks of directories: a chain of records, each as long as to the next one, the last to the block's end.
 * Source: Documentation/filesystems/ext4/directory.rst of Linux, "Linear (Classic) Directories".
 */
export interface DirectoryRecord {
  inode: number;
  name: Uint8Array;
  /** One of FILE_TYPES. */
  type: number;
}

export const FILE_TYPES = { file: 1, directory: 2, character: 3, block: 4, fifo: 5, socket: 6, symlink: 7 } as const;

const HEADER_BYTES = 8;
const ALIGNMENT = 4;

/** @param least blocks that there must be, the later ones empty */
export function encodeDirectory(
  records: readonly DirectoryRecord[],
  blockBytes: number,
  least = 1,
): Uint8Array<ArrayBuffer> {
  const blocks: DirectoryRecord[][] = [[]];
  let filled = 0;
  for (const record of records) {
    const length = recordBytes(record);
    if (filled + length > blockBytes) {
      blocks.push([]);
      filled = 0;
    }
    blocks.at(-1)?.push(record);
    filled += length;
  }
  while (blocks.length < least) blocks.push([]);
  const bytes = new Uint8Array(blocks.length * blockBytes);
  const view = new DataView(bytes.buffer);
  for (const [index, block] of blocks.entries()) {
    let at = index * blockBytes;
    const end = at + blockBytes;
    // A block without entries is one unused record.
    if (block.length === 0) view.setUint16(at + 4, blockBytes, true);
    for (const [position, record] of block.entries()) {
      const length = position === block.length - 1 ? end - at : recordBytes(record);
      view.setUint32(at, record.inode, true);
      view.setUint16(at + 4, length, true);
      view.setUint8(at + 6, record.name.length);
      view.setUint8(at + 7, record.type);
      bytes.set(record.name, at + HEADER_BYTES);
      at += length;
    }
  }
  return bytes;
}

function recordBytes({ name }: DirectoryRecord): number {
  return HEADER_BYTES + Math.ceil(name.length / ALIGNMENT) * ALIGNMENT;
}
