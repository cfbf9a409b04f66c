/**
 * The cpio archive that Linux unpacks as its initramfs.
 * https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
 *
 * Limitations: only the "newc" form is written; "newc" and "crc" are read (the latter's sums are checked). A file is
 * at most 4 GiB − 1 byte, because sizes are eight hexadecimal digits.
 *
 *   entry    "070701" and 13 numbers of 8 hexadecimal digits (110 bytes), name, zero byte, 0–3 zeros,
 *            content, 0–3 zeros
 *   archive  entry … entry of the name "TRAILER!!!"; archives may follow one another, with zeros between
 *
 *   0       6    14     22    30    38      46      54        62         70         78          86          94        102
 *   magic   ino  mode   uid   gid   nlink   mtime   filesize  dev major  dev minor  rdev major  rdev minor  namesize  check
 */
import { FileTree, FormatError, quote, type TreeEntry } from "./file-tree.ts";

const HEADER_BYTES = 110;
const MAX_FILE_BYTES = 0xffff_ffff;
const TRAILER = "TRAILER!!!";
/** What cpio pads an archive to; the kernel does not need it, other readers may. */
const BLOCK_BYTES = 512;
/** A name longer than this is no name: the kernel's own limit. */
const MAX_NAME_BYTES = 4096;

const TYPE_BITS = {
  fifo: 0o010000,
  character: 0o020000,
  directory: 0o040000,
  block: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
} as const;
const TYPE_MASK = 0o170000;

