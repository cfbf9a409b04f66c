/**
 * A project as it is shared: `project.json` of a bundle, read from strangers. docs/project-format.md describes it. What is
 * not known in it is left out; what is wrong in it is refused.
 */
import type { CustomKernel, Overlay, ProjectFile } from "./api.ts";
import { checkPath, FormatError, quote } from "./format/file-tree.ts";
import { hashSha256 } from "./hash.ts";

export const FORMAT = "smart-os project";
const MOST_FILES = 100_000;
const MOST_JSON_BYTES = 24 * 1024 * 1024;
const MOST_DISKS = 64;
const MOST_DISK_MB = 64 * 1024;
const MEMORY_MB = [32, 64, 128, 256, 512, 1024];
const MOST_COMMAND_LINE = 2047;
const FILE_SYSTEMS = ["ext2", "ext3", "ext4", "swap", "empty", "partitions", "unknown"] as const;
const DRIVES = ["sda", "sdb", "sdc", "sdd"] as const;
const CARDS = ["virtio", "ne2k"] as const;

export interface SharedDisk {
  id: string;
  name: string;
  kind: "system" | "data";
  fileSystem: (typeof FILE_SYSTEMS)[number];
  label: string;
  sizeMb: number;
  /** Of the system disk's swap partition; absent where it has none. */
  swapMb?: number;
  drive: (typeof DRIVES)[number] | null;
  builtFrom?: string;
}

/** What `web/project.ts` has of a project, but for its id. */
export interface SharedProject {
  version: 1;
  name: string;
  files: Overlay;
  components: readonly string[];
  commandLine: string;
  memoryMb: number;
  disks: readonly SharedDisk[];
  /** In place of the one that was built. */
  kernel?: CustomKernel;
  network: { relay: string | null; card?: "virtio" | "ne2k" };
  createdAt: number;
  updatedAt: number;
}

/** A disk as project.json lists it. */
export interface ListedDisk extends SharedDisk {
  /** The member with its content, or nothing when it is not in the bundle. */
  content?: string;
  /** Of the content, in bytes. */
  sizeBytes?: number;
}

/**
 * @param contents member of a disk's content and its size, by the disk's id
 * @param kernelMember member of the kernel's content, where the project has one of its own
 */
export function encodeProject(
  project: SharedProject,
  contents: ReadonlyMap<string, { content: string; sizeBytes: number }> = new Map(),
  kernelMember = "",
): Uint8Array<ArrayBuffer> {
  const { version, name, files, components, commandLine, memoryMb, disks, network, createdAt, updatedAt } = project;
  const { kernel } = project;
  const json = {
    ...{ format: FORMAT, version, name, components, commandLine, memoryMb },
    disks: disks.map((disk) => inOrder({ ...disk, ...contents.get(disk.id) })),
    ...(kernel ? { kernel: { version: kernel.version, content: kernelMember } } : {}),
    ...{ network, createdAt, updatedAt },
    files: files.map(inOrder),
  };
  return new TextEncoder().encode(`${JSON.stringify(json, null, 2)}\n`);
}

/** The same entry gives the same text, in whatever order its keys came into being; contents are elsewhere. */
function inOrder(entry: object): object {
  const values = { ...entry } as Record<string, unknown>;
  if (values.content instanceof Uint8Array) delete values.content;
  return Object.fromEntries(KEYS.filter((key) => values[key] !== undefined).map((key) => [key, values[key]]));
}

const KEYS = (
  "id path name kind mode uid gid mtime target device major minor " +
  "fileSystem label sizeMb swapMb drive builtFrom content sizeBytes"
).split(" ");

/** One sum over all that a project is, contents included; neither its id nor when it was changed. */
export async function hashProject(project: SharedProject): Promise<string> {
  const sums: string[] = [];
  for (const file of project.files) if (file.kind === "file") sums.push(await hashSha256(file.content));
  // The order of keys in memory says nothing.
  const { files, disks, network, kernel, ...rest } = { ...project, createdAt: 0, updatedAt: 0 };
  if (kernel) sums.push(kernel.sha256);
  const json = [rest, network, disks, files].map(jsonInOrder);
  return hashSha256(new TextEncoder().encode(JSON.stringify([json, sums])));
}

/** The same text whatever order keys came into being in; bytes are left out. */
export function jsonInOrder(value: unknown): string {
  return JSON.stringify(value, (_, part) => ordered(part));
}

