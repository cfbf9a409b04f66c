/**
 * The emulated PC: the only importer of v86. Everything the page needs of it is behind `Machine`.
 *
 * v86 runs on the thread that starts it, in slices of about a millisecond.
 */
import { V86 } from "v86";
import { type DriveDevice, placeholder, plugDrives } from "./drives.ts";
import { type Delivery, listenToWaiting } from "./hand-over.ts";
import type { UnpackedKernel } from "./kernel.ts";
import type { Internals, Ports, ScreenAdapter, VirtQueue } from "./machine-internals.ts";
import { holdClocks, restoreState, saveState, saveStateNow, saveThinState } from "./machine-state.ts";
import { offerOffloads, sendFrames } from "./network-card.ts";
import { redrawOnce } from "./screen-redraw.ts";
import type { Pieces } from "./thin-state.ts";

/** A kernel that is handed to the machine, as `qemu -kernel -initrd -append` does; all of it is in memory. */
export interface KernelBoot {
  /** A bzImage. */
  kernel: Uint8Array<ArrayBuffer>;
  /** What is in it, or null: then it unpacks itself. */
  unpackedKernel: UnpackedKernel | null;
  initramfs: Uint8Array<ArrayBuffer>;
  commandLine: string;
}

/** A machine that goes on where it was saved; memory, card and drives must be those that it had. */
export interface SavedMachine {
  /** What `Machine.save` gave. */
  state: ArrayBuffer;
}

/** A machine that stands still until it is handed its files: the state of a warm boot. It has no drives yet. */
export interface WaitingMachine {
  /** What `Machine.saveWaiting` gave. It may still be on its way: what else the machine consists of is made meanwhile. */
  waiting: Pieces | Promise<Pieces>;
}

/** ne2k is what old systems know; virtio is many times faster. */
export type NetworkCard = "virtio" | "ne2k";

export interface MachineOptions {
  /** v86's WebAssembly module, compiled once for all boots. */
  emulator: WebAssembly.Module;
  /** Null for a machine that waits, which has them in its memory. */
  bios: Uint8Array<ArrayBuffer> | null;
  vgaBios: Uint8Array<ArrayBuffer> | null;
  /** Null: the BIOS starts the boot record of the first drive. */
  start: KernelBoot | SavedMachine | WaitingMachine | null;
  /** From sda to sdd. */
  drives: readonly (DriveDevice | null)[];
  /** virtio when it is not given. */
  card?: NetworkCard;
  /** Guest memory in MiB, a power of two from 32 to 1024. */
  memoryMb: number;
  /** Element with a `<div>` for text mode and a `<canvas>` for graphics, or null without a screen (Node). */
  screen: HTMLElement | null;
  onSerial(bytes: Uint8Array): void;
  /** Bytes from the guest's /dev/hvc0. */
  onChannel(bytes: Uint8Array): void;
  /** An Ethernet frame from the guest's network card. */
  onFrame(frame: Uint8Array): void;
  /** A line of the BIOS's own log (its debug port 0x402). */
  onBios(line: string): void;
  /** A program waits for a project's files: the moment to save the state of a warm boot. */
  onWaiting?(): void;
  /** What was handed over has been taken; the project's /init begins. */
  onHandedOver?(): void;
  /** The program that waits could not do what it was asked, in words. */
  onTrouble?(what: string): void;
  /** The processor stopped with interrupts off: nothing will wake it again. */
  onHalt(): void;
}

export interface Machine {
  sendSerial(bytes: Uint8Array): void;
  /** Bytes for the guest's /dev/hvc0; they wait until the guest has room for them. */
  sendChannel(bytes: Uint8Array): void;
  /** An Ethernet frame for the guest's network card, which drops it when it has no room. */
  sendFrame(frame: Uint8Array): void;
  pause(): Promise<void>;
  resume(): void;
  /** Lets a machine that waits go on, with a project's files. */
  handOver(delivery: Delivery, drives: readonly (DriveDevice | null)[]): void;
  /**
   * Has a machine that waits take files, and wait again: it runs meanwhile, and its clocks stand still afterwards.
   * @throws Error "Cannot hand over files: …"; of no use is a machine then
   */
  takeIn(delivery: Delivery): Promise<void>;
  /** Ends the machine for good and frees its memory. */
  stop(): Promise<void>;
  /** The state of the machine, which must be paused and its drives at rest; it stays paused. */
  save(): Promise<ArrayBuffer>;
  /** The same of one that waits for its files, for `WaitingMachine`. */
  saveWaiting(): Promise<Uint8Array<ArrayBuffer>>;
  /** The same at once, for a page that is being left: it blocks. Null when more than `mostBytes` of memory are not zero. */
  saveNow(mostBytes: number): ArrayBuffer | null;
  /** While on, key presses anywhere in the window go to the guest's keyboard. */
  setKeyboard(enabled: boolean): void;
  sendCtrlAltDel(): void;
  /** Instructions executed since power-on, modulo 2³². */
  instructions(): number;
}

