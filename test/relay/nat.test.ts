import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { parseAddress, parseMac } from "../../relay/nat/address.ts";
import { decodeArp } from "../../relay/nat/arp.ts";
import { DHCP_OPTION, DHCP_TYPE, decodeDhcp, encodeDhcp } from "../../relay/nat/dhcp.ts";
import { encodeEcho } from "../../relay/nat/icmp.ts";
import { fragments, Ipv4 } from "../../relay/nat/ipv4.ts";
import { createNat } from "../../relay/nat/nat.ts";
import { createPinger, type Pinger } from "../../relay/nat/ping.ts";
import { getU16, setU16 } from "../../relay/nat/words.ts";
import {
  arpFrame,
  datagramsOf,
  GATEWAY,
  GUEST,
  icmpOf,
  ipFrame,
  MAC,
  packetsOf,
  RESOLVER,
  udpFrame,
} from "./frame-guest.ts";
import { dhcp } from "./guests.ts";
import { cleanups, OUTSIDE, start } from "./nat-world.ts";
import { ALLOW_ALL, createPort } from "./network.ts";

describe("the little network", () => {
  it("answers ARP for the gateway and the resolver, and for nobody else", () => {
    const { guest, port } = start();
    for (const target of [GATEWAY, RESOLVER, GUEST, GUEST + 1]) guest.receive(arpFrame(target));
    const replies = port.frames.map((frame) => decodeArp(frame, 14));
    expect(replies.map((reply) => reply?.senderAddress)).toEqual([GATEWAY, RESOLVER]);
    expect(replies[0]).toMatchObject({
      operation: 2,
      targetAddress: GUEST,
      targetMac: MAC,
      senderMac: parseMac("02:00:00:00:02:02"),
    });
    expect(guest.address).toBe("10.0.2.15");
    guest.receive(arpFrame(RESOLVER, 0)); // a probe
    expect(port.frames.length).toBe(3);
  });

  it("does not let the guest be the gateway", () => {
    const { guest, port } = start();
    guest.receive(arpFrame(GATEWAY, GATEWAY));
    guest.receive(udpFrame(GATEWAY, 1, new Uint8Array(1), 1, { source: RESOLVER }));
    guest.receive(udpFrame(GATEWAY, 1, new Uint8Array(1), 1, { source: OUTSIDE }));
    expect(port.frames).toEqual([]);
    expect(guest.address).toBeNull();
    expect(guest.statistics.dropped).toEqual({ "arp.sender": 1, "ipv4.source": 2 });
  });

  it("gives the address by DHCP, and another one to another guest of a room", () => {
    const nat = createNat({ policy: ALLOW_ALL });
    cleanups.push(() => nat.close());
    for (const [address, asked] of [
      ["10.0.2.15", undefined],
      ["10.0.2.16", "10.0.2.16"],
    ] as const) {
      const port = createPort();
      const guest = nat.attach(port, asked);
      const message = (type: number, requested?: string): Uint8Array =>
        encodeDhcp({
          op: 1,
          xid: 5,
          flags: 0,
          clientAddress: 0,
          yourAddress: 0,
          hardwareAddress: MAC,
          type,
          options: new Map([
            [DHCP_OPTION.type as number, Uint8Array.of(type)],
            ...(requested
              ? [[DHCP_OPTION.requestedAddress, Uint8Array.from(requested.split("."), Number)] as const]
              : []),
          ]),
        });
      const tell = (bytes: Uint8Array): void => guest.receive(udpFrame(0xffffffff, 67, bytes, 68, { source: 0 }));
      tell(message(DHCP_TYPE.discover));
      const [offer] = packetsOf(port.frames);
      expect(offer?.ip).toMatchObject({ source: GATEWAY, destination: parseAddress(address) });
      expect(offer?.frame.subarray(0, 6)).toEqual(MAC);
      expect(guest.address).toBeNull();
      tell(message(DHCP_TYPE.request, address));
      expect(datagramsOf(port.frames).map(({ data }) => decodeDhcp(data)?.type)).toEqual([
        DHCP_TYPE.offer,
        DHCP_TYPE.ack,
      ]);
      expect(guest.address).toBe(address);
      guest.receive(udpFrame(0xffffffff, 67, Buffer.alloc(300), 68, { source: 0 }));
      expect(guest.statistics.dropped).toEqual({ "dhcp.broken": 1 });
    }
  });

  it("answers so many DHCP requests a second", () => {
    const { guest, port } = start();
    for (let i = 0; i < 100; i++) guest.receive(dhcp([...MAC]));
    // Twice as many at once as in a second.
    expect(port.frames.length).toBe(20);
    expect(guest.statistics.dropped).toEqual({ "dhcp.rate": 80 });
  });

  it("drops and counts IPv6 and what it does not know", () => {
    const { guest, port } = start();
    const frame = ipFrame({ protocol: 17 }, new Uint8Array(8));
    setU16(frame, 12, 0x86dd);
    guest.receive(frame);
    setU16(frame, 12, 0x8100);
    guest.receive(frame);
    guest.receive(new Uint8Array(13));
    guest.receive(new Uint8Array(0));
    frame[0] = 0x04;
    guest.receive(frame);
    expect(guest.statistics.dropped).toEqual({ ipv6: 1, "ethernet.type": 1, "ethernet.short": 2, "ethernet.other": 1 });
    guest.receive(ipFrame({ protocol: 47 }, new Uint8Array(30)));
    expect(icmpOf(port.frames)).toEqual([{ type: 3, code: 2, from: GATEWAY }]);
  });
});

