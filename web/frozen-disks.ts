/**
 * What saved machines keep of their disks. A copy is a disk of its own in the store, named by the disk's id and the key of
 * the saved machine; it shares with the disk what is the same.
 */
import type { Extents } from "./disk-image.ts";
import type { DiskContent } from "./disk-records.ts";
import type { DiskRows } from "./disk-rows.ts";
import type { DiskStore } from "./disk-store.ts";
import type { StoredImage } from "./disk-stored-image.ts";
import type { DiskWorks } from "./disk-work.ts";
import { newId } from "./library.ts";
import type { MachineDisks, Plugged, Slot } from "./machine-disks.ts";
import { bringBack, type ProjectDisk } from "./project-disks.ts";
import type { enDiskWork } from "./text/en-disk-work.ts";
import type { Workspace } from "./workspace.ts";

/** A disk of a saved machine. */
export interface FrozenDisk extends Slot {
  /** The disk that keeps the content; null when there is none, and the content must still be there. */
  copyId: string | null;
  content: DiskContent;
}

export interface FrozenDisks {
  /**
   * Keeps what is on the running machine's disks just now, which must be at rest.
   * @param key tells these copies from others
   * @throws Error when a disk is one to read only
   */
  freeze(key: string): Promise<FrozenDisk[]>;
  /** The same without copies and at once. */
  contents(): FrozenDisk[];
  /** The names of the disks that something else has been written to since. */
  movedOn(frozen: readonly FrozenDisk[]): Promise<string[]>;
  /** Why the disks cannot be brought back just now, in words; null when they can. */
  hindrance(frozen: readonly FrozenDisk[]): Promise<string | null>;
  /** The drives of a machine that goes on where it was saved: brings back what was on the disks, where it is not on them. */
  plugFrozen(frozen: readonly FrozenDisk[]): Promise<Plugged>;
  /** Lets somebody read what was on a saved machine's disk. @throws Error when it is not kept */
  readFrozen<T>(frozen: FrozenDisk, use: (image: StoredImage) => Promise<T>): Promise<T>;
  /** Keeps what comes from elsewhere as a disk of a saved machine; a disk that this project does not have gets an id of its own. */
  putFrozen(key: string, frozen: FrozenDisk, sizeBytes: number, extents: Extents, diskId?: string): Promise<FrozenDisk>;
  /** Gives the space of copies back. */
  dropFrozen(key: string, frozen: readonly FrozenDisk[]): Promise<void>;
  /** The keys of which there are copies older than an hour. */
  oldKeys(): Promise<string[]>;
  /** Gives the space of a key's copies back, whatever is left of them. */
  dropKey(key: string): Promise<void>;
}

export interface FrozenDisksParts {
  workspace: Workspace;
  opened: Promise<DiskStore>;
  machine: MachineDisks;
  rows: DiskRows;
  works: DiskWorks;
  text(): typeof enDiskWork;
}

/** Between a disk's id and the key of what keeps its content. */
const COPY = "@";
const copyIdOf = (id: string, key: string): string => id + COPY + key;
const HANDOVER_MS = 2000;
/** What nobody knows is taken for something that is just being made until then. */
const ORPHAN_MS = 3600_000;

