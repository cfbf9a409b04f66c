import { createHash, randomBytes } from "node:crypto";
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Engine, EngineGuest } from "../../relay/engine.ts";
import { createResolver } from "../../relay/nat/dns-resolver.ts";
import { createNat } from "../../relay/nat/nat.ts";
import { bootGuest, buildTestInitramfs, type Guest } from "../machine/guest.ts";
import { answerTest } from "./dns-server.ts";
import { ALLOW_ALL, createPort, LOOPBACK, type TestPort } from "./network.ts";

const MIB = 1024 * 1024;
const BODY = randomBytes(MIB);

function listen(
  onConnection: (socket: Socket) => void,
  allowHalfOpen = false,
): Promise<{ server: Server; port: number }> {
  return new Promise((resolve) => {
    const server = createServer({ allowHalfOpen }, (socket) => {
      socket.on("error", () => {});
      onConnection(socket);
    });
    server.listen(0, "127.0.0.1", () => resolve({ server, port: (server.address() as AddressInfo).port }));
  });
}

/** Sends BODY `blocks` times after a head; slower receivers make it wait. */
function sendBody(socket: Socket, blocks: number): void {
  socket.once("data", () => {
    socket.write(`HTTP/1.0 200 OK\r\nContent-Length: ${blocks * BODY.length}\r\n\r\n`);
    let left = blocks;
    const more = (): void => {
      while (left > 0) {
        left--;
        if (!socket.write(BODY)) {
          socket.once("drain", more);
          return;
        }
      }
      socket.end();
    };
    more();
  });
}

function hashOf(blocks: number): string {
  const hash = createHash("md5");
  for (let i = 0; i < blocks; i++) hash.update(BODY);
  return hash.digest("hex");
}

