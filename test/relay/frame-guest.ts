/** A guest that speaks in frames: headers by the NAT's own writers, TCP by a connection of its own. */
import type { Duplex } from "node:stream";
import type { EngineGuest } from "../../relay/engine.ts";
import { parseAddress, parseMac } from "../../relay/nat/address.ts";
import { encodeArp } from "../../relay/nat/arp.ts";
import { ETHER_TYPE, writeEthernet } from "../../relay/nat/ethernet.ts";
import { GuestStream } from "../../relay/nat/guest-stream.ts";
import { Ipv4, type Ipv4Fields, writeIpv4 } from "../../relay/nat/ipv4.ts";
import { TcpConnection } from "../../relay/nat/tcp.ts";
import { TCP_DEFAULTS } from "../../relay/nat/tcp-options.ts";
import { Segment, writeTcp } from "../../relay/nat/tcp-segment.ts";
import { TimerWheel } from "../../relay/nat/timers.ts";
import { type Datagram, decodeUdp, encodeUdp } from "../../relay/nat/udp.ts";
import { getU16 } from "../../relay/nat/words.ts";
import type { TestPort } from "./network.ts";

export const GATEWAY = parseAddress("10.0.2.2");
export const RESOLVER = parseAddress("10.0.2.3");
export const GUEST = parseAddress("10.0.2.15");
export const MAC = parseMac("02:11:22:33:44:55");
const GATEWAY_MAC = parseMac("02:00:00:00:02:02");

export interface Packet {
  ip: Ipv4;
  frame: Uint8Array;
}

export function ipFrame(fields: Partial<Ipv4Fields> & { protocol: number }, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(34 + payload.length);
  writeEthernet(frame, GATEWAY_MAC, MAC, ETHER_TYPE.ipv4);
  writeIpv4(frame, 14, { source: GUEST, destination: GATEWAY, id: 1, ...fields }, payload.length);
  frame.set(payload, 34);
  return frame;
}

export function udpFrame(
  destination: number,
  destinationPort: number,
  data: Uint8Array,
  sourcePort = 4000,
  more: Partial<Ipv4Fields> = {},
): Uint8Array {
  const source = more.source ?? GUEST;
  const payload = encodeUdp({ sourcePort, destinationPort, data }, source, destination);
  return ipFrame({ protocol: 17, destination, ...more }, payload);
}

export function tcpFrame(fields: {
  destination?: number;
  sourcePort?: number;
  destinationPort: number;
  seq?: number;
  ack?: number;
  flags: number;
  window?: number;
  options?: Uint8Array | null;
  data?: Uint8Array;
}): Uint8Array {
  const destination = fields.destination ?? GATEWAY;
  const headerLength = 20 + (fields.options?.length ?? 0);
  const bytes = new Uint8Array(headerLength + (fields.data?.length ?? 0));
  if (fields.data) bytes.set(fields.data, headerLength);
  writeTcp(
    bytes,
    0,
    bytes.length,
    GUEST,
    destination,
    fields.sourcePort ?? 4000,
    fields.destinationPort,
    fields.seq ?? 0,
    fields.ack ?? 0,
    fields.flags,
    fields.window ?? 65535,
    fields.options ?? null,
  );
  return ipFrame({ protocol: 6, destination }, bytes);
}

export function arpFrame(target: number, sender = GUEST, operation = 1): Uint8Array {
  const frame = new Uint8Array(42);
  writeEthernet(frame, new Uint8Array(6).fill(255), MAC, ETHER_TYPE.arp);
  const targetMac = new Uint8Array(6);
  frame.set(encodeArp({ operation, senderMac: MAC, senderAddress: sender, targetMac, targetAddress: target }), 14);
  return frame;
}

/** The IPv4 packets among frames; all of them must be sound. */
export function packetsOf(frames: readonly Uint8Array[]): Packet[] {
  return frames
    .filter((frame) => getU16(frame, 12) === ETHER_TYPE.ipv4)
    .map((frame) => {
      const ip = new Ipv4();
      const problem = ip.decode(frame, 14);
      if (problem) throw new Error(`A frame of the NAT's is broken: ${problem}`);
      return { ip, frame };
    });
}

