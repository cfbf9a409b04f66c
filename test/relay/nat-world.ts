/** A NAT, its guest, and servers for it, which all end with the test. */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterEach, expect } from "vitest";
import type { Engine, EngineGuest } from "../../relay/engine.ts";
import { parseAddress } from "../../relay/nat/address.ts";
import type { NatOptions } from "../../relay/nat/nat.ts";
import { TcpGuest } from "./frame-guest.ts";
import { attach, type TestPort } from "./network.ts";

/** An address on the Internet. */
export const OUTSIDE = parseAddress("192.0.2.1");
/** What is undone after each test, the last first. */
export const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A NAT whose guest finds this computer's loopback at its gateway. */
export function start(options: Partial<NatOptions> = {}): { nat: Engine; guest: EngineGuest; port: TestPort } {
  const all = attach(options);
  cleanups.push(() => all.nat.close());
  return all;
}

/** The guest has a TCP of its own. */
export function withTcp(options: Partial<NatOptions> = {}): ReturnType<typeof start> & { tcp: TcpGuest } {
  const all = start(options);
  const tcp = new TcpGuest(all.guest, all.port);
  cleanups.push(() => tcp.stop());
  return { ...all, tcp };
}

/** A server on this computer. */
export async function serve(onConnection: (socket: Socket) => void): Promise<{ port: number; server: Server }> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, server };
}

export async function bindUdp(): Promise<UdpSocket> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  cleanups.push(() => socket.close());
  return socket;
}

/** Resolves when a number that grows has been the same for half a second, however busy the computer is. */
export async function standsStill(read: () => number): Promise<void> {
  let before = -1;
  const isSame = (): boolean => {
    const last = before;
    before = read();
    return before === last;
  };
  await expect.poll(isSame, { interval: 500, timeout: 30_000 }).toBe(true);
}
