/**
 * What of a guest's frames may go to an engine that is a program of others. Each packet is judged by where it really
 * goes, so it does not matter what the engine itself would allow, nor what a name resolved to.
 *
 *   frame ─┬─ ARP, DHCP, anything for the gateway ────────────── the relay (the embedded NAT answers)
 *          ├─ refused by the policy ──────────────────────────── the relay (the same NAT refuses it, in words)
 *          ├─ DNS to the subnet's resolver, TCP, UDP, pings ──── the engine
 *          └─ all else: IPv6, VLAN, other senders, broken ────── nowhere, counted
 *
 * Fragments are put together first and judged as a whole (RFC 1858, RFC 3128: what is split can hide ports and flags).
 *
 * Limitations: the guest has one address here, the one that DHCP gives it; a bridge of its own needs a NAT of its own.
 */
import type { Policy, Protocol } from "../engine.ts";
import { formatAddress, macKey } from "../nat/address.ts";
import { decodeArp } from "../nat/arp.ts";
import { DHCP_PORT } from "../nat/dhcp.ts";
import { DNS_PORT } from "../nat/dns.ts";
import { ETHER_TYPE, ETHERNET_HEADER, isFor } from "../nat/ethernet.ts";
import { FlowTable } from "../nat/flow-table.ts";
import { decodeIcmp } from "../nat/icmp.ts";
import { fragments, IP_PROTOCOL, IPV4_HEADER, Ipv4, writeIpv4 } from "../nat/ipv4.ts";
import { NAT_LIMITS, type NatLimits, Rate } from "../nat/limits.ts";
import type { Network } from "../nat/link.ts";
import { Reassembly } from "../nat/reassembly.ts";
import { FLAG, Segment } from "../nat/tcp-segment.ts";
import type { TimerWheel } from "../nat/timers.ts";
import { decodeUdp } from "../nat/udp.ts";
import { copyOf, getU16 } from "../nat/words.ts";

export type FilterLimits = Pick<
  NatLimits,
  | "tcpConnections"
  | "tcpConnectsPerSecond"
  | "tcpConnectMs"
  | "tcpIdleMs"
  | "udpFlows"
  | "udpFlowsPerSecond"
  | "udpIdleMs"
  | "dnsQueriesPerSecond"
  | "pingsPerSecond"
>;

/** A ping is a packet here, not a process. */
export const FILTER_LIMITS: FilterLimits = { ...NAT_LIMITS, pingsPerSecond: 20 };

export interface FilterParts {
  network: Network;
  policy: Policy;
  wheel: TimerWheel;
  limits?: Partial<FilterLimits>;
  /** Whether the engine answers pings truthfully; otherwise the relay does. */
  carriesPings: boolean;
  toRelay(frame: Uint8Array): void;
  /** An IPv4 packet that is allowed. Its Ethernet addresses still are the guest's; the frame must not be changed. */
  toEngine(frame: Uint8Array): void;
  drop(what: string): void;
  onLimit(protocol: Protocol, destination: string, port: number | null, why: string): void;
}

interface Flow {
  isTcp: boolean;
  guestPort: number;
  remote: number;
  remotePort: number;
  usedAt: number;
  isAnswered: boolean;
  /** Who has said that it sends no more. */
  guestEnded: boolean;
  remoteEnded: boolean;
}

/** How long a verdict stands: the policy looks at the addresses of this machine, which change. */
const VERDICT_MS = 1000;
const VERDICTS = 1024;
/** A UDP flow that is younger than this is not given up for a new one. */
const YOUNG_MS = 5000;
const DNS_HEADER = 12;

export class FrameFilter {
  /** The guest's Ethernet address, null until it is known. */
  guestMac: Uint8Array | null = null;
  tcpOpened = 0;
  private readonly limits: FilterLimits;
  private readonly ip = new Ipv4();
  private readonly inwardIp = new Ipv4();
  private readonly segment = new Segment();
  private readonly reassembly: Reassembly;
  private readonly tcpFlows = new FlowTable<Flow>();
  private readonly udpFlows = new FlowTable<Flow>();
  private readonly verdicts = new Map<number, { refused: boolean; until: number }>();
  private readonly connects: Rate;
  private readonly newUdpFlows: Rate;
  private readonly queries: Rate;
  private readonly pings: Rate;

  constructor(private readonly parts: FilterParts) {
    const { wheel } = parts;
    this.limits = { ...FILTER_LIMITS, ...parts.limits };
    const now = (): number => wheel.now();
    this.connects = new Rate(this.limits.tcpConnectsPerSecond, now);
    this.newUdpFlows = new Rate(this.limits.udpFlowsPerSecond, now);
    this.queries = new Rate(this.limits.dnsQueriesPerSecond, now);
    this.pings = new Rate(this.limits.pingsPerSecond, now);
    this.reassembly = new Reassembly(wheel, (why) => parts.drop(`ipv4.fragment-${why}`));
  }

