/**
 * One machine, from the wish for it to its end: starts it, follows its boot, and says what becomes of it. A run that is not
 * the page's any more shows nothing.
 */
import { type Agent, createAgent } from "./agent.ts";
import { createBootWatch } from "./boot.ts";
import { createBootFollow } from "./boot-follow.ts";
import type { BootRecipe } from "./boot-recipe.ts";
import type { Machine } from "./machine.ts";
import type { Plugged, PlugOptions } from "./machine-disks.ts";
import type { Gathered, PowerOn, Refusal, Start } from "./power-on.ts";
import { sentenceOf } from "./sentence.ts";
import type { BootMode, MachineState, Phase, Problem, TimelineBar } from "./state.ts";
import type { ColdReason } from "./warm.ts";

export interface RunEvents {
  /** The serial line's bytes; an empty terminal is asked for by `onPowerOn`. */
  onSerial(bytes: Uint8Array): void;
  onPowerOn(): void;
  /** A machine that was on is no more. */
  onPowerOff(): void;
  /** An Ethernet frame from the guest. */
  onFrame(frame: Uint8Array): void;
  onChange(machine: MachineState, timeline: readonly TimelineBar[]): void;
  /** The guest asked for a reboot. */
  onRestart(mode: BootMode): void;
  describe(kind: Problem["kind"], phase: Phase, detail: string): string;
  describeCold(reason: ColdReason, detail: string): string;
  canGoBack(recipe: BootRecipe): Promise<boolean>;
}

/** What a machine that was saved goes on with. */
export interface Resumed {
  promptMs: number;
  /** Since power-on. */
  uptimeMs: number;
  timeline: readonly TimelineBar[];
  /** Commands that its agent has been given. */
  commands: number;
}

export interface RunParts {
  recipe: BootRecipe;
  /** What is wished for. */
  wish: BootMode;
  /** Null: it is a new machine. */
  resumed: Resumed | null;
  /** What is shown until there is something to say of this one. */
  before: MachineState;
  keyboard: boolean;
  power: PowerOn;
  events: RunEvents;
  /** Whether it is the page's machine. */
  isCurrent(): boolean;
  /** A shell came up. */
  onPrompt(): void;
}

export interface Run {
  readonly recipe: BootRecipe;
  /** How it boots in truth. */
  readonly mode: BootMode;
  readonly state: MachineState;
  readonly timeline: readonly TimelineBar[];
  readonly agent: Agent;
  /** Null until it is there. */
  readonly machine: Machine | null;
  readonly drives: Plugged["drives"];
  readonly hasEnded: boolean;
  /** Resolves at the first prompt. @throws Error with the problem's sentence when no shell comes */
  readonly prompt: Promise<{ promptMs: number }>;
  /** Boots it. What goes wrong is in its state. */
  powerOn(): Promise<void>;
  /**
   * Puts the saved machine on.
   * @param start makes it, with its drives
   * @throws Error with a sentence; it has ended then
   */
  restore(
    load: { plugIn(): Promise<Plugged>; onStart(): void },
    start: (drives: Plugged["drives"]) => Start,
  ): Promise<void>;
  /** Ends what is done before it is on. */
  cancel(): void;
  pause(): Promise<void>;
  resume(): void;
  /** Lets it run again that was stopped unseen, unless it is paused. */
  goOn(): void;
  setKeyboard(enabled: boolean): void;
  /** Frees its machine and its disks; what is shown is left to whoever comes next. */
  end(reason: string): Promise<void>;
  /** The same, for nobody to come. */
  off(reason: string): Promise<void>;
}

const LOOK_MS = 500;
const PROBLEM_LINES = 12;

