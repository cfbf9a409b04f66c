import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import {
  createServer as createHttp,
  get,
  type Server as HttpServer,
  request as httpRequest,
  type IncomingMessage,
} from "node:http";
import { connect, createServer, type Server, type Socket } from "node:net";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { Client, listen, type Of, pause, type TestRelay, testRelay, until } from "./guests.ts";

const run = promisify(execFile);
const curl = (...words: string[]): Promise<string> =>
  run("curl", ["-sS", "--max-time", "10", ...words], { maxBuffer: 1 << 27 }).then(({ stdout }) => stdout);

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** More than the ten listeners of one event after which Node warns of a leak. */
const AT_A_TIME = 12;

async function start(...words: string[]): Promise<{ relay: TestRelay; client: Client }> {
  const relay = await testRelay(words, { forwardLimits: { connectionsPerForward: AT_A_TIME, udpPeersPerForward: 3 } });
  ends.push(() => relay.close());
  return { relay, client: await Client.open(relay.url) };
}

async function httpGuest(listener: Parameters<typeof createHttp>[1]): Promise<{ port: number; server: HttpServer }> {
  const server = createHttp(listener as () => void);
  server.keepAliveTimeout = 100;
  const port = await listen(server);
  ends.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port, server };
}

async function tcpGuest(listener: (socket: Socket) => void): Promise<{ port: number; server: Server }> {
  const server = createServer({ allowHalfOpen: true }, listener);
  const port = await listen(server);
  ends.push(() => server.close());
  return { port, server };
}

async function forward(
  client: Client,
  kind: "http" | "tcp" | "udp",
  port: number,
): Promise<{ id: string; address: string }> {
  return (await client.ask<Of<"forward">>({ type: "forward", kind, port })).forward;
}

/** The answer's head and body; `fetch` would not let us choose Host and hop-by-hop headers. */
function ask(
  address: string,
  options: { method?: string; headers?: Record<string, string | string[]>; body?: string | Buffer; path?: string } = {},
): Promise<{ answer: IncomingMessage; body: Buffer }> {
  const url = new URL(address);
  return new Promise((resolve, reject) => {
    const outward = httpRequest(
      {
        host: "127.0.0.1",
        port: url.port,
        path: options.path ?? "/",
        method: options.method ?? "GET",
        headers: { Host: url.host, ...options.headers },
      },
      (answer) => {
        const parts: Buffer[] = [];
        answer.on("data", (part: Buffer) => parts.push(part));
        answer.on("end", () => resolve({ answer, body: Buffer.concat(parts) }));
        answer.on("error", reject);
      },
    );
    outward.on("error", reject);
    outward.end(options.body);
  });
}

