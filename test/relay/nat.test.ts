import { spawn } from "node:child_process";
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import type { EngineGuest } from "../../relay/engine.ts";
import { parseAddress, parseMac } from "../../relay/nat/address.ts";
import { decodeArp } from "../../relay/nat/arp.ts";
import { DHCP_OPTION, DHCP_TYPE, decodeDhcp, encodeDhcp } from "../../relay/nat/dhcp.ts";
import { decodeDns } from "../../relay/nat/dns-message.ts";
import { createResolver } from "../../relay/nat/dns-resolver.ts";
import { encodeEcho } from "../../relay/nat/icmp.ts";
import { fragments, Ipv4 } from "../../relay/nat/ipv4.ts";
import { createNat, type Nat, type NatOptions } from "../../relay/nat/nat.ts";
import { createPinger, type Pinger } from "../../relay/nat/ping.ts";
import { Reassembly } from "../../relay/nat/reassembly.ts";
import { encodeSynOptions, FLAG } from "../../relay/nat/tcp-segment.ts";
import { TimerWheel } from "../../relay/nat/timers.ts";
import { decodeUdp, encodeUdp } from "../../relay/nat/udp.ts";
import { getU16, setU16 } from "../../relay/nat/words.ts";
import { answerTest, makeQuery } from "./dns-server.ts";
import {
  arpFrame,
  datagramsOf,
  GATEWAY,
  GUEST,
  icmpOf,
  ipFrame,
  MAC,
  packetsOf,
  RESOLVER,
  readAll,
  segmentsOf,
  TcpGuest,
  tcpFrame,
  udpFrame,
} from "./frame-guest.ts";
import { dhcp } from "./guests.ts";
import { ALLOW_ALL, attach, createPort, LOOPBACK, type TestPort } from "./network.ts";

const OUTSIDE = parseAddress("192.0.2.1");
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function start(options: Partial<NatOptions> = {}): { nat: Nat; guest: EngineGuest; port: TestPort } {
  const all = attach(options);
  cleanups.push(() => all.nat.close());
  return all;
}

function withTcp(options: Partial<NatOptions> = {}): ReturnType<typeof start> & { tcp: TcpGuest } {
  const all = start(options);
  const tcp = new TcpGuest(all.guest, all.port);
  cleanups.push(() => tcp.stop());
  return { ...all, tcp };
}

async function serve(onConnection: (socket: Socket) => void): Promise<{ port: number; server: Server }> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, server };
}

/** Resolves when a number that grows has been the same for half a second, however busy the computer is. */
async function standsStill(read: () => number): Promise<void> {
  let before = -1;
  const isSame = (): boolean => {
    const last = before;
    before = read();
    return before === last;
  };
  await expect.poll(isSame, { interval: 500, timeout: 30_000 }).toBe(true);
}

async function bindUdp(): Promise<UdpSocket> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  cleanups.push(() => socket.close());
  return socket;
}

