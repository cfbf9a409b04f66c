/**
 * A machine that is kept while its page is being left. There is no time for a worker nor for compression then: the
 * state goes into the storage as it is, in one transaction that only puts and is committed at once, which browsers carry
 * out although the page is gone. Parts below 64 kB travel within the request; larger ones would have to be fetched from a
 * page that is there no more.
 */
import { xxh32 } from "./disk-checksum.ts";
import { answer, leftFactsKey, leftRange, openSnapshotDatabase, PARTS_BYTES, transact } from "./snapshot-database.ts";
import type { SnapshotFacts } from "./snapshot-record.ts";
import type { LeftFacts } from "./snapshot-storage.ts";

export interface LeaveState {
  /** Connects, so that a page that is left need not. */
  prepare(): void;
  readonly isReady: boolean;
  /** To be called when there is no later. */
  put(facts: SnapshotFacts, state: ArrayBuffer): void;
  /** Whether something is kept of a project's machine. */
  isKept(project: string): Promise<boolean>;
}

export function leaveState(): LeaveState {
  let database: IDBDatabase | null = null;
  let opening: Promise<IDBDatabase> | null = null;
  const open = (): Promise<IDBDatabase> => {
    opening ??= openSnapshotDatabase().then((opened) => {
      database = opened;
      opened.onclose = () => {
        database = null;
        opening = null;
      };
      return opened;
    });
    return opening;
  };
  return {
    prepare: () => void open().catch(() => {}),
    get isReady() {
      return database !== null;
    },
    put(facts, state) {
      if (!database) return;
      const transaction = database.transaction(["left"], "readwrite");
      const store = transaction.objectStore("left");
      store.delete(leftRange(facts.projectId));
      for (let at = 0; at < state.byteLength; at += PARTS_BYTES) {
        const part = new Uint8Array(state.slice(at, at + PARTS_BYTES));
        store.put(part, [facts.projectId, at / PARTS_BYTES]);
      }
      const sum = xxh32(new Uint8Array(state), 0);
      store.put({ facts, length: state.byteLength, sum } satisfies LeftFacts, leftFactsKey(facts.projectId));
      transaction.commit();
    },
    async isKept(project) {
      const found = await transact(await open(), ["left"], "readonly", (transaction) =>
        answer(transaction.objectStore("left").getKey(leftFactsKey(project))),
      );
      return found !== undefined;
    },
  };
}
