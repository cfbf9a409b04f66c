/**
 * Zip archives: written as a stream, read from anywhere. Source: PKWARE's APPNOTE.TXT 6.3.10.
 *
 * Limitations: methods 0 (stored) and 8 (deflate), names in UTF-8; no encryption, no archive over several files. Sizes of
 * streams are written behind them (descriptors), with 64 bits.
 *
 *   member     local header (30), name, extra, data, for streams a descriptor (24)
 *   directory  for each member a header (46), name, extra
 *   end        for large archives a 64-bit end (56) and its locator (20); end (22)
 */
import { crc32 } from "./crc32.ts";
import { FormatError, quote } from "./file-tree.ts";
import type { BlockSource } from "./sparse-image.ts";

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const DESCRIPTOR = 0x08074b50;
const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const LOCAL_BYTES = 30;
const CENTRAL_BYTES = 46;
const END_BYTES = 22;
const END_64_BYTES = 56;
const LOCATOR_BYTES = 20;
const FLAGS = { encrypted: 1, descriptor: 8, utf8: 0x800 };
export const METHODS = { stored: 0, deflated: 8 } as const;
const EXTRA_64 = 1;
const MAX_16 = 0xffff;
const MAX_32 = 0xffff_ffff;
const VERSION = { plain: 20, zip64: 45 };
const UNIX = 3;
const REGULAR = 0o100000;
/** 1 January 1980, the earliest there is. */
const DATE = 0x21;

export type ZipMember = { name: string; mode: number } & (
  | {
      kind: "bytes";
      content: Uint8Array;
      /** The content as raw deflate; stored when it is no shorter. */
      packed: Uint8Array<ArrayBuffer>;
    }
  | {
      kind: "stream";
      /** Raw deflate. */
      packed: AsyncIterable<Uint8Array<ArrayBuffer>>;
      /** Of the content; right once all is packed. */
      result(): { crc: number; size: number };
    }
);

interface Written {
  name: Uint8Array;
  mode: number;
  flags: number;
  method: number;
  crc: number;
  packedSize: number;
  size: number;
  offset: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @throws FormatError for a name that is too long */
export async function* encodeZip(
  members: Iterable<ZipMember> | AsyncIterable<ZipMember>,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  const all: Written[] = [];
  let end = 0;
  for await (const member of members) {
    const name = encoder.encode(member.name);
    if (name.length === 0 || name.length > MAX_16)
      throw new FormatError(`Cannot put ${quote(member.name)} into a zip: its name has ${name.length} bytes`);
    const written: Written = {
      ...{ name, mode: member.mode, flags: FLAGS.utf8, method: METHODS.deflated as number },
      ...{ crc: 0, packedSize: 0, size: 0, offset: end },
    };
    all.push(written);
    if (member.kind === "bytes") {
      const { content, packed } = member;
      const isStored = packed.length >= content.length;
      const data = isStored ? (content as Uint8Array<ArrayBuffer>) : packed;
      if (isStored) written.method = METHODS.stored;
      Object.assign(written, { crc: crc32(content), packedSize: data.length, size: content.length });
      const header = encodeLocal(written);
      yield header;
      if (data.length > 0) yield data;
      end += header.length + data.length;
      continue;
    }
    written.flags |= FLAGS.descriptor;
    const header = encodeLocal(written);
    yield header;
    for await (const part of member.packed) {
      written.packedSize += part.length;
      yield part;
    }
    Object.assign(written, member.result());
    const descriptor = encodeDescriptor(written);
    yield descriptor;
    end += header.length + written.packedSize + descriptor.length;
  }
  yield* encodeDirectory(all, end);
}

function encodeLocal({ name, flags, method, crc, packedSize, size }: Written): Uint8Array<ArrayBuffer> {
  const isStream = (flags & FLAGS.descriptor) !== 0;
  const extra = isStream ? 20 : 0;
  const bytes = new Uint8Array(LOCAL_BYTES + name.length + extra);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, LOCAL, true);
  view.setUint16(4, isStream ? VERSION.zip64 : VERSION.plain, true);
  view.setUint16(6, flags, true);
  view.setUint16(8, method, true);
  view.setUint16(12, DATE, true);
  view.setUint32(14, crc, true);
  view.setUint32(18, isStream ? MAX_32 : packedSize, true);
  view.setUint32(22, isStream ? MAX_32 : size, true);
  view.setUint16(26, name.length, true);
  view.setUint16(28, extra, true);
  bytes.set(name, LOCAL_BYTES);
  if (isStream) {
    // That it is there says that the descriptor has 64 bits.
    view.setUint16(LOCAL_BYTES + name.length, EXTRA_64, true);
    view.setUint16(LOCAL_BYTES + name.length + 2, 16, true);
  }
  return bytes;
}

