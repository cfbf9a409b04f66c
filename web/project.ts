/**
 * A project: what a person edits over the default root file system, and how the machine is set up. Pure functions
 * from one project to the next; whoever calls them saves the result.
 */
import type { CustomKernel, DeletedFile, ProjectFile } from "../worker/api.ts";
import type { ProjectDisk } from "./project-disks.ts";
import type { FileRow } from "./state.ts";

export interface Project {
  version: 1;
  id: string;
  name: string;
  /** Over the default files; one entry for each path, sorted by path. */
  files: readonly (ProjectFile | DeletedFile)[];
  components: readonly string[];
  commandLine: string;
  memoryMb: number;
  disks: readonly ProjectDisk[];
  /** In place of the one that was built. */
  kernel?: CustomKernel;
  network: {
    /** A relay other than the page's own. */
    relay: string | null;
    /** virtio when it is not given. */
    card?: "virtio" | "ne2k";
    /** It came from outside: its guest stays offline until the user agrees. */
    stranger?: true;
  };
  /** Milliseconds since 1970. */
  createdAt: number;
  updatedAt: number;
}

/** A file of `rootfs/`, as the page was built with it. */
export interface DefaultFile {
  path: string;
  mode: number;
  content?: string;
  target?: string;
}

/** What a person cannot do; the message says why. */
export class ProjectError extends Error {
  override readonly name = "ProjectError";
}

/** The last `console=` is where /dev/console goes: the serial line, which the page's terminal shows. */
export const DEFAULT_COMMAND_LINE = "console=tty0 console=ttyS0 tsc=reliable";
/**
 * Keeps a system in memory from being replaced by one on a disk. A kernel that is told of a root takes a ramfs for the
 * initramfs, which has no limit; the second word makes it a tmpfs again.
 */
const STAY_IN_MEMORY = "root=/dev/ram0 rootfstype=tmpfs";
export const DEFAULT_MEMORY_MB = 128;
/** The system disk as long as a project says nothing else of it. */
export const SYSTEM_DISK = { sizeMb: 64, fileSystem: "ext4", label: "smart-os" } as const;
export const MEMORY_SIZES_MB = [32, 64, 128, 256, 512] as const;
/** COMMAND_LINE_SIZE of Linux on x86, less the terminating zero. */
const MAX_COMMAND_LINE = 2047;

/** The command line of a system in memory. Without disks a project may name a root of its own, and see what comes of it. */
export function memoryCommandLine(commandLine: string, hasDisks: boolean): string {
  return !hasDisks && /(^|\s)root=/.test(commandLine) ? commandLine : `${commandLine} ${STAY_IN_MEMORY}`;
}

const encoder = new TextEncoder();

export function createProject(name: string, id: string, now: number): Project {
  return {
    version: 1,
    id,
    name,
    files: [],
    components: [],
    commandLine: DEFAULT_COMMAND_LINE,
    memoryMb: DEFAULT_MEMORY_MB,
    disks: [],
    network: { relay: null },
    createdAt: now,
    updatedAt: now,
  };
}

/** Says whether two projects make the same machine. */
export function bootsAlike(a: Bootable, b: Bootable): boolean {
  return (
    a.commandLine === b.commandLine &&
    a.memoryMb === b.memoryMb &&
    a.kernel?.sha256 === b.kernel?.sha256 &&
    a.files.length === b.files.length &&
    a.files.every((file, index) => sameFile(file, b.files[index]))
  );
}

export type Bootable = Pick<Project, "files" | "commandLine" | "memoryMb" | "kernel">;

/** @param kernel null: the one that was built */
export function withKernel<T extends { kernel?: CustomKernel }>(project: T, kernel: CustomKernel | null): T {
  const { kernel: _, ...rest } = project;
  return (kernel ? { ...rest, kernel } : rest) as T;
}

/**
 * The absolute form of a path that a person typed.
 * @throws ProjectError when it leads out of the root or names nothing
 */
