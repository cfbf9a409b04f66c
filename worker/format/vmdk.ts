/**
 * Writes VMware's disk images: "monolithicSparse", one file that QEMU and VirtualBox read and write, which is what
 * `qemu-img convert -O vmdk` makes. Source: VMware's "Virtual Disk Format 5.0" and block/vmdk.c of QEMU.
 *
 *   0    header                  512 bytes, little endian
 *   1    descriptor              20 sectors of text
 *   21   grain directories       twice, each with the tables of the whole disk behind it
 *   …    grains of 64 KiB        those that are not zero, in order
 */
import { alignTo, clustersOf, type DiskStream, usedClusters } from "./disk-stream.ts";
import { FormatError } from "./file-tree.ts";

const SECTOR_BYTES = 512;
/** "KDMV". */
const MAGIC = 0x564d444b;
const GRAIN_SECTORS = 128;
const GRAIN_BYTES = GRAIN_SECTORS * SECTOR_BYTES;
const ENTRIES_PER_TABLE = 512;
const TABLE_SECTORS = (ENTRIES_PER_TABLE * 4) / SECTOR_BYTES;
const DESCRIPTOR = { sector: 1, sectors: 20 };
/** Line ends can be tested for; there is a second directory. */
const FLAGS = 3;
/** What a disk of the old kind of controller is said to have. */
const HEADS = 16;
const SECTORS_PER_TRACK = 63;
/** A grain's place is a number of 32 bits, in sectors. */
const MOST_SECTORS = 2 ** 32;

/**
 * @param name of the file, as its descriptor has it
 * @returns the file's bytes, in order
 * @throws FormatError when the disk is no whole number of sectors, or too large
 */
export async function* encodeVmdk(disk: DiskStream, name: string): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  if (disk.size % SECTOR_BYTES !== 0)
    throw new FormatError(`Cannot write the disk as VMDK: ${disk.size} bytes are no whole sectors`);
  const capacity = disk.size / SECTOR_BYTES;
  const used = await usedClusters(disk, GRAIN_BYTES);
  const tables = Math.ceil(Math.ceil(disk.size / GRAIN_BYTES) / ENTRIES_PER_TABLE);
  const directorySectors = Math.ceil((tables * 4) / SECTOR_BYTES);
  const second = DESCRIPTOR.sector + DESCRIPTOR.sectors;
  const first = second + directorySectors + tables * TABLE_SECTORS;
  const overhead = alignTo(first + directorySectors + tables * TABLE_SECTORS, GRAIN_SECTORS);
  if (overhead + used.length * GRAIN_SECTORS > MOST_SECTORS)
    throw new FormatError("Cannot write the disk as VMDK: it has more than 2 TiB of data");

  const head = new Uint8Array(overhead * SECTOR_BYTES);
  const view = new DataView(head.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, 1, true);
  view.setUint32(8, FLAGS, true);
  const sectors = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true);
  sectors(12, capacity);
  sectors(20, GRAIN_SECTORS);
  sectors(28, DESCRIPTOR.sector);
  sectors(36, DESCRIPTOR.sectors);
  view.setUint32(44, ENTRIES_PER_TABLE, true);
  sectors(48, second);
  sectors(56, first);
  sectors(64, overhead);
  // Characters that a transfer as text would change.
  head.set([0x0a, 0x20, 0x0d, 0x0a], 73);
  head.set(encodeDescriptor(capacity, name), DESCRIPTOR.sector * SECTOR_BYTES);
  for (const directory of [second, first])
    for (let table = 0; table < tables; table += 1)
      view.setUint32(directory * SECTOR_BYTES + table * 4, directory + directorySectors + table * TABLE_SECTORS, true);
  for (const [at, index] of used.entries())
    for (const directory of [second, first])
      view.setUint32((directory + directorySectors) * SECTOR_BYTES + index * 4, overhead + at * GRAIN_SECTORS, true);
  yield head;

  let next = 0;
  for await (const { index, bytes } of clustersOf(disk, GRAIN_BYTES)) {
    for (; next < used.length && (used[next] as number) < index; next += 1) yield new Uint8Array(GRAIN_BYTES);
    if (used[next] !== index) throw new FormatError(`Cannot write the disk: its cluster ${index} is in no run`);
    yield bytes;
    next += 1;
  }
  for (; next < used.length; next += 1) yield new Uint8Array(GRAIN_BYTES);
}

function encodeDescriptor(capacity: number, name: string): Uint8Array {
  const cylinders = Math.min(Math.ceil(capacity / (HEADS * SECTORS_PER_TRACK)), 16_383);
  const file = name.replaceAll(/[^\w.-]/g, "_").slice(0, 100);
  return new TextEncoder().encode(`# Disk DescriptorFile
version=1
CID=736d6f73
parentCID=ffffffff
createType="monolithicSparse"

# Extent description
RW ${capacity} SPARSE "${file}"

# The Disk Data Base
#DDB

ddb.virtualHWVersion = "4"
ddb.geometry.cylinders = "${cylinders}"
ddb.geometry.heads = "${HEADS}"
ddb.geometry.sectors = "${SECTORS_PER_TRACK}"
ddb.adapterType = "ide"
`);
}
