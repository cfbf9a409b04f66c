/** Saved machines in the storage: what the worker does (snapshot-worker.ts), which is all that takes time. */
import { sha256 } from "@noble/hashes/sha2.js";
import { hex } from "./bytes.ts";
import { deflate, inflate } from "./deflate.ts";
import { xxh32 } from "./disk-checksum.ts";
import { answer, leftFactsKey, leftRange, openSnapshotDatabase, transact } from "./snapshot-database.ts";
import { cutState } from "./snapshot-pieces.ts";
import type { SnapshotFacts, SnapshotRecord, StatePiece } from "./snapshot-record.ts";
import { inOrder, joinState, openState } from "./snapshot-state.ts";
import { DAMAGED } from "./snapshot-words.ts";

export interface SnapshotStorage {
  list(): Promise<SnapshotRecord[]>;
  /**
   * Stores a machine, or nothing of it.
   * @param replaces the snapshots that give way to it
   */
  save(facts: SnapshotFacts, state: ArrayBuffer, replaces: readonly string[]): Promise<SnapshotRecord>;
  /** @throws Error "Cannot …" when something of it is damaged or gone */
  load(id: string): Promise<ArrayBuffer>;
  change(id: string, change: SnapshotChange): Promise<void>;
  remove(id: string): Promise<void>;
  /** What a page has left of a project's machine, or null. @throws Error when it is damaged */
  left(project: string): Promise<{ facts: SnapshotFacts; state: ArrayBuffer } | null>;
  dropLeft(project: string): Promise<void>;
  /** The stored pieces of a snapshot, one after the other, as they are written into a file. */
  pack(id: string): Promise<ArrayBuffer>;
  /** Stores what comes from a file, after it was checked. @throws Error "Cannot …" when it is damaged */
  unpack(record: SnapshotRecord, packed: ArrayBuffer): Promise<void>;
}

export type SnapshotChange = Partial<Pick<SnapshotRecord, "name" | "removedAt">>;

/** What is left of a project's machine, beside the parts of its state. */
export interface LeftFacts {
  facts: SnapshotFacts;
  length: number;
  /** XXH32 of the state. */
  sum: number;
}

type Bytes = Uint8Array<ArrayBuffer>;

