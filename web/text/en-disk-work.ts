import type { DriveProblem } from "../disk-drive.ts";

/** What the page says of work with disks, in English. */
export const enDiskWork = {
  systemDisk: "system",
  busy: (name: string) => `Cannot change ${name}: other work on it is under way; wait for it or cancel it`,
  inUse: (name: string) => `Cannot change ${name}: the machine has it; power the machine off first`,
  cancelled: (name: string) => `The work on ${name} was cancelled; the disk is as it was`,
  fileTooLarge: (path: string) => `Cannot take out ${path}: it is larger than 64 GiB`,
  full: (name: string) =>
    `Cannot store ${name}: the browser's storage is full; delete disks or projects, or make it smaller`,
  nameTaken: (name: string) => `Cannot name a disk ${name}: another disk of the project has that name`,
  nameMissing: "Cannot name a disk: give it a name",
  systemStays: "Cannot detach the system disk: it is always the first drive",
  cannotShrinkUnknown: (name: string) =>
    `Cannot make ${name} smaller: what is on it is not known, and the end of it would be cut off`,
  goneForGood: (name: string) => `Cannot bring ${name} back: it has been deleted for good`,
  emptyFile: (name: string) => `Cannot import ${name}: the file is empty`,
  tooLarge: (name: string) => `Cannot import ${name}: it is larger than 64 GiB`,
  missing: (name: string) =>
    `Cannot find what is on the disk ${name}: this browser does not have it; detach or delete the disk`,
  openElsewhere: (name: string) =>
    `Another tab's machine has the disk ${name}: here it is as it was when that machine started, and cannot be written to`,
  cannotFreeze: (name: string) =>
    `Cannot save the machine: it only reads the disk ${name}, which another tab's machine writes`,
  inUseElsewhere: (name: string) =>
    `Cannot bring back the disk ${name}: another tab's machine has it; switch that machine off`,
  contentGone: (name: string) =>
    `Cannot bring back the disk ${name}: something else has been written to it since, and what it had is not kept`,
  removed: (name: string) => `Deleted the disk ${name}`,
  undo: "Undo",
  problem(kind: DriveProblem["kind"], name: string, offset: number, detail: string): string {
    const at = `${name}, byte ${offset}`;
    switch (kind) {
      case "quota":
        return `Cannot write to ${at}: the browser's storage is full. The guest sees an I/O error; what it has synced is safe. Delete disks or projects to make room`;
      case "damaged":
        return `Cannot read ${at}: what is stored there is damaged (${detail}). The guest sees an I/O error instead of wrong bytes`;
      case "read-only":
        return `Cannot write to ${name}: another tab's machine has it. The guest sees an I/O error`;
      case "failed":
        return `Cannot use ${at}: the browser's storage refuses (${detail}). The guest sees an I/O error`;
    }
  },
};
