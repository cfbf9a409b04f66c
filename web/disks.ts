/**
 * The disks of the open project: what a person or a script does with them, the drives of a boot, and the rows that the
 * views show. What is on a disk lies in the disk store; the project says which disks there are and where they are
 * plugged in.
 */
import type { BuildProgress, DiskIdentity, DiskInspection, DiskResult, Extent } from "../worker/api.ts";
import type { Builder } from "./builder.ts";
import { xxh32 } from "./disk-checksum.ts";
import type { DiskDrive, DriveProblem } from "./disk-drive.ts";
import {
  type Extents,
  fileExtents,
  type LongWork,
  rawBlob,
  readPieces,
  unzippedExtents,
  withFiles,
} from "./disk-image.ts";
import { hasLocks } from "./disk-locks.ts";
import type { DiskContent } from "./disk-records.ts";
import type { DiskFacts, DiskStore } from "./disk-store.ts";
import type { StoredImage } from "./disk-stored-image.ts";
import type { DriveDevice } from "./drives.ts";
import { emptyDrive } from "./drives.ts";
import { newId } from "./library.ts";
import { type Project, ProjectError, SYSTEM_DISK } from "./project.ts";
import {
  addDisk,
  attachDisk,
  changeDisk,
  checkDisk,
  checkSize,
  checkSwap,
  diskName,
  dropDisk,
  FSTAB,
  findDisk,
  MAX_DISK_MB,
  type ProjectDisk,
  replaceDisk,
  withFstabLine,
  withoutFstabLine,
  withSwap,
} from "./project-disks.ts";
import { isQuota } from "./quota.ts";
import type { Plugged } from "./session.ts";
import type { BootMode, DiskEntry, DiskFileSystem, DiskRow, Drive, Store } from "./state.ts";
import { DRIVES } from "./state.ts";
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

export interface SystemDiskWish {
  /** Of the whole disk, in MiB. */
  sizeMb: number;
  fileSystem: "ext2" | "ext3" | "ext4";
  /** Of a second partition for swap, in MiB, which the size includes; 0: there is none. */
  swapMb: number;
}

/** All of these reject with an Error with a sentence for the user. */
export interface Disks {
  list(): DiskRow[];
  create(wish: DiskWish): Promise<DiskRow>;
  attach(id: string, drive: Drive | null): Promise<DiskRow>;
  detach(id: string): Promise<DiskRow>;
  resize(id: string, sizeMb: number): Promise<DiskRow>;
  duplicate(id: string): Promise<DiskRow>;
  rename(id: string, name: string): Promise<DiskRow>;
  /** @returns a function that brings it back, for a minute */
  remove(id: string): Promise<() => void>;
  importFile(file: Blob, name: string): Promise<DiskRow>;
  /** The raw image. */
  exportRaw(id: string): Promise<Blob>;
  /** @param wish what of the disk's settings changes first */
  buildSystemDisk(wish?: Partial<SystemDiskWish>): Promise<DiskRow>;
  setSystemDisk(wish: Partial<SystemDiskWish>): void;
  reset(id: string): Promise<DiskRow>;
  merge(id: string): Promise<DiskRow>;
  cancel(id: string): void;
  entries(id: string, path: string): Promise<DiskEntry[]>;
  /** A file's content, as the browser's to keep: a large one takes no memory of the page. */
  extract(id: string, path: string): Promise<Blob>;
  putFiles(id: string, directory: string, files: readonly File[]): Promise<void>;
  removeEntry(id: string, path: string): Promise<void>;
  /** Stores the content of a disk that a new project is to have. @throws Error when there is no room */
  putContent(id: string, size: () => number, extents: AsyncIterable<Extent>, signal: AbortSignal): Promise<void>;
  /** Of a project that has not come to be. */
  dropContent(id: string): Promise<void>;
  /** Reads the disks that have a content, all at once. @throws Error when the machine has one of them */
  withContents<T>(use: (stored: { id: string; storedBytes: number; image: StoredImage }[]) => Promise<T>): Promise<T>;
  /** Reads the system disk, which is built when there is none. @throws Error when the machine has it */
  withSystemDisk<T>(signal: AbortSignal, use: (image: StoredImage) => Promise<T>): Promise<T>;
  /** The drives of a boot; they are the machine's until they are closed. */
  plugIn(mode: BootMode, options: { signal: AbortSignal; onProgress(progress: BuildProgress): void }): Promise<Plugged>;
  /**
   * Keeps what is on the running machine's disks just now, which must be at rest.
   * @param key tells these copies from others; null for none, when nothing will be written to the disks any more
   * @throws Error when a disk is one to read only
   */
  freeze(key: string | null): Promise<FrozenDisk[]>;
  /** The same without copies and at once. */
  contents(): FrozenDisk[];
  /** The names of the disks that something else has been written to since. */
  movedOn(frozen: readonly FrozenDisk[]): Promise<string[]>;
  /** Why the disks cannot be brought back just now, in words; null when they can. */
  hindrance(frozen: readonly FrozenDisk[]): Promise<string | null>;
  /** The drives of a machine that goes on where it was saved: brings back what was on the disks, where it is not on them. */
  plugFrozen(frozen: readonly FrozenDisk[]): Promise<Plugged>;
  /** Lets somebody read what was on a saved machine's disk. @throws Error when it is not kept */
  readFrozen<T>(frozen: FrozenDisk, use: (image: StoredImage) => Promise<T>): Promise<T>;
  /** Keeps what comes from elsewhere as a disk of a saved machine; a disk that this project does not have gets an id of its own. */
  putFrozen(key: string, frozen: FrozenDisk, sizeBytes: number, extents: Extents, diskId?: string): Promise<FrozenDisk>;
  /** Gives the space of copies back. */
  dropFrozen(key: string, frozen: readonly FrozenDisk[]): Promise<void>;
  /** The keys of which there are copies older than an hour. */
  oldKeys(): Promise<string[]>;
  /** Gives the space of a key's copies back, whatever is left of them. */
  dropKey(key: string): Promise<void>;
  /** Copies the contents of one project's disks for another, and says which disks that one has then. */
  duplicateAll(disks: readonly ProjectDisk[]): Promise<ProjectDisk[]>;
  /** The open project is another one, or has changed. */
  refresh(): void;
}

