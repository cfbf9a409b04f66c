import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { examine, gatewayOf, MacTable, type Verdict } from "../../relay/ethernet-switch.ts";
import { createNat } from "../../relay/nat/nat.ts";
import type { RelayLimits } from "../../relay/options.ts";
import { createPolicy } from "../../relay/policy.ts";
import { createLocalBus, createRedisBus, type RoomBus } from "../../relay/room-bus.ts";
import { addressOf, roomKey } from "../../relay/rooms.ts";
import { findProgram } from "../../tools/setup.mjs";
import {
  arp,
  BROADCAST,
  Client,
  type ClientOptions,
  dhcp,
  frame,
  GATEWAY_MAC,
  mac,
  type Of,
  pause,
  SUBNET,
  type TestRelay,
  testRelay,
  textOf,
  udp,
  until,
} from "./guests.ts";

const relays: TestRelay[] = [];
afterEach(async () => {
  await Promise.all(relays.splice(0).map((relay) => relay.close()));
});

/** With the real engine: what it answers must be private to each guest. */
async function start(limits: Partial<RelayLimits> = {}, bus?: RoomBus): Promise<TestRelay> {
  const engine = createNat({ policy: createPolicy(), subnet: SUBNET });
  const relay = await testRelay([], { engine, limits, ...(bus && { bus }), roomLimits: { floodsPerSecond: 50 } });
  relays.push(relay);
  return relay;
}

const SECRET = "12345678";
const enter = (client: Client, room = "desk", secret = SECRET): Promise<Of<"room">> =>
  client.ask({ type: "join", room, secret });

async function member(relay: TestRelay, room = "desk"): Promise<Client> {
  const client = await Client.open(relay.url);
  await enter(client, room);
  return client;
}

/** The address that DHCP offers. */
async function offered(client: Client, from: number[]): Promise<string> {
  client.frames.length = 0;
  client.send(dhcp(from));
  const offer = await client.frame((bytes) => bytes.readUInt16BE(12) === 0x0800 && bytes.length > 100);
  return offer.subarray(14 + 28 + 16, 14 + 28 + 20).join(".");
}

const EXPERIMENT = 0x88b5;
const heard = (client: Client): string[] =>
  client.frames.filter((bytes) => bytes.readUInt16BE(12) === EXPERIMENT).map(textOf);

