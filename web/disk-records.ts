/**
 * The disks' records and the layers that they consist of, one change after the other; disk-store.ts says what may be done
 * with a disk when.
 */
import { answer, type Database, layerRange } from "./disk-database.ts";
import type { LongWork } from "./disk-image.ts";
import { BATCH_CHUNKS, cutLayer, foldBatch, type Layer, putChunks } from "./disk-layers.ts";
import { lockLayer, lockLayers, type Release } from "./disk-locks.ts";
import { clearLog, countLog, type LoggedChunks, NOTHING_LOGGED, readLog, replayLog } from "./disk-log.ts";
import { CHUNK_BYTES, type ChunkBuffer } from "./disk-record.ts";
import { isQuota } from "./quota.ts";

/** A disk's record. */
export interface StoredDisk {
  id: string;
  sizeBytes: number;
  /** From the lowest on; the first `built` are its first content, the others what a guest wrote. */
  layers: readonly Layer[];
  built: number;
  /** Milliseconds since 1970. */
  createdAt: number;
}

/** What is on a disk, as it can be told from what is on it at another time. */
export type DiskContent = Pick<StoredDisk, "sizeBytes" | "layers">;

const NEVER = new AbortController().signal;

export class DiskRecords {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  find(id: string): Promise<StoredDisk | undefined> {
    return this.#database.transact(["disks"], "readonly", (transaction) =>
      answer<StoredDisk | undefined>(transaction.objectStore("disks").get(id)),
    );
  }

  async existing(id: string): Promise<StoredDisk> {
    return there(await this.find(id));
  }

  /** Changes a record, or takes it away, and the layers with it that no disk has any more. */
  change(id: string, change: (disk: StoredDisk | undefined) => StoredDisk | null): Promise<void> {
    return this.#database.transact(["disks", "layers", "chunks", "log"], "readwrite", async (transaction) => {
      const disks = transaction.objectStore("disks");
      const before = await answer<StoredDisk | undefined>(disks.get(id));
      const after = change(before);
      if (after) disks.put(after);
      else disks.delete(id);
      await dropUnused(transaction, before?.layers.map((layer) => layer.id) ?? []);
    });
  }

  /** Puts in its place what a page that was killed had in its log. @throws DOMException QuotaExceededError without room */
  async recover(id: string): Promise<void> {
    const disk = await this.find(id);
    if (disk) await replayLog(this.#database, disk.layers);
  }

  /** The same for whoever only reads. @returns what stays in the log, since there is no room for it */
  async recoverToRead(id: string): Promise<LoggedChunks> {
    try {
      await this.recover(id);
      return NOTHING_LOGGED;
    } catch (error) {
      if (!isQuota(error)) throw error;
      return readLog(this.#database, (await this.existing(id)).layers);
    }
  }

  /**
   * Empties a disk's layers of the guest where they are: unlike to take them away, that needs no room at all.
   * @returns false when another disk has one of them; then nothing has happened
   */
  emptyChanges(id: string): Promise<boolean> {
    return this.#database.transact(["disks", "chunks", "log"], "readwrite", async (transaction) => {
      const disks = await answer(transaction.objectStore("disks").getAll() as IDBRequest<StoredDisk[]>);
      const { layers, built } = there(disks.find((disk) => disk.id === id));
      const others = layersOf(disks.filter((disk) => disk.id !== id));
      const changes = layers.slice(built);
      if (changes.some((layer) => others.has(layer.id))) return false;
      for (const layer of changes) {
        transaction.objectStore("chunks").delete(layerRange(layer.id));
        clearLog(transaction, layer.id);
      }
      return true;
    });
  }

  async isEmpty(layers: readonly Layer[]): Promise<boolean> {
    const counts = await this.#database.transact(["chunks", "log"], "readonly", (transaction) => {
      const chunks = transaction.objectStore("chunks");
      return Promise.all(layers.flatMap(({ id }) => [answer(chunks.count(layerRange(id))), countLog(transaction, id)]));
    });
    return counts.every((count) => count === 0);
  }

  /** A layer that belongs to no disk yet, and the lock by which `sweep` leaves it alone. */
  async newLayer(): Promise<{ layer: number; filling: Release }> {
    // No other page may find it before it is locked.
    const making = (await lockLayers()) as Release;
    try {
      const layer = await this.#database.transact(["layers"], "readwrite", (transaction) =>
        answer(transaction.objectStore("layers").add({ createdAt: Date.now() }) as IDBRequest<number>),
      );
      return { layer, filling: (await lockLayer(layer)) as Release };
    } finally {
      await making();
    }
  }

  async fill(
    layer: number,
    isLowest: boolean,
    chunks: AsyncIterable<readonly [number, ChunkBuffer]>,
    { signal = NEVER, onProgress }: LongWork,
  ) {
    let batch: (readonly [number, ChunkBuffer])[] = [];
    const flush = async () => {
      signal.throwIfAborted();
      const full = batch;
      batch = [];
      await this.#database.transact(["chunks"], "readwrite", (transaction) =>
        putChunks(transaction, layer, isLowest, full),
      );
      onProgress?.(((full.at(-1)?.[0] ?? 0) + 1) * CHUNK_BYTES);
    };
    for await (const chunk of chunks) {
      batch.push(chunk);
      if (batch.length === BATCH_CHUNKS) await flush();
    }
    if (batch.length > 0) await flush();
  }

  dropLayers(layers: readonly number[]): Promise<void> {
    return this.#database.transact(["disks", "layers", "chunks", "log"], "readwrite", (transaction) =>
      dropUnused(transaction, layers),
    );
  }

  /** Takes away layers that belong to no disk and that nobody is filling. */
  async sweep(): Promise<void> {
    const listing = (await lockLayers()) as Release;
    const layers = await this.#database
      .transact(["layers"], "readonly", (transaction) =>
        answer(transaction.objectStore("layers").getAllKeys() as IDBRequest<number[]>),
      )
      .finally(listing);
    for (const layer of layers) {
      const release = await lockLayer(layer);
      if (!release) continue;
      await this.dropLayers([layer]).finally(release);
    }
  }

  /**
   * Takes away what layers have beyond where they were cut, as far as no other disk has them: afterwards they are as if
   * they had never had it, and can be folded.
   */
  async trim(id: string): Promise<void> {
    const others = await this.#layersOfOthers(id);
    await this.#database.transact(["disks", "chunks"], "readwrite", async (transaction) => {
      const disks = transaction.objectStore("disks");
      const disk = there(await answer<StoredDisk | undefined>(disks.get(id)));
      const layers: Layer[] = [];
      for (const layer of disk.layers) {
        // A chunk that is cut in the middle would have to be written anew.
        const mayCut = !others.has(layer.id) && Number.isFinite(layer.limit) && layer.limit % CHUNK_BYTES === 0;
        const isCut = mayCut && (await cutLayer(transaction, layer.id, layer.limit / CHUNK_BYTES));
        layers.push(isCut ? { ...layer, limit: Number.POSITIVE_INFINITY } : layer);
      }
      disks.put({ ...disk, layers } satisfies StoredDisk);
    });
  }

  /**
   * Moves some chunks from a layer into the one below it, which is at `from` or above. To be called while nobody reads
   * the disk.
   * @param above so many layers at the top stay as they are
   * @returns false when there is nothing to move, since there is one layer or other disks have them as well
   */
  async foldOnce(id: string, from: number, onBatch: () => void, above = 0): Promise<boolean> {
    const { layers, sizeBytes } = await this.existing(id);
    const others = await this.#layersOfOthers(id);
    // A layer that was cut has chunks beyond the cut, which one that was cut elsewhere must not take over.
    const end = (layer: Layer): number => Math.min(layer.limit, sizeBytes);
    const at = layers.findIndex((layer, index) => {
      const next = layers[index + 1];
      if (index < from || !next || index + 1 >= layers.length - above || end(layer) !== end(next)) return false;
      return !others.has(layer.id) && !others.has(next.id);
    });
    const lower = layers[at];
    const upper = layers[at + 1];
    if (!lower || !upper) return false;
    const isEmpty = await foldBatch(this.#database, upper, lower, at === 0);
    onBatch();
    if (isEmpty)
      await this.change(id, (disk) => {
        const known = there(disk);
        const built = at + 1 < known.built ? known.built - 1 : known.built;
        return { ...known, built, layers: known.layers.filter((layer) => layer.id !== upper.id) };
      });
    return true;
  }

  async #layersOfOthers(id: string): Promise<Set<number>> {
    const disks = await this.#database.transact(["disks"], "readonly", (transaction) =>
      answer(transaction.objectStore("disks").getAll() as IDBRequest<StoredDisk[]>),
    );
    return layersOf(disks.filter((disk) => disk.id !== id));
  }
}

function layersOf(disks: readonly StoredDisk[]): Set<number> {
  return new Set(disks.flatMap((disk) => disk.layers.map((layer) => layer.id)));
}

/** Takes away those of the layers that no disk has. @param transaction over "disks", "layers", "chunks" and "log" */
export async function dropUnused(transaction: IDBTransaction, layers: readonly number[]): Promise<void> {
  const disks = await answer(transaction.objectStore("disks").getAll() as IDBRequest<StoredDisk[]>);
  const used = layersOf(disks);
  for (const layer of layers) {
    if (used.has(layer)) continue;
    transaction.objectStore("chunks").delete(layerRange(layer));
    clearLog(transaction, layer);
    transaction.objectStore("layers").delete(layer);
  }
}

/** @throws Error when there is no such disk */
export function there(disk: StoredDisk | undefined): StoredDisk {
  if (!disk) throw new Error("Cannot find the disk: it is not in this browser's storage");
  return disk;
}
