/** Makes the state of a warm boot: a machine whose kernel is up, with the default files, and a program that waits. */
import { type KernelBoot, type MachineOptions, startMachine } from "./machine.ts";

export interface StateParts extends Pick<MachineOptions, "emulator" | "bios" | "vgaBios" | "memoryMb" | "card"> {
  /** Its initramfs has kernel-build/warm as /init. */
  start: KernelBoot;
}

/** A machine that has not come so far by then never will. */
const PATIENCE_MS = 120_000;

/** @throws Error "Cannot make the state of a warm boot: …" */
export async function makeState(parts: StateParts): Promise<Uint8Array<ArrayBuffer>> {
  let last = "";
  let settle!: { resolve(): void; reject(error: Error): void };
  const waiting = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject };
  });
  const fail = (why: string): void => settle.reject(new Error(`Cannot make the state of a warm boot: ${why}`));
  const timer = setTimeout(() => fail(`nobody waits; the last line is "${last}"`), PATIENCE_MS);
  const decoder = new TextDecoder();
  const machine = await startMachine({
    ...parts,
    drives: [],
    screen: null,
    onSerial(bytes) {
      last = `${last}${decoder.decode(bytes, { stream: true })}`.trimEnd().split("\n").at(-1) ?? "";
      if (last.includes("Kernel panic")) fail(last);
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
