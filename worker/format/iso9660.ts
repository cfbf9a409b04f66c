/**
 * Writes CD images that a PC's BIOS starts: ISO 9660 (ECMA-119), Rock Ridge names and modes (IEEE P1282), El Torito.
 *
 * Limitations: directories and files; files below 4 GiB. Names are kept by Rock Ridge, which Linux and GRUB read; without
 * it they are seen as eight and three letters.
 *
 *   sector (2048 bytes)
 *   0      nothing                       20     path table, little endian, then big endian
 *   16     primary volume descriptor     …      directories, each after the one above it
 *   17     El Torito's descriptor        …      files
 *   18     end of the descriptors
 *   19     boot catalogue
 */
import { alignTo } from "./disk-stream.ts";
import { type FileTree, FormatError, quote, type TreeEntry } from "./file-tree.ts";

const SECTOR_BYTES = 2048;
const VOLUME = 16;
const _BOOT_VOLUME = 17;
const _END_OF_VOLUMES = 18;
const CATALOG = 19;
const PATH_TABLE = 20;
const RECORD_BYTES = 33;
/** A length of one byte, and records have even lengths. */
const MOST_RECORD_BYTES = 254;
const DIRECTORY_FLAG = 2;
const MOST_FILE_BYTES = 0xffff_ffff;
/** Zeros at the end, as many as mkisofs puts there: drives and GRUB read ahead, and fail beyond the end. */
const PADDING = 150;
/** Of 512 bytes: what the BIOS loads; GRUB loads the rest by itself. */
const BOOT_SECTORS = 4;
const FORMAT_BITS = { directory: 0o040000, file: 0o100000 };

export interface IsoOptions {
  /** At most 32 letters, digits and underscores, in capitals. */
  label: string;
  /** Path of the file that the BIOS starts; where it lies is written into it (bytes 8 to 63). */
  boot: string;
}

interface Node {
  entry: TreeEntry;
  /** As ISO 9660 has it. */
  isoName: string;
  name: string;
  sector: number;
  size: number;
  parent: Node | null;
  children: Node[];
}

const encoder = new TextEncoder();

/**
 * @returns the image, in order
 * @throws FormatError for what it cannot hold
 */
export function* encodeIso(tree: FileTree, { label, boot }: IsoOptions): Generator<Uint8Array<ArrayBuffer>, void> {
  if (!/^[A-Z0-9_]{1,32}$/.test(label))
    throw new FormatError(`Cannot label the CD ${quote(label)}: it takes up to 32 capital letters, digits and _`);
  const nodes = readTree(tree);
  const directories = nodes.filter(({ entry }) => entry.kind === "directory");
  const files = nodes.filter(({ entry }) => entry.kind === "file");
  const tableBytes = directories.reduce((sum, node) => sum + pathEntryBytes(node), 0);
  const tableSectors = Math.ceil(tableBytes / SECTOR_BYTES);
  let next = PATH_TABLE + 2 * tableSectors;
  for (const node of directories) {
    node.size = encodeDirectory(node).length;
    node.sector = next;
    next += node.size / SECTOR_BYTES;
  }
  for (const node of files) {
    node.sector = next;
    next += Math.ceil(node.size / SECTOR_BYTES);
  }
  next += PADDING;
  const image = files.find(({ entry }) => entry.path === boot);
  if (!image) throw new FormatError(`Cannot write the CD: it has no ${quote(boot)} to start from`);

  yield new Uint8Array(VOLUME * SECTOR_BYTES);
  yield encodeVolume(label, directories[0] as Node, next, tableBytes, tableSectors);
  yield encodeBootVolume();
  yield encodeDescriptor(255, () => {});
  yield encodeCatalog(image.sector);
  for (const isLittle of [true, false]) yield encodePathTable(directories, tableSectors, isLittle);
  for (const node of directories) yield encodeDirectory(node);
  for (const node of files) {
    const content = contentOf(node);
    yield node === image ? withBootInfo(content, node.sector) : content;
    if (node.size % SECTOR_BYTES > 0) yield new Uint8Array(SECTOR_BYTES - (node.size % SECTOR_BYTES));
  }
  yield new Uint8Array(PADDING * SECTOR_BYTES);
}

function contentOf({ entry }: Node): Uint8Array<ArrayBuffer> {
  return (entry as TreeEntry & { kind: "file" }).content as Uint8Array<ArrayBuffer>;
}

