import { describe, expect, it } from "vitest";
import { formatAddress, isMartian, parseAddress, parseMac } from "../../relay/nat/address.ts";
import { decodeArp, encodeArp } from "../../relay/nat/arp.ts";
import { addWords, finishChecksum } from "../../relay/nat/checksum.ts";
import { fragments, Ipv4, type Ipv4Fields, writeIpv4 } from "../../relay/nat/ipv4.ts";
import { readSubnet } from "../../relay/nat/link.ts";
import { DEFAULT_SUBNET } from "../../relay/nat/nat.ts";
import { Reassembly } from "../../relay/nat/reassembly.ts";
import { TimerWheel } from "../../relay/nat/timers.ts";
import { copyOf, getU16, getU32, setU16, setU32 } from "../../relay/nat/words.ts";
import { VirtualClock } from "./scripted-peer.ts";

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/\s/g, ""), "hex"));
const GUEST = parseAddress("10.0.2.15");
const SERVER = parseAddress("192.0.2.1");

describe("checksums", () => {
  it("are those of RFC 1071, section 3, and of a well-known IPv4 header", () => {
    expect(addWords(hex("0001 f203 f4f5 f6f7"), 0, 8)).toBe(0x2ddf0);
    expect(finishChecksum(0x2ddf0)).toBe(0x220d);
    expect(finishChecksum(addWords(hex("4500 0073 0000 4000 4011 0000 c0a8 0001 c0a8 00c7"), 0, 20))).toBe(0xb861);
    expect(finishChecksum(addWords(hex("4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7"), 0, 20))).toBe(0);
  });

  it("are the same for all lengths and offsets as the plain definition", () => {
    const bytes = Uint8Array.from({ length: 2000 }, (_, i) => (i * 131 + (i >> 3)) & 255);
    const plain = (start: number, end: number): number => {
      let sum = 0;
      for (let i = start; i < end; i += 2)
        sum += (bytes[i] as number) * 256 + (i + 1 < end ? (bytes[i + 1] as number) : 0);
      while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
      return ~sum & 0xffff;
    };
    for (let start = 0; start < 5; start++)
      for (let length = 0; length < 400; length++)
        expect(finishChecksum(addWords(bytes, start, start + length))).toBe(plain(start, start + length));
    expect(finishChecksum(addWords(bytes, 1, 1999))).toBe(plain(1, 1999));
    expect(finishChecksum(addWords(new Uint8Array(65535).fill(255), 0, 65535))).toBe(0x00ff);
  });
});

