/**
 * Talks with the program that waits in the state of a warm boot. kernel-build/warm/waiter.c describes the two ports, and
 * the records that go to it.
 */
import { join } from "./bytes.ts";
import type { Cpu } from "./machine-internals.ts";

const PORT = 0x540;
const TROUBLE_PORT = PORT + 4;
const PAGE_BYTES = 4096;
const KIND = { clock: 8, entropy: 9, card: 10, disk: 11, run: 12 } as const;
const RECORDS = ["prepare", "remove", "directory", "file", "data", "symlink", "device", "attributes"];
const OTHER_RECORDS = ["clock", "entropy", "card", "disk", "run /init", "enter", "wipe"];
const FIND_DISKS = 0xffff_ffff;
const ENTROPY_BYTES = 64;
/** Numbers of whole disks are 16 apart: Documentation/admin-guide/devices.txt, major 8. */
const DISK_MINORS = 16;

/** What a machine is handed. */
export interface Delivery {
  /** The builder's batches (worker/format/hand-over.ts). */
  records: Uint8Array;
  /** The files' contents, by their numbers in the batches. */
  contents: ReadonlyMap<number, Uint8Array>;
}

export interface WaitingProgram {
  /**
   * Gives it everything at its next request; the machine must be running or be let go on.
   * @param start whether it becomes /init then, and how many disks the guest has to find before, as sda and on; null: it
   * waits for more
   */
  give(delivery: Delivery, start: { disks: number } | null): void;
}

export interface WaitingListeners {
  /** It has asked for records and there are none yet. */
  onWaiting(): void;
  /** It has everything and becomes the project's /init. */
  onRun(): void;
  /** It could not do what it was asked, in words. */
  onTrouble(what: string): void;
}

export function listenToWaiting(cpu: Cpu, listeners: WaitingListeners): WaitingProgram {
  let batches: (() => Uint8Array)[] = [];
  let length = 0;
  let starts = false;
  /** How much of its buffer was written to. */
  let used = 0;
  const device = {};
  const never = (): void => {};
  cpu.io.register_write(PORT, device, never, never, (address) => {
    const next = batches.shift();
    if (!next) {
      length = 0;
      // Contents that went through there may be those of files that are removed again.
      writeVirtual(cpu, address >>> 0, new Uint8Array(used));
      used = 0;
      return listeners.onWaiting();
    }
    const bytes = next();
    writeVirtual(cpu, address >>> 0, bytes);
    length = bytes.length;
    used = Math.max(used, length);
    if (batches.length === 0 && starts) listeners.onRun();
  });
  const none = (): number => 0;
  cpu.io.register_read(PORT, device, none, none, () => length);
  cpu.io.register_write(TROUBLE_PORT, device, never, never, (value) => {
    const record = value >>> 16;
    const name = [...RECORDS, ...OTHER_RECORDS][record] ?? String(record);
    listeners.onTrouble(`${name}: error ${value & 0xffff}`);
  });
  return {
    give(delivery, start) {
      const files = splitBatches(delivery);
      starts = start !== null;
      batches = start
        ? [() => greet(cpu, start.disks), ...files, () => encode(KIND.run)]
        : [() => encodeTime(), ...files];
    },
  };
}

function encodeTime(): Uint8Array {
  const milliseconds = Date.now();
  return encode(KIND.clock, Math.floor(milliseconds / 1000), (milliseconds % 1000) * 1e6);
}

/** What no two machines have in common. */
function greet(cpu: Cpu, disks: number): Uint8Array {
  const entropy = crypto.getRandomValues(new Uint8Array(ENTROPY_BYTES));
  const records = [encodeTime(), encodeBytes(KIND.entropy, [entropy.length], entropy)];
  const mac = cpu.devices.virtio_net?.mac;
  if (mac) records.push(encodeBytes(KIND.card, [], mac));
  if (disks > 0) records.push(encode(KIND.disk, FIND_DISKS));
  for (let disk = 0; disk < disks; disk += 1) records.push(encode(KIND.disk, disk * DISK_MINORS));
  return join(records);
}

function encode(kind: number, ...words: number[]): Uint8Array {
  return encodeBytes(kind, words, new Uint8Array());
}

function encodeBytes(kind: number, words: number[], bytes: Uint8Array): Uint8Array {
  const record = new Uint8Array(8 + words.length * 4 + align(bytes.length));
  const view = new DataView(record.buffer);
  for (const [index, word] of [kind, record.length, ...words].entries()) view.setUint32(index * 4, word, true);
  record.set(bytes, 8 + words.length * 4);
  return record;
}

/**
 * Each batch is put together when it is asked for, in memory that all of them share.
 * @throws Error when contents are missing
 */
function splitBatches({ records, contents }: Delivery): (() => Uint8Array)[] {
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
  const room = { bytes: new Uint8Array() };
  const batches: (() => Uint8Array)[] = [];
  for (let at = 0; at < records.length; ) {
    const length = view.getUint32(at, true);
    const gaps = readGaps(view, at + 8, view.getUint32(at + 4, true));
    const start = at + 8 + gaps.length * GAP_BYTES;
    const present = length - gaps.reduce((sum, gap) => sum + align(gap.length), 0);
    for (const { content, from, length: wanted } of gaps)
      if ((contents.get(content)?.length ?? 0) < from + wanted)
        throw new Error("Cannot hand over the project: its files are not those that it was composed of");
    if (length > 0) batches.push(() => fill(room, length, records.subarray(start, start + present), gaps, contents));
    at = start + present;
  }
  return batches;
}

interface Gap {
  at: number;
  content: number;
  from: number;
  length: number;
}

const GAP_BYTES = 16;

function readGaps(view: DataView, start: number, count: number): Gap[] {
  const word = (index: number): number => view.getUint32(start + index * 4, true);
  return Array.from({ length: count }, (_, gap) => ({
    at: word(gap * 4),
    content: word(gap * 4 + 1),
    from: word(gap * 4 + 2),
    length: word(gap * 4 + 3),
  }));
}

function fill(
  room: { bytes: Uint8Array },
  length: number,
  present: Uint8Array,
  gaps: readonly Gap[],
  contents: Delivery["contents"],
): Uint8Array {
  if (room.bytes.length < length) room.bytes = new Uint8Array(length);
  const batch = room.bytes.subarray(0, length);
  let at = 0;
  let taken = 0;
  for (const gap of gaps) {
    const content = contents.get(gap.content) as Uint8Array;
    batch.set(present.subarray(taken, taken + gap.at - at), at);
    taken += gap.at - at;
    batch.set(content.subarray(gap.from, gap.from + gap.length), gap.at);
    at = gap.at + align(gap.length);
  }
  batch.set(present.subarray(taken), at);
  return batch;
}

function align(length: number): number {
  return (length + 3) & ~3;
}

/** Into the memory of the program that runs; it has touched every page of its buffer. */
function writeVirtual(cpu: Cpu, address: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    const virtual = address + at;
    const part = bytes.subarray(at, at + PAGE_BYTES - (virtual % PAGE_BYTES));
    cpu.write_blob(part, cpu.translate_address_system_read(virtual | 0) >>> 0);
    at += part.length;
  }
}
