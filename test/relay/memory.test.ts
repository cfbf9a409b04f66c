/** What the NAT holds of a guest that has gone: nothing, from that moment on. */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GuestPort } from "../../relay/engine.ts";
import { createNat } from "../../relay/nat/nat.ts";
import { GATEWAY, ipFrame, RESOLVER, TcpGuest, udpFrame } from "./frame-guest.ts";
import { collectGarbage } from "./garbage.ts";
import { ALLOW_ALL, createPort, LOOPBACK } from "./network.ts";

/** Less than a turn of the timer wheel, which would let go of everything in time. */
const WITHIN_MS = 3000;

describe("the NAT", () => {
  const server = createServer((socket) => socket.on("error", () => {}).write(Buffer.alloc(100_000, "data")));
  let number: number;
  const nat = createNat({ policy: ALLOW_ALL, hostAliases: LOOPBACK, pinger: null });

  beforeAll(async () => {
    await once(server.listen(0, "127.0.0.1"), "listening");
    number = (server.address() as AddressInfo).port;
  });
  afterAll(async () => {
    await nat.close();
    server.close();
  });

  /** A guest with connections, flows and a piece of a packet under way; in a function, that nothing stays on the stack. */
  async function comeAndGo(): Promise<WeakRef<GuestPort>> {
    const port = createPort();
    const guest = nat.attach(port);
    const tcp = new TcpGuest(guest, port);
    const stream = tcp.connect(GATEWAY, number);
    await once(stream, "readable");
    guest.receive(udpFrame(GATEWAY, number, Buffer.from("to nobody")));
    guest.receive(udpFrame(RESOLVER, 53, Buffer.from("no question")));
    guest.receive(ipFrame({ protocol: 17, id: 3, moreFragments: true }, new Uint8Array(1480)));
    expect(guest.statistics).toMatchObject({ tcpOpen: 1, udpOpen: 1 });
    tcp.stop();
    guest.close();
    return new WeakRef<GuestPort>(port);
  }

  it("lets go of a guest that has gone", async () => {
    const gone = await comeAndGo();
    const isHeld = (): boolean => {
      collectGarbage();
      return gone.deref() !== undefined;
    };
    await expect.poll(isHeld, { timeout: WITHIN_MS, interval: 100 }).toBe(false);
  });
});