describe("words and addresses", () => {
  it("keep all 32 bits", () => {
    const bytes = new Uint8Array(8);
    setU32(bytes, 1, 0xfedcba98);
    setU16(bytes, 5, 0xffee);
    expect([getU32(bytes, 1), getU16(bytes, 5)]).toEqual([0xfedcba98, 0xffee]);
    const buffer = Buffer.from([1, 2, 3]);
    const copy = copyOf(buffer, 1);
    buffer[1] = 9;
    expect([...copy]).toEqual([2, 3]);
  });

  it("are read strictly", () => {
    expect(formatAddress(parseAddress("255.0.128.1"))).toBe("255.0.128.1");
    for (const text of ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.", "a.b.c.d", "1.2.3.-4", "1.2.3.4 "])
      expect(() => parseAddress(text)).toThrow("Cannot read the address");
    expect([...parseMac("02:00:0a:FF:01:02")]).toEqual([2, 0, 10, 255, 1, 2]);
    expect(() => parseMac("02:00:0a:ff:01")).toThrow("Cannot read the Ethernet address");
    expect(
      ["0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1"].map((a) => isMartian(parseAddress(a))),
    ).toEqual(Array(5).fill(true));
    expect(["1.0.0.1", "10.0.0.1", "223.255.255.255"].map((a) => isMartian(parseAddress(a)))).toEqual(
      Array(3).fill(false),
    );
  });

  it("make a subnet, or not", () => {
    expect(readSubnet(DEFAULT_SUBNET, 1500)).toMatchObject({ mask: 0xffffff00, broadcast: 0x0a0002ff });
    expect(() => readSubnet({ ...DEFAULT_SUBNET, guest: "10.0.3.15" }, 1500)).toThrow(
      "Cannot use 10.0.3.15 in the subnet",
    );
    expect(() => readSubnet({ ...DEFAULT_SUBNET, guest: "10.0.2.2" }, 1500)).toThrow("gateway's");
    expect(() => readSubnet({ ...DEFAULT_SUBNET, prefixLength: 31 }, 1500)).toThrow("8 to 30");
    expect(() => readSubnet(DEFAULT_SUBNET, 575)).toThrow("576 to 65535");
  });
});

describe("ARP", () => {
  it("is what it was after encoding and decoding", () => {
    const arp = {
      operation: 1,
      senderMac: parseMac("02:00:00:00:00:01"),
      senderAddress: GUEST,
      targetMac: new Uint8Array(6),
      targetAddress: SERVER,
    };
    expect(decodeArp(encodeArp(arp), 0)).toEqual(arp);
    expect(Buffer.from(encodeArp(arp)).toString("hex")).toBe(
      "00010800060400010200000000010a00020f000000000000c0000201",
    );
  });

  it("refuses what is short, or of another network", () => {
    const good = encodeArp({
      operation: 2,
      senderMac: new Uint8Array(6),
      senderAddress: 0,
      targetMac: new Uint8Array(6),
      targetAddress: 0,
    });
    for (let length = 0; length < 28; length++) expect(decodeArp(good.subarray(0, length), 0)).toBeNull();
    for (const at of [1, 2, 4, 5]) {
      const bad = good.slice();
      bad[at] = (bad[at] ?? 0) ^ 1;
      expect(decodeArp(bad, 0)).toBeNull();
    }
  });
});

describe("IPv4", () => {
  const packet = (fields: Partial<Ipv4Fields> = {}, length = 8): Uint8Array => {
    const bytes = new Uint8Array(20 + length);
    writeIpv4(bytes, 0, { source: GUEST, destination: SERVER, protocol: 17, id: 7, ...fields }, length);
    return bytes;
  };

  it("is what it was after writing and decoding, padding left out", () => {
    const padded = new Uint8Array(60);
    padded.set(packet({ moreFragments: true, fragmentOffset: 65504, ttl: 3 }));
    const ip = new Ipv4();
    expect(ip.decode(padded, 0)).toBeNull();
    expect({ ...ip }).toEqual({
      start: 0,
      payload: 20,
      end: 28,
      id: 7,
      dontFragment: false,
      moreFragments: true,
      fragmentOffset: 65504,
      ttl: 3,
      protocol: 17,
      source: GUEST,
      destination: SERVER,
    });
  });

  it("says what is wrong", () => {
    const ip = new Ipv4();
    const change = (at: number, value: number, fix = true): Uint8Array => {
      const bytes = packet();
      bytes[at] = value;
      if (fix && (bytes[0] ?? 0) % 16 === 5) {
        setU16(bytes, 10, 0);
        setU16(bytes, 10, finishChecksum(addWords(bytes, 0, 20)));
      }
      return bytes;
    };
    for (let length = 0; length < 20; length++) expect(ip.decode(packet().subarray(0, length), 0)).toBe("short");
    expect(ip.decode(change(0, 0x65), 0)).toBe("version");
    expect(ip.decode(change(0, 0x44), 0)).toBe("length"); // header of 16 bytes
    expect(ip.decode(change(0, 0x48), 0)).toBe("length"); // header longer than the packet
    expect(ip.decode(change(3, 19), 0)).toBe("length");
    expect(ip.decode(change(3, 29), 0)).toBe("length"); // longer than the frame
    expect(ip.decode(change(8, 1, false), 0)).toBe("checksum");
    expect(() => packet({}, 65516)).toThrow("Cannot make a packet of 65536 bytes");
  });

  it("drops source routes, skips other options, and ends at broken ones", () => {
    const withOptions = (options: number[]): string | null => {
      const bytes = new Uint8Array(28);
      bytes.set(packet());
      bytes.set(options, 20);
      bytes[0] = 0x47;
      setU16(bytes, 2, 28);
      setU16(bytes, 10, 0);
      setU16(bytes, 10, finishChecksum(addWords(bytes, 0, 28)));
      return new Ipv4().decode(bytes, 0);
    };
    expect(withOptions([1, 131, 7, 4, 1, 2, 3, 4])).toBe("source-route");
    expect(withOptions([7, 3, 4, 137, 3, 4, 0, 0])).toBe("source-route");
    expect(withOptions([7, 8, 4, 137, 3, 4, 0, 0])).toBeNull();
    expect(withOptions([0, 131, 7, 4, 1, 2, 3, 4])).toBeNull();
    expect(withOptions([7, 0, 131, 0, 0, 0, 0, 0])).toBeNull();
    expect(withOptions([1, 1, 1, 1, 1, 1, 1, 7])).toBeNull();
  });

  it("is cut at multiples of 8", () => {
    expect([...fragments(1480, 1500)]).toEqual([{ offset: 0, length: 1480, more: false }]);
    expect([...fragments(1481, 1500)]).toEqual([
      { offset: 0, length: 1480, more: true },
      { offset: 1480, length: 1, more: false },
    ]);
    expect([...fragments(3000, 1006)].map(({ length }) => length)).toEqual([984, 984, 984, 48]);
    expect([...fragments(0, 1500)]).toEqual([{ offset: 0, length: 0, more: false }]);
  });
});

describe("reassembly", () => {
  const make = (): {
    clock: VirtualClock;
    drops: string[];
    add(offset: number, data: string, more: boolean, id?: number): string | null;
    held(): number;
  } => {
    const clock = new VirtualClock();
    const drops: string[] = [];
    const reassembly = new Reassembly(new TimerWheel(clock), (why) => drops.push(why));
    return {
      clock,
      drops,
      held: () => reassembly.heldBytes,
      add(offset, data, more, id = 1) {
        const ip = new Ipv4();
        Object.assign(ip, {
          id,
          source: GUEST,
          destination: SERVER,
          protocol: 17,
          fragmentOffset: offset,
          moreFragments: more,
          payload: 0,
          end: data.length,
        });
        const whole = reassembly.add(ip, Buffer.from(data));
        return whole && Buffer.from(whole).toString();
      },
    };
  };

  it("puts pieces together in any order, doubles included", () => {
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [1, 0, 2],
      [1, 1, 2, 0],
      [2, 0, 0, 1],
    ]) {
      const { add, drops, held } = make();
      const pieces = [
        [0, "aaaaaaaa", true],
        [8, "bbbbbbbb", true],
        [16, "cc", false],
      ] as const;
      const results = order.map((i) => add(...(pieces[i] as (typeof pieces)[0])));
      expect(results.at(-1)).toBe("aaaaaaaabbbbbbbbcc");
      expect(results.slice(0, -1).every((r) => r === null)).toBe(true);
      expect([drops, held()]).toEqual([[], 0]);
    }
  });

  it("gives up what overlaps, contradicts itself, or cannot be", () => {
    const overlap = make();
    overlap.add(0, "a".repeat(16), true);
    overlap.add(8, "b".repeat(16), true);
    expect(overlap.drops).toEqual(["overlap"]);
    const ends = make();
    ends.add(8, "x", false);
    ends.add(16, "y", false);
    expect(ends.drops).toEqual(["overlap"]);
    const odd = make();
    odd.add(0, "abc", true);
    odd.add(65528, "x".repeat(100), false, 2);
    odd.add(8, "", false, 3);
    expect(odd.drops).toEqual(["bounds", "bounds", "bounds"]);
    expect(odd.held()).toBe(0);
  });

  it("has bounds in number, bytes and time", () => {
    const { add, drops, held, clock } = make();
    for (let id = 0; id < 10_000; id++) {
      add(0, "x".repeat(1480), true, id);
      expect(held()).toBeLessThanOrEqual(16 * 1480);
    }
    expect(drops.length).toBe(10_000 - 16);
    clock.pass(40_000);
    expect(held()).toBe(0);
    const large = make();
    for (let id = 0; id < 16; id++) for (let at = 0; at < 40; at++) large.add(at * 1480, "x".repeat(1480), true, id);
    expect(large.held()).toBeLessThanOrEqual(256 * 1024);
  });
});