export function normalizePath(path: string): string {
  const names: string[] = [];
  for (const name of path.trim().split("/")) {
    if (name === "" || name === ".") continue;
    if (name === "..") throw new ProjectError(`Cannot use the path ${path}: ".." is not allowed in it`);
    if (/\p{Cc}/u.test(name)) throw new ProjectError(`Cannot use the path ${path}: it contains a control character`);
    if (encoder.encode(name).length > 255)
      throw new ProjectError(`Cannot use the name ${name.slice(0, 40)}…: it is longer than 255 bytes`);
    names.push(name);
  }
  if (names.length === 0) throw new ProjectError(`Cannot use the path "${path}": it names no file`);
  const normal = `/${names.join("/")}`;
  if (encoder.encode(normal).length > 4095) throw new ProjectError("Cannot use the path: it is longer than 4095 bytes");
  return normal;
}

/** The folder of a path, without "/" at its end: "" is the root. */
export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

/** All folders around a path but the root, the nearest first. */
export function ancestorsOf(path: string): string[] {
  const found: string[] = [];
  for (let parent = parentOf(path); parent !== ""; parent = parentOf(parent)) found.push(parent);
  return found;
}

/** What stands at a path once the project is laid over the default files. */
export function readFile(project: Project, defaults: readonly DefaultFile[], path: string): ProjectFile | undefined {
  const own = project.files.find((file) => file.path === path);
  if (own) return own.kind === "deleted" ? undefined : own;
  if (isBelowDeleted(project, path)) return undefined;
  const file = defaults.find((candidate) => candidate.path === path);
  return file && defaultFile(file);
}

/** The default's version of a file, without the project. */
export function defaultFile(file: DefaultFile): ProjectFile {
  const { path, mode, content, target } = file;
  if (target !== undefined) return { path, mode, kind: "symlink", target };
  return { path, mode, kind: "file", content: encoder.encode(content ?? "") };
}

/**
 * Puts a file into the project, over what was there. One that equals the default drops out of the project.
 * @throws ProjectError when a directory is in the way, or a file where a directory would have to be
 */
export function writeFile(project: Project, defaults: readonly DefaultFile[], file: ProjectFile): Project {
  return writeFiles(project, defaults, [file]);
}

/**
 * The same for many, of which the last of a name counts.
 * @throws ProjectError as writeFile does; then none is written
 */
export function writeFiles(project: Project, defaults: readonly DefaultFile[], files: readonly ProjectFile[]): Project {
  const coming = new Map(files.map((file) => [file.path, file]));
  const present = new Map<string, ProjectFile["kind"]>();
  for (const { path, kind, origin } of listFiles(project, defaults)) if (origin !== "deleted") present.set(path, kind);
  const holders = new Set([...coming.keys()].flatMap(ancestorsOf));
  const holdsSome = (path: string): boolean =>
    holders.has(path) ||
    (present.get(path) === "directory" && [...present.keys()].some((other) => other.startsWith(`${path}/`)));
  const originals = new Map(defaults.map((file) => [file.path, file]));
  const own: ProjectFile[] = [];
  for (const file of coming.values()) {
    const { path } = file;
    if (file.kind !== "directory" && holdsSome(path)) throw new ProjectError(`Cannot write ${path}: it is a directory`);
    for (const parent of ancestorsOf(path)) {
      const kind = coming.get(parent)?.kind ?? present.get(parent) ?? "directory";
      if (kind !== "directory") throw new ProjectError(`Cannot write ${path}: ${parent} is a file, not a directory`);
    }
    const original = originals.get(path);
    const isDefault = original && sameFile(defaultFile(original), file) && !isBelowDeleted(project, path);
    if (!isDefault) own.push(file);
  }
  return withFiles(project, [...project.files.filter(({ path }) => !coming.has(path)), ...own]);
}

/**
 * Removes a file or a directory with all in it: the project's own files go, default ones are marked as deleted. So is
 * a path that is neither: the builder has files that are not listed here, busybox's applets and the kernel's modules.
 */
