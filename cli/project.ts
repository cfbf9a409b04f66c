/** Projects on this machine: bundles, folders into which one was unpacked, folders of files, and bare kernels. */
import { existsSync, statSync } from "node:fs";
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { DEFAULT_COMMAND_LINE, DEFAULT_MEMORY_MB } from "../web/project.ts";
import type { CustomKernel, ProjectFile } from "../worker/api.ts";
import { type BundleExtra, openBundle, SNAPSHOT } from "../worker/bundle.ts";
import { isBzImage } from "../worker/format/bzimage.ts";
import type { DiskStream } from "../worker/format/disk-stream.ts";
import { FormatError, quote } from "../worker/format/file-tree.ts";
import { openDisk, openKernel, partsOf } from "../worker/import.ts";
import { checkSharedPath, checkTarget, decodeProject, type SharedProject } from "../worker/shared-project.ts";
import { openFile } from "./files.ts";
import { CliError } from "./problem.ts";

/** Tells a kernel. */
const START_BYTES = 1024;

export interface LoadedProject {
  project: SharedProject;
  /** Contents by the disks' ids. */
  disks: Map<string, DiskStream>;
  /** What else a bundle has, to be read once: a saved machine. */
  extras: BundleExtra[];
  close(): Promise<void>;
}

/**
 * @param kernelPath a bzImage in place of the project's own kernel, or of the built one
 * @throws FormatError, CliError
 */
export async function loadProject(path: string | undefined, kernelPath?: string): Promise<LoadedProject> {
  const loaded = await load(path);
  if (kernelPath === undefined) return loaded;
  return { ...loaded, project: { ...loaded.project, kernel: await readKernel(kernelPath) } };
}

async function load(path: string | undefined): Promise<LoadedProject> {
  if (path === undefined)
    return { project: emptyProject("smart-os"), disks: new Map(), extras: [], close: async () => {} };
  if (!existsSync(path)) throw new CliError(`Cannot read ${path}: there is no such file or folder`);
  if (statSync(path).isDirectory())
    return existsSync(join(path, "project.json")) ? loadUnpacked(path) : loadFiles(path);
  const file = await openFile(path);
  if (isBzImage(await file.read(0, Math.min(file.size, START_BYTES)))) {
    await file.close();
    const project = { ...emptyProject(basename(path)), kernel: await readKernel(path) };
    return { project, disks: new Map(), extras: [], close: async () => {} };
  }
  const bundle = await openBundle(file, { name: basename(path) });
  const disks = new Map(bundle.disks.map((disk) => [disk.disk.id, disk]));
  const extras = bundle.extras.map(({ name, content }) => ({ name, content: content() }));
  return { project: bundle.project, disks, extras, close: () => file.close() };
}

function emptyProject(name: string): SharedProject {
  return {
    ...{ version: 1, name, files: [], components: [], commandLine: DEFAULT_COMMAND_LINE },
    ...{ memoryMb: DEFAULT_MEMORY_MB, disks: [], network: { relay: null }, createdAt: 0, updatedAt: 0 },
  };
}

/** project.json has modes and owners; unpacking needs no root. */
async function loadUnpacked(folder: string): Promise<LoadedProject> {
  const what = `Cannot open ${quote(folder)}`;
  const { project, disks, kernel: kernelMember } = decodeProject(await readFile(join(folder, "project.json")), what);
  const files = await Promise.all(
    project.files.map(async (file) => {
      if (file.kind !== "file") return file;
      const content = await readFile(join(folder, "files", file.path)).catch(() => {
        throw new FormatError(`${what}: the content of ${quote(file.path)} is not in files/`, file.path);
      });
      return { ...file, content: new Uint8Array(content) };
    }),
  );
  const open: { close(): Promise<void> }[] = [];
  const contents = new Map<string, DiskStream>();
  for (const { id, content } of disks) {
    if (content === undefined) continue;
    const source = await openFile(join(folder, content));
    open.push(source);
    contents.set(id, await openDisk(source, { name: content }));
  }
  const close = async (): Promise<void> => void (await Promise.all(open.map((file) => file.close())));
  const kernel = kernelMember === null ? {} : { kernel: await readKernel(join(folder, kernelMember)) };
  const extras: BundleExtra[] = [];
  if (existsSync(join(folder, SNAPSHOT))) {
    const source = await openFile(join(folder, SNAPSHOT));
    open.push(source);
    extras.push({ name: SNAPSHOT, content: partsOf(source) });
  }
  return { project: { ...project, files, ...kernel }, disks: contents, extras, close };
}

/** @throws FormatError, CliError */
export async function readKernel(path: string): Promise<CustomKernel> {
  const file = await openFile(path);
  try {
    return await openKernel(file, { name: basename(path) });
  } finally {
    await file.close();
  }
}

/** Everything in a folder, owned by root, under its path. Symlinks are kept, not followed. */
async function loadFiles(folder: string): Promise<LoadedProject> {
  const what = `Cannot open ${quote(folder)}`;
  const files: ProjectFile[] = [];
  const visit = async (path: string): Promise<void> => {
    for (const name of (await readdir(join(folder, path))).sort()) {
      const own = `${path}/${name}`;
      const place = join(folder, own);
      const status = await lstat(place);
      checkSharedPath(own, what);
      // Only that it may be executed is known to git and to other systems.
      const mode = status.mode & 0o100 ? 0o755 : 0o644;
      if (status.isSymbolicLink()) {
        const target = await readlink(place);
        checkTarget(own, target, what);
        files.push({ path: own, kind: "symlink", mode: 0o777, target });
      } else if (status.isDirectory()) {
        const before = files.length;
        await visit(own);
        if (files.length === before) files.push({ path: own, kind: "directory", mode: 0o755 });
      } else if (status.isFile())
        files.push({ path: own, kind: "file", mode, content: new Uint8Array(await readFile(place)) });
      else throw new FormatError(`${what}: ${quote(own)} is neither a file, nor a directory, nor a symlink`, own);
    }
  };
  await visit("");
  const project = emptyProject(basename(resolve(folder)));
  files.sort((a, b) => (a.path < b.path ? -1 : 1));
  return { project: { ...project, files }, disks: new Map(), extras: [], close: async () => {} };
}
