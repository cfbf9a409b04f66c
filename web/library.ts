/**
 * Projects in IndexedDB: the only importer of idb-keyval. Everything is kept in memory as well, so that storage that
 * is refused, full or broken loses nothing while the page is open.
 */
import { createStore, del, entries, get, set, update } from "idb-keyval";
import { hex } from "./bytes.ts";
import { readNote, writeNote } from "./local-note.ts";
import { type Bootable, createProject, type Project, uniqueName } from "./project.ts";
import { isQuota } from "./quota.ts";
import type { StorageState } from "./state.ts";

/** What is stored for a project: the revision lets a tab see that another one has written meanwhile. */
interface Stored {
  revision: number;
  project: Project;
  /** The last version that reached a shell. */
  booted?: Bootable;
  /** When it was removed, in milliseconds since 1970; it can be brought back for a while. */
  removedAt?: number;
  /** The opened page that wrote it. */
  writer?: string;
}

export type StorageProblem = "refused" | "full" | "conflict" | "broken";

export interface Library {
  /** Ids of records that are no project this page understands. They stay in the storage as they are. */
  readonly damaged: readonly string[];
  /** Projects were stored here, and none of the storage is left: the browser has thrown it away. */
  readonly wasWiped: boolean;
  list(): Project[];
  get(id: string): Project | undefined;
  /** All projects, also those that were removed and can be brought back. */
  all(): Project[];
  /** Takes a new version; it is stored within a moment. */
  save(project: Project): void;
  create(name: string): Project;
  /** Takes a project from outside in under a new id; one that is not kept is only in memory. */
  adopt(project: Omit<Project, "id">, keep: boolean, id?: string): Project;
  /** It is not kept: nothing of it is stored. */
  isVisiting(id: string): boolean;
  /** Stores a project that was only visiting. */
  keep(id: string): void;
  add(project: Project): void;
  remove(id: string): void;
  restore(id: string): void;
  booted(id: string): Bootable | undefined;
  saveBooted(id: string, recipe: Bootable): void;
  /** The project that was open last. */
  lastId(): string | null;
  setLast(id: string): void;
  /** Stores what is waiting, now. */
  flush(): Promise<void>;
  /** Reads a project again when another tab has stored a newer version; what is not stored here yet gives way to it. */
  reload(id: string): Promise<void>;
}

const SAVE_MS = 150;
/** A database that does not open within this (a blocked upgrade, a broken profile) is not waited for. */
const OPEN_MS = 4_000;
/** After a failure that may pass (no room, a broken write), storing is tried again after this. */
const RETRY_MS = 5_000;
const TRASH_MS = 30 * 24 * 3600 * 1000;
const LAST = "last";
const PREFIX = "project:";
/** Noted apart from the database, as that may vanish as a whole: something was stored here once. */
const USED = "smart-os:used";

/**
 * Opens the library; it always succeeds, if need be in memory only.
 * @param onState told at every change of the saved state, with the kind of problem if there is one
 * @param isKept false: nothing is read or stored, as in a frame on somebody else's page
 */
