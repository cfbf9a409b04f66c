/** What a page can tell of a project's machine before it asks the storage. */

const HINT = "smart-os:kept:";

/** Notes where every page can see it at once that a project's machine waits in the storage. */
export function hint(project: string, isKept: boolean): void {
  try {
    if (isKept) localStorage.setItem(HINT + project, "1");
    else localStorage.removeItem(HINT + project);
  } catch {
    // Then it does not go on by itself; it is among the snapshots.
  }
}

export function hasHint(project: string): boolean {
  try {
    return localStorage.getItem(HINT + project) !== null;
  } catch {
    return false;
  }
}

/** How long the last page may take to let its project go. */
const HANDOVER_MS = 400;

/** Whether another tab has the project; a page that has just been left may have it for a moment. */
export async function isOpenElsewhere(project: string): Promise<boolean> {
  if (!navigator.locks) return false;
  const deadline = performance.now() + HANDOVER_MS;
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
