/** One machine after the other: a boot ends the machine of before, and a saved one takes its place. */
import type { CommandResult } from "./agent.ts";
import type { BootRecipe } from "./boot-recipe.ts";
import type { Plugged } from "./machine-disks.ts";
import { createNextBoot } from "./next-boot.ts";
import { createPowerOn, type PowerSources } from "./power-on.ts";
import { createRun, type Resumed, type Run, type RunEvents } from "./run.ts";
import { type Saved, type SavedRun, saveRun, saveRunNow } from "./saved-run.ts";
import { type BootMode, MACHINE_OFF, type MachineState, type TimelineBar } from "./state.ts";

export interface SessionEnvironment extends PowerSources, RunEvents {
  /** A shell came up from this recipe. */
  onBooted(recipe: BootRecipe): void;
}

export interface Session {
  /** Resolves at the first prompt. @throws Error with the problem's sentence when no shell comes. */
  boot(recipe: BootRecipe, mode: BootMode): Promise<{ promptMs: number }>;
  /** Says what the next boot will probably be asked for: part of its work may be done before. */
  expect(recipe: BootRecipe): void;
  /**
   * Stops the machine for a moment and saves it, while its disks are at rest; then it goes on.
   * @param atRest what has to be done with the disks just then
   * @param keep stores what was saved while the machine stands; when it has, the machine is switched off, and otherwise
   * goes on
   * @throws Error when there is no machine that has come to its prompt
   */
  save<T>(atRest: () => Promise<T>, keep?: (saved: Saved<T>) => Promise<void>): Promise<Saved<T>>;
  /** The same at once, for a page that is being left; null when it cannot be done without waiting. The machine stands. */
  saveNow(mostBytes: number): Omit<Saved<null>, "result"> | null;
  /** After `saveNow`, when the page was not left after all. */
  goOn(): void;
  /**
   * Puts a saved machine in the place of the present one, which ends as when the power fails.
   * @param built what it was built from, as far as that is known
   * @param load what takes its time; until it is there the present machine goes on
   * @throws Error with a sentence
   */
  restore(
    saved: SavedRun,
    built: Pick<BootRecipe, "overlay" | "kernel">,
    load: { state(): Promise<ArrayBuffer>; plugIn(): Promise<Plugged>; onStart(): void },
  ): Promise<void>;
  /** Asks the guest to power off, and switches it off if it does not. */
  shutdown(): Promise<void>;
  pause(): Promise<void>;
  resume(): void;
  cancelBuild(): void;
  send(bytes: Uint8Array): void;
  sendFrame(frame: Uint8Array): void;
  run(command: string, timeoutMs: number): Promise<CommandResult>;
  resize(size: { columns: number; rows: number }): void;
  setKeyboard(enabled: boolean): void;
  sendCtrlAltDel(): void;
  readonly machine: MachineState;
  readonly timeline: readonly TimelineBar[];
  /** Resolves when the guest's agent has answered. */
  agentReady(): Promise<void>;
}

const POWER_OFF_MS = 2_000;
const SHUTDOWN_MS = 8_000;
/** A guest that is about to end may write what it has not written yet for this long. */
const SYNC_MS = 5_000;

export function createSession(environment: SessionEnvironment): Session {
  let run: Run | null = null;
  let terminalSize: { columns: number; rows: number } | null = null;
  let keyboard = false;
  let saving: Promise<unknown> = Promise.resolve();

  const { warm, composeDelta } = environment;
  const state = (): MachineState => run?.state ?? MACHINE_OFF;
  const isBooting = (): boolean => state().status === "building" || state().status === "booting";
  const next = createNextBoot({ warm, composeDelta, isBooting });
  const power = createPowerOn(environment, next.compose);

  /** The page is about this machine from now on. */
  const begin = (recipe: BootRecipe, wish: BootMode, resumed: Resumed | null): Run => {
    const begun: Run = createRun({
      ...{ recipe, wish, resumed, before: state(), keyboard, power, events: environment },
      isCurrent: () => run === begun,
      onPrompt() {
        if (wish === "warm") next.prepare(recipe, begun.mode, () => run !== begun || begun.hasEnded);
        // What booted from a disk is what is on the disk.
        if (begun.mode !== "disk") environment.onBooted(recipe);
      },
    });
    if (terminalSize) begun.agent.resize("ttyS0", terminalSize);
    run = begun;
    return begun;
  };

  return {
    get machine() {
      return state();
    },
    get timeline() {
      return run?.timeline ?? [];
    },
    expect: next.expect,
    async boot(recipe, mode) {
      const previous = run;
      next.begin(recipe);
      const begun = begin(recipe, mode, null);
      if (previous) {
        await sync(previous);
        await previous.end("another boot was started");
      }
      void begun.powerOn();
      return begun.prompt;
    },
    save(atRest, keep) {
      // Two at once would both let the machine go on.
      const saved = saving.then(() => saveRun(run, atRest, keep));
      saving = saved.catch(() => {});
      return saved;
    },
    saveNow: (mostBytes) => saveRunNow(run, mostBytes),
    goOn: () => run?.goOn(),
    async restore(saved, built, load) {
      const { mode, memoryMb, card, commandLine } = saved;
      const previous = run;
      const [files, image] = await Promise.all([environment.loadMachine(), load.state()]);
      if (run !== previous) throw new Error("Cannot restore the machine: another one was started meanwhile");
      const recipe = { ...built, projectId: "", commandLine, memoryMb, card };
      const begun = begin(recipe, mode, saved);
      if (previous) await previous.end("a saved machine takes its place");
      await begun.restore(load, (drives) => power.saved(files, image, recipe, drives));
    },
    async shutdown() {
      const on = run;
      if (!on || on.hasEnded) return;
      const { status } = on.state;
      if (status === "paused") on.machine?.resume();
      if (status === "running" || status === "paused") {
        await on.agent.run("poweroff", POWER_OFF_MS).catch(() => {});
        const deadline = performance.now() + SHUTDOWN_MS;
        while (!on.hasEnded && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await on.off("the machine was switched off");
    },
    pause: async () => run?.pause(),
    resume: () => run?.resume(),
    cancelBuild: () => run?.cancel(),
    send: (bytes) => run?.machine?.sendSerial(bytes),
    sendFrame: (frame) => run?.machine?.sendFrame(frame),
    run: (command, timeoutMs) =>
      run && !run.hasEnded
        ? run.agent.run(command, timeoutMs)
        : Promise.reject(new Error("Cannot run a command: the machine is off")),
    agentReady: () => (run ? run.agent.ready : Promise.reject(new Error("Cannot reach the guest: the machine is off"))),
    resize(size) {
      terminalSize = size;
      run?.agent.resize("ttyS0", size);
    },
    setKeyboard(enabled) {
      keyboard = enabled;
      run?.setKeyboard(enabled);
    },
    sendCtrlAltDel: () => run?.machine?.sendCtrlAltDel(),
  };
}

/** Lets a guest write down what it keeps in its memory for its disks. */
async function sync({ state, drives, agent }: Run): Promise<void> {
  if (state.status !== "running" || !drives.some((drive) => drive !== null)) return;
  await agent.run("sync", SYNC_MS).catch(() => {});
}
