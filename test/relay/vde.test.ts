import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Policy } from "../../relay/engine.ts";
import { formatAddress, parseAddress, parseMac } from "../../relay/nat/address.ts";
import { encodeEcho, encodeIcmpError } from "../../relay/nat/icmp.ts";
import { Ipv4, writeIpv4 } from "../../relay/nat/ipv4.ts";
import { readSubnet } from "../../relay/nat/link.ts";
import { createNat, DEFAULT_SUBNET } from "../../relay/nat/nat.ts";
import { FLAG, Segment } from "../../relay/nat/tcp-segment.ts";
import { TimerWheel } from "../../relay/nat/timers.ts";
import { decodeUdp, encodeUdp } from "../../relay/nat/udp.ts";
import { copyOf, getU16, setU16 } from "../../relay/nat/words.ts";
import { createPolicy } from "../../relay/policy.ts";
import { mapInward, mapOutward } from "../../relay/vde/address-map.ts";
import { type FilterLimits, FrameFilter } from "../../relay/vde/frame-filter.ts";
import { createKernelEngine } from "../../relay/vde/kernel-engine.ts";
import { createSlirpEngine } from "../../relay/vde/slirp-engine.ts";
import { VdeEngine } from "../../relay/vde/vde-guest.ts";
import { FrameSplitter, VdePlug } from "../../relay/vde/vde-plug.ts";
import { makeQuery } from "./dns-server.ts";
import { arpFrame, GATEWAY, GUEST, ipFrame, MAC, RESOLVER, tcpFrame, udpFrame } from "./frame-guest.ts";
import { pause, until } from "./guests.ts";
import { ALLOW_ALL, createPort } from "./network.ts";
import { FORBIDDEN, RELAY, type TapGuest, WORLD, World } from "./vde-world.ts";

const PUBLIC = parseAddress("11.0.0.2");
const POLICY = createPolicy({ own: () => [RELAY] });
const network = readSubnet(DEFAULT_SUBNET, 1500);

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

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const change = (frame: Uint8Array, at: number, ...values: number[]): Uint8Array => {
  frame.set(values, at);
  return frame;
};
const dhcp = (source = 0): Uint8Array => udpFrame(0xffffffff, 67, new Uint8Array(300), 68, { source });
const ping = (destination: number): Uint8Array =>
  ipFrame({ protocol: 1, destination }, encodeEcho(8, { id: 1, sequence: 1, data: bytes("ping") }));
const syn = (destination: number, destinationPort = 80, sourcePort = 4000): Uint8Array =>
  tcpFrame({ destination, destinationPort, sourcePort, flags: FLAG.syn });
const to = (text: string): number => parseAddress(text);

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

/** The other way round: source and destination, and ports, change places. */
function mapBack(frame: Uint8Array): void {
  for (const [a, b, length] of [
    [26, 30, 4],
    [34, 36, 2],
  ] as const) {
    const one = frame.slice(a, a + length);
    frame.copyWithin(a, b, b + length);
    frame.set(one, b);
  }
}

