/**
 * Saved machines of the open project: what a person or a script does with them, and the machine that goes on when a page
 * is opened again. A machine goes on only with what was on its disks when it was saved: docs/snapshots.md.
 */
import type { CommandResult } from "./agent.ts";
import type { BootRecipe } from "./boot-recipe.ts";
import type { FrozenDisk, FrozenDisks } from "./frozen-disks.ts";
import { newId } from "./library.ts";
import { complain, type Notify } from "./notify.ts";
import { sumFiles } from "./project-sum.ts";
import { isQuota } from "./quota.ts";
import type { SavedRun } from "./saved-run.ts";
import { sentenceOf } from "./sentence.ts";
import type { Session } from "./session.ts";
import { createSnapshotClient } from "./snapshot-client.ts";
import { decodeSnapshotFile, encodeSnapshotFile, packDisk } from "./snapshot-file.ts";
import { hasHint, hint, isOpenElsewhere } from "./snapshot-hint.ts";
import { leaveState } from "./snapshot-leave.ts";
import { takePicture } from "./snapshot-picture.ts";
import {
  MOST_BYTES,
  MOST_SNAPSHOTS,
  rowOf,
  type SnapshotFacts,
  type SnapshotPicture,
  type SnapshotRecord,
  type SystemKey,
} from "./snapshot-record.ts";
import { wakeUp } from "./snapshot-wake.ts";
import { DAMAGED } from "./snapshot-words.ts";
import type { SnapshotRow, SnapshotsState, Store } from "./state.ts";
import { formatBytes, textOf } from "./text.ts";

/** Snapshots are named by id or name. All of these reject with an Error with a sentence for the user. */
export interface Snapshots {
  /** Those that are known already. */
  list(): readonly SnapshotRow[];
  /** Reads which there are. */
  look(): Promise<readonly SnapshotRow[]>;
  save(name?: string): Promise<SnapshotRow>;
  /** Saves the machine, to go on with it when the page is opened again, and switches it off. */
  suspend(): Promise<SnapshotRow>;
  restore(key: string): Promise<void>;
  /** Goes on with the machine that was suspended, or left with the page. @returns false when there is none that can */
  resume(): Promise<boolean>;
  rename(key: string, name: string): Promise<void>;
  /** @returns a function that brings it back, for a minute */
  remove(key: string): Promise<() => Promise<void>>;
  /** The names of the disks that have been written to since. */
  movedOn(key: string): Promise<readonly string[]>;
  /** A file with everything: the state, and what was on the disks. */
  exportFile(key: string): Promise<Blob>;
  /** Takes such a file among the open project's snapshots, or those of a project that is about to be. */
  importFile(file: Blob, name: string, into?: ComingProject): Promise<SnapshotRow>;
  setResumes(resumes: boolean): void;
  /** Another project was opened. */
  refresh(): void;
}

export interface ComingProject {
  id: string;
  /** Its disks, by the ids that they have in the file. */
  diskIds: ReadonlyMap<string, string>;
}

export interface SnapshotsParts {
  store: Store;
  session: Session;
  disks: FrozenDisks;
  notify: Notify;
  system: SystemKey;
  /** The open project, as it would boot. */
  recipe(): BootRecipe;
  /** The ids of all projects, also of those that can still be brought back. */
  knownProjects(): ReadonlySet<string>;
  terminal: { content(): string; lines(count: number): string[] };
  screen: HTMLElement;
  /** An empty terminal, and what a saved machine's showed. */
  showTerminal(content: string): void;
  /** Connects to the relay, which has the guest asked to get an address anew. */
  goOnline(): void;
  /** What the running machine was built from; null when it is not what the project is now. */
  setRunning(recipe: BootRecipe | null): void;
  run(command: string, timeoutMs: number): Promise<CommandResult>;
  bootAnew(): void;
  resumes: boolean;
  rememberResumes(resumes: boolean): void;
}

const UNDO_MS = 60_000;
const PICTURE_LINES = 8;
/** A tab that is hidden for so long is not only being left. */
const HIDDEN_MS = 1500;
/** A page that is being left may block for as long as this takes: some tenths of a second. */
const MOST_LEFT_BYTES = 64 * 1024 * 1024;