function encodeDescriptor({ crc, packedSize, size }: Written): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(24));
  view.setUint32(0, DESCRIPTOR, true);
  view.setUint32(4, crc, true);
  view.setBigUint64(8, BigInt(packedSize), true);
  view.setBigUint64(16, BigInt(size), true);
  return new Uint8Array(view.buffer as ArrayBuffer);
}

function* encodeDirectory(all: readonly Written[], start: number): Generator<Uint8Array<ArrayBuffer>> {
  let length = 0;
  for (const written of all) {
    const bytes = encodeCentral(written);
    yield bytes;
    length += bytes.length;
  }
  if (start + length > MAX_32 || all.length > MAX_16 - 1) {
    const view = new DataView(new ArrayBuffer(END_64_BYTES + LOCATOR_BYTES));
    view.setUint32(0, END_64, true);
    view.setBigUint64(4, BigInt(END_64_BYTES - 12), true);
    view.setUint16(12, (UNIX << 8) | VERSION.zip64, true);
    view.setUint16(14, VERSION.zip64, true);
    view.setBigUint64(24, BigInt(all.length), true);
    view.setBigUint64(32, BigInt(all.length), true);
    view.setBigUint64(40, BigInt(length), true);
    view.setBigUint64(48, BigInt(start), true);
    view.setUint32(END_64_BYTES, LOCATOR_64, true);
    view.setBigUint64(END_64_BYTES + 8, BigInt(start + length), true);
    view.setUint32(END_64_BYTES + 16, 1, true);
    yield new Uint8Array(view.buffer as ArrayBuffer);
  }
  const view = new DataView(new ArrayBuffer(END_BYTES));
  view.setUint32(0, END, true);
  view.setUint16(8, Math.min(all.length, MAX_16), true);
  view.setUint16(10, Math.min(all.length, MAX_16), true);
  view.setUint32(12, Math.min(length, MAX_32), true);
  view.setUint32(16, Math.min(start, MAX_32), true);
  yield new Uint8Array(view.buffer as ArrayBuffer);
}

function encodeCentral({ name, mode, flags, method, crc, packedSize, size, offset }: Written): Uint8Array<ArrayBuffer> {
  const large = [size, packedSize, offset].filter((value) => value >= MAX_32);
  const extra = large.length > 0 ? 4 + large.length * 8 : 0;
  const bytes = new Uint8Array(CENTRAL_BYTES + name.length + extra);
  const view = new DataView(bytes.buffer);
  const version = flags & FLAGS.descriptor || extra > 0 ? VERSION.zip64 : VERSION.plain;
  view.setUint32(0, CENTRAL, true);
  view.setUint16(4, (UNIX << 8) | version, true);
  view.setUint16(6, version, true);
  view.setUint16(8, flags, true);
  view.setUint16(10, method, true);
  view.setUint16(14, DATE, true);
  view.setUint32(16, crc, true);
  view.setUint32(20, Math.min(packedSize, MAX_32), true);
  view.setUint32(24, Math.min(size, MAX_32), true);
  view.setUint16(28, name.length, true);
  view.setUint16(30, extra, true);
  view.setUint32(38, (REGULAR | mode) * 65_536, true);
  view.setUint32(42, Math.min(offset, MAX_32), true);
  bytes.set(name, CENTRAL_BYTES);
  if (extra > 0) {
    view.setUint16(CENTRAL_BYTES + name.length, EXTRA_64, true);
    view.setUint16(CENTRAL_BYTES + name.length + 2, extra - 4, true);
    for (const [at, value] of large.entries())
      view.setBigUint64(CENTRAL_BYTES + name.length + 4 + at * 8, BigInt(value), true);
  }
  return bytes;
}