/** A disk of a saved machine. */
export interface FrozenDisk {
  /** The project's disk, as it was then. */
  disk: ProjectDisk;
  /** Where it was plugged in: 0 is sda. */
  slot: number;
  /** The disk that keeps the content; null when there is none, and the content must still be there. */
  copyId: string | null;
  content: DiskContent;
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
/** A disk that no project has is taken for one that is just being made until then. */
const ORPHAN_MS = 3600_000;
/** Between a disk's id and the key of what keeps its content. */
const COPY = "@";
const copyIdOf = (id: string, key: string): string => id + COPY + key;
const HANDOVER_MS = 2000;
/** A file that is not larger is pulled out before there is any progress to show. */
const AT_ONCE_BYTES = 32 * MIB;
const NO_FACTS: DiskFacts = { sizeBytes: 0, storedBytes: 0, changed: false, createdAt: 0 };

export function createDisks(parts: DisksParts): Disks {
  const { store, workspace, builder, opened } = parts;
  const text = () => textOf(store.state.language).diskWork;
  const facts = new Map<string, DiskFacts>();
  /** What is on the disks that nobody uses. */
  const seen = new Map<string, DiskInspection>();
  const problems = new Map<string, string>();
  const works = new Map<string, { work: NonNullable<DiskRow["work"]>; abort: AbortController }>();
  const removed = new Map<string, ReturnType<typeof setTimeout>>();
  let plugged = new Map<string, { writable: boolean; disk: ProjectDisk; slot: number; drive: DiskDrive }>();
  let elsewhere = new Set<string>();
  let lastPlugged: Promise<void> = Promise.resolve();
  let openId: string | null = null;

  const row = (disk: ProjectDisk): DiskRow => {
    const known = facts.get(disk.id);
    const mine = plugged.get(disk.id);
    const isBuilt = known !== undefined;
    return {
      id: disk.id,
      name: disk.name,
      kind: disk.kind,
      sizeBytes: known?.sizeBytes ?? disk.sizeMb * MIB,
      storedBytes: known?.storedBytes ?? 0,
      usedBytes: mine ? null : (seen.get(disk.id)?.usedBytes ?? null),
      fileSystem: disk.kind === "data" ? (seen.get(disk.id)?.fileSystem ?? disk.fileSystem) : disk.fileSystem,
      label: seen.get(disk.id)?.label ?? disk.label,
      swapMb: disk.swapMb ?? 0,
      drive: disk.drive,
      inUse: mine !== undefined,
      build:
        disk.kind === "data"
          ? null
          : !isBuilt
            ? "unbuilt"
            : disk.builtFrom === fingerprint(workspace.project, disk)
              ? "current"
              : "stale",
      changed: known?.changed ?? false,
      readOnly: mine ? !mine.writable : elsewhere.has(disk.id),
      work: works.get(disk.id)?.work ?? null,
      problem: problems.get(disk.id) ?? null,
    };
  };
  const list = (): DiskRow[] => {
    const { disks } = workspace.project;
    const system = disks.find(({ kind }) => kind === "system");
    return [system ?? newSystemDisk(), ...disks.filter(({ kind }) => kind !== "system")].map(row);
  };
  const emit = (): void => store.update((state) => ({ ...state, disks: list() }));

  const newSystemDisk = (): ProjectDisk => ({
    id: `${workspace.project.id}-system`,
    name: text().systemDisk,
    kind: "system",
    ...SYSTEM_DISK,
    drive: DRIVES[0],
  });
  /** The project's system disk, which becomes one of its disks when it is first asked for. */
  const systemDisk = (): ProjectDisk => {
    const found = workspace.project.disks.find(({ kind }) => kind === "system");
    if (found) return found;
    const disk = newSystemDisk();
    workspace.setDisks((project) => addDisk(project, disk));
    return disk;
  };
  const find = (id: string): ProjectDisk => {
    const system = list()[0];
    return system && (id === system.id || id === system.name) ? systemDisk() : findDisk(workspace.project, id);
  };

  /** Reads what the store knows, and shows it. */
  const look = async (ids: readonly string[]): Promise<void> => {
    const disks = await opened.catch(() => null);
    if (!disks) return;
    for (const id of ids) {
      const known = await disks.facts(id).catch(() => null);
      if (known) facts.set(id, known);
      else facts.delete(id);
    }
    const { used: usedBytes = 0, total = 0 } = await estimate();
    store.update((state) => ({ ...state, quota: total > 0 ? { used: usedBytes, total } : null }));
    elsewhere = await heldElsewhere(plugged);
    emit();
  };
  /** How full a disk is, once the machine has nothing to do that somebody waits for. */
  const measure = async (ids: readonly string[]): Promise<void> => {
    for (const id of ids) {
      const disk = workspace.project.disks.find((candidate) => candidate.id === id);
      if (!disk || !facts.has(id) || plugged.has(id) || elsewhere.has(id) || works.has(id)) continue;
      const found = await inspect(id).catch(() => null);
      if (found) seen.set(id, found);
      else seen.delete(id);
    }
    emit();
  };
  const inspect = async (id: string): Promise<DiskInspection> => {
    const disks = await opened;
    return disks.read(id, ({ source }) => builder.inspectDisk(source));
  };

  /** Does something with a disk that takes its time. */
  const working = async <T>(
    disk: ProjectDisk,
    what: NonNullable<DiskRow["work"]>["what"],
    total: number,
    run: (work: Required<LongWork>) => Promise<T>,
  ): Promise<T> => {
    if (works.has(disk.id)) throw new ProjectError(text().busy(disk.name));
    const abort = new AbortController();
    const show = (done: number): void => {
      works.set(disk.id, { work: { what, done: Math.min(done, total), total }, abort });
      emit();
    };
    show(0);
    try {
      return await worded(disk, run({ signal: abort.signal, onProgress: throttle(show) }));
    } catch (error) {
      throw abort.signal.aborted ? new CancelledError(text().cancelled(disk.name)) : error;
    } finally {
      works.delete(disk.id);
      problems.delete(disk.id);
      await look([disk.id]);
      void measure([disk.id]);
    }
  };
  /** Says in words what the browser only has a name for. */
  const worded = async <T>(disk: Pick<ProjectDisk, "name">, work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      throw isQuota(error) ? new Error(text().full(disk.name)) : error;
    }
  };
  const free = (disk: ProjectDisk): void => {
    if (plugged.has(disk.id)) throw new ProjectError(text().inUse(disk.name));
  };

