/** What busybox's programs in a real guest do over a relay's websocket, and over a bad one; the rest is in guest.test.ts. */
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { createServer as createHttpServer, type IncomingMessage } from "node:http";
import { connect, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createResolver } from "../../relay/nat/dns-resolver.ts";
import { createNat } from "../../relay/nat/nat.ts";
import { type RelayOptions, readOptions } from "../../relay/options.ts";
import { createPolicy } from "../../relay/policy.ts";
import { buildTestInitramfs } from "../machine/guest.ts";
import { answerTest, makeQuery, setAddress } from "./dns-server.ts";
import { listen, type Of, type TestRelay, testRelay } from "./guests.ts";
import { LOOPBACK } from "./network.ts";
import { OnlineGuest, type Wire } from "./online-guest.ts";

const isRoot = process.getuid?.() === 0;
const FILE = randomBytes(2 << 20);
const md5 = (bytes: Uint8Array): string => createHash("md5").update(bytes).digest("hex");

describe("busybox's programs over the relay", () => {
  let relay: TestRelay;
  let guest: OnlineGuest;
  const closers: (() => unknown)[] = [];
  const run = (command: string, ms?: number): Promise<string> => guest.run(command, ms);
  const serve = async (server: Server): Promise<number> => {
    closers.push(() => server.close());
    return await listen(server);
  };
  const tcp = (onConnection: (socket: Socket) => void): Promise<number> =>
    serve(
      createTcpServer({ allowHalfOpen: true }, (socket) => {
        socket.on("error", () => {});
        onConnection(socket);
      }),
    );
  const udp = async (port: number, answer: (message: Buffer) => Uint8Array): Promise<UdpSocket> => {
    const socket = createSocket("udp4");
    socket.on("message", (message, from) => socket.send(answer(message), from.port, from.address));
    await new Promise<void>((resolve) => socket.bind(port, "127.0.0.1", resolve));
    closers.push(() => socket.close());
    return socket;
  };

  beforeAll(async () => {
    const dns = await udp(0, (query) => answerTest(query, 512));
    const { port } = dns.address();
    const server = createTcpServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", (bytes: Buffer) => {
        const answer = answerTest(bytes.subarray(2));
        socket.end(Buffer.concat([Buffer.of(answer.length >> 8, answer.length & 255), answer]));
      });
    });
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    closers.push(() => server.close());
    const words = ["--allow", "127.0.0.1", "--forward-ports", "42020-42030"];
    const engine = createNat({
      policy: createPolicy(readOptions(words, {}) as RelayOptions),
      hostAliases: LOOPBACK,
      resolver: createResolver({ servers: [`127.0.0.1:${port}`] }),
      limits: { tcpConnectMs: 3000 },
    });
    relay = await testRelay(words, { engine });
    guest = await OnlineGuest.boot(relay.url, await buildTestInitramfs());
    await guest.booted();
  });
  afterAll(async () => {
    await guest?.stop();
    await relay?.close();
    for (const close of closers) close();
  });

  it("HTTP keep-alive: two requests on one connection", async () => {
    const requests: IncomingMessage[] = [];
    const port = await serve(
      createHttpServer((request, response) => {
        requests.push(request);
        response.end(`answer ${requests.length}\n`);
      }),
    );
    const request = (more: string): string => `printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\n${more}\\r\\n'`;
    const answers = await run(
      `(${request("")}; sleep 1; ${request("Connection: close\\r\\n")}; sleep 1) | nc 10.0.2.2 ${port}`,
    );
    expect(answers.match(/answer \d/g)).toEqual(["answer 1", "answer 2"]);
    expect(new Set(requests.map(({ socket }) => socket)).size).toBe(1);
  });

  it("names over UDP and over TCP", async () => {
    expect(await run("nslookup www.example.test")).toMatch(/192\.0\.2\.80/);
    const query = makeQuery("big.example.test", 16);
    const octal = [query.length >> 8, query.length & 255, ...query].map((byte) => `\\${byte.toString(8)}`).join("");
    const answer = answerTest(query);
    const wanted = Buffer.concat([Buffer.of(answer.length >> 8, answer.length & 255), answer]);
    expect(await run(`(printf '${octal}'; sleep 1) | nc 10.0.2.3 53 | md5sum`)).toContain(md5(wanted));
  });

  it.skipIf(!isRoot)("the time by NTP (needs root, for port 123)", async () => {
    // 2031-02-03 04:05:06 UTC, in seconds since 1900 (RFC 5905, figure 8).
    const seconds = Date.UTC(2031, 1, 3, 4, 5, 6) / 1000 + 2_208_988_800;
    await udp(123, (query) => {
      const answer = Buffer.alloc(48);
      // Version 4, server, stratum 1.
      answer.set([0x24, 1, query[2] ?? 0, 0xec]);
      query.copy(answer, 24, 40, 48);
      for (const at of [16, 32, 40]) answer.writeUInt32BE(seconds, at);
      return answer;
    });
    const before = await run("date +%s");
    await run("ntpd -n -q -p 10.0.2.2", 30_000);
    expect(await run("date -u +%Y-%m-%dT%H:%M")).toBe("2031-02-03T04:05");
    await run(`date -s @${before}`);
  });

  it("telnet: each line is there before the next is asked for", async () => {
    const times: number[] = [];
    const port = await tcp((socket) => {
      let text = "";
      let sentAt = performance.now();
      socket.write("line 0\r\n");
      socket.on("data", (bytes) => {
        text += bytes.toString();
        if (!text.endsWith("\n") || times.length === 40) return;
        times.push(performance.now() - sentAt);
        sentAt = performance.now();
        if (times.length === 40) socket.end();
        else socket.write(`line ${times.length}\r\n`);
      });
    });
    await run(
      `mkfifo /tmp/keys; exec 3<>/tmp/keys; telnet 10.0.2.2 ${port} <&3 | while read -r line; do echo "$line" >&3; done; rm /tmp/keys`,
    );
    expect(times.length).toBe(40);
    console.log(`a line and back: median ${times.sort((a, b) => a - b)[20]?.toFixed(1)} ms`);
  });

  it("a name that comes to mean another address opens nothing: what is connected to is judged", async () => {
    const port = await serve(createHttpServer((_request, response) => void response.end("from outside\n")));
    const url = `http://turning.example.test:${port}/`;
    setAddress("turning.example.test", [10, 0, 2, 2]);
    expect(await run(`wget -q -O - ${url}`)).toBe("from outside");
    for (const [address, what] of [
      [[10, 9, 9, 9], "private addresses"],
      [[169, 254, 169, 254], "metadata services of clouds"],
      [[100, 64, 0, 1], "addresses of carrier-grade NAT"],
      [[198, 18, 0, 1], "addresses for benchmarks"],
    ] as const) {
      setAddress("turning.example.test", address);
      expect((await guest.guest.agent.run(`wget -q -O - ${url}`, 10_000)).status).not.toBe(0);
      const text = `Cannot connect to ${address.join(".")}: ${what} are not reachable from here`;
      await guest.client.message("refusal", (message) => message.text === text && message.port === port);
    }
  });

  it("a server that resets ends a download at once, with what came before", async () => {
    const port = await tcp((socket) => {
      socket.once("data", () => {
        socket.write(`HTTP/1.0 200 OK\r\nContent-Length: 100000\r\n\r\n${"x".repeat(5000)}`, () => {
          setTimeout(() => socket.resetAndDestroy(), 200);
        });
      });
    });
    const { status, output } = await guest.guest.agent.run(`wget -O /tmp/half http://10.0.2.2:${port}/`, 20_000);
    expect(status).not.toBe(0);
    expect(output).toMatch(/reset/i);
    expect(await run("wc -c </tmp/half")).toBe("5000");
  });

  it("a host that answers nothing is told so, in the guest and to the user", async () => {
    // A server that is stopped, its queue full: what comes then is dropped by the system without a word.
    const script =
      "require('net').createServer().listen({port:0,host:'127.0.0.1',backlog:1},function(){console.log(this.address().port)})";
    const child = spawn(process.execPath, ["-e", script]);
    closers.push(() => child.kill("SIGKILL"));
    const port = await new Promise<number>((resolve) => child.stdout.once("data", (text) => resolve(Number(text))));
    child.kill("SIGSTOP");
    for (let i = 0; i < 4; i++) {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => {});
      closers.push(() => socket.destroy());
    }
    const { status, output } = await guest.guest.agent.run(`wget -T 20 -O - http://10.0.2.2:${port}/`, 30_000);
    expect(status).not.toBe(0);
    expect(output).toMatch(/no route to host|unreachable/i);
    const refusal = await guest.client.message("refusal", (message) => message.port === port);
    expect(refusal.text).toBe("Cannot connect to 10.0.2.2: nobody answers");
  });

  it("nc as a server, reached through a forward, half-closed from outside", async () => {
    await run("(nc -l -p 7000 -e md5sum >/dev/null 2>&1 &); until netstat -ltn | grep -q :7000; do sleep 0.1; done");
    const { forward } = await guest.client.ask<Of<"forward">>({ type: "forward", kind: "tcp", port: 7000 });
    const [host, port] = forward.address.split(":") as [string, string];
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect({ host, port: Number(port), allowHalfOpen: true }, () => socket.end(FILE));
      let text = "";
      socket.on("data", (bytes) => {
        text += bytes.toString();
      });
      socket.on("end", () => resolve(text));
      socket.on("error", reject);
    });
    expect(answer).toContain(md5(FILE));
  });

  it("downloads and uploads while the websocket loses 10 % of the frames and delays 10 %", async () => {
    const half = FILE.subarray(0, 1 << 20);
    let lost = 0;
    let late = 0;
    let state = 7;
    const chance = (): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    const wire: Wire = () => {
      if (chance() < 0.1) {
        lost++;
        return [];
      }
      if (chance() >= 0.1) return [0];
      late++;
      return [1 + 10 * chance()];
    };
    const sums: string[] = [];
    const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
      const hash = createHash("md5");
      socket.on("error", () => {});
      socket.end(half);
      socket.on("data", (bytes) => void hash.update(bytes));
      socket.on("end", () => sums.push(hash.digest("hex")));
    });
    const port = await serve(server);
    guest.wire = wire;
    const down = await run(`nc 10.0.2.2 ${port} </dev/null >/tmp/file; md5sum </tmp/file`, 120_000);
    await run(`nc 10.0.2.2 ${port} </tmp/file >/dev/null`, 120_000);
    await expect.poll(() => sums.length).toBe(2);
    guest.wire = null;
    expect(down).toContain(md5(half));
    expect(sums[1]).toBe(md5(half));
    expect(lost).toBeGreaterThan(100);
    expect(late).toBeGreaterThan(100);
  }, 300_000);
});
