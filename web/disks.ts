/**
 * The disks of the open project: what a person or a script does with them. Which disks there are and where they are plugged
 * in the project says; what is on them lies in the disk store.
 */
import type { Builder } from "./builder.ts";
import { formatImage } from "./disk-build.ts";
import { createDiskContents, type DiskContents } from "./disk-contents.ts";
import { createDiskFiles, type DiskFiles } from "./disk-files.ts";
import { createDiskRows } from "./disk-rows.ts";
import type { DiskStore } from "./disk-store.ts";
import { createDiskWorks } from "./disk-work.ts";
import { createFrozenDisks, dropOrphans, type FrozenDisks } from "./frozen-disks.ts";
import { newId } from "./library.ts";
import { createMachineDisks, type MachineDisks } from "./machine-disks.ts";
import { type Project, ProjectError } from "./project.ts";
import {
  addDisk,
  attachDisk,
  bringBack,
  changeDisk,
  checkDisk,
  diskName,
  dropDisk,
  FSTAB,
  findDisk,
  newDataDisk,
  type ProjectDisk,
  withFstabLine,
  withoutFstabLine,
} from "./project-disks.ts";
import type { DiskFileSystem, DiskRow, Drive, Store } from "./state.ts";
import { createSystemDisk, type SystemDiskWish } from "./system-disk.ts";
import { textOf } from "./text.ts";
import type { Workspace } from "./workspace.ts";

export interface DiskWish {
  name: string;
  /** In MiB. */
  sizeMb: number;
  /** ext4 when it is not given. */
  fileSystem?: DiskFileSystem;
  label?: string;
  /** A directory at which the guest mounts it at every start. */
  mountAt?: string | null;
}

/** Disks are named by id or name. All of these reject with an Error with a sentence for the user. */
export interface Disks extends DiskFiles, DiskContents, FrozenDisks, Pick<MachineDisks, "plugIn"> {
  list(): DiskRow[];
  create(wish: DiskWish): Promise<DiskRow>;
  attach(id: string, drive: Drive | null): Promise<DiskRow>;
  detach(id: string): Promise<DiskRow>;
  duplicate(id: string): Promise<DiskRow>;
  rename(id: string, name: string): Promise<DiskRow>;
  /** @returns a function that brings it back, for a minute */
  remove(id: string): Promise<() => void>;
  /** @param wish what of the disk's settings changes first */
  buildSystemDisk(wish?: Partial<SystemDiskWish>): Promise<DiskRow>;
  setSystemDisk(wish: Partial<SystemDiskWish>): void;
  reset(id: string): Promise<DiskRow>;
  merge(id: string): Promise<DiskRow>;
  cancel(id: string): void;
  /** The open project is another one, or has changed. */
  refresh(): void;
}

export interface DisksParts {
  store: Store;
  workspace: Workspace;
  builder: Builder;
  /** Rejects when the browser has no storage for disks. */
  opened: Promise<DiskStore>;
  /** The ids of all disks of all projects, also of those that can still be brought back; null: they are not known. */
  knownIds(): ReadonlySet<string> | null;
  /** The guest saw an I/O error, or a disk is one to read only. */
  onProblem(sentence: string): void;
}

const MIB = 1024 * 1024;
/** What is removed can be brought back for this long. */
const UNDO_MS = 60_000;

