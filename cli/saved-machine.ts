/** The saved machine of a bundle: read, looked at like anything from a stranger, and whether it can go on here. */
import { createHash } from "node:crypto";
import { readEmulator } from "../tools/emulator.ts";
import { decodeSnapshotFile } from "../web/snapshot-file.ts";
import { fingerprint, type SnapshotRecord, SYSTEM_FILES } from "../web/snapshot-record.ts";
import { openState } from "../web/snapshot-state.ts";
import { type BundleExtra, SNAPSHOT } from "../worker/bundle.ts";
import type { DiskStream } from "../worker/format/disk-stream.ts";
import { messageOf } from "./problem.ts";
import { readSystem } from "./system.ts";

export interface SavedMachine {
  record: SnapshotRecord;
  state: ArrayBuffer;
  /** What was on its disks, and where they were plugged in: 0 is sda. */
  disks: { slot: number; content: DiskStream }[];
}

/**
 * @returns null when there is none
 * @throws Error in words, when it is damaged or is one of another version
 */
export async function openSavedMachine(extras: readonly BundleExtra[]): Promise<SavedMachine | null> {
  const extra = extras.find(({ name }) => name === SNAPSHOT);
  if (!extra) return null;
  const parts: Blob[] = [];
  for await (const part of extra.content) parts.push(new Blob([part as Uint8Array<ArrayBuffer>]));
  const { record, pieces, disks } = await decodeSnapshotFile(new Blob(parts)).catch((error: unknown) => {
    // What JSON.parse and its readers say of damage is nothing for users.
    throw error instanceof SyntaxError || error instanceof TypeError ? new Error("it is damaged") : error;
  });
  if (record.system.fingerprint !== ownFingerprint())
    throw new Error("it was saved with another version of the emulator, the kernel or the BIOS");
  const { state } = await openState(record, pieces).catch((error: unknown) => {
    throw new Error(messageOf(error).replace(/^Cannot use the (state|snapshot): /, ""));
  });
  return {
    record,
    state,
    disks: disks.map(({ sizeBytes, extents }, at) => ({
      slot: record.disks[at]?.slot as number,
      content: { size: sizeBytes, extents },
    })),
  };
}

function ownFingerprint(): string {
  const files = [readEmulator(), ...SYSTEM_FILES.map(readSystem)];
  return fingerprint(files.map((bytes) => createHash("sha256").update(bytes).digest("hex")));
}
