/** What the page knows of the open project's disks, and the rows in which it shows it. */
import type { DiskInspection } from "../worker/api.ts";
import type { Builder } from "./builder.ts";
import { heldDisks } from "./disk-locks.ts";
import type { DiskFacts, DiskStore } from "./disk-store.ts";
import type { ProjectDisk } from "./project-disks.ts";
import { fingerprint } from "./project-sum.ts";
import type { DiskRow, Store } from "./state.ts";
import type { Workspace } from "./workspace.ts";

export interface DiskRows {
  /** The system disk first, be it built or not. */
  list(): DiskRow[];
  row(disk: ProjectDisk): DiskRow;
  /** Something of what the rows show has changed. */
  show(): void;
  /** What was on a disk in bytes when it was last looked at; 0 for one that is not there. */
  sizes(id: string): Pick<DiskFacts, "sizeBytes" | "storedBytes">;
  /** Reads what the store knows of disks now, and shows it. */
  look(ids: readonly string[]): Promise<void>;
  /** The same; then what is on those that nobody uses, which is not waited for. */
  lookInto(ids: readonly string[]): Promise<void>;
  /** What is on a disk. @throws Error when somebody uses it */
  inspect(id: string): Promise<DiskInspection>;
  /** @returns whether it was not known yet */
  report(id: string, problem: string): boolean;
  /** Something else was put on a disk, or was to be: what was wrong with it no longer is. */
  renew(id: string): Promise<void>;
  /** Reads which disks somebody but this page's machine holds. */
  heldElsewhere(): Promise<ReadonlySet<string>>;
}

export interface DiskRowsParts {
  store: Store;
  workspace: Workspace;
  builder: Builder;
  opened: Promise<DiskStore>;
  systemDisk(): ProjectDisk;
  workOf(id: string): DiskRow["work"];
  /** The machine's drive that the disk is; undefined when it has not got it. */
  driveOf(id: string): { writable: boolean } | undefined;
}

const MIB = 1024 * 1024;

export function createDiskRows(parts: DiskRowsParts): DiskRows {
  const { store, workspace, builder, opened, systemDisk, workOf, driveOf } = parts;
  const facts = new Map<string, DiskFacts>();
  /** What is on the disks that nobody uses. */
  const seen = new Map<string, DiskInspection>();
  const problems = new Map<string, string>();
  let elsewhere: ReadonlySet<string> = new Set();

  const row = (disk: ProjectDisk): DiskRow => {
    const { id, name, kind, label, drive } = disk;
    const known = facts.get(id);
    const inside = seen.get(id);
    const mine = driveOf(id);
    return {
      ...{ id, name, kind },
      sizeBytes: known?.sizeBytes ?? disk.sizeMb * MIB,
      storedBytes: known?.storedBytes ?? 0,
      usedBytes: mine ? null : (inside?.usedBytes ?? null),
      fileSystem: kind === "data" ? (inside?.fileSystem ?? disk.fileSystem) : disk.fileSystem,
      label: inside?.label ?? label,
      swapMb: disk.swapMb ?? 0,
      drive,
      inUse: mine !== undefined,
      build: kind === "data" ? null : buildOf(disk),
      changed: known?.changed ?? false,
      readOnly: mine ? !mine.writable : elsewhere.has(id),
      work: workOf(id),
      problem: problems.get(id) ?? null,
    };
  };
  const buildOf = (disk: ProjectDisk): DiskRow["build"] => {
    if (!facts.has(disk.id)) return "unbuilt";
    return disk.builtFrom === fingerprint(workspace.project, disk) ? "current" : "stale";
  };
  const list = (): DiskRow[] =>
    [systemDisk(), ...workspace.project.disks.filter(({ kind }) => kind !== "system")].map(row);
  const show = (): void => store.update((state) => ({ ...state, disks: list() }));

  const heldElsewhere = async (): Promise<ReadonlySet<string>> =>
    new Set((await heldDisks()).filter((id) => driveOf(id) === undefined));
  const look = async (ids: readonly string[]): Promise<void> => {
    const disks = await opened.catch(() => null);
    if (!disks) return;
    for (const id of ids) {
      const known = await disks.facts(id).catch(() => null);
      if (known) facts.set(id, known);
      else facts.delete(id);
    }
    const quota = await readQuota();
    store.update((state) => ({ ...state, quota }));
    elsewhere = await heldElsewhere();
    show();
  };
  const inspect = async (id: string): Promise<DiskInspection> =>
    (await opened).read(id, ({ source }) => builder.inspectDisk(source));
  /** How full disks are, once the machine has nothing to do that somebody waits for. */
  const measure = async (ids: readonly string[]): Promise<void> => {
    for (const id of ids) {
      const isThere = facts.has(id) && workspace.project.disks.some((disk) => disk.id === id);
      if (!isThere || driveOf(id) || elsewhere.has(id) || workOf(id)) continue;
      const found = await inspect(id).catch(() => null);
      if (found) seen.set(id, found);
      else seen.delete(id);
    }
    show();
  };
  const lookInto = async (ids: readonly string[]): Promise<void> => {
    await look(ids);
    void measure(ids);
  };

  return {
    ...{ list, row, show, look, lookInto, inspect, heldElsewhere },
    sizes: (id) => facts.get(id) ?? { sizeBytes: 0, storedBytes: 0 },
    report(id, problem) {
      const isNew = problems.get(id) !== problem;
      problems.set(id, problem);
      show();
      return isNew;
    },
    renew(id) {
      problems.delete(id);
      return lookInto([id]);
    },
  };
}

/** What the browser's storage has taken and may take, in bytes; null where it does not say. */
async function readQuota(): Promise<{ used: number; total: number } | null> {
  try {
    const { usage: used = 0, quota: total = 0 } = await navigator.storage.estimate();
    return total > 0 ? { used, total } : null;
  } catch {
    return null;
  }
}
