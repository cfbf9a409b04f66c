/**
 * A saved machine as a file, with what was on its disks.
 *
 *   0    "SMOSSNAP"
 *   8    version u32 │ length of the header u32, little endian
 *   16   header      JSON: {record, disks: [{sizeBytes, extents: [{offset, length, stored, sum}]}]}
 *   …    pieces      of the state, raw deflate each, one after the other
 *   …    extents     of the disks, raw deflate each; what they leave out is zero
 *
 * A file comes from anywhere: what is in its header is looked at before anything is done with it.
 */
import type { Extent } from "../worker/format/sparse-image.ts";
import { deflate, inflate } from "./deflate.ts";
import { xxh32 } from "./disk-checksum.ts";
import { checkDiskSize } from "./disk-image.ts";
import type { StoredImage } from "./disk-stored-image.ts";
import type { SnapshotRecord } from "./snapshot-record.ts";
import { DRIVES } from "./state.ts";

const MAGIC = "SMOSSNAP";
const VERSION = 1;
const START_BYTES = 16;
const MOST_HEADER_BYTES = 64 * 1024 * 1024;
const MOST_PIECE_BYTES = 64 * 1024;
const MOST_EXTENT_BYTES = 64 * 1024 * 1024;

const MOST_TERMINAL = 8 * 1024 * 1024;
const MOST_NAME = 200;
const MOST_LINES = 100;
const MOST_DEVICES_MB = 32;

interface FileExtent {
  offset: number;
  length: number;
  stored: number;
  /** XXH32 of the bytes. */
  sum: number;
}

interface Header {
  record: SnapshotRecord;
  disks: { sizeBytes: number; extents: FileExtent[] }[];
}

export interface SnapshotFile {
  record: SnapshotRecord;
  pieces: ArrayBuffer;
  /** In the order of the record's disks. @throws Error when an extent is damaged */
  disks: { sizeBytes: number; extents(): AsyncGenerator<Extent> }[];
}

/** Collects the disks of a file one after the other; their bytes go into blobs, which the browser may keep on the disk. */
export async function packDisk(image: StoredImage): Promise<{ facts: Header["disks"][number]; parts: Blob[] }> {
  const extents: FileExtent[] = [];
  const parts: Blob[] = [];
  for await (const { offset, bytes } of image.extents()) {
    const own = bytes.slice();
    const packed = await deflate(own);
    extents.push({ offset, length: own.length, stored: packed.length, sum: xxh32(own, 0) });
    parts.push(new Blob([packed]));
  }
  return { facts: { sizeBytes: image.source.size, extents }, parts };
}

export function encodeSnapshotFile(
  record: SnapshotRecord,
  pieces: ArrayBuffer,
  disks: readonly Awaited<ReturnType<typeof packDisk>>[],
): Blob {
  const header = new TextEncoder().encode(
    JSON.stringify({ record, disks: disks.map(({ facts }) => facts) } satisfies Header),
  );
  const start = new Uint8Array(START_BYTES);
  new TextEncoder().encodeInto(MAGIC, start);
  const view = new DataView(start.buffer);
  view.setUint32(8, VERSION, true);
  view.setUint32(12, header.length, true);
  return new Blob([start, header, pieces, ...disks.flatMap(({ parts }) => parts)], {
    type: "application/octet-stream",
  });
}