  get tcpOpen(): number {
    return this.tcpFlows.size;
  }

  get udpOpen(): number {
    return this.udpFlows.size;
  }

  close(): void {
    this.reassembly.close();
  }

  /** A frame of the guest. */
  receive(frame: Uint8Array): void {
    const { drop, network, toRelay } = this.parts;
    if (frame.length < ETHERNET_HEADER) return drop("ethernet.short");
    if (frame.length > ETHERNET_HEADER + network.mtu) return drop("ethernet.long");
    // Nobody sends from a group address, and nobody but the gateway from the gateway's.
    if ((frame[6] as number) & 1 || macKey(frame, 6) === macKey(network.gatewayMac, 0)) return drop("ethernet.source");
    if (!isFor(frame, network.gatewayMac)) return drop("ethernet.other");
    const type = getU16(frame, 12);
    if (type === ETHER_TYPE.ipv4) return this.receiveIpv4(frame);
    if (type !== ETHER_TYPE.arp) return drop(type === ETHER_TYPE.ipv6 ? "ipv6" : "ethernet.type");
    const arp = decodeArp(frame, ETHERNET_HEADER);
    if (!arp) return drop("arp.broken");
    // A guest that goes on from a saved state takes another Ethernet address; it says so by ARP, or before by DHCP.
    if (arp.senderAddress === network.guest && macKey(arp.senderMac, 0) === macKey(frame, 6))
      this.guestMac = copyOf(frame, 6, 12);
    toRelay(frame);
  }

  /**
   * A frame of the engine. It is believed to be sound, but it must be for the guest.
   * @returns whether the guest may have it
   */
  receiveInward(frame: Uint8Array): boolean {
    const { inwardIp: ip, parts } = this;
    const { network } = parts;
    const isIpv4 = frame.length >= ETHERNET_HEADER && getU16(frame, 12) === ETHER_TYPE.ipv4;
    if (!isIpv4 || frame.length > ETHERNET_HEADER + network.mtu || ip.decode(frame, ETHERNET_HEADER) !== null)
      return this.dropInward("broken");
    if (ip.destination !== network.guest) return this.dropInward("destination");
    // From the little network only its resolver speaks, and the gateway of a packet that could not go on.
    if (this.isInside(ip.source) && ip.source !== network.dns && ip.protocol !== IP_PROTOCOL.icmp)
      return this.dropInward("source");
    const isFirst = ip.fragmentOffset === 0 && ip.end - ip.payload >= 8;
    if (isFirst && (ip.protocol === IP_PROTOCOL.tcp || ip.protocol === IP_PROTOCOL.udp)) {
      const isTcp = ip.protocol === IP_PROTOCOL.tcp;
      const flows = isTcp ? this.tcpFlows : this.udpFlows;
      const flow = flows.get(network.guest, getU16(frame, ip.payload + 2), ip.source, getU16(frame, ip.payload));
      if (flow) {
        flow.usedAt = parts.wheel.now();
        flow.isAnswered = true;
        if (isTcp && ip.end - ip.payload >= 20) this.follow(flow, frame[ip.payload + 13] as number, false);
      }
    }
    return true;
  }

  private dropInward(what: string): false {
    this.parts.drop(`engine.${what}`);
    return false;
  }

  private receiveIpv4(frame: Uint8Array): void {
    const { ip, parts } = this;
    const { drop, network, toRelay } = parts;
    const problem = ip.decode(frame, ETHERNET_HEADER);
    if (problem) return drop(`ipv4.${problem}`);
    if (ip.destination === network.gateway) return toRelay(frame);
    const isWhole = !ip.moreFragments && ip.fragmentOffset === 0;
    const isBroadcast = ip.destination === 0xffffffff || ip.destination === network.broadcast;
    if (isBroadcast) {
      const isDhcp =
        ip.protocol === IP_PROTOCOL.udp &&
        isWhole &&
        ip.end - ip.payload >= 8 &&
        getU16(frame, ip.payload + 2) === DHCP_PORT.server;
      if (!isDhcp) return drop("ipv4.destination");
      // Whoever asks for an address may have a new Ethernet address, under which it will go on.
      if (ip.source === 0) this.guestMac = copyOf(frame, 6, 12);
      return toRelay(frame);
    }
    if (ip.source !== network.guest) return drop("ipv4.source");
    this.guestMac ??= copyOf(frame, 6, 12);
    if (macKey(this.guestMac, 0) !== macKey(frame, 6)) return drop("ethernet.source");
    if (isWhole) return this.receivePacket(frame, null);
    const whole = this.reassembly.add(ip, frame);
    if (!whole) return;
    const packet = new Uint8Array(ETHERNET_HEADER + IPV4_HEADER + whole.length);
    packet.set(frame.subarray(0, ETHERNET_HEADER));
    const { source, destination, protocol, id, ttl } = ip;
    const fields = { source, destination, protocol, id, ttl };
    writeIpv4(packet, ETHERNET_HEADER, fields, whole.length);
    packet.set(whole, ETHERNET_HEADER + IPV4_HEADER);
    ip.decode(packet, ETHERNET_HEADER);
    this.receivePacket(packet, fields);
  }

