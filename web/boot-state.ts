/** How a machine boots, and what of it the page shows. */
import type { BuildProgress } from "../worker/api.ts";

export type BootMode = "cold" | "warm" | "disk";

/** The stations of a boot in the order in which they come; a mode may skip some. */
export const PHASES = [
  "build",
  "restore",
  "files",
  "bios",
  "boot-loader",
  "kernel",
  "initramfs",
  "init-scripts",
  "shell",
] as const;
export type Phase = (typeof PHASES)[number];

/** One bar of the boot timeline. Times are milliseconds since the boot was asked for. */
export interface TimelineBar {
  phase: Phase;
  startMs: number;
  /** Absent while the phase runs. */
  endMs?: number;
  /** What the machine printed on its serial line during the phase, a line each. */
  messages: readonly string[];
}

export type MachineStatus = "off" | "building" | "booting" | "running" | "paused" | "failed";

/** Why a boot did not end in a shell, in words, with the last lines the machine printed. */
export interface Problem {
  phase: Phase;
  /** `invalid`: the project cannot be built. The others are what the machine did. */
  kind: "invalid" | "unavailable" | "init-failed" | "panic" | "no-shell" | "emulator";
  /** The sentence for the user, in the page's language. */
  text: string;
  lines: readonly string[];
  /** A file of the project that is at fault, when it is known. */
  path?: string;
  /** A version of this project that reached a shell is kept and differs from the present one. */
  canGoBack: boolean;
}

export interface MachineState {
  status: MachineStatus;
  /** How it boots in truth: a warm boot that cannot be is a cold one. */
  mode: BootMode;
  /** Why it is a cold one, in words; null when nobody wanted another. */
  coldReason: string | null;
  phase: Phase | null;
  /** `performance.now()` of the moment at which the machine was switched on; null when it is off. */
  poweredAt: number | null;
  /** Time from the boot request to the first shell prompt. */
  promptMs: number | null;
  memoryMb: number;
  build: BuildProgress | null;
  problem: Problem | null;
}

export const MACHINE_OFF: MachineState = {
  status: "off",
  mode: "cold",
  coldReason: null,
  phase: null,
  poweredAt: null,
  promptMs: null,
  memoryMb: 0,
  build: null,
  problem: null,
};
