import { describe, expect, it } from "vitest";
import { encodeIcmpError } from "../../relay/nat/icmp.ts";
import { Ipv4, writeIpv4 } from "../../relay/nat/ipv4.ts";
import { FLAG, Segment } from "../../relay/nat/tcp-segment.ts";
import { decodeUdp } from "../../relay/nat/udp.ts";
import { setU16 } from "../../relay/nat/words.ts";
import { mapInward, mapOutward } from "../../relay/vde/address-map.ts";
import { makeQuery } from "./dns-server.ts";
import { arpFrame, GATEWAY, GUEST, ipFrame, RESOLVER, tcpFrame, udpFrame } from "./frame-guest.ts";
import { bytes, change, mapBack, PUBLIC, ping, to } from "./vde-frames.ts";

describe("the map of addresses", () => {
  const real = { guest: to("198.18.0.2"), gateway: to("198.18.0.1"), dns: to("198.18.0.1") };
  const seen = { guest: GUEST, gateway: GATEWAY, dns: RESOLVER };

  it("corrects all checksums, and comes back to the same bytes", () => {
    const frames = [
      tcpFrame({ destination: PUBLIC, destinationPort: 80, flags: FLAG.syn, data: bytes("odd") }),
      udpFrame(PUBLIC, 9, bytes("hello")),
      udpFrame(RESOLVER, 53, makeQuery("a.test", 1)),
      change(udpFrame(PUBLIC, 9, bytes("no sum")), 40, 0, 0),
      ping(PUBLIC),
      ipFrame({ protocol: 17, destination: PUBLIC, fragmentOffset: 800 }, new Uint8Array(100)),
    ];
    for (const original of frames) {
      const frame = original.slice();
      mapOutward(frame, seen, real);
      const ip = new Ipv4();
      expect(ip.decode(frame, 14)).toBeNull();
      expect(ip.source).toBe(real.guest);
      if (ip.protocol === 6)
        expect(new Segment().decode(frame, ip.payload, ip.end, ip.source, ip.destination)).toBeNull();
      if (ip.protocol === 17 && ip.fragmentOffset === 0)
        expect(decodeUdp(frame, ip.payload, ip.end, ip.source, ip.destination)).toBeTypeOf("object");
      mapBack(frame);
      expect(mapInward(frame, seen, real)).toBe(true);
      mapBack(frame);
      expect(frame).toEqual(original);
    }
  });

  it("tells the guest of its own packet in an error, in the gateway's name", () => {
    const packet = udpFrame(RESOLVER, 53, makeQuery("a.test", 1));
    mapOutward(packet, seen, real);
    const error = encodeIcmpError(3, 3, packet.subarray(14));
    const frame = ipFrame({ protocol: 1, source: real.dns, destination: real.guest }, error);
    expect(mapInward(frame, seen, real)).toBe(true);
    const ip = new Ipv4();
    expect(ip.decode(frame, 14)).toBeNull();
    expect([ip.source, ip.destination]).toEqual([GATEWAY, GUEST]);
    expect(ip.decode(frame, ip.payload + 8)).toBeNull();
    expect([ip.source, ip.destination]).toEqual([GUEST, RESOLVER]);
  });

  it("leaves alone what is not for the guest, or broken", () => {
    expect(mapInward(udpFrame(PUBLIC, 9, bytes("x")), seen, real)).toBe(false);
    expect(mapInward(arpFrame(GUEST), seen, real)).toBe(false);
    expect(mapInward(new Uint8Array(20), seen, real)).toBe(false);
    const random = new Uint8Array(60).fill(0x45);
    for (let i = 0; i < 256; i++) {
      writeIpv4(random, 14, { source: PUBLIC, destination: real.guest, protocol: 1, id: 1 }, 26);
      setU16(random, 16, i);
      random[34] = 3;
      mapInward(random, seen, real);
    }
  });
});