function ordered(value: unknown): unknown {
  if (value instanceof Uint8Array) return null;
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * @param json content of project.json
 * @param what "Cannot open NAME", for messages
 * @returns the project without the contents of its files, which are empty, and without its kernel, of which the member
 * @throws FormatError naming what is wrong
 */
export function decodeProject(
  json: Uint8Array,
  what: string,
): { project: SharedProject; disks: ListedDisk[]; kernel: string | null } {
  const read = new Reader(what);
  if (json.length > MOST_JSON_BYTES) throw read.refusal(`project.json has ${json.length} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json));
  } catch (error) {
    throw read.refusal(`project.json is not JSON (${error instanceof Error ? quote(error.message) : "damaged"})`);
  }
  const top = read.object(value, "project.json");
  if (top.format !== FORMAT) throw read.refusal("project.json is not of a smart-os project");
  if (top.version !== 1) throw read.refusal(`its version is ${quote(String(top.version))}, this page knows version 1`);
  const disks = read.list(top.disks ?? [], "disks", MOST_DISKS).map((disk, at) => readDisk(read, disk, at));
  for (const [key, name] of [
    ["id", "id"],
    ["drive", "drive"],
  ] as const) {
    const taken = disks.map((disk) => disk[key]).filter((one) => one !== null);
    if (new Set(taken).size !== taken.length) throw read.refusal(`two of its disks have the same ${name}`);
  }
  const network = read.object(top.network ?? { relay: null }, "network");
  const card = network.card === undefined ? {} : { card: read.oneOf(network.card, CARDS, "network.card") };
  const relay = network.relay ?? null;
  if (relay !== null && !/^wss?:\/\/[^\s]{1,2000}$/.test(read.text(relay, "network.relay", 2048)))
    throw read.refusal("network.relay is no websocket's address");
  const project: SharedProject = {
    version: 1,
    name: read.text(top.name, "name", 200),
    files: readFiles(read, top.files ?? []),
    components: read.list(top.components ?? [], "components", 100).map((one) => read.text(one, "components", 100)),
    commandLine: read.text(top.commandLine, "commandLine", MOST_COMMAND_LINE),
    memoryMb: read.oneOf(top.memoryMb, MEMORY_MB, "memoryMb"),
    disks: disks.map(({ content: _, sizeBytes: __, ...disk }) => disk),
    network: { relay: relay as string | null, ...card },
    createdAt: read.whole(top.createdAt ?? 0, "createdAt", Number.MAX_SAFE_INTEGER),
    updatedAt: read.whole(top.updatedAt ?? 0, "updatedAt", Number.MAX_SAFE_INTEGER),
  };
  return { project, disks, kernel: readKernel(read, top.kernel) };
}

/** Its version is what the kernel itself says: that in the text is for whoever reads it. */
function readKernel(read: Reader, value: unknown): string | null {
  if (value === undefined) return null;
  const member = read.text(read.object(value, "kernel").content, "kernel.content", 300);
  if (!/^kernel\/[\w.-]+$/.test(member)) throw read.refusal("kernel.content is not in kernel/");
  return member;
}

function readDisk(read: Reader, value: unknown, index: number): ListedDisk {
  const at = `disks[${index}]`;
  const disk = read.object(value, at);
  const text = (key: string, most: number): string => read.text(disk[key], `${at}.${key}`, most);
  const listed: ListedDisk = {
    id: text("id", 100),
    name: text("name", 100),
    kind: read.oneOf(disk.kind, ["system", "data"] as const, `${at}.kind`),
    fileSystem: read.oneOf(disk.fileSystem, FILE_SYSTEMS, `${at}.fileSystem`),
    label: text("label", 100),
    sizeMb: read.whole(disk.sizeMb, `${at}.sizeMb`, MOST_DISK_MB),
    drive: disk.drive === null ? null : read.oneOf(disk.drive, DRIVES, `${at}.drive`),
  };
  if (disk.swapMb !== undefined) listed.swapMb = read.whole(disk.swapMb, `${at}.swapMb`, MOST_DISK_MB);
  if (disk.builtFrom !== undefined) listed.builtFrom = text("builtFrom", 200);
  if (disk.content !== undefined) {
    listed.content = text("content", 300);
    listed.sizeBytes = read.whole(disk.sizeBytes, `${at}.sizeBytes`, MOST_DISK_MB * 2 ** 20);
    if (!/^disks\/[^/]+$/.test(listed.content)) throw read.refusal(`${at}.content is not in disks/`);
  }
  return listed;
}

function readFiles(read: Reader, value: unknown): Overlay {
  const seen = new Set<string>();
  const files = read.list(value, "files", MOST_FILES).map((one, index): Overlay[number] => {
    const file = read.object(one, `files[${index}]`);
    const path = read.text(file.path, `files[${index}].path`, 4095);
    checkSharedPath(path, read.what);
    if (seen.has(path)) throw read.refusal(`${quote(path)} stands in it twice`, path);
    seen.add(path);
    return readFile(read, file, path);
  });
  // The order in which the page keeps them.
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

function readFile(read: Reader, file: Record<string, unknown>, path: string): Overlay[number] {
  if (file.kind === "deleted") return { path, kind: "deleted" };
  const number = (key: string, most: number): number => read.whole(file[key], `${key} of ${quote(path)}`, most);
  const optional = (["uid", "gid", "mtime"] as const)
    .filter((key) => file[key] !== undefined)
    .map((key) => [key, number(key, 0xffff_ffff)]);
  const own = { path, mode: number("mode", 0o7777), ...(Object.fromEntries(optional) as Pick<ProjectFile, "uid">) };
  switch (read.oneOf(file.kind, ["file", "directory", "symlink", "device"] as const, `kind of ${quote(path)}`)) {
    case "file":
      return { ...own, kind: "file", content: new Uint8Array(0) };
    case "directory":
      return { ...own, kind: "directory" };
    case "symlink": {
      const target = read.text(file.target, `target of ${quote(path)}`, 4095);
      checkTarget(path, target, read.what);
      return { ...own, kind: "symlink", target };
    }
    case "device": {
      const device = read.oneOf(file.device, ["character", "block"] as const, `device of ${quote(path)}`);
      return { ...own, kind: "device", device, major: number("major", 0xfff), minor: number("minor", 0xf_ffff) };
    }
  }
}

/** @throws FormatError for what is no path, and for control characters, which a terminal would act upon */
export function checkSharedPath(path: string, what: string): void {
  try {
    checkPath(path);
  } catch (error) {
    throw error instanceof FormatError ? new FormatError(`${what}: ${decapitalise(error.message)}`, path) : error;
  }
  if (path === "/" || /\p{Cc}/u.test(path))
    throw new FormatError(
      `${what}: the path ${quote(path)} ${path === "/" ? "is the root" : "has a control character in it"}`,
      path,
    );
}

/** @throws FormatError for a target that leads out of the root, which a reader outside of the guest would follow */
export function checkTarget(path: string, target: string, what: string): void {
  let depth = target.startsWith("/") ? 0 : path.split("/").length - 2;
  for (const name of target.split("/")) {
    if (name === "" || name === ".") continue;
    depth += name === ".." ? -1 : 1;
    if (depth < 0)
      throw new FormatError(`${what}: the symlink ${quote(path)} leads out of the root (${quote(target)})`, path);
  }
  if (target === "" || /\p{Cc}/u.test(target))
    throw new FormatError(
      `${what}: the target of the symlink ${quote(path)} is empty or has a control character`,
      path,
    );
}

function decapitalise(sentence: string): string {
  return sentence.slice(0, 1).toLowerCase() + sentence.slice(1);
}

/** Takes values of the right kind out of JSON. */
class Reader {
  constructor(readonly what: string) {}

  refusal(state: string, path?: string): FormatError {
    return new FormatError(`${this.what}: ${state}`, path);
  }

  object(value: unknown, name: string): Record<string, unknown> {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw this.refusal(`${name} is not an object`);
    return value as Record<string, unknown>;
  }

  list(value: unknown, name: string, most: number): unknown[] {
    if (!Array.isArray(value)) throw this.refusal(`${name} is not a list`);
    if (value.length > most) throw this.refusal(`${name} has ${value.length} entries, ${most} is the most`);
    return value;
  }

  text(value: unknown, name: string, mostBytes: number): string {
    if (typeof value !== "string") throw this.refusal(`${name} is not a text`);
    if (value.length * 3 > mostBytes && new TextEncoder().encode(value).length > mostBytes)
      throw this.refusal(`${name} is longer than ${mostBytes} bytes`);
    // A path says so in words of its own.
    if (!name.endsWith(".path") && !name.startsWith("target") && /\p{Cc}|\p{Cs}/u.test(value))
      throw this.refusal(`${name} has a control character in it`);
    return value;
  }

  whole(value: unknown, name: string, most: number): number {
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0 || value > most)
      throw this.refusal(`${name} is no whole number from 0 to ${most}`);
    return value;
  }

  oneOf<T extends string | number>(value: unknown, allowed: readonly T[], name: string): T {
    if (!allowed.includes(value as T)) throw this.refusal(`${name} is none of ${allowed.join(", ")}`);
    return value as T;
  }
}
