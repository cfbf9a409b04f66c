/**
 * What a room does with a frame, and which guest is behind which Ethernet address (a learning bridge, IEEE 802.1Q, 8.7
 * and 8.8, without its spanning tree: a room has no loops).
 *
 * Every guest has a gateway of its own at the same address. So what is for the gateway never enters the room, and
 * nobody in the room can speak as the gateway: no frames, ARP or IPv4 in its name, no DHCP answers, no IPv6 router
 * advertisements (RFC 6105), no VLAN tags to hide them in.
 *
 * Limitations: guests of a room can pretend to be one another in ARP. They share a secret, and on a real wire they could too.
 */
import type { Subnet } from "./engine.ts";

const ETHERNET_HEADER = 14;
const TYPE = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd, serviceVlan: 0x88a8 } as const;
const TCP = 6;
const UDP = 17;
/** Hop-by-hop options, routing, destination options: each tells its length in the same place. */
const EXTENSIONS = new Set([0, 43, 60]);
const FRAGMENT = 44;
const ICMPV6 = 58;
const ROUTER_ADVERTISEMENT = 134;
const DHCP_SERVER = 67;
const DHCPV6_SERVER = 547;

export interface Gateway {
  mac: number;
  /** Its address and the resolver's. */
  addresses: ReadonlySet<number>;
}

const u16 = (bytes: Uint8Array, at: number): number => ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
const u32 = (bytes: Uint8Array, at: number): number => u16(bytes, at) * 0x10000 + u16(bytes, at + 2);
export const macAt = (bytes: Uint8Array, at: number): number => u16(bytes, at) * 2 ** 32 + u32(bytes, at + 2);
const ipv4 = (text: string): number => text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);

export function gatewayOf(subnet: Subnet): Gateway {
  return {
    mac: Number.parseInt(subnet.gatewayMac.replaceAll(":", ""), 16),
    addresses: new Set([ipv4(subnet.gateway), ipv4(subnet.dns)]),
  };
}

/** Who gets a frame; anything else is the reason why nobody does. */
export type Verdict = "gateway" | "room" | "both" | `room.${string}`;

export function examine(frame: Uint8Array, gateway: Gateway): Verdict {
  if (frame.length < ETHERNET_HEADER) return "room.short";
  if ((frame[6] as number) & 1) return "room.source";
  if (macAt(frame, 6) === gateway.mac) return "room.gateway";
  const to = macAt(frame, 0);
  if (to === gateway.mac) return "gateway";
  // Between a station and its bridge only: 01-80-C2-00-00-00 to -0F.
  if (to >= 0x0180c2000000 && to <= 0x0180c200000f) return "room.reserved";
  const type = u16(frame, 12);
  const wide = (frame[0] as number) & 1 ? "both" : "room";
  switch (type) {
    case TYPE.arp:
      return examineArp(frame, gateway, wide);
    case TYPE.ipv4:
      return examineIpv4(frame, gateway, wide);
    case TYPE.ipv6:
      return examineIpv6(frame, wide);
    case TYPE.vlan:
    case TYPE.serviceVlan:
      return "room.vlan";
    default:
      // IPX, the classic of games in emulators, and whatever else guests speak.
      return wide;
  }
}

function examineArp(frame: Uint8Array, gateway: Gateway, wide: "both" | "room"): Verdict {
  if (frame.length < ETHERNET_HEADER + 28) return "room.arp";
  if (macAt(frame, 22) !== macAt(frame, 6)) return "room.arp";
  if (gateway.addresses.has(u32(frame, 28))) return "room.gateway";
  return gateway.addresses.has(u32(frame, 38)) ? "gateway" : wide;
}

function examineIpv4(frame: Uint8Array, gateway: Gateway, wide: "both" | "room"): Verdict {
  if (frame.length < ETHERNET_HEADER + 20) return "room.ipv4";
  if (gateway.addresses.has(u32(frame, 26))) return "room.gateway";
  const isFirst = (u16(frame, 20) & 0x1fff) === 0;
  if (frame[23] !== UDP || !isFirst) return wide;
  const ports = ETHERNET_HEADER + ((frame[14] as number) & 15) * 4;
  if (frame.length < ports + 4) return "room.ipv4";
  if (u16(frame, ports) === DHCP_SERVER) return "room.dhcp";
  return u16(frame, ports + 2) === DHCP_SERVER ? "gateway" : wide;
}

function examineIpv6(frame: Uint8Array, wide: "both" | "room"): Verdict {
  if (frame.length < ETHERNET_HEADER + 40) return "room.ipv6";
  // Behind extension headers and in fragments an advertisement could hide (RFC 7113); nobody needs those in front of ICMPv6.
  let next = frame[20] as number;
  let at = ETHERNET_HEADER + 40;
  for (let i = 0; i < 8 && EXTENSIONS.has(next); i++) {
    if (at + 8 > frame.length) return "room.ipv6";
    next = frame[at] as number;
    at += ((frame[at + 1] as number) + 1) * 8;
  }
  if (next === FRAGMENT) return frame[at] === TCP || frame[at] === UDP ? wide : "room.ipv6";
  if (EXTENSIONS.has(next)) return "room.ipv6";
  if (next === ICMPV6) return at >= frame.length || frame[at] === ROUTER_ADVERTISEMENT ? "room.router" : wide;
  if (next === UDP && at + 2 <= frame.length && u16(frame, at) === DHCPV6_SERVER) return "room.dhcp";
  return wide;
}

/** How long a silent guest keeps its Ethernet address, IEEE 802.1Q, table 8-6. */
const AGE_MS = 300_000;

/** Which end is behind an Ethernet address. The first one keeps it until it leaves or is silent for long. */
export class MacTable<End> {
  private readonly ends = new Map<number, { end: End; at: number }>();
  private readonly counts = new Map<End, number>();

  constructor(
    private readonly most: (end: End) => number,
    private readonly now: () => number = Date.now,
  ) {}

  /** @returns null, or why it is not learnt */
  learn(mac: number, end: End): "room.mac-taken" | "room.mac-limit" | null {
    const known = this.ends.get(mac);
    const now = this.now();
    if (known?.end === end) {
      known.at = now;
      return null;
    }
    if (known && now - known.at < AGE_MS) return "room.mac-taken";
    if (known) this.delete(mac);
    if ((this.counts.get(end) ?? 0) >= this.most(end) && !this.expire(end)) return "room.mac-limit";
    this.ends.set(mac, { end, at: now });
    this.counts.set(end, (this.counts.get(end) ?? 0) + 1);
    return null;
  }

  find(mac: number): End | undefined {
    return this.ends.get(mac)?.end;
  }

  delete(mac: number): void {
    const known = this.ends.get(mac);
    if (!known) return;
    this.ends.delete(mac);
    const left = (this.counts.get(known.end) ?? 1) - 1;
    if (left > 0) this.counts.set(known.end, left);
    else this.counts.delete(known.end);
  }

  /** @returns the Ethernet addresses that were its */
  forget(end: End): number[] {
    const macs = [...this.ends].filter(([, entry]) => entry.end === end).map(([mac]) => mac);
    for (const mac of macs) this.delete(mac);
    return macs;
  }

  private expire(end: End): boolean {
    const now = this.now();
    let found = false;
    for (const [mac, entry] of this.ends)
      if (entry.end === end && now - entry.at >= AGE_MS) {
        this.delete(mac);
        found = true;
      }
    return found;
  }
}