describe("the little network", () => {
  it("answers ARP for the gateway and the resolver, and for nobody else", () => {
    const { guest, port } = start();
    for (const target of [GATEWAY, RESOLVER, GUEST, GUEST + 1]) guest.receive(arpFrame(target));
    const replies = port.frames.map((frame) => decodeArp(frame, 14));
    expect(replies.map((reply) => reply?.senderAddress)).toEqual([GATEWAY, RESOLVER]);
    expect(replies[0]).toMatchObject({
      operation: 2,
      targetAddress: GUEST,
      targetMac: MAC,
      senderMac: parseMac("02:00:00:00:02:02"),
    });
    expect(guest.address).toBe("10.0.2.15");
    guest.receive(arpFrame(RESOLVER, 0)); // a probe
    expect(port.frames.length).toBe(3);
  });

  it("does not let the guest be the gateway", () => {
    const { guest, port } = start();
    guest.receive(arpFrame(GATEWAY, GATEWAY));
    guest.receive(udpFrame(GATEWAY, 1, new Uint8Array(1), 1, { source: RESOLVER }));
    guest.receive(udpFrame(GATEWAY, 1, new Uint8Array(1), 1, { source: OUTSIDE }));
    expect(port.frames).toEqual([]);
    expect(guest.address).toBeNull();
    expect(guest.statistics.dropped).toEqual({ "arp.sender": 1, "ipv4.source": 2 });
  });

  it("gives the address by DHCP, and another one to another guest of a room", () => {
    const nat = createNat({ policy: ALLOW_ALL });
    cleanups.push(() => nat.close());
    for (const [address, asked] of [
      ["10.0.2.15", undefined],
      ["10.0.2.16", "10.0.2.16"],
    ] as const) {
      const port = createPort();
      const guest = nat.attach(port, asked);
      const message = (type: number, requested?: string): Uint8Array =>
        encodeDhcp({
          op: 1,
          xid: 5,
          flags: 0,
          clientAddress: 0,
          yourAddress: 0,
          hardwareAddress: MAC,
          type,
          options: new Map([
            [DHCP_OPTION.type as number, Uint8Array.of(type)],
            ...(requested
              ? [[DHCP_OPTION.requestedAddress, Uint8Array.from(requested.split("."), Number)] as const]
              : []),
          ]),
        });
      const tell = (bytes: Uint8Array): void => guest.receive(udpFrame(0xffffffff, 67, bytes, 68, { source: 0 }));
      tell(message(DHCP_TYPE.discover));
      const [offer] = packetsOf(port.frames);
      expect(offer?.ip).toMatchObject({ source: GATEWAY, destination: parseAddress(address) });
      expect(offer?.frame.subarray(0, 6)).toEqual(MAC);
      expect(guest.address).toBeNull();
      tell(message(DHCP_TYPE.request, address));
      expect(datagramsOf(port.frames).map(({ data }) => decodeDhcp(data)?.type)).toEqual([
        DHCP_TYPE.offer,
        DHCP_TYPE.ack,
      ]);
      expect(guest.address).toBe(address);
      guest.receive(udpFrame(0xffffffff, 67, Buffer.alloc(300), 68, { source: 0 }));
      expect(guest.statistics.dropped).toEqual({ "dhcp.broken": 1 });
    }
  });

  it("answers so many DHCP requests a second", () => {
    const { guest, port } = start();
    for (let i = 0; i < 100; i++) guest.receive(dhcp([...MAC]));
    // Twice as many at once as in a second.
    expect(port.frames.length).toBe(20);
    expect(guest.statistics.dropped).toEqual({ "dhcp.rate": 80 });
  });

  it("drops and counts IPv6 and what it does not know", () => {
    const { guest, port } = start();
    const frame = ipFrame({ protocol: 17 }, new Uint8Array(8));
    setU16(frame, 12, 0x86dd);
    guest.receive(frame);
    setU16(frame, 12, 0x8100);
    guest.receive(frame);
    guest.receive(new Uint8Array(13));
    guest.receive(new Uint8Array(0));
    frame[0] = 0x04;
    guest.receive(frame);
    expect(guest.statistics.dropped).toEqual({ ipv6: 1, "ethernet.type": 1, "ethernet.short": 2, "ethernet.other": 1 });
    guest.receive(ipFrame({ protocol: 47 }, new Uint8Array(30)));
    expect(icmpOf(port.frames)).toEqual([{ type: 3, code: 2, from: GATEWAY }]);
  });
});

describe("pings", () => {
  const echo = encodeEcho(8, { id: 9, sequence: 3, data: Buffer.from("payload!") });

  it("are answered by the gateway and the resolver, fragmented too", () => {
    const { guest, port } = start();
    guest.receive(ipFrame({ protocol: 1 }, echo));
    guest.receive(ipFrame({ protocol: 1, destination: RESOLVER }, echo));
    expect(icmpOf(port.frames)).toEqual([
      { type: 0, code: 0, from: GATEWAY },
      { type: 0, code: 0, from: RESOLVER },
    ]);
    expect(Buffer.from(port.frames[0]?.subarray(38) ?? []).toString("latin1")).toBe("\0\x09\0\x03payload!");
    port.frames.length = 0;
    const large = encodeEcho(8, { id: 9, sequence: 4, data: new Uint8Array(5000).fill(7) });
    for (const { offset, length, more } of [...fragments(large.length, 1500)].reverse())
      guest.receive(
        ipFrame(
          { protocol: 1, id: 77, fragmentOffset: offset, moreFragments: more },
          large.subarray(offset, offset + length),
        ),
      );
    expect(packetsOf(port.frames).map(({ ip }) => [ip.fragmentOffset, ip.end - ip.payload, ip.moreFragments])).toEqual([
      [0, 1480, true],
      [1480, 1480, true],
      [2960, 1480, true],
      [4440, 568, false],
    ]);
  });

  it("beyond it are what the system says, or refused", async () => {
    const asked: unknown[] = [];
    const results: Record<string, Awaited<ReturnType<Pinger>>> = {
      "192.0.2.1": { kind: "reply", ttl: 55 },
      "192.0.2.2": { kind: "silence" },
      "192.0.2.3": { kind: "unsupported" },
    };
    const { guest, port } = start({
      pinger: async (address, options) => {
        asked.push([address, options]);
        return results[address] ?? { kind: "silence" };
      },
      policy: {
        refuse: (protocol, address, number) =>
          protocol === "icmp" && address === "192.0.2.9" && number === 0 ? "not you" : null,
      },
    });
    for (const last of [1, 2, 3, 9]) guest.receive(ipFrame({ protocol: 1, destination: OUTSIDE - 1 + last }, echo));
    await sleep(10);
    expect(asked).toEqual([1, 2, 3].map((last) => [`192.0.2.${last}`, { ttl: 63, dataLength: 8 }]));
    expect(icmpOf(port.frames)).toEqual([
      { type: 3, code: 13, from: GATEWAY },
      { type: 0, code: 0, from: OUTSIDE },
      { type: 3, code: 13, from: GATEWAY },
    ]);
    expect(packetsOf(port.frames)[1]?.ip.ttl).toBe(55);
    expect(port.told.map(({ kind, text }) => `${kind} ${text}`)).toEqual([
      "policy Cannot ping 192.0.2.9: not you",
      "unreachable Cannot ping 192.0.2.3: the relay's system cannot ping",
    ]);
  });

  it("are few", async () => {
    let asked = 0;
    const { guest, port } = start({
      pinger: async () => {
        asked++;
        return { kind: "silence" };
      },
    });
    for (let i = 0; i < 100; i++) guest.receive(ipFrame({ protocol: 1, destination: OUTSIDE }, echo));
    await sleep(5);
    expect(asked).toBe(4);
    expect(icmpOf(port.frames).length).toBe(96);
    expect(port.told.length).toBeLessThanOrEqual(6);
  });

  it("run the system's program", async () => {
    const directory = mkdtempSync(join(tmpdir(), "ping-"));
    cleanups.push(() => rmSync(directory, { recursive: true }));
    const program = join(directory, "ping");
    const write = (script: string): void => {
      writeFileSync(program, `#!/bin/sh\n${script}\n`);
      chmodSync(program, 0o755);
    };
    const ask = (): ReturnType<Pinger> => createPinger(program)("192.0.2.1", { ttl: 9, dataLength: 56 });
    write(
      `[ "$*" = "-c 1 -W 3 -s 56 -t 9 192.0.2.1" ] && echo "64 bytes from 192.0.2.1: icmp_seq=1 ttl=57 time=9.1 ms"`,
    );
    expect(await ask()).toEqual({ kind: "reply", ttl: 57 });
    write(`echo "1 packets transmitted, 0 received, 100% packet loss, time 0ms"; exit 1`);
    expect(await ask()).toEqual({ kind: "silence" });
    write("echo 'socket: Operation not permitted' >&2; exit 2");
    expect(await ask()).toEqual({ kind: "unsupported" });
    expect(await createPinger(join(directory, "none"))("192.0.2.1", { ttl: 9, dataLength: 56 })).toEqual({
      kind: "unsupported",
    });
  });

  it("and other packets that have been on the way too long are told so", () => {
    const { guest, port } = start();
    guest.receive(udpFrame(OUTSIDE, 33434, new Uint8Array(8), 4000, { ttl: 1 }));
    expect(icmpOf(port.frames)).toEqual([{ type: 11, code: 0, from: GATEWAY }]);
    // It quotes what it is about: the destination's address and both ports.
    const frame = port.frames[0] ?? new Uint8Array(0);
    const quoted = new Ipv4();
    expect(quoted.decode(frame, 42)).toBeNull();
    expect([quoted.destination, getU16(frame, quoted.payload), getU16(frame, quoted.payload + 2)]).toEqual([
      OUTSIDE,
      4000,
      33434,
    ]);
  });
});