export function createDisks(parts: DisksParts): Disks {
  const { store, workspace, builder, opened, onProblem } = parts;
  const text = () => textOf(store.state.language).diskWork;
  let openId: string | null = null;

  const works = createDiskWorks({ text, onProgress: () => rows.show(), onEnd: (id) => rows.renew(id) });
  const systemDisk = createSystemDisk({ workspace, builder, opened, worded: works.worded, text });
  const rows = createDiskRows({
    ...{ store, workspace, builder, opened },
    systemDisk: systemDisk.shown,
    workOf: works.of,
    driveOf: (id) => machine.of(id)?.drive,
  });
  const known = { workspace, builder, opened, systemDisk, rows, works, text };
  const machine = createMachineDisks({ ...known, onProblem });

  const find = (id: string): ProjectDisk => {
    const system = systemDisk.shown();
    return id === system.id || id === system.name ? systemDisk.own() : findDisk(workspace.project, id);
  };
  const free = (disk: ProjectDisk): ProjectDisk => {
    if (machine.of(disk.id)) throw new ProjectError(text().inUse(disk.name));
    return disk;
  };
  const rowOf = (id: string): DiskRow => rows.row(find(id));
  const refuseTaken = (name: string, id?: string): void => {
    if (workspace.project.disks.some((other) => other.id !== id && other.name === name))
      throw new ProjectError(text().nameTaken(name));
  };
  const buildSystemDisk = async (wish: Partial<SystemDiskWish> = {}): Promise<DiskRow> => {
    free(systemDisk.own());
    systemDisk.set(wish);
    const disk = systemDisk.own();
    await works.run(disk, "build", disk.sizeMb * MIB, ({ signal }) =>
      systemDisk.build(disk, { signal, onProgress: () => {} }),
    );
    return rowOf(disk.id);
  };

  // What a page left behind that was closed between making a disk and noting it, or before what was removed was gone.
  void opened.then(
    (disks) => dropOrphans(disks, (id) => parts.knownIds()?.has(id) ?? true),
    () => {},
  );

  return {
    ...createDiskFiles({ ...known, find, free, rowOf }),
    ...createDiskContents({ ...known, find, free, rowOf, buildSystemDisk }),
    ...createFrozenDisks({ ...known, machine }),
    list: rows.list,
    plugIn: machine.plugIn,
    buildSystemDisk,
    setSystemDisk: systemDisk.set,
    cancel: works.cancel,

    async create({ name: wanted, sizeMb, fileSystem = "ext4", label = "", mountAt = null }) {
      checkDisk({ name: wanted, sizeMb, fileSystem, label });
      const name = wanted.trim();
      refuseTaken(name);
      const disk = newDataDisk(newId(), { name, fileSystem, label, sizeMb });
      const add = (project: Project): Project => {
        const added = addDisk(project, disk);
        return mountAt === null ? added : attachDisk(added, disk.id, null);
      };
      // Where it is plugged in decides how fstab names it.
      const mount = (project: Project): string | null =>
        mountAt === null ? null : withFstabLine(workspace.readText(FSTAB), findDisk(project, disk.id), mountAt);
      // What does not go is refused before anything is made.
      mount(add(workspace.project));
      const disks = await opened;
      const image = await formatImage(builder, { fileSystem, sizeBytes: sizeMb * MIB, label });
      await works.worded(disk, disks.put(disk.id, image.size, image.extents));
      workspace.setDisks(add);
      const fstab = mount(workspace.project);
      if (fstab !== null) workspace.write(FSTAB, fstab);
      await rows.lookInto([disk.id]);
      return rowOf(disk.id);
    },

    async attach(id, drive) {
      const disk = find(id);
      workspace.setDisks((project) => attachDisk(project, disk.id, drive));
      return rowOf(disk.id);
    },
    async detach(id) {
      const disk = find(id);
      if (disk.kind === "system") throw new ProjectError(text().systemStays);
      workspace.setDisks((project) => changeDisk(project, disk.id, { drive: null }));
      return rowOf(disk.id);
    },

    async duplicate(id) {
      const disk = free(find(id));
      const disks = await opened;
      const { label, sizeMb } = disk;
      const name = diskName(workspace.project, disk.name);
      const fileSystem = disk.kind === "system" ? "partitions" : disk.fileSystem;
      const copy = newDataDisk(newId(), { name, fileSystem, label, sizeMb });
      await works.worded(disk, disks.duplicate(disk.id, copy.id));
      workspace.setDisks((project) => addDisk(project, copy));
      await rows.lookInto([copy.id]);
      return rows.row(copy);
    },

    async rename(id, name) {
      const disk = find(id);
      const wanted = name.trim();
      if (wanted === "") throw new ProjectError(text().nameMissing);
      refuseTaken(wanted, disk.id);
      workspace.setDisks((project) => changeDisk(project, disk.id, { name: wanted }));
      return rowOf(disk.id);
    },

    async remove(id) {
      const disk = free(find(id));
      const disks = await opened;
      const fstab = workspace.readText(FSTAB);
      const without = disk.kind === "data" && disk.drive !== null ? withoutFstabLine(fstab, disk.drive) : fstab;
      workspace.setDisks((project) => dropDisk(project, disk.id));
      if (without !== fstab) workspace.write(FSTAB, without);
      let canReturn = true;
      const destroy = setTimeout(() => {
        canReturn = false;
        void disks.remove(disk.id).then(
          () => rows.look([disk.id]),
          () => {},
        );
      }, UNDO_MS);
      return () => {
        clearTimeout(destroy);
        if (!canReturn) throw new ProjectError(text().goneForGood(disk.name));
        canReturn = false;
        workspace.setDisks((project) => bringBack(project, disk));
        const isAtPlace = findDisk(workspace.project, disk.id).drive === disk.drive;
        if (without !== fstab && isAtPlace && workspace.readText(FSTAB) === without) workspace.write(FSTAB, fstab);
        void rows.look([disk.id]);
      };
    },

    async reset(id) {
      const disk = free(find(id));
      await works.worded(disk, (await opened).reset(disk.id));
      await rows.renew(disk.id);
      return rowOf(disk.id);
    },
    async merge(id) {
      const disk = free(find(id));
      const disks = await opened;
      await works.run(disk, "merge", rows.sizes(disk.id).storedBytes, (work) => disks.merge(disk.id, work));
      return rowOf(disk.id);
    },

    refresh() {
      const { id, disks } = workspace.project;
      rows.show();
      if (id === openId) return;
      openId = id;
      void rows.lookInto(disks.map((disk) => disk.id));
    },
  };
}
