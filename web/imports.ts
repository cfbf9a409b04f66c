/**
 * Files from outside that become projects: bundles, disk images, archives of a root file system. A file is looked at in a
 * worker, shown, and then taken as a new project; nothing that was there before is touched.
 */
import type { Extent, FileInspection } from "../worker/api.ts";
import type { Builder } from "./builder.ts";
import type { DiskContents } from "./disk-contents.ts";
import { createBlobSink } from "./export-sink.ts";
import { newId } from "./library.ts";
import { createProject } from "./project.ts";
import type { ProjectDisk } from "./project-disks.ts";
import type { Stranger } from "./share.ts";

/** A file that was looked at. */
export interface Found {
  inspection: FileInspection;
  /** The project that it would become; its disks have the ids of the file. */
  stranger: Stranger;
  /** It starts from its own disk. */
  startsFromDisk: boolean;
  /** Stores what is on its disks. */
  takeDisks(signal: AbortSignal, onProgress: (done: number) => void): Promise<TakenDisks>;
  /** The saved machine that comes with it; null when there is none. */
  takeSnapshot: ((signal: AbortSignal) => Promise<Blob>) | null;
}

export interface TakenDisks {
  /** The project's disks, under ids of their own. */
  disks: ProjectDisk[];
  /** Those, by the ids that they have in the file. */
  ids: ReadonlyMap<string, string>;
}

const NO_DISKS: TakenDisks = { disks: [], ids: new Map() };
/** Of what brings nothing along that is stored beside the project. */
const ALONE = { startsFromDisk: false, takeDisks: async () => NO_DISKS, takeSnapshot: null } as const;
const MIB = 1024 * 1024;
/** Whatever is not looked through by then is not worth the wait. */
const OPEN_MS = 60_000;

/** @throws Error with a sentence for the user */
export async function openImport(
  file: File,
  opener: Builder,
  disks: DiskContents,
  signal: AbortSignal,
): Promise<Found> {
  const timeout = AbortSignal.timeout(OPEN_MS);
  try {
    return await look(file, opener, disks, AbortSignal.any([signal, timeout]));
  } catch (error) {
    if (!timeout.aborted) throw error;
    throw new Error(`Cannot open ${file.name}: it was not looked through within ${OPEN_MS / 1000} seconds`);
  }
}

