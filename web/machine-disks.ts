/** The disks that the machine has: they are opened as its drives, and free again when these are closed. */
import type { BuildProgress } from "../worker/api.ts";
import type { DiskDrive, DriveProblem } from "./disk-drive.ts";
import type { DiskRows } from "./disk-rows.ts";
import type { DiskStore } from "./disk-store.ts";
import { type DriveDevice, emptyDrive } from "./drives.ts";
import type { ProjectDisk } from "./project-disks.ts";
import { type BootMode, DRIVES } from "./state.ts";
import type { SystemDisk } from "./system-disk.ts";
import type { enDiskWork } from "./text/en-disk-work.ts";
import type { Workspace } from "./workspace.ts";

/** The disks of one run. */
export interface Plugged {
  /** From sda to sdd. */
  drives: readonly (DriveDevice | null)[];
  /** Gives them back, once all that was written is stored. */
  close(): Promise<void>;
}

/** A disk of the project, and where it is plugged in: 0 is sda. */
export interface Slot {
  /** As it was then. */
  disk: ProjectDisk;
  slot: number;
}

export interface MachineDisk extends Slot {
  drive: DiskDrive;
}

export interface MachineDisks {
  of(id: string): MachineDisk | undefined;
  all(): MachineDisk[];
  /**
   * The drives of a boot; they are the machine's until they are closed.
   * @throws Error with a sentence for the user
   */
  plugIn(mode: BootMode, options: PlugOptions): Promise<Plugged>;
  /**
   * The drives of a machine that goes on where it was.
   * @param choose what is plugged in where; it is asked when the last machine has given its disks back
   * @throws Error when one of them can only be read, and what `choose` throws
   */
  plugAgain(choose: () => Promise<readonly Slot[]>): Promise<Plugged>;
}

export interface PlugOptions {
  signal: AbortSignal;
  /** Of the system disk, where it has to be built first. */
  onProgress(progress: BuildProgress): void;
}

export interface MachineDisksParts {
  workspace: Workspace;
  opened: Promise<DiskStore>;
  systemDisk: SystemDisk;
  rows: DiskRows;
  text(): typeof enDiskWork;
  /** The guest saw an I/O error, or a disk is one to read only. */
  onProblem(sentence: string): void;
}

export function createMachineDisks(parts: MachineDisksParts): MachineDisks {
  const { workspace, opened, systemDisk, rows, text, onProblem } = parts;
  let plugged = new Map<string, MachineDisk>();
  let lastPlugged: Promise<void> = Promise.resolve();

  const report = (disk: ProjectDisk, problem: DriveProblem): void => {
    const words = text().problem(problem.kind, disk.name, problem.offset, problem.detail);
    if (rows.report(disk.id, words)) onProblem(words);
  };

  const plug = async (choose: () => Promise<readonly Slot[]>, goesOn: boolean): Promise<Plugged> => {
    // Two machines of this page must not hold the same disk: the next one waits until the last has given it back.
    const before = lastPlugged;
    let given!: () => void;
    lastPlugged = new Promise((resolve) => {
      given = resolve;
    });
    await before;
    const open: { id: string; drive: DiskDrive }[] = [];
    let closing: Promise<void> | null = null;
    const giveBack = async (): Promise<void> => {
      await Promise.all(open.map(({ drive }) => drive.close().catch(() => {})));
      given();
      plugged = new Map();
      const ids = open.map(({ id }) => id);
      if (ids.length > 0) void rows.lookInto(ids);
    };
    // The next machine's disks may be plugged in when it is asked for again.
    const close = (): Promise<void> => {
      closing ??= giveBack();
      return closing;
    };
    try {
      const drives: (DriveDevice | null)[] = [null, null, null, null];
      for (const { disk, slot } of await choose()) {
        const { id } = disk;
        const drive = await (await opened).open(id, {
          onProblem: (problem) => report(disk, problem),
          onWrite: () => void rows.look([id]),
        });
        open.push({ id, drive });
        drives[slot] = drive;
        plugged.set(id, { disk, slot, drive });
        if (drive.writable) continue;
        // A machine that goes on may be about to write.
        if (goesOn) throw new Error(text().inUseElsewhere(disk.name));
        onProblem(text().openElsewhere(disk.name));
      }
      // Linux names drives in the order in which they are there: a gap would move those behind it.
      const last = drives.findLastIndex((drive) => drive !== null);
      for (let index = 0; index < last; index += 1) drives[index] ??= emptyDrive();
      if (open.length > 0) rows.show();
      return { drives, close };
    } catch (error) {
      await close();
      throw error;
    }
  };

  const choose = async (mode: BootMode, { signal, onProgress }: PlugOptions): Promise<Slot[]> => {
    const { disks } = workspace.project;
    const system = disks.find(({ kind }) => kind === "system");
    const attached = disks.filter(({ kind, drive }) => kind === "data" && drive !== null);
    if (mode !== "disk" && attached.length === 0) return [];
    const stored = await opened;
    const start = mode === "disk" ? systemDisk.own() : system;
    if (mode === "disk" && start && !(await stored.facts(start.id))) {
      onProgress({ step: "tree", done: 0, total: 0 });
      await systemDisk.build(start, { signal, onProgress });
    }
    const wanted: Slot[] = [];
    for (const disk of start ? [start, ...attached] : attached) {
      signal.throwIfAborted();
      if (await stored.facts(disk.id)) wanted.push({ disk, slot: DRIVES.indexOf(disk.drive ?? "sda") });
      // The system disk of a machine that does not start from it need not be there.
      else if (disk.kind !== "system") throw new Error(text().missing(disk.name));
    }
    return wanted;
  };

  return {
    of: (id) => plugged.get(id),
    all: () => [...plugged.values()],
    plugIn: (mode, options) => plug(() => choose(mode, options), false),
    plugAgain: (again) => plug(again, true),
  };
}
