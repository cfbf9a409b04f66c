/**
 * Ways from outside to a port of a guest: TCP and UDP ports of the relay's host, if the operator has opened some, and
 * HTTP addresses with an origin of their own, `http://ID--PORT.DOMAIN/`. They end with the guest.
 */
import { randomBytes } from "node:crypto";
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from "node:dgram";
import { setMaxListeners } from "node:events";
import { createServer, isIPv6, type Server } from "node:net";
import type { ForwardInfo, ForwardKind } from "./control.ts";
import type { EngineGuest } from "./engine.ts";
import { type HttpTarget, splice } from "./http-forward.ts";

export interface ForwardOptions {
  /** Ports of this host for TCP and UDP forwards; null: there are none. */
  ports: { first: number; last: number } | null;
  /** Where they listen; undefined: everywhere. */
  host: string | undefined;
  /** `ID--PORT.` and this is a forward's host name; null: no HTTP forwards. */
  domain: string | null;
  /** In front of every id, so that a load balancer finds this process. */
  instance: string | null;
  limits: ForwardLimits;
}

export interface ForwardLimits {
  /** For each guest. */
  forwards: number;
  /** TCP connections or HTTP requests at a time, for each forward. */
  connectionsPerForward: number;
  udpPeersPerForward: number;
  /** A UDP peer that is silent for so long is forgotten. RFC 4787, REQ-5: not below 2 minutes. */
  udpIdleMs: number;
}

export const FORWARD_LIMITS: ForwardLimits = {
  forwards: 16,
  connectionsPerForward: 64,
  udpPeersPerForward: 64,
  udpIdleMs: 120_000,
};

/** How the guest's user reaches the relay: forwards are told in the same terms. */
export interface Visible {
  scheme: "http" | "https";
  /** Of the Host header: "localhost:8086". */
  host: string;
}

/** The guest as forwards see it; the engine's guest may change behind it. */
export interface ForwardOwner {
  readonly engineGuest: EngineGuest;
  readonly visible: Visible;
}

interface Forward {
  info: ForwardInfo;
  owner: ForwardOwner;
  /** Rejects when it cannot be. */
  opened: Promise<void>;
  /** Only for HTTP. */
  target: HttpTarget | null;
  /** The guest has another address now. */
  reset(): void;
  close(): void;
}

export class Forwards {
  private readonly byId = new Map<string, Forward>();
  private readonly byOwner = new Map<ForwardOwner, Set<Forward>>();
  private readonly takenPorts = new Set<string>();

  constructor(private readonly options: ForwardOptions) {}

  /** For the metrics. */
  count(kind: ForwardKind): number {
    let count = 0;
    for (const { info } of this.byId.values()) if (info.kind === kind) count++;
    return count;
  }

  can(kind: ForwardKind): boolean {
    return kind === "http" ? this.options.domain !== null : this.options.ports !== null;
  }

  of(owner: ForwardOwner): ForwardInfo[] {
    // One that is still being opened has no address to tell.
    return [...(this.byOwner.get(owner) ?? [])].map(({ info }) => info).filter(({ address }) => address !== "");
  }

  /** The same port twice is the same forward. @throws Error "Cannot forward port 80: …" */
  async open(owner: ForwardOwner, kind: ForwardKind, guestPort: number): Promise<ForwardInfo> {
    const cannot = (why: string): Error => new Error(`Cannot forward port ${guestPort}: ${why}`);
    let forwards = this.byOwner.get(owner);
    const existing = [...(forwards ?? [])].find(({ info }) => info.kind === kind && info.guestPort === guestPort);
    if (existing) {
      await existing.opened;
      return existing.info;
    }
    if (!this.can(kind))
      throw cannot(
        kind === "http"
          ? "this relay has no domain for web pages of guests (--forward-domain)"
          : `this relay has no ports for ${kind.toUpperCase()} (--forward-ports)`,
      );
    if (!forwards) {
      forwards = new Set();
      this.byOwner.set(owner, forwards);
    }
    if (forwards.size >= this.options.limits.forwards)
      throw cannot(`${this.options.limits.forwards} forwards are the most`);
    const id = this.newId();
    // Its place is taken before anything is waited for.
    const forward: Forward = {
      info: { id, kind, guestPort, address: "" },
      owner,
      opened: Promise.resolve(),
      target: null,
      reset() {},
      close() {},
    };
    forwards.add(forward);
    this.byId.set(id, forward);
    forward.opened = this.begin(forward).catch((error: Error) => {
      throw cannot(error.message);
    });
    await forward.opened;
    return forward.info;
  }

  private async begin(forward: Forward): Promise<void> {
    const { id, kind } = forward.info;
    try {
      if (kind === "http") this.openHttp(forward);
      else if (kind === "tcp") await this.openTcp(forward);
      else await this.openUdp(forward);
    } catch (error) {
      this.remove(forward);
      throw error;
    }
    if (this.byId.has(id)) return;
    forward.close();
    throw new Error("the guest has gone");
  }

