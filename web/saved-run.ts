/** A run that is saved: what is kept of it, and how it is taken while nothing moves. */
import type { BootRecipe } from "./boot-recipe.ts";
import type { Machine, NetworkCard } from "./machine.ts";
import type { Resumed, Run } from "./run.ts";
import type { BootMode } from "./state.ts";

/** What the page knows of a machine beside its state. */
export interface SavedRun extends Resumed {
  mode: BootMode;
  memoryMb: number;
  card: NetworkCard;
  commandLine: string;
}

export interface Saved<T> {
  state: ArrayBuffer;
  run: SavedRun;
  /** What the machine was built from. */
  recipe: BootRecipe;
  result: T;
}

/** As `Session.save`. */
export async function saveRun<T>(
  run: Run | null,
  atRest: () => Promise<T>,
  keep?: (saved: Saved<T>) => Promise<void>,
): Promise<Saved<T>> {
  const found = savable(run);
  if (!run || !found) throw new Error("Cannot save the machine: it is off, or has not come to its prompt");
  await found.machine.pause();
  try {
    await Promise.all(run.drives.map((drive) => drive?.settled?.()));
    const [result, state] = await Promise.all([atRest(), found.machine.save()]);
    const saved = { state, run: found.facts, recipe: run.recipe, result };
    if (!keep) return saved;
    await keep(saved);
    await run.off("the machine was suspended");
    return saved;
  } finally {
    run.goOn();
  }
}

/** As `Session.saveNow`. */
export function saveRunNow(run: Run | null, mostBytes: number): Omit<Saved<null>, "result"> | null {
  const found = savable(run);
  if (!run || !found || run.drives.some((drive) => drive?.isBusy?.())) return null;
  void found.machine.pause();
  const state = found.machine.saveNow(mostBytes);
  return state && { state, run: found.facts, recipe: run.recipe };
}

/** What is to be known of a machine that can be saved, or null. */
function savable(run: Run | null): { machine: Machine; facts: SavedRun } | null {
  if (!run?.machine || run.hasEnded) return null;
  const { machine, mode, recipe, timeline, agent } = run;
  const { status, promptMs, poweredAt } = run.state;
  if (promptMs === null || (status !== "running" && status !== "paused")) return null;
  const { memoryMb, card, commandLine } = recipe;
  const uptimeMs = performance.now() - (poweredAt ?? performance.now());
  return {
    machine,
    facts: { mode, memoryMb, card, commandLine, promptMs, uptimeMs, timeline, commands: agent.counted },
  };
}