export async function openLibrary(
  onState: (state: StorageState["state"], problem?: StorageProblem) => void,
  isKept = true,
): Promise<Library> {
  const stored = new Map<string, Stored>();
  const damaged: string[] = [];
  const dirty = new Set<string>();
  const writingNow = new Set<string>();
  const visiting = new Set<string>();
  const writer = newId();
  /**
   * What a page had not stored yet when it was left, by project; `revision` is the one that it was made from. It is a
   * database of its own, because a transaction that is under way in the other one would hold this one up.
   */
  let leftStore: ReturnType<typeof createStore> | null = null;
  let left: [id: string, item: unknown][] = [];
  let lastId: string | null = null;
  let database: ReturnType<typeof createStore> | null = null;
  try {
    if (!isKept) throw new Error("nothing is to be kept");
    const store = createStore("smart-os", "library");
    const beside = createStore("smart-os-left", "projects");
    const reading = entries<string, unknown>(beside);
    reading.catch(() => {});
    database = await withTimeout(
      (async () => {
        for (const [key, value] of await entries<string, unknown>(store)) {
          if (key === LAST && typeof value === "string") lastId = value;
          if (!key.startsWith(PREFIX)) continue;
          const id = key.slice(PREFIX.length);
          if (isStored(value)) stored.set(id, value);
          // It stays where it is: a newer page may have written it.
          else damaged.push(id);
        }
        left = await reading;
        leftStore = beside;
        return store;
      })(),
      OPEN_MS,
    );
  } catch {
    onState("memory-only", "refused");
  }

  const isEmpty = stored.size + damaged.length + left.length === 0 && lastId === null;
  const wasWiped = database !== null && isEmpty && readNote(USED) !== null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let writing: Promise<void> = Promise.resolve();

  const write = async (id: string, store: NonNullable<typeof database>): Promise<void> => {
    const item = stored.get(id);
    if (!item) return;
    const before = item.revision;
    const next = { ...item, revision: before + 1, writer };
    // Read and write in one transaction: another tab's newer version is never overwritten unseen.
    await update<Stored>(
      PREFIX + id,
      (present) => {
        if (present && present.revision > before) throw new ConflictError();
        return next;
      },
      store,
    );
    stored.set(id, { ...(stored.get(id) ?? next), revision: next.revision, writer });
    writeNote(USED, "1");
  };

  /** Takes up what the last page could not store. Where somebody else has stored a version since, it becomes a copy. */
  const takeUp = (id: string, item: Stored): void => {
    const present = stored.get(id);
    const isOlder = present && present.writer === item.writer && present.project.updatedAt > item.project.updatedAt;
    if (!isOlder) {
      const isNext = !present || present.revision === item.revision || present.writer === item.writer;
      if (isNext) {
        stored.set(id, { ...item, revision: present?.revision ?? 0 });
        touch(id);
      } else {
        const name = uniqueName(
          item.project.name,
          library.list().map((project) => project.name),
        );
        library.add({ ...item.project, id: newId(), name });
      }
    }
    void flush().then(async () => {
      if (leftStore && dirty.size === 0) await del(id, leftStore).catch(() => {});
    });
  };

  const flush = (): Promise<void> => {
    clearTimeout(timer);
    clearTimeout(retry);
    timer = undefined;
    writing = writing.then(async () => {
      const store = database;
      if (!store || dirty.size === 0) return;
      const ids = [...dirty];
      dirty.clear();
      let problem: StorageProblem | null = null;
      for (const id of ids) writingNow.add(id);
      for (const id of ids)
        try {
          await write(id, store);
          writingNow.delete(id);
        } catch (error) {
          // One project that cannot be stored must not keep the others from it.
          dirty.add(id);
          writingNow.delete(id);
          problem = problemOf(error);
        }
      clearTimeout(retry);
      if (problem && problem !== "conflict") retry = setTimeout(() => void flush(), RETRY_MS);
      if (problem) onState("failed", problem);
      else if (dirty.size === 0) onState("saved");
    });
    return writing;
  };

  const touch = (id: string): void => {
    if (visiting.has(id)) return;
    dirty.add(id);
    if (!database) return onState("memory-only", "refused");
    onState("saving");
    timer ??= setTimeout(() => void flush(), SAVE_MS);
  };

  const put = (project: Project): void => {
    const before = stored.get(project.id);
    stored.set(project.id, { ...before, revision: before?.revision ?? 0, project });
    touch(project.id);
  };

  const library: Library = {
    damaged,
    wasWiped,
    list: () =>
      [...stored.values()]
        .filter(({ removedAt }) => removedAt === undefined)
        .map(({ project }) => project)
        .sort((a, b) => a.createdAt - b.createdAt),
    all: () => [...stored.values()].map(({ project }) => project),
    get: (id) => {
      const item = stored.get(id);
      return item && item.removedAt === undefined ? item.project : undefined;
    },
    save: put,
    add: put,
    create(name) {
      const taken = library.list().map((project) => project.name);
      const project = createProject(uniqueName(name, taken), newId(), Date.now());
      put(project);
      return project;
    },
    adopt(stranger, keep, id = newId()) {
      const project = { ...stranger, id };
      if (!keep) visiting.add(project.id);
      put(project);
      return project;
    },
    isVisiting: (id) => visiting.has(id),
    keep(id) {
      if (!visiting.delete(id)) return;
      touch(id);
      library.setLast(id);
    },
    remove(id) {
      const item = stored.get(id);
      if (!item) return;
      stored.set(id, { ...item, removedAt: Date.now() });
      touch(id);
    },
    restore(id) {
      const item = stored.get(id);
      if (!item) return;
      const { removedAt: _, ...rest } = item;
      stored.set(id, rest);
      touch(id);
    },
    booted: (id) => stored.get(id)?.booted,
    saveBooted(id, booted) {
      const item = stored.get(id);
      if (!item) return;
      stored.set(id, { ...item, booted });
      touch(id);
    },
    lastId: () => lastId,
    setLast(id) {
      if (visiting.has(id)) return;
      lastId = id;
      if (database) set(LAST, id, database).catch(() => {});
    },
    flush,
    async reload(id) {
      if (!database) return;
      const value = await get<unknown>(PREFIX + id, database);
      if (!isStored(value) || value.revision <= (stored.get(id)?.revision ?? 0)) return;
      dirty.delete(id);
      stored.set(id, value);
      onState("saved");
    },
  };

  const now = Date.now();
  for (const [id, { removedAt }] of stored)
    if (removedAt !== undefined && now - removedAt > TRASH_MS && database) {
      stored.delete(id);
      del(PREFIX + id, database).catch(() => {});
    }
  for (const [id, item] of left) if (isStored(item)) takeUp(id, item);
  // A page that is left has no time for a timer, nor for a transaction that reads before it writes: the browser drops
  // that one. What is put and committed at once gets through.
  addEventListener("visibilitychange", () => document.visibilityState === "hidden" && void flush());
  addEventListener("beforeunload", () => void flush());
  addEventListener("pagehide", () => {
    for (const id of new Set([...dirty, ...writingNow])) {
      const item = stored.get(id);
      if (!item || !database || !leftStore) continue;
      leftStore("readwrite", (store) => {
        store.put({ ...item, writer }, id);
        store.transaction.commit();
      }).catch(() => {});
    }
  });
  return library;
}

