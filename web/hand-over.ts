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
const OTHER_RECORDS = ["clock", "entropy", "card", "disk", "run /init"];
const FIND_DISKS = 0xffff_ffff;
const ENTROPY_BYTES = 64;
/** Numbers of whole disks are 16 apart: Documentation/admin-guide/devices.txt, major 8. */
const DISK_MINORS = 16;

export interface HandOver {
  /** Files of the builder, in its batches. */
  files: Uint8Array;
  /** How many disks the guest has to find, as sda and on. */
  disks: number;
}

export interface WaitingProgram {
  /** Gives it everything at its next request; the machine must be running or be let go on. */
  give(work: HandOver): void;
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
  const device = {};
  const never = (): void => {};
  cpu.io.register_write(PORT, device, never, never, (address) => {
    const next = batches.shift();
    if (!next) {
      length = 0;
      return listeners.onWaiting();
    }
    const bytes = next();
    writeVirtual(cpu, address >>> 0, bytes);
    length = bytes.length;
    if (batches.length === 0) listeners.onRun();
  });
  const none = (): number => 0;
  cpu.io.register_read(PORT, device, none, none, () => length);
  cpu.io.register_write(TROUBLE_PORT, device, never, never, (value) => {
    const record = value >>> 16;
    const name = [...RECORDS, ...OTHER_RECORDS][record] ?? String(record);
    listeners.onTrouble(`${name}: error ${value & 0xffff}`);
  });
  return {
    give({ files, disks }) {
      batches = [() => greet(cpu, disks), ...splitBatches(files).map((batch) => () => batch), () => encode(KIND.run)];
    },
  };
}

/** What no two machines have in common. */
function greet(cpu: Cpu, disks: number): Uint8Array {
  const milliseconds = Date.now();
  const entropy = crypto.getRandomValues(new Uint8Array(ENTROPY_BYTES));
  const records = [
    encode(KIND.clock, Math.floor(milliseconds / 1000), (milliseconds % 1000) * 1e6),
    encodeBytes(KIND.entropy, [entropy.length], entropy),
  ];
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
  const record = new Uint8Array(8 + words.length * 4 + ((bytes.length + 3) & ~3));
  const view = new DataView(record.buffer);
  for (const [index, word] of [kind, record.length, ...words].entries()) view.setUint32(index * 4, word, true);
  record.set(bytes, 8 + words.length * 4);
  return record;
}

function splitBatches(files: Uint8Array): Uint8Array[] {
  const view = new DataView(files.buffer, files.byteOffset, files.byteLength);
  const batches: Uint8Array[] = [];
  for (let at = 0; at < files.length; ) {
    const length = view.getUint32(at, true);
    if (length > 0) batches.push(files.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return batches;
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
