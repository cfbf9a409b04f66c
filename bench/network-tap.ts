/**
 * A guest without an emulator, a network namespace with a tap, at our relay and at libslirp. Both get its frames from the
 * same vde_plug and this process; ours over a websocket, libslirp over a pipe. The servers are the same, on 127.0.0.1, which
 * is 10.0.2.2 for both.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { EngineGuest, GuestPort } from "../relay/engine.ts";
import { VdePlug } from "../relay/vde/vde-plug.ts";
import { GatheringSocket } from "../test/relay/gathering-socket.ts";
import { TapGuest } from "../test/relay/vde-world.ts";
import type { Servers } from "./network-programs.ts";
import { median } from "./table.ts";

const run = promisify(execFile);
const MIB = 2 ** 20;

interface Way {
  attach(port: GuestPort): EngineGuest;
}

const guestOf = (receive: (frame: Uint8Array) => void, close: () => void): EngineGuest =>
  ({ receive, close, address: null }) as Partial<EngineGuest> as EngineGuest;

export function relayWay(url: string): Way {
  return {
    attach(port) {
      const websocket = new GatheringSocket(url, [], { perMessageDeflate: false });
      const opened = new Promise<void>((resolve) => void websocket.once("open", () => resolve()));
      websocket.on("message", (data: Buffer) => port.send(data));
      const send = (frame: Uint8Array): void => {
        if (websocket.readyState === websocket.OPEN) websocket.send(frame);
        else void opened.then(() => websocket.send(frame));
      };
      return guestOf(send, () => websocket.close());
    },
  };
}

export function slirpWay(): Way {
  return {
    attach(port) {
      const plug = new VdePlug({
        command: ["vde_plug", "slirp:///v4"],
        onFrame: (frame) => port.send(frame),
        onProblem: () => {},
      });
      return guestOf(
        (frame) => void plug.send(frame, () => {}),
        () => void plug.close(),
      );
    },
  };
}

/** @returns MiB a second, medians, down and up */
export async function tap(
  way: Way,
  folder: string,
  servers: Servers,
  rounds: number,
): Promise<{ down: number; up: number }> {
  const guest = new TapGuest(way, `so-${process.pid}-bench`, folder, {});
  await guest.start();
  const inside = (...command: string[]): Promise<unknown> =>
    run("ip", ["netns", "exec", guest.namespace, ...command], { timeout: 60_000 });
  const down: number[] = [];
  const up: number[] = [];
  try {
    for (let round = 0; round < rounds; round++) {
      const startedAt = performance.now();
      await inside("curl", "-sf", "-o", "/dev/null", `http://10.0.2.2:${servers.http}/bytes/${256 * MIB}`);
      down.push(256_000 / (performance.now() - startedAt));
      servers.say({ expect: 256 * MIB, stop: false });
      const heard = servers.heard<{ ms: number }>(60_000);
      const send = `dd if=/dev/zero bs=256k count=1024 2>/dev/null >/dev/tcp/10.0.2.2/${servers.sink}`;
      await inside("bash", "-c", send);
      up.push(256_000 / (await heard).ms);
    }
  } finally {
    await guest.close();
  }
  return { down: median(down), up: median(up) };
}