/** A member of an archive that is read. */
export interface ZipEntry {
  name: string;
  method: number;
  crc: number;
  packedSize: number;
  size: number;
  /** Of its local header. */
  offset: number;
}

const MOST_DIRECTORY_BYTES = 64 * 1024 * 1024;
const MOST_MEMBERS = 200_000;

/** Says whether a file begins as an archive does. */
export function isZip(start: Uint8Array): boolean {
  return (
    start[0] === 0x50 && start[1] === 0x4b && ((start[2] === 3 && start[3] === 4) || (start[2] === 5 && start[3] === 6))
  );
}

/**
 * Reads the directory, by name.
 * @param what "Cannot open NAME", for messages
 * @throws FormatError when it is damaged, when members overlap, or when there are too many
 */
export async function readZip(source: BlockSource, what: string): Promise<Map<string, ZipEntry>> {
  const refuse = (state: string): never => {
    throw new FormatError(`${what}: ${state}`);
  };
  const { count, length, start } = await findDirectory(source, refuse);
  if (count > MOST_MEMBERS || length > MOST_DIRECTORY_BYTES) refuse(`it would have ${count} members`);
  if (start + length > source.size) refuse(`its directory would be at ${start}, the file ends at ${source.size}`);
  const bytes = await source.read(start, length);
  const view = new DataView(bytes.buffer);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let number = 0; number < count; number += 1) {
    const where = `the entry ${number} of its directory`;
    if (at + CENTRAL_BYTES > length || view.getUint32(at, true) !== CENTRAL) refuse(`${where} is damaged`);
    const nameBytes = view.getUint16(at + 28, true);
    const extraBytes = view.getUint16(at + 30, true);
    const next = at + CENTRAL_BYTES + nameBytes + extraBytes + view.getUint16(at + 32, true);
    if (next > length) refuse(`${where} is cut off`);
    const nameStart = at + CENTRAL_BYTES;
    const name =
      decodeName(bytes.subarray(nameStart, nameStart + nameBytes)) ?? refuse(`the name of ${where} is not UTF-8`);
    if (view.getUint16(at + 8, true) & FLAGS.encrypted) refuse(`${quote(name)} is encrypted`);
    const method = view.getUint16(at + 10, true);
    if (method !== METHODS.stored && method !== METHODS.deflated)
      refuse(`${quote(name)} is packed by the method ${method}, which is not read`);
    const extra = new DataView(bytes.buffer, nameStart + nameBytes, extraBytes);
    const [size, packedSize, offset] =
      wideNumbers(
        [view.getUint32(at + 24, true), view.getUint32(at + 20, true), view.getUint32(at + 42, true)],
        extra,
      ) ?? refuse(`the sizes of ${quote(name)} are missing`);
    if (entries.has(name)) refuse(`${quote(name)} stands in it twice`);
    if (method === METHODS.stored && size !== packedSize)
      refuse(`${quote(name)} would have ${size} bytes, of which ${packedSize} are there`);
    entries.set(name, { name, method, crc: view.getUint32(at + 16, true), packedSize, size, offset });
    at = next;
  }
  refuseOverlaps([...entries.values()], start, refuse);
  return entries;
}

