/** Makes the state of a warm boot: a machine whose kernel is up, with the default files, and a program that waits. */
import { createBootWatch } from "./boot.ts";
import { type KernelBoot, type MachineOptions, startMachine } from "./machine.ts";

export interface StateParts extends Pick<MachineOptions, "emulator" | "bios" | "vgaBios" | "memoryMb" | "card"> {
  /** Its initramfs has kernel-build/warm as /init. */
  start: KernelBoot;
}

/** A machine that has not come so far by then never will. */
const PATIENCE_MS = 120_000;
/** Of what the machine has printed an error shows so much: what the kernel tells before it gives up is longer than a screen. */
const SHOWN_LINES = 60;

/** @throws Error "Cannot make the state of a warm boot: …", with the kernel's last words, and below it the machine's last lines */
export async function makeState(parts: StateParts): Promise<Uint8Array<ArrayBuffer>> {
  const watch = createBootWatch();
  let settle!: { resolve(): void; reject(error: Error): void };
  const waiting = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject };
  });
  const fail = (why: string): void => {
    const lines = [why, ...watch.lastLines(SHOWN_LINES)];
    settle.reject(new Error(`Cannot make the state of a warm boot: ${lines.join("\n")}`));
  };
  const timer = setTimeout(() => fail(`nobody waits after ${PATIENCE_MS / 1000} s`), PATIENCE_MS);
  const decoder = new TextDecoder();
  const machine = await startMachine({
    ...parts,
    drives: [],
    screen: null,
    onSerial(bytes) {
      watch.serial(decoder.decode(bytes, { stream: true }), 0);
      if (watch.failure) fail(`Kernel panic - not syncing: ${watch.failure.text}`);
    },
    onChannel: () => {},
    onFrame: () => {},
    onBios: () => {},
    onHalt: () => fail("the processor halted"),
    onWaiting: () => settle.resolve(),
    onTrouble: fail,
  });
  try {
    await waiting;
    await machine.pause();
    return await machine.saveWaiting();
  } finally {
    clearTimeout(timer);
    await machine.stop();
  }
}
