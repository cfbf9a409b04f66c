/** What the page says of its work with saved machines, in English. */
export const enSnapshotWork = {
  defaultName: (count: number) => `Snapshot ${count}`,
  suspendedName: "Suspended",
  nameMissing: "Cannot name the snapshot: please give a name",
  nameTaken: (name: string) => `Cannot name the snapshot ${name}: there is one of that name`,
  none: (name: string) => `Cannot find the snapshot ${name}: this project has none of that name`,
  busy: "Cannot do that yet: the page is still at work on another snapshot",
  tooMany: (most: number) => `Cannot save the machine: there are ${most} snapshots, and no more are kept; delete one`,
  tooLarge: (most: string) => `Cannot save the machine: snapshots take ${most}, and no more is kept; delete one`,
  full: "Cannot save the machine: the browser's storage is full. Everything that was saved before is there; delete snapshots, disks or projects to make room",
  refused: (detail: string) => `Cannot use snapshots: the browser refuses to store them (${detail})`,
  otherEmulator: (name: string) =>
    `Cannot go on with ${name}: it was saved with another version of the emulator, which lays a machine out differently`,
  otherSystem: (name: string) =>
    `Cannot go on with ${name}: it was saved with another version of the kernel or the BIOS`,
  damaged: (name: string) => `Cannot go on with ${name}: what is stored of it is damaged`,
  notWritable: "Cannot suspend the machine: the project is open in another tab",
  saved: (name: string) => `Saved the machine as ${name}`,
  suspended: "The machine is suspended. It goes on when this project is opened again.",
  resumeNow: "Go on",
  resumed: (time: string) => `The machine goes on where it was at ${time}.`,
  bootInstead: "Boot anew",
  restored: (name: string) => `The machine is as it was in ${name}.`,
  movedOn: (disks: string) =>
    `The suspended machine was left as it is: ${disks} has been written to since. You can still go back to it among the snapshots.`,
  lost: (disks: string) => `The machine starts anew: ${disks} has been written to since the page was left.`,
  notResumed: (reason: string) => `The machine starts anew. ${reason}`,
  removed: (name: string) => `Deleted the snapshot ${name}`,
  undo: "Undo",
  goneForGood: (name: string) => `Cannot bring back ${name}: it is deleted for good`,
  notAFile: (name: string) => `Cannot open ${name}: it is no snapshot, or it is damaged`,
};
