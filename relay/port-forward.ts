/**
 * TCP and UDP ports of the relay's host that lead to a port of a guest. Who sends to them need not know what a guest is, and
 * each gets what is for it and nothing else.
 */
import { randomBytes } from "node:crypto";
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from "node:dgram";
import { createServer, isIPv6, type Server } from "node:net";
import type { EngineGuest } from "./engine.ts";
import { KEEP_ALIVE_MS, splice } from "./http-forward.ts";

export interface PortForward {
  readonly port: number;
  /** The guest has another address now: what was open to the old one is over. */
  reset(): void;
  close(): void;
}

export interface PortLimits {
  /** TCP connections or HTTP requests at a time, for each forward. */
  connectionsPerForward: number;
  udpPeersPerForward: number;
  /** A UDP peer that is silent for so long is forgotten. RFC 4787, REQ-5: not below 2 minutes. */
  udpIdleMs: number;
}

export class PortForwards {
  private readonly takenPorts = new Set<string>();

  /** @param host where they listen; undefined: everywhere */
  constructor(
    private readonly range: { first: number; last: number },
    private readonly host: string | undefined,
    private readonly limits: PortLimits,
  ) {}

  /**
   * @param owner has the guest; another may take its place
   * @throws Error "all ports …"
   */
  open(kind: "tcp" | "udp", owner: { readonly engineGuest: EngineGuest }, guestPort: number): Promise<PortForward> {
    return kind === "tcp" ? this.openTcp(owner, guestPort) : this.openUdp(owner, guestPort);
  }

  private async openTcp(owner: { readonly engineGuest: EngineGuest }, guestPort: number): Promise<PortForward> {
    const sockets = new Set<{ destroy(): void }>();
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
      const ended = new AbortController();
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        ended.abort();
      });
      // A visitor whose machine has gone must not hold a place for ever.
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
      owner.engineGuest.connect(guestPort, ended.signal).then(
        (guest) => {
          if (socket.destroyed) {
            guest.destroy();
            return;
          }
          splice(socket, guest);
          socket.resume();
        },
        // The visitor's program says "connection reset", as if it had been refused a bit late.
        () => socket.resetAndDestroy(),
      );
    });
    server.maxConnections = this.limits.connectionsPerForward;
    const port = await this.takePort("tcp", (number) => listenTcp(server, number, this.host));
    return {
      port,
      // Each connection ends with the guest's own.
      reset() {},
      close: () => {
        this.takenPorts.delete(`tcp ${port}`);
        server.close();
        for (const socket of sockets) socket.destroy();
      },
    };
  }

  private async openUdp(owner: { readonly engineGuest: EngineGuest }, guestPort: number): Promise<PortForward> {
    const { udpPeersPerForward, udpIdleMs } = this.limits;
    const peers = new Map<string, { flow: { send(data: Uint8Array): void; close(): void }; usedAt: number }>();
    let socket: UdpSocket | null = null;
    const forget = (key: string): void => {
      peers.get(key)?.flow.close();
      peers.delete(key);
    };
    const sweep = (): void => {
      for (const [key, { usedAt }] of peers) if (Date.now() - usedAt >= udpIdleMs) forget(key);
    };
    const receive = (data: Uint8Array, from: RemoteInfo): void => {
      const key = `${from.address} ${from.port}`;
      let peer = peers.get(key);
      if (!peer) {
        if (peers.size >= udpPeersPerForward) sweep();
        if (peers.size >= udpPeersPerForward) return;
        try {
          const flow = owner.engineGuest.openUdp(guestPort, (answer) => {
            const known = peers.get(key);
            if (known) known.usedAt = Date.now();
            // More than the system takes is lost, like any datagram.
            socket?.send(answer, from.port, from.address, () => {});
          });
          peer = { flow, usedAt: 0 };
        } catch {
          // The engine has no place for it now, or the guest no address.
          return;
        }
        peers.set(key, peer);
      }
      peer.usedAt = Date.now();
      peer.flow.send(data);
    };
    const port = await this.takePort("udp", async (number) => {
      socket = await bindUdp(number, this.host);
    });
    const bound = socket as unknown as UdpSocket;
    bound.on("message", receive);
    bound.on("error", () => {});
    const timer = setInterval(sweep, udpIdleMs / 2);
    timer.unref();
    const reset = (): void => {
      for (const key of [...peers.keys()]) forget(key);
    };
    return {
      port,
      reset,
      close: () => {
        this.takenPorts.delete(`udp ${port}`);
        clearInterval(timer);
        reset();
        socket = null;
        bound.close();
      },
    };
  }

  /** @throws Error "all ports …" */
  private async takePort(kind: "tcp" | "udp", listen: (port: number) => Promise<void>): Promise<number> {
    const { first, last } = this.range;
    const count = last - first + 1;
    // A guest that comes later does not get the port, and with it the visitors, of one that has just gone.
    const start = randomBytes(4).readUInt32BE() % count;
    for (let i = 0; i < count; i++) {
      const port = first + ((start + i) % count);
      const key = `${kind} ${port}`;
      if (this.takenPorts.has(key)) continue;
      this.takenPorts.add(key);
      try {
        await listen(port);
        return port;
      } catch (error) {
        this.takenPorts.delete(key);
        const { code } = error as NodeJS.ErrnoException;
        if (code !== "EADDRINUSE" && code !== "EACCES") throw error;
      }
    }
    throw new Error(`all ports of this relay from ${first} to ${last} are taken`);
  }
}

function listenTcp(server: Server, port: number, host: string | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      server.on("error", () => {});
      resolve();
    });
  });
}

function bindUdp(port: number, host: string | undefined): Promise<UdpSocket> {
  const socket = createSocket({ type: isIPv6(host ?? "") ? "udp6" : "udp4" });
  return new Promise((resolve, reject) => {
    socket.once("error", (error) => {
      socket.close();
      reject(error);
    });
    socket.bind(port, host, () => {
      socket.removeAllListeners("error");
      resolve(socket);
    });
  });
}
