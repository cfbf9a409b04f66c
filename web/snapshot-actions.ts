/** What a person can do with saved machines: refusals and results become notices. */
import { complain, type Notify } from "./notify.ts";
import type { Snapshots } from "./snapshots.ts";
import type { SnapshotActions } from "./state.ts";
import type { enSnapshotWork } from "./text/en-snapshot-work.ts";

export interface SnapshotActionsParts {
  snapshots: Snapshots;
  text(): typeof enSnapshotWork;
  notify: Notify;
  saveAs(blob: Blob, name: string): void;
}

export function createSnapshotActions({ snapshots, text, notify, saveAs }: SnapshotActionsParts): SnapshotActions {
  const attempt = async (run: () => Promise<unknown>): Promise<void> => {
    try {
      await run();
    } catch (error) {
      complain(notify, error);
    }
  };
  const nameOf = (id: string): string => snapshots.list().find((row) => row.id === id)?.name ?? id;
  return {
    save: (name) => void attempt(async () => notify("info", text().saved((await snapshots.save(name)).name))),
    suspend: () =>
      void attempt(async () => {
        const { id } = await snapshots.suspend();
        notify("info", text().suspended, {
          label: text().resumeNow,
          run: () =>
            void attempt(async () => {
              const moved = await snapshots.movedOn(id);
              if (moved.length > 0) notify("warning", text().movedOn(moved.join(", ")));
              else await snapshots.restore(id);
            }),
        });
      }),
    restore: (id) =>
      void attempt(async () => {
        const name = nameOf(id);
        await snapshots.restore(id);
        notify("info", text().restored(name));
      }),
    rename: (id, name) => void attempt(() => snapshots.rename(id, name)),
    remove: (id) =>
      void attempt(async () => {
        const name = nameOf(id);
        const bringBack = await snapshots.remove(id);
        notify("info", text().removed(name), { label: text().undo, run: () => void attempt(bringBack) });
      }),
    download: (id) =>
      void attempt(async () => saveAs(await snapshots.exportFile(id), `${nameOf(id)}.smartos-snapshot`)),
    import: (file) => void attempt(() => snapshots.importFile(file, file.name)),
    setResumes: (resumes) => snapshots.setResumes(resumes),
    movedOn: (id) => snapshots.movedOn(id),
  };
}
