/**
 * Writes QEMU's disk images. Source: docs/interop/qcow2.rst of QEMU, version 3.
 *
 * Limitations: one snapshot-less image without a backing file, clusters of 64 KiB, reference counts of 16 bits.
 *
 *   compressed                                       plain
 *   header                    cluster 0, last        header                    cluster 0
 *   data, packed by the byte  from cluster 1 on      reference counts: table, then blocks
 *   level 2 tables, level 1                          level 1, level 2 tables
 *   reference counts: blocks, then table             data, a cluster each
 *
 * How long compressed data are is known when they are there, so that their tables come after them and the header, which
 * says where those are, at the very end: it needs a file to be written at any place. A plain image comes in order.
 */
import { alignTo, clustersOf, type DiskStream, type Piece, usedClusters } from "./disk-stream.ts";
import { FormatError } from "./file-tree.ts";

export const CLUSTER_BITS = 16;
export const CLUSTER_BYTES = 1 << CLUSTER_BITS;
export const MAGIC = 0x514649fb;
const VERSION = 3;
const HEADER_BYTES = 104;
/** log₂ of a reference count's bits. */
const REFCOUNT_ORDER = 4;
const REFCOUNTS_PER_BLOCK = CLUSTER_BYTES / 2;
export const ENTRY_BYTES = 8;
export const ENTRIES_PER_TABLE = CLUSTER_BYTES / ENTRY_BYTES;
/** What is referenced once may be written in place. */
const COPIED = 1n << 63n;
const COMPRESSED = 1n << 62n;
/** In an entry for compressed data, the number of further sectors begins at this bit. */
const SECTORS_SHIFT = BigInt(62 - (CLUSTER_BITS - 8));
const SECTOR_BYTES = 512;

/** Packs a cluster as raw deflate (RFC 1951); it gives a copy of the cluster where that is no shorter. */
export type PackCluster = (bytes: Uint8Array) => Uint8Array<ArrayBuffer>;

/**
 * Writes compressed clusters, as `qemu-img convert -c` does.
 * @returns pieces that cover the file, in order but for the header, which comes last and goes to the start
 */
export async function* encodeCompressedQcow2(disk: DiskStream, pack: PackCluster): AsyncGenerator<Piece, void> {
  const tables = new Map<number, DataView>();
  const counts = new CountList();
  counts.add(0);
  let end = CLUSTER_BYTES;
  for await (const { index, bytes } of clustersOf(disk, CLUSTER_BYTES)) {
    const packed = pack(bytes);
    // Its taker may have given its memory back when this goes on.
    const { length } = packed;
    let entry: bigint;
    if (length < CLUSTER_BYTES) {
      const sectors = Math.floor((end + length - 1) / SECTOR_BYTES) - Math.floor(end / SECTOR_BYTES);
      entry = COMPRESSED | (BigInt(sectors) << SECTORS_SHIFT) | BigInt(end);
      yield { offset: end, bytes: packed };
      const last = Math.floor((end + length - 1) / CLUSTER_BYTES);
      for (let cluster = Math.floor(end / CLUSTER_BYTES); cluster <= last; cluster += 1) counts.add(cluster);
      end += length;
    } else {
      const start = alignTo(end, CLUSTER_BYTES);
      yield* gap(end, start);
      entry = COPIED | BigInt(start);
      yield { offset: start, bytes: packed };
      counts.add(start / CLUSTER_BYTES);
      end = start + CLUSTER_BYTES;
    }
    setEntry(tables, index, entry);
  }
  const dataEnd = alignTo(end, CLUSTER_BYTES);
  yield* gap(end, dataEnd);
  const layout = planTables(disk.size, tables.size, dataEnd);
  yield* writeTables(tables, layout, disk.size);
  for (let cluster = dataEnd / CLUSTER_BYTES; cluster < layout.countsStart / CLUSTER_BYTES; cluster += 1)
    counts.add(cluster);
  yield* writeCounts(counts, layout);
  yield { offset: 0, bytes: encodeHeader(disk.size, layout) };
}

/**
 * Writes clusters as they are, everything in order, so that the image can be packed and unpacked as a stream.
 * @throws FormatError when the disk's runs are not where its extents are
 */
