/** All TCP connections of one guest: finds the one a segment belongs to, and makes new ones. */
import { createHash, randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { formatAddress, isMartian } from "./address.ts";
import { FlowTable } from "./flow-table.ts";
import { GuestStream } from "./guest-stream.ts";
import { ICMP_TYPE, UNREACHABLE } from "./icmp.ts";
import type { Ipv4 } from "./ipv4.ts";
import { type NatLimits, Rate } from "./limits.ts";
import { type Link, quote } from "./link.ts";
import type { Context } from "./nat.ts";
import { advance, distance } from "./sequence.ts";
import { TcpConnection } from "./tcp.ts";
import type { TcpEnd, TcpUpper } from "./tcp-layers.ts";
import { TCP_DEFAULTS, type TcpOptions } from "./tcp-options.ts";
import { TcpOutward } from "./tcp-outward.ts";
import { type Ends, TcpPath } from "./tcp-path.ts";
import { FLAG, Segment } from "./tcp-segment.ts";

/** RFC 6335, section 6: the ports connections to the guest come from. */
const FIRST_PORT = 49152;
const LAST_PORT = 65535;
const CONNECT_MS = 15_000;

interface Flow {
  ends: Ends;
  /** None while the server has not accepted. */
  path: TcpPath | null;
  outward: TcpOutward | null;
  /** The SYN that waits, and its packet for an error about it. */
  syn: Segment;
  packet: Uint8Array;
}

export class TcpFlows {
  opened = 0;
  private readonly flows = new FlowTable<Flow>();
  /** Those that count: TIME-WAIT does not, a server or a guest that still takes data does. */
  private readonly outwards = new Set<TcpOutward>();
  private readonly streams = new Set<GuestStream>();
  private readonly rate: Rate;
  private readonly secret = randomBytes(16);
  private nextPort = FIRST_PORT;
  private readonly limits: NatLimits;

  constructor(
    private readonly link: Link,
    private readonly context: Context,
  ) {
    this.limits = context.limits;
    this.rate = new Rate(this.limits.tcpConnectsPerSecond, () => context.wheel.now());
  }

  get open(): number {
    return this.outwards.size + this.streams.size;
  }

  receive(ip: Ipv4, segment: Segment, frame: Uint8Array): void {
    const { source, destination } = ip;
    const flow = this.flows.get(source, segment.sourcePort, destination, segment.destinationPort);
    const isSyn = (segment.flags & (FLAG.syn | FLAG.ack | FLAG.rst)) === FLAG.syn;
    if (flow?.path) {
      const { connection } = flow.path;
      // RFC 9293, 3.10.7.4: a new connection may take the place of one that only waits for stragglers.
      if (!(connection.state === "TIME-WAIT" && isSyn && distance(segment.seq, connection.expected) > 0))
        return connection.receive(segment);
      connection.abort();
    } else if (flow) {
      if (segment.flags & FLAG.rst || (isSyn && segment.seq !== flow.syn.seq)) this.giveUp(flow);
      // Nothing else can come but the same SYN again: the server has not accepted yet.
      if (!isSyn || segment.seq === flow.syn.seq) return;
    }
    if (isSyn) this.openOutward(ip, segment, frame);
    else if (!(segment.flags & FLAG.rst)) this.reset(ip, segment);
  }

  /** RFC 9293, 3.10.7.1: a segment that belongs to nothing. */
  reset(ip: Ipv4, segment: Segment): void {
    const hasAck = (segment.flags & FLAG.ack) !== 0;
    this.link.sendTcp(
      ip.destination,
      segment.destinationPort,
      ip.source,
      segment.sourcePort,
      hasAck ? segment.ack : 0,
      hasAck ? 0 : advance(segment.seq, segment.extent),
      FLAG.rst | (hasAck ? 0 : FLAG.ack),
      0,
      null,
      null,
      0,
      0,
    );
  }

  /** @throws Error "Cannot connect to the guest's port …" */
  connect(guest: number, port: number, signal?: AbortSignal): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => reject(new Error(`Cannot connect to the guest's port ${port}: ${why}`));
      if (this.open >= this.limits.tcpConnections) return fail(`it has ${this.open} connections already`);
      if (signal?.aborted) return fail("it was called off");
      const remotePort = this.takePort(guest, port);
      if (remotePort === null) return fail("no port is left to connect from");
      const callOff = (): void => {
        fail("it was called off");
        stream.destroy();
      };
      const stream: GuestStream = new GuestStream(
        () => {
          signal?.removeEventListener("abort", callOff);
          this.opened++;
          resolve(stream);
        },
        (end: TcpEnd) => {
          signal?.removeEventListener("abort", callOff);
          fail(end === "refused" ? "it refuses" : end === "timeout" ? "it does not answer" : "it was ended");
        },
      );
      // Until it is handed over nobody else hears its errors.
      stream.on("error", () => {});
      signal?.addEventListener("abort", callOff, { once: true });
      const ends = { guest, guestPort: port, remote: this.link.network.gateway, remotePort };
      this.track(stream, this.build(ends, stream, { handshakeMs: CONNECT_MS }));
      stream.connection.connect();
    });
  }

  /** Answers a SYN itself, with a stream. */
  accept(ip: Ipv4, segment: Segment, frame: Uint8Array, serve: (stream: Duplex) => void): void {
    const { source: guest, destination: remote } = ip;
    const ends = { guest, guestPort: segment.sourcePort, remote, remotePort: segment.destinationPort };
    if (
      this.flows.get(guest, ends.guestPort, remote, ends.remotePort) ||
      (segment.flags & (FLAG.syn | FLAG.ack | FLAG.rst)) !== FLAG.syn
    )
      return this.receive(ip, segment, frame);
    if (!this.isWithinLimits(ends)) return this.reset(ip, segment);
    const stream = new GuestStream(() => {
      this.opened++;
      serve(stream);
    });
    stream.on("error", () => {});
    this.track(stream, this.build(ends, stream));
    stream.connection.accept(segment);
  }

  close(): void {
    for (const outward of this.outwards) outward.cancel();
    for (const stream of this.streams) stream.destroy();
    for (const flow of this.flows.values()) flow.path?.connection.abort();
  }

  private openOutward(ip: Ipv4, segment: Segment, frame: Uint8Array): void {
    const { source: guest, destination: remote } = ip;
    const { network } = this.link;
    const ends = { guest, guestPort: segment.sourcePort, remote, remotePort: segment.destinationPort };
    const alias = this.context.hostAliases.get(remote);
    if (alias === undefined) {
      // Nothing of ours listens there, nor at any other address of the little network.
      if ((remote & network.mask) >>> 0 === (network.gateway & network.mask) >>> 0) return this.reset(ip, segment);
      if (isMartian(remote)) return this.link.drop("tcp.destination");
    }
    const address = alias ?? formatAddress(remote);
    const why = this.context.policy.refuse("tcp", address, ends.remotePort);
    if (why !== null) {
      this.context.refuse("policy", "tcp", formatAddress(remote), ends.remotePort, why);
      return this.reset(ip, segment);
    }
    if (!this.isWithinLimits(ends)) return this.reset(ip, segment);
    const syn = new Segment();
    syn.seq = segment.seq;
    syn.flags = segment.flags;
    syn.window = segment.window;
    syn.mss = segment.mss;
    syn.windowScale = segment.windowScale;
    syn.sackPermitted = segment.sackPermitted;
    const flow: Flow = { ends, path: null, outward: null, syn, packet: quote(frame, ip) };
    const outward = new TcpOutward(address, ends.remotePort, this.limits.tcpConnectMs, {
      onConnected: () => {
        this.opened++;
        flow.path = this.build(ends, outward, {}, flow);
        outward.attach(flow.path.connection);
        flow.path.connection.accept(syn);
      },
      onFailed: (_flow, code) => {
        this.forget(flow);
        this.fail(flow, code);
      },
      onOver: () => this.outwards.delete(outward),
    });
    flow.outward = outward;
    this.outwards.add(outward);
    this.flows.set(guest, ends.guestPort, remote, ends.remotePort, flow);
  }

  /** Tells the guest as a network would why the server did not accept. */
  private fail({ ends, syn, packet }: Flow, code: string): void {
    const { guest, guestPort, remote, remotePort } = ends;
    const code3 = UNREACHABLE_BY_CODE.get(code);
    if (code3 !== undefined) this.link.sendError(ICMP_TYPE.unreachable, code3, packet, guest);
    else {
      const flags = FLAG.rst | FLAG.ack;
      this.link.sendTcp(remote, remotePort, guest, guestPort, 0, advance(syn.seq, 1), flags, 0, null, null, 0, 0);
    }
    if (code === "ECONNREFUSED" || code === "ECONNRESET") return;
    const isLimit = code === "EMFILE" || code === "ENFILE" || code === "EADDRNOTAVAIL";
    const why =
      code === "ETIMEDOUT"
        ? "nobody answers"
        : isLimit
          ? "the relay has no sockets left"
          : `it is unreachable (${code})`;
    this.context.refuse(isLimit ? "limit" : "unreachable", "tcp", formatAddress(remote), remotePort, why);
  }

  private isWithinLimits(ends: Ends): boolean {
    const isFull = this.open >= this.limits.tcpConnections;
    if (!isFull && this.rate.take()) return true;
    const why = isFull
      ? `${this.limits.tcpConnections} connections are open, and more are not allowed`
      : `more than ${this.limits.tcpConnectsPerSecond} new connections a second are not allowed`;
    this.context.refuse("limit", "tcp", formatAddress(ends.remote), ends.remotePort, why);
    return false;
  }

  private build(ends: Ends, upper: TcpUpper, special: Partial<TcpOptions> = {}, flow?: Flow): TcpPath {
    const path = new TcpPath(ends, this.link, this.context.turnEnd, () => this.forget(entry));
    const entry: Flow = flow ?? { ends, path, outward: null, syn: new Segment(), packet: new Uint8Array(0) };
    const share = this.limits.tcpBufferBytes / (this.open + 8);
    path.connection = new TcpConnection(path, upper, this.context.wheel, {
      ...TCP_DEFAULTS,
      mss: this.link.network.mtu - 40,
      sendBuffer: Math.round(Math.min(256 * 1024, Math.max(64 * 1024, (share * 2) / 3))),
      receiveBuffer: Math.round(Math.min(256 * 1024, Math.max(32 * 1024, share / 3))),
      initialSequence: this.initialSequence(ends),
      keepAliveMs: this.limits.tcpKeepAliveMs,
      keepAliveIntervalMs: this.limits.tcpKeepAliveMs / 4,
      idleMs: this.limits.tcpIdleMs,
      ...special,
    });
    this.flows.set(ends.guest, ends.guestPort, ends.remote, ends.remotePort, entry);
    return path;
  }

  private track(stream: GuestStream, path: TcpPath): void {
    stream.connection = path.connection;
    this.streams.add(stream);
    stream.onOver = () => this.streams.delete(stream);
  }

  private giveUp(flow: Flow): void {
    flow.outward?.cancel();
    this.forget(flow);
  }

  private forget(flow: Flow): void {
    const { guest, guestPort, remote, remotePort } = flow.ends;
    this.flows.delete(guest, guestPort, remote, remotePort, flow);
  }

  /** RFC 9293, 3.4.1 (RFC 6528): a clock of 4 µs, and what cannot be guessed from other connections. */
  private initialSequence(ends: Ends): number {
    const hash = createHash("sha256").update(this.secret);
    hash.update(`${ends.guest}:${ends.guestPort}:${ends.remote}:${ends.remotePort}`);
    return (hash.digest().readUInt32BE(0) + Math.floor(this.context.wheel.now() * 250)) >>> 0;
  }

  private takePort(guest: number, port: number): number | null {
    for (let i = FIRST_PORT; i <= LAST_PORT; i++) {
      const candidate = this.nextPort;
      this.nextPort = candidate === LAST_PORT ? FIRST_PORT : candidate + 1;
      if (!this.flows.get(guest, port, this.link.network.gateway, candidate)) return candidate;
    }
    return null;
  }
}

/** What the system says, and what a router would say (RFC 1812, 5.2.7.1). Everything else is answered with a reset. */
const UNREACHABLE_BY_CODE: ReadonlyMap<string, number> = new Map([
  ["EHOSTUNREACH", UNREACHABLE.host],
  ["ETIMEDOUT", UNREACHABLE.host],
  ["EHOSTDOWN", UNREACHABLE.host],
  ["ENETUNREACH", UNREACHABLE.network],
  ["ENETDOWN", UNREACHABLE.network],
  ["EACCES", UNREACHABLE.prohibited],
  ["EPERM", UNREACHABLE.prohibited],
]);
