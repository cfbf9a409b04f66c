import { describe, expect, it } from "vitest";
import type { Policy } from "../../relay/engine.ts";
import { formatAddress, parseMac } from "../../relay/nat/address.ts";
import { encodeIcmpError } from "../../relay/nat/icmp.ts";
import { Ipv4 } from "../../relay/nat/ipv4.ts";
import { readSubnet } from "../../relay/nat/link.ts";
import { DEFAULT_SUBNET } from "../../relay/nat/nat.ts";
import { FLAG } from "../../relay/nat/tcp-segment.ts";
import { TimerWheel } from "../../relay/nat/timers.ts";
import { encodeUdp } from "../../relay/nat/udp.ts";
import { getU16 } from "../../relay/nat/words.ts";
import { type FilterLimits, FrameFilter } from "../../relay/vde/frame-filter.ts";
import { makeQuery } from "./dns-server.ts";
import { arpFrame, GATEWAY, GUEST, ipFrame, MAC, RESOLVER, tcpFrame, udpFrame } from "./frame-guest.ts";
import { bytes, change, mapBack, POLICY, PUBLIC, ping, syn, to } from "./vde-frames.ts";
import { RELAY } from "./vde-world.ts";

const network = readSubnet(DEFAULT_SUBNET, 1500);
const dhcp = (source = 0): Uint8Array => udpFrame(0xffffffff, 67, new Uint8Array(300), 68, { source });

/** A filter and where its frames go. */
function createFilter(options: { limits?: Partial<FilterLimits>; policy?: Policy; carriesPings?: boolean } = {}) {
  const seen = {
    relay: [] as Uint8Array[],
    engine: [] as Uint8Array[],
    dropped: [] as string[],
    limits: [] as string[],
  };
  let now = 1000;
  const wheel = new TimerWheel({ now: () => now, after: () => () => {} });
  const filter = new FrameFilter({
    network,
    policy: POLICY,
    wheel,
    carriesPings: true,
    ...options,
    toRelay: (frame) => void seen.relay.push(frame),
    toEngine: (frame) => void seen.engine.push(frame),
    drop: (what) => void seen.dropped.push(what),
    onLimit: (protocol, destination, port, why) => void seen.limits.push(`${protocol} ${destination} ${port}: ${why}`),
  });
  const later = (ms: number): void => {
    now += ms;
  };
  return { filter, seen, later };
}

