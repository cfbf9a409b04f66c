/**
 * What of v86's inside is used. Its npm build keeps property names; versions are pinned in package.json. No import of v86:
 * `web/machine.ts` is the only one.
 */
import type { IdeController } from "./drives.ts";
import type { StateSource } from "./machine-state.ts";
import type { Vga } from "./screen-redraw.ts";

export interface VirtQueue {
  is_configured(): boolean;
  has_request(): boolean;
}

/** A virtio device: the words of its features, and what its driver has agreed to. */
export interface VirtioDevice {
  device_feature: Uint32Array;
  driver_feature: Uint32Array;
}

/** v86's drawing of the screen, in every frame of the browser's. */
export interface ScreenAdapter {
  /** Asks for the next drawing. */
  timer(): void;
}

/** Registers handlers of ports: a read or write of a width that has no handler is done byte by byte. */
export interface Ports {
  register_read(port: number, device: object, read8?: () => number, read16?: () => number, read32?: () => number): void;
  register_write(
    port: number,
    device: object,
    write8?: (value: number) => void,
    write16?: (value: number) => void,
    write32?: (value: number) => void,
  ): void;
}

/** The programmable interval timer, three counters. */
export interface Timer {
  counter_enabled: Uint8Array;
  counter_start_time: Float64Array;
  counter_start_value: Uint16Array;
  get_counter_value(counter: number, now: number): number;
}

export interface Cpu {
  io: Ports;
  /** Bytes into physical memory; what was compiled from there is forgotten. */
  write_blob(bytes: Uint8Array, address: number): void;
  /** The time stamp counter in two halves, once `store_current_tsc` has put it there. */
  current_tsc: Uint32Array;
  store_current_tsc(): void;
  set_tsc(low: number, high: number): void;
  zero_memory(address: number, length: number): void;
  /** A virtual address as the running program sees it, to a physical one. */
  translate_address_system_read(address: number): number;
  devices: {
    ide: IdeController;
    pit: Timer;
    vga: Vga;
    virtio_console?: { virtio: { queues: VirtQueue[] } };
    virtio_net?: { mac: Uint8Array; virtio: VirtioDevice };
  };
}

export interface Internals {
  screen_adapter: ScreenAdapter;
  bus: { send(event: string, data?: unknown): void };
  v86: StateSource & {
    /** Keeps the time of waits, once `register_yield` has started it. */
    worker?: Worker | null;
    register_yield(): void;
    /** Asks for `yield_callback(tick)` after `ms`. */
    yield(ms: number, tick: number): void;
    yield_callback(tick: number): void;
    /** Asks for the next slice after `ms`, and for no other one. */
    next_tick(ms: number): void;
    running: boolean;
    cpu: Cpu & StateSource["cpu"];
    restore_state(state: ArrayBuffer): void;
  };
}