const KEYBOARD_CONTROLLER_DELETE = [0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d];

const SCREEN_MS = 33;

const LEAST_TIMER_MS = 4;

/** The virtio console's first port takes whole buffers of a page from us. */
const CHANNEL_CHUNK = 4096;

/**
 * Switches a machine on. It runs when the promise resolves, but for one that waits for its files.
 * @throws Error "Cannot start the machine: …" when the kernel is not a bzImage or the memory cannot be had, and what a
 * state on its way ends with
 */
export async function startMachine(options: MachineOptions): Promise<Machine> {
  const saved = options.start && "state" in options.start ? options.start : null;
  const waits = options.start && "waiting" in options.start ? options.start : null;
  const start = options.start && "kernel" in options.start ? options.start : null;
  const placement = start && placeInitramfs(start, options.memoryMb);
  let failure: unknown;
  const instance = (imports: WebAssembly.Imports): Promise<WebAssembly.Exports> =>
    WebAssembly.instantiate(options.emulator, imports).then(
      (started) => started.exports,
      (error: unknown) => {
        failure = error;
        throw error;
      },
    );
  const giveKeysBack = options.screen ? keepKeys() : () => {};
  const emulator = new V86({
    wasm_fn: instance,
    memory_size: options.memoryMb * MIB,
    vga_memory_size: 2 * MIB,
    ...(options.bios ? { bios: { buffer: options.bios.buffer } } : {}),
    ...(options.vgaBios ? { vga_bios: { buffer: options.vgaBios.buffer } } : {}),
    // v86 writes the command line and the addresses into the kernel's header: each boot gets a copy.
    ...(start ? { bzimage: { buffer: start.kernel.slice().buffer }, cmdline: start.commandLine } : {}),
    // Its types know only its own kinds of disks.
    hda: placeholder() as { buffer: ArrayBuffer },
    screen: { container: options.screen },
    virtio_console: { type: "none" },
    net_device: { type: options.card ?? "virtio" },
    disable_speaker: true,
    disable_mouse: true,
    disable_keyboard: options.screen === null,
    autostart: false,
  });
  await new Promise<void>((resolve, reject) => {
    emulator.add_listener("emulator-loaded", resolve);
    const timer = setInterval(() => {
      if (failure === undefined) return;
      clearInterval(timer);
      reject(new Error(`Cannot start the machine: ${String(failure)}`));
    }, 50);
    emulator.add_listener("emulator-loaded", () => clearInterval(timer));
  }).finally(giveKeysBack);
  // Not before: v86 makes the keyboard meanwhile.
  emulator.keyboard_set_enabled(false);
  const internals = emulator as unknown as Internals;
  const { cpu } = internals.v86;
  const scheduler = schedule(internals.v86);
  redrawOnce(cpu.devices.vga);
  const stopDrawing = drawWhileSeen(internals.screen_adapter, options.screen);

  const drives = plugDrives(cpu.devices.ide, options.drives, scheduler.wake);
  if (start && placement) {
    emulator.write_memory(start.initramfs, placement.address);
    emulator.write_memory(placement.header, SETUP_HEADER + RAMDISK_IMAGE);
    if (start.unpackedKernel) placeKernel(emulator, start.unpackedKernel);
  }

  const stop = async (): Promise<void> => {
    stopDrawing();
    await emulator.destroy();
    scheduler.stop();
  };
  const card = cpu.devices.virtio_net;
  // Before a state is restored, which has what its own guest was offered.
  if (card) offerOffloads(card.virtio);
  const state = await Promise.resolve(saved?.state ?? waits?.waiting).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  let startClocks = state && restoreState(internals, state);
  drives.connect();
  let taking: { resolve(): void; reject(error: Error): void } | null = null;
  const waiting = listenToWaiting(cpu, {
    onWaiting() {
      taking?.resolve();
      options.onWaiting?.();
    },
    onRun: () => options.onHandedOver?.(),
    onTrouble(what) {
      taking?.reject(new Error(`Cannot hand over files: ${what}`));
      options.onTrouble?.(what);
    },
  });
  listenToBios(cpu.io, options.onBios);
  emulator.add_listener("serial0-output-byte", batchBytes(options.onSerial));
  emulator.add_listener("virtio-console0-output-bytes", (bytes) => options.onChannel(bytes));
  const listen = emulator.add_listener as (event: string, listener: (value: never) => void) => void;
  const onPacket = (packet: Uint8Array): void => sendFrames(packet, options.onFrame);
  listen.call(emulator, "net0-send", card ? onPacket : options.onFrame);
  listen.call(emulator, "cpu-event-halt", options.onHalt);

  const channel = new ChannelQueue(
    () => cpu.devices.virtio_console?.virtio.queues[0],
    (bytes) => {
      internals.bus.send("virtio-console0-input-bytes", bytes);
      scheduler.wake();
    },
  );

  if (!waits) await emulator.run();
  return {
    sendSerial(bytes) {
      emulator.serial_send_bytes(0, bytes);
      scheduler.wake();
    },
    sendChannel: (bytes) => channel.send(bytes),
    sendFrame(frame) {
      internals.bus.send("net0-receive", frame);
      scheduler.wake();
    },
    pause: () => emulator.stop(),
    resume: () => void emulator.run(),
    handOver(delivery, devices) {
      drives.plug(devices);
      waiting.give(delivery, { disks: devices.filter((device) => device !== null).length });
      startClocks?.();
      void emulator.run();
    },
    async takeIn(delivery) {
      waiting.give(delivery, null);
      startClocks?.();
      try {
        await new Promise<void>((resolve, reject) => {
          taking = { resolve, reject };
          void emulator.run();
        });
      } finally {
        taking = null;
        await emulator.stop();
        startClocks = holdClocks(cpu);
      }
    },
    stop: async () => {
      taking?.reject(new Error("Cannot hand over files: the machine is switched off"));
      channel.stop();
      await stop();
    },
    save: () => saveState(internals.v86, nextTask),
    saveWaiting: () => saveThinState(internals.v86, nextTask),
    saveNow: (mostBytes) => saveStateNow(internals.v86, mostBytes),
    setKeyboard: (enabled) => emulator.keyboard_set_enabled(enabled),
    sendCtrlAltDel: () => emulator.keyboard_send_scancodes(KEYBOARD_CONTROLLER_DELETE),
    instructions: () => emulator.get_instruction_counter() >>> 0,
  };
}

