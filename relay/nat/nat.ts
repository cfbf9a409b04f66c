/**
 * The embedded engine: a NAT in user mode, without rights of its own. The guest's connections end here and go on as
 * sockets of this process; nothing but Node is needed.
 *
 *   guest ── frames ── guest.ts ─┬─ arp, dhcp
 *                                ├─ tcp-flows ── tcp ── tcp-outward ── net.Socket
 *                                ├─ udp-flows ─────────────────────── dgram.Socket
 *                                ├─ dns ── dns-resolver ───────────── the host's resolvers
 *                                └─ icmp ── ping ──────────────────── the system's ping
 *
 * Limitations: IPv4 only, IPv6 is dropped and counted; no multicast; Linux's path MTU is the kernel's affair.
 */
import type { Engine, EngineGuest, Policy, Refusal, Subnet } from "../engine.ts";
import { parseAddress } from "./address.ts";
import { createResolver, type Resolver } from "./dns-resolver.ts";
import { NatGuest } from "./guest.ts";
import { NAT_LIMITS, type NatLimits, Rate } from "./limits.ts";
import { Link, readSubnet } from "./link.ts";
import { createPinger, type Pinger } from "./ping.ts";
import { TurnEnd } from "./tcp-path.ts";
import { TimerWheel } from "./timers.ts";

export const DEFAULT_SUBNET: Subnet = {
  gateway: "10.0.2.2",
  dns: "10.0.2.3",
  guest: "10.0.2.15",
  prefixLength: 24,
  gatewayMac: "02:00:00:00:02:02",
};

export interface NatOptions {
  subnet?: Subnet;
  policy: Policy;
  limits?: Partial<NatLimits>;
  /** Whom DNS questions are forwarded to; the host's resolvers by default. */
  resolver?: Resolver;
  /** Pings beyond the gateway; the system's program by default, null: refused. */
  pinger?: Pinger | null;
  /**
   * Addresses the guest uses for others: `{"10.0.2.2": "127.0.0.1"}` opens the relay's own loopback to it. The policy is
   * asked with the latter. For tests, and for what an operator explicitly allows.
   */
  hostAliases?: Readonly<Record<string, string>>;
  /** Of the guest's link, 1500 by default; DHCP tells it the guest. */
  mtu?: number;
}

/** What the parts of a guest's NAT share. */
export interface Context {
  policy: Policy;
  limits: NatLimits;
  resolver: Resolver;
  pinger: Pinger | null;
  hostAliases: ReadonlyMap<number, string>;
  wheel: TimerWheel;
  turnEnd: TurnEnd;
  /** Counts a refusal and tells the user of it. */
  refuse(
    kind: Refusal["kind"],
    protocol: "tcp" | "udp" | "icmp",
    destination: string,
    port: number | null,
    why: string,
  ): void;
  tell(refusal: Refusal): void;
  readonly refused: number;
  onClose(guest: EngineGuest): void;
}

const TELLS_PER_SECOND = 3;
/** Kinds of faults that are counted apart. */
const COUNTERS = 64;

/** @throws Error "Cannot use …" when the subnet is none */
export function createNat(options: NatOptions): Engine {
  const limits: NatLimits = { ...NAT_LIMITS, ...options.limits };
  const subnet = options.subnet ?? DEFAULT_SUBNET;
  const mtu = options.mtu ?? 1500;
  readSubnet(subnet, mtu);
  const wheel = new TimerWheel();
  const turnEnd = new TurnEnd();
  const resolver = options.resolver ?? createResolver();
  const pinger = options.pinger === undefined ? createPinger() : options.pinger;
  const aliases = Object.entries(options.hostAliases ?? {});
  const hostAliases = new Map(aliases.map(([seen, real]) => [parseAddress(seen), real]));
  const guests = new Set<EngineGuest>();

  return {
    attach(port, address) {
      const dropped: Record<string, number> = {};
      const drop = (what: string): void => {
        if (what in dropped || Object.keys(dropped).length < COUNTERS) dropped[what] = (dropped[what] ?? 0) + 1;
      };
      const tells = new Rate(TELLS_PER_SECOND, () => wheel.now());
      let refused = 0;
      const tell = (refusal: Refusal): void => {
        refused++;
        if (tells.take()) port.tell(refusal);
      };
      const network = readSubnet(address === undefined ? subnet : { ...subnet, guest: address }, mtu);
      const guest = new NatGuest(
        new Link(port, network, drop, wheel),
        {
          policy: options.policy,
          limits,
          resolver,
          pinger,
          hostAliases,
          wheel,
          turnEnd,
          tell,
          refuse(kind, protocol, destination, toPort, why) {
            const verb = protocol === "tcp" ? "connect to" : protocol === "udp" ? "send to" : "ping";
            tell({ kind, protocol, destination, port: toPort, text: `Cannot ${verb} ${destination}: ${why}` });
          },
          get refused() {
            return refused;
          },
          onClose: (closed) => guests.delete(closed),
        },
        dropped,
      );
      guests.add(guest);
      return guest;
    },

    async close() {
      for (const guest of [...guests]) guest.close();
      wheel.stop();
    },
  };
}