describe("an HTTP forward", () => {
  it("gives curl a page of the guest, under a name of its own", async () => {
    const { relay, client } = await start();
    const { port } = await httpGuest((request, response) =>
      response.end(`${request.method} ${request.url} by the guest\n`),
    );
    const { address, id } = await forward(client, "http", port);
    expect(address).toBe(`http://${id}--${port}.localhost:${relay.port}/`);
    expect(id).toMatch(/^[0-9a-z]{26,27}$/);
    expect(await curl(`${address}a/b?c=d%20e`)).toBe("GET /a/b?c=d%20e by the guest\n");
    expect(await curl(`http://localhost:${relay.port}/`)).toBe("the playground");
    expect(await forward(client, "http", port)).toEqual({ id, address, kind: "http", guestPort: port });
  });

  it("passes 16 MB each way, with length and in chunks", async () => {
    const { client } = await start();
    const data = randomBytes(16 * 1024 * 1024);
    const { port } = await httpGuest((request, response) => {
      if (request.method === "GET") {
        if (request.url === "/length") response.setHeader("Content-Length", data.length);
        response.write(data);
        response.end();
        return;
      }
      const hash = createHash("sha256");
      request.on("data", (part) => hash.update(part));
      request.on("end", () => response.end(`${request.headers["content-length"] ?? "chunked"} ${hash.digest("hex")}`));
    });
    const { address } = await forward(client, "http", port);
    const sum = createHash("sha256").update(data).digest("hex");
    for (const path of ["length", "chunks"]) {
      const { body, answer } = await ask(address, { path: `/${path}` });
      expect(answer.headers["transfer-encoding"]).toBe(path === "length" ? undefined : "chunked");
      expect(createHash("sha256").update(body).digest("hex")).toBe(sum);
    }
    expect((await ask(address, { method: "PUT", body: data })).body.toString()).toBe(`${data.length} ${sum}`);
    const chunked = await ask(address, { method: "POST", body: data, headers: { "Transfer-Encoding": "chunked" } });
    expect(chunked.body.toString()).toBe(`chunked ${sum}`);
    // A body with GET is strange, and must not become the guest's next request.
    const strange = await ask(address, { method: "DELETE", body: "x", headers: { "Transfer-Encoding": "chunked" } });
    expect(strange.body.toString()).toBe(`chunked ${createHash("sha256").update("x").digest("hex")}`);
    expect((await ask(address, { method: "POST" })).body.toString()).toMatch(/^0 /);
  });

  it("streams: the first bytes do not wait for the last, up or down", async () => {
    const { client } = await start();
    let release = (): void => {};
    const heard: string[] = [];
    const { port } = await httpGuest((request, response) => {
      request.on("data", (part) => heard.push(String(part)));
      response.setHeader("Content-Type", "text/event-stream");
      if (request.method === "GET") response.write("data: 1\n\n");
      else response.flushHeaders();
      release = () => response.end("data: 2\n\n");
    });
    const { address } = await forward(client, "http", port);
    const url = new URL(address);
    const seen: string[] = [];
    await new Promise<void>((resolve) => {
      get({ host: "127.0.0.1", port: url.port, headers: { Host: url.host } }, (answer) => {
        answer.on("data", (part) => {
          seen.push(String(part));
          if (seen.length === 1) release();
        });
        answer.on("end", resolve);
      });
    });
    expect(seen).toEqual(["data: 1\n\n", "data: 2\n\n"]);
    const upload = httpRequest({ host: "127.0.0.1", port: url.port, method: "POST", headers: { Host: url.host } });
    upload.on("error", () => {});
    upload.write("first");
    await until(() => heard.join("") === "first", "the guest hears the beginning of the upload");
    upload.destroy();
  });

  it("tells the guest when its visitor has gone, and the visitor when the guest breaks off", async () => {
    const { client } = await start();
    let gone = 0;
    const { port } = await httpGuest((request, response) => {
      response.on("close", () => gone++);
      response.write("beginning");
      if (request.url === "/break") setTimeout(() => response.destroy(), 20);
    });
    const { address } = await forward(client, "http", port);
    const url = new URL(address);
    const visit = get({ host: "127.0.0.1", port: url.port, headers: { Host: url.host } }, (answer) => {
      answer.on("error", () => {});
      answer.once("data", () => visit.destroy());
    });
    visit.on("error", () => {});
    await until(() => gone === 1, "the guest notices");
    await expect(ask(address, { path: "/break" })).rejects.toThrow("aborted");
  });

  it("passes websockets on, in both directions", async () => {
    const { relay, client } = await start();
    const { port, server } = await httpGuest((_request, response) => response.end());
    const guest = new WebSocketServer({ server, handleProtocols: () => "chat" });
    ends.push(() => guest.close());
    guest.on("connection", (websocket, request) => {
      websocket.send(`${request.url} ${request.headers.host}`);
      websocket.on("message", (data, isBinary) => websocket.send(data, { binary: isBinary }));
    });
    const { address } = await forward(client, "http", port);
    const { host } = new URL(address);
    const visitor = new WebSocket(`ws://127.0.0.1:${relay.port}/relay?x=1`, ["chat"], { headers: { Host: host } });
    const heard: string[] = [];
    visitor.on("message", (data) => heard.push(String(data)));
    await new Promise((resolve) => visitor.once("open", resolve));
    // Not the relay's own: under this name everything is the guest's.
    await until(() => heard[0] === `/relay?x=1 ${host}`, "the guest's server greets");
    expect(visitor.protocol).toBe("chat");
    visitor.send(randomBytes(1 << 20));
    visitor.send("last");
    await until(() => heard.at(-1) === "last", "the echo comes");
    expect(relay.guests).toBe(1);
    // The system asks a visitor that is silent: one whose computer has gone must not hold a place.
    const timers = (): Promise<string> =>
      run("ss", ["-Htno", "state", "established", `sport = :${relay.port}`]).then(({ stdout }) => stdout);
    await expect.poll(timers).toContain("timer:(keepalive");
    const closed = new Promise((resolve) => visitor.once("close", resolve));
    visitor.close(1000);
    expect(await closed).toBe(1000);
    await until(() => guest.clients.size === 0, "the guest's end is closed");

    const plain = await httpGuest((_request, response) => {
      response.statusCode = 403;
      response.end("no websockets here");
    });
    const other = await forward(client, "http", plain.port);
    const refusal = new WebSocket(`ws://127.0.0.1:${relay.port}/`, { headers: { Host: new URL(other.address).host } });
    const answer = await new Promise<IncomingMessage>((resolve) => {
      refusal.on("unexpected-response", (_request, response) => resolve(response));
      refusal.on("error", () => {});
    });
    expect(answer.statusCode).toBe(403);
    refusal.terminate();
  });

  it("leaves out what is between two hops, and what would reach beyond the guest's origin", async () => {
    const { client } = await start();
    let heard: IncomingMessage | null = null;
    const { port } = await httpGuest((request, response) => {
      heard = request;
      response.writeHead(299, "Fine So", [
        ...["Set-Cookie", "a=1; Domain=localhost; Path=/"],
        ...["Set-Cookie", "b=2; path=/; domain = .localhost"],
        ...["Connection", "close, X-Hop"],
        ...["X-Hop", "1"],
        ...["Keep-Alive", "timeout=99"],
        ...["Alt-Svc", 'h2=":443"'],
        ...["Clear-Site-Data", '"*"'],
        ...["Strict-Transport-Security", "max-age=1"],
        ...["X-Kept", "yes"],
      ]);
      response.end();
    });
    const { address } = await forward(client, "http", port);
    const { answer } = await ask(address, {
      headers: {
        Connection: "X-Secret, keep-alive",
        "X-Secret": "1",
        "Proxy-Authorization": "Basic abc",
        TE: "trailers",
        "X-Forwarded-For": "192.0.2.1",
        Forwarded: "for=192.0.2.1",
        "X-Kept": "yes",
        Cookie: "a=1",
      },
    });
    const { headers } = heard as unknown as IncomingMessage;
    for (const name of ["x-secret", "proxy-authorization", "te", "forwarded", "keep-alive"])
      expect(headers[name], name).toBeUndefined();
    expect(headers).toMatchObject({
      connection: "close",
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": "http",
      "x-forwarded-host": new URL(address).host,
      host: new URL(address).host,
      via: "1.1 smart-os",
      "x-kept": "yes",
      cookie: "a=1",
    });
    expect(answer.statusCode).toBe(299);
    expect(answer.statusMessage).toBe("Fine So");
    expect(answer.headers["set-cookie"]).toEqual(["a=1; Path=/", "b=2; path=/"]);
    expect(answer.headers["x-kept"]).toBe("yes");
    for (const name of ["x-hop", "alt-svc", "clear-site-data", "strict-transport-security"])
      expect(answer.headers[name], name).toBeUndefined();
  });

  it("answers HEAD, 204 and 304 without a body", async () => {
    const { client } = await start();
    const { port } = await httpGuest((request, response) => {
      response.statusCode = Number(request.url?.slice(1));
      if (response.statusCode === 200) response.setHeader("Content-Length", 1000);
      response.end(request.method === "HEAD" || response.statusCode !== 200 ? undefined : "x".repeat(1000));
    });
    const { address } = await forward(client, "http", port);
    const head = await ask(address, { method: "HEAD", path: "/200" });
    expect(head.answer.headers["content-length"]).toBe("1000");
    for (const path of ["/204", "/304"])
      expect((await ask(address, { path })).answer.statusCode).toBe(Number(path.slice(1)));
  });

  it("says what is wrong with the guest", async () => {
    const { client } = await start();
    const silent = await tcpGuest((socket) => socket.end("SSH-2.0-dropbear\r\n"));
    const closing = await tcpGuest((socket) => socket.destroy());
    const broken = await tcpGuest((socket) => {
      socket.on("error", () => {});
      socket.end("HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\nX: \x01\r\n\r\nhello");
    });
    for (const { port } of [silent, closing, broken]) {
      const { answer, body } = await ask((await forward(client, "http", port)).address);
      expect(answer.statusCode).toBe(502);
      expect(body.toString()).toBe(`Cannot reach port ${port} of the guest: it does not answer, or not in HTTP\n`);
    }
    const refusing = await forward(client, "http", 9);
    expect((await ask(refusing.address)).body.toString()).toBe("Cannot connect to the guest's port 9: it refuses\n");
  });

  it("has limits: forwards of a guest, requests at a time", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on("warning", onWarning);
    ends.push(() => process.off("warning", onWarning));
    const { relay, client } = await start("--forwards", "3");
    const { port } = await httpGuest(() => {});
    const { address } = await forward(client, "http", port);
    await forward(client, "http", 81);
    await forward(client, "http", 82);
    await expect(forward(client, "http", 83)).rejects.toThrow("Cannot forward port 83: 3 forwards are the most");
    const url = new URL(address);
    const visits = Array.from({ length: AT_A_TIME }, () =>
      get({ host: "127.0.0.1", port: url.port, headers: { Host: url.host }, agent: false }),
    );
    for (const visit of visits) visit.on("error", () => {});
    await until(() => relay.totals.httpRequests === AT_A_TIME, "all have come");
    const { answer, body } = await ask(address);
    expect(answer.statusCode).toBe(503);
    expect(body.toString()).toContain("too many requests");
    expect(warnings).toEqual([]);
    for (const visit of visits) visit.destroy();
    await pause(100);
    const next = get({ host: "127.0.0.1", port: url.port, headers: { Host: url.host }, agent: false });
    next.on("error", () => {});
    const status = await Promise.race([new Promise((resolve) => next.once("response", resolve)), pause(200)]);
    expect(status).toBeUndefined();
    next.destroy();
  });

  it("is found by nobody else, and ends when it is ended or its guest goes", async () => {
    const { relay, client } = await start();
    const { port } = await httpGuest((_request, response) => response.write("for ever"));
    const { address, id } = await forward(client, "http", port);
    const names = [
      `${id}--${port + 1}`,
      `${id}x--${port}`,
      `x--${port}`,
      id,
      `${id}--`,
      "www",
      `a.${id}--${port}`,
      `${id}--0${port}.x`,
    ];
    for (const name of names) {
      const { answer, body } = await ask(address, { headers: { Host: `${name}.localhost:${relay.port}` } });
      expect(answer.statusCode, name).toBe(404);
      expect(body.toString()).toMatch(/^Cannot find this page/);
    }
    // Names are the same in capitals, and with the dot of the root.
    for (const host of [`${id}--${port}.LOCALHOST.`, `${id.toUpperCase()}--${port}.localhost`]) {
      const visit = get({ host: "127.0.0.1", port: relay.port, headers: { Host: host } });
      visit.on("error", () => {});
      expect((await new Promise<IncomingMessage>((resolve) => visit.once("response", resolve))).statusCode).toBe(200);
      visit.destroy();
    }
    const other = await Client.open(relay.url);
    await expect(other.ask({ type: "unforward", forward: id })).rejects.toThrow("there is none with this id");
    const visit = ask(address);
    await pause(50);
    expect(await client.ask({ type: "unforward", forward: id })).toMatchObject({ type: "done" });
    await expect(visit).rejects.toThrow();
    expect((await ask(address)).answer.statusCode).toBe(404);

    const again = await forward(client, "http", port);
    expect(again.id).not.toBe(id);
    client.close();
    await until(() => relay.guests === 1, "the guest ends");
    expect((await ask(again.address)).answer.statusCode).toBe(404);
  });

  it("carries the operator's domain, the process's name, and what a trusted proxy says", async () => {
    const relay = await testRelay([
      ...["--public", "--forward-domain", "Guests.Example", "--instance", "b2", "--trust-proxy", "127.0.0.1"],
    ]);
    ends.push(() => relay.close());
    const client = await Client.open(relay.url, { headers: { Host: "play.example", "X-Forwarded-Proto": "https" } });
    const { address, id } = await forward(client, "http", 80);
    expect(address).toBe(`https://${id}--80.guests.example/`);
    expect(id).toMatch(/^b2-[0-9a-z]{26,27}$/);
    const { body } = await ask(`http://${id}--80.guests.example:${relay.port}/`, {
      headers: { Host: "x.guests.example" },
    });
    expect(body.toString()).toMatch(/^Cannot find this page/);
  });

  it("is refused in words where there is no domain", async () => {
    const relay = await testRelay(["--public"]);
    ends.push(() => relay.close());
    const client = await Client.open(relay.url);
    await expect(forward(client, "http", 80)).rejects.toThrow(
      "Cannot forward port 80: this relay has no domain for web pages of guests (--forward-domain)",
    );
    await expect(forward(client, "tcp", 80)).rejects.toThrow("this relay has no ports for TCP (--forward-ports)");
    await expect(forward(client, "udp", 80)).rejects.toThrow("this relay has no ports for UDP (--forward-ports)");
  });
});

