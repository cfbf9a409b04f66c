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

/** Bytes of an image that are to be copied from elsewhere. */
export interface Reference {
  /** In bytes from the image's start. */
  offset: number;
  length: number;
  /** Which of the sources; 0 is the disk that the image takes the place of. */
  source: number;
  /** In bytes from the source's start. */
  from: number;
}

/** An image that is made of others: it takes memory for what is new alone. Order and zeros as in a SparseImage. */
export interface ComposedImage {
  /** In bytes. */
  size: number;
  pieces: readonly Piece[];
}

export type Piece = Extent | Reference;

export const lengthOf = (piece: Piece): number => ("bytes" in piece ? piece.bytes.length : piece.length);

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

/** Collects pieces in any order. */
export class ImageWriter {
  readonly #pieces: Piece[] = [];

  /** @param size of the image in bytes */
  constructor(readonly size: number) {}

  /**
   * Puts bytes somewhere; they are kept, not copied. Nothing may be placed twice: `finish` refuses it.
   * @throws FormatError when they reach beyond the image's end
   */
  place(offset: number, bytes: Uint8Array<ArrayBuffer>): void {
    this.#add({ offset, bytes });
  }

  /** Says what is to be copied from a source. @throws FormatError as `place` does */
  refer(reference: Reference): void {
    this.#add(reference);
  }

  #add(piece: Piece): void {
    const { offset } = piece;
    const length = lengthOf(piece);
    if (offset < 0 || offset + length > this.size)
      throw new FormatError(`Cannot write ${length} bytes at ${offset}: the image ends at ${this.size}`);
    if (length > 0) this.#pieces.push(piece);
  }

  /** Puts a whole image into this one, say a partition into its disk. @throws FormatError as `place` does */
  placeImage(offset: number, image: SparseImage): void {
    for (const extent of image.extents) this.place(offset + extent.offset, extent.bytes);
  }

  /** @throws FormatError when two pieces overlap, or one is a reference */
  finish(): SparseImage {
    const { size, pieces } = this.compose();
    const extents = pieces.map((piece) => {
      if ("bytes" in piece) return piece;
      throw new FormatError(`Cannot write at ${piece.offset}: the bytes are elsewhere`);
    });
    return { size, extents };
  }

  /** References that go on from one another become one. @throws FormatError when two pieces overlap */
  compose(): ComposedImage {
    const pieces: Piece[] = [];
    let end = 0;
    for (const piece of this.#pieces.sort((a, b) => a.offset - b.offset)) {
      if (piece.offset < end)
        throw new FormatError(`Cannot write at ${piece.offset}: what stands before it reaches to ${end}`);
      const last = pieces.at(-1);
      if (last && piece.offset === end && goesOn(last, piece)) last.length += lengthOf(piece);
      else pieces.push("bytes" in piece ? piece : { ...piece });
      end = piece.offset + lengthOf(piece);
    }
    return { size: this.size, pieces };
  }
}

function goesOn(last: Piece, next: Piece): last is Reference {
  if ("bytes" in last || "bytes" in next) return false;
  return last.source === next.source && last.from + last.length === next.from;
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
