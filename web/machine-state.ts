/**
 * The state of a paused machine, in v86's own format. v86 takes it in one go, which blocks the page for as long as it takes
 * to look through all of the guest's memory; here memory is looked through in slices, and v86 is handed the result.
 *
 *   16 bytes  magic, version, length of all, length of the description
 *   JSON      {buffer_infos: [{offset, length}, …], state: …}
 *   buffers   the largest of them the pages of memory that are not zero, one after the other
 */

import type { Cpu, Internals } from "./machine-internals.ts";
import { PAGE_BYTES, type Pieces, readThinState, writeThinState } from "./thin-state.ts";

/** v86's machine, as far as it is used. */
export interface StateSource {
  save_state(): ArrayBuffer;
  cpu: {
    mem8: Uint8Array;
    is_memory_zeroed(address: number, length: number): number | boolean;
    pack_memory?: (() => PackedMemory) | undefined;
    unpack_memory?: ((bitmap: { get(page: number): number }) => void) | undefined;
  };
}

interface PackedMemory {
  /** A bit for each page: whether it is among `packed_memory`. */
  bitmap: { get_buffer(): ArrayBuffer };
  packed_memory: Uint8Array;
}

/** A slice is over after this: well below what is felt. */
const SLICE_MS = 8;
/** Pages between two looks at the clock. */
const STEP_PAGES = 128;

/** @param rest lets the browser have its turn */
export async function saveState(source: StateSource, rest: () => Promise<void>): Promise<ArrayBuffer> {
  const packed = await packInSlices(source, rest);
  await rest();
  return assemble(source, packed);
}

/** The same for a machine that waits, as a site serves it. */
export async function saveThinState(source: StateSource, rest: () => Promise<void>): Promise<Uint8Array<ArrayBuffer>> {
  const packed = await packInSlices(source, rest);
  const pages = packed.packed_memory;
  return writeThinState({ rest: assemble(source, { ...packed, packed_memory: new Uint8Array(0) }), pages });
}

async function packInSlices(source: StateSource, rest: () => Promise<void>): Promise<PackedMemory> {
  let since = performance.now();
  for (const work = packMemory(source, Number.POSITIVE_INFINITY); ; ) {
    const { done, value } = work.next();
    if (done) return value as PackedMemory;
    if (performance.now() - since < SLICE_MS) continue;
    await rest();
    since = performance.now();
  }
}

/** The same at once; null when more than `mostBytes` of memory are not zero. */
export function saveStateNow(source: StateSource, mostBytes: number): ArrayBuffer | null {
  for (const work = packMemory(source, mostBytes); ; ) {
    const { done, value } = work.next();
    if (done) return value && assemble(source, value);
  }
}

/** Yields now and then; in the end it returns the memory, or null when it is more than is wanted. */
function* packMemory({ cpu }: StateSource, mostBytes: number): Generator<undefined, PackedMemory | null> {
  const count = Math.floor(cpu.mem8.length / PAGE_BYTES);
  const pages: number[] = [];
  for (let page = 0; page < count; page += 1) {
    if (!cpu.is_memory_zeroed(page * PAGE_BYTES, PAGE_BYTES)) pages.push(page);
    if (page % STEP_PAGES === 0) yield;
  }
  if (pages.length * PAGE_BYTES > mostBytes) return null;
  const packed = new Uint8Array(pages.length * PAGE_BYTES);
  const bitmap = new Uint8Array(Math.ceil(count / 8));
  for (const [at, page] of pages.entries()) {
    packed.set(cpu.mem8.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES), at * PAGE_BYTES);
    bitmap[page >> 3] = (bitmap[page >> 3] as number) | (1 << (page & 7));
    if (at % STEP_PAGES === 0) yield;
  }
  return { packed_memory: packed, bitmap: { get_buffer: () => bitmap.buffer } };
}

/** Everything but the memory is small: v86 writes it down by itself. */
function assemble(source: StateSource, packed: PackedMemory): ArrayBuffer {
  // An own property hides the one of the prototype until it is taken away.
  source.cpu.pack_memory = () => packed;
  try {
    return source.save_state();
  } finally {
    delete source.cpu.pack_memory;
  }
}

/** Puts a thin state's pages of memory where they belong; what is between them is zero already. */
function fillMemory(memory: Uint8Array, bitmap: { get(page: number): number }, read: (into: Uint8Array) => void): void {
  const count = memory.length / PAGE_BYTES;
  for (let page = 0; page < count; page += 1) {
    if (!bitmap.get(page)) continue;
    const first = page;
    while (page + 1 < count && bitmap.get(page + 1)) page += 1;
    read(memory.subarray(first * PAGE_BYTES, (page + 1) * PAGE_BYTES));
  }
}

const MIB = 1024 * 1024;
/** Of the programmable interval timer. */
const COUNTERS = 3;

/**
 * Clocks: the time stamp counter goes on where it was, the real-time clock shows the present time. The interval timer
 * counts from a moment on the page's clock (`performance.now()`), which another page has not: it is started anew.
 * @param v86 a machine that has not run yet, with as much memory and the same devices
 * @returns what is to be called when the machine begins to run later: until then its clocks stand still
 */
export function restoreState({ v86 }: Internals, state: ArrayBuffer | Pieces): () => void {
  const { cpu } = v86;
  const thin = state instanceof ArrayBuffer ? null : readThinState(state);
  // v86 clears the whole memory first, and what has been written to takes real memory. In a machine that has not run,
  // only the first MiB, where the BIOS is, is not zero.
  const clear = cpu.zero_memory;
  cpu.zero_memory = () => clear(0, MIB);
  if (thin)
    v86.cpu.unpack_memory = (bitmap) => {
      cpu.zero_memory(0, MIB);
      fillMemory(v86.cpu.mem8, bitmap, thin.readPages);
    };
  try {
    v86.restore_state(thin ? thin.rest : (state as ArrayBuffer));
  } finally {
    cpu.zero_memory = clear;
    delete v86.cpu.unpack_memory;
  }
  const startClocks = holdClocks(cpu);
  startClocks();
  return startClocks;
}

/** Keeps the time of a machine that stands. @returns what is to be called when it goes on */
export function holdClocks(cpu: Cpu): () => void {
  cpu.store_current_tsc();
  const [low = 0, high = 0] = cpu.current_tsc;
  return () => {
    // v86 takes the offset that there is for no offset: the counter is right only where there is none.
    cpu.store_current_tsc();
    cpu.set_tsc(cpu.current_tsc[0] as number, cpu.current_tsc[1] as number);
    cpu.set_tsc(low, high);
    for (let counter = 0; counter < COUNTERS; counter += 1)
      cpu.devices.pit.counter_start_time[counter] = performance.now();
  };
}