export function removeFile(project: Project, defaults: readonly DefaultFile[], path: string): Project {
  const isInside = (candidate: string): boolean => candidate === path || candidate.startsWith(`${path}/`);
  const files = project.files.filter((file) => !isInside(file.path));
  const covered = defaults.filter((file) => isInside(file.path)).map((file) => file.path);
  const hasOwn = project.files.some((file) => isInside(file.path) && file.kind !== "deleted");
  const markers = covered.length > 0 || hasOwn ? covered : [path];
  return withFiles(project, [...files, ...markers.map((marker): DeletedFile => ({ path: marker, kind: "deleted" }))]);
}

/**
 * Moves a file or a directory with all in it.
 * @throws ProjectError when there is nothing to move, or something in the way
 */
export function renameFile(project: Project, defaults: readonly DefaultFile[], from: string, to: string): Project {
  if (from === to) return project;
  if (to.startsWith(`${from}/`)) throw new ProjectError(`Cannot move ${from} to ${to}: that is inside itself`);
  const rows = listFiles(project, defaults).filter((row) => row.origin !== "deleted");
  if (rows.some((row) => row.path === to || row.path.startsWith(`${to}/`)))
    throw new ProjectError(`Cannot move ${from} to ${to}: there is a file of that name already`);
  const moved = rows.filter((row) => row.path === from || row.path.startsWith(`${from}/`));
  if (moved.length === 0) throw new ProjectError(`Cannot move ${from}: there is no such file`);
  const contents = moved.map((row) => readFile(project, defaults, row.path)).filter((file) => file !== undefined);
  const renamed = contents.map((file): ProjectFile => ({ ...file, path: to + file.path.slice(from.length) }));
  const empty: ProjectFile = { path: to, kind: "directory", mode: 0o755 };
  return writeFiles(removeFile(project, defaults, from), defaults, renamed.length > 0 ? renamed : [empty]);
}

/** Takes back what one change did to files, from `before` to `after`; what has been done to others since stays. */
export function takeBack(project: Project, before: Project, after: Project): Project {
  const had = new Map(before.files.map((file) => [file.path, file]));
  const has = new Map(after.files.map((file) => [file.path, file]));
  const isOther = ({ path }: { path: string }): boolean => had.get(path) !== has.get(path);
  return withFiles(project, [...project.files.filter((file) => !isOther(file)), ...before.files.filter(isOther)]);
}

/** @throws ProjectError when there is no such file */
export function changeMode(project: Project, defaults: readonly DefaultFile[], path: string, mode: number): Project {
  const file = readFile(project, defaults, path);
  if (!file) throw new ProjectError(`Cannot change the permissions of ${path}: there is no such file`);
  return writeFile(project, defaults, { ...file, mode });
}

/**
 * Brings the default's version of a file, or the deleted files of a directory, back.
 * @throws ProjectError when a file of the project is where a directory would have to be
 */
export function restoreDefault(project: Project, path: string): Project {
  for (const file of project.files)
    if (file.kind !== "deleted" && file.kind !== "directory" && path.startsWith(`${file.path}/`))
      throw new ProjectError(`Cannot restore ${path}: ${file.path} is a ${file.kind}, not a directory`);
  return withFiles(
    project,
    project.files.filter(
      (file) => file.path !== path && !(file.kind === "deleted" && file.path.startsWith(`${path}/`)),
    ),
  );
}

/** @throws ProjectError when it is too long or has line breaks in it */
export function checkCommandLine(commandLine: string): string {
  const line = commandLine.trim();
  if (/\p{Cc}/u.test(line)) throw new ProjectError("Cannot use this command line: it contains a control character");
  if (encoder.encode(line).length > MAX_COMMAND_LINE)
    throw new ProjectError(`Cannot use this command line: the kernel takes ${MAX_COMMAND_LINE} bytes at most`);
  return line;
}

