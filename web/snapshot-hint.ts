/** What a page can tell of a project's machine before it asks the storage. */
import { readNote, writeNote } from "./local-note.ts";

const HINT = "smart-os:kept:";

/**
 * Notes where every page can see it at once whether a project's machine waits in the storage. One of which no note can be
 * made does not go on by itself; it is among the snapshots.
 * @param kept "left": put there by a page that is being left
 */
export function hint(project: string, kept: "kept" | "left" | null): void {
  writeNote(HINT + project, kept === "left" ? `left ${Date.now()}` : kept);
}

export function hasHint(project: string): boolean {
  return readNote(HINT + project) !== null;
}

/** How long the last page may take to let its project go; on a busy computer one takes long to end. */
const HANDOVER_MS = 400;
const LEFT_HANDOVER_MS = 5000;

/** Whether the page that had the project was left a moment ago. */
function isJustLeft(project: string): boolean {
  const [, leftAt] = /^left (\d+)$/.exec(readNote(HINT + project) ?? "") ?? [];
  return leftAt !== undefined && Math.abs(Date.now() - Number(leftAt)) < 2 * LEFT_HANDOVER_MS;
}

/** Whether another tab has the project; a page that has just been left may have it for a moment. */
export async function isOpenElsewhere(project: string): Promise<boolean> {
  if (!navigator.locks) return false;
  const deadline = performance.now() + (isJustLeft(project) ? LEFT_HANDOVER_MS : HANDOVER_MS);
  // A lock of which we know that it is ours tells which of the others are.
  const own = `smart-os:page:${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
  return navigator.locks.request(own, async () => {
    for (;;) {
      const { held = [] } = await navigator.locks.query();
      const holder = held.find(({ name }) => name === `smart-os:project:${project}`)?.clientId;
      if (holder === undefined || holder === held.find(({ name }) => name === own)?.clientId) return false;
      if (performance.now() > deadline) return true;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
}
