/** What the builder is asked to make for disks. All of it rejects with an Error with the builder's sentence. */
import type { BuildFailure, BuildProgress, ComposedImage, SparseImage } from "../worker/api.ts";
import type { BlockSource } from "../worker/format/sparse-image.ts";
import type { Builder } from "./builder.ts";
import { type LongWork, withFiles } from "./disk-image.ts";
import type { Pieces } from "./disk-rewrite.ts";
import type { PlacedFile } from "./placed-files.ts";
import type { Project } from "./project.ts";
import type { ProjectDisk } from "./project-disks.ts";
import type { DiskFileSystem } from "./state.ts";

/** An empty file system, a swap area, or nothing but zeros. */
export async function formatImage(
  builder: Builder,
  { fileSystem, sizeBytes, label }: { fileSystem: DiskFileSystem; sizeBytes: number; label: string },
  { signal }: LongWork = {},
): Promise<SparseImage> {
  if (fileSystem === "empty") return { size: sizeBytes, extents: [] };
  const identity = { uuid: newUuid(), label, time: now() };
  return imageOf(await builder.formatDisk({ fileSystem, sizeBytes, identity }, signal ? { signal } : {}));
}

/** A disk that boots the project. */
export async function systemImage(
  builder: Builder,
  project: Project,
  disk: ProjectDisk,
  options: { signal: AbortSignal; onProgress(progress: BuildProgress): void },
): Promise<SparseImage> {
  const request = {
    overlay: project.files,
    sizeMb: disk.sizeMb,
    fileSystem: disk.fileSystem as "ext2" | "ext3" | "ext4",
    commandLine: project.commandLine,
    label: disk.label,
    ...(disk.swapMb ? { swapMb: disk.swapMb } : {}),
    ...(project.kernel ? { kernel: project.kernel.content } : {}),
  };
  return imageOf(await builder.buildDisk(request, options));
}

export interface DiskChange {
  sizeBytes?: number;
  /** Files that come into a directory. */
  put?: { directory: string; files: readonly PlacedFile[] };
  /** The path of what goes. */
  remove?: string;
}

/** What becomes of a disk, out of what is on it, which is source 0 of the pieces. */
export async function changedImage(
  builder: Builder,
  source: BlockSource,
  { sizeBytes = source.size, put, remove }: DiskChange,
  { signal }: { signal: AbortSignal },
): Promise<{ size: number; pieces: Pieces }> {
  const files = put?.files ?? [];
  const named = files.map(({ path, file }) => ({
    name: path,
    size: file.size,
    mtime: Math.floor(file.lastModified / 1000),
  }));
  const request = {
    sizeBytes,
    time: now(),
    ...(put ? { put: { directory: put.directory, files: named } } : {}),
    ...(remove === undefined ? {} : { remove }),
  };
  const { size, pieces } = imageOf<ComposedImage>(await builder.rebuildDisk(source, request, { signal }));
  return {
    size,
    pieces: withFiles(
      pieces,
      files.map(({ file }) => file),
    ),
  };
}

function imageOf<Image>(result: { ok: true; image: Image } | BuildFailure): Image {
  if (!result.ok) throw new Error(result.problem);
  return result.image;
}

function now(): number {
  return Math.floor(Date.now() / 1000);
}

/** RFC 9562, version 4. */
function newUuid(): Uint8Array {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  return bytes;
}
