import { createSocket } from "node:dgram";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { EngineGuest } from "../../relay/engine.ts";
import { decodeDns } from "../../relay/nat/dns-message.ts";
import { createResolver } from "../../relay/nat/dns-resolver.ts";
import { getU16, setU16 } from "../../relay/nat/words.ts";
import { answerTest, makeQuery } from "./dns-server.ts";
import { datagramsOf, packetsOf, RESOLVER, readAll, udpFrame } from "./frame-guest.ts";
import { bindUdp, cleanups, serve, standsStill, start, withTcp } from "./nat-world.ts";
import type { TestPort } from "./network.ts";

describe("DNS", () => {
  const ask = async (port: TestPort, guest: EngineGuest, query: Uint8Array): Promise<Uint8Array> => {
    port.frames.length = 0;
    guest.receive(udpFrame(RESOLVER, 53, query));
    await expect.poll(() => port.frames.length).toBe(1);
    const [datagram] = datagramsOf(port.frames);
    expect(datagram).toMatchObject({ sourcePort: 53, destinationPort: 4000 });
    return datagram?.data ?? new Uint8Array(0);
  };

  /** Over UDP up to 512 bytes, and over TCP on the same port. */
  async function nameServer(tamper: (answer: Uint8Array) => Uint8Array[] = (answer) => [answer]): Promise<string> {
    const { port: number } = await serve((socket) => {
      socket.on("data", (chunk: Buffer) => {
        const answer = answerTest(chunk.subarray(2));
        const head = Buffer.alloc(2);
        head.writeUInt16BE(answer.length);
        // In two pieces, as TCP may.
        socket.write(Buffer.concat([head, answer.subarray(0, 20)]));
        setTimeout(() => socket.write(answer.subarray(20)), 5);
      });
    });
    const socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(number, "127.0.0.1", resolve));
    cleanups.push(() => socket.close());
    socket.on("message", (query, from) => {
      for (const answer of tamper(answerTest(query, 512))) socket.send(answer, from.port, from.address);
    });
    return `127.0.0.1:${number}`;
  }

  it("is forwarded with the guest's identifier, whatever is asked", async () => {
    const { guest, port } = start({ resolver: createResolver({ servers: [await nameServer()] }) });
    const query = makeQuery("www.example.test", 1, 0xbeef);
    const answer = await ask(port, guest, query);
    expect(decodeDns(answer)).toMatchObject({ id: 0xbeef, isAnswer: true, rcode: 0 });
    expect([...answer.subarray(-4)]).toEqual([192, 0, 2, 80]);
    expect(decodeDns(await ask(port, guest, makeQuery("nothing.test", 65)))).toMatchObject({ rcode: 3 });
  });

  it("waits for the right answer among forged ones", async () => {
    const server = await nameServer((answer) => {
      const wrongId = Uint8Array.from(answer);
      setU16(wrongId, 0, (getU16(answer, 0) + 1) & 0xffff);
      wrongId.set([6, 6, 6, 6], wrongId.length - 4);
      const wrongName = Uint8Array.from(answer);
      wrongName[13] = 0x78;
      return [wrongId, wrongName, Buffer.from("rubbish"), answer];
    });
    const { guest, port } = start({ resolver: createResolver({ servers: [server] }) });
    expect([...(await ask(port, guest, makeQuery("www.example.test", 1))).subarray(-4)]).toEqual([192, 0, 2, 80]);
  });

  it("fetches what does not fit over TCP; the guest does so too", async () => {
    const server = await nameServer();
    const over = withTcp({ resolver: createResolver({ servers: [server] }) });
    const tcpSend = over.port.send;
    over.port.send = (frame) => void over.port.frames.push(frame);
    const query = makeQuery("big.example.test", 16);
    // 512 bytes are what the guest takes over UDP.
    expect(decodeDns(await ask(over.port, over.guest, query))).toMatchObject({
      isTruncated: true,
      name: "big.example.test",
    });
    // With EDNS it takes the whole, in fragments.
    const edns = Buffer.concat([query, Buffer.of(0, 0, 41, 0x20, 0, 0, 0, 0, 0, 0, 0)]);
    edns[11] = 1;
    over.port.frames.length = 0;
    over.guest.receive(udpFrame(RESOLVER, 53, edns));
    await expect.poll(() => packetsOf(over.port.frames).map(({ ip }) => ip.moreFragments)).toEqual([true, true, false]);
    over.port.send = tcpSend;
    const stream = over.tcp.connect(RESOLVER, 53);
    const head = Buffer.of(0, query.length);
    stream.write(Buffer.concat([head, query, head, makeQuery("www.example.test", 1, 2).subarray(0, 5)]));
    stream.end(makeQuery("www.example.test", 1, 2).subarray(5));
    const all = await readAll(stream);
    const lengths: number[] = [];
    for (let at = 0; at < all.length; at += 2 + all.readUInt16BE(at)) lengths.push(all.readUInt16BE(at));
    expect(lengths.sort((a, b) => a - b)).toEqual([50, 3118]);
  });

  it("over TCP holds back a guest that reads no answers", async () => {
    let asked = 0;
    const resolver = {
      ask: async (query: Uint8Array) => {
        asked++;
        return Buffer.concat([query, Buffer.alloc(60_000)]);
      },
    };
    const { tcp } = withTcp({ resolver, limits: { dnsQueriesPerSecond: 10_000 } });
    const stream = tcp.connect(RESOLVER, 53);
    const query = makeQuery("www.example.test", 1);
    for (let i = 0; i < 400; i++) stream.write(Buffer.concat([Buffer.of(0, query.length), query]));
    stream.end();
    await standsStill(() => asked);
    expect(asked).toBeGreaterThan(0);
    expect(asked).toBeLessThan(40);
    expect((await readAll(stream)).length).toBe(400 * (2 + query.length + 60_000));
  });

  it("tells when nobody answers, and asks the next server first", async () => {
    const silent = await bindUdp();
    const silentServer = `127.0.0.1:${silent.address().port}`;
    const { guest, port } = start({ resolver: createResolver({ servers: [silentServer], timeoutMs: 50 }) });
    expect(decodeDns(await ask(port, guest, makeQuery("www.example.test", 1)))).toMatchObject({
      rcode: 2,
      name: "www.example.test",
    });
    expect(port.told).toMatchObject([{ kind: "unreachable", protocol: "dns", destination: "www.example.test" }]);
    const second = start({ resolver: createResolver({ servers: [silentServer, await nameServer()], timeoutMs: 50 }) });
    expect(decodeDns(await ask(second.port, second.guest, makeQuery("www.example.test", 1)))).toMatchObject({
      rcode: 0,
    });
    const none = start({ resolver: createResolver({ servers: [] }) });
    expect(decodeDns(await ask(none.port, none.guest, makeQuery("www.example.test", 1)))).toMatchObject({ rcode: 2 });
  });

  it("is limited, and answers nonsense with an error or not at all", async () => {
    const { guest, port } = start({ resolver: { ask: () => new Promise(() => {}) }, limits: { dnsPending: 5 } });
    for (let i = 0; i < 8; i++) guest.receive(udpFrame(RESOLVER, 53, makeQuery("www.example.test", 1, i)));
    await expect.poll(() => datagramsOf(port.frames).map(({ data }) => decodeDns(data)?.rcode)).toEqual([5, 5, 5]);
    port.frames.length = 0;
    guest.receive(udpFrame(RESOLVER, 53, Buffer.from("short")));
    guest.receive(udpFrame(RESOLVER, 53, answerTest(makeQuery("www.example.test", 1))));
    guest.receive(udpFrame(RESOLVER, 53, makeQuery("www.example.test", 1).subarray(0, 20)));
    await sleep(20);
    expect(datagramsOf(port.frames).map(({ data }) => decodeDns(data)?.rcode)).toEqual([1]);
  });
});
