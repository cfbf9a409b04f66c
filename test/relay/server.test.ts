import { connect as connectTcp, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { CLOSE, SESSION_PROTOCOL, TOKEN_PROTOCOL } from "../../relay/control.ts";
import type { RelayLimits } from "../../relay/options.ts";
import {
  BROADCAST,
  Client,
  type ClientOptions,
  frame,
  mac,
  type Of,
  pause,
  type TestRelay,
  testRelay,
  textOf,
  until,
} from "./guests.ts";

const relays: TestRelay[] = [];
const start = (...words: string[]): Promise<TestRelay> => startWith({}, ...words);
async function startWith(limits: Partial<RelayLimits>, ...words: string[]): Promise<TestRelay> {
  const relay = await testRelay(words, { tickMs: 20, limits });
  relays.push(relay);
  return relay;
}
afterEach(async () => {
  await Promise.all(relays.splice(0).map((relay) => relay.close()));
});

const web = (relay: TestRelay, path: string, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`http://127.0.0.1:${relay.port}${path}`, { headers });

/** The TCP connection under a websocket, to stop reading it: ws itself would read on into memory. */
const rawSocket = ({ websocket }: Client): Socket => (websocket as unknown as { _socket: Socket })._socket;

/** What a client gets that is not let in: an HTTP answer, or a closed websocket. */
async function refused(url: string, options: ClientOptions = {}): Promise<string> {
  if (options.control === false)
    return Client.open(url, options).then(
      () => "let in",
      (error: Error) => error.message,
    );
  const client = await Client.open(url, options);
  const end = await Promise.race([client.closed, client.message("hello").catch(() => null)]);
  return end && "reason" in end ? `${end.code} ${end.reason}` : "let in";
}

describe("a client", () => {
  it("that is v86's own gets frames and nothing else", async () => {
    const relay = await start();
    const client = await Client.open(relay.url, { control: false });
    expect(client.websocket.protocol).toBe("");
    expect(client.websocket.extensions).toBe("");
    client.send(frame(BROADCAST, mac(1), "hello"));
    expect(textOf(await client.frame())).toBe("hello");
    relay.engine.guests[0]?.port.tell({ kind: "policy", protocol: "tcp", destination: "x", port: 1, text: "no" });
    client.websocket.send(JSON.stringify({ type: "ping", id: 1 }));
    client.send(frame(BROADCAST, mac(1), "still"));
    await client.frame((bytes) => textOf(bytes) === "still");
    expect(client.messages).toEqual([]);
    client.close();
    await until(() => relay.guests === 0, "the guest ends");
    expect(relay.engine.guests[0]?.isClosed).toBe(true);
  });

  it("that asks for it is told limits, features and what it may reach", async () => {
    const relay = await start("--allow", "127.0.0.1:8000", "--forward-ports", "40000-40010", "--guests", "3");
    const client = await Client.open(relay.url);
    const hello = await client.message("hello");
    expect(hello).toMatchObject({
      version: 1,
      resumed: false,
      features: ["rooms", "http-forward", "tcp-forward", "udp-forward", "resume"],
      limits: { frameBytes: 1518, framesPerSecond: null, bytesPerSecond: null, idleSeconds: null, forwards: 16 },
      mtu: 1500,
      subnet: { guest: "10.0.2.15", gateway: "10.0.2.2" },
      forwards: [],
      room: null,
    });
    expect(hello.policy).toContain("allowed besides: 127.0.0.1:8000");
    expect(await client.ask({ type: "ping" })).toMatchObject({ type: "pong" });
  });

  it("is told the limits of a public relay", async () => {
    const relay = await start("--public", "--bytes-per-second", "1M");
    const hello = await (await Client.open(relay.url)).message("hello");
    expect(hello.limits).toMatchObject({ bytesPerSecond: 1048576, framesPerSecond: 10_000, idleSeconds: 3600 });
    expect(hello.features).toEqual(["rooms", "resume"]);
  });

  it("is told refusals, its address, and statistics", async () => {
    const relay = await start();
    const client = await Client.open(relay.url);
    const [guest] = relay.engine.guests;
    const text = "Cannot connect to 10.0.0.1: private addresses are not reachable from here";
    guest?.port.tell({ kind: "policy", protocol: "tcp", destination: "10.0.0.1", port: 80, text });
    expect(await client.message("refusal")).toMatchObject({ kind: "policy", port: 80, text });
    Object.assign(guest as object, { address: "10.0.2.15" });
    expect(await client.message("address", ({ address }) => address !== null)).toMatchObject({ address: "10.0.2.15" });
    client.send(frame(BROADCAST, mac(1), "x".repeat(100)));
    await client.frame();
    const { statistics } = await client.ask<Of<"statistics">>({ type: "statistics" });
    expect(statistics).toMatchObject({ framesReceived: 1, framesSent: 1, bytesReceived: 114, bytesSent: 114 });
    expect(statistics.engine.tcpOpen).toBe(0);
  });

  it("is not flooded with refusals", async () => {
    const relay = await start();
    const client = await Client.open(relay.url);
    for (let i = 0; i < 1000; i++)
      relay.engine.guests[0]?.port.tell({ kind: "limit", protocol: "udp", destination: "x", port: i, text: "no" });
    await client.settle();
    expect(client.messages.filter(({ type }) => type === "refusal").length).toBeLessThanOrEqual(12);
    expect(await (await web(relay, "/metrics")).text()).toContain(
      'smartos_relay_guest_refusals_total{kind="limit"} 1000',
    );
  });

  it.each([
    ["{", "it is no JSON"],
    ["[]", "it is no JSON object"],
    ["null", "it is no JSON object"],
    ['"ping"', "it is no JSON object"],
    ['{"type":"ping"}', "its id must be a whole number"],
    ['{"type":"ping","id":-1}', "its id must be a whole number"],
    ['{"type":"ping","id":"1"}', "its id must be a whole number"],
    ['{"type":"pong","id":1}', "does not know such a message"],
    ['{"type":"__proto__","id":1}', "does not know such a message"],
    ['{"type":"forward","id":1,"kind":"sctp","port":80}', "the kind must be http, tcp or udp"],
    ['{"type":"forward","id":1,"kind":"http","port":0}', "the port must be a number from 1 to 65535"],
    ['{"type":"forward","id":1,"kind":"http","port":65536}', "the port must be a number from 1 to 65535"],
    ['{"type":"forward","id":1,"kind":"http","port":"80"}', "the port must be a number from 1 to 65535"],
    ['{"type":"unforward","id":1}', "its forward must be a text"],
    ['{"type":"unforward","id":1,"forward":"x"}', "there is none with this id"],
    ['{"type":"join","id":1,"room":"a"}', "its secret must be a text"],
    ['{"type":"join","id":1,"room":"a","secret":"1234567"}', "the secret must have 8 to 256 characters"],
    ['{"type":"join","id":1,"room":" a","secret":"12345678"}', "its name must be 1 to 64"],
    ['{"type":"join","id":1,"room":"","secret":"12345678"}', "its name must be 1 to 64"],
  ])("that says %s hears why not, and stays connected", async (text, words) => {
    const relay = await start();
    const client = await Client.open(relay.url);
    client.websocket.send(text);
    expect((await client.message("error")).text).toContain(words);
    await client.settle();
  });

  it("that says too much is not listened to for a while", async () => {
    const relay = await start("--messages-per-second", "5");
    const client = await Client.open(relay.url);
    for (let i = 0; i < 200; i++) client.websocket.send(JSON.stringify({ type: "ping", id: 1000 + i }));
    await client.message("error", ({ text }) => text.includes("too many messages"));
    await pause(500);
    await client.settle();
    expect(client.messages.filter(({ type }) => type === "pong").length).toBeLessThan(20);
  });
});

describe("frames", () => {
  it("of the MTU's size and a VLAN tag pass, jumbo frames do not, and much larger ones end the connection", async () => {
    const relay = await start();
    const client = await Client.open(relay.url);
    client.send(frame(BROADCAST, mac(1), "x".repeat(1504)));
    expect((await client.frame()).length).toBe(1518);
    client.send(frame(BROADCAST, mac(1), "x".repeat(1505)));
    expect((await client.message("error")).text).toBe(
      "Cannot pass a frame of 1519 bytes on: 1518 are the most, the guest's MTU must be 1500",
    );
    client.send(Buffer.alloc(13));
    client.send(Buffer.alloc(0));
    const { statistics } = await client.ask<Of<"statistics">>({ type: "statistics" });
    expect(statistics.dropped).toMatchObject({ "frame.jumbo": 1, "frame.short": 2 });
    client.send(Buffer.alloc(2049));
    expect((await client.closed).code).toBe(CLOSE.tooLarge);
    await until(() => relay.guests === 0, "the guest ends");
  });

  it("that come too fast are read slower, and none is lost", async () => {
    const relay = await start("--frames-per-second", "100");
    const client = await Client.open(relay.url);
    const begin = Date.now();
    const sent = Array.from({ length: 170 }, (_, i) => `${i}`);
    for (const text of sent.slice(0, 169)) client.send(frame(BROADCAST, mac(1), text));
    // What was in one piece is taken as one; the debt for it is paid before the next is read.
    await client.frame((bytes) => textOf(bytes) === "168");
    client.send(frame(BROADCAST, mac(1), "169"));
    await client.frame((bytes) => textOf(bytes) === "169");
    expect(client.frames.map(textOf)).toEqual(sent);
    expect(Date.now() - begin).toBeGreaterThan(500);
  });

  it("take as long as their bytes may, out of the guest and into it", async () => {
    const relay = await start("--bytes-per-second", "100k");
    const client = await Client.open(relay.url);
    const begin = Date.now();
    for (let i = 0; i < 150; i++) client.send(frame(BROADCAST, mac(1), "x".repeat(986)));
    await until(() => client.frames.length === 150, "all frames come back");
    expect(Date.now() - begin).toBeGreaterThan(350);
  });

  it("of all guests of an address share its rate", async () => {
    const relay = await start("--address-bytes-per-second", "100k");
    const clients = await Promise.all([1, 2, 3].map(() => Client.open(relay.url)));
    const begin = Date.now();
    for (let i = 0; i < 50; i++) for (const client of clients) client.send(frame(BROADCAST, mac(1), "x".repeat(986)));
    await until(() => clients.every(({ frames }) => frames.length === 50), "all frames come back");
    expect(Date.now() - begin).toBeGreaterThan(350);
  });

  it("for a guest that does not read wait in a bounded queue, and others do not notice", async () => {
    const relay = await start();
    const slow = await Client.open(relay.url);
    const other = await Client.open(relay.url);
    await slow.message("hello");
    rawSocket(slow).pause();
    const { port } = relay.engine.guests[0] as {
      port: { queuedBytes: number; send(f: Uint8Array): void; onDrain(l: () => void): void };
    };
    let drained = 0;
    for (let i = 0; i < 40_000; i++) port.send(Buffer.alloc(1500));
    await pause(50);
    port.onDrain(() => drained++);
    expect(port.queuedBytes).toBeGreaterThan(256 * 1024);
    expect(port.queuedBytes).toBeLessThanOrEqual(6.2 * 1024 * 1024);
    const begin = Date.now();
    other.send(frame(BROADCAST, mac(2), "quick"));
    await other.frame();
    expect(Date.now() - begin).toBeLessThan(1000);
    expect(drained).toBe(0);
    rawSocket(slow).resume();
    await until(() => drained === 1, "the queue drains");
    expect(port.queuedBytes).toBeLessThanOrEqual(64 * 1024);
    const text = await (await web(relay, "/metrics")).text();
    expect(Number(/frames_dropped_total\{reason="line.full"\} (\d+)/.exec(text)?.[1])).toBeGreaterThan(1000);
  });

  it("tell an engine at once when nothing waits", async () => {
    const relay = await start();
    await Client.open(relay.url);
    let drained = 0;
    relay.engine.guests[0]?.port.onDrain(() => drained++);
    await until(() => drained === 1, "it drains");
  });
});

describe("who may connect", () => {
  it("is decided by the page's origin", async () => {
    const relay = await start("--origin", "https://school.example");
    const by = (origin: string, host = `127.0.0.1:${relay.port}`) =>
      refused(relay.url, { control: false, headers: { Origin: origin, Host: host } });
    expect(await refused(relay.url)).toBe("let in");
    for (const origin of [`http://127.0.0.1:${relay.port}`, "https://school.example", "HTTPS://School.Example"])
      expect(await by(origin), origin).toBe("let in");
    expect(await by("http://localhost", "localhost")).toBe("let in");
    expect(await by("https://localhost", "localhost:443")).toBe("let in");
    for (const origin of [
      "https://evil.example",
      `http://localhost:${relay.port}`,
      "http://127.0.0.1",
      `http://abc--80.localhost:${relay.port}`,
      "http://school.example",
      "https://school.example.evil.example",
      "null",
      "",
    ])
      expect(await by(origin), origin).toMatch(/^403 Cannot connect from this page/);
    expect(await refused(relay.url, { headers: { Origin: "https://evil.example" } })).toMatch(
      /^4403 Cannot connect from this page/,
    );
    expect(relay.totals.refused.origin).toBe(9);
  });

  it("is decided by the name, locally: a page whose name comes to mean this computer is same-origin with itself", async () => {
    const relay = await start("--origin", "http://desk.example:8086");
    const headers = { Host: `evil.example:${relay.port}`, Origin: `http://evil.example:${relay.port}` };
    expect(await refused(relay.url, { control: false, headers })).toMatch(/^403 Cannot serve this name/);
    expect(await refused(relay.url, { headers })).toMatch(/^4403 Cannot serve this name/);
    for (const name of ["localhost", "127.0.0.1", "[::1]", "192.0.2.1", "desk.example"])
      expect(await refused(relay.url, { headers: { Host: `${name}:8086` } }), name).toBe("let in");
    const open = await start("--public");
    expect(await refused(open.url, { headers: { ...headers } })).toBe("let in");
  });

  it("is decided by a token, in the query or among the protocols", async () => {
    const token = "pass ✓ word";
    const relay = await start("--token", token);
    const encoded = Buffer.from(token).toString("base64url");
    expect(await refused(relay.url)).toBe("4401 Cannot connect: this relay wants a token");
    expect(await refused(relay.url, { control: false })).toBe("401 Cannot connect: this relay wants a token");
    expect(await refused(`${relay.url}?token=nonsense`)).toBe("4401 Cannot connect: the token is wrong");
    expect(await refused(`${relay.url}?token=`, { control: false })).toBe("401 Cannot connect: the token is wrong");
    expect(await refused(`${relay.url}?token=${encodeURIComponent(token)}`)).toBe("let in");
    expect(await refused(`${relay.url}?token=${encodeURIComponent(token)}`, { control: false })).toBe("let in");
    expect(await refused(relay.url, { protocols: [TOKEN_PROTOCOL + encoded] })).toBe("let in");
    expect(await refused(relay.url, { protocols: [`${TOKEN_PROTOCOL}x${encoded}`] })).toMatch(/^4401/);
    expect(relay.totals.refused.token).toBe(5);
  });

  it("is limited by the number of guests, and of those of an address", async () => {
    const relay = await start("--guests", "3", "--guests-per-address", "2", "--trust-proxy", "127.0.0.0/8");
    const from = (address: string) => ({ headers: { "X-Forwarded-For": address } });
    const first = await Client.open(relay.url, from("192.0.2.1"));
    await Client.open(relay.url, from("192.0.2.1"));
    expect(await refused(relay.url, from("192.0.2.1"))).toBe(
      "4429 Cannot connect: there are 2 guests from your address, and no more are allowed",
    );
    expect(await refused(relay.url, { ...from("192.0.2.1"), control: false })).toMatch(/^429/);
    await Client.open(relay.url, from("192.0.2.2"));
    expect(await refused(relay.url, from("192.0.2.3"))).toBe("4503 Cannot connect: the relay has 3 guests and is full");
    first.close();
    await until(() => relay.guests === 2, "a guest ends");
    expect(await refused(relay.url, from("192.0.2.1"))).toBe("let in");
  });

  it("is limited by the rate of connections, whoever they claim to be", async () => {
    const relay = await start("--connections-per-minute", "5");
    for (let i = 0; i < 5; i++)
      expect(await refused(relay.url, { headers: { "X-Forwarded-For": `192.0.2.${i}` } })).toBe("let in");
    expect(await refused(relay.url, { headers: { "X-Forwarded-For": "192.0.2.9" } })).toMatch(
      /^4429 .*too many connections/,
    );
    expect(await refused(relay.url, { control: false })).toMatch(/^429/);
  });

  it("is judged by the last address that no trusted proxy has", async () => {
    const relay = await start("--guests-per-address", "1", "--trust-proxy", "127.0.0.0/8,10.0.0.0/8");
    const from = (addresses: string) => refused(relay.url, { headers: { "X-Forwarded-For": addresses } });
    expect(await from("203.0.113.9, 192.0.2.1, 10.0.0.1")).toBe("let in");
    expect(await from("198.51.100.7, 192.0.2.1")).toMatch(/^4429/);
    expect(await from("192.0.2.2")).toBe("let in");
    expect(await from("::ffff:192.0.2.2, 10.1.1.1")).toMatch(/^4429/);
    expect(await from("2001:db8:1:2::1")).toBe("let in");
    expect(await from("2001:db8:1:2:ffff::9")).toMatch(/^4429/);
    expect(await from("2001:db8:1:3::1")).toBe("let in");
    expect(await from("nonsense, 10.0.0.2")).toBe("let in");
  });
});

describe("time", () => {
  it("ends a guest that is idle, and not one that is busy", async () => {
    const relay = await startWith({ idleMs: 300 });
    const idle = await Client.open(relay.url);
    const busy = await Client.open(relay.url);
    const timer = setInterval(() => busy.send(frame(BROADCAST, mac(1))), 50);
    expect(await idle.closed).toEqual({ code: CLOSE.idle, reason: "The guest has sent nothing for a long time" });
    await pause(200);
    expect(relay.guests).toBe(1);
    clearInterval(timer);
  });

  it("ends every guest at last", async () => {
    const relay = await startWith({ totalMs: 300 });
    const client = await Client.open(relay.url);
    const timer = setInterval(() => client.send(frame(BROADCAST, mac(1))), 50);
    expect((await client.closed).code).toBe(CLOSE.idle);
    clearInterval(timer);
  });

  it("ends a client that does not answer pings", async () => {
    const relay = await start("--resume-seconds", "0");
    const client = await Client.open(relay.url);
    await client.message("hello");
    rawSocket(client).pause();
    await until(() => relay.guests === 0, "the dead client is noticed");
  });
});

describe("a connection that breaks", () => {
  it("can be taken up again: the same guest, its forwards and its room", async () => {
    const relay = await start("--guests", "1");
    const client = await Client.open(relay.url);
    const { session } = await client.message("hello");
    const { forward } = await client.ask<Of<"forward">>({ type: "forward", kind: "http", port: 80 });
    await client.ask({ type: "join", room: "desk", secret: "12345678" });
    client.websocket.terminate();
    await pause(100);
    expect(relay.guests).toBe(1);
    expect(relay.engine.guests[0]?.isClosed).toBe(false);
    // An engine waits meanwhile, as if the way were full.
    const port = relay.engine.guests[0]?.port;
    let drained = 0;
    port?.onDrain(() => drained++);
    expect(port?.queuedBytes).toBeGreaterThan(256 * 1024);
    port?.send(frame(mac(1), mac(2), "lost"));
    expect(drained).toBe(0);

    expect(await refused(relay.url, { protocols: [`${SESSION_PROTOCOL}nonsense`] })).toMatch(/^4503/);
    const again = await Client.open(relay.url, { protocols: [SESSION_PROTOCOL + session] });
    expect(await again.message("hello")).toMatchObject({
      resumed: true,
      session,
      forwards: [forward],
      room: { name: "desk", members: 1 },
    });
    expect(drained).toBe(1);
    again.send(frame(BROADCAST, mac(1), "again"));
    expect(textOf(await again.frame())).toBe("again");
    expect(relay.engine.guests.length).toBe(1);
    expect(relay.totals).toMatchObject({ connections: 1, resumed: 1 });

    // The relay may not have noticed yet that the former one is broken.
    const third = await Client.open(relay.url, { protocols: [SESSION_PROTOCOL + session] });
    expect((await again.closed).code).toBe(CLOSE.replaced);
    third.send(frame(BROADCAST, mac(1), "third"));
    expect(textOf(await third.frame())).toBe("third");
    expect(relay.guests).toBe(1);

    third.close();
    await until(() => relay.guests === 0, "a client that says goodbye is not waited for");
    expect(await refused(relay.url, { protocols: [SESSION_PROTOCOL + session] })).toBe("let in");
    expect(relay.engine.guests.length).toBe(2);
  });

  it("is over after a time", async () => {
    const relay = await startWith({ resumeMs: 400 });
    const client = await Client.open(relay.url);
    client.websocket.terminate();
    await pause(200);
    expect(relay.guests).toBe(1);
    await until(() => relay.guests === 0, "it ends");
    expect(relay.engine.guests[0]?.isClosed).toBe(true);
  });

  it("is over at once for a client that could not take it up", async () => {
    const relay = await start();
    const client = await Client.open(relay.url, { control: false });
    client.websocket.terminate();
    await until(() => relay.guests === 0, "it ends");
  });
});

describe("the web server", () => {
  it("has the page, and says what is not one", async () => {
    const relay = await start();
    expect(await (await web(relay, "/")).text()).toBe("the playground");
    const plain = await web(relay, "/relay");
    expect(plain.status).toBe(426);
    expect(await Client.open(`${relay.url}/other`).catch((error: Error) => error.message)).toMatch(/^404 .*\/relay/);
  });

  it("tells its health, until it closes", async () => {
    const relay = await start();
    await Client.open(relay.url);
    const health = await web(relay, "/healthz");
    expect(health.status).toBe(200);
    expect(await health.json()).toMatchObject({ status: "ok", guests: 1 });
  });

  it("tells its numbers to this computer, or by a token", async () => {
    const relay = await start("--metrics-token", "secret", "--trust-proxy", "127.0.0.1");
    const client = await Client.open(relay.url);
    client.send(frame(BROADCAST, mac(1), "x".repeat(86)));
    await client.frame();
    const metrics = await web(relay, "/metrics");
    expect(metrics.headers.get("content-type")).toContain("text/plain");
    const text = await metrics.text();
    for (const line of [
      "smartos_relay_guests 1",
      "smartos_relay_frames_in_total 1",
      "smartos_relay_bytes_out_total 100",
      'smartos_relay_forwards{kind="http"} 0',
      "process_cpu_seconds_total",
    ])
      expect(text).toContain(line);
    // Twice: a counter that is read must not count.
    expect(await (await web(relay, "/metrics")).text()).toContain("smartos_relay_frames_in_total 1");
    expect((await web(relay, "/metrics", { "X-Forwarded-For": "127.0.0.1" })).status).toBe(403);
    expect(
      (await web(relay, "/metrics", { Authorization: "Bearer wrong", "X-Forwarded-For": "192.0.2.1" })).status,
    ).toBe(403);
    expect(
      (await web(relay, "/metrics", { Authorization: "Bearer secret", "X-Forwarded-For": "192.0.2.1" })).status,
    ).toBe(200);
  });

  it("says goodbye when it closes, and is quick about it", async () => {
    const relay = await start();
    const clients = await Promise.all([Client.open(relay.url), Client.open(relay.url, { control: false })]);
    // One that answers nothing, and a connection that says nothing.
    rawSocket(clients[1] as Client).pause();
    const silent = connectTcp(relay.port, "127.0.0.1");
    silent.on("error", () => {});
    await new Promise((resolve) => silent.once("connect", resolve));
    const begin = Date.now();
    await relay.close();
    expect(Date.now() - begin).toBeLessThan(4000);
    expect(await clients[0]?.closed).toEqual({
      code: CLOSE.shuttingDown,
      reason: "The relay is shutting down; it may be back soon",
    });
    expect(relay.engine.isClosed).toBe(true);
    expect(relay.engine.guests.every(({ isClosed }) => isClosed)).toBe(true);
    await expect(web(relay, "/healthz")).rejects.toThrow();
  });
});