export function createSnapshots(parts: SnapshotsParts): Snapshots {
  const { store, session, disks, notify, system } = parts;
  const storage = createSnapshotClient();
  const leave = leaveState();
  const text = () => textOf(store.state.language).snapshotWork;
  const openedAt = Date.now();
  let records: SnapshotRecord[] = [];
  let resumes = parts.resumes;
  let work: SnapshotsState["work"] = null;
  let listed: Promise<void> | null = null;

  const projectId = (): string => store.state.project.id;
  const present = (): SnapshotRecord[] =>
    records
      .filter((record) => record.projectId === projectId() && record.removedAt === undefined)
      .sort((a, b) => b.createdAt - a.createdAt);
  const total = (): number => {
    const sizes = new Map(records.flatMap(({ pieces }) => pieces.map(({ hash, stored }) => [hash, stored] as const)));
    return [...sizes.values()].reduce((sum, size) => sum + size, 0);
  };
  const emit = (): void =>
    store.update((state) => ({
      ...state,
      snapshots: {
        rows: present().map((record) => rowOf(record, system)),
        count: records.length,
        storedBytes: total(),
        most: { count: MOST_SNAPSHOTS, bytes: MOST_BYTES },
        work,
        resumes,
      },
    }));
  const find = (key: string): SnapshotRecord => {
    const found = present().find(({ id, name }) => id === key || name === key);
    if (!found) throw new Error(text().none(key));
    return found;
  };

  /** One thing at a time; what the storage says becomes words. */
  const working = async <T>(what: NonNullable<SnapshotsState["work"]>, run: () => Promise<T>): Promise<T> => {
    if (work) throw new Error(text().busy);
    work = what;
    emit();
    try {
      await looked();
      return await run();
    } catch (error) {
      throw sentence(error);
    } finally {
      work = null;
      emit();
    }
  };
  const sentence = (error: unknown): unknown => {
    if (!(error instanceof DOMException)) return error;
    if (isQuota(error)) return new Error(text().full);
    // What the worker says in words of its own.
    return error.name === "Error" ? new Error(error.message) : new Error(text().refused(error.message || error.name));
  };

  /** Reads what is stored, once; later changes of this page are known. */
  const looked = (): Promise<void> => {
    listed ??= storage.list().then(
      (found) => {
        records = found;
        emit();
        void tidy();
      },
      (error: unknown) => {
        listed = null;
        throw error;
      },
    );
    return listed;
  };
  /** Takes away for good what was deleted, what belongs to no project any more, and what nobody's snapshot keeps. */
  const tidy = async (): Promise<void> => {
    const known = parts.knownProjects();
    for (const record of records) {
      const isOrphan = record.createdAt < openedAt && !known.has(record.projectId);
      const isOver = record.removedAt !== undefined && Date.now() - record.removedAt > UNDO_MS;
      if (isOrphan || isOver) await destroy(record).catch(() => {});
    }
    for (const key of await disks.oldKeys().catch(() => []))
      if (!records.some(({ id }) => id === key)) await disks.dropKey(key).catch(() => {});
  };
  const destroy = async (record: SnapshotRecord): Promise<void> => {
    await storage.remove(record.id);
    records = records.filter(({ id }) => id !== record.id);
    await disks.dropFrozen(record.id, record.disks);
    emit();
  };

  const makeRoom = (): void => {
    if (records.length >= MOST_SNAPSHOTS) throw new Error(text().tooMany(MOST_SNAPSHOTS));
    if (total() >= MOST_BYTES) throw new Error(text().tooLarge(formatBytes(MOST_BYTES)));
  };
  const facts = (
    kind: SnapshotFacts["kind"],
    id: string,
    name: string,
    saved: { run: SavedRun; recipe: BootRecipe },
    frozen: SnapshotFacts["disks"],
    screen: { terminal: string; picture: SnapshotPicture },
  ): SnapshotFacts => ({
    ...{ id, kind, name, system },
    projectId: projectId(),
    createdAt: Date.now(),
    run: saved.run,
    project: sumOf(saved.recipe),
    ...screen,
    disks: frozen,
  });
  const look = (): { terminal: string; picture: SnapshotPicture } => ({
    terminal: parts.terminal.content(),
    picture: { lines: parts.terminal.lines(PICTURE_LINES), image: takePicture(parts.screen) },
  });

  /** @param andStop the machine is switched off when it is stored, and goes on when it is not */
  const keep = async (kind: SnapshotFacts["kind"], name: string, andStop: boolean): Promise<SnapshotRow> => {
    if (kind === "named") makeRoom();
    const id = newId();
    const replaced = kind === "suspended" ? records.filter((other) => isSuspended(other)) : [];
    const put = async (saved: Awaited<ReturnType<typeof session.save<Rest>>>): Promise<SnapshotRecord> => {
      const { frozen, screen } = saved.result;
      try {
        const stored = await storage.save(
          facts(kind, id, name, saved, frozen, screen),
          saved.state,
          replaced.map((other) => other.id),
        );
        records = [...records.filter((other) => !replaced.includes(other)), stored];
        for (const other of replaced) await disks.dropFrozen(other.id, other.disks);
        if (kind === "suspended") hint(stored.projectId, "kept");
        return stored;
      } catch (error) {
        await disks.dropFrozen(id, frozen);
        throw error;
      }
    };
    type Rest = { frozen: SnapshotFacts["disks"]; screen: ReturnType<typeof look> };
    const atRest = async (): Promise<Rest> => ({ screen: look(), frozen: await disks.freeze(id) });
    let record: SnapshotRecord | null = null;
    if (andStop)
      await session.save(atRest, async (saved) => {
        record = await put(saved);
      });
    else record = await put(await session.save(atRest));
    emit();
    return rowOf(record as unknown as SnapshotRecord, system);
  };
  const isSuspended = (record: SnapshotRecord): boolean =>
    record.kind === "suspended" && record.projectId === projectId();

  /** Puts a saved machine in the place of the present one. */
  const start = async (saved: SnapshotFacts, load: () => Promise<ArrayBuffer>): Promise<void> => {
    const refuse = saved.system.emulator !== system.emulator ? "otherEmulator" : "otherSystem";
    if (saved.system.emulator !== system.emulator || saved.system.system !== system.system)
      throw new Error(text()[refuse](saved.name));
    const hindrance = await disks.hindrance(saved.disks);
    if (hindrance) throw new Error(hindrance);
    const recipe = parts.recipe();
    const { overlay, kernel } = recipe;
    const isSame = sumOf(recipe) === saved.project;
    await session.restore(saved.run, isSame ? { overlay, kernel } : { overlay: [], kernel: null }, {
      state: () =>
        load().catch((error: unknown) => {
          throw error instanceof Error && error.message === DAMAGED ? new Error(text().damaged(saved.name)) : error;
        }),
      plugIn: () => disks.plugFrozen(saved.disks),
      onStart: () => parts.showTerminal(saved.terminal),
    });
    parts.setRunning(isSame ? recipe : null);
    // A snapshot may run more than once: each run has a card of its own. One that was suspended is the same machine.
    void wakeUp(parts.run, saved.kind === "named").then(() => parts.goOnline());
  };

  const quietly = (run: () => Promise<unknown>): void => {
    run().catch((error: unknown) => complain(notify, error));
  };

  let hidden: ReturnType<typeof setTimeout> | undefined;
  addEventListener("visibilitychange", () => {
    clearTimeout(hidden);
    if (document.visibilityState !== "hidden" || !resumes) return;
    hidden = setTimeout(() => {
      const isUp = ["running", "paused"].includes(session.machine.status) && store.state.writable;
      // Nobody is there to be told that it does not work.
      if (isUp && !work) working({ what: "suspend", id: null }, () => keepHidden()).catch(() => {});
    }, HIDDEN_MS);
  });
  const keepHidden = (): Promise<SnapshotRow> => keep("suspended", text().suspendedName, false);
  addEventListener("pagehide", () => {
    clearTimeout(hidden);
    if (!resumes || !store.state.writable || !leave.isReady) return;
    const saved = session.saveNow(MOST_LEFT_BYTES);
    if (!saved) return;
    leave.put(facts("suspended", newId(), text().suspendedName, saved, disks.contents(), look()), saved.state);
    hint(projectId(), "left");
  });
  addEventListener("pageshow", ({ persisted }) => {
    if (!persisted) return;
    // It was not left after all, and what is kept of it gets old.
    void storage.dropLeft(projectId()).catch(() => {});
    session.goOn();
  });

  const api: Snapshots = {
    list: () => present().map((record) => rowOf(record, system)),
    async look() {
      await looked().catch((error: unknown) => {
        throw sentence(error);
      });
      return api.list();
    },
    save: (wish) =>
      working({ what: "save", id: null }, async () => {
        const taken = present().map((record) => record.name);
        const name = wish?.trim() || freeName(taken, text().defaultName);
        if (taken.includes(name)) throw new Error(text().nameTaken(name));
        return keep("named", name, false);
      }),
    suspend: () =>
      working({ what: "suspend", id: null }, () => {
        if (!store.state.writable) throw new Error(text().notWritable);
        return keep("suspended", text().suspendedName, true);
      }),
    async restore(key) {
      await looked();
      const record = find(key);
      await working({ what: "restore", id: record.id }, async () => {
        await start(record, () => storage.load(record.id));
        if (record.kind !== "suspended") return;
        // It has gone on, and is no longer where it was.
        hint(record.projectId, null);
        await destroy(record);
      });
    },
    async resume() {
      const project = projectId();
      // A page that has nothing to go on with boots without asking the storage.
      if (!hasHint(project)) return false;
      const readLeft = async () => ((await leave.isKept(project)) ? storage.left(project) : null);
      const [left] = await Promise.all([
        // What is damaged is not looked at again.
        readLeft().catch(() => storage.dropLeft(project).then(() => null)),
        looked(),
      ]).catch(() => [null]);
      const suspended = present().find(isSuspended);
      if (!left && !suspended) {
        hint(project, null);
        return false;
      }
      if (await isOpenElsewhere(project)) return false;
      const isLeft = left !== null && left.facts.createdAt > (suspended?.createdAt ?? 0);
      const saved = isLeft ? left.facts : (suspended as SnapshotFacts);
      const forget = async (): Promise<void> => {
        hint(project, null);
        await storage.dropLeft(project);
        if (suspended) await destroy(suspended);
      };
      try {
        const moved = await disks.movedOn(saved.disks);
        if (moved.length > 0) {
          notify("warning", isLeft ? text().lost(moved.join(", ")) : text().movedOn(moved.join(", ")));
          hint(project, null);
          await storage.dropLeft(project);
          return false;
        }
        await working({ what: "restore", id: saved.id }, () =>
          start(saved, () => (isLeft ? Promise.resolve(left.state) : storage.load(saved.id))),
        );
      } catch (error) {
        notify("warning", text().notResumed(sentenceOf(error)));
        hint(project, null);
        await storage.dropLeft(project).catch(() => {});
        return false;
      }
      void forget().catch(() => {});
      const time = new Date(saved.createdAt).toLocaleTimeString();
      notify("info", text().resumed(time), { label: text().bootInstead, run: () => parts.bootAnew() });
      return true;
    },
    async rename(key, wish) {
      await looked();
      const record = find(key);
      const name = wish.trim();
      if (name === "") throw new Error(text().nameMissing);
      if (present().some((other) => other !== record && other.name === name)) throw new Error(text().nameTaken(name));
      await storage.change(record.id, { name });
      records = records.map((other) => (other.id === record.id ? { ...other, name } : other));
      emit();
    },
    async remove(key) {
      await looked();
      const { id, name } = find(key);
      const mark = async (removedAt: number | undefined): Promise<void> => {
        await storage.change(id, { removedAt } as { removedAt: number });
        records = records.map((other) => (other.id === id ? ({ ...other, removedAt } as SnapshotRecord) : other));
        emit();
      };
      await mark(Date.now());
      const timer = setTimeout(() => {
        const record = records.find((other) => other.id === id);
        if (record) quietly(() => destroy(record));
      }, UNDO_MS);
      return async () => {
        clearTimeout(timer);
        if (!records.some((other) => other.id === id)) throw new Error(text().goneForGood(name));
        await mark(undefined);
      };
    },
    async movedOn(key) {
      await looked();
      return disks.movedOn(find(key).disks);
    },
    async exportFile(key) {
      await looked();
      const record = find(key);
      return working({ what: "download", id: record.id }, async () => {
        const packed: Awaited<ReturnType<typeof packDisk>>[] = [];
        for (const frozen of record.disks) packed.push(await disks.readFrozen(frozen, packDisk));
        return encodeSnapshotFile(record, await storage.pack(record.id), packed);
      });
    },
    importFile: (file, name, into) =>
      working({ what: "import", id: null }, async () => {
        makeRoom();
        const id = newId();
        const frozen: FrozenDisk[] = [];
        try {
          const { record, pieces, disks: images } = await decodeSnapshotFile(file);
          for (const [at, image] of images.entries()) {
            const own = record.disks[at] as FrozenDisk;
            const diskId = into?.diskIds.get(own.disk.id);
            frozen.push(await disks.putFrozen(id, own, image.sizeBytes, image.extents(), diskId));
          }
          const taken = into ? [] : present().map((other) => other.name);
          const mine: SnapshotRecord = {
            ...record,
            ...{ id, kind: "named", projectId: into?.id ?? projectId(), disks: frozen },
            name: taken.includes(record.name) ? freeName(taken, (count) => `${record.name} ${count + 1}`) : record.name,
          };
          delete mine.removedAt;
          await storage.unpack(mine, pieces);
          records = [...records, mine];
          return rowOf(mine, system);
        } catch (error) {
          await disks.dropFrozen(id, frozen);
          throw isQuota(error) ? error : new Error(text().notAFile(name));
        }
      }),
    setResumes(next) {
      resumes = next;
      parts.rememberResumes(next);
      emit();
      if (next) leave.prepare();
      else void storage.dropLeft(projectId()).catch(() => {});
    },
    refresh: emit,
  };
  if (resumes) leave.prepare();
  return api;
}

/** What a machine was built from. */
function sumOf({ overlay, commandLine, memoryMb, card, kernel }: BootRecipe): string {
  return sumFiles(overlay, [commandLine, memoryMb, card, ...(kernel ? [kernel.sha256] : [])]);
}

function freeName(taken: readonly string[], nameOf: (count: number) => string): string {
  for (let count = 1; ; count += 1) if (!taken.includes(nameOf(count))) return nameOf(count);
}