interface Plan {
  entry: TreeEntry;
  name: Uint8Array;
  content: Uint8Array;
  inode: number;
  links: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const NOTHING = new Uint8Array(0);

/**
 * Writes a tree as one newc archive, a multiple of 512 bytes long. The same tree gives the same bytes: inode numbers
 * count from 1 in path order, and the root itself is left out, as `find -mindepth 1 | cpio` does.
 * @throws FormatError for what the format cannot hold
 */
export function encodeCpio(tree: FileTree): Uint8Array<ArrayBuffer> {
  const plans = plan(tree);
  let total = entryBytes(encoder.encode(TRAILER).length, 0);
  for (const { name, content } of plans) total += entryBytes(name.length, content.length);
  const archive = new Uint8Array(alignTo(total, BLOCK_BYTES));
  let at = 0;
  for (const item of plans) at = writeEntry(archive, at, item);
  const trailer: TreeEntry = { path: "/", kind: "fifo", mode: 0, uid: 0, gid: 0, mtime: 0 };
  writeEntry(archive, at, { entry: trailer, name: encoder.encode(TRAILER), content: NOTHING, inode: 0, links: 1 }, 0);
  return archive;
}

function plan(tree: FileTree): Plan[] {
  const entries = tree.sorted().filter((entry) => entry.path !== "/");
  // The kernel creates a linked file at its first name and fills it at whichever name carries the content; readers
  // that stream want it at the last, which is where GNU cpio puts it.
  const names = new Map<string, string[]>();
  for (const entry of entries) {
    if (entry.kind !== "file" && entry.kind !== "hardlink") continue;
    const target = entry.kind === "file" ? entry.path : entry.target;
    const known = names.get(target);
    if (known) known.push(entry.path);
    else names.set(target, [entry.path]);
  }
  const inodes = new Map<string, number>();
  let next = 1;
  return entries.map((entry) => {
    const name = encoder.encode(entry.path.slice(1));
    if (entry.kind !== "file" && entry.kind !== "hardlink") {
      const content = entry.kind === "symlink" ? encoder.encode(entry.target) : NOTHING;
      return { entry, name, content, inode: next++, links: entry.kind === "directory" ? 2 : 1 };
    }
    const target = (entry.kind === "file" ? entry : tree.get(entry.target)) as TreeEntry & { kind: "file" };
    if (target.content.length > MAX_FILE_BYTES)
      throw new FormatError(
        `Cannot put ${quote(target.path)} into a cpio archive: it is larger than 4 GiB − 1 byte`,
        target.path,
      );
    const all = names.get(target.path) as string[];
    const inode = inodes.get(target.path) ?? next++;
    inodes.set(target.path, inode);
    const content = entry.path === all.at(-1) ? target.content : NOTHING;
    return { entry: { ...target, path: entry.path }, name, content, inode, links: all.length };
  });
}

function writeEntry(archive: Uint8Array, start: number, item: Plan, mode = modeBits(item.entry)): number {
  const { entry, name, content, inode, links } = item;
  const device = entry.kind === "device" ? entry : { major: 0, minor: 0 };
  const fields = [
    inode,
    mode,
    entry.uid,
    entry.gid,
    links,
    entry.mtime,
    content.length,
    0,
    0,
    device.major,
    device.minor,
    name.length + 1,
    0,
  ];
  encoder.encodeInto(
    `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`,
    archive.subarray(start),
  );
  archive.set(name, start + HEADER_BYTES);
  const dataStart = start + alignTo(HEADER_BYTES + name.length + 1, 4);
  archive.set(content, dataStart);
  return dataStart + alignTo(content.length, 4);
}

function modeBits(entry: TreeEntry): number {
  const type = entry.kind === "device" ? entry.device : entry.kind === "hardlink" ? "file" : entry.kind;
  // Linux shows every symlink as 0777.
  return TYPE_BITS[type] | (entry.kind === "symlink" ? 0o777 : entry.mode);
}

function entryBytes(nameLength: number, contentLength: number): number {
  return alignTo(HEADER_BYTES + nameLength + 1, 4) + alignTo(contentLength, 4);
}

function alignTo(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

/**
 * Reads one archive or several that follow one another, later ones over earlier ones, as the kernel does.
 * Contents are views into `archive`. A name's leading "/" or "./" is dropped; "." itself sets the root's attributes.
 * @param mostEntries directories that are only implied are counted as well
 * @throws FormatError naming the offset of what is damaged
 */
export function decodeCpio(archive: Uint8Array, mostEntries = Number.POSITIVE_INFINITY): FileTree {
  const tree = new FileTree();
  const linked = new Map<string, string>();
  let at = 0;
  let complete = false;
  while (at < archive.length) {
    if (archive[at] === 0) {
      at += 1;
      continue;
    }
    const entry = readHeader(archive, at);
    at = entry.next;
    complete = entry.name === TRAILER;
    if (complete) linked.clear();
    else addEntry(tree, linked, entry);
    if (tree.size > mostEntries)
      throw new FormatError(`Cannot read the cpio archive: it has more than ${mostEntries} files and directories`);
  }
  if (!complete)
    throw new FormatError(`Cannot read the cpio archive: it ends at byte ${archive.length} without a trailer`);
  return tree;
}

interface Header {
  start: number;
  name: string;
  content: Uint8Array;
  next: number;
  inode: number;
  mode: number;
  uid: number;
  gid: number;
  links: number;
  mtime: number;
  device: string;
  major: number;
  minor: number;
}

function readHeader(archive: Uint8Array, start: number): Header {
  const refuse = (state: string): never => {
    throw new FormatError(`Cannot read the cpio archive: at byte ${start}, ${state}`);
  };
  if (start + HEADER_BYTES > archive.length) refuse("the header is cut off");
  const text = String.fromCharCode(...archive.subarray(start, start + HEADER_BYTES));
  const magic = text.slice(0, 6);
  if (magic !== "070701" && magic !== "070702") refuse("there is no newc header");
  const field = (index: number): number => {
    const digits = text.slice(6 + index * 8, 14 + index * 8);
    if (!/^[0-9a-fA-F]{8}$/.test(digits)) refuse("a number is not hexadecimal");
    return Number.parseInt(digits, 16);
  };
  const nameSize = field(11);
  if (nameSize < 2 || nameSize > MAX_NAME_BYTES) refuse(`the name is ${nameSize} bytes long`);
  const dataStart = start + alignTo(HEADER_BYTES + nameSize, 4);
  const dataEnd = dataStart + field(6);
  if (dataEnd > archive.length) refuse("the content is cut off");
  const nameStart = start + HEADER_BYTES;
  if (archive[nameStart + nameSize - 1] !== 0) refuse("the name does not end in a zero byte");
  const content = archive.subarray(dataStart, dataEnd);
  // Only files have a sum; the target of a symlink has none.
  if (magic === "070702" && (field(1) & TYPE_MASK) === TYPE_BITS.file) {
    let sum = 0;
    for (const byte of content) sum = (sum + byte) >>> 0;
    if (sum !== field(12)) refuse("the content does not have the sum that the header gives");
  }
  const name = decodeText(archive.subarray(nameStart, nameStart + nameSize - 1)) ?? refuse("the name is not UTF-8");
  return {
    start,
    name,
    content,
    next: dataStart + alignTo(content.length, 4),
    inode: field(0),
    mode: field(1),
    uid: field(2),
    gid: field(3),
    links: field(4),
    mtime: field(5),
    device: `${field(7)}:${field(8)}`,
    major: field(9),
    minor: field(10),
  };
}

function addEntry(tree: FileTree, linked: Map<string, string>, header: Header): void {
  const relative = header.name.replace(/^(\.?\/+)+/, "");
  const path = relative === "" || relative === "." ? "/" : `/${relative.replace(/\/+$/, "")}`;
  const attributes = { path, mode: header.mode & 0o7777, uid: header.uid, gid: header.gid, mtime: header.mtime };
  switch (header.mode & TYPE_MASK) {
    case TYPE_BITS.directory:
      return tree.replace({ ...attributes, kind: "directory" });
    case TYPE_BITS.symlink:
      return tree.replace({ ...attributes, kind: "symlink", target: decodeTarget(header, path) });
    case TYPE_BITS.character:
      return tree.replace({
        ...attributes,
        kind: "device",
        device: "character",
        major: header.major,
        minor: header.minor,
      });
    case TYPE_BITS.block:
      return tree.replace({ ...attributes, kind: "device", device: "block", major: header.major, minor: header.minor });
    case TYPE_BITS.fifo:
      return tree.replace({ ...attributes, kind: "fifo" });
    case TYPE_BITS.file:
      return addFile(tree, linked, header, attributes);
    default:
      throw new FormatError(
        `Cannot read the cpio archive: at byte ${header.start}, ${quote(path)} is of no known kind`,
        path,
      );
  }
}

function decodeTarget(header: Header, path: string): string {
  const target = decodeText(header.content);
  if (target !== null) return target;
  throw new FormatError(
    `Cannot read the cpio archive: at byte ${header.start}, the target of the symlink ${quote(path)} is not UTF-8`,
    path,
  );
}

/** Null when it is not UTF-8. A byte order mark is a character like any other here. */
function decodeText(bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

/** Names that share device and inode are one file, whose content stands at only one of them. */
function addFile(
  tree: FileTree,
  linked: Map<string, string>,
  header: Header,
  attributes: Omit<TreeEntry, "kind">,
): void {
  const key = `${header.device}:${header.inode}`;
  const first = header.links > 1 ? linked.get(key) : undefined;
  if (first === undefined) {
    if (header.links > 1) linked.set(key, attributes.path);
    return tree.replace({ ...attributes, kind: "file", content: header.content } as TreeEntry);
  }
  const file = tree.get(first);
  if (header.content.length > 0 && file?.kind === "file") tree.replace({ ...file, content: header.content });
  tree.replace({ ...attributes, kind: "hardlink", target: first } as TreeEntry);
}
