/**
 * Looks at a machine's state that comes from outside, before v86 takes it. v86 believes what stands in a state: it makes
 * arrays of any length, copies as many buffers as are listed, and goes by the memory size and the screen's measures in it.
 * What passes here can make a wrong guest, and no more than that. The format: machine-state.ts.
 */

const MAGIC = 0x86768676 | 0;
const VERSION = 6;
const HEADER_BYTES = 16;
const MIB = 1024 * 1024;
const PAGE_BYTES = 4096;
/** Some 60 kB is what it has. */
const MOST_DESCRIPTION_BYTES = 4 * MIB;
const MOST_NODES = 100_000;
const MOST_DEPTH = 16;
const MOST_LENGTH = 16_384;
const MOST_TEXT = 256;
const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  ...{ Uint8Array: 1, Int8Array: 1, Uint16Array: 2, Int16Array: 2 },
  ...{ Uint32Array: 4, Int32Array: 4, Float32Array: 4, Float64Array: 8 },
};
/** Places in the processor's list and in the graphics card's. */
const AT = { memoryBytes: 0, vga: 52, memory: 77, bitmap: 78 } as const;
const VGA = { memoryBytes: 0, columns: 4, rows: 5, width: 15, height: 16 } as const;
/** What startMachine gives it. */
const VGA_BYTES = 2 * MIB;
const MOST_CELLS = 256;
/** VBE's limits in v86. */
const MOST_PIXELS = 2560;

/** @throws Error "Cannot use the state: …" */
export function checkState(state: Uint8Array, memoryMb: number): void {
  const refuse = (why: string): never => {
    throw new Error(`Cannot use the state: ${why}`);
  };
  if (state.length < HEADER_BYTES) refuse(`it has ${state.length} bytes`);
  const view = new DataView(state.buffer, state.byteOffset, state.byteLength);
  if (view.getInt32(0, true) !== MAGIC || view.getInt32(4, true) !== VERSION) refuse("it is none of this emulator");
  if (view.getInt32(8, true) !== state.length) refuse("it is cut off");
  const length = view.getInt32(12, true);
  if (length < 0 || length > MOST_DESCRIPTION_BYTES || HEADER_BYTES + length > state.length)
    refuse(`its description would have ${length} bytes`);
  const start = (HEADER_BYTES + length + 3) & ~3;
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(state.subarray(HEADER_BYTES, HEADER_BYTES + length)));
  } catch {
    refuse("its description is no JSON");
  }
  const { buffer_infos: listed, state: root } = (value ?? {}) as { buffer_infos?: unknown; state?: unknown };
  if (!Array.isArray(listed) || listed.length > MOST_NODES) return refuse("its buffers are not listed");
  const buffers = listed.map((info) => readBuffer(info, state.length - start, refuse));
  // Each is copied: what is there once may not be listed again and again.
  if (buffers.reduce((sum, buffer) => sum + buffer.length, 0) > state.length) refuse("its buffers overlap");
  checkTree(root, buffers, refuse);
  const list = Array.isArray(root) ? root : refuse("it is no list");
  if (list[AT.memoryBytes] !== memoryMb * MIB) refuse(`its memory is not one of ${memoryMb} MB`);
  checkMemory(list, memoryMb, buffers, state.subarray(start), refuse);
  const vga = list[AT.vga];
  const isUpTo = (number: unknown, most: number): boolean =>
    typeof number === "number" && number >= 0 && number <= most;
  if (
    !Array.isArray(vga) ||
    vga[VGA.memoryBytes] !== VGA_BYTES ||
    ![VGA.columns, VGA.rows].every((at) => isUpTo(vga[at], MOST_CELLS)) ||
    ![VGA.width, VGA.height].every((at) => isUpTo(vga[at], MOST_PIXELS))
  )
    refuse("its screen has measures that no screen has");
}

interface Buffer {
  offset: number;
  length: number;
}

function readBuffer(info: unknown, available: number, refuse: (why: string) => never): Buffer {
  const { offset, length } = (info ?? {}) as Partial<Record<keyof Buffer, unknown>>;
  const isCount = (number: unknown): number is number => Number.isSafeInteger(number) && (number as number) >= 0;
  if (!isCount(offset) || !isCount(length) || offset + length > available)
    return refuse(`a buffer of it would be at ${String(offset)}`);
  return { offset, length };
}

/** Numbers, words, lists, and arrays of numbers that lie in a buffer; nothing else. */
function checkTree(root: unknown, buffers: readonly Buffer[], refuse: (why: string) => never): void {
  let count = 0;
  const visit = (node: unknown, depth: number): void => {
    count += 1;
    if (count > MOST_NODES || depth > MOST_DEPTH) refuse("there is too much in it");
    if (node === null || typeof node === "boolean" || typeof node === "number") return;
    if (typeof node === "string") {
      if (node.length > MOST_TEXT) refuse("a text in it is too long");
    } else if (Array.isArray(node)) {
      if (node.length > MOST_LENGTH) refuse(`a list of it has ${node.length} entries`);
      for (const one of node) visit(one, depth + 1);
    } else {
      const { __state_type__: type, buffer_id: id, ...rest } = node as Record<string, unknown>;
      const bytes = typeof type === "string" && Object.hasOwn(ELEMENT_BYTES, type) ? ELEMENT_BYTES[type] : undefined;
      const buffer = typeof id === "number" && Object.keys(rest).length === 0 ? buffers[id] : undefined;
      if (bytes === undefined || !buffer || buffer.length % bytes !== 0) refuse("it has an array of an unknown kind");
    }
  };
  visit(root, 0);
}

/** As many pages as the bitmap has bits, and bits for the pages that there are. */
function checkMemory(
  list: readonly unknown[],
  memoryMb: number,
  buffers: readonly Buffer[],
  data: Uint8Array,
  refuse: (why: string) => never,
): void {
  const [packed, bitmap] = [AT.memory, AT.bitmap].map((at) => {
    const { __state_type__: type, buffer_id: id } = (list[at] ?? {}) as Record<string, unknown>;
    return type === "Uint8Array" ? buffers[id as number] : undefined;
  });
  if (!packed || bitmap?.length !== (memoryMb * MIB) / PAGE_BYTES / 8) return refuse("its memory is not in it");
  let pages = 0;
  for (let byte of data.subarray(bitmap.offset, bitmap.offset + bitmap.length))
    for (; byte !== 0; byte &= byte - 1) pages += 1;
  if (packed.length !== pages * PAGE_BYTES) refuse(`its memory has ${packed.length} bytes for ${pages} pages`);
}