  const buildSystem = async (
    disk: ProjectDisk,
    signal: AbortSignal,
    onProgress: (progress: BuildProgress) => void,
  ): Promise<void> => {
    const disks = await opened;
    const { project } = workspace;
    const request = {
      overlay: project.files,
      sizeMb: disk.sizeMb,
      fileSystem: disk.fileSystem as "ext2" | "ext3" | "ext4",
      commandLine: project.commandLine,
      label: disk.label,
      ...(disk.swapMb ? { swapMb: disk.swapMb } : {}),
      ...(project.kernel ? { kernel: project.kernel.content } : {}),
    };
    const { image } = succeed(await builder.buildDisk(request, { signal, onProgress }));
    await worded(disk, disks.put(disk.id, image.size, image.extents, { signal }));
    workspace.setDisks((now) => changeDisk(now, disk.id, { builtFrom: fingerprint(project, disk) }));
  };

  /** Puts another content on a disk, made from what is on it. */
  const rebuild = async (
    disk: ProjectDisk,
    change: { sizeBytes?: number; put?: { directory: string; files: readonly File[] }; remove?: string },
    work: Required<LongWork>,
  ): Promise<void> => {
    const disks = await opened;
    const files = change.put?.files ?? [];
    const put = change.put && {
      directory: change.put.directory,
      files: files.map(({ name, size, lastModified }) => ({ name, size, mtime: Math.floor(lastModified / 1000) })),
    };
    await disks.rewrite(
      disk.id,
      async ({ source }) => {
        const request = {
          sizeBytes: change.sizeBytes ?? source.size,
          time: now(),
          ...(put ? { put } : {}),
          ...(change.remove === undefined ? {} : { remove: change.remove }),
        };
        const result = await builder.rebuildDisk(source, request, { signal: work.signal });
        if (!result.ok) throw new Error(result.problem);
        return { size: result.image.size, pieces: withFiles(result.image.pieces, files) };
      },
      work,
    );
  };

