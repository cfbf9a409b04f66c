import { createSocket } from "node:dgram";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { addPseudoHeader, addWords, finishChecksum } from "../../relay/nat/checksum.ts";
import { DHCP_OPTION, DHCP_TYPE, encodeDhcp } from "../../relay/nat/dhcp.ts";
import { createResolver } from "../../relay/nat/dns-resolver.ts";
import { encodeEcho } from "../../relay/nat/icmp.ts";
import { createNat } from "../../relay/nat/nat.ts";
import { encodeSack, encodeSynOptions, FLAG } from "../../relay/nat/tcp-segment.ts";
import { getU16, getU32, setU16 } from "../../relay/nat/words.ts";
import { answerTest, makeQuery } from "./dns-server.ts";
import {
  arpFrame,
  GATEWAY,
  GUEST,
  ipFrame,
  MAC,
  RESOLVER,
  readAll,
  segmentsOf,
  TcpGuest,
  tcpFrame,
  udpFrame,
} from "./frame-guest.ts";
import { collectGarbage } from "./garbage.ts";
import { createPort, LOOPBACK } from "./network.ts";

/** What is in use, after collecting garbage. */
function memory(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const FRAMES = Number(process.env.FUZZ_MESSAGES ?? 100_000);

it(`${FRAMES} random and mutated frames: nothing is thrown, memory stays, another guest is not disturbed`, async () => {
  let state = 12345;
  const random = (n: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const pick = <Item>(items: readonly Item[]): Item => items[random(items.length)] as Item;
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    socket.on("end", () => socket.end());
    socket.on("data", (chunk) => socket.write(chunk));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const number = (server.address() as AddressInfo).port;
  const dns = createSocket("udp4");
  await new Promise<void>((resolve) => dns.bind(0, "127.0.0.1", resolve));
  dns.on("message", (query, from) => {
    try {
      dns.send(answerTest(query), from.port, from.address);
    } catch {
      // It is only a test's server, and the questions are mutated as well.
    }
  });
  const nat = createNat({
    // Nothing leaves this computer.
    policy: { refuse: (_protocol, address) => (address === "127.0.0.1" ? null : "only loopback") },
    hostAliases: LOOPBACK,
    pinger: null,
    resolver: createResolver({ servers: [`127.0.0.1:${dns.address().port}`] }),
    limits: { tcpConnectsPerSecond: 1000, udpFlowsPerSecond: 1000 },
  });
  const port = createPort();
  const guest = nat.attach(port);
  const other = createPort();
  const otherGuest = nat.attach(other);
  const tcp = new TcpGuest(otherGuest, other);

  // What the other guest does meanwhile.
  const message = Buffer.alloc(4 * 1024 * 1024, "undisturbed ");
  const stream = tcp.connect(GATEWAY, number);
  stream.end(message);
  const echoed = readAll(stream);

  /** Numbers that are right for the NAT: the latest segment it has sent to this guest. */
  let seq = 1;
  let ack = 1;
  let guestPort = 4000;
  port.send = (frame) => {
    if (getU16(frame, 12) !== 0x0800 || frame[23] !== 6) return;
    const [segment] = segmentsOf([frame]);
    if (!segment || segment.destinationPort !== guestPort) return;
    ack = (segment.seq + (segment.end - segment.start) + (segment.flags & FLAG.syn ? 1 : 0)) >>> 0;
    seq = segment.ack;
  };
  const bytes = (n: number): Uint8Array => Uint8Array.from({ length: n }, () => random(256));
  const near = (value: number): number =>
    (value + pick([0, 0, 0, 1, -1, random(3000), -random(3000), random(2 ** 31)])) >>> 0;
  const dhcp = (): Uint8Array =>
    encodeDhcp({
      op: 1,
      xid: random(2 ** 32),
      flags: random(2) << 15,
      clientAddress: random(3) ? 0 : GUEST,
      yourAddress: 0,
      hardwareAddress: MAC,
      type: 1 + random(8),
      options: new Map([
        [DHCP_OPTION.type as number, Uint8Array.of(random(4) ? DHCP_TYPE.request : random(10))],
        [random(255), bytes(random(20))],
      ]),
    });
  const seeds: (() => Uint8Array)[] = [
    () => bytes(random(120)),
    () => arpFrame(pick([GATEWAY, RESOLVER, random(2 ** 32)]), GUEST, random(4)),
    () => udpFrame(0xffffffff, 67, dhcp(), 68, { source: random(2) ? 0 : GUEST }),
    () =>
      udpFrame(
        RESOLVER,
        53,
        makeQuery("www.example.test", pick([1, 16, 28, random(65536)]), random(65536)),
        1 + random(65535),
      ),
    () =>
      udpFrame(pick([GATEWAY, random(2 ** 32)]), pick([number, random(65536)]), bytes(random(200)), 5000 + random(300)),
    () =>
      ipFrame(
        { protocol: 1, destination: pick([GATEWAY, RESOLVER, random(2 ** 32)]) },
        encodeEcho(8, { id: 1, sequence: 2, data: bytes(random(100)) }),
      ),
    () =>
      ipFrame(
        { protocol: 17, id: random(30), fragmentOffset: 8 * random(300), moreFragments: random(3) > 0 },
        bytes(8 * random(100)),
      ),
    () => ipFrame({ protocol: random(256), ttl: random(4), destination: random(2 ** 32) }, bytes(random(60))),
    () => {
      guestPort = 4000 + random(300);
      return tcpFrame({
        destinationPort: number,
        sourcePort: guestPort,
        flags: FLAG.syn,
        seq: random(2 ** 32),
        options: encodeSynOptions(random(3000), pick([null, random(20)]), random(2) === 0),
      });
    },
    ...Array.from(
      { length: 6 },
      () => () =>
        tcpFrame({
          destinationPort: pick([number, number, number, 53]),
          sourcePort: guestPort,
          flags: random(6) ? FLAG.ack | (random(8) ? 0 : FLAG.fin) : random(64),
          seq: near(seq),
          ack: near(ack),
          window: pick([65535, 0, 1, random(65536)]),
          data: bytes(random(4) ? random(300) : 1460),
          options: random(4) ? null : encodeSack([near(ack), near(ack), near(ack), near(ack)]),
        }),
    ),
  ];
  /** Makes the checksums right, so that what was changed is also looked at. */
  const mend = (frame: Uint8Array): void => {
    if (frame.length < 34 || getU16(frame, 12) !== 0x0800) return;
    const headerEnd = Math.min(14 + ((frame[14] as number) & 15) * 4, frame.length);
    setU16(frame, 24, 0);
    setU16(frame, 24, finishChecksum(addWords(frame, 14, headerEnd)));
    const length = frame.length - headerEnd;
    const at =
      frame[23] === 6 ? headerEnd + 16 : frame[23] === 17 ? headerEnd + 6 : frame[23] === 1 ? headerEnd + 2 : 0;
    if (at === 0 || at + 2 > frame.length) return;
    setU16(frame, at, 0);
    const pseudo =
      frame[23] === 1 ? 0 : addPseudoHeader(getU32(frame, 26), getU32(frame, 30), frame[23] as number, length);
    setU16(frame, at, finishChecksum(addWords(frame, headerEnd, frame.length, pseudo)));
  };

  const before = memory();
  for (let i = 0; i < FRAMES; i++) {
    let frame: Uint8Array = Uint8Array.from(pick(seeds)());
    if (random(3) === 0 && frame.length > 0) {
      for (let changes = 1 + random(4); changes > 0; changes--) frame[random(frame.length)] = random(256);
      if (random(6) === 0) frame = frame.slice(0, random(frame.length + 1));
      if (random(6) === 0) frame = Uint8Array.from([...frame, ...bytes(random(40))]);
      if (random(3) > 0) mend(frame);
    }
    guest.receive(random(2) ? frame : Buffer.from(frame));
    // The bytes are the caller's again.
    frame.fill(0xee);
    if (i % 200 === 0) await sleep(0);
  }
  expect(guest.statistics.dropped.internal ?? 0).toBe(0);
  expect(Object.keys(guest.statistics.dropped).length).toBeGreaterThan(15);
  expect(guest.statistics.tcpOpened).toBeGreaterThan(100);
  expect(guest.statistics.tcpOpen).toBeLessThanOrEqual(256);
  expect(guest.statistics.udpOpen).toBeLessThanOrEqual(128);
  expect((await echoed).equals(message)).toBe(true);
  expect(otherGuest.statistics.dropped).toEqual({});
  expect(otherGuest.statistics.refused).toBe(0);
  // Its connections' buffers are what it may have.
  const grown = memory() - before;
  console.log(
    `grown by ${(grown / 1e6).toFixed(0)} MB, ${guest.statistics.tcpOpened} connections, dropped`,
    guest.statistics.dropped,
  );
  expect(grown).toBeLessThan(64e6);
  // It still works, and then leaves nothing behind.
  const frames: Uint8Array[] = [];
  port.send = (frame) => void frames.push(frame);
  guest.receive(arpFrame(GATEWAY));
  expect(frames.length).toBe(1);
  guest.close();
  await expect.poll(() => [guest.statistics.tcpOpen, guest.statistics.udpOpen]).toEqual([0, 0]);
  frames.length = 0;
  expect(memory() - before).toBeLessThan(16e6);
  tcp.stop();
  await nat.close();
  await expect.poll(() => sockets.size).toBe(0);
  server.close();
  dns.close();
}, 1_200_000);
