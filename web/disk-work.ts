/** Work on a disk that takes its time: one at a time on each, with its progress, until it ends or the user ends it. */
import type { LongWork } from "./disk-image.ts";
import { ProjectError } from "./project.ts";
import type { ProjectDisk } from "./project-disks.ts";
import { isQuota } from "./quota.ts";
import { CancelledError } from "./sentence.ts";
import type { DiskRow } from "./state.ts";
import type { enDiskWork } from "./text/en-disk-work.ts";
import { throttle } from "./throttle.ts";

export interface DiskWorks {
  /** What is under way on a disk, in bytes; null: nothing. */
  of(id: string): DiskRow["work"];
  /**
   * @param total in bytes
   * @throws ProjectError when something is under way on the disk, CancelledError when the user ended it, and what `run` throws
   */
  run<T>(
    disk: ProjectDisk,
    what: NonNullable<DiskRow["work"]>["what"],
    total: number,
    run: (work: Required<LongWork>) => Promise<T>,
  ): Promise<T>;
  cancel(id: string): void;
  /** What is too short to be shown. @throws what it throws, in words where the browser only has a name for it */
  worded<T>(disk: Pick<ProjectDisk, "name">, work: Promise<T>): Promise<T>;
}

export interface DiskWorksParts {
  text(): typeof enDiskWork;
  onProgress(): void;
  /** Work on the disk has ended, one way or the other. */
  onEnd(id: string): Promise<void>;
}

export function createDiskWorks({ text, onProgress, onEnd }: DiskWorksParts): DiskWorks {
  const works = new Map<string, { work: DiskRow["work"]; abort: AbortController }>();

  const worded: DiskWorks["worded"] = async (disk, work) => {
    try {
      return await work;
    } catch (error) {
      throw isQuota(error) ? new Error(text().full(disk.name)) : error;
    }
  };
  return {
    of: (id) => works.get(id)?.work ?? null,
    async run(disk, what, total, run) {
      if (works.has(disk.id)) throw new ProjectError(text().busy(disk.name));
      const abort = new AbortController();
      const show = (done: number): void => {
        works.set(disk.id, { work: { what, done: Math.min(done, total), total }, abort });
        onProgress();
      };
      show(0);
      try {
        return await worded(disk, run({ signal: abort.signal, onProgress: throttle(show) }));
      } catch (error) {
        throw abort.signal.aborted ? new CancelledError(text().cancelled(disk.name)) : error;
      } finally {
        works.delete(disk.id);
        await onEnd(disk.id);
      }
    },
    cancel: (id) => works.get(id)?.abort.abort(),
    worded,
  };
}
