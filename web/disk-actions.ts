/** What a person can do with disks: refusals and results become notices. */
import type { Disks } from "./disks.ts";
import { complain, type Notify } from "./notify.ts";
import type { DiskActions } from "./state.ts";
import type { enDiskWork } from "./text/en-disk-work.ts";

export interface DiskActionsParts {
  disks: Disks;
  text(): typeof enDiskWork;
  notify: Notify;
  saveAs(blob: Blob, name: string): void;
  /** What goes wrong with a boot is in the machine's state. */
  boot(): void;
}

export function createDiskActions({ disks, text, notify, saveAs, boot }: DiskActionsParts): DiskActions {
  const attempt = async (run: () => unknown): Promise<void> => {
    try {
      await run();
    } catch (error) {
      complain(notify, error);
    }
  };
  const nameOf = (id: string): string => disks.list().find((row) => row.id === id)?.name ?? id;

  return {
    create: (wish) => void attempt(() => disks.create(wish)),
    attach: (id, drive) => void attempt(() => disks.attach(id, drive)),
    detach: (id) => void attempt(() => disks.detach(id)),
    resize: (id, sizeMb) => void attempt(() => disks.resize(id, sizeMb)),
    duplicate: (id) => void attempt(() => disks.duplicate(id)),
    rename: (id, name) => void attempt(() => disks.rename(id, name)),
    remove: (id) =>
      void attempt(async () => {
        const name = nameOf(id);
        const bringBack = await disks.remove(id);
        notify("info", text().removed(name), {
          label: text().undo,
          run: () => void attempt(() => bringBack()),
        });
      }),
    import: (file) => void attempt(() => disks.importFile(file, file.name)),
    download: (id) => void attempt(async () => saveAs(await disks.exportRaw(id), `${nameOf(id)}.img`)),
    build: () => void attempt(() => disks.buildSystemDisk()),
    setSystemDisk: (wish) => void attempt(() => disks.setSystemDisk(wish)),
    boot,
    reset: (id) => void attempt(() => disks.reset(id)),
    merge: (id) => void attempt(() => disks.merge(id)),
    cancel: (id) => disks.cancel(id),
    list: (id, path) => disks.entries(id, path),
    extract: (id, path) =>
      void attempt(async () => saveAs(await disks.extract(id, path), path.slice(path.lastIndexOf("/") + 1))),
    put: (id, directory, files) => disks.putFiles(id, directory, files),
    removeEntry: (id, path) => disks.removeEntry(id, path),
  };
}
