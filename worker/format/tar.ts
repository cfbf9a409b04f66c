/**
 * Tar archives: POSIX.1-2001 "pax" interchange format, as `docker import` takes a root file system.
 * https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html ; GNU's long names are read as well.
 *
 * Limitations: sparse files, volumes and incremental dumps are refused; extended attributes are not kept.
 *
 *   entry    header (512 bytes), content, zeros up to 512
 *   header   name (100) mode (8) uid (8) gid (8) size (12) mtime (12) sum (8) type (1) link name (100) "ustar" "00"
 *            user (32) group (32) major (8) minor (8) prefix (155); numbers in octal digits
 *   what does not fit stands before it in an entry of type "x": lines "LENGTH KEY=VALUE\n"
 *   archive  entry … 1024 zeros
 */
import { alignTo } from "./disk-stream.ts";
import { type EntryAttributes, FileTree, FormatError, quote, type TreeEntry } from "./file-tree.ts";

const BLOCK_BYTES = 512;
const NAME_BYTES = 100;
const PREFIX_BYTES = 155;
/** What 7 and 11 octal digits hold. */
const MAX_SMALL = 0o7777777;
const MAX_LARGE = 0o77777777777;
const END_BYTES = 2 * BLOCK_BYTES;

const TYPES = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  character: "3",
  block: "4",
  directory: "5",
  fifo: "6",
} as const;

/** An entry to write. Large contents come as a stream of the length that is announced. */
export type TarEntry =
  | TreeEntry
  | (EntryAttributes & { path: string; kind: "file"; size: number; content: AsyncIterable<Uint8Array> });

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const ascii = new TextDecoder("latin1");

/**
 * Writes an archive entry by entry; the root itself is left out.
 * @throws FormatError when a content does not have its length
 */
export async function* encodeTar(
  entries: Iterable<TarEntry> | AsyncIterable<TarEntry>,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  for await (const entry of entries) {
    if (entry.path === "/") continue;
    const size = contentBytes(entry);
    yield encodeHeaders(entry, size);
    if (entry.kind !== "file") continue;
    let written = 0;
    const parts = entry.content instanceof Uint8Array ? [entry.content] : entry.content;
    for await (const part of parts) {
      if (part.length > 0) yield part as Uint8Array<ArrayBuffer>;
      written += part.length;
    }
    if (written !== size)
      throw new FormatError(
        `Cannot write ${quote(entry.path)}: it has ${written} bytes instead of ${size}`,
        entry.path,
      );
    if (size % BLOCK_BYTES > 0) yield new Uint8Array(BLOCK_BYTES - (size % BLOCK_BYTES));
  }
  yield new Uint8Array(END_BYTES);
}

/** What a tree has, in an order in which each link comes after its file: the first of a file's names has its content. */
export function* tarEntriesOf(tree: FileTree): Generator<TarEntry, void> {
  const firsts = new Map<string, string>();
  for (const entry of tree.sorted()) {
    if (entry.kind !== "file" && entry.kind !== "hardlink") {
      yield entry;
      continue;
    }
    const real = entry.kind === "file" ? entry.path : entry.target;
    const first = firsts.get(real);
    if (first !== undefined) {
      yield { ...entry, kind: "hardlink", target: first };
      continue;
    }
    firsts.set(real, entry.path);
    yield { ...(tree.get(real) as TreeEntry & { kind: "file" }), path: entry.path };
  }
}

function contentBytes(entry: TarEntry): number {
  if (entry.kind !== "file") return 0;
  return "size" in entry ? entry.size : entry.content.length;
}

