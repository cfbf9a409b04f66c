/**
 * Unpacks a kernel before the machine starts, as a boot loader may: in the emulator its own unpacking takes a third of the
 * instructions of a boot.
 *
 * A bzImage carries the kernel as a compressed ELF file (Documentation/arch/x86/boot.rst, payload_offset). Ours is packed
 * with LZ4 in its legacy frame (lz4_Frame_format.md, "Legacy frame"; the blocks: lz4_Block_format.md).
 * Limitations: LZ4 and 32-bit ELF only; whatever else comes unpacks itself.
 */

export interface UnpackedKernel {
  /** Where the kernel begins: a physical address, reached in protected mode with ESI at the boot parameters. */
  entry: number;
  /** What stands where in physical memory; what follows a segment the kernel clears itself. */
  segments: readonly { address: number; bytes: Uint8Array }[];
}

const SETUP_SECTORS = 0x1f1;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;

const LZ4_LEGACY_MAGIC = 0x184c2102;
/** "\x7fELF", little endian. */
const ELF_MAGIC = 0x464c457f;
const PT_LOAD = 1;

/** @returns null when the kernel is packed in another way. @throws Error "Cannot unpack the kernel: …" when it is damaged */
export function unpackKernel(bzImage: Uint8Array): UnpackedKernel | null {
  const header = new DataView(bzImage.buffer, bzImage.byteOffset, bzImage.byteLength);
  // 0 stands for 4 (boot.rst, setup_sects).
  const setupBytes = ((header.getUint8(SETUP_SECTORS) || 4) + 1) * 512;
  const start = setupBytes + header.getUint32(PAYLOAD_OFFSET, true);
  const length = header.getUint32(PAYLOAD_LENGTH, true);
  if (length < 12 || start + length > bzImage.length) return null;
  if (header.getUint32(start, true) !== LZ4_LEGACY_MAGIC) return null;
  // The kernel's build appends the unpacked size.
  const unpackedBytes = header.getUint32(start + length - 4, true);
  const elf = unpackLz4(bzImage.subarray(start + 4, start + length - 4), unpackedBytes);
  return readElf(elf);
}

function unpackLz4(packed: Uint8Array, unpackedBytes: number): Uint8Array {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  const unpacked = new Uint8Array(unpackedBytes);
  let filled = 0;
  for (let at = 0; at + 4 <= packed.length; ) {
    const length = view.getUint32(at, true);
    at += 4;
    filled = unpackBlock(packed.subarray(at, at + length), unpacked, filled);
    at += length;
  }
  if (filled !== unpackedBytes)
    throw new Error(`Cannot unpack the kernel: it has ${filled} bytes instead of ${unpackedBytes}`);
  return unpacked;
}

/** @returns where the block ends in `to` */
function unpackBlock(block: Uint8Array, to: Uint8Array, start: number): number {
  let at = 0;
  let end = start;
  const extended = (length: number): number => {
    if (length < 15) return length;
    let total = length;
    for (let byte = 255; byte === 255; total += byte) byte = block[at++] ?? 0;
    return total;
  };
  while (at < block.length) {
    const token = block[at++] as number;
    const literals = extended(token >> 4);
    if (end + literals > to.length) throw new Error("Cannot unpack the kernel: it is longer than it says");
    to.set(block.subarray(at, at + literals), end);
    at += literals;
    end += literals;
    if (at >= block.length) break;
    const distance = (block[at] as number) | ((block[at + 1] as number) << 8);
    at += 2;
    const match = extended(token & 15) + 4;
    if (distance === 0 || distance > end - start || end + match > to.length)
      throw new Error("Cannot unpack the kernel: its data are damaged");
    // A match may reach into itself, which repeats it; only one that does not can be copied at once.
    if (distance >= match) to.copyWithin(end, end - distance, end - distance + match);
    else for (let copied = 0; copied < match; copied += 1) to[end + copied] = to[end + copied - distance] as number;
    end += match;
  }
  return end;
}

function readElf(elf: Uint8Array): UnpackedKernel | null {
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength);
  const is32Bit = view.getUint8(4) === 1;
  if (view.getUint32(0, true) !== ELF_MAGIC || !is32Bit) return null;
  const entry = view.getUint32(24, true);
  const table = view.getUint32(28, true);
  const entryBytes = view.getUint16(42, true);
  const count = view.getUint16(44, true);
  const segments: { address: number; bytes: Uint8Array }[] = [];
  for (let index = 0; index < count; index += 1) {
    const at = table + index * entryBytes;
    if (view.getUint32(at, true) !== PT_LOAD) continue;
    const offset = view.getUint32(at + 4, true);
    const address = view.getUint32(at + 12, true);
    const length = view.getUint32(at + 16, true);
    if (offset + length > elf.length) throw new Error("Cannot unpack the kernel: a segment of it is missing");
    if (length > 0) segments.push({ address, bytes: elf.subarray(offset, offset + length) });
  }
  return { entry, segments };
}
