/**
 * Projects in IndexedDB: the only importer of idb-keyval. Everything is kept in memory as well, so that storage that
 * is refused, full or broken loses nothing while the page is open.
 */
import { createStore, del, entries, get, set, update } from "idb-keyval";
import { type Bootable, createProject, type Project, uniqueName } from "./project.ts";
import type { StorageState } from "./state.ts";

/** What is stored for a project: the revision lets a tab see that another one has written meanwhile. */
interface Stored {
  revision: number;
  project: Project;
  /** The last version that reached a shell. */
  booted?: Bootable;
  /** When it was removed, in milliseconds since 1970; it can be brought back for a while. */
  removedAt?: number;
}

export type StorageProblem = "refused" | "full" | "conflict" | "broken";

export interface Library {
  list(): Project[];
  get(id: string): Project | undefined;
  /** Takes a new version; it is stored within a moment. */
  save(project: Project): void;
  create(name: string): Project;
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
  /** Reads a project again that another tab has stored. */
  reload(id: string): Promise<void>;
}

const SAVE_MS = 150;
/** A database that does not open within this (a blocked upgrade, a broken profile) is not waited for. */
const OPEN_MS = 4_000;
const TRASH_MS = 30 * 24 * 3600 * 1000;
const LAST = "last";
const PREFIX = "project:";

/**
 * Opens the library; it always succeeds, if need be in memory only.
 * @param onState told at every change of the saved state, with the kind of problem if there is one
 */
export async function openLibrary(
  onState: (state: StorageState["state"], problem?: StorageProblem) => void,
): Promise<Library> {
  const stored = new Map<string, Stored>();
  const dirty = new Set<string>();
  let lastId: string | null = null;
  let database: ReturnType<typeof createStore> | null = null;
  try {
    const store = createStore("smart-os", "library");
    database = await withTimeout(
      (async () => {
        for (const [key, value] of await entries<string, unknown>(store)) {
          if (key === LAST) lastId = value as string;
          else if (key.startsWith(PREFIX) && isStored(value)) stored.set(key.slice(PREFIX.length), value);
          // Anything else stays where it is, unread: a newer page may have written it.
        }
        return store;
      })(),
      OPEN_MS,
    );
  } catch {
    onState("memory-only", "refused");
  }

  let timer: ReturnType<typeof setTimeout> | undefined;
  let writing: Promise<void> = Promise.resolve();

  const write = async (id: string, store: NonNullable<typeof database>): Promise<void> => {
    const item = stored.get(id);
    if (!item) return;
    const before = item.revision;
    const next = { ...item, revision: before + 1 };
    // Read and write in one transaction: another tab's newer version is never overwritten unseen.
    await update<Stored>(
      PREFIX + id,
      (present) => {
        if (present && present.revision > before) throw new ConflictError();
        return next;
      },
      store,
    );
    stored.set(id, { ...(stored.get(id) ?? next), revision: next.revision });
  };

  const flush = (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    writing = writing.then(async () => {
      const store = database;
      if (!store || dirty.size === 0) return;
      const ids = [...dirty];
      dirty.clear();
      try {
        for (const id of ids) await write(id, store);
        if (dirty.size === 0) onState("saved");
      } catch (error) {
        for (const id of ids) dirty.add(id);
        onState("failed", problemOf(error));
      }
    });
    return writing;
  };

  const touch = (id: string): void => {
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
    list: () =>
      [...stored.values()]
        .filter(({ removedAt }) => removedAt === undefined)
        .map(({ project }) => project)
        .sort((a, b) => a.createdAt - b.createdAt),
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
      lastId = id;
      if (database) set(LAST, id, database).catch(() => {});
    },
    flush,
    async reload(id) {
      if (!database) return;
      const value = await get<unknown>(PREFIX + id, database);
      if (!isStored(value)) return;
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
  // A page that is left has no time for a timer.
  addEventListener("visibilitychange", () => document.visibilityState === "hidden" && void flush());
  addEventListener("pagehide", () => void flush());
  return library;
}

class ConflictError extends Error {}

function problemOf(error: unknown): StorageProblem {
  if (error instanceof ConflictError) return "conflict";
  const name = error instanceof DOMException ? error.name : "";
  return name === "QuotaExceededError" ? "full" : "broken";
}

/** crypto.randomUUID exists only on secure pages. */
function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function isStored(value: unknown): value is Stored {
  const project = (value as Stored | undefined)?.project;
  return (
    typeof (value as Stored).revision === "number" &&
    project?.version === 1 &&
    typeof project.id === "string" &&
    typeof project.name === "string" &&
    Array.isArray(project.files)
  );
}

function withTimeout<T>(promise: Promise<T>, ms: number): Promise<T> {
  return Promise.race([
    promise,
    new Promise<never>((_, reject) => {
      setTimeout(() => reject(new Error("the browser's storage does not answer")), ms);
    }),
  ]);
}