export async function* encodePlainQcow2(disk: DiskStream): AsyncGenerator<Piece, void> {
  const used = await usedClusters(disk, CLUSTER_BYTES);
  const tables = new Map<number, DataView>();
  for (const index of used) setEntry(tables, index, 0n);
  // Counts first: how many blocks they need depends on all of the file.
  const l1Bytes = alignTo(levelOneEntries(disk.size) * ENTRY_BYTES, CLUSTER_BYTES);
  const others = 1 + l1Bytes / CLUSTER_BYTES + tables.size + used.length;
  const { blocks, tableClusters } = planCounts(others);
  const countsTable = CLUSTER_BYTES;
  const countsStart = countsTable + tableClusters * CLUSTER_BYTES;
  const l1 = countsStart + blocks * CLUSTER_BYTES;
  const l2 = l1 + l1Bytes;
  const data = l2 + tables.size * CLUSTER_BYTES;
  const layout = { l1, l2, countsStart, countsTable, blocks, tableClusters };
  for (const [at, index] of used.entries()) setEntry(tables, index, COPIED | BigInt(data + at * CLUSTER_BYTES));
  const counts = new CountList();
  for (let cluster = 0; cluster < others + blocks + tableClusters; cluster += 1) counts.add(cluster);

  yield { offset: 0, bytes: encodeHeader(disk.size, layout) };
  yield countsTableOf(layout);
  yield* countBlocks(counts, layout);
  yield levelOneOf(tables, layout, disk.size);
  yield* levelTwoOf(tables, layout);
  let next = 0;
  const zeros = (): Uint8Array<ArrayBuffer> => new Uint8Array(CLUSTER_BYTES);
  for await (const { index, bytes } of clustersOf(disk, CLUSTER_BYTES)) {
    // Clusters of zeros have a place when the disk did not know them for such.
    while (next < used.length && (used[next] as number) < index)
      yield { offset: data + next++ * CLUSTER_BYTES, bytes: zeros() };
    if (used[next] !== index) throw new FormatError(`Cannot write the disk: its cluster ${index} is in no run`);
    yield { offset: data + next++ * CLUSTER_BYTES, bytes };
  }
  while (next < used.length) yield { offset: data + next++ * CLUSTER_BYTES, bytes: zeros() };
}

/** The length of a plain image, in bytes. */
export async function plainQcow2Bytes(disk: DiskStream): Promise<number> {
  const used = await usedClusters(disk, CLUSTER_BYTES);
  const tables = new Set(used.map((index) => Math.floor(index / ENTRIES_PER_TABLE))).size;
  const l1 = Math.ceil((levelOneEntries(disk.size) * ENTRY_BYTES) / CLUSTER_BYTES);
  const others = 1 + l1 + tables + used.length;
  const { blocks, tableClusters } = planCounts(others);
  return (others + blocks + tableClusters) * CLUSTER_BYTES;
}

interface Layout {
  /** All in bytes from the file's start. */
  l1: number;
  l2: number;
  countsStart: number;
  countsTable: number;
  blocks: number;
  tableClusters: number;
}

/** Tables behind the data. */
function planTables(size: number, tables: number, dataEnd: number): Layout {
  const l2 = dataEnd;
  const l1 = l2 + tables * CLUSTER_BYTES;
  const countsStart = l1 + alignTo(levelOneEntries(size) * ENTRY_BYTES, CLUSTER_BYTES);
  const { blocks, tableClusters } = planCounts(countsStart / CLUSTER_BYTES);
  return { l1, l2, countsStart, countsTable: countsStart + blocks * CLUSTER_BYTES, blocks, tableClusters };
}

/** Blocks count themselves and the clusters of their table as well. */
function planCounts(otherClusters: number): { blocks: number; tableClusters: number } {
  let blocks = 1;
  let tableClusters = 1;
  for (;;) {
    const total = otherClusters + blocks + tableClusters;
    const needed = Math.ceil(total / REFCOUNTS_PER_BLOCK);
    const neededTable = Math.ceil((needed * ENTRY_BYTES) / CLUSTER_BYTES);
    if (needed === blocks && neededTable === tableClusters) return { blocks, tableClusters };
    blocks = needed;
    tableClusters = neededTable;
  }
}

function levelOneEntries(size: number): number {
  return Math.max(1, Math.ceil(size / (CLUSTER_BYTES * ENTRIES_PER_TABLE)));
}