/** All files of the project and the defaults, deleted ones included, with the directories that hold them; sorted. */
export function listFiles(project: Project, defaults: readonly DefaultFile[]): FileRow[] {
  const rows = new Map<string, FileRow>();
  const isDefault = new Set<string>();
  for (const file of defaults) {
    isDefault.add(file.path);
    const deleted = isBelowDeleted(project, file.path);
    rows.set(file.path, row(defaultFile(file), deleted ? "deleted" : "default"));
  }
  for (const file of project.files) {
    if (file.kind === "deleted") {
      const original = rows.get(file.path);
      // A deleted applet of busybox is shown as a file that is gone.
      rows.set(file.path, {
        ...(original ?? { path: file.path, kind: "symlink", mode: 0o777, size: 0 }),
        origin: "deleted",
      });
    } else rows.set(file.path, row(file, isDefault.has(file.path) ? "changed" : "added"));
  }
  // Directories are there because something is in them: one of which all is deleted is deleted.
  for (const { path, origin } of [...rows.values()])
    for (const parent of ancestorsOf(path)) {
      const known = rows.get(parent);
      const next = isDefault.has(path) && origin !== "deleted" ? "default" : origin === "deleted" ? "deleted" : "added";
      if (!known) rows.set(parent, { path: parent, kind: "directory", origin: next, mode: 0o755, size: 0 });
      else if (known.origin === "deleted" && known.kind === "directory" && next !== "deleted") known.origin = next;
      else if (known.origin === "added" && next === "default") known.origin = next;
    }
  return [...rows.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** The text of a file, or null when it is not one: UTF-8 without control characters other than white space and escape. */
export function decodeText(content: Uint8Array): string | null {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content);
    return /[\0-\u0006\u000e-\u001a\u001c-\u001f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

/** A name that no other project has: "name", then "name 2", "name 3", … */
export function uniqueName(wanted: string, taken: readonly string[]): string {
  const name = wanted.trim().slice(0, 80) || "smart-os";
  if (!taken.includes(name)) return name;
  const stem = name.replace(/ \d+$/, "");
  for (let number = 2; ; number += 1) if (!taken.includes(`${stem} ${number}`)) return `${stem} ${number}`;
}

function withFiles(project: Project, files: readonly (ProjectFile | DeletedFile)[]): Project {
  return { ...project, files: [...files].sort((a, b) => (a.path < b.path ? -1 : 1)) };
}

function isBelowDeleted(project: Project, path: string): boolean {
  return project.files.some((file) => file.kind === "deleted" && path.startsWith(`${file.path}/`));
}

function row(file: ProjectFile, origin: FileRow["origin"]): FileRow {
  const { path, kind, mode } = file;
  const base = { path, kind, origin, mode, size: file.kind === "file" ? file.content.length : 0 };
  return file.kind === "symlink" ? { ...base, target: file.target } : base;
}

export function sameFile(a: ProjectFile | DeletedFile, b: ProjectFile | DeletedFile | undefined): boolean {
  // Versions share what they have in common: nearly always there is nothing to compare byte by byte.
  if (a === b) return true;
  if (!b || a.kind !== b.kind || a.path !== b.path) return false;
  if (a.kind === "deleted" || b.kind === "deleted") return true;
  if (
    a.mode !== b.mode ||
    (a.uid ?? 0) !== (b.uid ?? 0) ||
    (a.gid ?? 0) !== (b.gid ?? 0) ||
    (a.mtime ?? 0) !== (b.mtime ?? 0)
  )
    return false;
  if (a.kind === "file" && b.kind === "file")
    return (
      a.content === b.content ||
      (a.content.length === b.content.length && a.content.every((byte, index) => byte === b.content[index]))
    );
  if (a.kind === "symlink" && b.kind === "symlink") return a.target === b.target;
  if (a.kind === "device" && b.kind === "device")
    return a.device === b.device && a.major === b.major && a.minor === b.minor;
  return true;
}
