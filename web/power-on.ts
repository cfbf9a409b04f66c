/** The ways in which a machine starts: each gathers what it needs, all at once, and then makes the machine of it. */
import type {
  BuildFailure,
  BuildProgress,
  BuildRequest,
  BuildResult,
  DeltaRequest,
  DeltaResult,
} from "../worker/api.ts";
import { type BootRecipe, projectOf, wishOf } from "./boot-recipe.ts";
import { type Machine, type MachineOptions, startMachine } from "./machine.ts";
import type { Plugged, PlugOptions } from "./machine-disks.ts";
import { memoryCommandLine } from "./project.ts";
import { sentenceOf } from "./sentence.ts";
import type { BootMode, Problem } from "./state.ts";
import type { MachineFiles, SystemFiles } from "./system.ts";
import type { ColdReason, MachineEvents, WarmBoots } from "./warm.ts";
import type { WarmFiles } from "./warm-files.ts";

export interface PowerSources {
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
  plugIn(mode: BootMode, options: PlugOptions): Promise<Plugged>;
  /** Where a machine draws; null without a page. */
  newScreen(): HTMLElement | null;
  /** Shows a machine's screen in the place of the last one's. */
  showScreen(screen: HTMLElement | null): void;
}

/** Why nothing starts. */
export interface Refusal {
  kind: Problem["kind"] | "cancelled";
  detail: string;
  /** The file at fault. */
  path?: string | undefined;
}

export interface Started {
  machine: Machine;
  /** Lets a machine that waits have the project. */
  handOver?(): void;
}

export type Start = (events: MachineEvents) => Promise<Started>;

export interface Gathered {
  /** The disks, whatever else went wrong; null when they could not be plugged in. */
  plugged: Plugged | null;
  /** Makes the machine; or why there will be none of this kind. */
  outcome: Start | ColdReason | Refusal;
}

export interface PowerOn {
  warm(recipe: BootRecipe, work: PlugOptions): Promise<Gathered>;
  /** @param plugged the disks, when they are plugged in already */
  cold(recipe: BootRecipe, mode: BootMode, plugged: Plugged | null, work: PlugOptions): Promise<Gathered>;
  /** A machine that was saved. */
  saved(files: MachineFiles, state: ArrayBuffer, recipe: BootRecipe, drives: Plugged["drives"]): Start;
}

/** @param compose takes into account what the machine that waits has been handed before */
export function createPowerOn(sources: PowerSources, compose: WarmFiles["compose"]): PowerOn {
  /** Makes a machine of parts; its screen is shown before it has anything on it. */
  const assemble = async (
    { emulator, bios, vgaBios }: MachineFiles,
    start: MachineOptions["start"],
    drives: Plugged["drives"],
    { memoryMb, card }: BootRecipe,
    events: MachineEvents,
  ): Promise<Started> => {
    const screen = sources.newScreen();
    sources.showScreen(screen);
    const options = { emulator, bios, vgaBios, start, drives, memoryMb, card, screen };
    return { machine: await startMachine({ ...options, ...events }) };
  };

  return {
    async warm(recipe, work) {
      const wish = wishOf(recipe);
      const [delta, reason, plugged] = await Promise.all([
        compose(projectOf(recipe), (request) => sources.composeDelta(request, work)),
        sources.warm.prepare(wish),
        sources.plugIn("warm", work).catch(sentenceOf),
      ]);
      if (typeof plugged === "string") return { plugged: null, outcome: { kind: "unavailable", detail: plugged } };
      if (reason) return { plugged, outcome: reason };
      if (!delta.ok) return { plugged, outcome: refusal(delta) };
      const { drives } = plugged;
      // Where the state has its CD drive no disk can be put without the kernel noticing what happened.
      if (drives[2] || drives[3]) return { plugged, outcome: "drives" };
      const start: Start = async (events) => {
        const { machine, screen } = await sources.warm.take(wish, events);
        const handOver = (): void => {
          sources.showScreen(screen);
          machine.handOver(delta.delivery, drives);
        };
        return { machine, handOver };
      };
      return { plugged, outcome: start };
    },

    async cold(recipe, mode, before, work) {
      const { overlay, memoryMb } = recipe;
      const request: BuildRequest = { target: "initramfs", overlay, compression: "none", memoryMb };
      // The emulator and the kernel come over the network while the builder works.
      const [built, system, found] = await Promise.all([
        mode === "disk" ? null : sources.build(request, work),
        sources.loadSystem().catch(sentenceOf),
        before ?? sources.plugIn(mode, work).catch(sentenceOf),
      ]);
      const plugged = typeof found === "string" ? null : found;
      if (built && !built.ok) return { plugged, outcome: refusal(built) };
      if (typeof system === "string") return { plugged, outcome: { kind: "unavailable", detail: system } };
      if (typeof found === "string")
        return { plugged, outcome: { kind: mode === "disk" ? "invalid" : "unavailable", detail: found } };
      const { drives } = found;
      // One from outside unpacks itself, in the machine: this page does not take it apart.
      const { kernel, unpackedKernel } = recipe.kernel
        ? { kernel: recipe.kernel.content, unpackedKernel: null }
        : system;
      const hasDrive = drives.some((drive) => drive !== null);
      const commandLine = memoryCommandLine(recipe.commandLine, hasDrive);
      const boot = built && { kernel, unpackedKernel, initramfs: built.bytes, commandLine };
      return { plugged, outcome: (events) => assemble(system, boot, drives, recipe, events) };
    },

    saved: (files, state, recipe, drives) => (events) => assemble(files, { state }, drives, recipe, events),
  };
}

function refusal({ reason, problem, path }: BuildFailure): Refusal {
  const isOurs = reason === "invalid" || reason === "too-large";
  return { kind: reason === "cancelled" ? reason : isOurs ? "invalid" : "unavailable", detail: problem, path };
}