export function createFrozenDisks({ workspace, opened, machine, rows, works, text }: FrozenDisksParts): FrozenDisks {
  const frozenDisks: FrozenDisks = {
    async freeze(key) {
      const disks = await opened;
      const frozen: FrozenDisk[] = [];
      try {
        for (const { disk, slot, drive } of machine.all()) {
          if (!drive.writable) throw new Error(text().cannotFreeze(disk.name));
          const copyId = copyIdOf(disk.id, key);
          frozen.push({ disk, slot, copyId, content: await disks.freeze(disk.id, copyId) });
        }
        return frozen;
      } catch (error) {
        await frozenDisks.dropFrozen(key, frozen);
        throw error;
      }
    },
    contents: () =>
      machine.all().map(({ disk, slot, drive }) => ({ disk, slot, copyId: null, content: drive.content })),
    async movedOn(frozen) {
      if (frozen.length === 0) return [];
      const disks = await opened;
      const moved: string[] = [];
      for (const { disk, content } of frozen) if (!(await disks.isAt(disk.id, content))) moved.push(disk.name);
      return moved;
    },
    async hindrance(frozen) {
      if (frozen.length === 0) return null;
      const disks = await opened;
      // A page that has just been left, and a look at what is on a disk, have it for a moment.
      const deadline = performance.now() + HANDOVER_MS;
      let held = await rows.heldElsewhere();
      while (frozen.some(({ disk }) => held.has(disk.id)) && performance.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        held = await rows.heldElsewhere();
      }
      for (const { disk, copyId, content } of frozen) {
        const isThere = await disks.isAt(disk.id, content);
        if (held.has(disk.id)) return text().inUseElsewhere(disk.name);
        if (!isThere && (copyId === null || !(await disks.facts(copyId)))) return text().contentGone(disk.name);
        if (works.of(disk.id)) return text().busy(disk.name);
      }
      return null;
    },
    plugFrozen: (frozen) =>
      machine.plugAgain(async () => {
        if (frozen.length === 0) return [];
        const disks = await opened;
        for (const { disk, copyId, content } of frozen) {
          if (!(await disks.isAt(disk.id, content))) {
            if (copyId === null) throw new Error(text().contentGone(disk.name));
            await disks.thaw(copyId, disk.id);
          }
          if (!has(disk)) workspace.setDisks((project) => bringBack(project, disk));
        }
        return frozen;
      }),
    async readFrozen({ disk, copyId }, use) {
      if (copyId === null) throw new Error(text().contentGone(disk.name));
      return (await opened).read(copyId, use);
    },
    async putFrozen(key, { disk, slot }, sizeBytes, extents, diskId) {
      const disks = await opened;
      const mine: ProjectDisk = { ...disk, id: diskId ?? (has(disk) ? disk.id : newId()) };
      const copyId = copyIdOf(mine.id, key);
      await disks.put(copyId, sizeBytes, extents);
      return { disk: mine, slot, copyId, content: await disks.content(copyId) };
    },
    async dropFrozen(key, frozen) {
      if (frozen.length === 0) return;
      const disks = await opened;
      for (const { disk, copyId } of frozen) {
        if (copyId === null || copyId !== copyIdOf(disk.id, key)) continue;
        await disks.remove(copyId).catch(() => {});
        if (machine.of(disk.id)) await disks.tidy(disk.id).catch(() => {});
      }
      void rows.look(frozen.map(({ disk }) => disk.id));
    },
    async oldKeys() {
      const disks = await opened;
      const keys = new Set<string>();
      for (const id of await disks.ids())
        if (isCopy(id) && (await isOld(disks, id))) keys.add(id.slice(id.indexOf(COPY) + COPY.length));
      return [...keys];
    },
    async dropKey(key) {
      const disks = await opened;
      for (const id of await disks.ids()) if (id.endsWith(COPY + key)) await disks.remove(id).catch(() => {});
    },
  };
  const has = (disk: ProjectDisk): boolean => workspace.project.disks.some(({ id }) => id === disk.id);
  return frozenDisks;
}

/** Takes away disks that no project knows: what a page left behind that was closed before it had noted what it did. */
export async function dropOrphans(disks: DiskStore, isKnown: (id: string) => boolean): Promise<void> {
  // What saved machines keep is theirs to give back.
  for (const id of await disks.ids())
    if (!isKnown(id) && !isCopy(id) && (await isOld(disks, id))) await disks.remove(id).catch(() => {});
}

function isCopy(id: string): boolean {
  return id.includes(COPY);
}

async function isOld(disks: DiskStore, id: string): Promise<boolean> {
  const facts = await disks.facts(id);
  return Date.now() - (facts?.createdAt ?? 0) > ORPHAN_MS;
}
