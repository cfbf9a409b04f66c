/** One guest at the NAT: takes its frames apart and gives each to what it is for. */
import type { Duplex } from "node:stream";
import type { EngineGuest, EngineStatistics } from "../engine.ts";
import { formatAddress, isMartian, macKey } from "./address.ts";
import { ARP_OPERATION, decodeArp, encodeArp } from "./arp.ts";
import { answerDhcp, DHCP_PORT, decodeDhcp } from "./dhcp.ts";
import { DNS_PORT, DnsService } from "./dns.ts";
import { ETHER_TYPE, ETHERNET_HEADER, isFor } from "./ethernet.ts";
import { decodeIcmp, type Echo, encodeEcho, ICMP_TYPE, UNREACHABLE } from "./icmp.ts";
import { IP_PROTOCOL, IPV4_TTL, Ipv4 } from "./ipv4.ts";
import { Rate } from "./limits.ts";
import { type Link, quote } from "./link.ts";
import type { Context } from "./nat.ts";
import { Reassembly } from "./reassembly.ts";
import { TcpFlows } from "./tcp-flows.ts";
import { Segment } from "./tcp-segment.ts";
import { decodeUdp } from "./udp.ts";
import { UdpFlows } from "./udp-flows.ts";
import { copyOf, getU16 } from "./words.ts";

export class NatGuest implements EngineGuest {
  private readonly ip = new Ipv4();
  private readonly segment = new Segment();
  private readonly tcp: TcpFlows;
  private readonly udp: UdpFlows;
  private readonly dns: DnsService;
  private readonly reassembly: Reassembly;
  private readonly pings: Rate;
  private readonly leases: Rate;
  private pingsPending = 0;
  private known: number | null = null;
  private isClosed = false;

  constructor(
    private readonly link: Link,
    private readonly context: Context,
    private readonly dropped: Record<string, number>,
  ) {
    const { wheel, limits } = context;
    this.tcp = new TcpFlows(link, context);
    this.udp = new UdpFlows(link, context);
    this.reassembly = new Reassembly(wheel, (why) => link.drop(`ipv4.fragment-${why}`));
    this.pings = new Rate(limits.pingsPerSecond, () => wheel.now());
    this.leases = new Rate(limits.dhcpPerSecond, () => wheel.now());
    this.dns = new DnsService({
      resolver: context.resolver,
      perSecond: limits.dnsQueriesPerSecond,
      pending: limits.dnsPending,
      now: () => wheel.now(),
      onRefusal: (kind, name, text) => context.tell({ kind, protocol: "dns", destination: name, port: null, text }),
    });
  }

  get address(): string | null {
    return this.known === null ? null : formatAddress(this.known);
  }

  get statistics(): EngineStatistics {
    return {
      tcpOpen: this.tcp.open,
      udpOpen: this.udp.open,
      tcpOpened: this.tcp.opened,
      refused: this.context.refused,
      dropped: this.dropped,
    };
  }

  receive(frame: Uint8Array): void {
    if (this.isClosed) return;
    try {
      this.receiveEthernet(frame);
    } catch {
      // A fault of ours, which a test counts; it must not reach the relay, which serves others.
      this.link.drop("internal");
    }
  }

  connect(port: number, signal?: AbortSignal): Promise<Duplex> {
    const why = this.isClosed ? "it has gone" : this.known === null ? "it has no address yet" : null;
    if (why !== null || this.known === null)
      return Promise.reject(new Error(`Cannot connect to the guest's port ${port}: ${why}`));
    return this.tcp.connect(this.known, port, signal);
  }

  openUdp(port: number, onAnswer: (data: Uint8Array) => void): { send(data: Uint8Array): void; close(): void } {
    return this.udp.openInward(() => this.known, port, onAnswer);
  }

  close(): void {
    if (this.isClosed) return;
    this.tcp.close();
    this.udp.close();
    this.reassembly.close();
    this.link.close();
    this.isClosed = true;
    this.context.onClose(this);
  }

  private receiveEthernet(frame: Uint8Array): void {
    if (frame.length < ETHERNET_HEADER) return this.link.drop("ethernet.short");
    // Nobody sends from a group address.
    if ((frame[6] as number) & 1) return this.link.drop("ethernet.source");
    if (!isFor(frame, this.link.network.gatewayMac)) return this.link.drop("ethernet.other");
    const type = getU16(frame, 12);
    if (type === ETHER_TYPE.ipv4) this.receiveIpv4(frame);
    else if (type === ETHER_TYPE.arp) this.receiveArp(frame);
    else this.link.drop(type === ETHER_TYPE.ipv6 ? "ipv6" : "ethernet.type");
  }

