/** The bundle: a project with its files and disks as one zip. docs/project-format.md describes it. */
import type { CustomKernel } from "./api.ts";
import { deflateBytes, deflateStream, type Work } from "./compress.ts";
import { decodeBzImage, MOST_KERNEL_BYTES } from "./format/bzimage.ts";
import { crc32 } from "./format/crc32.ts";
import type { DiskStream } from "./format/disk-stream.ts";
import { FormatError, quote } from "./format/file-tree.ts";
import { encodePlainQcow2 } from "./format/qcow2.ts";
import { streamPlainQcow2 } from "./format/qcow2-stream.ts";
import type { BlockSource, Extent } from "./format/sparse-image.ts";
import { encodeZip, METHODS, readZip, type ZipEntry, type ZipMember, zipData } from "./format/zip.ts";
import { hashSha256 } from "./hash.ts";
import { decodeProject, encodeProject, type SharedDisk, type SharedProject } from "./shared-project.ts";
import { gather, unpackStream } from "./unpack.ts";

const PROJECT = "project.json";
const KERNEL = "kernel/bzImage";
const MEMBER_MODE = 0o644;
/** A saved machine as the page makes a file of it. */
export const SNAPSHOT = "snapshot/machine.smartos-snapshot";
/** What files of a project may have together: they are in memory. */
const MOST_FILE_BYTES = 256 * 1024 * 1024;
const MOST_EXTRA_BYTES = 1024 ** 3;
/** A disk's image may have its tables beside its data. */
const MOST_TABLES_BYTES = 32 * 1024 * 1024;

