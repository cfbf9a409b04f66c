/**
 * One machine after the other: builds the project, switches the machine on, follows its boot, and says what happened.
 */
import type {
  BuildFailure,
  BuildProgress,
  BuildRequest,
  BuildResult,
  CustomKernel,
  DeltaRequest,
  DeltaResult,
} from "../worker/api.ts";
import { type Agent, type CommandResult, createAgent } from "./agent.ts";
import { type BootWatch, createBootWatch } from "./boot.ts";
import { type Machine, type NetworkCard, startMachine } from "./machine.ts";
import type { Plugged } from "./machine-disks.ts";
import { memoryCommandLine } from "./project.ts";
import { type BootMode, MACHINE_OFF, type MachineState, type Phase, type Problem, type TimelineBar } from "./state.ts";
import type { MachineFiles, SystemFiles } from "./system.ts";
import type { ColdReason, MachineEvents, WarmBoots, WarmWish } from "./warm.ts";
import { createWarmFiles, type WarmProject } from "./warm-files.ts";

/** What a machine is made of: the parts of a project that decide how it boots. */
export interface BootRecipe {
  /** What tells the project from others; "" when nobody knows. */
  projectId: string;
  overlay: BuildRequest["overlay"];
  commandLine: string;
  memoryMb: number;
  card: NetworkCard;
  /** The project's own; null: the one that was built. */
  kernel: CustomKernel | null;
}

/** What the page knows of a machine beside its state. */
export interface SavedRun {
  mode: BootMode;
  memoryMb: number;
  card: NetworkCard;
  commandLine: string;
  promptMs: number;
  /** Since power-on. */
  uptimeMs: number;
  timeline: readonly TimelineBar[];
  /** Commands that its agent has been given. */
  commands: number;
}

export interface Saved<T> {
  state: ArrayBuffer;
  run: SavedRun;
  /** What the machine was built from. */
  recipe: BootRecipe;
  result: T;
}

