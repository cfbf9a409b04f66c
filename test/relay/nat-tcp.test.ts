import { spawn } from "node:child_process";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../relay/nat/address.ts";
import { createNat } from "../../relay/nat/nat.ts";
import { encodeSynOptions, FLAG } from "../../relay/nat/tcp-segment.ts";
import { arpFrame, GATEWAY, GUEST, icmpOf, RESOLVER, segmentsOf, TcpGuest, tcpFrame } from "./frame-guest.ts";
import { cleanups, OUTSIDE, serve, start } from "./nat-world.ts";
import { ALLOW_ALL, createPort, LOOPBACK } from "./network.ts";

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

  it("counts a connection that nobody here needs any more until the guest has taken all of it", async () => {
    const { guest, port } = start({ limits: { tcpConnections: 1 } });
    guest.receive(arpFrame(GATEWAY));
    const connecting = guest.connect(80);
    const [asked] = segmentsOf(port.frames.slice(1));
    if (!asked) throw new Error("no SYN");
    const reply = (flags: number, seq: number, taken: number, window: number): void =>
      guest.receive(
        tcpFrame({
          sourcePort: 80,
          destinationPort: asked.sourcePort,
          flags,
          seq,
          ack: (asked.seq + 1 + taken) >>> 0,
          window,
        }),
      );
    reply(FLAG.syn | FLAG.ack, 900, 0, 0);
    const stream = await connecting;
    stream.resume();
    stream.end("all of it");
    reply(FLAG.fin | FLAG.ack, 901, 0, 0);
    await new Promise((resolve) => stream.once("close", resolve));
    expect(guest.statistics.tcpOpen).toBe(1);
    await expect(guest.connect(81)).rejects.toThrow("it has 1 connections already");
    reply(FLAG.ack, 902, 0, 1000);
    reply(FLAG.ack, 902, 10, 1000);
    expect(guest.statistics.tcpOpen).toBe(0);
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