const MIB = 1024 * 1024;

/**
 * v86's keyboard is on when it is made, and takes every key of the window away from what has the focus; so does a spare
 * machine's, which is made while somebody types. It listens at the window: until it can be switched off no key gets there, but
 * for those that go to the present machine's screen.
 * @returns a function that ends it
 */
function keepKeys(): () => void {
  const abort = new AbortController();
  const keep = (event: Event): void => {
    if (!(event.target as Element).closest?.(".screen")) event.stopPropagation();
  };
  for (const kind of ["keydown", "keyup", "keypress"]) document.addEventListener(kind, keep, { signal: abort.signal });
  return () => abort.abort();
}

/** Lets the browser have its turn; a timer would take four milliseconds each time. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** Where v86 puts the kernel's real-mode part, and the fields in it (Documentation/arch/x86/boot.rst). */
const SETUP_HEADER = 0x80000;
const CODE32_START = 0x214;
const RAMDISK_IMAGE = 0x218;
const INITRD_ADDR_MAX = 0x22c;
const HEADER_MAGIC = 0x202;
/** "HdrS", little endian. */
const HDRS = 0x53726448;
const PREFERRED_ADDRESS = 0x258;
const INIT_SIZE = 0x260;
/**
 * SeaBIOS tells the kernel that the last 16 MiB are taken, and works for itself just below them while it starts:
 * what stood there would be overwritten.
 */
const BIOS_RESERVE = 20 * MIB;

/**
 * Decides where the initramfs goes: as high as the kernel and the BIOS allow, as boot loaders do. v86's own loader
 * always takes 64 MiB, which would make machines with less memory impossible.
 */
function placeInitramfs({ kernel, initramfs }: KernelBoot, memoryMb: number): { address: number; header: Uint8Array } {
  const view = new DataView(kernel.buffer, kernel.byteOffset, kernel.byteLength);
  if (kernel.length < 1024 || view.getUint32(HEADER_MAGIC, true) !== HDRS)
    throw new Error("Cannot start the machine: the kernel is not a bzImage");
  const top = Math.min(memoryMb * MIB - BIOS_RESERVE, view.getUint32(INITRD_ADDR_MAX, true));
  const address = (top - initramfs.length) & ~0xfff;
  // The kernel is loaded at 1 MiB, and unpacks itself from its preferred address on.
  const unpackedEnd = view.getUint32(PREFERRED_ADDRESS, true) + view.getUint32(INIT_SIZE, true);
  if (address < Math.max(unpackedEnd, MIB + kernel.length))
    throw new Error(
      `Cannot start the machine: ${Math.ceil(initramfs.length / MIB)} MB of initramfs do not fit beside ` +
        `the kernel into ${memoryMb} MB of memory`,
    );
  const header = new DataView(new ArrayBuffer(8));
  header.setUint32(0, address, true);
  header.setUint32(4, initramfs.length, true);
  return { address, header: new Uint8Array(header.buffer) };
}

