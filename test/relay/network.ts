/** A NAT and a guest's port for tests: frames are arrays, time is the real one. */
import type { Engine, EngineGuest, GuestPort, Policy, Refusal } from "../../relay/engine.ts";
import { createNat, type NatOptions } from "../../relay/nat/nat.ts";

export const ALLOW_ALL: Policy = { refuse: () => null };

export interface TestPort extends GuestPort {
  frames: Uint8Array[];
  told: Refusal[];
  queuedBytes: number;
  drain(): void;
}

/** @param onFrame gets the frames instead of the list */
export function createPort(onFrame?: (frame: Uint8Array) => void): TestPort {
  let listeners: (() => void)[] = [];
  const port: TestPort = {
    frames: [],
    told: [],
    queuedBytes: 0,
    send: onFrame ?? ((frame) => void port.frames.push(frame)),
    onDrain: (listener) => void listeners.push(listener),
    tell: (refusal) => void port.told.push(refusal),
    drain() {
      const all = listeners;
      listeners = [];
      for (const listener of all) listener();
    },
  };
  return port;
}

/** The guest's gateway is this computer's loopback. */
export const LOOPBACK = { "10.0.2.2": "127.0.0.1" };

export function attach(options: Partial<NatOptions> = {}): { nat: Engine; guest: EngineGuest; port: TestPort } {
  const nat = createNat({ policy: ALLOW_ALL, hostAliases: LOOPBACK, pinger: null, ...options });
  const port = createPort();
  return { nat, guest: nat.attach(port), port };
}
