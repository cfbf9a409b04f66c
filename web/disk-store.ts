/**
 * The disks in the browser's storage: what each consists of, and everything that is done with a disk as a whole. A
 * machine's reads and writes go through disk-drive.ts. docs/storage.md says what is guaranteed.
 */
import { type ChunkThread, startChunkThread } from "./disk-chunks.ts";
import { answer, type Database, openDatabase } from "./disk-database.ts";
import { createDrive, type DiskDrive, type DriveEvents } from "./disk-drive.ts";
import { checkDiskSize, cutChunks, type Extents, type LongWork, MAX_DISK_BYTES } from "./disk-image.ts";
import { BATCH_CHUNKS, countChunks, type Layer, readChunks, readIndex } from "./disk-layers.ts";
import { lockDisk, lockReader, lockReaders, lockTop, lockTopShared, type Release } from "./disk-locks.ts";
import { countLog, type LoggedChunks, NOTHING_LOGGED, readLog } from "./disk-log.ts";
import { CHUNK_BYTES, SECTOR_BYTES } from "./disk-record.ts";
import { type DiskContent, DiskRecords, dropUnused, type StoredDisk, there } from "./disk-records.ts";
import { changedChunks, type Pieces } from "./disk-rewrite.ts";
import { type StoredImage, storedImage } from "./disk-stored-image.ts";
import { isQuota } from "./quota.ts";
import { sentenceOf } from "./sentence.ts";
import { renewStorageLog } from "./storage-log.ts";

export interface DiskFacts {
  sizeBytes: number;
  /** What it takes in the storage; what it shares with a duplicate counts for both. */
  storedBytes: number;
  /** A guest has written to it. */
  changed: boolean;
  /** Milliseconds since 1970. */
  createdAt: number;
}

export interface DiskStore {
  /** Null when there is no such disk. */
  facts(id: string): Promise<DiskFacts | null>;
  /** The ids of all disks, of every project. */
  ids(): Promise<string[]>;
  /**
   * Makes a disk, or gives one another first content: what was on it is gone when this resolves, and there as before
   * when it rejects.
   * @param size in bytes, or a function that knows it when all extents were taken; then it is rounded up to sectors
   * @param extents in order; what they leave out is zero
   * @throws Error "Cannot …" when the disk is in use, the storage full, or the work was cancelled
   */
  put(id: string, size: number | (() => number), extents: Extents, work?: LongWork): Promise<void>;
  /**
   * Makes a disk another one out of what is on it: what was on it is there as before when this rejects.
   * @param make reads it and says what it becomes; pieces of source 0 are the disk's own, others must be bytes
   * @throws Error as `put` does, and what `make` throws
   */
  rewrite(
    id: string,
    make: (disk: StoredImage) => Promise<{ size: number; pieces: Pieces }>,
    work?: LongWork,
  ): Promise<void>;
  /** Changes the size and nothing else: more is zeros, less is cut off. @throws Error when it is in use */
  resize(id: string, sizeBytes: number): Promise<void>;
  /** A second disk with the same content; neither sees what is written to the other. @throws Error when it is in use */
  duplicate(id: string, copyId: string): Promise<void>;
  /** @throws Error when it is in use */
  remove(id: string): Promise<void>;
  /** Forgets what a guest wrote. @throws Error when it is in use */
  reset(id: string): Promise<void>;
  /** Makes what a guest wrote part of the first content, and gives back the space of what that hides. */
  merge(id: string, work?: LongWork): Promise<void>;
  /**
   * A drive for a machine. When somebody else writes the disk, it is one to read, as the disk was when they began.
   * @throws Error when there is no such disk
   */
  open(id: string, events: DriveEvents): Promise<DiskDrive>;
  /**
   * Lets somebody read a disk that nobody writes.
   * @throws Error when it is in use, and what `use` throws
   */
  read<T>(id: string, use: (disk: StoredImage) => Promise<T>): Promise<T>;
  /**
   * Keeps what is on a disk just now under another id, while a machine of this page goes on writing to it: it writes into a
   * new layer from then on. It costs what the machine then writes.
   * @returns what is kept. @throws Error when no machine of this page writes the disk
   */
  freeze(id: string, copyId: string): Promise<DiskContent>;
  /** @throws Error when there is no such disk */
  content(id: string): Promise<DiskContent>;
  /** Whether this, and nothing written since, is on the disk. */
  isAt(id: string, content: DiskContent): Promise<boolean>;
  /** Puts what was kept on the disk again, or makes the disk anew of it. @throws Error when the disk is in use */
  thaw(copyId: string, id: string): Promise<void>;
  /** Puts layers together that were kept apart for a copy, below what a machine of this page writes. */
  tidy(id: string): Promise<void>;
  close(): void;
}