describe("the map of addresses", () => {
  const real = { guest: to("198.18.0.2"), gateway: to("198.18.0.1"), dns: to("198.18.0.1") };
  const seen = { guest: GUEST, gateway: GATEWAY, dns: RESOLVER };

  it("corrects all checksums, and comes back to the same bytes", () => {
    const frames = [
      tcpFrame({ destination: PUBLIC, destinationPort: 80, flags: FLAG.syn, data: bytes("odd") }),
      udpFrame(PUBLIC, 9, bytes("hello")),
      udpFrame(RESOLVER, 53, makeQuery("a.test", 1)),
      change(udpFrame(PUBLIC, 9, bytes("no sum")), 40, 0, 0),
      ping(PUBLIC),
      ipFrame({ protocol: 17, destination: PUBLIC, fragmentOffset: 800 }, new Uint8Array(100)),
    ];
    for (const original of frames) {
      const frame = original.slice();
      mapOutward(frame, seen, real);
      const ip = new Ipv4();
      expect(ip.decode(frame, 14)).toBeNull();
      expect(ip.source).toBe(real.guest);
      if (ip.protocol === 6)
        expect(new Segment().decode(frame, ip.payload, ip.end, ip.source, ip.destination)).toBeNull();
      if (ip.protocol === 17 && ip.fragmentOffset === 0)
        expect(decodeUdp(frame, ip.payload, ip.end, ip.source, ip.destination)).toBeTypeOf("object");
      mapBack(frame);
      expect(mapInward(frame, seen, real)).toBe(true);
      mapBack(frame);
      expect(frame).toEqual(original);
    }
  });

  it("tells the guest of its own packet in an error, in the gateway's name", () => {
    const packet = udpFrame(RESOLVER, 53, makeQuery("a.test", 1));
    mapOutward(packet, seen, real);
    const error = encodeIcmpError(3, 3, packet.subarray(14));
    const frame = ipFrame({ protocol: 1, source: real.dns, destination: real.guest }, error);
    expect(mapInward(frame, seen, real)).toBe(true);
    const ip = new Ipv4();
    expect(ip.decode(frame, 14)).toBeNull();
    expect([ip.source, ip.destination]).toEqual([GATEWAY, GUEST]);
    expect(ip.decode(frame, ip.payload + 8)).toBeNull();
    expect([ip.source, ip.destination]).toEqual([GUEST, RESOLVER]);
  });

  it("leaves alone what is not for the guest, or broken", () => {
    expect(mapInward(udpFrame(PUBLIC, 9, bytes("x")), seen, real)).toBe(false);
    expect(mapInward(arpFrame(GUEST), seen, real)).toBe(false);
    expect(mapInward(new Uint8Array(20), seen, real)).toBe(false);
    const random = new Uint8Array(60).fill(0x45);
    for (let i = 0; i < 256; i++) {
      writeIpv4(random, 14, { source: PUBLIC, destination: real.guest, protocol: 1, id: 1 }, 26);
      setU16(random, 16, i);
      random[34] = 3;
      mapInward(random, seen, real);
    }
  });
});

describe("vde_plug's frames over standard input and output", () => {
  it("are found however the stream is cut", () => {
    const frames = [60, 1514, 0, 300].map((length, i) => new Uint8Array(length).fill(i + 1));
    const stream = Buffer.concat(frames.flatMap((frame) => [Buffer.of(frame.length >> 8, frame.length & 255), frame]));
    for (const size of [1, 2, 7, 1000, stream.length]) {
      const found: Uint8Array[] = [];
      const splitter = new FrameSplitter();
      for (let at = 0; at < stream.length; at += size)
        splitter.push(stream.subarray(at, at + size), (frame) => void found.push(copyOf(frame)));
      expect(found.map(String)).toEqual(frames.map(String));
    }
  });

  it("wait until it is ready, are bounded when it does not read, and end with it", async () => {
    const found: Uint8Array[] = [];
    let ready = (): void => {};
    const plug = new VdePlug({
      command: ["cat"],
      prepare: () => new Promise((resolve) => (ready = resolve)),
      onFrame: (frame) => void found.push(copyOf(frame)),
      onProblem: () => {},
    });
    const frame = new Uint8Array(100).fill(5);
    const taken = Array.from({ length: 6000 }, () => plug.send(frame, (copy) => copy.fill(6, 0, 2)));
    const most = Math.floor((512 * 1024) / 102);
    expect(taken.filter(Boolean)).toHaveLength(most);
    ready();
    await until(() => found.length === most, "all frames came back");
    expect([found[0]?.[0], found[0]?.[2], frame[0]]).toEqual([6, 5, 5]);
    // `cat` writes nothing that nobody reads.
    plug.pause();
    let refused = 0;
    for (let i = 0; i < 3000; i++) if (!plug.send(new Uint8Array(1500), () => {})) refused++;
    expect(refused).toBeGreaterThan(1000);
    await plug.close();
    expect(plug.send(frame, () => {})).toBe(false);
  });

  it("tells in words how it ended, and starts again with a later frame", async () => {
    const problems: string[] = [];
    const plug = new VdePlug({
      command: ["sh", "-c", "echo 'no such thing' >&2; exit 3"],
      onFrame: () => {},
      onProblem: (words) => void problems.push(words),
    });
    plug.send(new Uint8Array(60), () => {});
    await until(() => problems.length === 1, "it has ended");
    expect(problems).toEqual(["it has ended: no such thing"]);
    expect(plug.send(new Uint8Array(60), () => {})).toBe(false);
    await pause(150);
    plug.send(new Uint8Array(60), () => {});
    await until(() => problems.length === 2, "it has ended again");
    await plug.close();
    const missing = new VdePlug({
      command: ["/no/such"],
      onFrame() {},
      onProblem: (words) => void problems.push(words),
    });
    missing.send(new Uint8Array(60), () => {});
    await until(() => problems.length === 3, "it could not be started");
    expect(problems[2]).toContain("ENOENT");
    await missing.close();
  });
});