describe("UDP", () => {
  it("goes to the server and back, larger than the link in both directions", async () => {
    const server = await bindUdp();
    server.on("message", (data, from) => server.send(data, from.port, from.address));
    const { guest, port } = start();
    const number = server.address().port;
    guest.receive(udpFrame(GATEWAY, number, Buffer.from("hello")));
    await expect.poll(() => port.frames.length).toBe(1);
    expect(datagramsOf(port.frames)[0]).toMatchObject({ sourcePort: number, destinationPort: 4000 });
    port.frames.length = 0;
    const data = Buffer.alloc(60_000, "large");
    const payload = encodeUdp({ sourcePort: 4000, destinationPort: number, data }, GUEST, GATEWAY);
    for (const { offset, length, more } of fragments(payload.length, 1500))
      guest.receive(
        Buffer.from(
          ipFrame(
            { protocol: 17, id: 3, fragmentOffset: offset, moreFragments: more },
            payload.subarray(offset, offset + length),
          ),
        ),
      );
    await expect.poll(() => port.frames.length).toBe(41);
    const reassembly = new Reassembly(new TimerWheel(), () => {});
    const whole = packetsOf(port.frames)
      .map(({ ip, frame }) => reassembly.add(ip, frame))
      .at(-1);
    const answer = whole && decodeUdp(whole, 0, whole.length, GATEWAY, GUEST);
    expect(answer && typeof answer === "object" && data.equals(answer.data)).toBe(true);
    expect(guest.statistics.udpOpen).toBe(1);
  });

  it("is refused by policy, by the gateway, by closed ports, and to nowhere", async () => {
    const closed = createSocket("udp4");
    await new Promise<void>((resolve) => closed.bind(0, "127.0.0.1", resolve));
    const closedPort = closed.address().port;
    await new Promise<void>((resolve) => closed.close(resolve));
    const asked: string[] = [];
    const { guest, port } = start({
      hostAliases: { "10.0.2.2": "127.0.0.1" },
      policy: {
        refuse(protocol, address, number) {
          asked.push(`${protocol} ${address} ${number}`);
          return address.startsWith("192.") ? "private addresses are not reachable from here" : null;
        },
      },
    });
    guest.receive(udpFrame(OUTSIDE, 99, Buffer.from("x")));
    guest.receive(udpFrame(RESOLVER, 99, Buffer.from("x")));
    expect(icmpOf(port.frames)).toEqual([
      { type: 3, code: 13, from: GATEWAY },
      { type: 3, code: 3, from: GATEWAY },
    ]);
    guest.receive(udpFrame(GATEWAY, closedPort, Buffer.from("x")));
    await expect.poll(() => icmpOf(port.frames).at(2)).toEqual({ type: 3, code: 3, from: GATEWAY });
    for (const nowhere of ["127.0.0.1", "0.0.0.1", "224.0.0.251", "255.255.255.255", "10.0.2.255", "10.0.2.99"])
      guest.receive(udpFrame(parseAddress(nowhere), 99, Buffer.from("x")));
    guest.receive(udpFrame(GATEWAY, 0, Buffer.from("x")));
    expect(guest.statistics.dropped).toEqual({ "udp.destination": 7 });
    expect(asked).toEqual(["udp 192.0.2.1 99", `udp 127.0.0.1 ${closedPort}`]);
    expect(port.told).toEqual([
      {
        kind: "policy",
        protocol: "udp",
        destination: "192.0.2.1",
        port: 99,
        text: "Cannot send to 192.0.2.1: private addresses are not reachable from here",
      },
    ]);
  });

  it("has a bound on its flows, and ends them when they are idle", async () => {
    const server = await bindUdp();
    const { guest, port } = start({ limits: { udpFlows: 5, udpIdleMs: 300, udpFlowsPerSecond: 1000 } });
    for (let i = 0; i < 20; i++) guest.receive(udpFrame(GATEWAY, server.address().port, Buffer.from("x"), 5000 + i));
    expect(guest.statistics.udpOpen).toBe(5);
    expect(port.told[0]).toMatchObject({ kind: "limit", protocol: "udp" });
    await expect.poll(() => guest.statistics.udpOpen).toBe(0);
  });

  it("comes in from the gateway's address", () => {
    const { guest, port } = start();
    const got: string[] = [];
    const channel = guest.openUdp(7, (data) => got.push(Buffer.from(data).toString()));
    channel.send(Buffer.from("lost: no address yet"));
    guest.receive(arpFrame(GATEWAY));
    port.frames.length = 0;
    channel.send(Buffer.from("hello"));
    const [datagram] = datagramsOf(port.frames);
    expect(datagram).toMatchObject({ destinationPort: 7 });
    guest.receive(udpFrame(GATEWAY, datagram?.sourcePort ?? 0, Buffer.from("answer"), 7));
    guest.receive(udpFrame(GATEWAY, datagram?.sourcePort ?? 0, Buffer.from("from another port"), 8));
    expect(got).toEqual(["answer"]);
    channel.close();
    guest.receive(udpFrame(GATEWAY, datagram?.sourcePort ?? 0, Buffer.from("late"), 7));
    expect(got).toEqual(["answer"]);
  });
});