describe("a TCP forward", () => {
  const portOf = (address: string): number => Number(address.split(":").at(-1));

  it("passes bytes on, with half-closed ends and both reset", async () => {
    const { client } = await start("--forward-ports", "41000-41003");
    const { port } = await tcpGuest((socket) => {
      socket.on("error", () => {});
      // Answers only when all has come.
      const hash = createHash("sha256");
      socket.on("data", (part) => hash.update(part));
      socket.on("end", () => socket.end(hash.digest("hex")));
    });
    const { address } = await forward(client, "tcp", port);
    expect(address).toMatch(/^127\.0\.0\.1:4100[0-3]$/);
    const data = randomBytes(8 * 1024 * 1024);
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect({ port: portOf(address), host: "127.0.0.1", allowHalfOpen: true });
      let text = "";
      socket.on("data", (part) => {
        text += part;
      });
      socket.on("end", () => resolve(text));
      socket.on("error", reject);
      socket.end(data);
    });
    expect(answer).toBe(createHash("sha256").update(data).digest("hex"));

    const refusing = await forward(client, "tcp", 9);
    const problem = await new Promise((resolve) => {
      const socket = connect(portOf(refusing.address), "127.0.0.1");
      socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code));
      socket.on("end", () => resolve("end"));
    });
    expect(problem).toBe("ECONNRESET");
  });

  it("that is asked for twice at the same moment is one, and both are told its address", async () => {
    const { client } = await start("--forward-ports", "41000-41003");
    const { port } = await tcpGuest((socket) => socket.end());
    const [one, other] = await Promise.all([forward(client, "tcp", port), forward(client, "tcp", port)]);
    expect(one.address).toMatch(/:\d+$/);
    expect(other).toEqual(one);
  });

  it("is on a port that no other guest has, until it ends", async () => {
    const { relay, client } = await start("--forward-ports", "41000-41002");
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen(41001, "127.0.0.1", resolve));
    ends.push(() => holder.close());
    const other = await Client.open(relay.url);
    const one = await forward(client, "tcp", 1);
    const two = await forward(other, "tcp", 1);
    expect([portOf(one.address), portOf(two.address)].sort()).toEqual([41000, 41002]);
    await expect(forward(client, "tcp", 2)).rejects.toThrow("all ports of this relay from 41000 to 41002 are taken");
    await client.ask({ type: "unforward", forward: one.id });
    expect(portOf((await forward(other, "tcp", 2)).address)).toBe(portOf(one.address));
  });

  it("serves so many visitors, and ends them with the guest", async () => {
    const { relay, client } = await start("--forward-ports", "41000-41003");
    const { port } = await tcpGuest((socket) => {
      socket.on("error", () => {});
      socket.write("hello");
    });
    const { address } = await forward(client, "tcp", port);
    const greeted: Socket[] = [];
    let closed = 0;
    for (let i = 0; i < AT_A_TIME + 4; i++) {
      const socket = connect(portOf(address), "127.0.0.1");
      socket.on("error", () => {});
      socket.on("data", () => greeted.push(socket));
      socket.on("close", () => closed++);
    }
    await until(() => greeted.length === AT_A_TIME && closed === 4, "so many are served, four are not");
    client.close();
    await until(() => closed === AT_A_TIME + 4, "all end with the guest");
    await until(() => relay.guests === 0, "the guest is gone");
    await expect(
      new Promise((resolve, reject) =>
        connect(portOf(address), "127.0.0.1").on("error", reject).on("connect", resolve),
      ),
    ).rejects.toThrow("ECONNREFUSED");
  });
});