export function createRun(parts: RunParts): Run {
  const { recipe, wish, resumed, power, events, isCurrent, onPrompt } = parts;
  let { before: state, keyboard } = parts;
  let mode = wish;
  let machine: Machine | null = null;
  let plugged: Plugged | null = null;
  let hasEnded = false;
  let ending = Promise.resolve();
  const abort = new AbortController();
  const agent = createAgent((bytes) => machine?.sendChannel(bytes));
  let settle!: { resolve(value: { promptMs: number }): void; reject(error: Error): void };
  const prompt = new Promise<{ promptMs: number }>((resolve, reject) => {
    settle = { resolve, reject };
  });
  // Buttons start boots without waiting for them; the problem is shown in any case.
  prompt.catch(() => {});
  if (resumed) settle.resolve(resumed);

  const show = (): void => {
    if (isCurrent()) events.onChange(state, follow.watch.timeline);
  };
  const emit = (change: Partial<MachineState>): void => {
    state = { ...state, ...change };
    show();
  };

  const fail = async (kind: Problem["kind"], detail: string, path?: string): Promise<void> => {
    const phase = follow.watch.phase ?? "build";
    const text = events.describe(kind, phase, detail);
    settle.reject(new Error(text));
    const problem: Problem = {
      ...{ phase, kind, text },
      lines: follow.watch.lastLines(PROBLEM_LINES),
      canGoBack: await events.canGoBack(recipe).catch(() => false),
      ...(path === undefined ? {} : { path }),
    };
    if (isCurrent()) emit(kind === "no-shell" ? { problem } : { problem, status: "failed", build: null });
  };
  const crash = (error: unknown): Promise<void> => fail("emulator", sentenceOf(error));

  const end = (reason: string): Promise<void> => {
    if (hasEnded) return ending;
    hasEnded = true;
    clearInterval(looking);
    abort.abort();
    agent.stop(reason);
    settle.reject(new Error(`Cannot finish booting: ${reason}`));
    ending = (async () => {
      const last = machine;
      await last?.stop();
      if (last) events.onPowerOff();
      await plugged?.close();
    })();
    return ending;
  };
  const off = async (reason: string): Promise<void> => {
    await end(reason);
    emit({ status: "off", phase: null, poweredAt: null, build: null });
  };

  const look = (): void => {
    if (!isCurrent() || hasEnded) return;
    const { failure, promptMs, phase, end: how } = follow.watch;
    if (failure && state.status !== "failed") {
      // The kernel stops here for good: nothing is lost by switching the processor off.
      void machine?.pause();
      agent.stop("the kernel panicked");
      emit({ status: "failed", phase });
      const isInit = failure.kind === "init-failed" && failure.phase === "initramfs";
      void fail(failure.kind, failure.text, isInit ? "/init" : undefined);
      return;
    }
    if (promptMs !== null && state.promptMs === null) {
      const status = state.status === "paused" ? "paused" : "running";
      emit({ status, phase: "shell", promptMs, problem: null });
      settle.resolve({ promptMs });
      onPrompt();
    } else if (phase !== state.phase) emit({ phase });
    if (how === "restarting") void end("the guest is rebooting").then(() => isCurrent() && events.onRestart(wish));
    else if (how) void off("the guest was powered off");
  };
  const follow = createBootFollow({
    watch: createBootWatch(resumed ?? undefined),
    hasEnded: () => hasEnded,
    onSerial: events.onSerial,
    onFrame: events.onFrame,
    onChannel: (bytes) => agent.receive(bytes),
    onNews(isNewPhase) {
      look();
      if (isNewPhase) show();
    },
    onFault() {
      const what = "the processor halted";
      if (follow.watch.promptMs === null) void fail("emulator", what);
      else void off(what);
    },
    onTrouble: (what) => void turnCold(what).catch(crash),
  });
  const looking = setInterval(() => {
    // A boot loader's menu waits for as long as somebody likes.
    if (state.status !== "booting" || state.problem || follow.watch.phase === "boot-loader") return;
    if (follow.isLate()) void fail("no-shell", follow.watch.lastLines(1)[0] ?? "");
  }, LOOK_MS);

  /** @returns null, or why it has to be a cold boot; its disks are plugged in already then */
  const powerOn = async (
    phase: Phase,
    coldReason: string | null,
    gather: (work: PlugOptions) => Promise<Gathered>,
  ): Promise<ColdReason | null> => {
    follow.watch.enter("build", 0);
    emit({
      ...{ status: "building", mode, coldReason, phase: "build", memoryMb: recipe.memoryMb },
      ...{ poweredAt: null, promptMs: null, problem: null, build: null },
    });
    const gathered = await gather({ signal: abort.signal, onProgress: (build) => emit({ build }) });
    const { outcome } = gathered;
    plugged = gathered.plugged;
    if (hasEnded) await plugged?.close();
    else if (!isCurrent()) return null;
    else if (abort.signal.aborted) await off("the build was cancelled");
    else if (typeof outcome === "string") return outcome;
    else if (typeof outcome === "object") await refuse(outcome);
    else {
      follow.enter(phase);
      events.onPowerOn();
      emit({ status: "booting", phase, poweredAt: performance.now(), build: null });
      const handOver = await make(outcome);
      if (!handOver) return null;
      follow.enter("files");
      follow.touch();
      emit({ phase: "files" });
      handOver();
    }
    return null;
  };
  const powerOnCold = async (coldReason: string | null): Promise<void> => {
    if (wish === "warm") mode = "cold";
    await powerOn("bios", coldReason, (work) => power.cold(recipe, mode, plugged, work));
  };
  /** The waiting machine could not take the project: it may still boot by itself, and then shows what is wrong. */
  const turnCold = async (what: string): Promise<void> => {
    const useless = machine;
    if (!isCurrent() || hasEnded || !useless) return;
    machine = null;
    await useless.stop();
    events.onPowerOff();
    if (!isCurrent() || hasEnded) return;
    follow.begin();
    await powerOnCold(events.describeCold("trouble", what));
  };
  /** Nothing runs, so nothing is held. */
  const refuse = async ({ kind, detail, path }: Refusal): Promise<void> => {
    if (kind === "cancelled") return off("the build was cancelled");
    await plugged?.close();
    plugged = null;
    await fail(kind, detail, path);
  };
  /** @returns what the machine waits for, if it does */
  const make = async (start: Start): Promise<(() => void) | undefined> => {
    const made = await start(follow.listen());
    machine = made.machine;
    if (hasEnded) await machine.stop();
    else machine.setKeyboard(keyboard);
    return hasEnded ? undefined : made.handOver;
  };

  return {
    ...{ recipe, agent, prompt, end, off },
    get mode() {
      return mode;
    },
    get state() {
      return state;
    },
    get timeline() {
      return follow.watch.timeline;
    },
    get machine() {
      return machine;
    },
    get drives() {
      return plugged?.drives ?? [];
    },
    get hasEnded() {
      return hasEnded;
    },
    async powerOn() {
      if (hasEnded) return;
      try {
        if (wish !== "warm") return await powerOnCold(null);
        const reason = await powerOn("restore", null, (work) => power.warm(recipe, work));
        if (reason) await powerOnCold(events.describeCold(reason, ""));
      } catch (error) {
        await crash(error);
      }
    },
    async restore(load, start) {
      const { promptMs, uptimeMs, commands } = resumed as Resumed;
      try {
        plugged = await load.plugIn();
        if (hasEnded) return await plugged.close();
        load.onStart();
        follow.setUptime(uptimeMs);
        await make(start(plugged.drives));
        if (hasEnded) return;
        agent.adopt(commands);
        emit({
          ...{ status: "running", mode, coldReason: null, phase: "shell", memoryMb: recipe.memoryMb },
          ...{ poweredAt: performance.now() - uptimeMs, promptMs, problem: null, build: null },
        });
      } catch (error) {
        await off("the saved machine could not be started");
        throw error;
      }
    },
    cancel: () => abort.abort(),
    async pause() {
      if (!machine || (state.status !== "running" && state.status !== "booting")) return;
      await machine.pause();
      emit({ status: "paused" });
    },
    resume() {
      if (!machine || state.status !== "paused") return;
      follow.touch();
      machine.resume();
      emit({ status: state.promptMs === null ? "booting" : "running" });
    },
    goOn() {
      if (isCurrent() && !hasEnded && state.status !== "paused") machine?.resume();
    },
    setKeyboard(enabled) {
      keyboard = enabled;
      machine?.setKeyboard(enabled);
    },
  };
}
