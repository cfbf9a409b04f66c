/**
 * Keeps what the browser has stored for this page from a defect of its database.
 *
 * Chromium has all of a site's IndexedDB in one LevelDB. When the browser is killed while it writes, half a record may be
 * left at the end of LevelDB's log; the next start leaves it out, as it should, and then goes on writing behind it
 * (https://github.com/google/leveldb/issues/1287). The start after that takes what is there for damage, and the browser
 * deletes everything: projects, disks, snapshots.
 *
 * So each page sees to it that a new log is begun. Nothing asks for that directly; but when a database is deleted, Chromium
 * compacts what it had, for which LevelDB first writes its log out as a table. Deleting one that was never there does nothing.
 *
 * Limitation: a browser that is killed in the middle of a write, started, and killed again before this is done (some
 * milliseconds after the page has opened its storage) loses all the same.
 */

/** It is there for a moment only. */
const NAME = "smart-os-nothing";

/** Resolves when the log is being written out. What fails leaves things as they are. */
export async function renewStorageLog(): Promise<void> {
  // Only Chromium tells whether data was lost, and only Chromium has this to lose it by.
  if (!("dataLoss" in IDBVersionChangeEvent.prototype)) return;
  await new Promise<void>((resolve) => {
    const request = indexedDB.open(NAME);
    request.onsuccess = () => {
      request.result.close();
      resolve();
    };
    // Without room it is there nevertheless, and is to be deleted.
    request.onerror = () => resolve();
  });
  await new Promise<void>((resolve) => {
    const request = indexedDB.deleteDatabase(NAME);
    request.onsuccess = () => resolve();
    request.onerror = () => resolve();
    // Another page is doing the same.
    request.onblocked = () => resolve();
  });
}