  /**
   * Opens the drives of a machine.
   * @param choose what is plugged in where; it is asked when the last machine has given its disks back
   */
  const plugAll = async (
    choose: () => Promise<readonly { disk: ProjectDisk; slot: number }[]>,
    isFrozen = false,
  ): Promise<Plugged> => {
    // Two machines of this page must not hold the same disk: the next one waits until the last has given it back.
    const before = lastPlugged;
    let given!: () => void;
    lastPlugged = new Promise((resolve) => {
      given = resolve;
    });
    await before;
    const open: { id: string; close(): Promise<void> }[] = [];
    const close = async (): Promise<void> => {
      await Promise.all(open.map((drive) => drive.close().catch(() => {})));
      given();
      plugged = new Map();
      const ids = open.map(({ id }) => id);
      if (ids.length > 0) void look(ids).then(() => measure(ids));
    };
    try {
      const drives: (DriveDevice | null)[] = [null, null, null, null];
      for (const { disk, slot } of await choose()) {
        const say = (problem: DriveProblem): void => report(disk, problem);
        const drive = await (await opened).open(disk.id, { onProblem: say, onWrite: () => void look([disk.id]) });
        open.push({ id: disk.id, close: () => drive.close() });
        drives[slot] = drive;
        plugged.set(disk.id, { writable: drive.writable, disk, slot, drive });
        // A machine that goes on may be about to write.
        if (!drive.writable && isFrozen) throw new Error(text().inUseElsewhere(disk.name));
        if (!drive.writable) parts.onProblem(text().openElsewhere(disk.name));
      }
      // Linux names drives in the order in which they are there: a gap would move those behind it.
      const last = drives.findLastIndex((drive) => drive !== null);
      for (let index = 0; index < last; index += 1) drives[index] ??= emptyDrive();
      if (open.length > 0) emit();
      return { drives, close };
    } catch (error) {
      await close();
      throw error;
    }
  };

  const importExtents = (file: Blob, isZipped: boolean, signal: AbortSignal) =>
    isZipped ? unzippedExtents(file, signal) : { extents: fileExtents(file), size: () => file.size };