function setEntry(tables: Map<number, DataView>, index: number, entry: bigint): void {
  const number = Math.floor(index / ENTRIES_PER_TABLE);
  let table = tables.get(number);
  if (!table) {
    table = new DataView(new ArrayBuffer(CLUSTER_BYTES));
    tables.set(number, table);
  }
  table.setBigUint64((index % ENTRIES_PER_TABLE) * ENTRY_BYTES, entry);
}

function* writeTables(tables: Map<number, DataView>, layout: Layout, size: number): Generator<Piece> {
  yield* levelTwoOf(tables, layout);
  yield levelOneOf(tables, layout, size);
}

function* levelTwoOf(tables: Map<number, DataView>, { l2 }: Layout): Generator<Piece> {
  let offset = l2;
  for (const table of tables.values()) {
    yield { offset, bytes: new Uint8Array(table.buffer as ArrayBuffer) };
    offset += CLUSTER_BYTES;
  }
}

function levelOneOf(tables: Map<number, DataView>, { l1, l2 }: Layout, size: number): Piece {
  const bytes = new Uint8Array(alignTo(levelOneEntries(size) * ENTRY_BYTES, CLUSTER_BYTES));
  const view = new DataView(bytes.buffer);
  for (const [at, number] of [...tables.keys()].entries())
    view.setBigUint64(number * ENTRY_BYTES, COPIED | BigInt(l2 + at * CLUSTER_BYTES));
  return { offset: l1, bytes };
}

function* writeCounts(counts: CountList, layout: Layout): Generator<Piece> {
  const first = layout.countsStart / CLUSTER_BYTES;
  for (let cluster = 0; cluster < layout.blocks + layout.tableClusters; cluster += 1) counts.add(first + cluster);
  yield* countBlocks(counts, layout);
  yield countsTableOf(layout);
}

function* countBlocks(counts: CountList, { countsStart, blocks }: Layout): Generator<Piece> {
  for (let block = 0; block < blocks; block += 1)
    yield { offset: countsStart + block * CLUSTER_BYTES, bytes: counts.block(block) };
}

function countsTableOf({ countsStart, countsTable, blocks, tableClusters }: Layout): Piece {
  const bytes = new Uint8Array(tableClusters * CLUSTER_BYTES);
  const view = new DataView(bytes.buffer);
  for (let block = 0; block < blocks; block += 1)
    view.setBigUint64(block * ENTRY_BYTES, BigInt(countsStart + block * CLUSTER_BYTES));
  return { offset: countsTable, bytes };
}

function encodeHeader(size: number, { l1, countsTable, tableClusters }: Layout): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(CLUSTER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC);
  view.setUint32(4, VERSION);
  view.setUint32(20, CLUSTER_BITS);
  view.setBigUint64(24, BigInt(size));
  view.setUint32(36, levelOneEntries(size));
  view.setBigUint64(40, BigInt(l1));
  view.setBigUint64(48, BigInt(countsTable));
  view.setUint32(56, tableClusters);
  view.setUint32(96, REFCOUNT_ORDER);
  view.setUint32(100, HEADER_BYTES);
  return bytes;
}

function* gap(from: number, to: number): Generator<Piece> {
  if (to > from) yield { offset: from, bytes: new Uint8Array(to - from) };
}

/** How often each cluster of the file is used. */
class CountList {
  #counts = new Uint16Array(1024);

  add(cluster: number): void {
    if (cluster >= this.#counts.length) {
      const larger = new Uint16Array(Math.max(cluster + 1, this.#counts.length * 2));
      larger.set(this.#counts);
      this.#counts = larger;
    }
    this.#counts[cluster] = (this.#counts[cluster] as number) + 1;
  }

  /** Big endian, as everything in the format. */
  block(index: number): Uint8Array<ArrayBuffer> {
    const view = new DataView(new ArrayBuffer(CLUSTER_BYTES));
    const part = this.#counts.subarray(index * REFCOUNTS_PER_BLOCK, (index + 1) * REFCOUNTS_PER_BLOCK);
    for (let at = 0; at < part.length; at += 1) view.setUint16(at * 2, part[at] as number);
    return new Uint8Array(view.buffer as ArrayBuffer);
  }
}