describe("a UDP forward", () => {
  async function peer(): Promise<{ socket: UdpSocket; heard: string[] }> {
    const socket = createSocket("udp4");
    const heard: string[] = [];
    socket.on("message", (data) => heard.push(String(data)));
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
    ends.push(() => socket.close());
    return { socket, heard };
  }

  it("passes datagrams on and each answer to whom it is for, of so many peers", async () => {
    const { client } = await start("--forward-ports", "41000-41003");
    const guest = createSocket("udp4");
    guest.on("message", (data, from) => guest.send(`${data}!`, from.port, from.address));
    await new Promise<void>((resolve) => guest.bind(0, "127.0.0.1", resolve));
    ends.push(() => guest.close());
    const { address, id } = await forward(client, "udp", guest.address().port);
    const port = Number(address.split(":")[1]);
    const peers = await Promise.all([0, 1, 2, 3].map(peer));
    for (const [i, { socket }] of peers.slice(0, 3).entries()) socket.send(`from ${i}`, port, "127.0.0.1");
    await until(() => peers.slice(0, 3).every(({ heard }) => heard.length === 1), "each is answered");
    peers[3]?.socket.send("one too many", port, "127.0.0.1");
    peers[0]?.socket.send("again", port, "127.0.0.1");
    await until(() => peers[0]?.heard.length === 2, "the first is answered again");
    expect(peers.map(({ heard }) => heard)).toEqual([["from 0!", "again!"], ["from 1!"], ["from 2!"], []]);
    await client.ask({ type: "unforward", forward: id });
    peers[1]?.socket.send("too late", port, "127.0.0.1");
    await pause(50);
    expect(peers[1]?.heard.length).toBe(1);
  });
});