it("an engine that has gone is told to the guest, and what the gateway answers goes on", async () => {
  const problems: string[] = [];
  const uplink = {
    name: "test",
    carriesPings: false,
    open: () => ({ command: ["false"], close() {} }),
    close: async () => {},
  };
  const nat = createNat({ policy: POLICY, pinger: null });
  const onProblem = (words: string): void => void problems.push(words);
  const engine = new VdeEngine({ uplink, nat, policy: POLICY, subnet: DEFAULT_SUBNET, mtu: 1500, onProblem });
  const port = createPort();
  const guest = engine.attach(port);
  guest.receive(syn(PUBLIC));
  await until(() => problems.length === 1, "it has ended");
  expect(problems).toEqual(["The test engine of a guest: it has ended: status 1"]);
  guest.receive(syn(PUBLIC));
  expect(port.told.map(({ text }) => text)).toEqual([
    "Cannot pass packets on: the relay's test engine has ended, and is being started again",
  ]);
  guest.receive(arpFrame(GATEWAY));
  expect(port.frames).toHaveLength(1);
  guest.receive(syn(to("10.0.0.1")));
  expect(port.told.at(-1)?.text).toBe("Cannot connect to 10.0.0.1: private addresses are not reachable from here");
  expect(guest.statistics).toMatchObject({ refused: 2, dropped: { "engine.down": 1 } });
  await engine.close();
});

/** The programs of engines that this process has started. */
function waysOut(): number[] {
  const isOurs = (pid: number): boolean => {
    try {
      const isChild = readFileSync(`/proc/${pid}/status`, "utf8").includes(`PPid:\t${process.pid}\n`);
      return isChild && /vde_plug\0(slirp:|tap:\/\/so)/.test(readFileSync(`/proc/${pid}/cmdline`, "utf8"));
    } catch {
      return false;
    }
  };
  return readdirSync("/proc").map(Number).filter(isOurs);
}

const CLOSED = /timed out|refused|unreachable|reset|No route/i;

const isRoot = process.getuid?.() === 0;