/** All nodes; directories in the order of the path table: by depth, then as their parents stand, then by name. */
function readTree(tree: FileTree): Node[] {
  const byPath = new Map<string, Node>();
  for (const entry of tree.sorted()) {
    if (entry.kind !== "directory" && entry.kind !== "file")
      throw new FormatError(`Cannot put ${quote(entry.path)} on a CD: it is a ${entry.kind}`, entry.path);
    const size = entry.kind === "file" ? entry.content.length : 0;
    if (size > MOST_FILE_BYTES) throw new FormatError(`Cannot put ${quote(entry.path)} on a CD: it has ${size} bytes`);
    const end = entry.path.lastIndexOf("/");
    const parent = entry.path === "/" ? null : (byPath.get(entry.path.slice(0, end) || "/") as Node);
    const name = entry.path.slice(end + 1);
    const node: Node = { entry, isoName: "", name, sector: 0, size, parent, children: [] };
    byPath.set(entry.path, node);
    parent?.children.push(node);
  }
  const ordered = [byPath.get("/") as Node];
  for (const node of ordered) {
    nameChildren(node.children);
    node.children.sort((a, b) => (a.isoName < b.isoName ? -1 : 1));
    ordered.push(...node.children);
  }
  return ordered;
}

/** Eight letters, a dot and three for files; different names stay different. */
function nameChildren(children: Node[]): void {
  const taken = new Set<string>();
  for (const node of children) {
    const plain = node.name.toUpperCase().replaceAll(/[^A-Z0-9_.]/g, "_");
    const dot = plain.lastIndexOf(".");
    const isFile = node.entry.kind === "file";
    const stem = (dot > 0 && isFile ? plain.slice(0, dot) : plain).replaceAll(".", "_");
    const extension = dot > 0 && isFile ? plain.slice(dot + 1, dot + 4) : "";
    const suffix = isFile ? `.${extension};1` : "";
    let name = `${stem.slice(0, 8)}${suffix}`;
    for (let number = 0; taken.has(name); number += 1)
      name = `${stem.slice(0, 8 - String(number).length)}${number}${suffix}`;
    taken.add(name);
    node.isoName = name;
  }
}

function encodeDirectory(node: Node): Uint8Array<ArrayBuffer> {
  const isRoot = node.parent === null;
  const records = [
    encodeRecord(node, Uint8Array.of(0), [
      ...(isRoot ? [SHARING] : []),
      modeField(node),
      ...(isRoot ? [ROCK_RIDGE] : []),
    ]),
    encodeRecord(node.parent ?? node, Uint8Array.of(1), [modeField(node.parent ?? node)]),
    ...node.children.map((child) =>
      encodeRecord(child, encoder.encode(child.isoName), [modeField(child), nameField(child)]),
    ),
  ];
  let end = 0;
  const places = records.map((record) => {
    // None lies over the border of two sectors.
    if (Math.floor(end / SECTOR_BYTES) !== Math.floor((end + record.length - 1) / SECTOR_BYTES))
      end = alignTo(end, SECTOR_BYTES);
    end += record.length;
    return end - record.length;
  });
  const bytes = new Uint8Array(alignTo(end, SECTOR_BYTES));
  for (const [at, record] of records.entries()) bytes.set(record, places[at] as number);
  return bytes;
}

function encodeRecord(node: Node, name: Uint8Array, fields: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const nameEnd = alignTo(RECORD_BYTES + name.length, 2);
  const length = alignTo(nameEnd + fields.reduce((sum, field) => sum + field.length, 0), 2);
  if (length > MOST_RECORD_BYTES)
    throw new FormatError(`Cannot put ${quote(node.entry.path)} on a CD: its name is too long`, node.entry.path);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  bytes[0] = length;
  both32(view, 2, node.sector);
  both32(view, 10, node.size);
  bytes.set(RECORD_DATE, 18);
  bytes[25] = node.entry.kind === "directory" ? DIRECTORY_FLAG : 0;
  both16(view, 28, 1);
  bytes[32] = name.length;
  bytes.set(name, RECORD_BYTES);
  let at = nameEnd;
  for (const field of fields) {
    bytes.set(field, at);
    at += field.length;
  }
  return bytes;
}

/** 1 January 1980: years since 1900, month, day. */
const RECORD_DATE = Uint8Array.of(80, 1, 1);

/** "SP": further fields are in use, from the first byte of each record's rest on. */
const SHARING = Uint8Array.of(0x53, 0x50, 7, 1, 0xbe, 0xef, 0);

/** "ER": they are those of Rock Ridge. */
const ROCK_RIDGE = Uint8Array.of(0x45, 0x52, 18, 1, 10, 0, 0, 1, ...encoder.encode("RRIP_1991A"));

