/** What is on a disk that the machine has not got: its files, and its size, which is changed around them. */
import type { Builder } from "./builder.ts";
import { changedImage, type DiskChange, formatImage } from "./disk-build.ts";
import { type LongWork, rawBlob, readPieces } from "./disk-image.ts";
import type { DiskRows } from "./disk-rows.ts";
import type { DiskStore } from "./disk-store.ts";
import type { DiskWorks } from "./disk-work.ts";
import type { PlacedFile } from "./placed-files.ts";
import { ProjectError } from "./project.ts";
import { changeDisk, checkSize, MAX_DISK_MB, type ProjectDisk } from "./project-disks.ts";
import type { DiskEntry, DiskRow } from "./state.ts";
import type { enDiskWork } from "./text/en-disk-work.ts";
import type { Workspace } from "./workspace.ts";

/** Disks are named by id or name. All of these reject with an Error with a sentence for the user. */
export interface DiskFiles {
  entries(id: string, path: string): Promise<DiskEntry[]>;
  /** A file's content, as the browser's to keep: a large one takes no memory of the page. */
  extract(id: string, path: string): Promise<Blob>;
  /** Directories that the files' paths name and that are missing are made. */
  putFiles(id: string, directory: string, files: readonly PlacedFile[]): Promise<void>;
  removeEntry(id: string, path: string): Promise<void>;
  resize(id: string, sizeMb: number): Promise<DiskRow>;
}

export interface DiskFilesParts {
  workspace: Workspace;
  builder: Builder;
  opened: Promise<DiskStore>;
  rows: DiskRows;
  works: DiskWorks;
  /** @throws ProjectError when there is no such disk */
  find(id: string): ProjectDisk;
  /** @returns the disk. @throws ProjectError when the machine has it */
  free(disk: ProjectDisk): ProjectDisk;
  /** The row of a disk as the project has it now. */
  rowOf(id: string): DiskRow;
  text(): typeof enDiskWork;
}

const MIB = 1024 * 1024;
/** A file that is not larger is pulled out before there is any progress to show. */
const AT_ONCE_BYTES = 32 * MIB;

export function createDiskFiles(parts: DiskFilesParts): DiskFiles {
  const { workspace, builder, opened, rows, works, find, free, rowOf, text } = parts;

  const rebuild = async (disk: ProjectDisk, change: DiskChange, work: Required<LongWork>): Promise<void> =>
    (await opened).rewrite(disk.id, ({ source }) => changedImage(builder, source, change, work), work);
  const change = async (id: string, wish: DiskChange): Promise<void> => {
    const disk = free(find(id));
    await works.run(disk, "copy", disk.sizeMb * MIB, (work) => rebuild(disk, wish, work));
  };
  const resizeContent = async (
    disk: ProjectDisk,
    from: number,
    sizeBytes: number,
    work: Required<LongWork>,
  ): Promise<void> => {
    const disks = await opened;
    const { fileSystem } = await rows.inspect(disk.id);
    if (fileSystem === "swap") {
      const image = await formatImage(builder, { fileSystem, sizeBytes, label: disk.label }, work);
      await disks.put(disk.id, image.size, image.extents, work);
    } else if (fileSystem === "empty" || (fileSystem === "unknown" && sizeBytes >= from))
      await disks.resize(disk.id, sizeBytes);
    else if (fileSystem === "unknown") throw new ProjectError(text().cannotShrinkUnknown(disk.name));
    else await rebuild(disk, { sizeBytes }, work);
  };

  return {
    async entries(id, path) {
      const disk = free(find(id));
      return (await opened).read(disk.id, ({ source }) => builder.listDirectory(source, path));
    },
    async extract(id, path) {
      const disk = free(find(id));
      return (await opened).read(disk.id, async ({ source }) => {
        const { size, pieces } = await builder.locateDiskFile(source, path);
        if (size > MAX_DISK_MB * MIB) throw new ProjectError(text().fileTooLarge(path));
        if (size <= AT_ONCE_BYTES) return rawBlob(size, readPieces(source, pieces));
        return works.run(disk, "download", size, (work) => rawBlob(size, readPieces(source, pieces, work)));
      });
    },
    putFiles: (id, directory, files) => change(id, { put: { directory, files } }),
    removeEntry: (id, path) => change(id, { remove: path }),
    async resize(id, sizeMb) {
      const disk = free(find(id));
      checkSize(`Cannot resize ${disk.name}`, disk.fileSystem, sizeMb);
      const sizeBytes = sizeMb * MIB;
      const known = await (await opened).facts(disk.id);
      // A system disk that is not built yet will be as large when it is.
      if (known)
        await works.run(disk, "resize", sizeBytes, (work) => resizeContent(disk, known.sizeBytes, sizeBytes, work));
      workspace.setDisks((project) => changeDisk(project, disk.id, { sizeMb }));
      return rowOf(disk.id);
    },
  };
}