/** @throws Error when it is no such file, or its header says what cannot be */
export async function decodeSnapshotFile(file: Blob): Promise<SnapshotFile> {
  const start = await file.slice(0, START_BYTES).arrayBuffer();
  if (start.byteLength < START_BYTES || new TextDecoder().decode(start.slice(0, 8)) !== MAGIC) throw new Error(NO_FILE);
  const view = new DataView(start);
  const headerBytes = view.getUint32(12, true);
  if (view.getUint32(8, true) !== VERSION || headerBytes > MOST_HEADER_BYTES) throw new Error(NO_FILE);
  const text = await file.slice(START_BYTES, START_BYTES + headerBytes).text();
  const { record, disks } = checkHeader(JSON.parse(text));
  let at = START_BYTES + headerBytes;
  const take = (length: number): Blob => {
    at += length;
    return file.slice(at - length, at);
  };
  const pieces = await take(record.pieces.reduce((sum, { stored }) => sum + stored, 0)).arrayBuffer();
  return {
    record,
    pieces,
    disks: disks.map(({ sizeBytes, extents }) => {
      const parts = extents.map((extent) => ({ ...extent, part: take(extent.stored) }));
      return {
        sizeBytes,
        async *extents() {
          for (const { offset, length, sum, part } of parts) {
            const bytes = await inflate(new Uint8Array(await part.arrayBuffer()), length);
            if (bytes.length !== length || xxh32(bytes, 0) !== sum) throw new Error(NO_FILE);
            yield { offset, bytes };
          }
        },
      };
    }),
  };
}

const NO_FILE = "it is no snapshot, or it is damaged";

/** None overlaps another, so that they are no more than the disk. */
function areInOrder(extents: readonly FileExtent[]): boolean {
  return extents.every(({ offset }, at) => {
    const before = extents[at - 1];
    return !before || offset >= before.offset + before.length;
  });
}

function checkHeader(value: unknown): Header {
  const { record, disks } = value as Header;
  const { run, pieces, picture } = record;
  const isCount = (number: unknown, most: number): boolean =>
    Number.isInteger(number) && (number as number) >= 0 && (number as number) <= most;
  const isText = (text: unknown): boolean => typeof text === "string";
  const isRun =
    [32, 64, 128, 256, 512, 1024].includes(run.memoryMb) &&
    ["cold", "warm", "disk"].includes(run.mode) &&
    ["virtio", "ne2k"].includes(run.card) &&
    isText(run.commandLine) &&
    [run.promptMs, run.uptimeMs].every(Number.isFinite) &&
    isCount(run.commands, 2 ** 52) &&
    run.timeline.every((bar) => isText(bar.phase) && bar.messages.every(isText));
  const isRecord =
    record.version === 1 &&
    [record.name, record.terminal, record.project, record.system.emulator, record.system.system].every(isText) &&
    Number.isFinite(record.createdAt) &&
    isCount(record.sum, 2 ** 32) &&
    record.terminal.length <= MOST_TERMINAL &&
    record.name.length <= MOST_NAME &&
    picture.lines.length <= MOST_LINES &&
    picture.lines.every(isText) &&
    // Devices and the description come on top of the memory.
    pieces.reduce((sum, { size }) => sum + size, 0) <= (run.memoryMb + MOST_DEVICES_MB) * 2 ** 20 &&
    (picture.image === null || /^data:image\/png;base64,[\w+/=]*$/.test(picture.image)) &&
    pieces.every(
      ({ hash, size, stored }) =>
        /^[0-9a-f]{64}$/.test(hash) && isCount(size, MOST_PIECE_BYTES) && isCount(stored, 2 * MOST_PIECE_BYTES),
    );
  const areDisks =
    disks.length === record.disks.length &&
    record.disks.every(
      ({ disk, slot }) =>
        isCount(slot, DRIVES.length - 1) &&
        [disk.name, disk.label].every(isText) &&
        ["system", "data"].includes(disk.kind),
    ) &&
    disks.every(({ sizeBytes, extents }) => {
      checkDiskSize("Cannot open the snapshot's disk", sizeBytes);
      if (!areInOrder(extents)) return false;
      return extents.every(
        ({ offset, length, stored }) =>
          isCount(length, MOST_EXTENT_BYTES) &&
          isCount(stored, 2 * MOST_EXTENT_BYTES) &&
          isCount(offset, sizeBytes - length),
      );
    });
  if (!isRun || !isRecord || !areDisks) throw new Error(NO_FILE);
  return { record, disks };
}
