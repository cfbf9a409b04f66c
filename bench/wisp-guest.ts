/**
 * v86 as it comes, with its own wisp client: the baseline. Kernel and files are those of our guests. The emulator is
 * stock; only an idle guest is woken when a frame comes, as ours is, so that the network alone is compared.
 */
import { V86 } from "v86";
import { readSystem } from "../test/machine/guest.ts";
import { GatheringSocket } from "../test/relay/gathering-socket.ts";
import { readEmulator } from "../tools/emulator.ts";
import { type Agent, createAgent } from "../web/agent.ts";
import { DEFAULT_COMMAND_LINE } from "../web/project.ts";

interface Internals {
  bus: { send(event: string, data?: unknown): void };
  v86: { yield(ms: number, tick: number): void; next_tick(ms: number): void; running: boolean };
}

export interface WispGuest {
  agent: Agent;
  stop(): Promise<void>;
}

export async function bootWispGuest(initramfs: Uint8Array<ArrayBuffer>, url: string): Promise<WispGuest> {
  // Node 20 has none of its own.
  Object.assign(globalThis, { WebSocket: GatheringSocket });
  const module = await WebAssembly.compile(readEmulator());
  const emulator = new V86({
    wasm_fn: async (imports: WebAssembly.Imports) => (await WebAssembly.instantiate(module, imports)).exports,
    memory_size: 128 * 1024 * 1024,
    vga_memory_size: 2 * 1024 * 1024,
    bios: { buffer: readSystem("bios.bin").buffer },
    vga_bios: { buffer: readSystem("vgabios.bin").buffer },
    bzimage: { buffer: readSystem("bzImage").buffer },
    initrd: { buffer: initramfs.slice().buffer },
    cmdline: DEFAULT_COMMAND_LINE,
    virtio_console: { type: "none" },
    net_device: { type: "virtio", relay_url: url },
    disable_speaker: true,
    disable_mouse: true,
    disable_keyboard: true,
    autostart: false,
  });
  await new Promise<void>((resolve) => void emulator.add_listener("emulator-loaded", () => resolve()));
  const { bus, v86 } = emulator as unknown as Internals;
  const wait = v86.yield.bind(v86);
  let isAsleep = false;
  v86.yield = (ms, tick) => {
    isAsleep = ms >= 1;
    wait(ms, tick);
  };
  const wake = (): void => {
    if (isAsleep && v86.running) v86.next_tick(0);
  };
  const agent = createAgent((bytes) => {
    for (let at = 0; at < bytes.length; at += 4096) bus.send("virtio-console0-input-bytes", bytes.slice(at, at + 4096));
    wake();
  });
  emulator.add_listener("virtio-console0-output-bytes", (bytes) => agent.receive(bytes));
  (emulator.add_listener as (event: string, listener: () => void) => void).call(emulator, "net0-receive", wake);
  await emulator.run();
  await agent.ready;
  return { agent, stop: () => emulator.destroy() };
}