async function look(file: File, opener: Builder, disks: DiskContents, limit: AbortSignal): Promise<Found> {
  const inspection = await opener.inspectFile(file, limit);
  const take = async (
    id: string | null,
    disk: ProjectDisk,
    work: AbortSignal,
    onProgress: (done: number) => void,
  ): Promise<ProjectDisk> => {
    const own = { ...disk, id: newId() };
    const pipe = createPipe<Extent>();
    // When there is no room, nobody takes what the worker has read.
    const stop = new AbortController();
    let sizeBytes = 0;
    const reading = opener
      .takeDisk(
        file,
        id,
        (extent) => {
          onProgress(extent.bytes.length);
          return pipe.push(extent);
        },
        AbortSignal.any([work, stop.signal]),
      )
      .then((size) => {
        sizeBytes = size;
        pipe.end();
      })
      .catch((error: unknown) => pipe.fail(error));
    try {
      await disks.putContent(own.id, () => sizeBytes, pipe.items(), work);
    } finally {
      stop.abort();
    }
    await reading;
    return { ...own, sizeMb: Math.max(1, Math.ceil(sizeBytes / MIB)) };
  };
  /** All or none: what was stored of a file that turns out to be damaged goes again. */
  const takeAll = async (
    wanted: readonly { id: string | null; disk: ProjectDisk }[],
    work: AbortSignal,
    onProgress: (done: number) => void,
  ): Promise<ProjectDisk[]> => {
    const taken: ProjectDisk[] = [];
    let done = 0;
    const count = (bytes: number): void => {
      done += bytes;
      onProgress(done);
    };
    try {
      for (const { id, disk } of wanted) taken.push(await take(id, disk, work, count));
    } catch (error) {
      for (const { id } of taken) await disks.dropContent(id).catch(() => {});
      throw error;
    }
    return taken;
  };

  const named = file.name.replace(/\.gz$/i, "").replace(/\.(img|raw|bin|qcow2|cpio|tar|tgz|smartos|bzImage)$/i, "");
  const { id: _, ...empty } = createProject(named.slice(0, 80) || "import", "", 0);
  switch (inspection.kind) {
    case "bundle": {
      const { project, contents, hasSnapshot } = await opener.openBundle(file, limit);
      const known = new Set(contents.map(({ id }) => id));
      const without = project.disks.filter(({ id }) => !known.has(id));
      return {
        inspection,
        stranger: { ...project, network: stranger(project.network) },
        startsFromDisk: false,
        async takeDisks(work, onProgress) {
          const wanted = project.disks.filter(({ id }) => known.has(id)).map((disk) => ({ id: disk.id, disk }));
          const taken = await takeAll(wanted, work, onProgress);
          // A system disk without content is built when it is asked for; data that are not there are no disk.
          const unbuilt = without.filter(({ kind }) => kind === "system");
          const own = [...taken, ...unbuilt.map((disk) => ({ ...disk, id: newId() }))];
          const ids = [...wanted, ...unbuilt].map(({ id }, at) => [id, (own[at] as ProjectDisk).id] as const);
          return { disks: own, ids: new Map(ids) };
        },
        takeSnapshot: hasSnapshot
          ? async (work) => {
              const sink = createBlobSink();
              await opener.takeSnapshot(file, ({ offset, bytes }) => sink.write(offset, bytes), work);
              return (await sink.finish()) as Blob;
            }
          : null,
      };
    }
    case "files":
      return {
        inspection,
        stranger: { ...empty, files: await opener.openFiles(file, limit), network: stranger(empty.network) },
        ...ALONE,
      };
    case "disk": {
      const { fileSystem, label, partitions, boots: startsFromDisk } = inspection.content;
      const disk: ProjectDisk = {
        id: "",
        name: startsFromDisk ? "system" : empty.name,
        kind: startsFromDisk ? "system" : "data",
        fileSystem:
          partitions > 0 && (fileSystem === null || !startsFromDisk) ? "partitions" : (fileSystem ?? "unknown"),
        label,
        sizeMb: Math.max(1, Math.ceil((inspection.size ?? file.size) / MIB)),
        drive: startsFromDisk ? "sda" : "sdb",
      };
      return {
        inspection,
        stranger: { ...empty, disks: [disk], network: stranger(empty.network) },
        startsFromDisk,
        async takeDisks(work, onProgress) {
          return { ...NO_DISKS, disks: await takeAll([{ id: null, disk }], work, onProgress) };
        },
        takeSnapshot: null,
      };
    }
    case "kernel":
      return {
        inspection,
        stranger: { ...empty, kernel: await opener.openKernel(file, limit), network: stranger(empty.network) },
        ...ALONE,
      };
  }
}

function stranger({ card }: Stranger["network"]): Stranger["network"] {
  return { relay: null, ...(card ? { card } : {}), stranger: true };
}

/** From somebody who pushes to somebody who pulls, one at a time. */
function createPipe<T>(): {
  push(item: T): Promise<void>;
  end(): void;
  fail(error: unknown): void;
  items(): AsyncGenerator<T>;
} {
  let queued: { item: T; taken(): void } | null = null;
  let ended = false;
  let problem: { error: unknown } | null = null;
  let wake: () => void = () => {};
  return {
    push: (item) =>
      new Promise((taken) => {
        queued = { item, taken };
        wake();
      }),
    end() {
      ended = true;
      wake();
    },
    fail(error) {
      problem = { error };
      wake();
    },
    async *items() {
      for (;;) {
        if (problem) throw problem.error;
        if (queued) {
          const { item, taken }: { item: T; taken(): void } = queued;
          queued = null;
          yield item;
          taken();
        } else if (ended) return;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    },
  };
}