  const api: Disks = {
    list,

    async create({ name, sizeMb, fileSystem = "ext4", label = "", mountAt = null }) {
      const wish = { name, sizeMb, fileSystem, label };
      checkDisk(wish);
      const { project } = workspace;
      if (project.disks.some((disk) => disk.name === name.trim()))
        throw new ProjectError(text().nameTaken(name.trim()));
      const disk: ProjectDisk = {
        id: newId(),
        name: name.trim(),
        kind: "data",
        fileSystem,
        label,
        sizeMb,
        drive: null,
      };
      // Where it is plugged in decides how fstab names it. What does not go is refused before anything is made.
      let next = addDisk(project, disk);
      if (mountAt !== null) {
        next = attachDisk(next, disk.id, null);
        withFstabLine(workspace.readText(FSTAB), findDisk(next, disk.id), mountAt);
      }
      const disks = await opened;
      const sizeBytes = sizeMb * MIB;
      const { image } =
        fileSystem === "empty"
          ? { image: { size: sizeBytes, extents: [] } }
          : succeed(await builder.formatDisk({ fileSystem, sizeBytes, identity: identity(label) }));
      await worded(disk, disks.put(disk.id, image.size, image.extents));
      workspace.setDisks((now) => {
        const added = addDisk(now, disk);
        return mountAt === null ? added : attachDisk(added, disk.id, null);
      });
      if (mountAt !== null) {
        const line = withFstabLine(workspace.readText(FSTAB), findDisk(workspace.project, disk.id), mountAt);
        workspace.write(FSTAB, line);
      }
      await look([disk.id]);
      void measure([disk.id]);
      return row(findDisk(workspace.project, disk.id));
    },

    async attach(id, drive) {
      const disk = find(id);
      workspace.setDisks((project) => attachDisk(project, disk.id, drive));
      return row(find(disk.id));
    },
    async detach(id) {
      const disk = find(id);
      if (disk.kind === "system") throw new ProjectError(text().systemStays);
      workspace.setDisks((project) => changeDisk(project, disk.id, { drive: null }));
      return row(find(disk.id));
    },

    async resize(id, sizeMb) {
      const disk = find(id);
      free(disk);
      checkSize(`Cannot resize ${disk.name}`, disk.fileSystem, sizeMb);
      const disks = await opened;
      const sizeBytes = sizeMb * MIB;
      const known = await disks.facts(disk.id);
      if (!known) {
        workspace.setDisks((project) => changeDisk(project, disk.id, { sizeMb }));
        return row(find(disk.id));
      }
      await working(disk, "resize", sizeBytes, async (work) => {
        const { fileSystem } = await inspect(disk.id);
        if (fileSystem === "swap") {
          const request = { fileSystem, sizeBytes, identity: identity(disk.label) } as const;
          const { image } = succeed(await builder.formatDisk(request, { signal: work.signal }));
          await disks.put(disk.id, image.size, image.extents, work);
        } else if (fileSystem === "empty" || (fileSystem === "unknown" && sizeBytes >= known.sizeBytes))
          await disks.resize(disk.id, sizeBytes);
        else if (fileSystem === "unknown") throw new ProjectError(text().cannotShrinkUnknown(disk.name));
        else await rebuild(disk, { sizeBytes }, work);
      });
      workspace.setDisks((project) => changeDisk(project, disk.id, { sizeMb }));
      return row(find(disk.id));
    },

    async duplicate(id) {
      const disk = find(id);
      free(disk);
      const disks = await opened;
      const copy: ProjectDisk = {
        id: newId(),
        name: diskName(workspace.project, disk.name),
        kind: "data",
        fileSystem: disk.kind === "system" ? "partitions" : disk.fileSystem,
        label: disk.label,
        sizeMb: disk.sizeMb,
        drive: null,
      };
      await worded(disk, disks.duplicate(disk.id, copy.id));
      workspace.setDisks((project) => addDisk(project, copy));
      await look([copy.id]);
      void measure([copy.id]);
      return row(copy);
    },

    async rename(id, name) {
      const disk = find(id);
      const wanted = name.trim();
      if (wanted === "") throw new ProjectError(text().nameMissing);
      if (workspace.project.disks.some((other) => other.id !== disk.id && other.name === wanted))
        throw new ProjectError(text().nameTaken(wanted));
      workspace.setDisks((project) => changeDisk(project, disk.id, { name: wanted }));
      return row(find(disk.id));
    },

    async remove(id) {
      const disk = find(id);
      free(disk);
      const disks = await opened;
      const fstab = workspace.readText(FSTAB);
      const without = disk.drive === null ? fstab : withoutFstabLine(fstab, disk.drive);
      workspace.setDisks((project) => dropDisk(project, disk.id));
      if (without !== fstab && disk.kind === "data") workspace.write(FSTAB, without);
      const destroy = (): void => {
        removed.delete(disk.id);
        facts.delete(disk.id);
        void disks.remove(disk.id).then(
          () => look([]),
          () => {},
        );
      };
      removed.set(disk.id, setTimeout(destroy, UNDO_MS));
      return () => {
        clearTimeout(removed.get(disk.id));
        if (!removed.delete(disk.id)) throw new ProjectError(text().goneForGood(disk.name));
        const isTaken = workspace.project.disks.some((other) => other.drive === disk.drive);
        workspace.setDisks((project) =>
          addDisk(project, { ...disk, name: diskName(project, disk.name), drive: isTaken ? null : disk.drive }),
        );
        if (without !== fstab && !isTaken && workspace.readText(FSTAB) === without) workspace.write(FSTAB, fstab);
        void look([disk.id]);
      };
    },

    async importFile(file, name) {
      const disks = await opened;
      const isZipped = await startsWithGzip(file);
      const disk: ProjectDisk = {
        id: newId(),
        name: diskName(workspace.project, name.replace(/\.gz$/i, "").replace(/\.(img|raw|bin)$/i, "")),
        kind: "data",
        fileSystem: "unknown",
        label: "",
        sizeMb: Math.max(1, Math.ceil(file.size / MIB)),
        drive: null,
      };
      if (file.size === 0) throw new ProjectError(text().emptyFile(name));
      if (file.size > MAX_DISK_MB * MIB) throw new ProjectError(text().tooLarge(name));
      workspace.setDisks((project) => addDisk(project, disk));
      try {
        await working(disk, "import", file.size, async (work) => {
          const { extents, size } = importExtents(file, isZipped, work.signal);
          await disks.put(disk.id, size, extents, work);
        });
        const found = await inspect(disk.id).catch(() => null);
        const sizeBytes = facts.get(disk.id)?.sizeBytes ?? 0;
        workspace.setDisks((project) =>
          changeDisk(project, disk.id, {
            sizeMb: Math.ceil(sizeBytes / MIB),
            ...(found ? { fileSystem: found.fileSystem, label: found.label } : {}),
          }),
        );
      } catch (error) {
        workspace.setDisks((project) => dropDisk(project, disk.id));
        throw error;
      }
      return row(find(disk.id));
    },

    async putContent(id, size, extents, signal) {
      const disks = await opened;
      await worded({ name: id }, disks.put(id, size, extents, { signal }));
    },
    dropContent: async (id) => (await opened).remove(id),

    async withContents(use) {
      const disks = await opened.catch(() => null);
      const wanted: ProjectDisk[] = [];
      for (const disk of workspace.project.disks) if (disks && (await disks.facts(disk.id))) wanted.push(disk);
      for (const disk of wanted) free(disk);
      const stored: Parameters<typeof use>[0] = [];
      const readNext = async (): ReturnType<typeof use> => {
        const disk = wanted[stored.length];
        if (!disk || !disks) return use(stored);
        return disks.read(disk.id, (image) => {
          stored.push({ id: disk.id, storedBytes: facts.get(disk.id)?.storedBytes ?? 0, image });
          return readNext();
        });
      };
      return readNext();
    },
    async withSystemDisk(signal, use) {
      const disk = systemDisk();
      free(disk);
      const disks = await opened;
      if (!(await disks.facts(disk.id))) await api.buildSystemDisk();
      signal.throwIfAborted();
      return disks.read(disk.id, use);
    },

    async exportRaw(id) {
      const disk = find(id);
      free(disk);
      const disks = await opened;
      if (disk.kind === "system" && !(await disks.facts(disk.id))) await api.buildSystemDisk();
      const sizeBytes = facts.get(disk.id)?.sizeBytes ?? 0;
      return working(disk, "download", sizeBytes, (work) =>
        disks.read(disk.id, (image: StoredImage) => rawBlob(image.source.size, image.extents(work))),
      );
    },

    async buildSystemDisk(wish = {}) {
      free(systemDisk());
      api.setSystemDisk(wish);
      const disk = systemDisk();
      await working(disk, "build", disk.sizeMb * MIB, ({ signal }) => buildSystem(disk, signal, () => {}));
      return row(find(disk.id));
    },
    setSystemDisk(wish) {
      const disk = systemDisk();
      if (Object.keys(wish).length === 0) return;
      const { sizeMb = disk.sizeMb, swapMb = disk.swapMb ?? 0 } = wish;
      const fileSystem = wish.fileSystem ?? (disk.fileSystem as SystemDiskWish["fileSystem"]);
      checkSize(`Cannot make the system disk`, fileSystem, sizeMb);
      checkSwap(fileSystem, sizeMb, swapMb);
      workspace.setDisks((project) => replaceDisk(project, withSwap({ ...disk, sizeMb, fileSystem }, swapMb)));
    },

    async reset(id) {
      const disk = find(id);
      free(disk);
      await worded(disk, (await opened).reset(disk.id));
      problems.delete(disk.id);
      await look([disk.id]);
      void measure([disk.id]);
      return row(find(disk.id));
    },
    async merge(id) {
      const disk = find(id);
      free(disk);
      const disks = await opened;
      await working(disk, "merge", facts.get(disk.id)?.storedBytes ?? 0, (work) => disks.merge(disk.id, work));
      return row(find(disk.id));
    },
    cancel: (id) => works.get(id)?.abort.abort(),

    async entries(id, path) {
      const disk = find(id);
      free(disk);
      return (await opened).read(disk.id, ({ source }) => builder.listDirectory(source, path));
    },
    async extract(id, path) {
      const disk = find(id);
      free(disk);
      const disks = await opened;
      return disks.read(disk.id, async ({ source }) => {
        const { size, pieces } = await builder.locateDiskFile(source, path);
        if (size > MAX_DISK_MB * MIB) throw new ProjectError(text().fileTooLarge(path));
        if (size <= AT_ONCE_BYTES) return rawBlob(size, readPieces(source, pieces));
        return working(disk, "download", size, (work) => rawBlob(size, readPieces(source, pieces, work)));
      });
    },
    async putFiles(id, directory, files) {
      const disk = find(id);
      free(disk);
      await working(disk, "copy", disk.sizeMb * MIB, (work) => rebuild(disk, { put: { directory, files } }, work));
    },
    async removeEntry(id, path) {
      const disk = find(id);
      free(disk);
      await working(disk, "copy", disk.sizeMb * MIB, (work) => rebuild(disk, { remove: path }, work));
    },

    plugIn: (mode, { signal, onProgress }) =>
      plugAll(async () => {
        const system = workspace.project.disks.find(({ kind }) => kind === "system");
        const attached = workspace.project.disks.filter(({ kind, drive }) => kind === "data" && drive !== null);
        if (mode !== "disk" && attached.length === 0) return [];
        const disks = await opened;
        const start = mode === "disk" ? systemDisk() : system;
        if (mode === "disk" && start && !(await disks.facts(start.id))) {
          onProgress({ step: "tree", done: 0, total: 0 });
          await buildSystem(start, signal, onProgress);
        }
        const wanted: { disk: ProjectDisk; slot: number }[] = [];
        for (const disk of start ? [start, ...attached] : attached) {
          signal.throwIfAborted();
          if (await disks.facts(disk.id)) wanted.push({ disk, slot: DRIVES.indexOf(disk.drive ?? "sda") });
          // The system disk of a machine that does not start from it need not be there.
          else if (disk.kind !== "system") throw new Error(text().missing(disk.name));
        }
        return wanted;
      }),

    async freeze(key) {
      const disks = await opened;
      const frozen: FrozenDisk[] = [];
      try {
        for (const { disk, slot, drive, writable } of plugged.values()) {
          if (!writable) throw new Error(text().cannotFreeze(disk.name));
          const copyId = key === null ? null : copyIdOf(disk.id, key);
          frozen.push({
            disk,
            slot,
            copyId,
            content: copyId === null ? drive.content : await disks.freeze(disk.id, copyId),
          });
        }
        return frozen;
      } catch (error) {
        if (key !== null) await api.dropFrozen(key, frozen);
        throw error;
      }
    },
    contents: () =>
      [...plugged.values()].map(({ disk, slot, drive }) => ({ disk, slot, copyId: null, content: drive.content })),
    async movedOn(frozen) {
      if (frozen.length === 0) return [];
      const disks = await opened;
      const moved: string[] = [];
      for (const { disk, content } of frozen) if (!(await disks.isAt(disk.id, content))) moved.push(disk.name);
      return moved;
    },
    async hindrance(frozen) {
      if (frozen.length === 0) return null;
      const disks = await opened;
      // A page that has just been left, and a look at what is on a disk, have it for a moment.
      const deadline = performance.now() + HANDOVER_MS;
      let held = await heldElsewhere(plugged);
      while (frozen.some(({ disk }) => held.has(disk.id)) && performance.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        held = await heldElsewhere(plugged);
      }
      for (const { disk, copyId, content } of frozen) {
        const isThere = await disks.isAt(disk.id, content);
        if (held.has(disk.id)) return text().inUseElsewhere(disk.name);
        if (!isThere && (copyId === null || !(await disks.facts(copyId)))) return text().contentGone(disk.name);
        if (works.has(disk.id)) return text().busy(disk.name);
      }
      return null;
    },
    plugFrozen: (frozen) =>
      plugAll(async () => {
        if (frozen.length === 0) return [];
        const disks = await opened;
        for (const { disk, copyId, content } of frozen) {
          if (!(await disks.isAt(disk.id, content))) {
            if (copyId === null) throw new Error(text().contentGone(disk.name));
            await disks.thaw(copyId, disk.id);
          }
          const { project } = workspace;
          if (project.disks.some(({ id }) => id === disk.id)) continue;
          const isTaken = project.disks.some(({ drive }) => drive === disk.drive);
          const back = { ...disk, name: diskName(project, disk.name), drive: isTaken ? null : disk.drive };
          workspace.setDisks((now) => addDisk(now, back));
        }
        return frozen;
      }, true),
    async readFrozen({ disk, copyId }, use) {
      if (copyId === null) throw new Error(text().contentGone(disk.name));
      return (await opened).read(copyId, use);
    },
    async putFrozen(key, { disk, slot }, sizeBytes, extents, diskId) {
      const disks = await opened;
      const isMine = workspace.project.disks.some(({ id }) => id === disk.id);
      const mine: ProjectDisk = { ...disk, id: diskId ?? (isMine ? disk.id : newId()) };
      const copyId = copyIdOf(mine.id, key);
      await disks.put(copyId, sizeBytes, extents);
      return { disk: mine, slot, copyId, content: await disks.content(copyId) };
    },
    async dropFrozen(key, frozen) {
      if (frozen.length === 0) return;
      const disks = await opened;
      for (const { disk, copyId } of frozen) {
        if (copyId === null || copyId !== copyIdOf(disk.id, key)) continue;
        await disks.remove(copyId).catch(() => {});
        if (plugged.has(disk.id)) await disks.tidy(disk.id).catch(() => {});
      }
      void look(frozen.map(({ disk }) => disk.id));
    },
    async oldKeys() {
      const disks = await opened;
      const keys = new Set<string>();
      for (const id of (await disks.ids()).filter((candidate) => candidate.includes(COPY)))
        if (Date.now() - ((await disks.facts(id)) ?? NO_FACTS).createdAt > ORPHAN_MS)
          keys.add(id.slice(id.indexOf(COPY) + COPY.length));
      return [...keys];
    },
    async dropKey(key) {
      const disks = await opened;
      for (const id of await disks.ids()) if (id.endsWith(COPY + key)) await disks.remove(id).catch(() => {});
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

    refresh() {
      const { id, disks } = workspace.project;
      emit();
      if (id === openId) return;
      openId = id;
      void look(disks.map((disk) => disk.id)).then(() => measure(disks.map((disk) => disk.id)));
    },
  };

  const report = (disk: ProjectDisk, problem: DriveProblem): void => {
    const words = text().problem(problem.kind, disk.name, problem.offset, problem.detail);
    const isNew = problems.get(disk.id) !== words;
    problems.set(disk.id, words);
    emit();
    if (isNew) parts.onProblem(words);
  };

  // What a page left behind that was closed between making a disk and noting it, or before what was removed was gone.
  void opened.then(
    async (disks) => {
      for (const id of await disks.ids()) {
        // What snapshots keep is theirs to give back.
        if ((parts.knownIds()?.has(id) ?? true) || id.includes(COPY)) continue;
        const { createdAt } = (await disks.facts(id)) ?? NO_FACTS;
        if (Date.now() - createdAt > ORPHAN_MS) await disks.remove(id).catch(() => {});
      }
    },
    () => {},
  );
  return api;
}

/** Work that the user ended. */
export class CancelledError extends Error {}

function succeed(result: DiskResult): Extract<DiskResult, { ok: true }> {
  if (!result.ok) throw new Error(result.problem);
  return result;
}

function identity(label: string): DiskIdentity {
  return { uuid: newUuid(), label, time: now() };
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

/** Two projects that build the same system disk have the same one. */
export function fingerprint(project: Project, disk: ProjectDisk): string {
  const kernel = project.kernel ? [project.kernel.sha256] : [];
  const swap = disk.swapMb ? [`swap ${disk.swapMb}`] : [];
  return sumFiles(project.files, [project.commandLine, disk.sizeMb, disk.fileSystem, disk.label, ...kernel, ...swap]);
}

/** A checksum of a project's files and of what else counts. */
export function sumFiles(files: Project["files"], rest: readonly unknown[]): string {
  let sum = 0;
  const encoder = new TextEncoder();
  const add = (bytes: Uint8Array): void => {
    sum = xxh32(bytes.byteOffset % 4 === 0 ? bytes : bytes.slice(), sum);
  };
  for (const file of files) {
    const { content, ...facts } = file as typeof file & { content?: Uint8Array };
    add(encoder.encode(JSON.stringify(facts)));
    if (content) add(content);
  }
  add(encoder.encode(JSON.stringify([...rest, files.length])));
  return sum.toString(16).padStart(8, "0");
}

async function estimate(): Promise<{ used?: number; total?: number }> {
  try {
    const { usage, quota } = await navigator.storage.estimate();
    return { ...(usage === undefined ? {} : { used: usage }), ...(quota === undefined ? {} : { total: quota }) };
  } catch {
    return {};
  }
}

/** Disks that another tab's machine has. */
async function heldElsewhere(mine: ReadonlyMap<string, unknown>): Promise<Set<string>> {
  if (!hasLocks()) return new Set();
  const { held = [] } = await navigator.locks.query();
  const ids = held.flatMap(({ name }) => (name?.startsWith("smart-os:disk:") ? [name.slice(14)] : []));
  return new Set(ids.filter((id) => !mine.has(id)));
}

async function startsWithGzip(file: Blob): Promise<boolean> {
  const [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  return first === 0x1f && second === 0x8b;
}

/** At most ten calls a second; the last is made in any case before the work ends, or is not worth showing. */
function throttle(show: (done: number) => void): (done: number) => void {
  let last = 0;
  return (done) => {
    const at = performance.now();
    if (at - last < 100) return;
    last = at;
    show(done);
  };
}