/** Something of the page's own beside the project, such as a snapshot: its name begins with "snapshot/". */
export interface BundleExtra {
  name: string;
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/**
 * @param disks contents by the disks' ids; one that is not there goes without its content
 * @param work progress is in bytes of files, disks and extras, before packing
 * @returns the zip's bytes, in order
 * @throws FormatError for what cannot be written, the signal's reason when it is aborted
 */
export function encodeBundle(
  project: SharedProject,
  disks: ReadonlyMap<string, DiskStream>,
  extras: Iterable<BundleExtra> = [],
  work: Work = {},
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  const contents = new Map<string, { content: string; sizeBytes: number }>();
  for (const [index, { id, name }] of project.disks.entries()) {
    const disk = disks.get(id);
    const file = `disks/${index + 1}-${name.replaceAll(/[^\w.-]+/g, "-").slice(0, 40)}.qcow2`;
    if (disk) contents.set(id, { content: file, sizeBytes: disk.size });
  }
  let before = 0;
  let last = 0;
  const own: Work = {
    signal: work.signal,
    onProgress: (done) => {
      last = done;
      work.onProgress?.(before + done);
    },
  };
  const stream = (name: string, source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): ZipMember => {
    before += last;
    last = 0;
    return { name, mode: MEMBER_MODE, kind: "stream", ...deflateStream(source, own) };
  };
  function* members(): Generator<ZipMember> {
    const json = encodeProject(project, contents, KERNEL);
    yield { name: PROJECT, mode: MEMBER_MODE, kind: "bytes", content: json, packed: deflateBytes(json) };
    for (const { path, ...file } of project.files) {
      if (file.kind !== "file") continue;
      work.signal?.throwIfAborted();
      const packed = deflateBytes(file.content);
      yield { name: `files${path}`, mode: file.mode, kind: "bytes", content: file.content, packed };
      before += file.content.length;
      work.onProgress?.(before);
    }
    if (project.kernel) yield stream(KERNEL, [project.kernel.content]);
    for (const { id } of project.disks) {
      const disk = disks.get(id);
      const listed = contents.get(id);
      if (disk && listed) yield stream(listed.content, bytesOf(encodePlainQcow2(disk)));
    }
    for (const { name, content } of extras) yield stream(name, content);
  }
  return encodeZip(members());
}

async function* bytesOf(
  pieces: AsyncIterable<{ bytes: Uint8Array<ArrayBuffer> }>,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for await (const { bytes } of pieces) yield bytes;
}

export interface BundledDisk extends DiskStream {
  disk: SharedDisk;
  /** Of its content, packed, in bytes. */
  packedBytes: number;
  extents(): AsyncGenerator<Extent, void>;
}

export interface Bundle {
  project: SharedProject;
  /** The disks whose content is in the bundle. */
  disks: BundledDisk[];
  extras: { name: string; size: number; content(): AsyncGenerator<Uint8Array<ArrayBuffer>, void> }[];
}

export interface OpenOptions {
  /** Of the file, for messages. */
  name: string;
  signal?: AbortSignal | undefined;
}

/**
 * Opens a bundle: project and files are read and checked, disks and extras when they are taken.
 * @throws FormatError "Cannot open NAME: …"
 */
export async function openBundle(source: BlockSource, { name, signal }: OpenOptions): Promise<Bundle> {
  const what = `Cannot open ${quote(name)}`;
  const entries = await readZip(source, what);
  const take = (member: string): ZipEntry | undefined => {
    const entry = entries.get(member);
    entries.delete(member);
    return entry;
  };
  const json = take(PROJECT);
  if (!json) throw new FormatError(`${what}: there is no ${PROJECT} in it, so it is no bundle of a project`);
  const listed = decodeProject(await readMember(source, json, MOST_FILE_BYTES, what, signal), what);
  const { project, disks } = listed;
  let left = MOST_FILE_BYTES;
  const files: SharedProject["files"][number][] = [];
  for (const file of project.files) {
    if (file.kind !== "file") {
      files.push(file);
      continue;
    }
    const entry = take(`files${file.path}`);
    if (!entry) throw new FormatError(`${what}: the content of ${quote(file.path)} is not in it`, file.path);
    const content = await readMember(source, entry, left, what, signal);
    left -= content.length;
    files.push({ ...file, content });
  }
  let kernel: CustomKernel | null = null;
  if (listed.kernel !== null) {
    const entry = take(listed.kernel);
    if (!entry) throw new FormatError(`${what}: ${quote(listed.kernel)}, its kernel, is not in it`);
    const content = await readMember(source, entry, MOST_KERNEL_BYTES, what, signal);
    const { version } = decodeBzImage(content, `${what}: ${quote(listed.kernel)}`);
    kernel = { content, sha256: await hashSha256(content), version };
  }
  const bundled: BundledDisk[] = [];
  for (const { content, sizeBytes, ...disk } of disks) {
    if (content === undefined || sizeBytes === undefined) continue;
    const entry = take(content);
    if (!entry)
      throw new FormatError(`${what}: ${quote(content)}, the content of the disk ${quote(disk.name)}, is not in it`);
    if (entry.size > sizeBytes + MOST_TABLES_BYTES)
      throw new FormatError(`${what}: ${quote(content)} has ${entry.size} bytes for a disk of ${sizeBytes}`);
    bundled.push({
      disk,
      size: sizeBytes,
      packedBytes: entry.packedSize,
      extents: () =>
        streamPlainQcow2(memberStream(source, entry, what, signal), sizeBytes, `${what}: ${quote(content)}`),
    });
  }
  const extras: Bundle["extras"] = [];
  for (const entry of entries.values()) {
    if (entry.name.endsWith("/") && entry.size === 0) continue;
    if (!/^snapshot\/[\w.-]{1,100}$/.test(entry.name) || entry.size > MOST_EXTRA_BYTES)
      throw new FormatError(`${what}: ${quote(entry.name)} is in it, which is no part of a bundle`);
    extras.push({ name: entry.name, size: entry.size, content: () => memberStream(source, entry, what, signal) });
  }
  return { project: { ...project, files, ...(kernel ? { kernel } : {}) }, disks: bundled, extras };
}

async function readMember(
  source: BlockSource,
  entry: ZipEntry,
  most: number,
  what: string,
  signal: AbortSignal | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  if (entry.size > most)
    throw new FormatError(
      most === MOST_KERNEL_BYTES
        ? `${what}: ${quote(entry.name)} has ${entry.size} bytes, a kernel may have ${most}`
        : `${what}: ${quote(entry.name)} has ${entry.size} bytes, files may have ${MOST_FILE_BYTES} together`,
    );
  return gather(memberStream(source, entry, what, signal));
}

/** A member unpacked; its length and its sum are checked at the end. */
async function* memberStream(
  source: BlockSource,
  entry: ZipEntry,
  what: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  const { name, size, method } = entry;
  const data = zipData(source, entry, what);
  const own = `${what}: ${quote(name)}`;
  let crc = 0;
  let done = 0;
  const parts = method === METHODS.stored ? data : unpackStream("deflate-raw", data, { what: own, most: size, signal });
  for await (const part of parts) {
    signal?.throwIfAborted();
    crc = crc32(part, crc);
    done += part.length;
    yield part;
  }
  if (done !== size) throw new FormatError(`${own}: it has ${done} bytes, ${size} are announced`);
  if (crc !== entry.crc) throw new FormatError(`${own}: it is damaged, its sum is wrong`);
}