describe("what a room does with a frame", () => {
  const gateway = gatewayOf(SUBNET);
  const A = mac(1);
  const B = mac(2);
  const ipv6 = (next: number, ...rest: number[]): Buffer =>
    Buffer.concat([
      frame(B, A, "", 0x86dd),
      Buffer.from([0x60, 0, 0, 0, 0, 0, next, 255]),
      Buffer.alloc(32),
      Buffer.from(rest),
    ]);

  it.each<[string, Buffer, Verdict]>([
    ["nothing", Buffer.alloc(0), "room.short"],
    ["13 bytes", Buffer.alloc(13), "room.short"],
    ["a header alone", frame(B, A), "room"],
    ["to all", frame(BROADCAST, A), "both"],
    ["to a group", frame([1, 0, 0x5e, 0, 0, 251], A), "both"],
    ["to the gateway", frame(GATEWAY_MAC, A), "gateway"],
    ["from the gateway's address", frame(B, GATEWAY_MAC), "room.gateway"],
    ["from the gateway to itself", frame(GATEWAY_MAC, GATEWAY_MAC), "room.gateway"],
    ["from a group", frame(B, BROADCAST), "room.source"],
    ["to a bridge", frame([1, 0x80, 0xc2, 0, 0, 0], A), "room.reserved"],
    ["to a bridge, the last address", frame([1, 0x80, 0xc2, 0, 0, 0x0f], A), "room.reserved"],
    ["behind a bridge's addresses", frame([1, 0x80, 0xc2, 0, 0, 0x10], A), "both"],
    ["with a VLAN tag", frame(B, A, "", 0x8100), "room.vlan"],
    ["with a service VLAN tag", frame(B, A, "", 0x88a8), "room.vlan"],
    ["IPX", frame(BROADCAST, A, "", 0x8137), "both"],
    ["802.3 with a length", frame(BROADCAST, A, "", 100), "both"],
    ["ARP that is cut off", frame(BROADCAST, A, "x".repeat(27), 0x0806), "room.arp"],
    ["ARP for a neighbour", arp(1, A, "10.0.2.15", BROADCAST, "10.0.2.16"), "both"],
    ["ARP for the gateway", arp(1, A, "10.0.2.15", BROADCAST, "10.0.2.2"), "gateway"],
    ["ARP for the resolver", arp(1, A, "10.0.2.15", BROADCAST, "10.0.2.3"), "gateway"],
    ["an ARP answer", arp(2, A, "10.0.2.15", B, "10.0.2.16"), "room"],
    ["an ARP answer in the gateway's name", arp(2, A, "10.0.2.2", B, "10.0.2.16"), "room.gateway"],
    ["ARP that announces the resolver", arp(1, A, "10.0.2.3", BROADCAST, "10.0.2.3"), "room.gateway"],
    [
      "ARP with another sender than its frame",
      Buffer.concat([frame(B, A, "", 0x0806), arp(2, B, "10.0.2.9", B, "10.0.2.16").subarray(14)]),
      "room.arp",
    ],
    ["IPv4 that is cut off", frame(B, A, "x".repeat(19), 0x0800), "room.ipv4"],
    ["IPv4", udp(B, A, "10.0.2.15", 1, "10.0.2.16", 2, Buffer.alloc(4)), "room"],
    ["IPv4 in the gateway's name", udp(B, A, "10.0.2.2", 1, "10.0.2.16", 2, Buffer.alloc(4)), "room.gateway"],
    ["a DHCP question", dhcp(A), "gateway"],
    ["a DHCP answer", udp(B, A, "10.0.2.15", 67, "10.0.2.16", 68, Buffer.alloc(300)), "room.dhcp"],
    ["UDP without ports", udp(B, A, "10.0.2.15", 67, "10.0.2.16", 68, Buffer.alloc(0)).subarray(0, 37), "room.ipv4"],
    ["IPv6 that is cut off", frame(B, A, "x".repeat(39), 0x86dd), "room.ipv6"],
    ["IPv6 TCP", ipv6(6, 0, 0), "room"],
    ["IPv6 neighbour discovery", ipv6(58, 135), "room"],
    ["an IPv6 router advertisement", ipv6(58, 134), "room.router"],
    ["ICMPv6 without a type", ipv6(58), "room.router"],
    ["an advertisement behind options", ipv6(0, 58, 0, 0, 0, 0, 0, 0, 0, 134), "room.router"],
    ["an advertisement behind two", ipv6(60, 43, 0, 0, 0, 0, 0, 0, 0, 58, 0, 0, 0, 0, 0, 0, 0, 134), "room.router"],
    ["options that are cut off", ipv6(0, 58, 0, 0, 0), "room.ipv6"],
    ["an endless chain of options", ipv6(0, ...new Array(9 * 8).fill(0)), "room.ipv6"],
    ["ICMPv6 in fragments", ipv6(44, 58, 0, 0, 0, 0, 0, 0, 0), "room.ipv6"],
    ["options in fragments", ipv6(44, 60, 0, 0, 0, 0, 0, 0, 0), "room.ipv6"],
    ["UDP in fragments", ipv6(44, 17, 0, 0, 0, 0, 0, 0, 0), "room"],
    ["a DHCPv6 answer", ipv6(17, 2, 35, 2, 34), "room.dhcp"],
  ])("%s", (_name, bytes, verdict) => {
    expect(examine(bytes, gateway)).toBe(verdict);
  });

  it("learns where stations are, so many of each guest, and forgets them", () => {
    let now = 0;
    const table = new MacTable<string>(
      () => 2,
      () => now,
    );
    expect(table.learn(1, "a")).toBeNull();
    expect(table.learn(1, "b")).toBe("room.mac-taken");
    expect(table.find(1)).toBe("a");
    expect(table.learn(2, "a")).toBeNull();
    expect(table.learn(3, "a")).toBe("room.mac-limit");
    expect(table.learn(3, "b")).toBeNull();
    now = 299_999;
    expect(table.learn(2, "a")).toBeNull();
    expect(table.learn(1, "b")).toBe("room.mac-taken");
    now = 300_000;
    // The first has been silent for five minutes, the second has not.
    expect(table.learn(4, "a")).toBeNull();
    expect(table.find(1)).toBeUndefined();
    expect(table.learn(1, "b")).toBeNull();
    expect(table.forget("a").sort()).toEqual([2, 4]);
    expect(table.find(2)).toBeUndefined();
    expect(table.learn(2, "b")).toBeNull();
    expect(table.find(3)).toBeUndefined();
    expect(table.learn(5, "b")).toBe("room.mac-limit");
  });

  it("counts addresses from the guest's on, and leaves out the gateway's", () => {
    const addresses = Array.from({ length: 252 }, (_, slot) => addressOf(SUBNET, slot));
    expect(addresses.slice(0, 2)).toEqual(["10.0.2.15", "10.0.2.16"]);
    expect(addresses[239]).toBe("10.0.2.254");
    expect(addresses[240]).toBe("10.0.2.1");
    expect(addresses[241]).toBe("10.0.2.4");
    expect(new Set(addresses).size).toBe(252);
    expect(() => addressOf(SUBNET, 252)).toThrow("has no address left");
  });

  it("knows rooms by name and secret together", () => {
    expect(roomKey("a", "bc345678")).not.toBe(roomKey("ab", "c345678"));
    expect(roomKey("Zoé", SECRET)).toBe(roomKey("Zoe\u0301", SECRET));
    expect(roomKey("a", SECRET)).toMatch(/^[\w-]{43}$/);
  });
});

