/**
 * The IndexedDB database of saved machines.
 *
 *   snapshots  id → SnapshotRecord
 *   pieces     SHA-256 in hex → raw deflate of a piece of a state; those that several states have are there once
 *   left       [project, 0…] → a state as it is, in parts, that a page has put there while it was being left;
 *              [project, "facts"] → what belongs to it
 */

export const PARTS_BYTES = 60 * 1024;
const NAME = "smart-os-snapshots";
export type SnapshotStoreName = "snapshots" | "pieces" | "left";

/** @throws Error when the browser has no storage for this page */
export function openSnapshotDatabase(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      const database = request.result;
      database.createObjectStore("snapshots", { keyPath: "id" });
      database.createObjectStore("pieces");
      database.createObjectStore("left");
    };
    request.onsuccess = () => {
      // A newer page's version of the database, or the browser's clearing of it, must not wait for this page.
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("another tab has an older version open"));
  });
}

/**
 * Runs requests in one transaction, which happens as a whole or not at all.
 * @param run makes the requests; it may await requests of the transaction, nothing else
 * @throws DOMException of the transaction, "QuotaExceededError" for one, and what `run` throws
 */
export async function transact<T>(
  database: IDBDatabase,
  stores: SnapshotStoreName[],
  mode: IDBTransactionMode,
  run: (transaction: IDBTransaction) => Promise<T>,
): Promise<T> {
  const transaction = database.transaction(stores, mode, { durability: "strict" });
  const ended = new Promise<void>((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new DOMException("aborted", "AbortError"));
  });
  // Awaited below; until then a failure has no listener yet.
  ended.catch(() => {});
  try {
    const result = await run(transaction);
    await ended;
    return result;
  } catch (error) {
    try {
      transaction.abort();
    } catch {
      // It has ended by itself, and its own reason says more.
      await ended;
    }
    throw error;
  }
}

export function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** The parts of what a page has left for a project. */
export function leftRange(project: string): IDBKeyRange {
  return IDBKeyRange.bound([project, 0], [project, Number.MAX_SAFE_INTEGER]);
}

export const leftFactsKey = (project: string): IDBValidKey => [project, "facts"];
