/**
 * A disk image as its written areas alone. A 4 GiB disk with 6 MB on it costs 6 MB, from the builder to the storage.
 */
import { FormatError } from "./file-tree.ts";

/** Bytes at a place of an image. */
export interface Extent {
  /** In bytes from the image's start. */
  offset: number;
  bytes: Uint8Array<ArrayBuffer>;
}

/** Everything outside the extents is zero. The extents are in order, none is empty, and no two overlap. */
export interface SparseImage {
  /** In bytes. */
  size: number;
  extents: readonly Extent[];
}

/** A disk to read from: an image in memory, a stored disk, a file. */
export interface BlockSource {
  /** In bytes. */
  readonly size: number;
  /**
   * Reads `length` bytes, which the caller keeps. Reads beyond the end are refused.
   * @throws Error "Cannot read …"
   */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** Collects extents in any order. */
export class ImageWriter {
  readonly #extents: Extent[] = [];

  /** @param size of the image in bytes */
  constructor(readonly size: number) {}

  /**
   * Puts bytes somewhere; they are kept, not copied. Nothing may be placed twice: `finish` refuses it.
   * @throws FormatError when they reach beyond the image's end
   */
  place(offset: number, bytes: Uint8Array<ArrayBuffer>): void {
    if (offset < 0 || offset + bytes.length > this.size)
      throw new FormatError(`Cannot write ${bytes.length} bytes at ${offset}: the image ends at ${this.size}`);
    if (bytes.length > 0) this.#extents.push({ offset, bytes });
  }

  /** Puts a whole image into this one, say a partition into its disk. @throws FormatError as `place` does */
  placeImage(offset: number, image: SparseImage): void {
    for (const extent of image.extents) this.place(offset + extent.offset, extent.bytes);
  }

  /** @throws FormatError when two extents overlap */
  finish(): SparseImage {
    const extents = this.#extents.sort((a, b) => a.offset - b.offset);
    let end = 0;
    for (const { offset, bytes } of extents) {
      if (offset < end) throw new FormatError(`Cannot write at ${offset}: what stands before it reaches to ${end}`);
      end = offset + bytes.length;
    }
    return { size: this.size, extents };
  }
}

/** Reads an image in memory. */
export function imageSource(image: SparseImage): BlockSource {
  const { size, extents } = image;
  return {
    size,
    async read(offset, length) {
      if (offset < 0 || length < 0 || offset + length > size)
        throw new FormatError(`Cannot read ${length} bytes at ${offset}: the image ends at ${size}`);
      const result = new Uint8Array(length);
      for (let at = firstReaching(extents, offset); at < extents.length; at += 1) {
        const extent = extents[at] as Extent;
        if (extent.offset >= offset + length) break;
        const start = Math.max(extent.offset, offset);
        const end = Math.min(extent.offset + extent.bytes.length, offset + length);
        result.set(extent.bytes.subarray(start - extent.offset, end - extent.offset), start - offset);
      }
      return result;
    },
  };
}

/** A part of a disk as a disk of its own, say a partition. @throws FormatError when it reaches beyond the disk's end */
export function partOf(source: BlockSource, start: number, size: number): BlockSource {
  if (start < 0 || size < 0 || start + size > source.size)
    throw new FormatError(`Cannot read a part of ${size} bytes at ${start}: the disk ends at ${source.size}`);
  return {
    size,
    async read(offset, length) {
      if (offset < 0 || length < 0 || offset + length > size)
        throw new FormatError(`Cannot read ${length} bytes at ${offset}: the part ends at ${size}`);
      return source.read(start + offset, length);
    },
  };
}

/** Index of the first extent that ends behind `offset`. */
function firstReaching(extents: readonly Extent[], offset: number): number {
  let low = 0;
  let high = extents.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const { offset: start, bytes } = extents[middle] as Extent;
    if (start + bytes.length <= offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