describe("a room", () => {
  it("gives each guest an address of its own, and its own gateway", async () => {
    const relay = await start();
    const [a, b, outside] = (await Promise.all([1, 2, 3].map(() => Client.open(relay.url)))) as [
      Client,
      Client,
      Client,
    ];
    expect(await enter(a)).toMatchObject({ room: { name: "desk", members: 1 }, renew: false });
    expect(await enter(b)).toMatchObject({ room: { name: "desk", members: 2 }, renew: true });
    expect(await a.message("room", ({ id, room }) => id === null && room?.members === 2)).toMatchObject({
      renew: false,
    });
    expect(await offered(a, mac(1))).toBe("10.0.2.15");
    expect(await offered(b, mac(2))).toBe("10.0.2.16");
    expect(await offered(outside, mac(3))).toBe("10.0.2.15");

    a.frames.length = 0;
    b.frames.length = 0;
    a.send(arp(1, mac(1), "10.0.2.15", BROADCAST, "10.0.2.2"));
    const answer = await a.frame();
    expect([...answer.subarray(6, 12)]).toEqual(GATEWAY_MAC);
    await pause(50);
    expect(a.frames.length).toBe(1);
    expect(b.frames).toEqual([]);

    // Leaving gives the usual address back.
    expect(await b.ask({ type: "leave" })).toMatchObject({ room: null, renew: true });
    expect(await offered(b, mac(2))).toBe("10.0.2.15");
    expect(await a.message("room", ({ id, room }) => id === null && room?.members === 1)).toBeTruthy();
  });

  it("is a switch: to all, to unknown stations, then to the one that is meant", async () => {
    const relay = await start();
    const clients = await Promise.all([1, 2, 3].map(() => member(relay)));
    const [a, b, c] = clients as [Client, Client, Client];
    const other = await member(relay, "elsewhere");
    const wrong = await Client.open(relay.url);
    await enter(wrong, "desk", "87654321");
    const outside = await Client.open(relay.url);
    a.send(frame(BROADCAST, mac(1), "to all"));
    await Promise.all([b, c].map((client) => client.frame((bytes) => textOf(bytes) === "to all")));
    a.send(frame(mac(3), mac(1), "to c, unknown"));
    await Promise.all([b, c].map((client) => client.frame((bytes) => textOf(bytes) === "to c, unknown")));
    c.send(frame(mac(1), mac(3), "to a"));
    await a.frame((bytes) => textOf(bytes) === "to a");
    a.send(frame(mac(3), mac(1), "to c"));
    await c.frame((bytes) => textOf(bytes) === "to c");
    a.send(frame(mac(1), mac(1), "to itself"));
    await a.settle();
    await b.settle();
    expect(heard(a)).toEqual(["to a"]);
    expect(heard(b)).toEqual(["to all", "to c, unknown"]);
    expect(heard(c)).toEqual(["to all", "to c, unknown", "to c"]);
    for (const stranger of [other, wrong, outside]) expect(heard(stranger)).toEqual([]);
    // Those that are in no room, or in another, reach no one here either.
    outside.send(frame(BROADCAST, mac(9), "from outside"));
    other.send(frame(BROADCAST, mac(8), "from elsewhere"));
    await Promise.all([outside, other].map((client) => client.settle()));
    await pause(50);
    for (const client of clients) expect(heard(client).join()).not.toContain("from");
  });

  it("does not let a guest be the gateway, or another guest's station", async () => {
    const relay = await start();
    const [a, b] = (await Promise.all([1, 2].map(() => member(relay)))) as [Client, Client];
    b.send(frame(BROADCAST, mac(2), "b is here"));
    await a.frame();
    a.frames.length = 0;
    b.frames.length = 0;
    a.send(frame(BROADCAST, GATEWAY_MAC, "as the gateway"));
    a.send(arp(2, mac(1), "10.0.2.2", mac(2), "10.0.2.16"));
    a.send(udp(mac(2), mac(1), "10.0.2.15", 67, "10.0.2.16", 68, Buffer.alloc(300)));
    a.send(frame(BROADCAST, mac(2), "as b"));
    a.send(frame(mac(2), mac(1), "as itself"));
    await b.frame((bytes) => textOf(bytes) === "as itself");
    expect(b.frames.length).toBe(1);
    const { statistics } = await a.ask<Of<"statistics">>({ type: "statistics" });
    expect(statistics.dropped).toMatchObject({ "room.gateway": 2, "room.dhcp": 1, "room.mac-taken": 1 });
  });

  it("limits what a guest sends to all, and the stations behind it", async () => {
    const relay = await start();
    const [a, b] = (await Promise.all([1, 2].map(() => member(relay)))) as [Client, Client];
    for (let i = 0; i < 1000; i++) a.send(frame(BROADCAST, mac(1), `${i}`));
    b.send(frame(BROADCAST, mac(2), "b still speaks"));
    await a.frame((bytes) => textOf(bytes) === "b still speaks");
    a.send(frame(mac(2), mac(1), "to b alone"));
    await b.frame((bytes) => textOf(bytes) === "to b alone");
    expect(heard(b).length).toBeGreaterThan(90);
    expect(heard(b).length).toBeLessThan(300);
    for (let i = 10; i < 30; i++) a.send(frame(mac(2), mac(i), `station ${i}`));
    await a.settle();
    await b.frame((bytes) => textOf(bytes) === "station 16");
    expect(heard(b).filter((text) => text.startsWith("station")).length).toBe(7);
    const { statistics } = await a.ask<Of<"statistics">>({ type: "statistics" });
    expect(statistics.dropped["room.mac-limit"]).toBe(13);
  });

  it("is full at some point, and has place again when someone goes", async () => {
    const relay = await start({ roomMembers: 2 });
    const [a] = (await Promise.all([1, 2].map(() => member(relay)))) as [Client, Client];
    const late = await Client.open(relay.url);
    await expect(enter(late)).rejects.toThrow("Cannot join the room: it is full, 2 guests are the most");
    a.close();
    await until(() => relay.guests === 2, "one goes");
    expect((await enter(late)).room?.members).toBe(2);
  });

  it("is joined before the first frame is read, however long that takes and whatever else its address sends", async () => {
    const local = createLocalBus();
    const slow: RoomBus = {
      ...local,
      open(key, listener) {
        const line = local.open(key, listener);
        // As long as a Redis that is far away.
        return { ...line, enter: (most) => pause(600).then(() => line.enter(most)) };
      },
    };
    const relay = await start({ addressBytesPerSecond: 10_000 }, slow);
    const open = (): Promise<Client> => Client.open(`${relay.url}?room=desk&secret=${SECRET}`);
    const a = await open();
    await a.message("room");
    // More than there is for a second: its address is read again after 0.2 s.
    for (let i = 0; i < 8; i++) a.send(frame(mac(1), mac(1), "x".repeat(1486)));
    await a.settle();
    const b = await open();
    b.send(frame(BROADCAST, mac(2), "first words"));
    await a.frame((bytes) => textOf(bytes) === "first words");
  });

  it("can be named in the address, for clients that know nothing of rooms", async () => {
    const relay = await start();
    const open = (query: string, options: ClientOptions = { control: false }) =>
      Client.open(`${relay.url}?${query}`, options);
    const a = await open(`room=desk&secret=${SECRET}`);
    const b = await open(`room=desk&secret=${SECRET}`, {});
    // Sent before the relay has joined it: the frame waits.
    a.send(frame(BROADCAST, mac(1), "hello"));
    expect((await b.message("room", ({ renew }) => renew)).room?.members).toBe(2);
    a.send(frame(BROADCAST, mac(1), "hello again"));
    await b.frame((bytes) => textOf(bytes) === "hello again");
    expect(await open("room=desk&secret=short").catch((error: Error) => error.message)).toMatch(
      /^400 .*8 to 256 characters/,
    );
    expect((await (await open("room=desk", {})).closed).reason).toContain("8 to 256 characters");
  });

  it("moves a guest to another room, and forwards stay", async () => {
    const relay = await start();
    const [a, b] = (await Promise.all([1, 2].map(() => member(relay)))) as [Client, Client];
    const { forward } = await b.ask<Of<"forward">>({ type: "forward", kind: "http", port: 80 });
    const joining = [enter(b, "other"), enter(b, "third").catch((error: Error) => error.message)];
    const [moved, refused] = await Promise.all(joining);
    expect(moved).toMatchObject({ room: { name: "other", members: 1 }, renew: true });
    expect(refused).toBe("Cannot join the room: another is being joined");
    a.send(frame(BROADCAST, mac(1), "for the desk"));
    await a.settle();
    await b.settle();
    expect(heard(b)).toEqual([]);
    expect(await b.ask({ type: "forward", kind: "http", port: 80 })).toMatchObject({ forward });
  });
});

