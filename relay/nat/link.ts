/** The wire to one guest: makes frames, knows the guest's Ethernet addresses, and says when the way is full. */
import type { GuestPort, Subnet } from "../engine.ts";
import { formatAddress, MAC_BROADCAST, parseAddress, parseMac } from "./address.ts";
import { ETHER_TYPE, ETHERNET_HEADER, writeEthernet } from "./ethernet.ts";
import { encodeIcmpError } from "./icmp.ts";
import { fragments, IP_PROTOCOL, IPV4_HEADER, type Ipv4, writeIpv4 } from "./ipv4.ts";
import type { SendQueue } from "./send-queue.ts";
import { TCP_HEADER, writeTcp } from "./tcp-segment.ts";
import type { Timer, TimerWheel } from "./timers.ts";
import { encodeUdp } from "./udp.ts";
import { copyOf } from "./words.ts";

/** Above this, connections send no data. */
const FULL = 256 * 1024;
/** Above this even answers without data are dropped. */
const OVERFULL = 4 * 1024 * 1024;
/**
 * Frames are cut out of blocks: making an ArrayBuffer for each costs more than filling it. The blocks of a guest that is busy
 * become larger, and one that is idle gives its block back, since most guests wait most of the time. Mostly one block serves
 * again and again: the way to a guest takes 64 KB at most before it copies them.
 */
const FIRST_BLOCK = 2 * 1024;
const LARGEST_BLOCK = 80 * 1024;
const IDLE_MS = 5000;
/** The guest may have a bridge, and machines of its own behind it. */
const NEIGHBOURS = 32;

export interface Network {
  gateway: number;
  dns: number;
  guest: number;
  mask: number;
  broadcast: number;
  gatewayMac: Uint8Array;
  mtu: number;
}

/** @throws Error "Cannot use the subnet …" */
export function readSubnet(subnet: Subnet, mtu: number): Network {
  const { prefixLength } = subnet;
  if (!Number.isInteger(prefixLength) || prefixLength < 8 || prefixLength > 30)
    throw new Error(`Cannot use the subnet's prefix length ${prefixLength}: 8 to 30 are possible`);
  if (mtu < 576 || mtu > 65535) throw new Error(`Cannot use an MTU of ${mtu}: 576 to 65535 are possible`);
  const mask = (-1 << (32 - prefixLength)) >>> 0;
  const gateway = parseAddress(subnet.gateway);
  const network = {
    gateway,
    dns: parseAddress(subnet.dns),
    guest: parseAddress(subnet.guest),
    mask,
    broadcast: (gateway | ~mask) >>> 0,
    gatewayMac: parseMac(subnet.gatewayMac),
    mtu,
  };
  for (const address of [network.dns, network.guest])
    if ((address & mask) >>> 0 !== (gateway & mask) >>> 0)
      throw new Error(`Cannot use ${formatAddress(address)} in the subnet of ${subnet.gateway}/${prefixLength}`);
  if (network.guest === gateway || network.guest === network.dns)
    throw new Error(`Cannot use ${subnet.guest} for the guest: it is the gateway's or the resolver's address`);
  return network;
}

const NO_BLOCK = new Uint8Array(0);

/** Whoever waits until the way to the guest is free. */
export interface Waiting {
  resume(): void;
}

export class Link {
  private readonly neighbours = new Map<number, Uint8Array>();
  private waiting = new Set<Waiting>();
  private awaitsDrain = false;
  private block = NO_BLOCK;
  private used = 0;
  /** As it was when the timer was set. */
  private usedBefore = 0;
  private readonly idleTimer: Timer;
  private nextId = 1;

  constructor(
    private readonly port: GuestPort,
    readonly network: Network,
    readonly drop: (what: string) => void,
    wheel: TimerWheel,
  ) {
    this.idleTimer = wheel.timer(() => this.giveBack());
  }

  /** Whether data to the guest must wait; then `waiting.resume()` is called when they need not any more. */
  isFull(waiting: Waiting): boolean {
    if (!this.awaitsDrain) {
      if (this.port.queuedBytes < FULL) return false;
      this.awaitsDrain = true;
      this.port.onDrain(() => this.drained());
    }
    if (this.awaitsDrain) this.waiting.add(waiting);
    return this.awaitsDrain;
  }

  forget(waiting: Waiting): void {
    this.waiting.delete(waiting);
  }

  /** The guest has this address at this Ethernet address. */
  learn(address: number, frame: Uint8Array, at: number): void {
    const known = this.neighbours.get(address);
    if (known?.every((byte, i) => byte === frame[at + i])) return;
    if (this.neighbours.size >= NEIGHBOURS && !known)
      for (const oldest of this.neighbours.keys()) {
        this.neighbours.delete(oldest);
        break;
      }
    this.neighbours.set(address, copyOf(frame, at, at + 6));
  }

  macOf(address: number): Uint8Array | null {
    return this.neighbours.get(address) ?? null;
  }

  close(): void {
    this.idleTimer.discard();
    this.block = NO_BLOCK;
  }

