/** The disk from which the project boots: it is built from the project when it is first needed, and is its first drive. */
import type { BuildProgress } from "../worker/api.ts";
import type { Builder } from "./builder.ts";
import { systemImage } from "./disk-build.ts";
import type { DiskStore } from "./disk-store.ts";
import type { DiskWorks } from "./disk-work.ts";
import { SYSTEM_DISK } from "./project.ts";
import { addDisk, changeDisk, checkSize, checkSwap, type ProjectDisk, replaceDisk, withSwap } from "./project-disks.ts";
import { fingerprint } from "./project-sum.ts";
import { DRIVES } from "./state.ts";
import type { enDiskWork } from "./text/en-disk-work.ts";
import type { Workspace } from "./workspace.ts";

export interface SystemDiskWish {
  /** Of the whole disk, in MiB. */
  sizeMb: number;
  fileSystem: "ext2" | "ext3" | "ext4";
  /** Of a second partition for swap, in MiB, which the size includes; 0: there is none. */
  swapMb: number;
}

export interface SystemDisk {
  /** The project's, or what it would be. */
  shown(): ProjectDisk;
  /** The project's, which becomes one of its disks when it is first asked for. */
  own(): ProjectDisk;
  /** Takes effect when it is built. @throws ProjectError when there can be no such disk */
  set(wish: Partial<SystemDiskWish>): void;
  /** Builds it from the project as it is. @param disk what `own` has given @throws Error with a sentence for the user */
  build(disk: ProjectDisk, options: { signal: AbortSignal; onProgress(progress: BuildProgress): void }): Promise<void>;
}

export interface SystemDiskParts {
  workspace: Workspace;
  builder: Builder;
  opened: Promise<DiskStore>;
  worded: DiskWorks["worded"];
  text(): typeof enDiskWork;
}

export function createSystemDisk({ workspace, builder, opened, worded, text }: SystemDiskParts): SystemDisk {
  const shown = (): ProjectDisk =>
    workspace.project.disks.find(({ kind }) => kind === "system") ?? {
      id: `${workspace.project.id}-system`,
      name: text().systemDisk,
      kind: "system",
      ...SYSTEM_DISK,
      drive: DRIVES[0],
    };
  const own = (): ProjectDisk => {
    const disk = shown();
    if (!workspace.project.disks.includes(disk)) workspace.setDisks((project) => addDisk(project, disk));
    return disk;
  };
  return {
    shown,
    own,
    set(wish) {
      const disk = own();
      if (Object.keys(wish).length === 0) return;
      const { sizeMb = disk.sizeMb, swapMb = disk.swapMb ?? 0 } = wish;
      const fileSystem = wish.fileSystem ?? (disk.fileSystem as SystemDiskWish["fileSystem"]);
      checkSize(`Cannot make the system disk`, fileSystem, sizeMb);
      checkSwap(fileSystem, sizeMb, swapMb);
      workspace.setDisks((project) => replaceDisk(project, withSwap({ ...disk, sizeMb, fileSystem }, swapMb)));
    },
    async build(disk, options) {
      const disks = await opened;
      const { project } = workspace;
      const image = await systemImage(builder, project, disk, options);
      await worded(disk, disks.put(disk.id, image.size, image.extents, { signal: options.signal }));
      workspace.setDisks((now) => changeDisk(now, disk.id, { builtFrom: fingerprint(project, disk) }));
    },
  };
}