/** Puts the kernel where it would have unpacked itself to, and lets the real-mode part jump there. */
function placeKernel(emulator: V86, kernel: UnpackedKernel): void {
  for (const { address, bytes } of kernel.segments) emulator.write_memory(bytes, address);
  const entry = new DataView(new ArrayBuffer(4));
  entry.setUint32(0, kernel.entry, true);
  emulator.write_memory(new Uint8Array(entry.buffer), SETUP_HEADER + CODE32_START);
}

/**
 * Between its slices v86 sends a message to a worker and waits for the answer, which took a sixth of a boot. A message to
 * ourselves lets the browser in just as well. Real waits are timers of our own, which cost half as much; those of a hidden
 * tab come once a second, so that there the worker keeps them, and those below 4 ms, to which browsers round ours up.
 *
 * A guest that waits for nothing but its next timer sleeps until then, whatever comes meanwhile: `wake` lets it go on at
 * once when a disk, the network or the user has something for it.
 */
function schedule(machine: Internals["v86"]): { wake(): void; stop(): void } {
  const wait = machine.yield.bind(machine);
  // Node has setImmediate, which v86 uses there.
  const channel = typeof document === "undefined" ? null : new MessageChannel();
  let isAsleep = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  if (channel) channel.port1.onmessage = ({ data }: MessageEvent<number>) => machine.yield_callback(data);
  machine.yield = (ms, tick) => {
    if (timer !== undefined) clearTimeout(timer);
    timer = undefined;
    isAsleep = ms >= 1;
    if (channel && !isAsleep) channel.port2.postMessage(tick);
    else if (channel && ms >= LEAST_TIMER_MS && document.visibilityState !== "hidden")
      timer = setTimeout(() => machine.yield_callback(tick), Math.ceil(ms));
    else {
      if (!machine.worker) machine.register_yield();
      wait(ms, tick);
    }
  };
  const wake = (): void => {
    // v86 forgets the wait that is under way when it is given another one.
    if (isAsleep && machine.running) machine.next_tick(0);
  };
  if (channel) document.addEventListener("visibilitychange", wake);
  return {
    wake,
    stop() {
      clearTimeout(timer);
      channel?.port1.close();
      if (channel) document.removeEventListener("visibilitychange", wake);
    },
  };
}

/**
 * v86 asks for every frame of the browser's, seen or not, and makes the browser work through the whole page for each. A
 * screen that nobody sees is not drawn, and one that is seen thirty times a second.
 * @returns a function that ends it
 */
function drawWhileSeen(adapter: ScreenAdapter, screen: HTMLElement | null): () => void {
  if (!screen) return () => {};
  const draw = adapter.timer.bind(adapter);
  let isSeen = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  adapter.timer = () => {
    clearTimeout(timer);
    if (isSeen) timer = setTimeout(draw, SCREEN_MS);
  };
  const observer = new IntersectionObserver((entries) => {
    isSeen = entries.at(-1)?.isIntersecting ?? false;
    adapter.timer();
  });
  observer.observe(screen);
  return () => {
    observer.disconnect();
    clearTimeout(timer);
  };
}

/** SeaBIOS logs to port 0x402 when reading it gives 0xe9 (QEMU's debug console, docs/specs/…/debugcon). */
function listenToBios(io: Ports, onLine: (line: string) => void): void {
  let line = "";
  io.register_read(0x402, {}, () => 0xe9);
  io.register_write(0x402, {}, (byte) => {
    if (byte !== 10) line += String.fromCharCode(byte);
    else {
      onLine(line);
      line = "";
    }
  });
}

/** The serial line delivers single bytes; one emulator slice's worth of them becomes one array. */
function batchBytes(deliver: (bytes: Uint8Array) => void): (byte: number) => void {
  let pending: number[] = [];
  return (byte) => {
    if (pending.push(byte) > 1) return;
    queueMicrotask(() => {
      const bytes = Uint8Array.from(pending);
      pending = [];
      deliver(bytes);
    });
  };
}

/** v86 drops console input when the guest has offered no buffer, so it is held back until there is one. */
class ChannelQueue {
  #pending: Uint8Array[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly queue: () => VirtQueue | undefined,
    private readonly deliver: (bytes: Uint8Array) => void,
  ) {}

  send(bytes: Uint8Array): void {
    for (let start = 0; start < bytes.length; start += CHANNEL_CHUNK)
      this.#pending.push(bytes.slice(start, start + CHANNEL_CHUNK));
    this.#pump();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#pending = [];
  }

  #pump(): void {
    clearTimeout(this.#timer);
    const queue = this.queue();
    while (this.#pending.length > 0 && queue?.is_configured() && queue.has_request())
      this.deliver(this.#pending.shift() as Uint8Array);
    if (this.#pending.length > 0) this.#timer = setTimeout(() => this.#pump(), 5);
  }
}