  /** Room for a frame. */
  private frame(length: number): Uint8Array {
    if (length > LARGEST_BLOCK / 8) return new Uint8Array(length);
    if (this.port.isEmpty) this.used = 0;
    if (this.used + length > this.block.length) {
      let size = Math.max(FIRST_BLOCK, Math.min(this.block.length * 2, LARGEST_BLOCK));
      while (size < length) size *= 2;
      this.block = new Uint8Array(size);
      this.used = 0;
      if (!this.idleTimer.armed) this.watch();
    }
    const frame = this.block.subarray(this.used, this.used + length);
    // On addresses that are even, and so are the headers behind the 14 bytes of Ethernet.
    this.used += (length + 7) & ~7;
    return frame;
  }

  private watch(): void {
    this.usedBefore = this.used;
    this.idleTimer.set(IDLE_MS);
  }

  private giveBack(): void {
    if (this.used !== this.usedBefore) return this.watch();
    this.block = NO_BLOCK;
    this.used = 0;
  }

  private send(frame: Uint8Array): void {
    if (this.port.queuedBytes > OVERFULL) this.drop("link.overfull");
    else this.port.send(frame);
  }

  sendEthernet(to: Uint8Array, type: number, payload: Uint8Array): void {
    const frame = this.frame(ETHERNET_HEADER + payload.length);
    writeEthernet(frame, to, this.network.gatewayMac, type);
    frame.set(payload, ETHERNET_HEADER);
    this.send(frame);
  }

  /** Sends an IPv4 packet, in fragments when it is larger than the link's MTU. */
  sendIpv4(
    packet: { source: number; destination: number; protocol: number; ttl?: number },
    payload: Uint8Array,
    to: Uint8Array | null = this.macOf(packet.destination),
  ): void {
    const mac = packet.destination === 0xffffffff ? MAC_BROADCAST : to;
    if (!mac) return this.drop("link.unknown-neighbour");
    const id = this.id();
    for (const { offset, length, more } of fragments(payload.length, this.network.mtu)) {
      const frame = this.frame(ETHERNET_HEADER + IPV4_HEADER + length);
      writeEthernet(frame, mac, this.network.gatewayMac, ETHER_TYPE.ipv4);
      writeIpv4(frame, ETHERNET_HEADER, { ...packet, id, moreFragments: more, fragmentOffset: offset }, length);
      frame.set(payload.subarray(offset, offset + length), ETHERNET_HEADER + IPV4_HEADER);
      this.send(frame);
    }
  }

  /** @param to the Ethernet address, if it is not the one that is known for the destination */
  sendUdp(
    source: number,
    sourcePort: number,
    destination: number,
    destinationPort: number,
    data: Uint8Array,
    to?: Uint8Array,
  ): void {
    this.sendIpv4(
      { source, destination, protocol: IP_PROTOCOL.udp },
      encodeUdp({ sourcePort, destinationPort, data }, source, destination),
      to,
    );
  }

  /**
   * Tells the guest what became of its packet.
   * @param packet a copy of it, from its IPv4 header on: `quote()`
   */
  sendError(type: number, code: number, packet: Uint8Array, destination: number): void {
    this.sendIpv4(
      { source: this.network.gateway, destination, protocol: IP_PROTOCOL.icmp },
      encodeIcmpError(type, code, packet),
    );
  }

  /** Sends a TCP segment. */
  sendTcp(
    source: number,
    sourcePort: number,
    destination: number,
    destinationPort: number,
    seq: number,
    ack: number,
    flags: number,
    window: number,
    options: Uint8Array | null,
    queue: SendQueue | null,
    offset: number,
    length: number,
  ): void {
    const mac = this.macOf(destination);
    if (!mac) return this.drop("link.unknown-neighbour");
    const tcp = ETHERNET_HEADER + IPV4_HEADER;
    const data = tcp + TCP_HEADER + (options?.length ?? 0);
    const frame = this.frame(data + length);
    writeEthernet(frame, mac, this.network.gatewayMac, ETHER_TYPE.ipv4);
    const fields = { source, destination, protocol: IP_PROTOCOL.tcp, id: this.id(), dontFragment: true };
    writeIpv4(frame, ETHERNET_HEADER, fields, frame.length - tcp);
    if (queue) queue.copy(offset, length, frame, data);
    writeTcp(
      frame,
      tcp,
      frame.length,
      source,
      destination,
      sourcePort,
      destinationPort,
      seq,
      ack,
      flags,
      window,
      options,
    );
    this.send(frame);
  }

  private id(): number {
    this.nextId = (this.nextId + 1) & 0xffff;
    return this.nextId;
  }

  private drained(): void {
    this.awaitsDrain = false;
    const waiting = [...this.waiting];
    this.waiting = new Set();
    const served: Waiting[] = [];
    for (const one of waiting) {
      if (this.awaitsDrain) this.waiting.add(one);
      else {
        one.resume();
        served.push(one);
      }
    }
    // Whoever had its turn goes behind those that had not.
    for (const one of served) if (this.waiting.delete(one)) this.waiting.add(one);
  }
}

/** As much of a packet as an ICMP error about it carries. */
export function quote(frame: Uint8Array, ip: Ipv4): Uint8Array {
  return copyOf(frame, ip.start, Math.min(ip.end, ip.start + 548));
}