  /** @param cut the header's fields if it came in fragments, and must go on in such */
  private receivePacket(frame: Uint8Array, cut: Parameters<typeof writeIpv4>[2] | null): void {
    const { ip } = this;
    const { drop } = this.parts;
    if (ip.ttl === 0) return drop("ipv4.ttl");
    const pass =
      ip.protocol === IP_PROTOCOL.tcp
        ? this.judgeTcp(frame)
        : ip.protocol === IP_PROTOCOL.udp
          ? this.judgeUdp(frame)
          : ip.protocol === IP_PROTOCOL.icmp
            ? this.judgeIcmp(frame)
            : "ipv4.protocol";
    if (pass === "engine") this.pass(frame, cut);
    // In one piece, which the embedded NAT takes whatever its length.
    else if (pass === "relay") this.parts.toRelay(frame);
    else if (pass !== "limit") drop(pass);
  }

  private pass(frame: Uint8Array, cut: Parameters<typeof writeIpv4>[2] | null): void {
    const { network, toEngine } = this.parts;
    if (!cut) return toEngine(frame);
    const payload = frame.subarray(ETHERNET_HEADER + IPV4_HEADER);
    for (const { offset, length, more } of fragments(payload.length, network.mtu)) {
      const piece = new Uint8Array(ETHERNET_HEADER + IPV4_HEADER + length);
      piece.set(frame.subarray(0, ETHERNET_HEADER));
      writeIpv4(piece, ETHERNET_HEADER, { ...cut, moreFragments: more, fragmentOffset: offset }, length);
      piece.set(payload.subarray(offset, offset + length), ETHERNET_HEADER + IPV4_HEADER);
      toEngine(piece);
    }
  }

  private judgeTcp(frame: Uint8Array): string {
    const { ip, segment, parts } = this;
    const problem = segment.decode(frame, ip.payload, ip.end, ip.source, ip.destination);
    if (problem) return `tcp.${problem}`;
    const { sourcePort, destinationPort, flags } = segment;
    if (sourcePort === 0 || destinationPort === 0) return "tcp.port";
    const isSyn = (flags & FLAG.syn) !== 0;
    if (flags === 0 || (isSyn && flags & (FLAG.fin | FLAG.rst))) return "tcp.flags";
    const where = this.where("tcp", destinationPort);
    if (where !== "engine") return where;
    const flow = this.tcpFlows.get(ip.source, sourcePort, ip.destination, destinationPort);
    if (flow) {
      flow.usedAt = parts.wheel.now();
      this.follow(flow, flags, true);
      return "engine";
    }
    // Others belong to no connection of ours, or to one that has just ended: the engine answers with a reset or nothing.
    if (!isSyn || flags & FLAG.ack) return "engine";
    const { tcpConnections, tcpConnectsPerSecond } = this.limits;
    if (this.tcpOpen >= tcpConnections) this.expire();
    if (this.tcpOpen >= tcpConnections)
      return this.limited("tcp", destinationPort, `${tcpConnections} connections at a time are the most`);
    if (!this.connects.take())
      return this.limited("tcp", destinationPort, `${tcpConnectsPerSecond} connections a second are the most`);
    this.remember(true, sourcePort, destinationPort);
    this.tcpOpened++;
    return "engine";
  }

  private judgeUdp(frame: Uint8Array): string {
    const { ip, parts } = this;
    const datagram = decodeUdp(frame, ip.payload, ip.end, ip.source, ip.destination);
    if (typeof datagram === "string") return `udp.${datagram}`;
    const { sourcePort, destinationPort, data } = datagram;
    if (destinationPort === 0) return "udp.port";
    const where = this.where("udp", destinationPort);
    if (where !== "engine") return where;
    if (ip.destination === parts.network.dns) {
      // A question; answers are for resolvers.
      if (data.length < DNS_HEADER || (data[2] as number) & 0x80) return "dns.broken";
      return this.queries.take() ? "engine" : "dns.rate";
    }
    const flow = this.udpFlows.get(ip.source, sourcePort, ip.destination, destinationPort);
    if (flow) {
      flow.usedAt = parts.wheel.now();
      return "engine";
    }
    const { udpFlows } = this.limits;
    if (!this.newUdpFlows.take() || !this.makeRoom())
      return this.limited("udp", destinationPort, `${udpFlows} UDP flows at a time are the most`);
    this.remember(false, sourcePort, destinationPort);
    return "engine";
  }