/** What a machine's start may spend on putting an earlier machine's changes together. */
const FOLD_MS = 200;
/** More layers than this make reading slow, and are folded however long it takes. */
const MOST_CHANGES = 6;

const NEVER = new AbortController().signal;

/** @throws Error when the browser has no storage for this page */
export async function openDiskStore(): Promise<DiskStore> {
  const database = await openDatabase().catch((error: unknown) => {
    throw new Error(`Cannot use disks: the browser refuses to store them (${sentenceOf(error)})`);
  });
  void renewStorageLog().catch(() => {});
  const store = new Store(database);
  // What an import left behind that never came to its end.
  void store.sweep().catch(() => {});
  return store;
}

class Store implements DiskStore {
  readonly #database: Database;
  readonly #records: DiskRecords;
  readonly #turns = new Map<string, Promise<void>>();
  /** Drives of this page's machines that write. */
  readonly #writers = new Map<string, { drive: DiskDrive; tops: Release[] }>();
  #thread: ChunkThread | null = null;

  constructor(database: Database) {
    this.#database = database;
    this.#records = new DiskRecords(database);
  }

  /** Takes away layers that belong to no disk and that nobody is filling. */
  sweep(): Promise<void> {
    return this.#records.sweep();
  }

  async facts(id: string): Promise<DiskFacts | null> {
    const disk = await this.#records.find(id);
    if (!disk) return null;
    const [counts, logged] = await this.#database.transact(["chunks", "log"], "readonly", (transaction) =>
      Promise.all([
        Promise.all(disk.layers.map((layer) => countChunks(transaction, layer.id))),
        countLog(transaction, disk.layers.at(-1)?.id ?? 0),
      ]),
    );
    return {
      sizeBytes: disk.sizeBytes,
      storedBytes: counts.reduce((sum, count) => sum + count, 0) * CHUNK_BYTES,
      changed: logged > 0 || counts.slice(disk.built).some((count) => count > 0),
      createdAt: disk.createdAt,
    };
  }

  ids(): Promise<string[]> {
    return this.#database.transact(["disks"], "readonly", (transaction) =>
      answer(transaction.objectStore("disks").getAllKeys() as IDBRequest<string[]>),
    );
  }

  async put(id: string, size: number | (() => number), extents: Extents, work: LongWork = {}): Promise<void> {
    if (typeof size === "number") checkDiskSize("Cannot make the disk", size);
    await this.#alone(
      id,
      "rebuild the disk",
      async () => {
        const { layer, filling } = await this.#records.newLayer();
        try {
          const chunks = cutChunks(extents, typeof size === "number" ? size : MAX_DISK_BYTES);
          await this.#records.fill(layer, true, chunks, work);
          const sizeBytes = typeof size === "number" ? size : Math.ceil(size() / SECTOR_BYTES) * SECTOR_BYTES;
          checkDiskSize("Cannot make the disk", sizeBytes);
          await this.#records.change(id, () => ({
            id,
            sizeBytes,
            layers: [{ id: layer, limit: Number.POSITIVE_INFINITY }],
            built: 1,
            createdAt: Date.now(),
          }));
        } catch (error) {
          await this.#records.dropLayers([layer]).catch(() => {});
          throw error;
        } finally {
          await filling();
        }
      },
      "ignored",
    );
  }

  async rewrite(
    id: string,
    make: (disk: StoredImage) => Promise<{ size: number; pieces: Pieces }>,
    { signal = NEVER, onProgress }: LongWork = {},
  ): Promise<void> {
    await this.#alone(id, "change the disk", async () => {
      const before = await this.#records.existing(id);
      const { layers } = before;
      const { size, pieces } = await make(storedImage(this.#database, before));
      checkDiskSize("Cannot change the disk", size);
      const old = {
        stored: await readIndex(this.#database, layers, before.sizeBytes),
        read: (first: number, last: number) => readChunks(this.#database, layers, first, last),
      };
      const { layer, filling } = await this.#records.newLayer();
      try {
        await this.#records.fill(layer, false, changedChunks(pieces, size, old), {
          signal,
          ...(onProgress ? { onProgress } : {}),
        });
        await this.#records.change(id, (disk) => ({
          ...there(disk),
          sizeBytes: size,
          // What is cut off must not come back when the disk grows again.
          layers: [...layers, { id: layer, limit: Number.POSITIVE_INFINITY }].map((one) => ({
            ...one,
            limit: size < before.sizeBytes ? Math.min(one.limit, size) : one.limit,
          })),
          built: layers.length + 1,
        }));
      } catch (error) {
        await this.#records.dropLayers([layer]).catch(() => {});
        throw error;
      } finally {
        await filling();
      }
      // It is done; without room it takes more than it has to.
      await fits(this.#foldAll(id));
    });
  }

  async #foldAll(id: string): Promise<void> {
    await this.#records.trim(id);
    const deadline = performance.now() + FOLD_MS;
    while ((await this.#records.existing(id)).layers.length > MOST_CHANGES || performance.now() < deadline)
      if (!(await this.#records.foldOnce(id, 0, () => {}))) break;
  }

  async resize(id: string, sizeBytes: number): Promise<void> {
    checkDiskSize("Cannot resize the disk", sizeBytes);
    await this.#alone(id, "resize the disk", () =>
      this.#records.change(id, (disk) => {
        const known = there(disk);
        // What is cut off must not come back when the disk grows again.
        const layers = known.layers.map((layer) => ({ ...layer, limit: Math.min(layer.limit, sizeBytes) }));
        return { ...known, sizeBytes, layers };
      }),
    );
  }

  async duplicate(id: string, copyId: string): Promise<void> {
    await this.#alone(id, "duplicate the disk", () =>
      this.#database.transact(["disks"], "readwrite", async (transaction) => {
        const disks = transaction.objectStore("disks");
        const disk = there(await answer<StoredDisk | undefined>(disks.get(id)));
        disks.add({ ...disk, id: copyId, createdAt: Date.now() } satisfies StoredDisk);
      }),
    );
  }

  async remove(id: string): Promise<void> {
    await this.#alone(id, "delete the disk", () => this.#records.change(id, () => null), "ignored");
  }

  async reset(id: string): Promise<void> {
    const reset = (disk: StoredDisk | undefined): StoredDisk => {
      const known = there(disk);
      return { ...known, layers: known.layers.slice(0, known.built) };
    };
    await this.#alone(
      id,
      "reset the disk",
      async () => {
        try {
          await this.#records.change(id, reset);
        } catch (error) {
          // Where there is no room, this is what makes some.
          if (!isQuota(error) || !(await this.#records.emptyChanges(id))) throw error;
        }
      },
      "ignored",
    );
  }

  async merge(id: string, { signal = NEVER, onProgress }: LongWork = {}): Promise<void> {
    await this.#alone(id, "merge the disk", async () => {
      await this.#records.change(id, (disk) => ({ ...there(disk), built: there(disk).layers.length }));
      let done = 0;
      const onBatch = (): void => {
        done += BATCH_CHUNKS * CHUNK_BYTES;
        onProgress?.(done);
      };
      while (await this.#records.foldOnce(id, 0, onBatch)) signal.throwIfAborted();
    });
  }

  open(id: string, events: DriveEvents): Promise<DiskDrive> {
    return this.#inTurn(id, async () => {
      const writer = await lockDisk(id);
      if (writer) return this.#openToWrite(id, events, writer);
      const reader = (await lockReader(id)) as Release;
      // Whoever had it may have been done with it by now.
      const late = await lockDisk(id);
      if (!late) return this.#openToRead(id, events, reader);
      await reader();
      return this.#openToWrite(id, events, late);
    });
  }

  async #openToWrite(id: string, events: DriveEvents, writer: Release): Promise<DiskDrive> {
    const tops: Release[] = [];
    const release = async (): Promise<void> => {
      this.#writers.delete(id);
      for (const top of tops) await top();
      await writer();
    };
    const begin = async (): Promise<readonly Layer[]> => {
      await this.#records.recover(id);
      // Whoever reads while this machine writes reads the layers below the new one.
      await this.#addTop(id, tops);
      return (await this.#records.existing(id)).layers;
    };
    try {
      const logged = await this.#records.recoverToRead(id);
      // Without room the machine has the disk as well, and what it writes is an I/O error until there is some.
      const hasRoom = logged.size === 0 && (await fits(this.#foldChanges(id))) && (await fits(begin()));
      const drive = await createDrive({
        database: this.#database,
        thread: this.#chunks(),
        disk: await this.#records.existing(id),
        writable: true,
        logged,
        begin: hasRoom ? null : begin,
        events,
        release,
      });
      this.#writers.set(id, { drive, tops });
      return drive;
    } catch (error) {
      await release();
      throw error;
    }
  }

  /** Puts together what earlier machines have written, as far as there is time for it. */
  async #foldChanges(id: string): Promise<void> {
    const deadline = performance.now() + FOLD_MS;
    for (;;) {
      const { layers, built } = await this.#records.existing(id);
      if (layers.length - built <= MOST_CHANGES && performance.now() >= deadline) return;
      const readers = await lockReaders(id);
      if (!readers) return;
      try {
        if (!(await this.#records.foldOnce(id, built, () => {}))) return;
      } finally {
        await readers();
      }
    }
  }

  /** @param tops takes the lock of the layer that is written to from now on */
  async #addTop(id: string, tops: Release[], copyId?: string): Promise<void> {
    const { layer, filling } = await this.#records.newLayer();
    try {
      const top = await lockTop(layer);
      if (top) tops.push(top);
      await this.#database.transact(["disks"], "readwrite", async (transaction) => {
        const disks = transaction.objectStore("disks");
        const disk = there(await answer<StoredDisk | undefined>(disks.get(id)));
        disks.put({ ...disk, layers: [...disk.layers, { id: layer, limit: Number.POSITIVE_INFINITY }] });
        if (copyId !== undefined) disks.add({ ...disk, id: copyId, createdAt: Date.now() } satisfies StoredDisk);
      });
    } catch (error) {
      await this.#records.dropLayers([layer]).catch(() => {});
      throw error;
    } finally {
      await filling();
    }
  }

  freeze(id: string, copyId: string): Promise<DiskContent> {
    return this.#inTurn(id, async () => {
      const writer = this.#writers.get(id);
      if (!writer) throw new Error("Cannot keep what is on the disk: no machine of this page writes it");
      await writer.drive.rebase(async () => {
        const { layers, built } = await this.#records.existing(id);
        const isUntouched = layers.length > built && (await this.#records.isEmpty(layers.slice(-1)));
        // A layer that nothing was written to need not be kept, nor followed by another one.
        if (isUntouched)
          await this.#records.change(copyId, () => ({
            ...writer.drive.content,
            ...{ id: copyId, layers: layers.slice(0, -1), built, createdAt: Date.now() },
          }));
        else await this.#addTop(id, writer.tops, copyId);
        return (await this.#records.existing(id)).layers;
      });
      return this.content(copyId);
    });
  }

  async content(id: string): Promise<DiskContent> {
    const { sizeBytes, layers } = await this.#records.existing(id);
    return { sizeBytes, layers };
  }

  async isAt(id: string, { sizeBytes, layers }: DiskContent): Promise<boolean> {
    const disk = await this.#records.find(id);
    if (!disk || disk.sizeBytes !== sizeBytes || disk.layers.length < layers.length) return false;
    const isSame = layers.every((layer, at) => {
      const mine = disk.layers[at] as Layer;
      return mine.id === layer.id && mine.limit === layer.limit;
    });
    return isSame && this.#records.isEmpty(disk.layers.slice(layers.length));
  }

  async thaw(copyId: string, id: string): Promise<void> {
    await this.#alone(
      id,
      "bring back what was on the disk",
      () =>
        this.#database.transact(["disks", "layers", "chunks", "log"], "readwrite", async (transaction) => {
          const disks = transaction.objectStore("disks");
          const kept = there(await answer<StoredDisk | undefined>(disks.get(copyId)));
          const before = await answer<StoredDisk | undefined>(disks.get(id));
          disks.put({ ...kept, id, createdAt: before?.createdAt ?? Date.now() } satisfies StoredDisk);
          await dropUnused(transaction, before?.layers.map((layer) => layer.id) ?? []);
        }),
      "ignored",
    );
  }

  tidy(id: string): Promise<void> {
    return this.#inTurn(id, async () => {
      const writer = this.#writers.get(id);
      const readers = writer && (await lockReaders(id));
      if (!readers) return;
      try {
        const deadline = performance.now() + FOLD_MS;
        const { built } = await this.#records.existing(id);
        while (performance.now() < deadline && (await this.#records.foldOnce(id, built, () => {}, 1)));
        await writer.drive.rebase(async () => (await this.#records.existing(id)).layers);
      } finally {
        await readers();
      }
    });
  }

  async #openToRead(id: string, events: DriveEvents, reader: Release): Promise<DiskDrive> {
    try {
      const disk = await this.#records.existing(id);
      // Whoever has the disk may have no layer in it yet, or be somebody who writes nothing.
      const untouched = await lockTopShared((disk.layers.at(-1) as Layer).id);
      await untouched?.();
      const layers = untouched ? disk.layers : disk.layers.slice(0, -1);
      // What a killed page left may not be in its place yet: its disk's next writer puts it there, if there is room.
      const logged = untouched ? await readLog(this.#database, layers) : NOTHING_LOGGED;
      return await createDrive({
        database: this.#database,
        thread: this.#chunks(),
        disk: { ...disk, layers },
        writable: false,
        logged,
        begin: null,
        events,
        release: reader,
      });
    } catch (error) {
      await reader();
      throw error;
    }
  }

  read<T>(id: string, use: (disk: StoredImage) => Promise<T>): Promise<T> {
    return this.#alone(
      id,
      "read the disk",
      async (logged) => use(storedImage(this.#database, await this.#records.existing(id), logged)),
      "read",
    );
  }

  close(): void {
    this.#thread?.close();
    this.#database.close();
  }

  /** A thread for the machines' chunks, from the first machine with a disk on. */
  #chunks(): ChunkThread {
    this.#thread ??= startChunkThread(this.#database);
    return this.#thread;
  }

  /**
   * Does something with a disk that nobody uses.
   * @param log what becomes of what a killed page left in it: it is put in its place, or only read where there is no room for
   * that, or does not matter because what the guest wrote goes away
   */
  #alone<T>(
    id: string,
    what: string,
    run: (logged: LoggedChunks) => Promise<T>,
    log: "replayed" | "read" | "ignored" = "replayed",
  ): Promise<T> {
    return this.#inTurn(id, async () => {
      const writer = await lockDisk(id);
      const readers = writer && (await lockReaders(id));
      try {
        if (!readers) throw new Error(`Cannot ${what}: it is in use; switch the machine off that has it`);
        if (log === "replayed") await this.#records.recover(id);
        return await run(log === "read" ? await this.#records.recoverToRead(id) : NOTHING_LOGGED);
      } finally {
        await readers?.();
        await writer?.();
      }
    });
  }

  /** What this page does with a disk happens one after the other; only what others do is refused. */
  async #inTurn<T>(id: string, run: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(id);
    const mine = (async () => {
      await before;
      return run();
    })();
    const ended = mine.then(
      () => {},
      () => {},
    );
    this.#turns.set(id, ended);
    try {
      return await mine;
    } finally {
      if (this.#turns.get(id) === ended) this.#turns.delete(id);
    }
  }
}

/** @returns false when the storage has no room for it */
async function fits(work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (isQuota(error)) return false;
    throw error;
  }
}