  private receiveArp(frame: Uint8Array): void {
    const arp = decodeArp(frame, ETHERNET_HEADER);
    if (!arp) return this.link.drop("arp.broken");
    const { network } = this.link;
    if (macKey(arp.senderMac, 0) !== macKey(frame, 6)) return this.link.drop("arp.sender");
    if (this.isGuestAddress(arp.senderAddress)) this.learn(arp.senderAddress, frame);
    // Probes come from 0.0.0.0 (RFC 5227) and are answered all the same.
    else if (arp.senderAddress !== 0) return this.link.drop("arp.sender");
    const isOurs = arp.targetAddress === network.gateway || arp.targetAddress === network.dns;
    if (arp.operation !== ARP_OPERATION.request || !isOurs) return;
    const answer = encodeArp({
      operation: ARP_OPERATION.reply,
      senderMac: network.gatewayMac,
      senderAddress: arp.targetAddress,
      targetMac: arp.senderMac,
      targetAddress: arp.senderAddress,
    });
    this.link.sendEthernet(arp.senderMac, ETHER_TYPE.arp, answer);
  }

  private receiveIpv4(frame: Uint8Array): void {
    const { ip, link } = this;
    const problem = ip.decode(frame, ETHERNET_HEADER);
    if (problem) return link.drop(`ipv4.${problem}`);
    // A client without an address may speak DHCP only.
    if (ip.source === 0) {
      if (ip.protocol !== IP_PROTOCOL.udp || ip.moreFragments || ip.fragmentOffset > 0) return link.drop("ipv4.source");
    } else if (!this.isGuestAddress(ip.source)) return link.drop("ipv4.source");
    else this.learn(ip.source, frame);
    if (ip.ttl <= 1 && !this.isOurs(ip.destination) && !isMartian(ip.destination))
      return link.sendError(ICMP_TYPE.timeExceeded, 0, quote(frame, ip), ip.source);
    if (!ip.moreFragments && ip.fragmentOffset === 0) return this.receivePacket(frame);
    const whole = this.reassembly.add(ip, frame);
    if (!whole) return;
    // The header of the last fragment stands for all: its addresses are the same, its lengths are set anew.
    const packet = new Uint8Array(ETHERNET_HEADER + 20 + whole.length);
    packet.set(frame.subarray(0, ETHERNET_HEADER + 20));
    packet.set(whole, ETHERNET_HEADER + 20);
    ip.start = ETHERNET_HEADER;
    ip.payload = ETHERNET_HEADER + 20;
    ip.end = packet.length;
    this.receivePacket(packet);
  }

  private receivePacket(frame: Uint8Array): void {
    const { ip } = this;
    if (ip.protocol === IP_PROTOCOL.tcp) this.receiveTcp(frame);
    else if (ip.protocol === IP_PROTOCOL.udp) this.receiveUdp(frame);
    else if (ip.protocol === IP_PROTOCOL.icmp) this.receiveIcmp(frame);
    else {
      this.link.drop("ipv4.protocol");
      if (!isMartian(ip.destination)) this.sendUnreachable(UNREACHABLE.protocol, frame);
    }
  }

  private receiveTcp(frame: Uint8Array): void {
    const { ip, segment, link } = this;
    const problem = segment.decode(frame, ip.payload, ip.end, ip.source, ip.destination);
    if (problem) return link.drop(`tcp.${problem}`);
    if (segment.sourcePort === 0 || segment.destinationPort === 0) return link.drop("tcp.port");
    if (ip.destination === link.network.dns && segment.destinationPort === DNS_PORT)
      this.tcp.accept(ip, segment, frame, (stream) => this.dns.serve(stream));
    else this.tcp.receive(ip, segment, frame);
  }

  private receiveUdp(frame: Uint8Array): void {
    const { ip, link } = this;
    const { network } = link;
    const datagram = decodeUdp(frame, ip.payload, ip.end, ip.source, ip.destination);
    if (typeof datagram === "string") return link.drop(`udp.${datagram}`);
    const { sourcePort, destinationPort, data } = datagram;
    const isBroadcast = ip.destination === 0xffffffff || ip.destination === network.broadcast;
    if (destinationPort === DHCP_PORT.server && (isBroadcast || ip.destination === network.gateway))
      return this.receiveDhcp(data);
    if (ip.source === 0) return link.drop("ipv4.source");
    if (ip.destination === network.dns && destinationPort === DNS_PORT)
      return this.receiveDns(ip.source, sourcePort, data);
    const ends = { guest: ip.source, guestPort: sourcePort, remote: ip.destination, remotePort: destinationPort };
    this.udp.receive(ends, data, ip.ttl, () => quote(frame, ip));
  }

