/**
 * Reads QEMU's disk images, versions 2 and 3, as qemu-img makes them and as strangers send them. Source:
 * docs/interop/qcow2.rst of QEMU.
 *
 * Limitations: the current state alone, not the snapshots; images with a backing file, encryption, data elsewhere, zstd or
 * subclusters are refused. Reference counts are not looked at. Nothing in the file is taken twice: the tables of a small
 * file cannot claim gigabytes of data.
 */
import type { Run } from "./disk-stream.ts";
import { FormatError } from "./file-tree.ts";
import { ENTRY_BYTES, MAGIC } from "./qcow2.ts";
import type { BlockSource, Extent } from "./sparse-image.ts";

/** Unpacks raw deflate of a known length. @throws Error when it is damaged */
export type Inflate = (bytes: Uint8Array, length: number) => Uint8Array<ArrayBuffer>;

export interface Qcow2 {
  version: number;
  /** Of the disk, in bytes. */
  size: number;
  clusterBytes: number;
  hasSnapshots: boolean;
  /** What is on the disk, in order. @throws FormatError when it is damaged */
  extents(): AsyncGenerator<Extent, void>;
}

export const MOST_DISK_BYTES = 64 * 1024 ** 3;
const HEADER_BYTES = 72;
const HEADER_BYTES_3 = 104;
/** 512 bytes to 2 MiB. */
const CLUSTER_BITS = { least: 9, most: 21 };
/** As much as QEMU itself takes. */
const MOST_L1_BYTES = 32 * 1024 * 1024;
/** Incompatible features: 0 dirty counts, 1 corrupt, 2 data elsewhere, 3 other compression, 4 subclusters. */
const FEATURES = { dirty: 1, corrupt: 2, external: 4, compression: 8, subclusters: 16 };
/** Upper half of a table's entry. */
const COMPRESSED = 0x4000_0000;
const OFFSET_HIGH = 0x00ff_ffff;
/** Lower half: reads as zeros, wherever it points. */
const ZERO = 1;
/** Deflate makes nothing smaller than that. */
const BEST_RATIO = 1032;
const SECTOR_BYTES = 512;
/** Read at once where the file has it in one piece. */
const STEP_BYTES = 1024 * 1024;

export interface Qcow2Header {
  version: number;
  size: number;
  clusterBits: number;
  l1Entries: number;
  l1Offset: number;
  hasSnapshots: boolean;
}

/**
 * @param what "Cannot open NAME", for messages
 * @throws FormatError for what is not, or not whole, or not read
 */
export function decodeQcow2Header(bytes: Uint8Array, what: string): Qcow2Header {
  const refuse = (state: string): never => {
    throw new FormatError(`${what}: ${state}`);
  };
  if (bytes.length < HEADER_BYTES) refuse("its header is cut off");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint32(0) !== MAGIC) refuse("it is no qcow2 image");
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) refuse(`it is qcow2 of version ${version}, versions 2 and 3 are read`);
  if (u64(view, 8) !== 0) refuse("it needs a backing file; `qemu-img convert` makes one image of both");
  if (view.getUint32(32) !== 0) refuse("it is encrypted");
  if (version === 3) {
    if (bytes.length < HEADER_BYTES_3) refuse("its header is cut off");
    const features = view.getUint32(76);
    if (features & FEATURES.corrupt) refuse("it is marked as damaged; `qemu-img check -r all` may repair it");
    if (features & FEATURES.external) refuse("its data are in another file");
    if (features & FEATURES.subclusters) refuse("it has subclusters, which are not read");
    const known = FEATURES.dirty | FEATURES.compression;
    if (view.getUint32(72) !== 0 || (features & ~known) !== 0) refuse("it has features that are not known");
    if (features & FEATURES.compression && view.getUint32(100) > HEADER_BYTES_3 && bytes[HEADER_BYTES_3] !== 0)
      refuse("it is packed with zstd, which is not read; `qemu-img convert -c` makes one that is");
  }
  const clusterBits = view.getUint32(20);
  if (clusterBits < CLUSTER_BITS.least || clusterBits > CLUSTER_BITS.most)
    refuse(`its clusters would have 2^${clusterBits} bytes`);
  const size = u64(view, 24);
  if (size > MOST_DISK_BYTES) refuse(`its disk would have ${size} bytes, ${MOST_DISK_BYTES} is the most`);
  const l1Entries = view.getUint32(36);
  const l1Offset = u64(view, 40);
  const needed = Math.ceil(size / 2 ** (2 * clusterBits - 3));
  if (l1Entries < needed || l1Entries * ENTRY_BYTES > MOST_L1_BYTES)
    refuse(`its first table would have ${l1Entries} entries, it needs ${needed}`);
  if (l1Offset % 2 ** clusterBits !== 0 || l1Offset === 0) refuse(`its first table cannot be at ${l1Offset}`);
  return { version, size, clusterBits, l1Entries: needed, l1Offset, hasSnapshots: view.getUint32(60) > 0 };
}

