/** What a guest costs the process that serves it: idle, with an address and nothing to do; busy, with a download. */
import { client as wisp } from "@mercuryworkshop/wisp-js/client";
import { forkRelay } from "../test/relay/relay-process.ts";
import { SimulatedGuest } from "../test/relay/simulated-guest.ts";
import { type Servers, startWisp } from "./network-programs.ts";
import { median } from "./table.ts";

const FIRST = 100;
const IDLE = 500;
const BUSY = 20;
const BYTES = 1024 * 2 ** 20;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export interface Memory {
  /** Bytes for each guest. */
  idle: number;
  busy: number;
}

/** @param join makes a guest; what it returns starts its download */
async function measure(join: () => Promise<() => void>, resident: () => Promise<number>): Promise<Memory> {
  const download: (() => void)[] = [];
  const enter = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) download.push(await join());
  };
  // The first ones also fill what all share.
  await enter(FIRST);
  await pause(7000);
  const before = await resident();
  await enter(IDLE);
  // After some seconds an idle guest gives back what it had for its first frames.
  await pause(7000);
  const idle = await resident();
  for (const start of download.slice(0, BUSY)) start();
  const busy: number[] = [];
  for (let i = 0; i < 9; i++) {
    await pause(500);
    busy.push(await resident());
  }
  return { idle: (idle - before) / IDLE, busy: (median(busy) - idle) / BUSY };
}

export async function ourMemory(servers: Servers): Promise<Memory> {
  const relay = await forkRelay(["--allow", "127.0.0.1", "--guests", "2000"]);
  const guests: SimulatedGuest[] = [];
  try {
    return await measure(
      async () => {
        const guest = await SimulatedGuest.join(relay.url);
        guests.push(guest);
        return () => {
          const stream = guest.connect(servers.http);
          stream.end(`GET /bytes/${BYTES} HTTP/1.0\r\n\r\n`);
          stream.resume();
        };
      },
      async () => (await relay.numbers()).resident,
    );
  } finally {
    for (const guest of guests) guest.leave();
    await relay.stop();
  }
}

export async function wispMemory(servers: Servers): Promise<Memory> {
  const server = await startWisp();
  try {
    return await measure(
      async () => {
        const connection = new wisp.ClientConnection(server.url.replace("wisp:", "ws:"));
        await new Promise<void>((resolve) => {
          connection.onopen = resolve;
        });
        return () => {
          const stream = connection.create_stream("127.0.0.1", servers.http);
          stream.onmessage = () => {};
          stream.send(new TextEncoder().encode(`GET /bytes/${BYTES} HTTP/1.0\r\n\r\n`));
        };
      },
      () => server.resident(),
    );
  } finally {
    server.stop();
  }
}
