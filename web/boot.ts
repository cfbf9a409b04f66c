/**
 * Follows a boot by what the machine prints: which phase it is in, how long each took, and whether it went wrong.
 * Pure: times come in as arguments. The texts it looks for are those of SeaBIOS, GRUB, the Linux kernel, the default
 * root file system ("smart-os: …"), and the prompt mark of etc/profile (OSC 133;A, the convention of terminals).
 */
import { PHASES, type Phase, type TimelineBar } from "./state.ts";

export interface BootFailure {
  kind: "panic" | "init-failed";
  phase: Phase;
  /** The kernel's own words. */
  text: string;
}

/** What the guest's kernel said last before it ended by itself. */
export type BootEnd = "powered-off" | "restarting" | "halted";

export interface BootWatch {
  /** A line of the BIOS's log. */
  bios(line: string, ms: number): void;
  /** Bytes of the serial line, decoded. */
  serial(text: string, ms: number): void;
  /** Says that a phase has begun, when something else than the machine's output tells (the builder, the page). */
  enter(phase: Phase, ms: number): void;
  readonly phase: Phase | null;
  readonly timeline: readonly TimelineBar[];
  /** When the first prompt came. */
  readonly promptMs: number | null;
  readonly failure: BootFailure | null;
  readonly end: BootEnd | null;
  /** The last lines of output, oldest first. */
  lastLines(count: number): string[];
}

/** A phase's messages are kept up to this many lines: a chatty script must not fill the page's memory. */
const MESSAGE_LIMIT = 2000;

/** Lines that open a phase. The first one that fits wins; a later phase never goes back to an earlier one. */
const OPENINGS: readonly [RegExp, Phase][] = [
  [/^(GNU )?GRUB\b|^Welcome to GRUB/, "boot-loader"],
  [/^(\[ *\d+\.\d+\] )?Linux version /, "kernel"],
  [/^(\[ *\d+\.\d+\] )?Run \S+ as init process/, "initramfs"],
  [/^smart-os: initramfs/, "initramfs"],
  [/^smart-os: init scripts/, "init-scripts"],
];

const BIOS_OPENINGS: readonly [RegExp, Phase][] = [
  // The kernel of a cold boot is an option ROM to the BIOS.
  [/^Booting from ROM/, "kernel"],
  [/^Booting from (Hard Disk|DVD|CD)/, "boot-loader"],
];

const PROMPT_MARK = "\u001b]133;A";
/** A prompt of a system that does not mark it: a shell's, or one that asks for a name or a password. */
const BARE_PROMPT = /^[^\n]{0,100}([#$] |login: |Password: )$/;

const ENDS: readonly [RegExp, BootEnd][] = [
  [/reboot: Power down/, "powered-off"],
  [/reboot: Restarting system/, "restarting"],
  [/reboot: System halted/, "halted"],
];

/** @param past how the boot of a saved machine went, which has come to its prompt */
export function createBootWatch(past?: { timeline: readonly TimelineBar[]; promptMs: number }): BootWatch {
  const bars: { phase: Phase; startMs: number; endMs?: number; messages: string[] }[] = (past?.timeline ?? []).map(
    (bar) => ({ ...bar, messages: [...bar.messages] }),
  );
  let recent: string[] = [];
  let partial = "";
  let promptMs: number | null = past?.promptMs ?? null;
  let failure: BootFailure | null = null;
  let end: BootEnd | null = null;

  const current = () => bars.at(-1);
  const enter = (phase: Phase, ms: number): void => {
    const last = current();
    if (last && PHASES.indexOf(phase) <= PHASES.indexOf(last.phase)) return;
    if (last && last.endMs === undefined) last.endMs = ms;
    bars.push({ phase, startMs: ms, messages: [] });
    if (phase === "shell") {
      promptMs = ms;
      // The shell goes on; what the timeline shows of it is the moment at which it came.
      (current() as { endMs?: number }).endMs = ms;
    }
  };

  const note = (line: string): void => {
    recent.push(line);
    if (recent.length > 400) recent = recent.slice(-200);
    const bar = current();
    // After the prompt it is the user's own session, not the boot's.
    if (bar && bar.phase !== "shell" && bar.messages.length < MESSAGE_LIMIT) bar.messages.push(line);
  };

  const inspect = (line: string, ms: number): void => {
    for (const [pattern, phase] of OPENINGS) if (pattern.test(line)) enter(phase, ms);
    const panic = /Kernel panic - not syncing: (.*)/.exec(line);
    if (panic && !failure) {
      const text = panic[1] as string;
      const kind = /init|root fs|rootfs/i.test(text) ? "init-failed" : "panic";
      failure = { kind, phase: current()?.phase ?? "kernel", text };
    }
    for (const [pattern, kind] of ENDS) if (pattern.test(line)) end = kind;
    note(line);
  };

  return {
    enter,
    bios(line, ms) {
      for (const [pattern, phase] of BIOS_OPENINGS) if (pattern.test(line)) enter(phase, ms);
      if (current()?.phase === "bios" && line.trim()) note(line);
    },
    serial(text, ms) {
      const raw = partial + text;
      const lines = raw.split("\n");
      partial = lines.pop() as string;
      for (const line of lines) {
        if (promptMs === null && line.includes(PROMPT_MARK)) enter("shell", ms);
        inspect(plain(line), ms);
      }
      if (promptMs !== null || failure) return;
      const started = bars.some((bar) => bar.phase === "initramfs" || bar.phase === "init-scripts");
      if (partial.includes(PROMPT_MARK) || (started && BARE_PROMPT.test(plain(partial)))) enter("shell", ms);
    },
    get phase() {
      return current()?.phase ?? null;
    },
    get timeline() {
      return bars.map((bar) => ({ ...bar }));
    },
    get promptMs() {
      return promptMs;
    },
    get failure() {
      return failure;
    },
    get end() {
      return end;
    },
    lastLines(count) {
      const lines = partial.trim() ? [...recent, plain(partial)] : recent;
      return lines.filter((line) => line.trim()).slice(-count);
    },
  };
}

/** The text of a line without escape sequences and carriage returns. */
export function plain(line: string): string {
  return line
    .replace(/\u001b\][^\u0007\u001b]*(\u0007|\u001b\\)?/g, "")
    .replace(/\u001b\[[0-?]*[ -/]*[@-~]/g, "")
    .replace(/\u001b[ -/]*[0-~]/g, "")
    .replace(/[\r\u0007]/g, "");
}
