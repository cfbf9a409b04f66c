/** What is stored of a saved machine. docs/snapshots.md */
import type { FrozenDisk } from "./frozen-disks.ts";
import type { SavedRun } from "./saved-run.ts";
import type { SnapshotRow } from "./state.ts";

/** What a state can only go on in: another emulator lays it out differently, another system is not what was saved. */
export interface SystemKey {
  emulator: string;
  system: string;
  /** The same by its content, for those who do not serve it under these names: see `fingerprint`. Older snapshots have none. */
  fingerprint?: string;
}

/** What a fingerprint is made of, beside the emulator. */
export const SYSTEM_FILES = ["bzImage", "bios.bin", "vgabios.bin"] as const;

/** @param sums SHA-256 in hexadecimal digits: of the emulator, then of SYSTEM_FILES */
export function fingerprint(sums: readonly string[]): string {
  return sums.map((sum) => sum.slice(0, 16)).join(" ");
}

/** A piece of a state, by the SHA-256 of its bytes. */
export interface StatePiece {
  hash: string;
  /** Bytes, before compression and as they are stored. */
  size: number;
  stored: number;
}

export interface SnapshotPicture {
  /** The terminal's last lines. */
  lines: readonly string[];
  /** The screen, when it shows graphics: a data URL. */
  image: string | null;
}

/** Everything but the state. */
export interface SnapshotFacts {
  id: string;
  /** "suspended": the one that a project goes on with when its page is opened again. */
  kind: "named" | "suspended";
  projectId: string;
  name: string;
  /** Milliseconds since 1970. */
  createdAt: number;
  run: SavedRun;
  system: SystemKey;
  /** Tells whether the project is still what the machine was built from. */
  project: string;
  /** The terminal's content, as what a program would have to print for it. */
  terminal: string;
  picture: SnapshotPicture;
  disks: readonly FrozenDisk[];
}

export interface SnapshotRecord extends SnapshotFacts {
  version: 1;
  /** It was deleted then, and can still be brought back. */
  removedAt?: number;
  pieces: readonly StatePiece[];
  /** XXH32 of the whole state. */
  sum: number;
}

export const MOST_SNAPSHOTS = 32;
export const MOST_BYTES = 500e6;

export function storedBytes(pieces: readonly StatePiece[]): number {
  return pieces.reduce((sum, piece) => sum + piece.stored, 0);
}

export function rowOf(record: SnapshotRecord, here: SystemKey): SnapshotRow {
  const { id, kind, projectId, name, createdAt, picture, run, disks, pieces, system, terminal } = record;
  return {
    ...{ id, kind, projectId, name, createdAt, picture },
    memoryMb: run.memoryMb,
    mode: run.mode,
    uptimeMs: run.uptimeMs,
    disks: disks.map(({ disk }) => disk.name),
    storedBytes: storedBytes(pieces) + terminal.length,
    unfit: system.emulator !== here.emulator ? "emulator" : system.system !== here.system ? "system" : null,
  };
}