async function findDirectory(
  source: BlockSource,
  refuse: (state: string) => never,
): Promise<{ count: number; length: number; start: number }> {
  const tailStart = Math.max(0, source.size - END_BYTES - MAX_16);
  const tail = await source.read(tailStart, source.size - tailStart);
  const view = new DataView(tail.buffer);
  let at = tail.length - END_BYTES;
  // A comment follows whose length is the last thing in the end.
  while (
    at >= 0 &&
    !(view.getUint32(at, true) === END && at + END_BYTES + view.getUint16(at + 20, true) === tail.length)
  )
    at -= 1;
  if (at < 0) return refuse("it is no zip archive, or cut off");
  const isOneOf = view.getUint16(4 + at, true) !== 0 || view.getUint16(6 + at, true) !== 0;
  const count = view.getUint16(at + 10, true);
  const length = view.getUint32(at + 12, true);
  const start = view.getUint32(at + 16, true);
  const locator = at - LOCATOR_BYTES;
  if (locator >= 0 && view.getUint32(locator, true) === LOCATOR_64) {
    const place = Number(view.getBigUint64(locator + 8, true));
    if (place + END_64_BYTES > source.size) refuse(`its end would be at ${place}, the file ends at ${source.size}`);
    const end = new DataView((await source.read(place, END_64_BYTES)).buffer);
    if (end.getUint32(0, true) !== END_64) refuse(`its end is not at ${place}`);
    return {
      count: Number(end.getBigUint64(32, true)),
      length: Number(end.getBigUint64(40, true)),
      start: Number(end.getBigUint64(48, true)),
    };
  }
  if (isOneOf) refuse("it is one part of several");
  return { count, length, start };
}

/** Numbers that are all ones stand in the extra field, in the same order. */
function wideNumbers(values: [number, number, number], extra: DataView): [number, number, number] | null {
  if (!values.includes(MAX_32)) return values;
  for (let at = 0; at + 4 <= extra.byteLength; at += 4 + extra.getUint16(at + 2, true)) {
    if (extra.getUint16(at, true) !== EXTRA_64) continue;
    const end = Math.min(at + 4 + extra.getUint16(at + 2, true), extra.byteLength);
    let next = at + 4;
    const wide = values.map((value) => {
      if (value !== MAX_32) return value;
      if (next + 8 > end) return Number.NaN;
      next += 8;
      return Number(extra.getBigUint64(next - 8, true));
    }) as [number, number, number];
    return wide.every(Number.isSafeInteger) ? wide : null;
  }
  return null;
}

function refuseOverlaps(entries: ZipEntry[], directory: number, refuse: (state: string) => never): void {
  let end = 0;
  let before = "";
  for (const { name, offset, packedSize } of entries.sort((a, b) => a.offset - b.offset)) {
    if (offset < end) refuse(`${quote(name)} at ${offset} overlaps ${quote(before)}`);
    end = offset + LOCAL_BYTES + packedSize;
    before = name;
  }
  if (end > directory) refuse(`${quote(before)} reaches to ${end}, into the directory at ${directory}`);
}

/** A member's data as they are packed, piece by piece. @throws FormatError when its header is not where it should be */
export async function* zipData(
  source: BlockSource,
  { name, offset, packedSize, method }: ZipEntry,
  what: string,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  const refuse = (state: string): never => {
    throw new FormatError(`${what}: ${state}`);
  };
  if (offset + LOCAL_BYTES > source.size) refuse(`the header of ${quote(name)} is cut off`);
  const view = new DataView((await source.read(offset, LOCAL_BYTES)).buffer);
  if (view.getUint32(0, true) !== LOCAL || view.getUint16(8, true) !== method)
    refuse(`the header of ${quote(name)} is not at ${offset}`);
  const start = offset + LOCAL_BYTES + view.getUint16(26, true) + view.getUint16(28, true);
  if (start + packedSize > source.size) refuse(`${quote(name)} is cut off at ${source.size}`);
  for (let at = 0; at < packedSize; at += STEP_BYTES)
    yield await source.read(start + at, Math.min(STEP_BYTES, packedSize - at));
}

const STEP_BYTES = 256 * 1024;

function decodeName(bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}