describe.skipIf(!isRoot).each(["slirp", "kernel"] as const)("the %s engine, for real (needs root)", (name) => {
  let world: World;
  let engine: VdeEngine;
  let one: TapGuest;
  const problems: string[] = [];

  beforeAll(async () => {
    world = await World.make();
    const nat = createNat({ policy: POLICY, pinger: null });
    const options = { nat, policy: POLICY, subnet: DEFAULT_SUBNET, mtu: 1500, within: world.prefix };
    const create = name === "slirp" ? createSlirpEngine : createKernelEngine;
    engine = await create({ ...options, onProblem: (words) => void problems.push(words) });
    one = await world.join(engine);
  });

  afterAll(async () => {
    await engine?.close();
    await world?.close();
  });

  it("gives an address, and names", async () => {
    expect(one.engineGuest.address).toBe("10.0.2.15");
    expect(await one.sh("busybox nslookup www.example.test")).toContain(WORLD);
    expect(await one.sh("busybox wget -q -O - http://www.example.test/")).toBe("hello");
  });

  it("carries downloads and uploads whole, and many at a time", async () => {
    const block = Buffer.alloc(65536, "0123456789abcdef");
    const wanted = createHash("sha256");
    for (let i = 0; i < 512; i++) wanted.update(block);
    const sum = wanted.digest("hex");
    const got = await one.sh(`busybox wget -q -O - http://${WORLD}/bytes/33554432 | sha256sum`);
    expect(got.split(" ")[0]).toBe(sum);
    const file = await one.sh("f=$(mktemp); head -c 16777216 /dev/urandom > $f; echo $f");
    try {
      const sent = await one.sh(`curl -s --data-binary @${file} -H Expect: http://${WORLD}/; echo; sha256sum ${file}`);
      const [theirs, ours] = sent.split("\n") as [string, string];
      expect(theirs).toBe(ours.split(" ")[0]);
    } finally {
      await one.sh(`rm ${file}`);
    }
    const many = await one.sh(
      `for i in $(seq 20); do busybox wget -q -O - http://${WORLD}/bytes/1000000 | wc -c & done; wait`,
    );
    expect(many.split("\n")).toEqual(Array.from({ length: 20 }, () => "1000000"));
  });

  it("carries UDP, large datagrams too, and lets nobody else answer", async () => {
    const long = "x".repeat(4000);
    const script = `const s=require("dgram").createSocket("udp4");s.on("message",m=>{console.log(m.length);s.close()});s.send("${long}",7,"${WORLD}");setTimeout(()=>process.exit(1),3000).unref()`;
    expect(await one.sh(`'${process.execPath}' -e '${script}'`)).toBe("4000");
  });

  it("answers pings truthfully, or says that it cannot", async () => {
    expect(await one.sh("busybox ping -c 1 -W 2 10.0.2.2")).toContain("1 packets received");
    const text = await one.sh(`busybox ping -c 1 -W 2 ${WORLD}`);
    if (name === "kernel") {
      expect(text).toContain("1 packets received");
      expect(await one.sh("busybox ping -c 1 -W 1 11.0.0.99")).toContain("0 packets received");
    } else {
      expect(text).toContain("0 packets received");
      expect(one.told.map(({ text: words }) => words)).toContain(`Cannot ping ${WORLD}: the relay cannot ping`);
    }
  });

  it("refuses what the policy refuses, at once and in words; nothing of it arrives anywhere", async () => {
    const before = [world.hits("world"), world.hits("relay")];
    for (const address of [...FORBIDDEN, RELAY, "198.18.0.1", "inside.example.test"]) {
      const started = Date.now();
      const text = await one.sh(`busybox wget -T 5 -O - http://${address}/`);
      expect(text).toMatch(/refused|reset/i);
      expect(Date.now() - started).toBeLessThan(2000);
    }
    // To its own loopback a guest's system sends nothing; one that does gets no further.
    const loopback = await one.sh(
      `ip route del local 127.0.0.0/8 dev lo table local; ip route del local 127.0.0.1 dev lo table local; ip route add 127.0.0.1 via 10.0.2.2; curl -s -m 1 http://127.0.0.1/; echo $?`,
    );
    expect(loopback.split("\n").at(-1)).not.toBe("0");
    expect(one.told.map(({ text }) => text)).toContain(
      "Cannot connect to 169.254.169.254: metadata services of clouds are not reachable from here",
    );
    // The probes of `hits` themselves are on 127.0.0.1.
    const strange = (hits: string[]): string[] =>
      hits.filter((address) => address !== "127.0.0.1" && address !== WORLD);
    expect([strange(world.hits("world")), strange(world.hits("relay"))]).toEqual(before.map(strange));
    expect(strange(world.hits("relay"))).toEqual([]);
  });

  it("lets connections in to the guest's port", async () => {
    const served = one.sh("echo 'from the guest' | busybox nc -l -p 8080");
    let text = "";
    for (let i = 0; text === "" && i < 50; i++)
      try {
        const stream = await one.engineGuest.connect(8080);
        for await (const chunk of stream) text += chunk;
      } catch {
        await pause(50);
      }
    expect(text).toBe("from the guest\n");
    await served;
    await expect(one.engineGuest.connect(8081)).rejects.toThrow("Cannot connect to the guest's port 8081: ");
  });

  it("keeps guests apart", async () => {
    const two = await world.join(engine, { mac: "52:54:00:00:00:02", address: "10.0.2.16" });
    expect(two.engineGuest.address).toBe("10.0.2.16");
    expect(await two.sh(`busybox wget -q -O - http://${WORLD}/`)).toBe("hello");
    const server = two.sh("busybox nc -l -p 9090");
    for (const address of ["10.0.2.16", "198.18.0.3"])
      expect(await one.sh(`busybox wget -T 1 -O - http://${address}:9090/`)).toMatch(CLOSED);
    // It was there all the time.
    const stream = await two.engineGuest.connect(9090);
    stream.end("hello");
    expect(await server).toBe("hello");
    await two.close();
  });

  it("comes back when its program is killed, and tells it", async () => {
    // The other guest's may still be ending.
    await until(() => waysOut().length === 1, "only this guest's program runs");
    process.kill(waysOut()[0] as number, "SIGKILL");
    await until(() => problems.length > 0, "the end was told");
    expect(problems[0]).toBe(`The ${name} engine of a guest: it has ended: signal SIGKILL`);
    await pause(200);
    let text = "";
    for (let i = 0; i < 10 && text !== "hello"; i++) text = await one.sh(`busybox wget -q -T 2 -O - http://${WORLD}/`);
    expect(text).toBe("hello");
    expect(one.engineGuest.statistics.tcpOpened).toBeGreaterThan(20);
  });

  it("leaves nothing behind", async () => {
    if (name === "kernel") {
      expect(world.look("nft", "list", "tables")).toContain("smartos0");
      expect(world.look("ip", "link")).toContain("so0g");
    }
    await engine.close();
    expect(world.look("nft", "list", "tables")).toBe("");
    expect(world.look("ip", "link")).not.toContain("so0g");
    expect(world.look("ip", "address", "show", "dev", "lo")).not.toContain("198.18.");
  });
});