export interface SessionEnvironment {
  build(
    request: BuildRequest,
    options: { signal: AbortSignal; onProgress(progress: BuildProgress): void },
  ): Promise<BuildResult>;
  /** What a warm boot hands over. */
  composeDelta(request: DeltaRequest, options: { signal?: AbortSignal }): Promise<DeltaResult>;
  loadMachine(): Promise<MachineFiles>;
  loadSystem(): Promise<SystemFiles>;
  warm: WarmBoots;
  /** The project's disks, for a boot from the first of them or beside it. @throws Error with a sentence for the user */
  plugIn(mode: BootMode, options: { signal: AbortSignal; onProgress(progress: BuildProgress): void }): Promise<Plugged>;
  /** Where a machine draws; null without a page. */
  newScreen(): HTMLElement | null;
  /** Shows a machine's screen in the place of the last one's. */
  showScreen(screen: HTMLElement | null): void;
  /** The serial line's bytes; an empty terminal is asked for by `onPowerOn`. */
  onSerial(bytes: Uint8Array): void;
  onPowerOn(): void;
  /** A machine that was on is no more. */
  onPowerOff(): void;
  /** An Ethernet frame from the guest. */
  onFrame(frame: Uint8Array): void;
  onChange(machine: MachineState, timeline: readonly TimelineBar[]): void;
  /** A shell came up from this recipe. */
  onBooted(recipe: BootRecipe): void;
  /** The guest asked for a reboot. */
  onRestart(mode: BootMode): void;
  describe(kind: Problem["kind"], phase: Phase, detail: string): string;
  describeCold(reason: ColdReason, detail: string): string;
  canGoBack(recipe: BootRecipe): Promise<boolean>;
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

/** No output and no shell for this long: the page speaks up, the machine goes on. */
const SILENCE_MS = 15_000;
/** Output but no shell for this long, likewise. */
const PATIENCE_MS = 60_000;
const SHUTDOWN_MS = 8_000;
/** After a prompt the shell and what the init scripts have left in the background come to rest for so long. */
const SPARE_MS = 1_500;
/** An edit is over when nothing more has come for so long. */
const EDIT_MS = 400;
/** A guest that is about to end may write what it has not written yet for this long. */
const SYNC_MS = 5_000;
const PROBLEM_LINES = 12;

interface Run {
  recipe: BootRecipe;
  watch: BootWatch;
  agent: Agent;
  machine: Machine | null;
  plugged: Plugged | null;
  mode: BootMode;
  /** What was asked for. */
  wish: BootMode;
  startedAt: number;
  lastOutputAt: number;
  ended: boolean;
  /** Resolves when its machine is gone and its disks are free. */
  ending: Promise<void>;
  abort: AbortController;
  prompt: Promise<{ promptMs: number }>;
  settle: { resolve(value: { promptMs: number }): void; reject(error: Error): void };
}

export function createSession(environment: SessionEnvironment): Session {
  let state: MachineState = MACHINE_OFF;
  let run: Run | null = null;
  let terminalSize: { columns: number; rows: number } | null = null;
  let keyboard = false;
  let expected: BootRecipe | null = null;
  let expecting: ReturnType<typeof setTimeout> | undefined;
  const files = createWarmFiles(environment.warm, (request) => environment.composeDelta(request, {}));

  const emit = (change: Partial<MachineState>): void => {
    state = { ...state, ...change };
    environment.onChange(state, run?.watch.timeline ?? []);
  };

  const fail = async (on: Run, kind: Problem["kind"], detail: string, path?: string): Promise<void> => {
    const phase = on.watch.phase ?? "build";
    const text = environment.describe(kind, phase, detail);
    on.settle.reject(new Error(text));
    const problem: Problem = {
      phase,
      kind,
      text,
      lines: on.watch.lastLines(PROBLEM_LINES),
      canGoBack: await environment.canGoBack(on.recipe).catch(() => false),
      ...(path === undefined ? {} : { path }),
    };
    if (run !== on) return;
    const fatal = kind !== "no-shell";
    emit(fatal ? { problem, status: "failed", build: null } : { problem });
  };

  /** Ends a run and frees its machine; the state is left to whoever comes next. */
  const end = (on: Run, reason: string): Promise<void> => {
    if (on.ended) return on.ending;
    on.ended = true;
    on.abort.abort();
    on.agent.stop(reason);
    on.settle.reject(new Error(`Cannot finish booting: ${reason}`));
    on.ending = (async () => {
      const { machine } = on;
      await machine?.stop();
      if (machine) environment.onPowerOff();
      await on.plugged?.close();
    })();
    return on.ending;
  };

  /** Lets a guest write down what it keeps in its memory for its disks. */
  const sync = async (on: Run): Promise<void> => {
    if (state.status !== "running" || !on.plugged?.drives.some((drive) => drive !== null)) return;
    await on.agent.run("sync", SYNC_MS).catch(() => {});
  };

  const off = async (on: Run, reason: string): Promise<void> => {
    await end(on, reason);
    if (run === on) emit({ status: "off", phase: null, poweredAt: null, build: null });
  };

  const follow = (on: Run): void => {
    if (run !== on || on.ended) return;
    const { watch } = on;
    if (watch.failure && state.status !== "failed") {
      // The kernel stops here for good: nothing is lost by switching the processor off.
      void on.machine?.pause();
      const { kind, text } = watch.failure;
      on.agent.stop("the kernel panicked");
      emit({ status: "failed", phase: watch.phase });
      void fail(on, kind, text, kind === "init-failed" && watch.failure.phase === "initramfs" ? "/init" : undefined);
      return;
    }
    if (watch.promptMs !== null && state.promptMs === null) {
      emit({
        status: state.status === "paused" ? "paused" : "running",
        phase: "shell",
        promptMs: watch.promptMs,
        problem: null,
      });
      on.settle.resolve({ promptMs: watch.promptMs });
      prepareNext(on);
      // What booted from a disk is what is on the disk.
      if (on.mode !== "disk") environment.onBooted(on.recipe);
    } else if (watch.phase !== state.phase) emit({ phase: watch.phase });
    if (watch.end === "restarting")
      void end(on, "the guest is rebooting").then(() => run === on && environment.onRestart(on.wish));
    else if (watch.end) void off(on, "the guest was powered off");
  };

  setInterval(() => {
    const on = run;
    if (!on || on.ended || state.status !== "booting" || state.problem) return;
    // A boot loader's menu waits for as long as somebody likes.
    if (on.watch.phase === "boot-loader") return;
    const now = performance.now();
    if (now - on.lastOutputAt > SILENCE_MS || now - on.startedAt > PATIENCE_MS)
      void fail(on, "no-shell", on.watch.lastLines(1)[0] ?? "");
  }, 500);

  /** The next boot finds a machine that waits, once the present one has come to rest. */
  const prepareNext = (on: Run): void => {
    if (on.wish !== "warm") return;
    const { warm } = environment;
    const wish = wishOf(on.recipe);
    setTimeout(() => {
      if (run !== on || on.ended) return;
      // What cannot be made is not missed: the next boot is a cold one.
      if (on.mode === "warm") void warm.keepSpare(wish).then(handAhead, () => {});
      else void warm.makeOwn(wish).catch(() => {});
    }, SPARE_MS);
  };

  /** The machine that waits takes the files of the project as it is. */
  const handAhead = (): void => {
    if (expected && state.status !== "building" && state.status !== "booting") files.handAhead(projectOf(expected));
  };

  /** What a machine tells of itself. */
  const listeners = (on: Run): MachineEvents => {
    const decoder = new TextDecoder();
    const elapsed = (): number => performance.now() - on.startedAt;
    return {
      onSerial(bytes: Uint8Array) {
        if (on.ended) return;
        on.lastOutputAt = performance.now();
        environment.onSerial(bytes);
        const before = on.watch.phase;
        on.watch.serial(decoder.decode(bytes, { stream: true }), elapsed());
        follow(on);
        if (before !== on.watch.phase) environment.onChange(state, on.watch.timeline);
      },
      onChannel: (bytes: Uint8Array) => on.agent.receive(bytes),
      onFrame(frame: Uint8Array) {
        if (!on.ended) environment.onFrame(frame);
      },
      onBios(line: string) {
        on.lastOutputAt = performance.now();
        on.watch.bios(line, elapsed());
        follow(on);
      },
      onHalt() {
        // A panic and a power-off say so on the serial line first; anything else that stops the processor is a fault.
        if (on.watch.failure || on.watch.end || on.ended) return;
        if (on.watch.promptMs === null) void fail(on, "emulator", "the processor halted");
        else void off(on, "the processor halted");
      },
      onHandedOver() {
        on.watch.enter("initramfs", elapsed());
        follow(on);
        environment.onChange(state, on.watch.timeline);
      },
      onTrouble(what: string) {
        void turnCold(on, what).catch((error: unknown) => fail(on, "emulator", sentence(error)));
      },
    };
  };

  /** The waiting machine could not take the project: it may still boot by itself, and then shows what is wrong. */
  const turnCold = async (on: Run, what: string): Promise<void> => {
    const { machine } = on;
    if (run !== on || on.ended || !machine) return;
    on.machine = null;
    await machine.stop();
    environment.onPowerOff();
    if (run !== on || on.ended) return;
    on.watch = createBootWatch();
    await powerOnCold(on, environment.describeCold("trouble", what));
  };

  const powerOn = async (on: Run): Promise<void> => {
    if (on.wish !== "warm") return powerOnCold(on, null);
    const reason = await powerOnWarm(on);
    if (reason) await powerOnCold(on, environment.describeCold(reason, ""));
  };

  const begin = (on: Run, coldReason: string | null): void => {
    on.watch.enter("build", 0);
    emit({
      status: "building",
      mode: on.mode,
      coldReason,
      phase: "build",
      poweredAt: null,
      promptMs: null,
      problem: null,
      memoryMb: on.recipe.memoryMb,
      build: null,
    });
  };

  const optionsOf = (on: Run) => ({
    signal: on.abort.signal,
    onProgress: (build: BuildProgress) => void (run === on && emit({ build })),
  });

  /** Whether the boot is over already; then it is left as it has to be. */
  const isOver = async (on: Run): Promise<boolean> => {
    if (on.ended) await on.plugged?.close();
    else if (run === on && on.abort.signal.aborted) await off(on, "the build was cancelled");
    else return run !== on;
    return true;
  };

  /** @returns null, or why it has to be a cold boot; its disks are plugged in already then */
  const powerOnWarm = async (on: Run): Promise<ColdReason | null> => {
    const { recipe, startedAt } = on;
    const wish = wishOf(recipe);
    const elapsed = (): number => performance.now() - startedAt;
    begin(on, null);
    const [delta, reason, plugged] = await Promise.all([
      files.compose(projectOf(recipe), (request) => environment.composeDelta(request, optionsOf(on))),
      environment.warm.prepare(wish),
      environment.plugIn("warm", optionsOf(on)).catch(sentence),
    ]);
    if (typeof plugged !== "string") on.plugged = plugged;
    if (await isOver(on)) return null;
    if (typeof plugged === "string") {
      await refuseToStart(on, "unavailable", plugged);
      return null;
    }
    if (reason) return reason;
    if (!delta.ok) {
      await refuse(on, delta);
      return null;
    }
    // Where the state has its CD drive no disk can be put without the kernel noticing what happened.
    if (plugged.drives[2] || plugged.drives[3]) return "drives";
    on.watch.enter("restore", elapsed());
    environment.onPowerOn();
    emit({ status: "booting", phase: "restore", poweredAt: performance.now(), build: null });
    const { machine, screen } = await environment.warm.take(wish, listeners(on));
    on.machine = machine;
    if (on.ended) {
      await machine.stop();
      await plugged.close();
      return null;
    }
    environment.showScreen(screen);
    machine.setKeyboard(keyboard);
    on.watch.enter("files", elapsed());
    on.lastOutputAt = performance.now();
    emit({ phase: "files" });
    machine.handOver(delta.delivery, plugged.drives);
    return null;
  };

  const powerOnCold = async (on: Run, coldReason: string | null): Promise<void> => {
    const { recipe } = on;
    const elapsed = (): number => performance.now() - on.startedAt;
    if (on.wish === "warm") on.mode = "cold";
    const { mode } = on;
    begin(on, coldReason);
    const options = optionsOf(on);
    const request: BuildRequest = {
      target: "initramfs",
      overlay: recipe.overlay,
      compression: "none",
      memoryMb: recipe.memoryMb,
    };
    // The emulator and the kernel come over the network while the builder works.
    const [built, system, plugged] = await Promise.all([
      mode === "disk" ? null : environment.build(request, options),
      environment.loadSystem().catch(sentence),
      on.plugged ?? environment.plugIn(mode, options).catch(sentence),
    ]);
    if (typeof plugged !== "string") on.plugged = plugged;
    if (await isOver(on)) return;
    if (built && !built.ok) return refuse(on, built);
    if (typeof system === "string") return refuseToStart(on, "unavailable", system);
    if (typeof plugged === "string") return refuseToStart(on, mode === "disk" ? "invalid" : "unavailable", plugged);
    on.watch.enter("bios", elapsed());
    environment.onPowerOn();
    emit({ status: "booting", phase: "bios", poweredAt: performance.now(), build: null });
    const { emulator, bios, vgaBios } = system;
    // One from outside unpacks itself, in the machine: this page does not take it apart.
    const { kernel, unpackedKernel } = recipe.kernel ? { kernel: recipe.kernel.content, unpackedKernel: null } : system;
    const { drives } = plugged;
    const hasDrive = drives.some((drive) => drive !== null);
    const commandLine = memoryCommandLine(recipe.commandLine, hasDrive);
    const screen = environment.newScreen();
    environment.showScreen(screen);
    on.machine = await startMachine({
      emulator,
      bios,
      vgaBios,
      start: built && { kernel, unpackedKernel, initramfs: built.bytes, commandLine },
      drives,
      memoryMb: recipe.memoryMb,
      card: recipe.card,
      screen,
      ...listeners(on),
    });
    if (on.ended) {
      await on.machine.stop();
      return plugged.close();
    }
    on.machine.setKeyboard(keyboard);
  };

  const refuse = async (on: Run, built: BuildFailure): Promise<void> => {
    if (built.reason === "cancelled") return off(on, "the build was cancelled");
    const kind = built.reason === "invalid" || built.reason === "too-large" ? "invalid" : "unavailable";
    await refuseToStart(on, kind, built.problem, built.path);
  };

  /** Nothing runs, so nothing is held. */
  const refuseToStart = async (on: Run, kind: Problem["kind"], detail: string, path?: string): Promise<void> => {
    await on.plugged?.close();
    on.plugged = null;
    await fail(on, kind, detail, path);
  };

  const newRun = (recipe: BootRecipe, mode: BootMode, watch: BootWatch): { on: Run; prompt: Run["prompt"] } => {
    let settle!: Run["settle"];
    const prompt = new Promise<{ promptMs: number }>((resolve, reject) => {
      settle = { resolve, reject };
    });
    // Buttons start boots without waiting for them; the problem is shown in any case.
    prompt.catch(() => {});
    const on: Run = {
      recipe,
      watch,
      agent: createAgent((bytes) => on.machine?.sendChannel(bytes)),
      machine: null,
      plugged: null,
      mode,
      wish: mode,
      startedAt: performance.now(),
      lastOutputAt: performance.now(),
      ended: false,
      ending: Promise.resolve(),
      abort: new AbortController(),
      prompt,
      settle,
    };
    if (terminalSize) on.agent.resize("ttyS0", terminalSize);
    return { on, prompt };
  };

  /** What is to be known of a machine that can be saved, or null. */
  const savable = (): { on: Run; machine: Machine; facts: SavedRun } | null => {
    const on = run;
    const isUp = state.status === "running" || state.status === "paused";
    if (!on?.machine || on.ended || !isUp || state.promptMs === null) return null;
    const { recipe, mode, machine } = on;
    const facts: SavedRun = {
      mode,
      memoryMb: recipe.memoryMb,
      card: recipe.card,
      commandLine: recipe.commandLine,
      promptMs: state.promptMs,
      uptimeMs: performance.now() - (state.poweredAt ?? performance.now()),
      timeline: on.watch.timeline,
      commands: on.agent.counted,
    };
    return { on, machine, facts };
  };
  let saving: Promise<unknown> = Promise.resolve();

  return {
    get machine() {
      return state;
    },
    get timeline() {
      return run?.watch.timeline ?? [];
    },
    expect(recipe) {
      expected = recipe;
      clearTimeout(expecting);
      expecting = setTimeout(handAhead, EDIT_MS);
    },
    async boot(recipe, mode) {
      const previous = run;
      expected = recipe;
      const { on, prompt } = newRun(recipe, mode, createBootWatch());
      run = on;
      if (previous) {
        await sync(previous);
        await end(previous, "another boot was started");
      }
      if (!on.ended) powerOn(on).catch((error: unknown) => fail(on, "emulator", sentence(error)));
      return prompt;
    },
    async save(atRest, keep) {
      // Two at once would both let the machine go on.
      const before = saving;
      let done!: () => void;
      saving = new Promise<void>((resolve) => {
        done = resolve;
      });
      await before;
      try {
        const found = savable();
        if (!found) throw new Error("Cannot save the machine: it is off, or has not come to its prompt");
        const { on, machine, facts } = found;
        await machine.pause();
        try {
          await Promise.all((on.plugged?.drives ?? []).map((drive) => drive?.settled?.()));
          const [result, bytes] = await Promise.all([atRest(), machine.save()]);
          const saved = { state: bytes, run: facts, recipe: on.recipe, result };
          if (!keep) return saved;
          await keep(saved);
          await off(on, "the machine was suspended");
          return saved;
        } finally {
          if (run === on && !on.ended && state.status !== "paused") machine.resume();
        }
      } finally {
        done();
      }
    },
    saveNow(mostBytes) {
      const found = savable();
      if (!found || found.on.plugged?.drives.some((drive) => drive?.isBusy?.())) return null;
      void found.machine.pause();
      const saved = found.machine.saveNow(mostBytes);
      return saved && { state: saved, run: found.facts, recipe: found.on.recipe };
    },
    goOn() {
      if (run && !run.ended && state.status !== "paused") run.machine?.resume();
    },
    async restore(saved, built, load) {
      const { mode, memoryMb, card, commandLine, promptMs, uptimeMs, timeline } = saved;
      const previous = run;
      const [system, image] = await Promise.all([environment.loadMachine(), load.state()]);
      if (run !== previous) throw new Error("Cannot restore the machine: another one was started meanwhile");
      const recipe = { ...built, projectId: "", commandLine, memoryMb, card };
      const { on } = newRun(recipe, mode, createBootWatch({ timeline, promptMs }));
      run = on;
      on.settle.resolve({ promptMs });
      if (previous) await end(previous, "a saved machine takes its place");
      try {
        const plugged = await load.plugIn();
        on.plugged = plugged;
        if (on.ended) return await plugged.close();
        load.onStart();
        const { emulator, bios, vgaBios } = system;
        const screen = environment.newScreen();
        environment.showScreen(screen);
        const start = { state: image };
        const { drives } = plugged;
        on.startedAt = performance.now() - uptimeMs;
        on.machine = await startMachine({
          ...{ emulator, bios, vgaBios, start, drives, memoryMb, card, screen },
          ...listeners(on),
        });
        if (on.ended) {
          await on.machine.stop();
          return await plugged.close();
        }
        on.machine.setKeyboard(keyboard);
        on.agent.adopt(saved.commands);
        emit({
          ...{
            status: "running",
            mode,
            coldReason: null,
            phase: "shell",
            promptMs,
            memoryMb,
            build: null,
            problem: null,
          },
          poweredAt: performance.now() - uptimeMs,
        });
      } catch (error) {
        await off(on, "the saved machine could not be started");
        throw error;
      }
    },
    async shutdown() {
      const on = run;
      if (!on || on.ended) return;
      if (state.status === "paused") on.machine?.resume();
      if (state.status === "running" || state.status === "paused") {
        await on.agent.run("poweroff", 2000).catch(() => {});
        const deadline = performance.now() + SHUTDOWN_MS;
        while (!on.ended && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await off(on, "the machine was switched off");
    },
    async pause() {
      if (!run?.machine || (state.status !== "running" && state.status !== "booting")) return;
      await run.machine.pause();
      emit({ status: "paused" });
    },
    resume() {
      if (!run?.machine || state.status !== "paused") return;
      run.lastOutputAt = performance.now();
      run.machine.resume();
      emit({ status: state.promptMs === null ? "booting" : "running" });
    },
    cancelBuild: () => run?.abort.abort(),
    send: (bytes) => run?.machine?.sendSerial(bytes),
    sendFrame: (frame) => run?.machine?.sendFrame(frame),
    run: (command, timeoutMs) =>
      run && !run.ended
        ? run.agent.run(command, timeoutMs)
        : Promise.reject(new Error("Cannot run a command: the machine is off")),
    agentReady: () => (run ? run.agent.ready : Promise.reject(new Error("Cannot reach the guest: the machine is off"))),
    resize(size) {
      terminalSize = size;
      run?.agent.resize("ttyS0", size);
    },
    setKeyboard(enabled) {
      keyboard = enabled;
      run?.machine?.setKeyboard(enabled);
    },
    sendCtrlAltDel: () => run?.machine?.sendCtrlAltDel(),
  };
}

function wishOf({ commandLine, memoryMb, card, kernel }: BootRecipe): WarmWish {
  return { commandLine: commandLine.trim(), memoryMb, card, kernel };
}

function projectOf(recipe: BootRecipe): WarmProject {
  return { wish: wishOf(recipe), overlay: recipe.overlay, id: recipe.projectId };
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
