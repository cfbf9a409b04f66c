/**
 * UDP from the guest to the world, and from the relay to the guest. Each pair of ends has a connected socket: the kernel
 * drops what comes from anybody else, and its errors can be passed on truthfully.
 *
 * Limitations: so the mapping depends on the destination (RFC 4787, 4.1 would have one for all): a guest cannot be
 * called by a third side, and STUN tells it a port that serves only the STUN server.
 */
import { createSocket, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import { formatAddress, isMartian } from "./address.ts";
import { FlowTable } from "./flow-table.ts";
import { ICMP_TYPE, UNREACHABLE } from "./icmp.ts";
import { IPV4_TTL } from "./ipv4.ts";
import { Rate } from "./limits.ts";
import type { Link } from "./link.ts";
import type { Context } from "./nat.ts";
import type { Ends } from "./tcp-path.ts";
import type { Timer } from "./timers.ts";
import { copyOf } from "./words.ts";

/** Datagrams that wait for a socket, and bytes that wait in one. */
const WAITING = 16;
const SEND_BYTES = 256 * 1024;
/** A flow that is younger than this is not given up for a new one. */
const YOUNG_MS = 5000;

interface Flow {
  ends: Ends;
  socket: Socket;
  usedAt: number;
  ttl: number;
  /** Null once the socket is connected. */
  waiting: { data: Uint8Array; ttl: number }[] | null;
  /** The packet that made the flow: an ICMP error quotes its ends. */
  packet: Uint8Array;
}

interface Inward {
  guestPort: number;
  onAnswer(data: Uint8Array): void;
}

export class UdpFlows {
  private readonly flows = new FlowTable<Flow>();
  private readonly inwards = new Map<number, Inward>();
  private readonly rate: Rate;
  private readonly timer: Timer;
  private nextPort = 49152;

  constructor(
    private readonly link: Link,
    private readonly context: Context,
  ) {
    this.rate = new Rate(context.limits.udpFlowsPerSecond, () => context.wheel.now());
    this.timer = context.wheel.timer(() => this.expire());
  }

  get open(): number {
    return this.flows.size + this.inwards.size;
  }

  /**
   * A datagram of the guest to somewhere outside, or to the gateway.
   * @param packet makes a copy of the packet for an error about it
   */
  receive(ends: Ends, data: Uint8Array, ttl: number, packet: () => Uint8Array): void {
    const { guest, guestPort, remote, remotePort } = ends;
    const known = this.flows.get(guest, guestPort, remote, remotePort);
    if (known) return this.send(known, data, ttl);
    const { network } = this.link;
    if (remote === network.gateway) {
      const inward = this.inwards.get(remotePort);
      if (inward?.guestPort === guestPort) return inward.onAnswer(copyOf(data));
    }
    const alias = this.context.hostAliases.get(remote);
    if (alias === undefined) {
      if (remote === network.gateway || remote === network.dns)
        return this.link.sendError(ICMP_TYPE.unreachable, UNREACHABLE.port, packet(), guest);
      if ((remote & network.mask) >>> 0 === (network.gateway & network.mask) >>> 0 || isMartian(remote))
        return this.link.drop("udp.destination");
    }
    const address = alias ?? formatAddress(remote);
    if (remotePort === 0) return this.link.drop("udp.destination");
    const why = this.context.policy.refuse("udp", address, remotePort);
    if (why !== null) {
      this.context.refuse("policy", "udp", formatAddress(remote), remotePort, why);
      return this.link.sendError(ICMP_TYPE.unreachable, UNREACHABLE.prohibited, packet(), guest);
    }
    if (!this.rate.take() || !this.makeRoom()) {
      const text = `${this.context.limits.udpFlows} UDP flows at a time are the most`;
      this.context.refuse("limit", "udp", formatAddress(remote), remotePort, text);
      return this.link.sendError(ICMP_TYPE.unreachable, UNREACHABLE.prohibited, packet(), guest);
    }
    this.send(this.openFlow(ends, address, packet()), data, ttl);
  }

  /** Datagrams to a port of the guest, from a port of the gateway's that is free. */
  openInward(
    guest: () => number | null,
    guestPort: number,
    onAnswer: (data: Uint8Array) => void,
  ): { send(data: Uint8Array): void; close(): void } {
    let port = this.nextPort;
    while (this.inwards.has(port)) port = port === 65535 ? 49152 : port + 1;
    this.nextPort = port === 65535 ? 49152 : port + 1;
    if (this.open >= this.context.limits.udpFlows)
      throw new Error(`Cannot send to the guest's port ${guestPort}: ${this.open} UDP flows are open already`);
    const inward: Inward = { guestPort, onAnswer };
    this.inwards.set(port, inward);
    return {
      send: (data) => {
        const address = guest();
        if (address === null || this.inwards.get(port) !== inward) return;
        this.link.sendUdp(this.link.network.gateway, port, address, guestPort, data);
      },
      close: () => {
        if (this.inwards.get(port) === inward) this.inwards.delete(port);
      },
    };
  }

  close(): void {
    for (const flow of this.flows.values()) this.end(flow);
    this.inwards.clear();
    this.timer.discard();
  }

  private openFlow(ends: Ends, address: string, packet: Uint8Array): Flow {
    const { guest, guestPort, remote, remotePort } = ends;
    const isV6 = isIPv6(address);
    const socket = createSocket({
      type: isV6 ? "udp6" : "udp4",
      // It is an address already, the one the policy has seen.
      lookup: (name, _options, callback) => callback(null, name, isV6 ? 6 : 4),
    });
    const flow: Flow = { ends, socket, usedAt: this.context.wheel.now(), ttl: IPV4_TTL, waiting: [], packet };
    this.flows.set(guest, guestPort, remote, remotePort, flow);
    if (!this.timer.armed) this.timer.set(this.context.limits.udpIdleMs / 4);
    socket.on("message", (data: Buffer) => {
      flow.usedAt = this.context.wheel.now();
      // Larger than the link's MTU: in fragments.
      this.link.sendUdp(remote, remotePort, guest, guestPort, data);
    });
    socket.on("error", (error: NodeJS.ErrnoException) => this.fail(flow, error.code ?? "EIO"));
    socket.connect(remotePort, address, () => {
      const waiting = flow.waiting ?? [];
      flow.waiting = null;
      for (const { data, ttl } of waiting) this.send(flow, data, ttl);
    });
    return flow;
  }

  private send(flow: Flow, data: Uint8Array, ttl: number): void {
    flow.usedAt = this.context.wheel.now();
    if (flow.waiting) {
      if (flow.waiting.length >= WAITING) this.link.drop("udp.waiting");
      else flow.waiting.push({ data: copyOf(data), ttl });
      return;
    }
    try {
      if (flow.socket.getSendQueueSize() > SEND_BYTES) return this.link.drop("udp.busy");
      // We are a router: a traceroute of the guest's counts us, too.
      const left = Math.max(1, ttl - 1);
      if (left < IPV4_TTL - 1 || flow.ttl !== IPV4_TTL) {
        if (flow.ttl !== left) flow.socket.setTTL(left);
        flow.ttl = left;
      }
      // A copy: the frame is its owner's again when this returns, the system may take the bytes later.
      flow.socket.send(copyOf(data), (error) => {
        if (error) this.fail(flow, (error as NodeJS.ErrnoException).code ?? "EIO");
      });
    } catch {
      this.end(flow);
    }
  }

  private fail(flow: Flow, code: string): void {
    const { guest, guestPort, remote, remotePort } = flow.ends;
    if (this.flows.get(guest, guestPort, remote, remotePort) !== flow) return;
    if (code === "EMSGSIZE") return this.link.drop("udp.size");
    const reason = REASON_BY_CODE.get(code);
    if (reason !== undefined) this.link.sendError(ICMP_TYPE.unreachable, reason, flow.packet, guest);
    // A closed port may open again; with everything else the socket is of no more use.
    if (code !== "ECONNREFUSED") this.end(flow);
  }

  /** @returns whether there is room for one more flow */
  private makeRoom(): boolean {
    if (this.open < this.context.limits.udpFlows) return true;
    let oldest: Flow | null = null;
    for (const flow of this.flows.values()) if (!oldest || flow.usedAt < oldest.usedAt) oldest = flow;
    if (!oldest || this.context.wheel.now() - oldest.usedAt < YOUNG_MS) return false;
    this.end(oldest);
    return true;
  }

  private expire(): void {
    const oldest = this.context.wheel.now() - this.context.limits.udpIdleMs;
    for (const flow of this.flows.values()) if (flow.usedAt <= oldest) this.end(flow);
    if (this.flows.size > 0) this.timer.set(this.context.limits.udpIdleMs / 4);
  }

  private end(flow: Flow): void {
    const { guest, guestPort, remote, remotePort } = flow.ends;
    this.flows.delete(guest, guestPort, remote, remotePort, flow);
    flow.socket.removeAllListeners();
    flow.socket.on("error", () => {});
    try {
      flow.socket.close();
    } catch {
      // It has closed itself.
    }
  }
}

const REASON_BY_CODE: ReadonlyMap<string, number> = new Map([
  ["ECONNREFUSED", UNREACHABLE.port],
  ["EHOSTUNREACH", UNREACHABLE.host],
  ["ENETUNREACH", UNREACHABLE.network],
  ["EACCES", UNREACHABLE.prohibited],
  ["EPERM", UNREACHABLE.prohibited],
]);
