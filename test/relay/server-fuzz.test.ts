/** Random and mutated messages by the hundred thousand: nothing crashes, nothing grows, others notice nothing. */
import { connect, createServer } from "node:net";
import { afterAll, describe, expect, it } from "vitest";
import { createNat } from "../../relay/nat/nat.ts";
import { mulberry } from "./chance.ts";
import { collectGarbage } from "./garbage.ts";
import {
  arp,
  BROADCAST,
  Client,
  dhcp,
  frame,
  GATEWAY_MAC,
  listen,
  mac,
  type Of,
  pause,
  SUBNET,
  testRelay,
  textOf,
  udp,
  until,
} from "./guests.ts";

const MESSAGES = Number(process.env.FUZZ_MESSAGES ?? 100_000);
const CLIENTS = 4;

/** The same sequence each time, so that a failure can be found again. */
function randomFrom(seed: number): (below: number) => number {
  const chance = mulberry(seed);
  return (below) => Math.floor(chance() * below);
}

const FRAMES: Buffer[] = [
  arp(1, mac(1), "10.0.2.15", BROADCAST, "10.0.2.2"),
  arp(2, mac(1), "10.0.2.15", mac(2), "10.0.2.16"),
  dhcp(mac(1)),
  udp(
    GATEWAY_MAC,
    mac(1),
    "10.0.2.15",
    5000,
    "10.0.2.3",
    53,
    Buffer.from("0001010000010000000000000161016200000100 01", "hex"),
  ),
  udp(GATEWAY_MAC, mac(1), "10.0.2.15", 5000, "8.8.8.8", 9, Buffer.from("hello")),
  udp(mac(2), mac(1), "10.0.2.15", 5000, "10.0.2.16", 9, Buffer.from("hello")),
  frame(BROADCAST, mac(1), "to all"),
  frame(mac(2), mac(1), "x".repeat(1500)),
  Buffer.concat([
    frame([0x33, 0x33, 0, 0, 0, 1], mac(1), "", 0x86dd),
    Buffer.from("6000000000183aff", "hex"),
    Buffer.alloc(56),
  ]),
];
const CONTROLS = [
  { type: "ping", id: 1 },
  { type: "statistics", id: 2 },
  { type: "forward", id: 3, kind: "http", port: 80 },
  { type: "forward", id: 4, kind: "tcp", port: 80 },
  { type: "unforward", id: 5, forward: "x" },
  { type: "join", id: 6, room: "fuzz", secret: "12345678" },
  { type: "leave", id: 7 },
].map((message) => JSON.stringify(message));
const ODD = [
  "null",
  "1e999",
  "-1",
  '"\\ud800"',
  "[]",
  "{}",
  "true",
  '"__proto__"',
  '"constructor"',
  "9007199254740993",
];

function mutate(random: (below: number) => number, seed: Buffer): Buffer {
  const bytes = Buffer.from(seed);
  for (let changes = random(4); changes > 0; changes--) bytes[random(bytes.length)] = random(256);
  const kind = random(12);
  if (kind === 0) return bytes.subarray(0, random(bytes.length + 1));
  if (kind === 1) return Buffer.concat([bytes, Buffer.alloc(random(1600))]).subarray(0, 2048);
  if (kind === 2) return Buffer.from(Array.from({ length: random(200) }, () => random(256)));
  return bytes;
}