describe("a room over several relays", () => {
  let redis: Redis;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());

  const problems: string[] = [];
  const bus = (): Promise<RoomBus> => createRedisBus(redis.url, (problem) => problems.push(problem));

  it("is one room: slots, members, frames to all and to one", async () => {
    const [one, two] = await Promise.all([
      start({ roomMembers: 3 }, await bus()),
      start({ roomMembers: 3 }, await bus()),
    ]);
    const a = await Client.open(one.url);
    const b = await Client.open(two.url);
    const c = await Client.open(one.url);
    expect((await enter(a)).room?.members).toBe(1);
    expect((await enter(b)).room?.members).toBe(2);
    expect((await enter(c)).room?.members).toBe(3);
    await a.message("room", ({ room }) => room?.members === 3);
    await b.message("room", ({ room }) => room?.members === 3);
    expect([await offered(a, mac(1)), await offered(b, mac(2)), await offered(c, mac(3))]).toEqual([
      "10.0.2.15",
      "10.0.2.16",
      "10.0.2.17",
    ]);
    const d = await Client.open(two.url);
    await expect(enter(d)).rejects.toThrow("it is full, 3 guests are the most");

    a.send(frame(BROADCAST, mac(1), "to all"));
    await Promise.all([b, c].map((client) => client.frame((bytes) => textOf(bytes) === "to all")));
    b.send(frame(mac(1), mac(2), "to a"));
    await a.frame((bytes) => textOf(bytes) === "to a");
    a.send(frame(mac(2), mac(1), "to b"));
    await b.frame((bytes) => textOf(bytes) === "to b");
    expect(heard(c)).toEqual(["to all"]);
    expect(heard(d)).toEqual([]);
    // Someone with b's station at the other relay is not believed.
    c.send(frame(BROADCAST, mac(2), "as b"));
    await c.settle();
    a.send(frame(mac(2), mac(1), "b again"));
    await b.frame((bytes) => textOf(bytes) === "b again");
    expect(heard(a)).not.toContain("as b");

    // 200 full frames, in order and whole.
    for (let i = 0; i < 200; i++) a.send(frame(mac(2), mac(1), `${i} ${"x".repeat(1490)}`));
    await b.frame((bytes) => textOf(bytes).startsWith("199 "));
    expect(heard(b).flatMap((text) => (text.length > 1000 ? Number.parseInt(text, 10) : []))).toEqual(
      Array.from({ length: 200 }, (_, i) => i),
    );

    a.messages.length = 0;
    b.close();
    await a.message("room", ({ room }) => room?.members === 2);
    // Its station is forgotten on the other side: whoever comes with it is heard.
    c.send(frame(BROADCAST, mac(2), "now mine"));
    await a.frame((bytes) => textOf(bytes) === "now mine");
    expect((await enter(d)).room?.members).toBe(3);
  });

  it("frees the places of a relay that ends", async () => {
    const [one, two] = await Promise.all([start({}, await bus()), start({}, await bus())]);
    const a = await member(one, "ending");
    const b = await member(two, "ending");
    await a.message("room", ({ room }) => room?.members === 2);
    a.messages.length = 0;
    await two.close();
    expect((await b.closed).code).toBe(1001);
    await a.message("room", ({ room }) => room?.members === 1);
  });

  it("frees the places of a relay that dies, after a time", async () => {
    const times = { holdMs: 600, refreshMs: 200 };
    const dying = await createRedisBus(redis.url, () => {}, times);
    const ignore = { onFrame() {}, onForget() {}, onMembers() {} };
    const lines = [dying.open("key", ignore), (await createRedisBus(redis.url, () => {}, times)).open("key", ignore)];
    expect(await lines[0]?.enter(2)).toEqual({ slot: 0, members: 1 });
    expect(await lines[1]?.enter(2)).toEqual({ slot: 1, members: 2 });
    await pause(900);
    expect(await lines[1]?.enter(2)).toEqual({ slot: null, members: 2 });
    dying.stop();
    await pause(900);
    expect(await lines[1]?.enter(2)).toEqual({ slot: 0, members: 2 });
  });

  it("goes on within each relay while Redis is away, and together when it is back", async () => {
    const [one, two] = await Promise.all([start({}, await bus()), start({}, await bus())]);
    const [a, b, c] = [await member(one, "storm"), await member(one, "storm"), await member(two, "storm")];
    a.send(frame(BROADCAST, mac(1), "before"));
    await Promise.all([b, c].map((client) => client.frame((bytes) => textOf(bytes) === "before")));
    await redis.kill();
    await until(() => problems.length > 0, "the problem is told");
    expect(problems[0]).toMatch(/^Cannot reach Redis: /);
    for (let i = 0; i < 20; i++) a.send(frame(BROADCAST, mac(1), "meanwhile"));
    await b.frame((bytes) => textOf(bytes) === "meanwhile");
    const d = await Client.open(one.url);
    await expect(enter(d, "storm")).rejects.toThrow("the relay cannot reach its fellows now; try again later");
    const health = await (await fetch(`http://127.0.0.1:${one.port}/healthz`)).json();
    expect(health).toMatchObject({ status: "rooms are cut off from other relays" });
    await redis.start();
    const connected = async (relay: TestRelay) =>
      ((await (await fetch(`http://127.0.0.1:${relay.port}/healthz`)).json()) as { status: string }).status === "ok";
    await expect.poll(async () => (await connected(one)) && (await connected(two))).toBe(true);
    await pause(100);
    a.send(frame(BROADCAST, mac(1), "after"));
    await Promise.all([b, c].map((client) => client.frame((bytes) => textOf(bytes) === "after")));
    expect(heard(c)).not.toContain("meanwhile");
  });

  it("is refused in words when there is no Redis at all", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    await expect(createRedisBus(`redis://127.0.0.1:${port}`, () => {})).rejects.toThrow(
      /^Cannot reach Redis: .*ECONNREFUSED/,
    );
  });
});

interface Redis {
  url: string;
  start(): Promise<void>;
  kill(): Promise<void>;
  stop(): Promise<void>;
}

/** Debian's redis-server on a socket of its own, with nothing on disk. */
async function startRedis(): Promise<Redis> {
  const program = findProgram("redis-server");
  if (!program)
    throw new Error("Cannot test rooms over several relays: there is no redis-server; `npm test` installs it");
  const folder = mkdtempSync(join(tmpdir(), "smart-os-redis-"));
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  let child: ChildProcess;
  const redis: Redis = {
    url: `redis://127.0.0.1:${port}`,
    async start() {
      child = spawn(program, [
        "--port",
        `${port}`,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        folder,
      ]);
      await new Promise<void>((resolve, reject) => {
        let output = "";
        child.stdout?.on("data", (bytes) => {
          output += bytes;
          if (output.includes("Ready to accept connections")) resolve();
        });
        child.on("exit", () => reject(new Error(`redis-server ended: ${output}`)));
      });
    },
    async kill() {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
    },
    async stop() {
      await redis.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await redis.start();
  return redis;
}