export async function openSnapshotStorage(): Promise<SnapshotStorage> {
  const database = await openSnapshotDatabase();

  const find = async (id: string): Promise<SnapshotRecord> => {
    const found = await transact(database, ["snapshots"], "readonly", (transaction) =>
      answer<SnapshotRecord | undefined>(transaction.objectStore("snapshots").get(id)),
    );
    if (!found) throw new Error("Cannot find the snapshot: it is not in this browser's storage");
    return found;
  };
  const readPieces = async (pieces: readonly StatePiece[]): Promise<Bytes[]> => {
    const found = await transact(database, ["pieces"], "readonly", (transaction) => {
      const store = transaction.objectStore("pieces");
      return Promise.all(pieces.map(({ hash }) => answer<Bytes | undefined>(store.get(hash))));
    });
    return found.map((bytes) => {
      if (!(bytes instanceof Uint8Array)) throw new Error(DAMAGED);
      return bytes;
    });
  };
  /** Puts a record and those of its pieces that are missing; false when one of the others has gone meanwhile. */
  const put = (record: SnapshotRecord, fresh: ReadonlyMap<string, Bytes>, replaces: readonly string[]) =>
    transact(database, ["snapshots", "pieces"], "readwrite", async (transaction) => {
      const pieces = transaction.objectStore("pieces");
      const hashes = [...new Set(record.pieces.map(({ hash }) => hash))];
      const there = await Promise.all(hashes.map((hash) => answer(pieces.getKey(hash))));
      if (hashes.some((hash, at) => there[at] === undefined && !fresh.has(hash))) return false;
      for (const [at, hash] of hashes.entries())
        if (there[at] === undefined) pieces.put(fresh.get(hash) as Bytes, hash);
      transaction.objectStore("snapshots").put(record);
      for (const id of replaces) await drop(transaction, id);
      return true;
    });

  return {
    list: () =>
      transact(database, ["snapshots"], "readonly", (transaction) =>
        answer<SnapshotRecord[]>(transaction.objectStore("snapshots").getAll()),
      ),
    async save(facts, state, replaces) {
      const bytes = new Uint8Array(state);
      const cut = cutState(bytes).map((piece) => ({ piece, hash: hex(sha256(piece)) }));
      const sum = xxh32(bytes, 0);
      for (;;) {
        const known = await storedSizes(database, [...new Set(cut.map(({ hash }) => hash))]);
        const missing = new Map(cut.filter(({ hash }) => !known.has(hash)).map(({ hash, piece }) => [hash, piece]));
        const packed = await inOrder([...missing], async ([hash, piece]) => [hash, await deflate(piece)] as const);
        const fresh = new Map(packed);
        const record: SnapshotRecord = {
          ...facts,
          version: 1,
          sum,
          pieces: cut.map(({ hash, piece }) => ({
            hash,
            size: piece.length,
            stored: fresh.get(hash)?.length ?? (known.get(hash) as number),
          })),
        };
        if (await put(record, fresh, replaces)) return record;
      }
    },
    async load(id) {
      const { pieces, sum } = await find(id);
      const stored = await readPieces(pieces);
      try {
        return await joinState(pieces, stored, sum);
      } catch (error) {
        await forgetDamaged(database, pieces, stored);
        throw error;
      }
    },
    change: (id, change) =>
      transact(database, ["snapshots"], "readwrite", async (transaction) => {
        const store = transaction.objectStore("snapshots");
        const record = await answer<SnapshotRecord | undefined>(store.get(id));
        if (record) store.put({ ...record, ...change });
      }),
    remove: (id) => transact(database, ["snapshots", "pieces"], "readwrite", (transaction) => drop(transaction, id)),
    async left(project) {
      const { entry, parts } = await transact(database, ["left"], "readonly", async (transaction) => {
        const store = transaction.objectStore("left");
        const entry = await answer<LeftFacts | undefined>(store.get(leftFactsKey(project)));
        return { entry, parts: entry ? await answer<Bytes[]>(store.getAll(leftRange(project))) : [] };
      });
      if (!entry) return null;
      const state = new Uint8Array(entry.length);
      let at = 0;
      for (const part of parts) {
        if (at + part.length > state.length) throw new Error(DAMAGED);
        state.set(part, at);
        at += part.length;
      }
      if (at !== entry.length || xxh32(state, 0) !== entry.sum) throw new Error(DAMAGED);
      return { facts: entry.facts, state: state.buffer };
    },
    dropLeft: (project) =>
      transact(database, ["left"], "readwrite", async (transaction) => {
        const store = transaction.objectStore("left");
        store.delete(leftRange(project));
        store.delete(leftFactsKey(project));
      }),
    async pack(id) {
      const { pieces } = await find(id);
      return new Blob(await readPieces(pieces)).arrayBuffer();
    },
    async unpack(record, packed) {
      const { state, stored } = await openState(record, packed);
      // Pieces are shared by their hashes: a wrong one would damage other snapshots.
      let from = 0;
      for (const { hash, size } of record.pieces) {
        if (hex(sha256(new Uint8Array(state, from, size))) !== hash) throw new Error(DAMAGED);
        from += size;
      }
      await put(record, new Map(record.pieces.map(({ hash }, index) => [hash, stored[index] as Bytes])), []);
    },
  };
}

/** Takes a record away, and the pieces that no other one has. */
async function drop(transaction: IDBTransaction, id: string): Promise<void> {
  const snapshots = transaction.objectStore("snapshots");
  const all = await answer<SnapshotRecord[]>(snapshots.getAll());
  const used = new Set(all.filter((other) => other.id !== id).flatMap(({ pieces }) => pieces.map(({ hash }) => hash)));
  snapshots.delete(id);
  const mine = new Set(all.find((record) => record.id === id)?.pieces.map(({ hash }) => hash));
  for (const hash of mine) if (!used.has(hash)) transaction.objectStore("pieces").delete(hash);
}

/** Takes damaged pieces away, so that the next state that has them stores them again. */
async function forgetDamaged(
  database: IDBDatabase,
  pieces: readonly StatePiece[],
  stored: readonly Bytes[],
): Promise<void> {
  const damaged: string[] = [];
  await inOrder(stored, async (bytes, at) => {
    const { hash, size } = pieces[at] as StatePiece;
    const piece = await inflate(bytes, size).catch(() => null);
    if (!piece || hex(sha256(piece)) !== hash) damaged.push(hash);
  });
  await transact(database, ["pieces"], "readwrite", async (transaction) => {
    for (const hash of damaged) transaction.objectStore("pieces").delete(hash);
  });
}

async function storedSizes(database: IDBDatabase, hashes: readonly string[]): Promise<Map<string, number>> {
  const { all, keys } = await transact(database, ["snapshots", "pieces"], "readonly", async (transaction) => ({
    all: await answer<SnapshotRecord[]>(transaction.objectStore("snapshots").getAll()),
    keys: new Set((await answer(transaction.objectStore("pieces").getAllKeys())) as string[]),
  }));
  const sizes = new Map(all.flatMap(({ pieces }) => pieces.map(({ hash, stored }) => [hash, stored] as const)));
  return new Map(
    hashes.flatMap((hash) => (sizes.has(hash) && keys.has(hash) ? [[hash, sizes.get(hash) as number] as const] : [])),
  );
}
