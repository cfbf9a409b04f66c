/** What the page shows of saved machines, and what a person can do about them. */
import type { BootMode } from "./boot-state.ts";

/** A saved machine, as lists and views have it. */
export interface SnapshotRow {
  id: string;
  /** "suspended": what the project goes on with when its page is opened again. */
  kind: "named" | "suspended";
  projectId: string;
  name: string;
  /** Milliseconds since 1970. */
  createdAt: number;
  picture: {
    /** The terminal's last lines. */
    lines: readonly string[];
    /** The screen, when it showed graphics: a data URL. */
    image: string | null;
  };
  memoryMb: number;
  mode: BootMode;
  /** Since power-on. */
  uptimeMs: number;
  /** The names of the disks that it goes back on. */
  disks: readonly string[];
  /** What it takes in the storage; what it shares with others counts for each. */
  storedBytes: number;
  /** Why this page cannot go on with it, when that is known already. */
  unfit: "emulator" | "system" | null;
}

export interface SnapshotsState {
  /** Those of the open project, the newest first. */
  rows: readonly SnapshotRow[];
  /** Of all projects. */
  count: number;
  /** What all of them take together, what they share counted once. */
  storedBytes: number;
  most: { count: number; bytes: number };
  work: { what: "save" | "suspend" | "restore" | "download" | "import"; id: string | null } | null;
  /** The machine is kept when the page is left, and goes on when it is opened again. */
  resumes: boolean;
}

export const NO_SNAPSHOTS: SnapshotsState = {
  rows: [],
  count: 0,
  storedBytes: 0,
  most: { count: 0, bytes: 0 },
  work: null,
  resumes: false,
};

/** What the user can do about saved machines. */
export interface SnapshotActions {
  save(name: string): void;
  /** Saves the machine and switches it off; it goes on when the page is opened again. */
  suspend(): void;
  /** The present machine ends, and disks become what they were: the view asks first. */
  restore(id: string): void;
  rename(id: string, name: string): void;
  /** Shows a notice with "undo". */
  remove(id: string): void;
  download(id: string): void;
  import(file: File): void;
  setResumes(resumes: boolean): void;
  /** The names of the disks that have been written to since, and would become what they were. */
  movedOn(id: string): Promise<readonly string[]>;
}
