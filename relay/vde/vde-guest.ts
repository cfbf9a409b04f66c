/**
 * A guest at an engine behind vde_plug. What is the guest's and the gateway's alone (ARP, DHCP, ways in from outside, what
 * the policy refuses, and what `--allow 127.0.0.1` opens) stays with the embedded NAT, whatever carries the rest:
 *
 *   guest ── frame-filter ─┬─ embedded NAT
 *                          └─ vde_plug ── libslirp, or the kernel
 *
 * So the guest has one gateway with one Ethernet address, forwards work alike with all engines, and the engine never sees
 * an Ethernet address or an ARP frame of the guest's making.
 */
import type { Duplex } from "node:stream";
import type { Engine, EngineGuest, EngineStatistics, GuestPort, Policy, Subnet } from "../engine.ts";
import { formatAddress } from "../nat/address.ts";
import { ARP_LENGTH, ARP_OPERATION, decodeArp, encodeArp } from "../nat/arp.ts";
import { ETHER_TYPE, ETHERNET_HEADER, writeEthernet } from "../nat/ethernet.ts";
import { Rate } from "../nat/limits.ts";
import { type Network, readSubnet } from "../nat/link.ts";
import { TimerWheel } from "../nat/timers.ts";
import { getU16 } from "../nat/words.ts";
import { type FilterLimits, FrameFilter } from "./frame-filter.ts";
import { type Question, VdePlug } from "./vde-plug.ts";

/** What differs from engine to engine. */
export interface Uplink {
  /** "slirp", for people. */
  name: string;
  carriesPings: boolean;
  /** A way out for one guest. Nothing is started yet. */
  open(network: Network): UplinkWay;
  close(): Promise<void>;
}

export interface UplinkWay {
  command: readonly string[];
  prepare?: () => Promise<void>;
  question?: Question;
  /** The engine's addresses instead of the guest's, and the other way round, in a copy. */
  outward?: (frame: Uint8Array) => void;
  /** @returns whether it is a packet for the guest */
  inward?: (frame: Uint8Array) => boolean;
  /** Its program has ended. */
  close(): void;
}

export interface VdeEngineOptions {
  uplink: Uplink;
  /** Answers for the gateway. It must have the same policy and subnet. */
  nat: Engine;
  policy: Policy;
  subnet: Subnet;
  mtu: number;
  limits?: Partial<FilterLimits>;
  /** For the log. */
  onProblem(words: string): void;
}

/** The guest's Ethernet address as the engine sees it. */
export const GUEST_MAC = Uint8Array.of(2, 0, 0, 0, 2, 15);
/** Above this the engine's frames are not read, above the other they are dropped. */
const FULL = 256 * 1024;
const OVERFULL = 4 * 1024 * 1024;
const TELLS_PER_SECOND = 3;
const COUNTERS = 64;

/** An engine whose guests' ways out are programs. */
export class VdeEngine implements Engine {
  private readonly guests = new Set<VdeGuest>();
  private readonly closing = new Set<Promise<void>>();
  private readonly wheel = new TimerWheel();

  constructor(private readonly options: VdeEngineOptions) {
    readSubnet(options.subnet, options.mtu);
  }

  attach(port: GuestPort, address?: string): EngineGuest {
    const { subnet, mtu, nat } = this.options;
    const network = readSubnet(address === undefined ? subnet : { ...subnet, guest: address }, mtu);
    const guest = new VdeGuest(port, network, this.options, this.wheel, nat.attach(port, address), (closed, ended) => {
      this.guests.delete(closed);
      this.closing.add(ended);
      void ended.finally(() => this.closing.delete(ended));
    });
    this.guests.add(guest);
    return guest;
  }

  async close(): Promise<void> {
    for (const guest of [...this.guests]) guest.close();
    await Promise.all(this.closing);
    this.wheel.stop();
    await Promise.all([this.options.nat.close(), this.options.uplink.close()]);
  }
}

class VdeGuest implements EngineGuest {
  private readonly dropped: Record<string, number> = {};
  private readonly filter: FrameFilter;
  private readonly way: UplinkWay;
  private readonly plug: VdePlug;
  private readonly tells: Rate;
  private refused = 0;
  private isPaused = false;
  private isClosed = false;

  constructor(
    private readonly port: GuestPort,
    private readonly network: Network,
    private readonly options: VdeEngineOptions,
    wheel: TimerWheel,
    private readonly local: EngineGuest,
    private readonly onClose: (guest: VdeGuest, ended: Promise<void>) => void,
  ) {
    const { uplink, policy, limits } = options;
    this.tells = new Rate(TELLS_PER_SECOND, () => wheel.now());
    this.filter = new FrameFilter({
      network,
      policy,
      wheel,
      ...(limits && { limits }),
      carriesPings: uplink.carriesPings,
      toRelay: (frame) => local.receive(frame),
      toEngine: (frame) => this.forward(frame),
      drop: (what) => this.drop(what),
      onLimit: (protocol, destination, port, why) => {
        const verb = protocol === "tcp" ? "connect to" : protocol === "udp" ? "send to" : "ping";
        this.tell("limit", protocol, destination, port, `Cannot ${verb} ${destination}: ${why}`);
      },
    });
    this.way = uplink.open(network);
    this.plug = new VdePlug({
      command: this.way.command,
      ...(this.way.prepare && { prepare: this.way.prepare }),
      ...(this.way.question && { question: this.way.question }),
      onFrame: (frame) => this.receiveInward(frame),
      onProblem: (words) => options.onProblem(`The ${uplink.name} engine of a guest: ${words}`),
    });
  }