describe("a Linux guest behind the NAT", () => {
  let machine: Guest;
  let nat: Engine;
  let port: TestPort;
  let guest: EngineGuest;
  let dns: UdpSocket;
  /** One frame of so many is lost, in each direction; 0: none. */
  let loss = 0;
  let frames = 0;
  const isLost = (): boolean => loss > 0 && ++frames % loss === 0;
  const servers: Server[] = [];
  const run = async (command: string, ms = 30_000): Promise<string> => {
    const { status, output } = await machine.agent.run(command, ms);
    expect(status, `${command}: ${output}`).toBe(0);
    return output.trim();
  };
  const serve = async (onConnection: (socket: Socket) => void, allowHalfOpen = false): Promise<number> => {
    const { server, port: number } = await listen(onConnection, allowHalfOpen);
    servers.push(server);
    return number;
  };

  beforeAll(async () => {
    dns = createSocket("udp4");
    await new Promise<void>((resolve) => dns.bind(0, "127.0.0.1", resolve));
    dns.on("message", (query, { port: to, address }) => dns.send(answerTest(query), to, address));
    nat = createNat({
      policy: ALLOW_ALL,
      hostAliases: LOOPBACK,
      pinger: null,
      resolver: createResolver({ servers: [`127.0.0.1:${dns.address().port}`] }),
    });
    port = createPort((frame) => {
      if (!isLost()) machine.machine.sendFrame(frame);
    });
    guest = nat.attach(port);
    machine = await bootGuest({
      initramfs: await buildTestInitramfs(),
      onFrame: (frame) => {
        if (!isLost()) guest.receive(frame);
      },
    });
    await machine.until(() => machine.watch.promptMs !== null, "prompt", 60_000);
    await run("for i in 1 2 3 4 5 6 7 8 9 10; do ip route | grep -q default && break; sleep 0.3; done");
  });
  afterAll(async () => {
    await machine?.machine.stop();
    await nat?.close();
    dns?.close();
    for (const server of servers) server.close();
  });

  it("has its address, route and resolver by DHCP", async () => {
    expect(await run("ip -4 -o addr show eth0")).toContain("10.0.2.15/24");
    expect(await run("ip route")).toContain("default via 10.0.2.2");
    expect(await run("cat /etc/resolv.conf")).toBe("nameserver 10.0.2.3");
    expect(guest.address).toBe("10.0.2.15");
  });

  it("renews its lease", async () => {
    expect(await run("udhcpc -n -q -i eth0 2>&1")).toMatch(/lease of 10\.0\.2\.15 obtained/);
  });

  it("pings the gateway, large and in fragments, and nobody who is not there", async () => {
    expect(await run("ping -c 3 -A 10.0.2.2")).toContain("3 packets received");
    expect(await run("ping -c 2 -A -s 4000 10.0.2.3")).toContain("2 packets received");
    expect((await machine.agent.run("ping -c 1 -W 1 192.0.2.1", 10_000)).output).toContain("0 packets received");
    expect(port.told.at(-1)).toMatchObject({ kind: "unreachable", protocol: "icmp", destination: "192.0.2.1" });
  });

  it("resolves names of all types", async () => {
    expect(await run("nslookup www.example.test 2>&1")).toMatch(/192\.0\.2\.80/);
    expect(await run("nslookup -type=AAAA www.example.test 2>&1")).toMatch(/2001:db8::80/);
    expect(await run("nslookup -type=TXT www.example.test 2>&1")).toMatch(/hello world/);
    expect(await run("nslookup -type=PTR 80.2.0.192.in-addr.arpa 2>&1")).toMatch(/www\.example\.test/);
    expect((await machine.agent.run("nslookup missing.example.test 2>&1", 10_000)).output).toMatch(/NXDOMAIN/);
  });

  it("downloads 64 MB without a wrong bit", async () => {
    const number = await serve((socket) => sendBody(socket, 64));
    const url = `http://10.0.2.2:${number}/`;
    await run(`wget -q -O /dev/null ${url}`, 120_000);
    const startedAt = performance.now();
    await run(`wget -q -O /dev/null ${url}`, 120_000);
    console.log(`download ${(64_000 / (performance.now() - startedAt)).toFixed(1)} MiB/s`);
    expect(await run(`wget -q -O - ${url} | md5sum`, 120_000)).toContain(hashOf(64));
  }, 400_000);

  it("uploads 64 MB without a wrong bit", async () => {
    const results: { hash: string; bytes: number; ms: number }[] = [];
    const number = await serve((socket) => {
      const hash = createHash("md5");
      let bytes = 0;
      const startedAt = performance.now();
      socket.on("data", (chunk) => {
        bytes += chunk.length;
        hash.update(chunk);
      });
      socket.on("end", () => {
        results.push({ hash: hash.digest("hex"), bytes, ms: performance.now() - startedAt });
        socket.end("done\n");
      });
    }, true);
    const zeros = createHash("md5")
      .update(Buffer.alloc(64 * MIB))
      .digest("hex");
    for (let i = 0; i < 2; i++)
      expect(await run(`dd if=/dev/zero bs=64k count=1024 2>/dev/null | nc 10.0.2.2 ${number}`, 120_000)).toBe("done");
    expect(results.map(({ hash, bytes }) => ({ hash, bytes }))).toEqual(
      [0, 1].map(() => ({ hash: zeros, bytes: 64 * MIB })),
    );
    console.log(`upload ${results.map(({ ms }) => (64_000 / ms).toFixed(1)).join(", ")} MiB/s`);
    // And something that is not all the same.
    const sum = await run("head -c 4000000 /dev/urandom >/tmp/up; md5sum </tmp/up | cut -c1-32");
    await run(`nc 10.0.2.2 ${number} </tmp/up`, 60_000);
    expect(results.at(-1)?.hash).toBe(sum);
  }, 400_000);

  it("downloads and uploads while every 11th frame is lost", async () => {
    const number = await serve((socket) => sendBody(socket, 4));
    const sums: string[] = [];
    const sink = await serve((socket) => {
      const hash = createHash("md5");
      socket.on("data", (chunk) => hash.update(chunk));
      socket.on("end", () => {
        sums.push(hash.digest("hex"));
        socket.end();
      });
    }, true);
    loss = 11;
    try {
      expect(await run(`wget -q -O - http://10.0.2.2:${number}/ | md5sum`, 120_000)).toContain(hashOf(4));
      const sum = await run("md5sum </tmp/up | cut -c1-32");
      await run(`nc 10.0.2.2 ${sink} </tmp/up`, 120_000);
      await expect.poll(() => sums).toEqual([sum]);
    } finally {
      loss = 0;
    }
  }, 300_000);

  it("downloads 50 files at a time", async () => {
    const number = await serve((socket) => sendBody(socket, 1));
    const sums = await run(
      `for i in $(seq 50); do (wget -q -O - http://10.0.2.2:${number}/ | md5sum) & done; wait`,
      120_000,
    );
    expect(sums.split("\n")).toEqual(Array(50).fill(`${hashOf(1)}  -`));
  }, 200_000);

  it("half-closes: what was sent before the end is answered after it", async () => {
    const number = await serve((socket) => {
      let text = "";
      socket.on("data", (chunk) => {
        text += String(chunk);
      });
      socket.on("end", () => setTimeout(() => socket.end(`got ${text}`), 200));
    }, true);
    expect(await run(`printf hello | nc 10.0.2.2 ${number}`)).toBe("got hello");
  });

  it("is refused at once where nobody listens", async () => {
    const { server, port: closed } = await listen(() => {});
    await new Promise((resolve) => server.close(resolve));
    const startedAt = performance.now();
    expect((await machine.agent.run(`wget -O - http://10.0.2.2:${closed}/ 2>&1`, 10_000)).output).toMatch(/refused/);
    expect(performance.now() - startedAt).toBeLessThan(3000);
  });

  it("is reached from outside: busybox httpd on port 80", async () => {
    await expect(guest.connect(80)).rejects.toThrow("Cannot connect to the guest's port 80: it refuses");
    await run("mkdir -p /tmp/www && head -c 3000000 /dev/urandom >/tmp/www/x && httpd -p 80 -h /tmp/www");
    const sum = (await run("md5sum /tmp/www/x")).slice(0, 32);
    const stream = await guest.connect(80);
    stream.end("GET /x HTTP/1.0\r\n\r\n");
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    const all = Buffer.concat(chunks);
    const body = all.subarray(all.indexOf("\r\n\r\n") + 4);
    expect(createHash("md5").update(body).digest("hex")).toBe(sum);
  });

  it("answers datagrams from outside", async () => {
    await run("udpsvd -vE 0 7 cat >/dev/null 2>&1 & sleep 0.5");
    const answer = await new Promise<string>((resolve) => {
      const channel = guest.openUdp(7, (data) => {
        channel.close();
        resolve(Buffer.from(data).toString());
      });
      channel.send(Buffer.from("echo me"));
    });
    expect(answer).toBe("echo me");
  });

  it("dropped nothing but IPv6 on the way, and has nothing left open", async () => {
    await expect.poll(() => guest.statistics.tcpOpen).toBe(0);
    const { dropped } = guest.statistics;
    expect(Object.keys(dropped).filter((what) => what !== "ipv6")).toEqual([]);
  });
});
