/**
 * Ways from outside to a port of a guest: TCP and UDP ports of the relay's host, if the operator has opened some, and
 * HTTP addresses with an origin of their own, `http://ID--PORT.DOMAIN/`. They end with the guest.
 */
import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import type { ForwardInfo, ForwardKind } from "./control.ts";
import type { EngineGuest } from "./engine.ts";
import type { HttpTarget } from "./http-forward.ts";
import { PortForwards, type PortLimits } from "./port-forward.ts";

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

export interface ForwardLimits extends PortLimits {
  /** For each guest. */
  forwards: number;
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
  private readonly ports: PortForwards | null;

  constructor(private readonly options: ForwardOptions) {
    const { ports, host, limits } = options;
    this.ports = ports && new PortForwards(ports, host, limits);
  }

  /** For the metrics. */
  count(kind: ForwardKind): number {
    let count = 0;
    for (const { info } of this.byId.values()) if (info.kind === kind) count++;
    return count;
  }

  can(kind: ForwardKind): boolean {
    return kind === "http" ? this.options.domain !== null : this.ports !== null;
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
      else await this.openPort(forward, kind);
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

  private async openPort(forward: Forward, kind: "tcp" | "udp"): Promise<void> {
    const { info, owner } = forward;
    const way = await (this.ports as PortForwards).open(kind, owner, info.guestPort);
    info.address = this.outside(owner, way.port);
    forward.reset = () => way.reset();
    forward.close = () => way.close();
  }

  /** Host and port for who is outside: the name by which the guest's user knows the relay. */
  private outside(owner: ForwardOwner, port: number): string {
    return `${owner.visible.host.replace(/:\d+$/, "") || "localhost"}:${port}`;
  }
}
