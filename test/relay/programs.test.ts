/** What busybox's programs in a real guest do over a relay's websocket, and over a bad one; the rest is in guest.test.ts. */
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { createServer as createHttpServer } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createResolver } from "../../relay/nat/dns-resolver.ts";
import { createNat } from "../../relay/nat/nat.ts";
import { type RelayOptions, readOptions } from "../../relay/options.ts";
import { createPolicy } from "../../relay/policy.ts";
import { buildTestInitramfs } from "../machine/guest.ts";
import { setAddress } from "./dns-server.ts";
import { type Of, type TestRelay, testRelay } from "./guests.ts";
import { LOOPBACK } from "./network.ts";
import { OnlineGuest, type Wire } from "./online-guest.ts";
import { checkPrograms, md5, TestServers } from "./program-checks.ts";

const FILE = randomBytes(2 << 20);

describe("busybox's programs over the relay", () => {
  let relay: TestRelay;
  let guest: OnlineGuest;
  const servers = new TestServers();
  const run = (command: string, ms?: number): Promise<string> => guest.run(command, ms);

  beforeAll(async () => {
    const words = ["--allow", "127.0.0.1", "--forward-ports", "42020-42030"];
    const engine = createNat({
      policy: createPolicy(readOptions(words, {}) as RelayOptions),
      hostAliases: LOOPBACK,
      resolver: createResolver({ servers: [await servers.names()] }),
      limits: { tcpConnectMs: 3000 },
    });
    relay = await testRelay(words, { engine });
    guest = await OnlineGuest.boot(relay.url, await buildTestInitramfs());
    await guest.booted();
  });
  afterAll(async () => {
    await guest?.stop();
    await relay?.close();
    servers.close();
  });

  checkPrograms((command, ms) => guest.run(command, ms), servers);

  it("a name that comes to mean another address opens nothing: what is connected to is judged", async () => {
    const port = await servers.serve(createHttpServer((_request, response) => void response.end("from outside\n")));
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
    const port = await servers.tcp((socket) => {
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
    servers.closers.push(() => child.kill("SIGKILL"));
    const port = await new Promise<number>((resolve) => child.stdout.once("data", (text) => resolve(Number(text))));
    child.kill("SIGSTOP");
    for (let i = 0; i < 4; i++) {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => {});
      servers.closers.push(() => socket.destroy());
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
    const port = await servers.serve(server);
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