class ConflictError extends Error {}

function problemOf(error: unknown): StorageProblem {
  if (error instanceof ConflictError) return "conflict";
  return isQuota(error) ? "full" : "broken";
}

/** crypto.randomUUID exists only on secure pages. */
export function newId(): string {
  return hex(crypto.getRandomValues(new Uint8Array(8)));
}

function isStored(value: unknown): value is Stored {
  const { revision, project, booted } = (value ?? {}) as Partial<Stored>;
  return (
    typeof revision === "number" &&
    project?.version === 1 &&
    typeof project.id === "string" &&
    typeof project.name === "string" &&
    isBootable(project) &&
    (booted === undefined || isBootable(booted))
  );
}

function isBootable(value: Bootable): boolean {
  const { files, commandLine, memoryMb, kernel } = value;
  const isKernel =
    kernel === undefined ||
    (kernel.content instanceof Uint8Array && [kernel.sha256, kernel.version].every((text) => typeof text === "string"));
  return (
    Array.isArray(files) &&
    files.every(isFile) &&
    typeof commandLine === "string" &&
    typeof memoryMb === "number" &&
    isKernel
  );
}

function isFile(value: unknown): boolean {
  const file = (value ?? {}) as Partial<Record<string, unknown>>;
  if (typeof file.path !== "string" || !file.path.startsWith("/")) return false;
  if (file.kind === "deleted") return true;
  if (typeof file.mode !== "number") return false;
  if (file.kind === "file") return file.content instanceof Uint8Array;
  if (file.kind === "symlink") return typeof file.target === "string";
  return file.kind === "directory" || file.kind === "device";
}

function withTimeout<T>(promise: Promise<T>, ms: number): Promise<T> {
  return Promise.race([
    promise,
    new Promise<never>((_, reject) => {
      setTimeout(() => reject(new Error("the browser's storage does not answer")), ms);
    }),
  ]);
}
