const TICK_MS = 1000;

/**
 * Calls when so much time has passed while this process ran. A computer that sleeps, or a process that is stopped for a
 * while, makes nobody slow: what was on the way arrives afterwards.
 * @returns a function that calls it off
 */
export function afterPatience(ms: number, onOver: () => void): () => void {
  let left = Math.ceil(ms / TICK_MS);
  // However long it was stopped, an interval that is late fires once.
  const timer = setInterval(() => {
    left -= 1;
    if (left > 0) return;
    clearInterval(timer);
    onOver();
  }, TICK_MS);
  return () => clearInterval(timer);
}