/**
 * @param what "Cannot open NAME", for messages
 * @throws FormatError when the image cannot be read
 */
export async function openQcow2(source: BlockSource, inflate: Inflate, what: string): Promise<Qcow2> {
  const start = await source.read(0, Math.min(512, source.size));
  const header = decodeQcow2Header(start, what);
  const { version, size, clusterBits, hasSnapshots } = header;
  return {
    version,
    size,
    clusterBytes: 2 ** clusterBits,
    hasSnapshots,
    extents: () => readExtents(source, header, inflate, what),
  };
}

async function* readExtents(
  source: BlockSource,
  { size, clusterBits, l1Entries, l1Offset, version }: Qcow2Header,
  inflate: Inflate,
  what: string,
): AsyncGenerator<Extent, void> {
  const clusterBytes = 2 ** clusterBits;
  const perTable = clusterBytes / ENTRY_BYTES;
  const used = new ClusterSet(Math.ceil(source.size / clusterBytes));
  const refuse = (state: string): never => {
    throw new FormatError(`${what}: ${state}`);
  };
  const claim = (offset: number, length: number, name: string): void => {
    if (offset % clusterBytes !== 0) refuse(`${name} cannot be at ${offset}, which is no start of a cluster`);
    if (offset + Math.min(length, clusterBytes) > alignedEnd(source.size, clusterBytes) || offset >= source.size)
      refuse(`${name} would be at ${offset}, the file ends at ${source.size}`);
    for (let at = offset; at < offset + length; at += clusterBytes)
      if (!used.add(at / clusterBytes)) refuse(`${name} is at ${at}, where something else is`);
  };
  const read = readAhead(source);
  claim(0, clusterBytes, "the header");
  if (l1Entries > 0) {
    if (l1Offset + l1Entries * ENTRY_BYTES > source.size)
      refuse(`its first table would be at ${l1Offset}, the file ends at ${source.size}`);
    claim(l1Offset, l1Entries * ENTRY_BYTES, "the first table");
  }
  const l1 = viewOf(l1Entries > 0 ? await source.read(l1Offset, l1Entries * ENTRY_BYTES) : new Uint8Array(0));
  let packedBytes = 0;
  let pending: Run & { host: number } = { offset: 0, length: 0, host: 0 };
  async function* flush(): AsyncGenerator<Extent> {
    if (pending.length === 0) return;
    const { offset, length, host } = pending;
    pending = { offset: 0, length: 0, host: 0 };
    // The file may end within its last cluster, as the disk may.
    const there = Math.min(length, size - offset);
    const bytes = new Uint8Array(there);
    bytes.set(await source.read(host, Math.min(there, source.size - host)));
    yield { offset, bytes };
  }
  for (let number = 0; number < l1Entries; number += 1) {
    const tableOffset = offsetOf(l1, number);
    if (tableOffset === 0) continue;
    claim(tableOffset, clusterBytes, `the table ${number}`);
    if (tableOffset + clusterBytes > source.size) refuse(`the table ${number} at ${tableOffset} is cut off`);
    const table = viewOf(await source.read(tableOffset, clusterBytes));
    const first = number * perTable;
    for (let at = 0; at < perTable && (first + at) * clusterBytes < size; at += 1) {
      const offset = (first + at) * clusterBytes;
      const high = table.getUint32(at * ENTRY_BYTES);
      const low = table.getUint32(at * ENTRY_BYTES + 4);
      if (high & COMPRESSED) {
        yield* flush();
        const { host, length } = compressedPlace(table.getBigUint64(at * ENTRY_BYTES), clusterBits);
        const there = Math.min(length, source.size - host);
        if (there <= 0) refuse(`packed data would be at ${host}, the file ends at ${source.size}`);
        packedBytes += clusterBytes;
        if (packedBytes > source.size * BEST_RATIO)
          refuse(`at ${host}, its packed data are used more often than they can be`);
        const bytes = unpack(inflate, await read(host, there), clusterBytes, `${what}: the data at ${host}`);
        yield { offset, bytes: bytes.subarray(0, size - offset) };
        continue;
      }
      const host = offsetOf(table, at);
      if (host === 0 || (version === 3 && low & ZERO)) continue;
      claim(host, clusterBytes, `the data of ${offset}`);
      const follows = pending.length > 0 && pending.offset + pending.length === offset;
      if (!follows || pending.host + pending.length !== host || pending.length >= STEP_BYTES) {
        yield* flush();
        pending = { offset, length: 0, host };
      }
      pending.length += clusterBytes;
    }
    yield* flush();
  }
}