  private judgeIcmp(frame: Uint8Array): string {
    const { ip, parts } = this;
    const message = decodeIcmp(frame, ip.payload, ip.end);
    if (typeof message === "string") return `icmp.${message}`;
    // Errors and answers of the guest: the sockets of the other end learn of it in other ways.
    if (message.kind !== "echo-request") return "icmp.type";
    const where = this.where("icmp", 0);
    if (where !== "engine") return where;
    if (!parts.carriesPings) return "relay";
    return this.pings.take()
      ? "engine"
      : this.limited("icmp", null, `${this.limits.pingsPerSecond} pings a second are the most`);
  }

  /** To whom a packet of this kind goes. */
  private where(protocol: Protocol, port: number): string {
    const { network } = this.parts;
    const { destination } = this.ip;
    if (destination === network.dns) return port === DNS_PORT ? "engine" : "relay";
    if (this.isInside(destination)) return "ipv4.destination";
    return this.isRefused(protocol, destination, port) ? "relay" : "engine";
  }

  private isRefused(protocol: Protocol, destination: number, port: number): boolean {
    // 50 bits: a number holds them.
    const key = (destination * 0x10000 + port) * 4 + (protocol === "tcp" ? 0 : protocol === "udp" ? 1 : 2);
    const now = this.parts.wheel.now();
    const known = this.verdicts.get(key);
    if (known && now < known.until) return known.refused;
    if (this.verdicts.size >= VERDICTS) this.verdicts.clear();
    const refused = this.parts.policy.refuse(protocol, formatAddress(destination), port) !== null;
    this.verdicts.set(key, { refused, until: now + VERDICT_MS });
    return refused;
  }

  private limited(protocol: Protocol, port: number | null, why: string): "limit" {
    this.parts.drop(`${protocol}.limit`);
    this.parts.onLimit(protocol, formatAddress(this.ip.destination), port, why);
    return "limit";
  }

  private isInside(address: number): boolean {
    const { mask, gateway } = this.parts.network;
    return (address & mask) >>> 0 === (gateway & mask) >>> 0;
  }

  private remember(isTcp: boolean, guestPort: number, remotePort: number): void {
    const { source, destination } = this.ip;
    const ends = { guestPort, remote: destination, remotePort, usedAt: this.parts.wheel.now() };
    const flow = { isTcp, ...ends, isAnswered: false, guestEnded: false, remoteEnded: false };
    (isTcp ? this.tcpFlows : this.udpFlows).set(source, guestPort, destination, remotePort, flow);
  }

  private forget(flow: Flow): void {
    const { guest } = this.parts.network;
    const flows = flow.isTcp ? this.tcpFlows : this.udpFlows;
    flows.delete(guest, flow.guestPort, flow.remote, flow.remotePort, flow);
  }

  /** A connection has ended when it was reset, or both sides have said that they send no more. */
  private follow(flow: Flow, flags: number, isGuest: boolean): void {
    if (flags & FLAG.fin) {
      if (isGuest) flow.guestEnded = true;
      else flow.remoteEnded = true;
    }
    if (flags & FLAG.rst || (flow.guestEnded && flow.remoteEnded)) this.forget(flow);
  }

  private expire(): void {
    const now = this.parts.wheel.now();
    const { tcpIdleMs, tcpConnectMs, udpIdleMs } = this.limits;
    for (const flow of [...this.tcpFlows.values(), ...this.udpFlows.values()]) {
      const idleMs = !flow.isTcp ? udpIdleMs : flow.isAnswered ? tcpIdleMs : tcpConnectMs;
      if (now - flow.usedAt >= idleMs) this.forget(flow);
    }
  }

  /** @returns whether there is room for one more UDP flow; the one that was silent for longest makes it */
  private makeRoom(): boolean {
    if (this.udpOpen < this.limits.udpFlows) return true;
    this.expire();
    if (this.udpOpen < this.limits.udpFlows) return true;
    let oldest: Flow | null = null;
    for (const flow of this.udpFlows.values()) if (!oldest || flow.usedAt < oldest.usedAt) oldest = flow;
    if (!oldest || this.parts.wheel.now() - oldest.usedAt < YOUNG_MS) return false;
    this.forget(oldest);
    return true;
  }
}