export function datagramsOf(frames: readonly Uint8Array[]): Datagram[] {
  return packetsOf(frames)
    .filter(({ ip }) => ip.protocol === 17)
    .map(({ ip, frame }) => {
      const datagram = decodeUdp(frame, ip.payload, ip.end, ip.source, ip.destination);
      if (typeof datagram === "string") throw new Error(`A datagram of the NAT's is broken: ${datagram}`);
      return datagram;
    });
}

/** Type and code of ICMP messages. */
export function icmpOf(frames: readonly Uint8Array[]): { type: number; code: number; from: number }[] {
  return packetsOf(frames)
    .filter(({ ip }) => ip.protocol === 1)
    .map(({ ip, frame }) => ({ type: frame[ip.payload] ?? -1, code: frame[ip.payload + 1] ?? -1, from: ip.source }));
}

export function segmentsOf(frames: readonly Uint8Array[]): Segment[] {
  return packetsOf(frames)
    .filter(({ ip }) => ip.protocol === 6)
    .map(({ ip, frame }) => {
      const segment = new Segment();
      const problem = segment.decode(frame, ip.payload, ip.end, ip.source, ip.destination);
      if (problem) throw new Error(`A segment of the NAT's is broken: ${problem}`);
      return segment;
    });
}

/** What becomes of a frame on its way: how often it arrives, and how late. */
export type Channel = (frame: Uint8Array) => number[];

/** The guest's TCP. It takes over the port's `send`. */
export class TcpGuest {
  private readonly wheel = new TimerWheel();
  private readonly connections = new Map<number, TcpConnection>();
  private nextPort = 20_000;
  /** TCP data bytes that came. */
  bytes = 0;

  constructor(
    private readonly guest: EngineGuest,
    port: TestPort,
    private readonly channel: Channel | null = null,
  ) {
    guest.receive(arpFrame(GATEWAY));
    port.send = (frame) => this.carry(frame, (arrived) => this.receive(arrived));
  }

  connect(destination: number, port: number, options: { receiveBuffer?: number } = {}): GuestStream {
    const sourcePort = this.nextPort++;
    const stream = new GuestStream();
    const send: ConstructorParameters<typeof TcpConnection>[0]["send"] = (
      seq,
      ack,
      flags,
      window,
      tcpOptions,
      queue,
      offset,
      length,
    ) => {
      const data = new Uint8Array(length);
      if (queue) queue.copy(offset, length, data, 0);
      const frame = tcpFrame({
        destination,
        sourcePort,
        destinationPort: port,
        seq,
        ack,
        flags,
        window,
        options: tcpOptions,
        data,
      });
      // As a Buffer, which is what comes out of a websocket; and later, as no network calls back at once.
      this.carry(Buffer.from(frame), (arrived) => setImmediate(() => this.guest.receive(arrived)));
    };
    const connection: TcpConnection = new TcpConnection(
      {
        send,
        blocked: false,
        schedule: () => setImmediate(() => connection.flush()),
        gone: () => this.connections.delete(sourcePort),
      },
      stream,
      this.wheel,
      { ...TCP_DEFAULTS, ...options, initialSequence: 0xffff_0000 + sourcePort },
    );
    stream.connection = connection;
    // Tests that care listen themselves.
    stream.on("error", () => {});
    this.connections.set(sourcePort, connection);
    connection.connect();
    return stream;
  }

  stop(): void {
    for (const connection of this.connections.values()) connection.abort();
    this.wheel.stop();
  }

  private receive(frame: Uint8Array): void {
    const [segment] = segmentsOf([frame]);
    if (!segment) return;
    this.bytes += segment.end - segment.start;
    this.connections.get(segment.destinationPort)?.receive(segment);
  }

  private carry(frame: Uint8Array, arrive: (frame: Uint8Array) => void): void {
    if (!this.channel) return arrive(frame);
    for (const delay of this.channel(frame)) {
      if (delay === 0) arrive(frame);
      else setTimeout(() => arrive(frame), delay);
    }
  }
}

/** Reads to the end. Iterating over the stream would end the other direction, too. */
export function readAll(stream: Duplex): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => resolve(Buffer.concat(chunks)));
    stream.on("error", reject);
    stream.resume();
  });
}
