/**
 * v86 in Node, driven by the page's own machine, agent and boot watch: what the page does without the page.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readEmulator, readStockEmulator } from "../../tools/emulator.ts";
import { type DefaultFile, readRootfs } from "../../tools/rootfs.ts";
import { type Agent, createAgent } from "../../web/agent.ts";
import { type BootWatch, createBootWatch } from "../../web/boot.ts";
import type { DriveDevice } from "../../web/drives.ts";
import type { Delivery } from "../../web/hand-over.ts";
import { type UnpackedKernel, unpackKernel } from "../../web/kernel.ts";
import { type Machine, startMachine } from "../../web/machine.ts";
import { DEFAULT_COMMAND_LINE, DEFAULT_MEMORY_MB } from "../../web/project.ts";
import type { Overlay } from "../../worker/api.ts";
import { build } from "../../worker/build.ts";
import type { SystemParts } from "../../worker/recipe.ts";

export const ROOT = join(import.meta.dirname, "../..");
const SYSTEM = join(ROOT, "public/system");

export function readSystem(name: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(join(SYSTEM, name)));
}

export function readParts(): SystemParts {
  return {
    busybox: readSystem("busybox"),
    busyboxLinks: new TextDecoder().decode(readSystem("busybox.links")),
    modules: readSystem("modules.cpio"),
  };
}

export const defaults: readonly DefaultFile[] = readRootfs(join(ROOT, "rootfs"));

/** The initramfs of a project, uncompressed. */
export async function buildTestInitramfs(overlay: Overlay = [], memoryMb = 256): Promise<Uint8Array<ArrayBuffer>> {
  const result = await build(
    { target: "initramfs", overlay, compression: "none", memoryMb },
    { defaults, loadParts: async () => readParts() },
    new AbortController().signal,
    () => {},
  );
  if (!result.ok) throw new Error(result.problem);
  return result.bytes;
}

export interface Guest {
  machine: Machine;
  agent: Agent;
  watch: BootWatch;
  /** Everything the serial line has printed. */
  output(): string;
  /** What the program that waits in a warm state could not do. */
  readonly trouble: string | null;
  /** Resolves when the condition holds. @throws Error with the last lines after `timeoutMs`. */
  until(condition: () => boolean, what: string, timeoutMs?: number): Promise<void>;
}

let emulator: Promise<WebAssembly.Module> | undefined;
let stock: Promise<WebAssembly.Module> | undefined;
let kernel: Uint8Array<ArrayBuffer> | undefined;
let unpacked: UnpackedKernel | null | undefined;

/** What every machine is made of. */
export async function readMachineParts(): Promise<{
  emulator: WebAssembly.Module;
  bios: Uint8Array<ArrayBuffer>;
  vgaBios: Uint8Array<ArrayBuffer>;
  kernel: Uint8Array<ArrayBuffer>;
  unpackedKernel: UnpackedKernel | null;
}> {
  emulator ??= WebAssembly.compile(readEmulator());
  kernel ??= readSystem("bzImage");
  unpacked ??= unpackKernel(kernel);
  const [bios, vgaBios] = [readSystem("bios.bin"), readSystem("vgabios.bin")];
  return { emulator: await emulator, bios, vgaBios, kernel, unpackedKernel: unpacked };
}

/** Boots a machine; it is still booting when this resolves. */
export async function bootGuest(options: {
  /** None: it boots from its first drive. */
  initramfs?: Uint8Array<ArrayBuffer>;
  /** A machine that goes on where it was saved, after so many commands of its agent. */
  saved?: { state: ArrayBuffer; commands: number };
  /** The state of a warm boot, and what it is handed: all but the last while it goes on waiting. */
  warm?: { state: Uint8Array; deliveries: readonly Delivery[] };
  drives?: readonly (DriveDevice | null)[];
  memoryMb?: number;
  commandLine?: string;
  /** Lets the kernel unpack itself, as one does that is packed in a way we do not know. */
  packedKernel?: boolean;
  /** v86 as it comes. */
  stockEmulator?: boolean;
  onFrame?(frame: Uint8Array): void;
}): Promise<Guest> {
  emulator ??= WebAssembly.compile(readEmulator());
  if (options.stockEmulator) stock ??= WebAssembly.compile(readStockEmulator());
  kernel ??= readSystem("bzImage");
  unpacked ??= unpackKernel(kernel);
  const watch = createBootWatch();
  const startedAt = performance.now();
  const elapsed = (): number => performance.now() - startedAt;
  const decoder = new TextDecoder();
  let output = "";
  let trouble: string | null = null;
  const agent = createAgent((bytes) => machine.sendChannel(bytes));
  watch.enter("bios", 0);
  const machine: Machine = await startMachine({
    emulator: await (options.stockEmulator && stock ? stock : emulator),
    bios: readSystem("bios.bin"),
    vgaBios: readSystem("vgabios.bin"),
    start: options.saved
      ? { state: options.saved.state }
      : options.warm
        ? { waiting: [options.warm.state] }
        : options.initramfs
          ? {
              kernel,
              unpackedKernel: options.packedKernel ? null : unpacked,
              initramfs: options.initramfs,
              commandLine: options.commandLine ?? DEFAULT_COMMAND_LINE,
            }
          : null,
    drives: options.warm ? [] : (options.drives ?? []),
    memoryMb: options.memoryMb ?? DEFAULT_MEMORY_MB,
    screen: null,
    onSerial(bytes) {
      const text = decoder.decode(bytes, { stream: true });
      output += text;
      watch.serial(text, elapsed());
    },
    onChannel: (bytes) => agent.receive(bytes),
    onFrame: options.onFrame ?? (() => {}),
    onBios: (line) => watch.bios(line, elapsed()),
    onHalt: () => {},
    onHandedOver: () => watch.enter("initramfs", elapsed()),
    onTrouble(what) {
      trouble ??= what;
    },
  });
  for (const delivery of options.warm?.deliveries.slice(0, -1) ?? []) await machine.takeIn(delivery);
  if (options.warm) machine.handOver(options.warm.deliveries.at(-1) as Delivery, options.drives ?? []);
  if (options.saved) agent.adopt(options.saved.commands);
  return {
    machine,
    agent,
    watch,
    output: () => output,
    get trouble() {
      return trouble;
    },
    async until(condition, what, timeoutMs = 30_000) {
      const deadline = performance.now() + timeoutMs;
      while (!condition()) {
        if (performance.now() > deadline)
          throw new Error(`No ${what} within ${timeoutMs} ms. Last lines:\n${watch.lastLines(15).join("\n")}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
  };
}
