/**
 * The IndexedDB database of the disks, on the bare API: what makes a disk safe are transactions over several stores with
 * `durability: "strict"` and what happens when one aborts, and idb-keyval shows neither.
 *
 *   disks   id → StoredDisk
 *   layers  number → {createdAt}; every layer that has chunks, also of an import that never came to its end
 *   chunks  layer × 2²⁴ + index, or + 2²³ + group → record (disk-record.ts)
 *   log     [layer, number, …pages] → pages that a machine has written (disk-log.ts)
 *   made …  empty; its name tells this database from one that is made after the browser has deleted this one
 */
import { chunkKey, GROUP_KEYS, groupKey, LAYER_KEYS } from "./disk-record.ts";

export type StoreName = "disks" | "layers" | "chunks" | "log";

export interface Database {
  /**
   * Runs requests in one transaction. It resolves when they are on the storage medium (writes are synced to it).
   * @param run makes the requests; what it returns is the result. It may await requests of the transaction, nothing else.
   * @throws DOMException of the transaction, "QuotaExceededError" for one; nothing of it has happened then
   */
  transact<T>(
    stores: StoreName[],
    mode: IDBTransactionMode,
    run: (transaction: IDBTransaction) => T | Promise<T>,
  ): Promise<T>;
  close(): void;
  /** Tells it from one that is made after the browser has deleted it. */
  readonly made: string;
}

const NAME = "smart-os-disks";
/** 1 had neither a log nor groups of chunks: a page that does not know them must not open what may have some. */
const VERSION = 2;
const MADE = "made ";
const DELETED = "Cannot use the disks: the browser has deleted what was stored; reload the page";

/**
 * @param expected the `made` that it must have, because somebody has it open already
 * @throws Error when the browser has no storage for this page, or has deleted it meanwhile
 */
export async function openDatabase(expected?: string): Promise<Database> {
  const first = await connect();
  const made = nameOf(first);
  if (expected !== undefined && (made ?? "") !== expected) {
    first.close();
    throw new Error(DELETED);
  }
  let connection: IDBDatabase | null = first;
  let opening: Promise<IDBDatabase> | null = null;
  let isClosed = false;

  /** The browser closes a connection when the user clears the page's data, or when its process for storage dies. */
  const connected = async (): Promise<IDBDatabase> => {
    if (isClosed) throw new Error("Cannot use the disks: their database is closed");
    if (connection) return connection;
    opening ??= connect().finally(() => {
      opening = null;
    });
    const next = await opening;
    // Layers have other numbers there: what is written for one of ours would be another disk's.
    if (nameOf(next) !== made) {
      next.close();
      throw new Error(DELETED);
    }
    connection = next;
    watch(connection);
    return connection;
  };
  const watch = (database: IDBDatabase): void => {
    const drop = (): void => {
      if (connection === database) connection = null;
      database.close();
    };
    database.onclose = drop;
    database.onversionchange = drop;
  };
  watch(first);

  return {
    made: made ?? "",
    async transact(stores, mode, run) {
      let transaction: IDBTransaction;
      const begin = (database: IDBDatabase) => database.transaction(stores, mode, { durability: "strict" });
      try {
        transaction = begin(connection ?? (await connected()));
      } catch (error) {
        if (!(error instanceof DOMException) || error.name !== "InvalidStateError") throw error;
        connection = null;
        transaction = begin(await connected());
      }
      const ended = new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve();
        transaction.onabort = () => reject(transaction.error ?? new DOMException("aborted", "AbortError"));
      });
      // The result is awaited below; until then a failure has no listener yet.
      ended.catch(() => {});
      let result: Awaited<ReturnType<typeof run>>;
      try {
        result = await run(transaction);
        commit(transaction);
      } catch (error) {
        try {
          transaction.abort();
        } catch {
          // It has ended by itself; its own reason says more than the request's.
          await ended;
        }
        throw error;
      }
      await ended;
      return result;
    },
    close() {
      isClosed = true;
      connection?.close();
      connection = null;
    },
  };
}

/** Does not wait for the requests' own answers to come back before it commits. */
function commit(transaction: IDBTransaction): void {
  try {
    transaction.commit();
  } catch {
    // It is already on its way: all its requests were answered.
  }
}

/** The result of one request. */
export function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** The keys of all that a layer has. */
export function layerRange(layer: number): IDBKeyRange {
  return IDBKeyRange.bound(chunkKey(layer, 0), chunkKey(layer, LAYER_KEYS - 1));
}

/** The keys of the chunks that a layer has alone, of all or from `first` to `last`. */
export function chunkRange(layer: number, first = 0, last = GROUP_KEYS - 1): IDBKeyRange {
  return IDBKeyRange.bound(chunkKey(layer, first), chunkKey(layer, last));
}

/** The keys of a layer's groups, of all or from `first` to `last`. */
export function groupRange(layer: number, first = 0, last = LAYER_KEYS - GROUP_KEYS - 1): IDBKeyRange {
  return IDBKeyRange.bound(groupKey(layer, first), groupKey(layer, last));
}

function nameOf(database: IDBDatabase): string | undefined {
  return [...database.objectStoreNames].find((name) => name.startsWith(MADE));
}

function connect(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = ({ oldVersion }) => {
      const database = request.result;
      database.createObjectStore("log");
      if (oldVersion > 0) return;
      database.createObjectStore("disks", { keyPath: "id" });
      database.createObjectStore("layers", { autoIncrement: true });
      database.createObjectStore("chunks");
      database.createObjectStore(MADE + crypto.getRandomValues(new Uint32Array(4)).join("-"));
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("Cannot open the disks: another tab has an older version of them open"));
  });
}