/** The header, and before it what does not fit into it. */
function encodeHeaders(entry: TarEntry, size: number): Uint8Array<ArrayBuffer> {
  const name = entry.path.slice(1) + (entry.kind === "directory" ? "/" : "");
  const target = entry.kind === "symlink" ? entry.target : entry.kind === "hardlink" ? entry.target.slice(1) : "";
  const split = splitName(name);
  const extended: [key: string, value: string][] = [];
  if (!split) extended.push(["path", name]);
  if (!isPlain(target) || encoder.encode(target).length > NAME_BYTES) extended.push(["linkpath", target]);
  if (size > MAX_LARGE) extended.push(["size", String(size)]);
  for (const key of ["uid", "gid"] as const) if (entry[key] > MAX_SMALL) extended.push([key, String(entry[key])]);
  const header = encodeHeader({
    ...(split ?? { prefix: "", name: shorten(name) }),
    mode: entry.kind === "symlink" ? 0o777 : entry.mode,
    uid: Math.min(entry.uid, MAX_SMALL),
    gid: Math.min(entry.gid, MAX_SMALL),
    size: Math.min(size, MAX_LARGE),
    mtime: entry.mtime,
    type: TYPES[entry.kind === "device" ? entry.device : entry.kind],
    target: extended.some(([key]) => key === "linkpath") ? shorten(target) : target,
    ...(entry.kind === "device" ? { major: entry.major, minor: entry.minor } : { major: 0, minor: 0 }),
  });
  if (extended.length === 0) return header;
  const records = encoder.encode(extended.map(([key, value]) => encodeRecord(key, value)).join(""));
  const own = encodeHeader({
    prefix: "",
    name: shorten(`PaxHeaders/${name}`),
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: records.length,
    mtime: entry.mtime,
    type: "x",
    target: "",
    major: 0,
    minor: 0,
  });
  const result = new Uint8Array(BLOCK_BYTES + alignTo(records.length, BLOCK_BYTES) + BLOCK_BYTES);
  result.set(own);
  result.set(records, BLOCK_BYTES);
  result.set(header, result.length - BLOCK_BYTES);
  return result;
}

/** The two fields of a name, or null when it does not fit into them. */
function splitName(name: string): { prefix: string; name: string } | null {
  if (!isPlain(name)) return null;
  if (name.length <= NAME_BYTES) return { prefix: "", name };
  for (let at = name.indexOf("/"); at >= 0 && at <= PREFIX_BYTES; at = name.indexOf("/", at + 1)) {
    const rest = name.slice(at + 1);
    if (rest.length > 0 && rest.length <= NAME_BYTES) return { prefix: name.slice(0, at), name: rest };
  }
  return null;
}

/** Only ASCII means the same to every reader. */
function isPlain(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text);
}

/** What readers see that do not know pax. */
function shorten(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, "_").slice(0, NAME_BYTES);
}

/** The length counts itself. */
function encodeRecord(key: string, value: string): string {
  const rest = encoder.encode(` ${key}=${value}\n`).length;
  let length = rest + 1;
  while (rest + String(length).length !== length) length = rest + String(length).length;
  return `${length} ${key}=${value}\n`;
}

interface Fields {
  prefix: string;
  name: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  type: string;
  target: string;
  major: number;
  minor: number;
}

function encodeHeader(fields: Fields): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(BLOCK_BYTES);
  const text = (at: number, value: string): void => bytes.set(encoder.encode(value), at);
  const octal = (at: number, width: number, value: number): void =>
    text(at, value.toString(8).padStart(width - 1, "0"));
  text(0, fields.name);
  octal(100, 8, fields.mode);
  octal(108, 8, fields.uid);
  octal(116, 8, fields.gid);
  octal(124, 12, fields.size);
  octal(136, 12, fields.mtime);
  text(156, fields.type);
  text(157, fields.target);
  text(257, "ustar");
  text(263, "00");
  octal(329, 8, fields.major);
  octal(337, 8, fields.minor);
  text(345, fields.prefix);
  text(148, `${sumOf(bytes).toString(8).padStart(6, "0")}\0 `);
  return bytes;
}

/** Of all bytes, those of the sum itself taken for spaces. */
function sumOf(header: Uint8Array): number {
  let sum = 8 * 0x20;
  for (const [at, byte] of header.entries()) if (at < 148 || at >= 156) sum += byte;
  return sum;
}

