/**
 * What busybox's programs do in a real guest over a relay, against real servers on 127.0.0.1, which the guest finds at 10.0.2.2:
 * in Node by programs.test.ts, in Chromium by network-programs.test.ts.
 */
import { createHash } from "node:crypto";
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { createServer as createHttpServer, type IncomingMessage } from "node:http";
import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import { expect, it } from "vitest";
import { answerBytes } from "./bytes-server.mjs";
import { answerTest, makeQuery } from "./dns-server.ts";
import { listen } from "./guests.ts";

/** @returns what the command printed; rejects when it fails */
export type Run = (command: string, ms?: number) => Promise<string>;

const isRoot = process.getuid?.() === 0;
const MIB = 2 ** 20;
export const md5 = (bytes: Uint8Array): string => createHash("md5").update(bytes).digest("hex");

/** Servers of one test file. */
export class TestServers {
  readonly closers: (() => unknown)[] = [];

  async serve(server: Server): Promise<number> {
    this.closers.push(() => server.close());
    return await listen(server);
  }

  tcp(onConnection: (socket: Socket) => void): Promise<number> {
    return this.serve(
      createTcpServer({ allowHalfOpen: true }, (socket) => {
        socket.on("error", () => {});
        onConnection(socket);
      }),
    );
  }

  /** @param afterMs how long the server takes for each answer */
  async udp(port: number, answer: (message: Buffer) => Uint8Array, afterMs = 0): Promise<UdpSocket> {
    const socket = createSocket("udp4");
    const waiting = new Set<ReturnType<typeof setTimeout>>();
    this.closers.push(() => waiting.forEach(clearTimeout));
    socket.on("message", (message, from) => {
      const bytes = answer(message);
      const timer = setTimeout(() => {
        waiting.delete(timer);
        socket.send(bytes, from.port, from.address);
      }, afterMs);
      waiting.add(timer);
    });
    await new Promise<void>((resolve) => socket.bind(port, "127.0.0.1", resolve));
    this.closers.push(() => socket.close());
    return socket;
  }

  /** dns-server.ts' names over UDP, up to 512 bytes, and TCP. @returns "127.0.0.1:PORT" */
  async names(): Promise<string> {
    const { port } = (await this.udp(0, (query) => answerTest(query, 512))).address();
    const server = createTcpServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", (bytes: Buffer) => {
        const answer = answerTest(bytes.subarray(2));
        socket.end(Buffer.concat([Buffer.of(answer.length >> 8, answer.length & 255), answer]));
      });
    });
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    this.closers.push(() => server.close());
    return `127.0.0.1:${port}`;
  }

  close(): void {
    for (const close of this.closers) close();
  }
}

/** The tests themselves, in the caller's `describe`. The relay must allow 127.0.0.1 and ask `TestServers.names`. */
export function checkPrograms(run: Run, servers: TestServers): void {
  it("HTTP keep-alive: two requests on one connection", async () => {
    const requests: IncomingMessage[] = [];
    const port = await servers.serve(
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
    // An answer that takes four times as long as the one before it counts for nothing to busybox's ntpd, which asks again
    // after half a minute or more. On a busy machine a millisecond becomes four; a third of a second does not.
    const answerMs = 300;
    // 2031-02-03 04:05:06 UTC, in seconds since 1900 (RFC 5905, figure 8).
    const seconds = Date.UTC(2031, 1, 3, 4, 5, 6) / 1000 + 2_208_988_800;
    await servers.udp(
      123,
      (query) => {
        const answer = Buffer.alloc(48);
        // Version 4, server, stratum 1.
        answer.set([0x24, 1, query[2] ?? 0, 0xec]);
        query.copy(answer, 24, 40, 48);
        for (const at of [16, 32, 40]) answer.writeUInt32BE(seconds, at);
        return answer;
      },
      answerMs,
    );
    const before = await run("date +%s");
    await run("ntpd -n -q -p 10.0.2.2", 30_000);
    expect(await run("date -u +%Y-%m-%dT%H:%M")).toBe("2031-02-03T04:05");
    await run(`date -s @${before}`);
  });

  it("telnet: each line is there before the next is asked for", async () => {
    const times: number[] = [];
    const port = await servers.tcp((socket) => {
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

  it("downloads 64 MB whole, and 50 files at a time", async () => {
    const port = await servers.serve(createHttpServer(answerBytes));
    const sum = (mib: number): string => md5(Buffer.alloc(mib * MIB, "0123456789abcdef"));
    const fetch = (mib: number): string => `wget -q -O - http://10.0.2.2:${port}/bytes/${mib * MIB} | md5sum`;
    expect(await run(fetch(64), 120_000)).toBe(`${sum(64)}  -`);
    const sums = await run(`for i in $(seq 50); do (${fetch(1)}) & done; wait`, 120_000);
    expect(sums.split("\n")).toEqual(Array(50).fill(`${sum(1)}  -`));
  }, 260_000);

  it("uploads 64 MB whole by nc, and hears the server's last word", async () => {
    const sums: string[] = [];
    const port = await servers.tcp((socket) => {
      const hash = createHash("md5");
      socket.on("data", (bytes) => void hash.update(bytes));
      socket.on("end", () => {
        sums.push(hash.digest("hex"));
        socket.end("done\n");
      });
    });
    expect(await run(`dd if=/dev/zero bs=64k count=1024 2>/dev/null | nc 10.0.2.2 ${port}`, 120_000)).toBe("done");
    const sum = await run("head -c 4000000 /dev/urandom >/tmp/up; md5sum </tmp/up | cut -c1-32");
    expect(await run(`nc 10.0.2.2 ${port} </tmp/up`, 60_000)).toBe("done");
    expect(sums).toEqual([md5(Buffer.alloc(64 * MIB)), sum]);
  }, 260_000);

  it("pings the router, and is told that others cannot be", async () => {
    expect(await run("ping -c 3 -W 2 10.0.2.2")).toMatch(/3 packets transmitted, 3 packets received/);
    expect(await run("ping -c 1 -W 2 10.77.0.1 2>&1; true")).toMatch(/1 packets transmitted, 0 packets received/);
  });
}