function unpack(inflate: Inflate, bytes: Uint8Array, length: number, what: string): Uint8Array<ArrayBuffer> {
  try {
    return inflate(bytes, length);
  } catch (error) {
    throw new FormatError(`${what} are damaged (${error instanceof Error ? error.message : String(error)})`);
  }
}

/** An entry for packed data has its offset, and in the bits above it the number of sectors behind the first. */
function compressedPlace(entry: bigint, clusterBits: number): { host: number; length: number } {
  const shift = BigInt(62 - (clusterBits - 8));
  const host = Number(entry & ((1n << shift) - 1n));
  const sectors = Number((entry & ((1n << 62n) - 1n)) >> shift);
  return { host, length: (sectors + 1) * SECTOR_BYTES - (host % SECTOR_BYTES) };
}

/** Where an entry points: bits 9 to 55. */
export function offsetOf(table: DataView, index: number): number {
  const high = table.getUint32(index * ENTRY_BYTES) & OFFSET_HIGH;
  return high * 2 ** 32 + ((table.getUint32(index * ENTRY_BYTES + 4) & ~0x1ff) >>> 0);
}

/** Many small reads that follow each other become few large ones. */
function readAhead(source: BlockSource): (offset: number, length: number) => Promise<Uint8Array> {
  let start = 0;
  let window: Uint8Array = new Uint8Array(0);
  return async (offset, length) => {
    if (offset < start || offset + length > start + window.length) {
      start = offset;
      window = await source.read(offset, Math.min(Math.max(length, STEP_BYTES), source.size - offset));
    }
    return window.subarray(offset - start, offset - start + length);
  };
}

function u64(view: DataView, at: number): number {
  return view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function alignedEnd(size: number, clusterBytes: number): number {
  return Math.ceil(size / clusterBytes) * clusterBytes;
}

/** Which clusters of the file are taken, a bit each. */
class ClusterSet {
  readonly #bits: Uint8Array;

  constructor(clusters: number) {
    this.#bits = new Uint8Array(Math.ceil(clusters / 8));
  }

  /** Says whether it was free. */
  add(cluster: number): boolean {
    const at = cluster >> 3;
    const bit = 1 << (cluster & 7);
    const byte = this.#bits[at] as number;
    if (byte & bit) return false;
    this.#bits[at] = byte | bit;
    return true;
  }
}