describe("DNS", () => {
  const ask = async (port: TestPort, guest: EngineGuest, query: Uint8Array): Promise<Uint8Array> => {
    port.frames.length = 0;
    guest.receive(udpFrame(RESOLVER, 53, query));
    await expect.poll(() => port.frames.length).toBe(1);
    const [datagram] = datagramsOf(port.frames);
    expect(datagram).toMatchObject({ sourcePort: 53, destinationPort: 4000 });
    return datagram?.data ?? new Uint8Array(0);
  };

  /** Over UDP up to 512 bytes, and over TCP on the same port. */
  async function nameServer(tamper: (answer: Uint8Array) => Uint8Array[] = (answer) => [answer]): Promise<string> {
    const { port: number } = await serve((socket) => {
      socket.on("data", (chunk: Buffer) => {
        const answer = answerTest(chunk.subarray(2));
        const head = Buffer.alloc(2);
        head.writeUInt16BE(answer.length);
        // In two pieces, as TCP may.
        socket.write(Buffer.concat([head, answer.subarray(0, 20)]));
        setTimeout(() => socket.write(answer.subarray(20)), 5);
      });
    });
    const socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(number, "127.0.0.1", resolve));
    cleanups.push(() => socket.close());
    socket.on("message", (query, from) => {
      for (const answer of tamper(answerTest(query, 512))) socket.send(answer, from.port, from.address);
    });
    return `127.0.0.1:${number}`;
  }

  it("is forwarded with the guest's identifier, whatever is asked", async () => {
    const { guest, port } = start({ resolver: createResolver({ servers: [await nameServer()] }) });
    const query = makeQuery("www.example.test", 1, 0xbeef);
    const answer = await ask(port, guest, query);
    expect(decodeDns(answer)).toMatchObject({ id: 0xbeef, isAnswer: true, rcode: 0 });
    expect([...answer.subarray(-4)]).toEqual([192, 0, 2, 80]);
    expect(decodeDns(await ask(port, guest, makeQuery("nothing.test", 65)))).toMatchObject({ rcode: 3 });
  });

  it("waits for the right answer among forged ones", async () => {
    const server = await nameServer((answer) => {
      const wrongId = Uint8Array.from(answer);
      setU16(wrongId, 0, (getU16(answer, 0) + 1) & 0xffff);
      wrongId.set([6, 6, 6, 6], wrongId.length - 4);
      const wrongName = Uint8Array.from(answer);
      wrongName[13] = 0x78;
      return [wrongId, wrongName, Buffer.from("rubbish"), answer];
    });
    const { guest, port } = start({ resolver: createResolver({ servers: [server] }) });
    expect([...(await ask(port, guest, makeQuery("www.example.test", 1))).subarray(-4)]).toEqual([192, 0, 2, 80]);
  });

  it("fetches what does not fit over TCP; the guest does so too", async () => {
    const server = await nameServer();
    const over = withTcp({ resolver: createResolver({ servers: [server] }) });
    const tcpSend = over.port.send;
    over.port.send = (frame) => void over.port.frames.push(frame);
    const query = makeQuery("big.example.test", 16);
    // 512 bytes are what the guest takes over UDP.
    expect(decodeDns(await ask(over.port, over.guest, query))).toMatchObject({
      isTruncated: true,
      name: "big.example.test",
    });
    // With EDNS it takes the whole, in fragments.
    const edns = Buffer.concat([query, Buffer.of(0, 0, 41, 0x20, 0, 0, 0, 0, 0, 0, 0)]);
    edns[11] = 1;
    over.port.frames.length = 0;
    over.guest.receive(udpFrame(RESOLVER, 53, edns));
    await expect.poll(() => packetsOf(over.port.frames).map(({ ip }) => ip.moreFragments)).toEqual([true, true, false]);
    over.port.send = tcpSend;
    const stream = over.tcp.connect(RESOLVER, 53);
    const head = Buffer.of(0, query.length);
    stream.write(Buffer.concat([head, query, head, makeQuery("www.example.test", 1, 2).subarray(0, 5)]));
    stream.end(makeQuery("www.example.test", 1, 2).subarray(5));
    const all = await readAll(stream);
    const lengths: number[] = [];
    for (let at = 0; at < all.length; at += 2 + all.readUInt16BE(at)) lengths.push(all.readUInt16BE(at));
    expect(lengths.sort((a, b) => a - b)).toEqual([50, 3118]);
  });

  it("tells when nobody answers, and asks the next server first", async () => {
    const silent = await bindUdp();
    const silentServer = `127.0.0.1:${silent.address().port}`;
    const { guest, port } = start({ resolver: createResolver({ servers: [silentServer], timeoutMs: 50 }) });
    expect(decodeDns(await ask(port, guest, makeQuery("www.example.test", 1)))).toMatchObject({
      rcode: 2,
      name: "www.example.test",
    });
    expect(port.told).toMatchObject([{ kind: "unreachable", protocol: "dns", destination: "www.example.test" }]);
    const second = start({ resolver: createResolver({ servers: [silentServer, await nameServer()], timeoutMs: 50 }) });
    expect(decodeDns(await ask(second.port, second.guest, makeQuery("www.example.test", 1)))).toMatchObject({
      rcode: 0,
    });
    const none = start({ resolver: createResolver({ servers: [] }) });
    expect(decodeDns(await ask(none.port, none.guest, makeQuery("www.example.test", 1)))).toMatchObject({ rcode: 2 });
  });

  it("is limited, and answers nonsense with an error or not at all", async () => {
    const { guest, port } = start({ resolver: { ask: () => new Promise(() => {}) }, limits: { dnsPending: 5 } });
    for (let i = 0; i < 8; i++) guest.receive(udpFrame(RESOLVER, 53, makeQuery("www.example.test", 1, i)));
    await expect.poll(() => datagramsOf(port.frames).map(({ data }) => decodeDns(data)?.rcode)).toEqual([5, 5, 5]);
    port.frames.length = 0;
    guest.receive(udpFrame(RESOLVER, 53, Buffer.from("short")));
    guest.receive(udpFrame(RESOLVER, 53, answerTest(makeQuery("www.example.test", 1))));
    guest.receive(udpFrame(RESOLVER, 53, makeQuery("www.example.test", 1).subarray(0, 20)));
    await sleep(20);
    expect(datagramsOf(port.frames).map(({ data }) => decodeDns(data)?.rcode)).toEqual([1]);
  });
});

