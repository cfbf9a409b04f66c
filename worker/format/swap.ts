/**
 * The header of a swap area, as mkswap writes it. Source: include/linux/swap.h, union swap_header.
 *
 *   1024  version (4), last page (4), bad pages (4), uuid (16), label (16)
 *   4086  "SWAPSPACE2"
 */
import { FormatError } from "./file-tree.ts";
import type { SparseImage } from "./sparse-image.ts";

const PAGE_BYTES = 4096;
/** The kernel refuses less. */
const LEAST_PAGES = 10;
const HEADER = 1024;
const LABEL = HEADER + 28;
const LABEL_BYTES = 16;
const MAGIC = new TextEncoder().encode("SWAPSPACE2");

/**
 * @param size of the area in bytes; what is left over of the last page is not used
 * @param uuid 16 bytes
 * @throws FormatError when the area is too small or the label longer than 15 bytes
 */
export function encodeSwap(size: number, uuid: Uint8Array, label: string): SparseImage {
  const pages = Math.floor(size / PAGE_BYTES);
  if (pages < LEAST_PAGES)
    throw new FormatError(`Cannot make a swap area of ${size} bytes: it needs ${LEAST_PAGES * PAGE_BYTES}`);
  const name = new TextEncoder().encode(label);
  if (name.length >= LABEL_BYTES)
    throw new FormatError(`Cannot label the swap area ${JSON.stringify(label)}: it may have ${LABEL_BYTES - 1} bytes`);
  if (uuid.length !== 16) throw new FormatError(`Cannot use a UUID of ${uuid.length} bytes: it has 16`);
  const page = new Uint8Array(PAGE_BYTES);
  const view = new DataView(page.buffer);
  view.setUint32(HEADER, 1, true);
  view.setUint32(HEADER + 4, pages - 1, true);
  page.set(uuid, HEADER + 12);
  page.set(name, LABEL);
  page.set(MAGIC, PAGE_BYTES - MAGIC.length);
  return { size, extents: [{ offset: 0, bytes: page }] };
}

/** @returns null when there is no swap area, else its label */
export function decodeSwap(page: Uint8Array): { label: string } | null {
  if (page.length < PAGE_BYTES || !MAGIC.every((byte, at) => page[PAGE_BYTES - MAGIC.length + at] === byte))
    return null;
  const label = page.subarray(LABEL, LABEL + LABEL_BYTES);
  const end = label.indexOf(0);
  return { label: new TextDecoder().decode(end < 0 ? label : label.subarray(0, end)) };
}