  get address(): string | null {
    return this.local.address ?? (this.filter.guestMac && formatAddress(this.network.guest));
  }

  get statistics(): EngineStatistics {
    const { local, filter } = this;
    const dropped: Record<string, number> = { ...local.statistics.dropped };
    for (const [what, times] of Object.entries(this.dropped)) dropped[what] = (dropped[what] ?? 0) + times;
    return {
      tcpOpen: local.statistics.tcpOpen + filter.tcpOpen,
      udpOpen: local.statistics.udpOpen + filter.udpOpen,
      tcpOpened: local.statistics.tcpOpened + filter.tcpOpened,
      refused: local.statistics.refused + this.refused,
      dropped,
    };
  }

  receive(frame: Uint8Array): void {
    if (this.isClosed) return;
    try {
      this.filter.receive(frame);
    } catch {
      // A fault of ours, which a test counts; it must not reach the relay, which serves others.
      this.drop("internal");
    }
  }

  async connect(port: number, signal?: AbortSignal): Promise<Duplex> {
    this.introduce();
    return this.local.connect(port, signal);
  }

  openUdp(port: number, onAnswer: (data: Uint8Array) => void): { send(data: Uint8Array): void; close(): void } {
    this.introduce();
    return this.local.openUdp(port, onAnswer);
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.filter.close();
    this.local.close();
    this.onClose(
      this,
      this.plug.close().then(() => this.way.close()),
    );
  }

  /** A guest that goes on after a break has said nothing that the NAT could have learnt from. */
  private introduce(): void {
    const { guestMac } = this.filter;
    if (this.local.address !== null || !guestMac) return;
    const { guest, gatewayMac } = this.network;
    const { request: operation } = ARP_OPERATION;
    const ends = { senderMac: guestMac, senderAddress: guest, targetMac: new Uint8Array(6), targetAddress: guest };
    this.local.receive(arpFrame(gatewayMac, guestMac, { operation, ...ends }));
  }

  private forward(frame: Uint8Array): void {
    const { network, way } = this;
    const isSent = this.plug.send(frame, (copy) => {
      copy.set(network.gatewayMac, 0);
      copy.set(GUEST_MAC, 6);
      way.outward?.(copy);
    });
    if (isSent) return;
    this.drop(this.plug.problem === null ? "engine.full" : "engine.down");
    if (this.plug.problem === null) return;
    const { name } = this.options.uplink;
    const text = `Cannot pass packets on: the relay's ${name} engine has ended, and is being started again`;
    this.tell("unreachable", "tcp", "the network", null, text);
  }

  private receiveInward(frame: Uint8Array): void {
    if (this.isClosed) return;
    if (getU16(frame, 12) === ETHER_TYPE.arp) return this.answerArp(frame);
    // What the kernel says to all on a new interface is for nobody.
    if (frame.length < ETHERNET_HEADER || (frame[0] as number) & 1) return this.drop("engine.other");
    if (this.way.inward && !this.way.inward(frame)) return this.drop("engine.other");
    if (!this.filter.receiveInward(frame)) return;
    const { guestMac } = this.filter;
    if (!guestMac) return this.drop("engine.early");
    if (this.port.queuedBytes > OVERFULL) return this.drop("link.overfull");
    frame.set(guestMac, 0);
    frame.set(this.network.gatewayMac, 6);
    this.port.send(frame);
    if (this.isPaused || this.port.queuedBytes < FULL) return;
    this.isPaused = true;
    this.plug.pause();
    this.port.onDrain(() => {
      this.isPaused = false;
      this.plug.resume();
    });
  }

  /** The engine asks where the guest is. */
  private answerArp(frame: Uint8Array): void {
    const arp = decodeArp(frame, ETHERNET_HEADER);
    if (arp?.operation !== ARP_OPERATION.request || arp.targetAddress !== this.network.guest) return;
    const answer = arpFrame(arp.senderMac, GUEST_MAC, {
      operation: ARP_OPERATION.reply,
      senderMac: GUEST_MAC,
      senderAddress: arp.targetAddress,
      targetMac: arp.senderMac,
      targetAddress: arp.senderAddress,
    });
    this.plug.send(answer, () => {});
  }

  private tell(
    kind: "limit" | "unreachable",
    protocol: "tcp" | "udp" | "icmp",
    destination: string,
    port: number | null,
    text: string,
  ): void {
    this.refused++;
    if (this.tells.take()) this.port.tell({ kind, protocol, destination, port, text });
  }

  private drop(what: string): void {
    const { dropped } = this;
    if (what in dropped || Object.keys(dropped).length < COUNTERS) dropped[what] = (dropped[what] ?? 0) + 1;
  }
}

export function arpFrame(to: Uint8Array, from: Uint8Array, arp: Parameters<typeof encodeArp>[0]): Uint8Array {
  const frame = new Uint8Array(ETHERNET_HEADER + ARP_LENGTH);
  writeEthernet(frame, to, from, ETHER_TYPE.arp);
  frame.set(encodeArp(arp), ETHERNET_HEADER);
  return frame;
}