describe("TCP", () => {
  const syn = (destinationPort: number, more: Partial<Parameters<typeof tcpFrame>[0]> = {}): Uint8Array =>
    tcpFrame({ destinationPort, flags: FLAG.syn, seq: 100, options: encodeSynOptions(1460, 7, true), ...more });

  it("is answered by a reset at once when the policy refuses it", () => {
    const asked: string[] = [];
    const { guest, port } = start({
      policy: {
        refuse(protocol, address, number) {
          asked.push(`${protocol} ${address} ${number}`);
          return "private addresses are not reachable from here";
        },
      },
    });
    guest.receive(syn(22, { destination: OUTSIDE }));
    guest.receive(syn(22));
    expect(segmentsOf(port.frames).map(({ flags, ack, seq }) => [flags, ack, seq])).toEqual(
      Array(2).fill([FLAG.rst | FLAG.ack, 101, 0]),
    );
    expect(asked).toEqual(["tcp 192.0.2.1 22", "tcp 127.0.0.1 22"]);
    expect(port.told[0]).toEqual({
      kind: "policy",
      protocol: "tcp",
      destination: "192.0.2.1",
      port: 22,
      text: "Cannot connect to 192.0.2.1: private addresses are not reachable from here",
    });
    expect(guest.statistics).toMatchObject({ refused: 2, tcpOpen: 0 });
  });

  it("is reset where nobody listens, and where there is no connection", async () => {
    const { port: closed, server } = await serve(() => {});
    await new Promise((resolve) => server.close(resolve));
    const { guest, port } = start();
    guest.receive(arpFrame(GATEWAY));
    port.frames.length = 0;
    guest.receive(syn(closed));
    await expect
      .poll(() => segmentsOf(port.frames).map(({ flags, ack }) => [flags, ack]))
      .toEqual([[FLAG.rst | FLAG.ack, 101]]);
    port.frames.length = 0;
    guest.receive(tcpFrame({ destinationPort: 9, flags: FLAG.ack, seq: 7, ack: 1234 }));
    guest.receive(tcpFrame({ destinationPort: 9, flags: FLAG.rst, seq: 7 }));
    guest.receive(tcpFrame({ destinationPort: 9, flags: FLAG.fin, seq: 7, data: Buffer.from("abc") }));
    guest.receive(syn(80, { destination: RESOLVER }));
    guest.receive(syn(80, { destination: GUEST + 1 }));
    expect(segmentsOf(port.frames).map(({ flags, seq, ack }) => [flags, seq, ack])).toEqual([
      [FLAG.rst, 1234, 0],
      [FLAG.rst | FLAG.ack, 0, 11],
      [FLAG.rst | FLAG.ack, 0, 101],
      [FLAG.rst | FLAG.ack, 0, 101],
    ]);
    guest.receive(syn(80, { destination: parseAddress("127.0.0.1") }));
    expect(guest.statistics.dropped).toEqual({ "tcp.destination": 1 });
    expect(port.told).toEqual([]);
  });

  it("tells that a server does not answer", async () => {
    const { guest, port } = start({ limits: { tcpConnectMs: 200 }, hostAliases: { "192.0.2.1": "255.255.255.255" } });
    guest.receive(syn(80, { destination: OUTSIDE }));
    await expect.poll(() => port.told.length).toBe(1);
    expect(port.told[0]).toMatchObject({ kind: "unreachable", protocol: "tcp", destination: "192.0.2.1", port: 80 });
    expect(icmpOf(port.frames)[0]).toMatchObject({ type: 3 });
    await expect.poll(() => guest.statistics.tcpOpen).toBe(0);
    // A server that never accepts: its queue is full, and the kernel drops all other SYNs.
    const deaf = spawn(process.execPath, [
      "-e",
      `const server = require("net").createServer();
       server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
         require("fs").writeSync(1, server.address().port + "\\n");
         Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
       });`,
    ]);
    cleanups.push(() => deaf.kill("SIGKILL"));
    const number = await new Promise<number>((resolve) => deaf.stdout.once("data", (line) => resolve(Number(line))));
    const silent = start({ limits: { tcpConnectMs: 200 } });
    for (let i = 0; i < 5; i++) silent.guest.receive(syn(number, { sourcePort: 6000 + i }));
    await expect.poll(() => silent.port.told.length).toBeGreaterThan(0);
    expect(silent.port.told[0]).toMatchObject({
      kind: "unreachable",
      text: "Cannot connect to 10.0.2.2: nobody answers",
    });
    expect(icmpOf(silent.port.frames)[0]).toEqual({ type: 3, code: 1, from: GATEWAY });
  });

  it("half-closes in both directions", async () => {
    const { port: number } = await serve((socket) => {
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk;
      });
      socket.on("end", () => setTimeout(() => socket.end(text.toUpperCase()), 30));
    });
    const { tcp, guest } = withTcp();
    const stream = tcp.connect(GATEWAY, number);
    stream.end("hello");
    expect(String(await readAll(stream))).toBe("HELLO");
    const { port: greeter } = await serve((socket) => {
      socket.end("welcome");
      socket.on("data", (chunk) => received.push(String(chunk)));
    });
    const received: string[] = [];
    const other = tcp.connect(GATEWAY, greeter);
    expect(String(await readAll(other))).toBe("welcome");
    other.end("late words");
    await expect.poll(() => received.join("")).toBe("late words");
    await expect.poll(() => guest.statistics.tcpOpen).toBe(0);
    expect(guest.statistics).toMatchObject({ tcpOpened: 2, dropped: {} });
  });

  it("passes resets on in both directions, after what came before them", async () => {
    let ended = "";
    const { port: number } = await serve((socket) => {
      socket.on("error", (error: NodeJS.ErrnoException) => {
        ended = error.code ?? "";
      });
      socket.on("data", () => {});
    });
    const { tcp, guest } = withTcp();
    const stream = tcp.connect(GATEWAY, number);
    stream.write("x");
    await expect.poll(() => guest.statistics.tcpOpened).toBe(1);
    await sleep(20);
    stream.destroy();
    await expect.poll(() => ended).toBe("ECONNRESET");
    const { port: rude } = await serve((socket) => {
      socket.write("last words");
      setTimeout(() => socket.resetAndDestroy(), 50);
    });
    const other = tcp.connect(GATEWAY, rude);
    let heard = "";
    other.on("data", (chunk) => {
      heard += chunk;
    });
    const error = await new Promise<Error>((resolve) => other.on("error", resolve));
    expect(error.message).toContain("has reset it");
    expect(heard).toBe("last words");
    await expect.poll(() => guest.statistics.tcpOpen).toBe(0);
  });

  it("holds back the guest when the server is slow, and the server when the guest is", async () => {
    let slow: Socket | null = null;
    const { port: number } = await serve((socket) => {
      slow = socket;
      socket.pause();
    });
    const { tcp, guest } = withTcp();
    const stream = tcp.connect(GATEWAY, number);
    let sent = 0;
    let done = false;
    const block = Buffer.alloc(64 * 1024, 1);
    const push = (): void => {
      while (sent < 64 * 1024 * 1024) {
        sent += block.length;
        if (!stream.write(block)) {
          stream.once("drain", push);
          return;
        }
      }
      stream.end();
      done = true;
    };
    push();
    // The kernel's buffers of loopback take some MB; the rest waits in the guest.
    await standsStill(() => sent);
    expect(done).toBe(false);
    let got = 0;
    (slow as Socket | null)?.on("data", (chunk: Buffer) => {
      got += chunk.length;
    });
    (slow as Socket | null)?.resume();
    await expect.poll(() => got, { timeout: 30_000 }).toBe(64 * 1024 * 1024);

    let offered = 0;
    const { port: eager } = await serve((socket) => {
      const write = (): void => {
        while (offered < 64 * 1024 * 1024) {
          offered += block.length;
          if (!socket.write(block)) {
            socket.once("drain", write);
            return;
          }
        }
        socket.end();
      };
      write();
    });
    const reader = tcp.connect(GATEWAY, eager);
    reader.pause();
    await standsStill(() => offered);
    expect(offered).toBeLessThan(32 * 1024 * 1024);
    expect((await readAll(reader)).length).toBe(64 * 1024 * 1024);
    reader.end();
    expect(guest.statistics.dropped).toEqual({});
  }, 120_000);

  it("stops reading from servers while the way to the guest is full", async () => {
    let offered = 0;
    const block = Buffer.alloc(64 * 1024, 1);
    const { port: number } = await serve((socket) => {
      const write = (): void => {
        while (offered < 1024 * 1024 * 1024) {
          offered += block.length;
          if (!socket.write(block)) {
            socket.once("drain", write);
            return;
          }
        }
      };
      write();
    });
    const { tcp, port } = withTcp();
    const stream = tcp.connect(GATEWAY, number);
    await expect.poll(() => offered).toBeGreaterThan(0);
    port.queuedBytes = 10 * 1024 * 1024;
    stream.on("data", () => {});
    await sleep(500);
    const [held, came] = [offered, tcp.bytes];
    await sleep(800);
    expect([offered, tcp.bytes]).toEqual([held, came]);
    port.queuedBytes = 0;
    port.drain();
    await expect.poll(() => offered).toBeGreaterThan(held + 20 * 1024 * 1024);
    stream.destroy();
  });

  it("has bounds: connections, and new ones a second", async () => {
    const { port: number } = await serve((socket) => void socket.resume());
    const few = start({ limits: { tcpConnections: 3 } });
    for (let i = 0; i < 10; i++) few.guest.receive(syn(number, { sourcePort: 7000 + i }));
    expect(few.guest.statistics.tcpOpen).toBe(3);
    await expect.poll(() => segmentsOf(few.port.frames).filter(({ flags }) => flags & FLAG.syn).length).toBe(3);
    expect(segmentsOf(few.port.frames).filter(({ flags }) => flags & FLAG.rst).length).toBe(7);
    expect(few.port.told[0]).toMatchObject({ kind: "limit", protocol: "tcp" });
    // A guest that resets its own makes room.
    for (let i = 0; i < 3; i++)
      few.guest.receive(tcpFrame({ destinationPort: number, sourcePort: 7000 + i, flags: FLAG.rst, seq: 101 }));
    await expect.poll(() => few.guest.statistics.tcpOpen).toBe(0);
    const rare = start({ limits: { tcpConnectsPerSecond: 5 } });
    for (let i = 0; i < 100; i++) rare.guest.receive(syn(number, { sourcePort: 7000 + i }));
    expect(rare.guest.statistics.tcpOpen).toBe(10);
    expect(rare.port.told.length).toBeLessThanOrEqual(6);
  });

  it("takes a new connection with the ports of one that is just over", async () => {
    const { port: number } = await serve((socket) => socket.end("bye"));
    const { guest, port } = start();
    let last: ReturnType<typeof segmentsOf>[number] | undefined;
    const until = async (flag: number): Promise<void> => {
      await expect.poll(() => segmentsOf(port.frames).some(({ flags }) => flags & flag)).toBe(true);
      last = segmentsOf(port.frames).find(({ flags }) => flags & flag);
      port.frames.length = 0;
    };
    guest.receive(syn(number));
    await until(FLAG.syn);
    const iss = last?.seq ?? 0;
    guest.receive(tcpFrame({ destinationPort: number, flags: FLAG.ack, seq: 101, ack: (iss + 1) >>> 0 }));
    await until(FLAG.fin);
    guest.receive(tcpFrame({ destinationPort: number, flags: FLAG.ack | FLAG.fin, seq: 101, ack: (iss + 5) >>> 0 }));
    port.frames.length = 0;
    guest.receive(syn(number, { seq: 50 })); // an old duplicate
    await sleep(50);
    expect(segmentsOf(port.frames).some(({ flags }) => flags & FLAG.syn)).toBe(false);
    guest.receive(syn(number, { seq: 5000 }));
    await until(FLAG.syn);
    expect(last?.ack).toBe(5001);
    expect(guest.statistics.tcpOpened).toBe(2);
  });

  it("connects to the guest, which may refuse, be silent, or not be there", async () => {
    const { guest, port, nat } = start();
    await expect(guest.connect(80)).rejects.toThrow("Cannot connect to the guest's port 80: it has no address yet");
    guest.receive(arpFrame(GATEWAY));
    port.frames.length = 0;
    const refused = guest.connect(80);
    const [asked] = segmentsOf(port.frames);
    if (!asked) throw new Error("no SYN");
    expect(asked).toMatchObject({ destinationPort: 80, flags: FLAG.syn, mss: 1460, sackPermitted: true });
    guest.receive(
      tcpFrame({
        sourcePort: 80,
        destinationPort: asked.sourcePort,
        flags: FLAG.rst | FLAG.ack,
        ack: (asked.seq + 1) >>> 0,
      }),
    );
    await expect(refused).rejects.toThrow("Cannot connect to the guest's port 80: it refuses");
    const aborted = new AbortController();
    const waiting = guest.connect(81, aborted.signal);
    aborted.abort();
    await expect(waiting).rejects.toThrow("it was called off");
    await expect(guest.connect(81, aborted.signal)).rejects.toThrow("it was called off");
    const opened = guest.connect(82);
    const second = segmentsOf(port.frames).at(-1);
    if (!second) throw new Error("no SYN");
    const reply = (flags: number, seq: number, data = ""): void =>
      guest.receive(
        tcpFrame({
          sourcePort: 82,
          destinationPort: second.sourcePort,
          flags,
          seq,
          ack: (second.seq + 1) >>> 0,
          data: Buffer.from(data),
        }),
      );
    reply(FLAG.syn | FLAG.ack, 900);
    const stream = await opened;
    reply(FLAG.ack, 901, "from the guest");
    const [chunk] = await new Promise<[Buffer]>((resolve) => stream.once("data", (data) => resolve([data])));
    expect(String(chunk)).toBe("from the guest");
    const error = new Promise<Error>((resolve) => stream.on("error", resolve));
    reply(FLAG.rst, 915);
    expect((await error).message).toContain("has reset it");
    const pending = guest.connect(83);
    await nat.close();
    await expect(pending).rejects.toThrow("it was ended");
    await expect(guest.connect(84)).rejects.toThrow("it has gone");
    await expect.poll(() => guest.statistics.tcpOpen).toBe(0);
  });

  it("does not disturb one guest by another, and ends all when a guest goes", async () => {
    const sockets: Socket[] = [];
    const { port: number } = await serve((socket) => {
      sockets.push(socket);
      socket.on("data", (chunk) => socket.write(chunk));
    });
    const nat = createNat({ policy: ALLOW_ALL, hostAliases: LOOPBACK });
    cleanups.push(() => nat.close());
    const [one, two] = [0, 1].map(() => {
      const port = createPort();
      const guest = nat.attach(port);
      return { guest, tcp: new TcpGuest(guest, port) };
    });
    if (!one || !two) throw new Error("no guests");
    // The same addresses and ports on both.
    const streams = [one, two].map(({ tcp }) => tcp.connect(GATEWAY, number));
    for (const [i, stream] of streams.entries()) {
      stream.write(`guest ${i}`);
      const [echo] = await new Promise<[Buffer]>((resolve) => stream.once("data", (data) => resolve([data])));
      expect(String(echo)).toBe(`guest ${i}`);
    }
    one.guest.close();
    await expect.poll(() => sockets.filter((socket) => socket.destroyed).length).toBe(1);
    expect([one.guest.statistics.tcpOpen, two.guest.statistics.tcpOpen]).toEqual([0, 1]);
    streams[1]?.write("still here");
    const [echo] = await new Promise<[Buffer]>((resolve) => streams[1]?.once("data", (data) => resolve([data])));
    expect(String(echo)).toBe("still here");
    one.tcp.stop();
    two.tcp.stop();
  });
});