function mutateText(random: (below: number) => number, seed: string): string {
  const kind = random(4);
  if (kind === 0) return seed;
  if (kind === 1)
    return seed.replace(/:("[^"]*"|\d+)/g, (value) => (random(2) ? `:${ODD[random(ODD.length)]}` : value));
  const at = random(seed.length);
  const junk = kind === 2 ? String.fromCharCode(random(0xd800)) : "[".repeat(random(1500));
  return seed.slice(0, at) + junk + seed.slice(at + random(3));
}

describe("the relay under random messages", () => {
  const nat = createNat({
    policy: { refuse: () => "nothing is reachable in this test" },
    subnet: SUBNET,
    pinger: null,
  });
  afterAll(() => nat.close());

  it(`lives through ${MESSAGES}, without growing, and others work meanwhile`, async () => {
    const relay = await testRelay(["--messages-per-second", "10000"], { engine: nat });
    const [one, two] = [await Client.open(relay.url), await Client.open(relay.url)];
    for (const client of [one, two]) await client.ask({ type: "join", room: "calm", secret: "12345678" });
    const stormy = await Promise.all(Array.from({ length: CLIENTS }, () => Client.open(relay.url)));
    for (const client of stormy) await client.ask({ type: "join", room: "fuzz", secret: "12345678" });

    const waits: number[] = [];
    let isOver = false;
    const bystander = (async () => {
      for (let i = 0; !isOver; i++) {
        const begin = Date.now();
        one.send(frame(BROADCAST, mac(101), `calm ${i}`));
        await two.frame((bytes) => textOf(bytes) === `calm ${i}`);
        one.send(arp(1, mac(101), "10.0.2.15", BROADCAST, "10.0.2.2"));
        await one.frame((bytes) => bytes.readUInt16BE(12) === 0x0806);
        waits.push(Date.now() - begin);
        for (const client of [one, two]) client.frames.length = 0;
        await pause(20);
      }
    })();

    const flood = async (client: Client, seed: number, count: number): Promise<void> => {
      const random = randomFrom(seed);
      for (let i = 0; i < count; i++) {
        if (random(5) === 0)
          client.websocket.send(mutateText(random, CONTROLS[random(CONTROLS.length)] as string).slice(0, 600));
        else client.send(mutate(random, FRAMES[random(FRAMES.length)] as Buffer));
        if (i % 200 === 199) {
          client.frames.length = 0;
          client.messages.length = 0;
          // The bystander's turn comes by the event loop, which all share here.
          await new Promise((resolve) => setImmediate(resolve));
          while (client.websocket.bufferedAmount > 256 * 1024) await pause(1);
        }
      }
      client.messages.length = 0;
      await client.settle();
    };
    const memory = (): number => {
      collectGarbage();
      const { heapUsed, external } = process.memoryUsage();
      return (heapUsed + external) / 1024 / 1024;
    };
    const storm = async (seed: number, messages: number): Promise<void> => {
      await Promise.all(stormy.map((client, i) => flood(client, seed + i, messages / CLIENTS)));
      for (const client of stormy) client.frames.length = client.messages.length = 0;
      await pause(50);
    };
    await storm(1, MESSAGES * 0.3);
    const before = memory();
    await storm(100, MESSAGES * 0.7);
    const after = memory();
    isOver = true;
    await bystander;

    expect(stormy.every(({ websocket }) => websocket.readyState === websocket.OPEN)).toBe(true);
    expect(relay.totals.framesIn + relay.totals.controlMessages).toBeGreaterThan(MESSAGES);
    expect(Object.keys(relay.totals.dropped).length).toBeLessThan(40);
    expect(relay.totals.dropped["control.broken"]).toBeGreaterThan(100);
    expect(after - before).toBeLessThan(16);
    expect(waits.length).toBeGreaterThan(5);
    expect(waits.sort((a, b) => a - b)[Math.floor(waits.length / 2)]).toBeLessThan(500);
    const { statistics } = (await one.ask({ type: "statistics" })) as unknown as {
      statistics: { engine: { dropped: object } };
    };
    expect(statistics.engine.dropped).not.toHaveProperty("internal");

    for (const client of stormy) client.close();
    await until(() => relay.guests === 2, "the stormy ones go");
    const text = await (await fetch(`http://127.0.0.1:${relay.port}/metrics`)).text();
    expect(text).toContain('smartos_relay_forwards{kind="http"} 0');
    expect(text).toContain("smartos_relay_rooms 1");
    await relay.close();
  }, 1_200_000);

  it("lives through connections that break the rules of HTTP and websockets", async () => {
    const relay = await testRelay([], { engine: nat });
    const random = randomFrom(7);
    const hello = (extra = ""): string =>
      `GET /relay HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n${extra}` +
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    const attack = (bytes: Buffer): Promise<void> =>
      new Promise((resolve) => {
        const socket = connect(relay.port, "127.0.0.1", () => socket.write(bytes));
        socket.on("error", () => {});
        socket.on("data", () => {});
        socket.on("close", () => resolve());
        setTimeout(() => socket.destroy(), 100);
      });
    const junk = (length: number): Buffer => Buffer.from(Array.from({ length: random(length) }, () => random(256)));
    for (let round = 0; round < 10; round++)
      await Promise.all(
        Array.from({ length: 30 }, (_, i) => {
          const protocol = random(2) ? "Sec-WebSocket-Protocol: smart-os-relay.1\r\n" : "";
          const handshake = Buffer.from(hello(protocol));
          if (i % 3 === 0) return attack(mutate(random, handshake));
          if (i % 3 === 1) return attack(Buffer.concat([handshake, junk(3000)]));
          // Masked frames with random headers: lengths of all sizes, reserved bits, fragments.
          const frames = Array.from({ length: 20 }, () =>
            Buffer.concat([Buffer.from([random(256), 128 | random(128)]), junk(140)]),
          );
          return attack(Buffer.concat([handshake, ...frames]));
        }),
      );
    await until(() => relay.guests === 0 || relay.guests < 60, "most have gone");
    const client = await Client.open(relay.url);
    await client.settle();
    expect((await fetch(`http://127.0.0.1:${relay.port}/healthz`)).status).toBe(200);
    await relay.close();
  });

  it("lives through guests that answer visitors with nonsense", async () => {
    const random = randomFrom(9);
    const answers = [
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a=1; Domain=x\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
      "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 No\r\n\r\nhello",
      "HTTP/1.1 204 \r\nConnection: close, x\r\nX: y\r\n\r\n",
    ].map((text) => Buffer.from(text));
    const odd = ["099 x", "000 x", "999 x", "200 \x7f", "200 \t\xff", "1000 x"];
    const guest = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => {
        if (random(4) === 0) socket.end(`HTTP/1.1 ${odd[random(odd.length)]}\r\nContent-Length: 0\r\n\r\n`, "latin1");
        else socket.end(mutate(random, answers[random(answers.length)] as Buffer));
      });
    });
    const port = await listen(guest);
    const relay = await testRelay();
    const client = await Client.open(relay.url);
    const { forward } = await client.ask<Of<"forward">>({ type: "forward", kind: "http", port });
    const { host } = new URL(forward.address);
    const requests = [
      "",
      "Connection: Upgrade\r\nUpgrade: websocket\r\n",
      "Transfer-Encoding: chunked\r\n",
      "Expect: 100-continue\r\nContent-Length: 5\r\n",
      "X: \xff\xfe\r\nConnection: host\r\n",
    ];
    let answered = 0;
    const visit = (): Promise<void> =>
      new Promise((resolve) => {
        const socket = connect(relay.port, "127.0.0.1", () => {
          const path = random(3) ? "/" : String.fromCharCode(47, 33 + random(223), 33 + random(223));
          const method = ["GET", "POST", "HEAD", "OPTIONS"][random(4)];
          const request = `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${requests[random(requests.length)]}\r\n5\r\nhello\r\n0\r\n\r\n`;
          socket.write(request, "latin1");
        });
        socket.once("data", () => answered++);
        socket.on("error", () => {});
        socket.on("close", () => resolve());
        setTimeout(() => socket.destroy(), 100);
      });
    // A busy machine answers fewer in their time.
    for (let round = 0; round < 15 || (answered <= 300 && round < 100); round++)
      await Promise.all(Array.from({ length: 40 }, visit));
    expect(answered).toBeGreaterThan(300);
    await client.settle();
    await relay.close();
    guest.close();
  });
});
