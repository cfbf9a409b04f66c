import type { SnapshotRow, SnapshotsState } from "../state.ts";

/** The words of the snapshots view in English. */
export const enSnapshots = {
  title: "Snapshots",
  save: "Save",
  saveTitle: "Save the machine",
  saveLabel: "Name of the snapshot",
  saveHint: "The machine as it is now, and what is on its disks. It goes on.",
  saveFirst: "Save the machine",
  defaultName: (count: number) => `Snapshot ${count}`,
  needsMachine: "Only while the machine is at its prompt",
  suspend: "Suspend",
  suspendHint: "Save the machine and switch it off; it goes on when this project is opened again",
  import: "Open a snapshot from a file",
  drop: "Drop to open as a snapshot",
  none: "No snapshots yet",
  noneHint:
    "A snapshot is the whole machine at one moment: its memory, its terminal and its disks. Go back to it as often as you like.",
  work: {
    save: "Saving …",
    suspend: "Suspending …",
    restore: "Going back …",
    download: "Packing …",
    import: "Opening …",
  } as Record<NonNullable<SnapshotsState["work"]>["what"], string>,

  // One of them
  suspended: "suspended",
  suspendedTitle: "The machine is suspended",
  suspendedHint: "It goes on when this project is opened again.",
  picture: "The machine's last lines",
  up: (clock: string) => `up ${clock}`,
  withDisks: (disks: string) => `Disks: ${disks}`,
  stored: (size: string) => `${size} in this browser`,
  restore: "Go back",
  resume: "Go on",
  restoreNamed: (name: string) => `Go back to ${name}`,
  more: (name: string) => `More about ${name}`,
  rename: "Rename",
  renameTitle: "Rename the snapshot",
  download: "Download",
  remove: "Delete",
  nameTaken: (name: string) => `There is a snapshot named ${name}.`,
  unfit: {
    emulator: "Saved with another version of the emulator: this page cannot go on with it.",
    system: "Saved with another version of the kernel or the BIOS: this page cannot go on with it.",
  } as Record<NonNullable<SnapshotRow["unfit"]>, string>,

  // Going back
  restoreTitle: (name: string) => `Go back to ${name}?`,
  machineEnds: "The present machine ends at once, as when the power fails.",
  disksMove: (disks: string) => `What is on ${disks} becomes what it was then: everything written there since is lost.`,
  machineOnly: "Nothing has been written to its disks since.",

  // Leaving the page
  resumes: "Go on where I was when the page is closed or reloaded",
  resumesHint:
    "Leaving the page keeps the machine. When this project is opened again, it goes on, unless something else has written to its disks.",
  amount: (count: number, most: number, bytes: string, mostBytes: string) =>
    `${count} of ${most} snapshots, ${bytes} of ${mostBytes}`,
};