/** Says whether a header stands there, by its sum. */
export function isTar(start: Uint8Array): boolean {
  if (start.length < BLOCK_BYTES) return false;
  const header = start.subarray(0, BLOCK_BYTES);
  const digits = /^[ 0]*([0-7]+)[ \0]*$/.exec(ascii.decode(header.subarray(148, 156)));
  return digits !== null && Number.parseInt(digits[1] as string, 8) === sumOf(header) && header[0] !== 0;
}

/**
 * Reads an archive. Contents are views into it. A leading "/" or "./" of names is dropped; later entries replace earlier
 * ones of the same name.
 * @param mostEntries directories that are only implied are counted as well
 * @throws FormatError naming the offset or the entry
 */
export function decodeTar(archive: Uint8Array, mostEntries = 200_000): FileTree {
  const tree = new FileTree();
  const extended = new Map<string, string>();
  let at = 0;
  for (let zeros = 0; zeros < 2; ) {
    if (at + BLOCK_BYTES > archive.length) {
      // Some writers leave out the end, but not in the middle of something.
      if (at === archive.length && extended.size === 0 && at > 0) return tree;
      throw refusal(at, "the archive is cut off");
    }
    const header = archive.subarray(at, at + BLOCK_BYTES);
    if (header.every((byte) => byte === 0)) {
      zeros += 1;
      at += BLOCK_BYTES;
      continue;
    }
    zeros = 0;
    if (!isTar(header)) throw refusal(at, "there is no header, its sum is wrong");
    const type = String.fromCharCode(header[156] as number);
    const size = sizeOf(header, at, type, extended);
    const start = at + BLOCK_BYTES;
    if (size > archive.length - start)
      throw refusal(at, `${size} bytes of content are announced, the archive ends before`);
    const content = archive.subarray(start, start + size);
    if (type === "x") readRecords(content, start, extended);
    else if (type === "L" || type === "K")
      extended.set(type === "L" ? "path" : "linkpath", textOf(content, start).replace(/\0+$/, ""));
    else if (type !== "g") {
      tree.replace(entryOf(header, at, type, content, extended, tree));
      extended.clear();
      if (tree.size > mostEntries) throw refusal(at, `there are more than ${mostEntries} files and directories`);
    }
    at = start + alignTo(size, BLOCK_BYTES);
  }
  return tree;
}

function refusal(at: number, state: string, path?: string): FormatError {
  return new FormatError(`Cannot read the tar archive: at byte ${at}, ${state}`, path);
}

/** Links and the like have no content, whatever some writers say. */
function sizeOf(header: Uint8Array, at: number, type: string, extended: Map<string, string>): number {
  if ("123456".includes(type)) return 0;
  const own = numberOf(header, 124, 12, at);
  if (type === "x" || type === "g" || type === "L" || type === "K") return own;
  return numberIn(extended, "size", at) ?? own;
}