  /** @returns false when the owner has no such forward */
  close(owner: ForwardOwner, id: string): boolean {
    const forward = this.byId.get(id);
    if (forward?.owner !== owner) return false;
    this.remove(forward);
    forward.close();
    return true;
  }

  /** The guest has another engine or address: what was open to the old one is over, the forwards stay. */
  reset(owner: ForwardOwner): void {
    for (const forward of this.byOwner.get(owner) ?? []) forward.reset();
  }

  closeAll(owner: ForwardOwner): void {
    for (const forward of [...(this.byOwner.get(owner) ?? [])]) this.close(owner, forward.info.id);
  }

  /**
   * What a Host header names: a guest's server, no server any more ("gone"), or null when it is none of the domain.
   * Everything in the domain is the guests', so nothing of the playground is ever served there.
   */
  find(host: string | undefined): HttpTarget | "gone" | null {
    const { domain } = this.options;
    if (domain === null || host === undefined) return null;
    const name = host.toLowerCase().replace(/:\d*$/, "").replace(/\.$/, "");
    if (!name.endsWith(`.${domain}`)) return null;
    const match = /^([a-z0-9-]+)--(\d+)$/.exec(name.slice(0, -domain.length - 1));
    const forward = match && this.byId.get(match[1] as string);
    if (!forward?.target || forward.info.guestPort !== Number(match?.[2])) return "gone";
    return forward.target;
  }

  private remove(forward: Forward): void {
    this.byId.delete(forward.info.id);
    const forwards = this.byOwner.get(forward.owner);
    forwards?.delete(forward);
    if (forwards?.size === 0) this.byOwner.delete(forward.owner);
  }

  private newId(): string {
    // 136 bits in the letters that a host name may have.
    const random = BigInt(`0x${randomBytes(17).toString("hex")}`)
      .toString(36)
      .padStart(26, "0");
    return `${this.options.instance === null ? "" : `${this.options.instance}-`}${random}`;
  }

  private openHttp(forward: Forward): void {
    const { info, owner } = forward;
    const { scheme, host } = owner.visible;
    const port = /:(\d+)$/.exec(host)?.[0] ?? "";
    info.address = `${scheme}://${info.id}--${info.guestPort}.${this.options.domain}${port}/`;
    const ended = new AbortController();
    // Each request under way listens to it, and stops when it is over; Node takes more than ten for a leak.
    setMaxListeners(this.options.limits.connectionsPerForward, ended.signal);
    let active = 0;
    forward.target = {
      guestPort: info.guestPort,
      connect: (signal) => owner.engineGuest.connect(info.guestPort, signal),
      begin: () => {
        if (active >= this.options.limits.connectionsPerForward) return false;
        active++;
        return true;
      },
      end: () => active--,
      signal: ended.signal,
    };
    forward.close = () => ended.abort();
  }

  private async openTcp(forward: Forward): Promise<void> {
    const { info, owner } = forward;
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
      socket.setKeepAlive(true, 60_000);
      owner.engineGuest.connect(info.guestPort, ended.signal).then(
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
    server.maxConnections = this.options.limits.connectionsPerForward;
    const port = await this.takePort("tcp", (number) => listenTcp(server, number, this.options.host));
    info.address = this.outside(owner, port);
    forward.close = () => {
      this.takenPorts.delete(`tcp ${port}`);
      server.close();
      for (const socket of sockets) socket.destroy();
    };
  }

  private async openUdp(forward: Forward): Promise<void> {
    const { info, owner } = forward;
    const { udpPeersPerForward, udpIdleMs } = this.options.limits;
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
          const flow = owner.engineGuest.openUdp(info.guestPort, (answer) => {
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
      socket = await bindUdp(number, this.options.host);
    });
    const bound = socket as unknown as UdpSocket;
    bound.on("message", receive);
    bound.on("error", () => {});
    const timer = setInterval(sweep, udpIdleMs / 2);
    timer.unref();
    info.address = this.outside(owner, port);
    forward.reset = () => {
      for (const key of [...peers.keys()]) forget(key);
    };
    forward.close = () => {
      this.takenPorts.delete(`udp ${port}`);
      clearInterval(timer);
      forward.reset();
      socket = null;
      bound.close();
    };
  }

  /** Host and port for who is outside: the name by which the guest's user knows the relay. */
  private outside(owner: ForwardOwner, port: number): string {
    return `${owner.visible.host.replace(/:\d+$/, "") || "localhost"}:${port}`;
  }

  /** @throws Error "all ports …" */
  private async takePort(kind: "tcp" | "udp", listen: (port: number) => Promise<void>): Promise<number> {
    const { first, last } = this.options.ports as { first: number; last: number };
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
