/**
 * Warm boots: which machine a saved state serves, and a spare one that already waits for its files while the present
 * machine runs. A spare has run nothing yet: the memory that it takes is that of the pages in its state.
 */
import type { CustomKernel } from "../worker/api.ts";
import { type Machine, type MachineOptions, type NetworkCard, startMachine } from "./machine.ts";
import type { OwnStates } from "./own-states.ts";
import { DEFAULT_COMMAND_LINE } from "./project.ts";
import type { Pieces } from "./thin-state.ts";

/** Why a machine cannot be started warm. */
export type ColdReason = "memory" | "command-line" | "kernel" | "card" | "drives" | "no-states" | "state" | "trouble";

export interface WarmWish {
  commandLine: string;
  memoryMb: number;
  card: NetworkCard;
  /** The project's own; null: the one that was built. */
  kernel: CustomKernel | null;
}

/** What a machine tells of itself. */
export type MachineEvents = Required<
  Pick<MachineOptions, "onSerial" | "onChannel" | "onFrame" | "onBios" | "onHalt" | "onHandedOver" | "onTrouble">
>;

export interface WarmMachine {
  machine: Machine;
  /** Where it draws; null without a page. */
  screen: HTMLElement | null;
}

export interface WarmBoots {
  /** Fetches what a warm boot of this kind needs, and begins to make its machine. @returns null, or why there is none */
  prepare(wish: WarmWish): Promise<ColdReason | null>;
  /** A machine that waits for its files, and tells these listeners from now on. To be called after `prepare`. */
  take(wish: WarmWish, events: MachineEvents): Promise<WarmMachine>;
  /** Makes a spare for the next boot, unless there is one. */
  keepSpare(wish: WarmWish): Promise<void>;
  /** After a cold boot: makes a state for the next one of its kind, where one can serve. */
  makeOwn(wish: WarmWish): Promise<void>;
  /** The spare, made or being made. */
  spare(): Promise<Spare> | null;
  /** Ends it. */
  drop(): Promise<void>;
}

export interface WarmParts {
  loadEmulator(): Promise<WebAssembly.Module>;
  /** The site's state for so much memory in MiB and the default command line; null when it has none. */
  loadState(memoryMb: number): Promise<Pieces> | null;
  /** States that the page has made itself, for kinds of machines that the site has none for. */
  own: OwnStates;
  /** Whether this page has states at all. */
  hasStates: boolean;
  newScreen(): HTMLElement | null;
}

export interface Spare extends WarmMachine {
  kind: string;
  events: { target: MachineEvents | null };
}

export function createWarmBoots({ loadEmulator, loadState, own, hasStates, newScreen }: WarmParts): WarmBoots {
  /** Made or being made. */
  let spare: Promise<Spare> | null = null;
  /** The last of the page's own, unpacked. */
  let unpacked: { kind: string; state: Pieces } | null = null;

  /** The state that the site has for it, as far as it has come; "state" when it does not come. */
  const ofSite = (wish: WarmWish): Promise<Pieces | "state"> | null => {
    return (hasStates && isAsBuilt(wish) && loadState(wish.memoryMb)?.catch(() => "state" as const)) || null;
  };

  const find = async (wish: WarmWish): Promise<Pieces | ColdReason> => {
    if (!hasStates) return "no-states";
    if (wish.card !== "virtio") return "card";
    const ready = ofSite(wish);
    if (ready) return ready;
    if (unpacked?.kind === kindOf(wish)) return unpacked.state;
    const state = await own.load(wish);
    if (state) unpacked = { kind: kindOf(wish), state };
    return state ?? (wish.kernel ? "kernel" : wish.commandLine === DEFAULT_COMMAND_LINE ? "memory" : "command-line");
  };

  const start = async (wish: WarmWish): Promise<Spare> => {
    const { memoryMb, card } = wish;
    const events: Spare["events"] = { target: null };
    const screen = newScreen();
    const finding = find(wish).then((state) => {
      if (typeof state === "string") throw new Error(`Cannot start a machine warm: ${state}`);
      return state;
    });
    // Whoever waits for the machine hears of it.
    finding.catch(() => {});
    const emulator = await loadEmulator();
    const machine = await startMachine({
      ...{ emulator, bios: null, vgaBios: null },
      start: { waiting: finding },
      drives: [],
      ...{ memoryMb, card, screen },
      ...forward(events),
    });
    return { machine, screen, kind: kindOf(wish), events };
  };

  const begin = (wish: WarmWish): void => {
    const making = start(wish);
    spare = making;
    // Whoever takes it hears of it.
    making.catch(() => {});
  };

  const drop = async (): Promise<void> => {
    const dropped = spare;
    spare = null;
    await dropped?.then(({ machine }) => machine.stop()).catch(() => {});
  };

  return {
    async prepare(wish) {
      if (!spare && ofSite(wish)) begin(wish);
      const [emulator, state] = await Promise.all([loadEmulator().catch(() => null), find(wish)]);
      if (typeof state === "string") return state;
      return emulator ? null : "state";
    },
    async take(wish, events) {
      const waiting = spare;
      spare = null;
      const found = await waiting?.catch(() => null);
      const fits = found?.kind === kindOf(wish);
      if (found && !fits) await found.machine.stop();
      const taken = found && fits ? found : await start(wish);
      taken.events.target = events;
      return taken;
    },
    async keepSpare(wish) {
      if (spare && (await spare.catch(() => null))?.kind === kindOf(wish)) return;
      await drop();
      begin(wish);
    },
    async makeOwn(wish) {
      const state = await find(wish);
      if (state === "memory" || state === "command-line" || state === "kernel") await own.make(wish);
    },
    spare: () => spare,
    drop,
  };
}

/** All but the memory is what the site's states have. */
export function isAsBuilt({ card, commandLine, kernel }: WarmWish): boolean {
  return card === "virtio" && commandLine === DEFAULT_COMMAND_LINE && !kernel;
}

export function kindOf({ memoryMb, commandLine, card, kernel }: WarmWish): string {
  return `${memoryMb} ${card} ${kernel?.sha256 ?? ""} ${commandLine}`;
}

function forward(to: Spare["events"]): MachineEvents {
  return {
    onSerial: (bytes) => to.target?.onSerial(bytes),
    onChannel: (bytes) => to.target?.onChannel(bytes),
    onFrame: (frame) => to.target?.onFrame(frame),
    onBios: (line) => to.target?.onBios(line),
    onHalt: () => to.target?.onHalt(),
    onHandedOver: () => to.target?.onHandedOver(),
    onTrouble: (what) => to.target?.onTrouble(what),
  };
}