function modeField({ entry, children }: Node): Uint8Array {
  const bytes = new Uint8Array(36);
  const view = new DataView(bytes.buffer);
  bytes.set([0x50, 0x58, bytes.length, 1]);
  const isDirectory = entry.kind === "directory";
  both32(view, 4, (isDirectory ? FORMAT_BITS.directory : FORMAT_BITS.file) | entry.mode);
  both32(view, 12, isDirectory ? 2 + children.filter((child) => child.entry.kind === "directory").length : 1);
  both32(view, 20, entry.uid);
  both32(view, 28, entry.gid);
  return bytes;
}

function nameField({ name }: Node): Uint8Array {
  const text = encoder.encode(name);
  return Uint8Array.of(0x4e, 0x4d, 5 + text.length, 1, 0, ...text);
}

function pathEntryBytes({ parent, isoName }: Node): number {
  return 8 + alignTo(parent === null ? 1 : isoName.length, 2);
}

function encodePathTable(directories: Node[], sectors: number, isLittle: boolean): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(sectors * SECTOR_BYTES);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const node of directories) {
    const name = node.parent === null ? Uint8Array.of(0) : encoder.encode(node.isoName);
    bytes[at] = name.length;
    view.setUint32(at + 2, node.sector, isLittle);
    view.setUint16(at + 6, directories.indexOf(node.parent ?? node) + 1, isLittle);
    bytes.set(name, at + 8);
    at += pathEntryBytes(node);
  }
  return bytes;
}

function encodeDescriptor(type: number, fill: (bytes: Uint8Array, view: DataView) => void): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(SECTOR_BYTES);
  bytes[0] = type;
  bytes.set(encoder.encode("CD001"), 1);
  bytes[6] = 1;
  fill(bytes, new DataView(bytes.buffer));
  return bytes;
}

function encodeVolume(label: string, root: Node, sectors: number, tableBytes: number, tableSectors: number) {
  return encodeDescriptor(1, (bytes, view) => {
    const text = (at: number, length: number, value: string): void =>
      void bytes.set(encoder.encode(value.padEnd(length, " ")), at);
    text(8, 32, "");
    text(40, 32, label);
    both32(view, 80, sectors);
    both16(view, 120, 1);
    both16(view, 124, 1);
    both16(view, 128, SECTOR_BYTES);
    both32(view, 132, tableBytes);
    view.setUint32(140, PATH_TABLE, true);
    view.setUint32(148, PATH_TABLE + tableSectors, false);
    bytes.set(encodeRecord(root, Uint8Array.of(0), []), 156);
    for (const [at, length] of [
      [190, 512],
      [702, 111],
    ] as const)
      text(at, length, "");
    // Times that are not given.
    for (const at of [813, 830, 847, 864]) bytes.set(encoder.encode("0".repeat(16)), at);
    bytes[881] = 1;
  });
}

function encodeBootVolume(): Uint8Array<ArrayBuffer> {
  return encodeDescriptor(0, (bytes, view) => {
    bytes.set(encoder.encode("EL TORITO SPECIFICATION"), 7);
    view.setUint32(71, CATALOG, true);
  });
}

function encodeCatalog(sector: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(SECTOR_BYTES);
  const view = new DataView(bytes.buffer);
  bytes[0] = 1;
  view.setUint16(30, 0xaa55, true);
  // The sum of the entry's words is zero.
  let sum = 0;
  for (let at = 0; at < 32; at += 2) sum += view.getUint16(at, true);
  view.setUint16(28, -sum & 0xffff, true);
  // Bootable, without pretending to be a floppy.
  bytes[32] = 0x88;
  view.setUint16(38, BOOT_SECTORS, true);
  view.setUint32(40, sector, true);
  return bytes;
}

/** What `-boot-info-table` of mkisofs writes: GRUB finds the rest of itself by it. */
function withBootInfo(content: Uint8Array, sector: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(content);
  if (bytes.length < 64)
    throw new FormatError(`Cannot start a CD from ${bytes.length} bytes: the boot image is too short`);
  const padded = new Uint8Array(alignTo(bytes.length, 4));
  padded.set(bytes);
  const words = new DataView(padded.buffer);
  let sum = 0;
  for (let at = 64; at < padded.length; at += 4) sum = (sum + words.getUint32(at, true)) >>> 0;
  const view = new DataView(bytes.buffer);
  bytes.fill(0, 8, 64);
  view.setUint32(8, VOLUME, true);
  view.setUint32(12, sector, true);
  view.setUint32(16, bytes.length, true);
  view.setUint32(20, sum, true);
  return bytes;
}

function both32(view: DataView, at: number, value: number): void {
  view.setUint32(at, value, true);
  view.setUint32(at + 4, value, false);
}

function both16(view: DataView, at: number, value: number): void {
  view.setUint16(at, value, true);
  view.setUint16(at + 2, value, false);
}