describe("pings", () => {
  const echo = encodeEcho(8, { id: 9, sequence: 3, data: Buffer.from("payload!") });

  it("are answered by the gateway and the resolver, fragmented too", () => {
    const { guest, port } = start();
    guest.receive(ipFrame({ protocol: 1 }, echo));
    guest.receive(ipFrame({ protocol: 1, destination: RESOLVER }, echo));
    expect(icmpOf(port.frames)).toEqual([
      { type: 0, code: 0, from: GATEWAY },
      { type: 0, code: 0, from: RESOLVER },
    ]);
    expect(Buffer.from(port.frames[0]?.subarray(38) ?? []).toString("latin1")).toBe("\0\x09\0\x03payload!");
    port.frames.length = 0;
    const large = encodeEcho(8, { id: 9, sequence: 4, data: new Uint8Array(5000).fill(7) });
    for (const { offset, length, more } of [...fragments(large.length, 1500)].reverse())
      guest.receive(
        ipFrame(
          { protocol: 1, id: 77, fragmentOffset: offset, moreFragments: more },
          large.subarray(offset, offset + length),
        ),
      );
    expect(packetsOf(port.frames).map(({ ip }) => [ip.fragmentOffset, ip.end - ip.payload, ip.moreFragments])).toEqual([
      [0, 1480, true],
      [1480, 1480, true],
      [2960, 1480, true],
      [4440, 568, false],
    ]);
  });

  it("beyond it are what the system says, or refused", async () => {
    const asked: unknown[] = [];
    const results: Record<string, Awaited<ReturnType<Pinger>>> = {
      "192.0.2.1": { kind: "reply", ttl: 55 },
      "192.0.2.2": { kind: "silence" },
      "192.0.2.3": { kind: "unsupported" },
    };
    const { guest, port } = start({
      pinger: async (address, options) => {
        asked.push([address, options]);
        return results[address] ?? { kind: "silence" };
      },
      policy: {
        refuse: (protocol, address, number) =>
          protocol === "icmp" && address === "192.0.2.9" && number === 0 ? "not you" : null,
      },
    });
    for (const last of [1, 2, 3, 9]) guest.receive(ipFrame({ protocol: 1, destination: OUTSIDE - 1 + last }, echo));
    await sleep(10);
    expect(asked).toEqual([1, 2, 3].map((last) => [`192.0.2.${last}`, { ttl: 63, dataLength: 8 }]));
    expect(icmpOf(port.frames)).toEqual([
      { type: 3, code: 13, from: GATEWAY },
      { type: 0, code: 0, from: OUTSIDE },
      { type: 3, code: 13, from: GATEWAY },
    ]);
    expect(packetsOf(port.frames)[1]?.ip.ttl).toBe(55);
    expect(port.told.map(({ kind, text }) => `${kind} ${text}`)).toEqual([
      "policy Cannot ping 192.0.2.9: not you",
      "unreachable Cannot ping 192.0.2.3: the relay's system cannot ping",
    ]);
  });

  it("are few", async () => {
    let asked = 0;
    const { guest, port } = start({
      pinger: async () => {
        asked++;
        return { kind: "silence" };
      },
    });
    for (let i = 0; i < 100; i++) guest.receive(ipFrame({ protocol: 1, destination: OUTSIDE }, echo));
    await sleep(5);
    expect(asked).toBe(4);
    expect(icmpOf(port.frames).length).toBe(96);
    expect(port.told.length).toBeLessThanOrEqual(6);
  });

  it("run the system's program", async () => {
    const directory = mkdtempSync(join(tmpdir(), "ping-"));
    cleanups.push(() => rmSync(directory, { recursive: true }));
    const program = join(directory, "ping");
    const write = (script: string): void => {
      writeFileSync(program, `#!/bin/sh\n${script}\n`);
      chmodSync(program, 0o755);
    };
    const ask = (): ReturnType<Pinger> => createPinger(program)("192.0.2.1", { ttl: 9, dataLength: 56 });
    write(
      `[ "$*" = "-c 1 -W 3 -s 56 -t 9 192.0.2.1" ] && echo "64 bytes from 192.0.2.1: icmp_seq=1 ttl=57 time=9.1 ms"`,
    );
    expect(await ask()).toEqual({ kind: "reply", ttl: 57 });
    write(`echo "1 packets transmitted, 0 received, 100% packet loss, time 0ms"; exit 1`);
    expect(await ask()).toEqual({ kind: "silence" });
    write("echo 'socket: Operation not permitted' >&2; exit 2");
    expect(await ask()).toEqual({ kind: "unsupported" });
    expect(await createPinger(join(directory, "none"))("192.0.2.1", { ttl: 9, dataLength: 56 })).toEqual({
      kind: "unsupported",
    });
  });

  it("and other packets that have been on the way too long are told so", () => {
    const { guest, port } = start();
    guest.receive(udpFrame(OUTSIDE, 33434, new Uint8Array(8), 4000, { ttl: 1 }));
    expect(icmpOf(port.frames)).toEqual([{ type: 11, code: 0, from: GATEWAY }]);
    // It quotes what it is about: the destination's address and both ports.
    const frame = port.frames[0] ?? new Uint8Array(0);
    const quoted = new Ipv4();
    expect(quoted.decode(frame, 42)).toBeNull();
    expect([quoted.destination, getU16(frame, quoted.payload), getU16(frame, quoted.payload + 2)]).toEqual([
      OUTSIDE,
      4000,
      33434,
    ]);
  });
});