  private receiveDhcp(data: Uint8Array): void {
    const request = decodeDhcp(data);
    if (!request) return this.link.drop("dhcp.broken");
    if (!this.leases.take()) return this.link.drop("dhcp.rate");
    const answer = answerDhcp(request, this.link.network);
    if (!answer) return;
    if (answer.isBound) this.learn(this.link.network.guest, answer.hardwareAddress, 0);
    const { gateway } = this.link.network;
    // The client answers no ARP yet: its frame is addressed by what it says of itself.
    this.link.sendUdp(
      gateway,
      DHCP_PORT.server,
      answer.destination,
      DHCP_PORT.client,
      answer.message,
      answer.hardwareAddress,
    );
  }

  private receiveDns(guest: number, port: number, query: Uint8Array): void {
    void this.dns.ask(copyOf(query), "udp").then((answer) => {
      if (answer && !this.isClosed) this.link.sendUdp(this.link.network.dns, DNS_PORT, guest, port, answer);
    });
  }

  private receiveIcmp(frame: Uint8Array): void {
    const { ip, link } = this;
    const message = decodeIcmp(frame, ip.payload, ip.end);
    if (typeof message === "string") return link.drop(`icmp.${message}`);
    // Errors of the guest about what it got: its own sockets have told us already.
    if (message.kind !== "echo-request") return link.drop("icmp.type");
    if (this.isOurs(ip.destination)) return this.sendReply(ip.destination, ip.source, message.echo, IPV4_TTL);
    this.ping(frame, message.echo);
  }

  /** Lets the system ping; what it finds is what the guest is told. */
  private ping(frame: Uint8Array, echo: Echo): void {
    const { ip, link, context } = this;
    const { source, destination } = ip;
    const text = formatAddress(destination);
    if (isMartian(destination) || this.isGuestAddress(destination)) return link.drop("icmp.destination");
    const packet = quote(frame, ip);
    const prohibit = (): void => link.sendError(ICMP_TYPE.unreachable, UNREACHABLE.prohibited, packet, source);
    const address = context.hostAliases.get(destination) ?? text;
    const why = context.policy.refuse("icmp", address, 0);
    if (why !== null) {
      context.refuse("policy", "icmp", text, null, why);
      return prohibit();
    }
    if (!context.pinger) {
      context.refuse("unreachable", "icmp", text, null, "the relay cannot ping");
      return prohibit();
    }
    if (this.pingsPending >= context.limits.pingsPending || !this.pings.take()) {
      // Silence would look like a lost packet of the network's.
      context.refuse("limit", "icmp", text, null, `${context.limits.pingsPerSecond} pings a second are the most`);
      return prohibit();
    }
    const copy = { ...echo, data: copyOf(echo.data) };
    this.pingsPending++;
    void context.pinger(address, { ttl: ip.ttl - 1, dataLength: copy.data.length }).then((result) => {
      this.pingsPending--;
      if (this.isClosed) return;
      if (result.kind === "reply") this.sendReply(destination, source, copy, result.ttl ?? IPV4_TTL);
      else if (result.kind === "unsupported") {
        context.refuse("unreachable", "icmp", text, null, "the relay's system cannot ping");
        prohibit();
      }
    });
  }

  private sendReply(source: number, destination: number, echo: Echo, ttl: number): void {
    this.link.sendIpv4({ source, destination, protocol: IP_PROTOCOL.icmp, ttl }, encodeEcho(ICMP_TYPE.echoReply, echo));
  }

  private sendUnreachable(code: number, frame: Uint8Array): void {
    this.link.sendError(ICMP_TYPE.unreachable, code, quote(frame, this.ip), this.ip.source);
  }

  private isOurs(address: number): boolean {
    return address === this.link.network.gateway || address === this.link.network.dns;
  }

  /** Any address of the little network that is neither ours nor everybody's. */
  private isGuestAddress(address: number): boolean {
    const { gateway, dns, mask, broadcast } = this.link.network;
    return (
      (address & mask) >>> 0 === (gateway & mask) >>> 0 &&
      address !== gateway &&
      address !== dns &&
      address !== broadcast &&
      address !== (gateway & mask) >>> 0
    );
  }

  private learn(address: number, bytes: Uint8Array, at = 6): void {
    this.known = address;
    this.link.learn(address, bytes, at);
  }
}