describe.skipIf(!isRoot)("the kernel engine's own rules (needs root)", () => {
  it("keep guests from each other and from the relay's computer, even if the policy allowed it", async () => {
    const world = await World.make();
    const options = { policy: ALLOW_ALL, subnet: DEFAULT_SUBNET, mtu: 1500, within: world.prefix, onProblem() {} };
    const engine = await createKernelEngine({ ...options, nat: createNat({ policy: ALLOW_ALL, pinger: null }) });
    try {
      const one = await world.join(engine);
      const two = await world.join(engine);
      for (const guest of [one, two]) expect(await guest.sh(`busybox wget -q -O - http://${WORLD}/`)).toBe("hello");
      for (const tap of ["so0g2", "so0g3"]) expect(world.look("ip", "link")).toContain(tap);
      const server = two.sh("busybox nc -l -p 9090").catch(() => {});
      for (const address of ["198.18.0.3:9090", "198.18.0.1", RELAY])
        expect(await one.sh(`busybox wget -T 1 -O - http://${address}/`)).toMatch(CLOSED);
      expect(world.hits("relay").filter((address) => address !== "127.0.0.1")).toEqual([]);
      expect(await one.sh(`busybox wget -q -T 1 -O - http://${FORBIDDEN[0]}/`)).toBe("hello");
      await two.close();
      await server;
    } finally {
      await engine.close();
      await world.close();
    }
  });

  it("several relays on one computer take parts of the pool, and who comes too late is told", async () => {
    const world = await World.make();
    const engines: VdeEngine[] = [];
    try {
      const make = (): Promise<VdeEngine> =>
        createKernelEngine({
          nat: createNat({ policy: POLICY, pinger: null }),
          policy: POLICY,
          subnet: DEFAULT_SUBNET,
          mtu: 1500,
          within: world.prefix,
          onProblem: () => {},
        });
      for (let i = 0; i < 8; i++) engines.push(await make());
      expect(world.look("nft", "list", "tables").trim().split("\n")).toHaveLength(8);
      await expect(make()).rejects.toThrow("Cannot use the kernel engine: 8 relays on this computer use it already");
      await engines[3]?.close();
      engines[3] = await make();
      expect(world.look("nft", "list", "tables")).toContain("smartos3");
    } finally {
      for (const engine of engines) await engine.close();
      await world.close();
    }
  });
});

it("engines that cannot be used say why", async () => {
  const options = { policy: POLICY, mtu: 1500, onProblem: () => {} };
  const other = { ...DEFAULT_SUBNET, gateway: "10.0.3.2", dns: "10.0.3.3", guest: "10.0.3.15" };
  const nat = createNat({ policy: POLICY, pinger: null });
  await expect(createSlirpEngine({ ...options, nat, subnet: other })).rejects.toThrow(
    "Cannot use the slirp engine: its subnet is that of 10.0.2.2/24",
  );
  await expect(createSlirpEngine({ ...options, nat, subnet: DEFAULT_SUBNET, within: ["false"] })).rejects.toThrow(
    "Cannot use the slirp engine: it has ended: status 1 (Debian's packages vdeplug and libvdeplug-slirp)",
  );
  await nat.close();
});