function entryOf(
  header: Uint8Array,
  at: number,
  type: string,
  content: Uint8Array,
  extended: Map<string, string>,
  tree: FileTree,
): TreeEntry {
  const prefix = isUstar(header) ? field(header, 345, PREFIX_BYTES, at) : "";
  const short = field(header, 0, NAME_BYTES, at);
  const name = extended.get("path") ?? (prefix ? `${prefix}/${short}` : short);
  const target = extended.get("linkpath") ?? field(header, 157, NAME_BYTES, at);
  const path = normalize(name);
  const seconds = Number(extended.get("mtime") ?? numberOf(header, 136, 12, at));
  const own = {
    path,
    mode: numberOf(header, 100, 8, at) & 0o7777,
    uid: numberIn(extended, "uid", at) ?? numberOf(header, 108, 8, at),
    gid: numberIn(extended, "gid", at) ?? numberOf(header, 116, 8, at),
    // Times beyond what a tree holds become the nearest.
    mtime: Number.isFinite(seconds) ? Math.min(Math.max(Math.floor(seconds), 0), 0xffff_ffff) : 0,
  };
  switch (type) {
    case "0":
    case "\0":
    case "7":
      // The oldest writers mark a directory by its name alone.
      return name.endsWith("/") ? { ...own, kind: "directory" } : { ...own, kind: "file", content };
    case "1": {
      const first = normalize(target);
      const file = tree.get(first);
      const real = file?.kind === "hardlink" ? file.target : first;
      if (tree.get(real)?.kind !== "file" || real === path)
        throw refusal(at, `${quote(path)} is a link to ${quote(target)}, which is no file before it`, path);
      return { ...own, kind: "hardlink", target: real };
    }
    case "2":
      return { ...own, kind: "symlink", target };
    case "3":
    case "4":
      return {
        ...own,
        kind: "device",
        device: type === "3" ? "character" : "block",
        major: numberOf(header, 329, 8, at),
        minor: numberOf(header, 337, 8, at),
      };
    case "5":
      return { ...own, kind: "directory" };
    case "6":
      return { ...own, kind: "fifo" };
    default:
      throw refusal(at, `${quote(path)} is of the kind ${quote(type)}, which is not known`, path);
  }
}

function normalize(name: string): string {
  const relative = name.replace(/^(\.?\/+)+/, "").replace(/\/+$/, "");
  return relative === "" || relative === "." ? "/" : `/${relative}`;
}

function isUstar(header: Uint8Array): boolean {
  return ascii.decode(header.subarray(257, 262)) === "ustar" && header[262] === 0;
}

function field(header: Uint8Array, start: number, length: number, at: number): string {
  const bytes = header.subarray(start, start + length);
  const end = bytes.indexOf(0);
  return textOf(end < 0 ? bytes : bytes.subarray(0, end), at);
}

function textOf(bytes: Uint8Array, at: number): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw refusal(at, "a name is not UTF-8");
  }
}

/** Octal digits, or GNU's and star's big endian number with the highest bit set. */
function numberOf(header: Uint8Array, start: number, length: number, at: number): number {
  const bytes = header.subarray(start, start + length);
  if (((bytes[0] as number) & 0x80) !== 0) {
    let value = (bytes[0] as number) & 0x7f;
    for (const byte of bytes.subarray(1)) value = value * 256 + byte;
    if (!Number.isSafeInteger(value)) throw refusal(at, "a number is too large");
    return value;
  }
  const digits = ascii
    .decode(bytes)
    .replace(/[ \0]+$/, "")
    .trimStart();
  if (!/^[0-7]*$/.test(digits)) throw refusal(at, "a number is not octal");
  return digits === "" ? 0 : Number.parseInt(digits, 8);
}

function numberIn(extended: Map<string, string>, key: string, at: number): number | undefined {
  const text = extended.get(key);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) throw refusal(at, `its ${key} is no number`);
  return value;
}

function readRecords(bytes: Uint8Array, start: number, extended: Map<string, string>): void {
  for (let at = 0; at < bytes.length; ) {
    // A record of nothing but its length and separators has five bytes; no length has more than 16 digits.
    const space = bytes.subarray(at, at + 17).indexOf(0x20);
    const digits = ascii.decode(bytes.subarray(at, at + Math.max(space, 0)));
    const length = Number(digits);
    if (!/^\d+$/.test(digits) || length < 5 || at + length > bytes.length || bytes[at + length - 1] !== 10)
      throw refusal(start + at, "a pax record has no right length");
    const record = textOf(bytes.subarray(at + space + 1, at + length - 1), start + at);
    const equals = record.indexOf("=");
    if (equals < 1) throw refusal(start + at, "a pax record has no key");
    const key = record.slice(0, equals);
    if (key.startsWith("GNU.sparse")) throw refusal(start + at, "it holds a sparse file, which is not read");
    if (["path", "linkpath", "size", "uid", "gid", "mtime"].includes(key)) extended.set(key, record.slice(equals + 1));
    at += length;
  }
}