describe("the filter of frames", () => {
  it.each<[string, () => Uint8Array, string]>([
    ["ARP for the gateway", () => arpFrame(GATEWAY), "relay"],
    ["DHCP to all", () => dhcp(), "relay"],
    ["DHCP to the gateway", () => udpFrame(GATEWAY, 67, new Uint8Array(300), 68), "relay"],
    ["TCP to the gateway", () => syn(GATEWAY, 22), "relay"],
    ["a ping of the gateway", () => ping(GATEWAY), "relay"],
    ["a question to the resolver", () => udpFrame(RESOLVER, 53, makeQuery("a.test", 1)), "engine"],
    ["a question over TCP", () => syn(RESOLVER, 53), "engine"],
    ["another port of the resolver", () => syn(RESOLVER, 80), "relay"],
    ["an answer to the resolver", () => udpFrame(RESOLVER, 53, change(makeQuery("a.test", 1), 2, 0x80)), "dns.broken"],
    ["a short question", () => udpFrame(RESOLVER, 53, new Uint8Array(11)), "dns.broken"],
    ["TCP to a public address", () => syn(PUBLIC), "engine"],
    ["UDP to a public address", () => udpFrame(PUBLIC, 123, bytes("time?")), "engine"],
    ["a ping of a public address", () => ping(PUBLIC), "engine"],
    ["TCP to loopback", () => syn(to("127.0.0.1")), "relay"],
    ["TCP to a private address", () => syn(to("10.0.0.1")), "relay"],
    ["TCP to a metadata service", () => syn(to("169.254.169.254")), "relay"],
    ["TCP to the relay itself", () => syn(to(RELAY)), "relay"],
    ["mail", () => syn(PUBLIC, 25), "relay"],
    ["UDP to a private address", () => udpFrame(to("192.168.0.1"), 53, makeQuery("a.test", 1)), "relay"],
    ["a ping of a private address", () => ping(to("172.16.0.1")), "relay"],
    ["UDP to a group", () => udpFrame(to("224.0.0.251"), 5353, bytes("who?")), "relay"],
    ["UDP to all", () => udpFrame(0xffffffff, 137, bytes("who?")), "ipv4.destination"],
    ["UDP to the subnet", () => udpFrame(network.broadcast, 137, bytes("who?")), "ipv4.destination"],
    ["a neighbour in the subnet", () => syn(to("10.0.2.16")), "ipv4.destination"],
    ["another sender", () => udpFrame(PUBLIC, 9, bytes("x"), 4000, { source: to("10.0.2.16") }), "ipv4.source"],
    ["a sender without an address", () => udpFrame(PUBLIC, 9, bytes("x"), 4000, { source: 0 }), "ipv4.source"],
    ["a sender elsewhere", () => udpFrame(PUBLIC, 9, bytes("x"), 4000, { source: to("8.8.8.8") }), "ipv4.source"],
    ["the gateway's Ethernet address", () => change(syn(PUBLIC), 6, 2, 0, 0, 0, 2, 2), "ethernet.source"],
    ["a group's Ethernet address", () => change(syn(PUBLIC), 6, 1), "ethernet.source"],
    ["a frame for another station", () => change(syn(PUBLIC), 0, 0x52), "ethernet.other"],
    ["IPv6", () => change(syn(PUBLIC), 12, 0x86, 0xdd), "ipv6"],
    ["VLAN", () => change(syn(PUBLIC), 12, 0x81, 0x00), "ethernet.type"],
    ["a giant", () => ipFrame({ protocol: 17, destination: PUBLIC }, new Uint8Array(1481)), "ethernet.long"],
    ["a header's end", () => syn(PUBLIC).subarray(0, 13), "ethernet.short"],
    ["a packet's end", () => syn(PUBLIC).subarray(0, 40), "ipv4.length"],
    ["a wrong checksum of IPv4", () => change(syn(PUBLIC), 24, 1, 2), "ipv4.checksum"],
    ["a wrong checksum of TCP", () => change(syn(PUBLIC), 50, 1, 2), "tcp.checksum"],
    ["a wrong checksum of UDP", () => change(udpFrame(PUBLIC, 9, bytes("x")), 40, 1, 2), "udp.checksum"],
    ["TCP's port 0", () => syn(PUBLIC, 0), "tcp.port"],
    ["UDP's port 0", () => udpFrame(PUBLIC, 0, bytes("x")), "udp.port"],
    ["SYN and FIN", () => tcpFrame({ destination: PUBLIC, destinationPort: 80, flags: 3 }), "tcp.flags"],
    ["no flag at all", () => tcpFrame({ destination: PUBLIC, destinationPort: 80, flags: 0 }), "tcp.flags"],
    [
      "an error in ICMP",
      () => ipFrame({ protocol: 1, destination: PUBLIC }, encodeIcmpError(3, 4, new Uint8Array(28))),
      "icmp.type",
    ],
    ["another protocol", () => ipFrame({ protocol: 47, destination: PUBLIC }, new Uint8Array(20)), "ipv4.protocol"],
    ["a dead packet", () => ipFrame({ protocol: 1, destination: PUBLIC, ttl: 0 }, new Uint8Array(8)), "ipv4.ttl"],
  ])("%s", (_name, make, where) => {
    const { filter, seen } = createFilter();
    filter.receive(make());
    const went = seen.relay.length ? "relay" : seen.engine.length ? "engine" : seen.dropped.join();
    expect(went).toBe(where);
    expect(seen.relay.length + seen.engine.length + seen.dropped.length).toBe(1);
  });

  it("leaves pings to the relay where the engine cannot ping", () => {
    const { filter, seen } = createFilter({ carriesPings: false });
    filter.receive(ping(PUBLIC));
    expect([seen.relay.length, seen.engine.length]).toEqual([1, 0]);
  });

  it("holds the guest to its Ethernet address until it takes another by ARP or DHCP", () => {
    const { filter, seen } = createFilter();
    const other = parseMac("02:99:99:99:99:99");
    filter.receive(syn(PUBLIC));
    filter.receive(change(syn(PUBLIC, 81), 6, ...other));
    expect([seen.engine.length, seen.dropped]).toEqual([1, ["ethernet.source"]]);
    // In the name of somebody else it changes nothing.
    filter.receive(change(change(arpFrame(GATEWAY, GUEST + 1), 6, ...other), 22, ...other));
    expect(filter.guestMac).toEqual(MAC);
    filter.receive(change(change(arpFrame(GATEWAY), 6, ...other), 22, ...other));
    expect(filter.guestMac).toEqual(other);
    filter.receive(dhcp());
    expect(filter.guestMac).toEqual(MAC);
  });

  it("judges fragments as a whole and passes them on as such", () => {
    const { filter, seen } = createFilter();
    const cut = (destination: number, port: number, order: number[], id = 77): Uint8Array[] => {
      const payload = encodeUdp(
        { sourcePort: 4000, destinationPort: port, data: new Uint8Array(3000).fill(7) },
        GUEST,
        destination,
      );
      return order.map((i) => {
        const part = payload.subarray(i * 1480, (i + 1) * 1480);
        const fields = { protocol: 17, destination, id, fragmentOffset: i * 1480, moreFragments: i < 2 };
        return ipFrame(fields, part);
      });
    };
    for (const frame of cut(PUBLIC, 9, [2, 0, 1])) filter.receive(frame);
    expect(seen.engine.map((frame) => frame.length - 34)).toEqual([1480, 1480, 48]);
    for (const frame of seen.engine) expect(new Ipv4().decode(frame, 14)).toBeNull();
    const engine = seen.engine.length;
    for (const frame of cut(to("10.0.0.1"), 9, [0, 1, 2])) filter.receive(frame);
    // As one packet, for the NAT to refuse.
    expect([seen.engine.length - engine, seen.relay.length]).toEqual([0, 1]);
    // A later piece without the first never leaves.
    for (const frame of cut(PUBLIC, 10, [1, 2])) filter.receive(frame);
    expect(seen.engine.length).toBe(engine);
    // Nor does a piece that would overwrite the ports.
    const [first] = cut(PUBLIC, 9, [0], 78) as [Uint8Array];
    filter.receive(first);
    filter.receive(
      ipFrame({ protocol: 17, destination: PUBLIC, id: 78, fragmentOffset: 8 }, new Uint8Array(2000 - 600)),
    );
    expect(seen.engine.length).toBe(engine);
    expect(seen.dropped).toContain("ipv4.fragment-overlap");
  });

  it("asks the policy anew after a second", () => {
    let why: string | null = null;
    let asked = 0;
    const policy: Policy = {
      refuse() {
        asked++;
        return why;
      },
    };
    const { filter, seen, later } = createFilter({ policy });
    for (let i = 0; i < 5; i++) filter.receive(syn(PUBLIC));
    expect([asked, seen.engine.length]).toEqual([1, 5]);
    why = "closed";
    later(1000);
    filter.receive(syn(PUBLIC));
    expect([asked, seen.engine.length, seen.relay.length]).toEqual([2, 5, 1]);
  });

  it("counts connections and flows, and says when they are too many", () => {
    const { filter, seen, later } = createFilter({ limits: { tcpConnections: 2, udpFlows: 2 } });
    const answer = (flags: number, sourcePort: number): Uint8Array => {
      const frame = tcpFrame({ destination: PUBLIC, destinationPort: 80, sourcePort, flags });
      mapBack(frame);
      return frame;
    };
    for (const port of [1, 2, 3]) filter.receive(syn(PUBLIC, 80, port));
    expect([filter.tcpOpen, filter.tcpOpened, seen.engine.length]).toEqual([2, 2, 2]);
    expect(seen.limits).toEqual(["tcp 11.0.0.2 80: 2 connections at a time are the most"]);
    // One is reset by the other side, one ends on both.
    expect(filter.receiveInward(answer(FLAG.rst | FLAG.ack, 1))).toBe(true);
    expect(filter.tcpOpen).toBe(1);
    filter.receive(tcpFrame({ destination: PUBLIC, destinationPort: 80, sourcePort: 2, flags: FLAG.fin | FLAG.ack }));
    expect(filter.tcpOpen).toBe(1);
    filter.receiveInward(answer(FLAG.fin | FLAG.ack, 2));
    expect(filter.tcpOpen).toBe(0);
    // Nobody answers: they are given up.
    for (const port of [4, 5]) filter.receive(syn(PUBLIC, 80, port));
    later(30_000);
    filter.receive(syn(PUBLIC, 80, 6));
    expect(filter.tcpOpen).toBe(1);
    for (const port of [1, 2, 3]) filter.receive(udpFrame(PUBLIC, 9, bytes("x"), port));
    expect([filter.udpOpen, seen.limits.length]).toEqual([2, 2]);
    later(5000);
    filter.receive(udpFrame(PUBLIC, 9, bytes("x"), 3));
    expect([filter.udpOpen, seen.limits.length]).toEqual([2, 2]);
  });

  it("gives the guest what is for it, and nothing in its gateway's name", () => {
    const { filter, seen } = createFilter();
    const inward = (source: number, destination: number): boolean => {
      const data = { sourcePort: 53, destinationPort: 4000, data: bytes("x") };
      return filter.receiveInward(ipFrame({ protocol: 17, source, destination }, encodeUdp(data, source, destination)));
    };
    expect(inward(PUBLIC, GUEST)).toBe(true);
    expect(inward(RESOLVER, GUEST)).toBe(true);
    expect(inward(GATEWAY, GUEST)).toBe(false);
    expect(inward(PUBLIC, GUEST + 1)).toBe(false);
    expect(filter.receiveInward(arpFrame(GUEST))).toBe(false);
    expect(filter.receiveInward(new Uint8Array(3))).toBe(false);
    expect(seen.dropped).toEqual(["engine.source", "engine.destination", "engine.broken", "engine.broken"]);
  });

  it("100,000 random and mutated frames: nothing is thrown, and nothing forbidden passes", () => {
    let state = 99;
    const random = (n: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * n);
    };
    const pick = <Item>(items: readonly Item[]): Item => items[random(items.length)] as Item;
    const addresses = [
      "10.0.0.1",
      "127.0.0.1",
      "169.254.169.254",
      "10.0.2.2",
      "10.0.2.3",
      "10.0.2.77",
      RELAY,
      "224.0.0.1",
    ].map(to);
    const destination = (): number => (random(3) ? pick([...addresses, PUBLIC, PUBLIC, PUBLIC]) : random(2 ** 32));
    const noise = (n: number): Uint8Array => Uint8Array.from({ length: n }, () => random(256));
    const seeds: (() => Uint8Array)[] = [
      () => noise(random(200)),
      () => arpFrame(destination(), random(2) ? GUEST : random(2 ** 32)),
      () => dhcp(random(2) ? 0 : GUEST),
      () => udpFrame(destination(), pick([53, 9, 0, 67]), noise(random(80)), random(65536)),
      () =>
        tcpFrame({
          destination: destination(),
          destinationPort: pick([80, 25, 53, 0]),
          sourcePort: random(65536),
          flags: random(64),
        }),
      () => ping(destination()),
      () =>
        ipFrame(
          {
            protocol: pick([1, 6, 17, random(256)]),
            destination: destination(),
            id: random(9),
            fragmentOffset: 8 * random(200),
            moreFragments: random(2) > 0,
          },
          noise(8 * random(30)),
        ),
    ];
    const { filter, seen, later } = createFilter({
      limits: { tcpConnectsPerSecond: 1e9, udpFlowsPerSecond: 1e9, dnsQueriesPerSecond: 1e9, pingsPerSecond: 1e9 },
    });
    const ip = new Ipv4();
    let passed = 0;
    for (let i = 0; i < 100_000; i++) {
      const frame = Buffer.from(pick(seeds)());
      if (random(2))
        for (let n = 1 + random(3); n > 0 && frame.length > 0; n--) frame[random(frame.length)] = random(256);
      filter.receive(random(20) ? frame : frame.subarray(0, random(frame.length + 1)));
      if (random(2)) filter.receiveInward(frame);
      if (random(100) === 0) later(random(3000));
      for (const out of seen.engine) {
        passed++;
        if (ip.decode(out, 14) !== null || ip.source !== GUEST) throw new Error(`A broken packet has passed: ${out}`);
        const [port] = ip.protocol === 1 || ip.fragmentOffset > 0 ? [0] : [getU16(out, ip.payload + 2)];
        const text = formatAddress(ip.destination);
        const isAllowed = (ip.destination === RESOLVER && port === 53) || POLICY.refuse("icmp", text, 0) === null;
        if (!isAllowed || (ip.protocol === 6 && port === 25)) throw new Error(`A packet to ${text} has passed`);
      }
      seen.engine.length = 0;
      seen.relay.length = 0;
    }
    expect(passed).toBeGreaterThan(5000);
    expect(new Set(seen.dropped).size).toBeGreaterThan(15);
    expect(filter.tcpOpen + filter.udpOpen).toBeLessThanOrEqual(256 + 128);
  });
});
