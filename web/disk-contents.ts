/** Whole disks, as they come in from outside and go out: images, and what a project's file brings along or takes with it. */
import type { Extent } from "../worker/api.ts";
import { fileExtents, rawBlob, unzippedExtents } from "./disk-image.ts";
import type { DiskRows } from "./disk-rows.ts";
import type { DiskStore } from "./disk-store.ts";
import type { StoredImage } from "./disk-stored-image.ts";
import type { DiskWorks } from "./disk-work.ts";
import { newId } from "./library.ts";
import { ProjectError } from "./project.ts";
import {
  addDisk,
  changeDisk,
  diskName,
  dropDisk,
  MAX_DISK_MB,
  newDataDisk,
  type ProjectDisk,
} from "./project-disks.ts";
import type { DiskRow } from "./state.ts";
import type { SystemDisk } from "./system-disk.ts";
import type { enDiskWork } from "./text/en-disk-work.ts";
import type { Workspace } from "./workspace.ts";

/** All of these reject with an Error with a sentence for the user. */
export interface DiskContents {
  /** A raw image, which may be gzipped. */
  importFile(file: Blob, name: string): Promise<DiskRow>;
  /** The raw image. @param id or name */
  exportRaw(id: string): Promise<Blob>;
  /** Stores the content of a disk that a new project is to have. @throws Error when there is no room */
  putContent(id: string, size: () => number, extents: AsyncIterable<Extent>, signal: AbortSignal): Promise<void>;
  /** Of a project that has not come to be. */
  dropContent(id: string): Promise<void>;
  /** Reads the disks that have a content, all at once. @throws Error when the machine has one of them */
  withContents<T>(use: (stored: readonly StoredContent[]) => Promise<T>): Promise<T>;
  /** Reads the system disk, which is built when there is none. @throws Error when the machine has it */
  withSystemDisk<T>(signal: AbortSignal, use: (image: StoredImage) => Promise<T>): Promise<T>;
  /** Copies the contents of one project's disks for another, and says which disks that one has then. */
  duplicateAll(disks: readonly ProjectDisk[]): Promise<ProjectDisk[]>;
}

export interface StoredContent {
  id: string;
  storedBytes: number;
  image: StoredImage;
}

export interface DiskContentsParts {
  workspace: Workspace;
  opened: Promise<DiskStore>;
  systemDisk: SystemDisk;
  rows: DiskRows;
  works: DiskWorks;
  /** @throws ProjectError when there is no such disk */
  find(id: string): ProjectDisk;
  /** @returns the disk. @throws ProjectError when the machine has it */
  free(disk: ProjectDisk): ProjectDisk;
  /** The row of a disk as the project has it now. */
  rowOf(id: string): DiskRow;
  buildSystemDisk(): Promise<unknown>;
  text(): typeof enDiskWork;
}

const MIB = 1024 * 1024;

export function createDiskContents(parts: DiskContentsParts): DiskContents {
  const { workspace, opened, systemDisk, rows, works, find, free, rowOf, buildSystemDisk, text } = parts;
  return {
    async importFile(file, name) {
      const disks = await opened;
      const isZipped = await startsWithGzip(file);
      if (file.size === 0) throw new ProjectError(text().emptyFile(name));
      if (file.size > MAX_DISK_MB * MIB) throw new ProjectError(text().tooLarge(name));
      const disk = newDataDisk(newId(), {
        name: diskName(workspace.project, name.replace(/\.gz$/i, "").replace(/\.(img|raw|bin)$/i, "")),
        fileSystem: "unknown",
        label: "",
        sizeMb: Math.max(1, Math.ceil(file.size / MIB)),
      });
      workspace.setDisks((project) => addDisk(project, disk));
      try {
        await works.run(disk, "import", file.size, async (work) => {
          const { extents, size } = isZipped
            ? unzippedExtents(file, work.signal)
            : { extents: fileExtents(file), size: () => file.size };
          await disks.put(disk.id, size, extents, work);
        });
        const found = await rows.inspect(disk.id).catch(() => null);
        workspace.setDisks((project) =>
          changeDisk(project, disk.id, {
            sizeMb: Math.ceil(rows.sizes(disk.id).sizeBytes / MIB),
            ...(found ? { fileSystem: found.fileSystem, label: found.label } : {}),
          }),
        );
      } catch (error) {
        workspace.setDisks((project) => dropDisk(project, disk.id));
        throw error;
      }
      return rowOf(disk.id);
    },
    async exportRaw(id) {
      const disk = free(find(id));
      const disks = await opened;
      if (disk.kind === "system" && !(await disks.facts(disk.id))) await buildSystemDisk();
      return works.run(disk, "download", rows.sizes(disk.id).sizeBytes, (work) =>
        disks.read(disk.id, (image) => rawBlob(image.source.size, image.extents(work))),
      );
    },

    putContent: async (id, size, extents, signal) =>
      works.worded({ name: id }, (await opened).put(id, size, extents, { signal })),
    dropContent: async (id) => (await opened).remove(id),

    async withContents<T>(use: (stored: readonly StoredContent[]) => Promise<T>) {
      const disks = await opened.catch(() => null);
      const wanted: ProjectDisk[] = [];
      for (const disk of workspace.project.disks) if (disks && (await disks.facts(disk.id))) wanted.push(disk);
      for (const disk of wanted) free(disk);
      const stored: StoredContent[] = [];
      const readNext = async (): Promise<T> => {
        const disk = wanted[stored.length];
        if (!disk || !disks) return use(stored);
        return disks.read(disk.id, (image) => {
          stored.push({ id: disk.id, storedBytes: rows.sizes(disk.id).storedBytes, image });
          return readNext();
        });
      };
      return readNext();
    },
    async withSystemDisk(signal, use) {
      const disk = free(systemDisk.own());
      const disks = await opened;
      if (!(await disks.facts(disk.id))) await buildSystemDisk();
      signal.throwIfAborted();
      return disks.read(disk.id, use);
    },
    async duplicateAll(all) {
      const disks = await opened;
      const copies: ProjectDisk[] = [];
      for (const disk of all) {
        const id = newId();
        if (await disks.facts(disk.id)) await disks.duplicate(disk.id, id);
        copies.push({ ...disk, id });
      }
      return copies;
    },
  };
}

async function startsWithGzip(file: Blob): Promise<boolean> {
  const [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  return first === 0x1f && second === 0x8b;
}
