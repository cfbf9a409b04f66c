import { describe, expect, it } from "vitest";
import { formatAddress, isMartian, parseAddress, parseMac } from "../../relay/nat/address.ts";
import { decodeArp, encodeArp } from "../../relay/nat/arp.ts";
import { addPseudoHeader, addWords, finishChecksum } from "../../relay/nat/checksum.ts";
import { answerDhcp, DHCP_OPTION, DHCP_TYPE, type DhcpMessage, decodeDhcp, encodeDhcp } from "../../relay/nat/dhcp.ts";
import { answers, decodeDns, makeError, truncate } from "../../relay/nat/dns-message.ts";
import { FlowTable } from "../../relay/nat/flow-table.ts";
import { decodeIcmp, encodeEcho, encodeIcmpError } from "../../relay/nat/icmp.ts";
import { fragments, Ipv4, type Ipv4Fields, writeIpv4 } from "../../relay/nat/ipv4.ts";
import { Rate } from "../../relay/nat/limits.ts";
import { readSubnet } from "../../relay/nat/link.ts";
import { DEFAULT_SUBNET } from "../../relay/nat/nat.ts";
import { Reassembly } from "../../relay/nat/reassembly.ts";
import { ReceiveQueue } from "../../relay/nat/receive-queue.ts";
import { Scoreboard } from "../../relay/nat/scoreboard.ts";
import { SendQueue } from "../../relay/nat/send-queue.ts";
import { encodeSack, encodeSynOptions, FLAG, Segment, writeTcp } from "../../relay/nat/tcp-segment.ts";
import { TimerWheel } from "../../relay/nat/timers.ts";
import { decodeUdp, encodeUdp, UDP_MAX_DATA } from "../../relay/nat/udp.ts";
import { copyOf, getU16, getU32, setU16, setU32 } from "../../relay/nat/words.ts";
import { answerTest, makeQuery } from "./dns-server.ts";
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

describe("UDP", () => {
  it("is what it was, with its checksum", () => {
    const bytes = encodeUdp({ sourcePort: 53, destinationPort: 4000, data: Buffer.from("hello") }, SERVER, GUEST);
    const datagram = decodeUdp(bytes, 0, bytes.length, SERVER, GUEST);
    if (typeof datagram === "string") throw new Error(datagram);
    expect([datagram.sourcePort, datagram.destinationPort, Buffer.from(datagram.data).toString()]).toEqual([
      53,
      4000,
      "hello",
    ]);
    expect(finishChecksum(addWords(bytes, 0, bytes.length, addPseudoHeader(SERVER, GUEST, 17, bytes.length)))).toBe(0);
    expect(decodeUdp(bytes, 0, bytes.length, SERVER, GUEST + 1)).toBe("checksum");
    setU16(bytes, 6, 0); // none was made
    expect(typeof decodeUdp(bytes, 0, bytes.length, SERVER, GUEST + 1)).toBe("object");
  });

  it("has lengths that fit", () => {
    const bytes = encodeUdp({ sourcePort: 1, destinationPort: 2, data: new Uint8Array(4) }, SERVER, GUEST);
    for (let length = 0; length < 8; length++) expect(decodeUdp(bytes, 0, length, SERVER, GUEST)).toBe("short");
    expect(decodeUdp(bytes, 0, 11, SERVER, GUEST)).toBe("length");
    setU16(bytes, 4, 7);
    expect(decodeUdp(bytes, 0, 12, SERVER, GUEST)).toBe("length");
    expect(() =>
      encodeUdp({ sourcePort: 1, destinationPort: 2, data: new Uint8Array(UDP_MAX_DATA + 1) }, 0, 0),
    ).toThrow("Cannot make a datagram");
    expect(encodeUdp({ sourcePort: 1, destinationPort: 2, data: new Uint8Array(UDP_MAX_DATA) }, 0, 0).length).toBe(
      65515,
    );
  });

  it("never sends zero as a checksum", () => {
    for (let port = 0; port < 65536; port += 1) {
      const bytes = encodeUdp({ sourcePort: port, destinationPort: 0, data: new Uint8Array(0) }, 0, 0);
      if (getU16(bytes, 6) === 0) throw new Error(`zero for ${port}`);
    }
  });
});

describe("ICMP", () => {
  it("echoes", () => {
    const bytes = encodeEcho(8, { id: 77, sequence: 5, data: Buffer.from("abc") });
    expect(decodeIcmp(bytes, 0, bytes.length)).toMatchObject({ kind: "echo-request", echo: { id: 77, sequence: 5 } });
    bytes[9] = 0;
    expect(decodeIcmp(bytes, 0, bytes.length)).toBe("checksum");
    expect(decodeIcmp(bytes, 0, 7)).toBe("short");
  });

  it("quotes the start of what an error is about", () => {
    const error = encodeIcmpError(3, 13, new Uint8Array(1500).fill(7));
    expect(error.length).toBe(8 + 548);
    expect(decodeIcmp(error, 0, error.length)).toEqual({ kind: "other", type: 3, code: 13 });
  });
});

describe("TCP segments", () => {
  const make = (options: Uint8Array | null, data = ""): Uint8Array => {
    const headerLength = 20 + (options?.length ?? 0);
    const bytes = new Uint8Array(headerLength + data.length);
    bytes.set(Buffer.from(data), headerLength);
    writeTcp(
      bytes,
      0,
      bytes.length,
      SERVER,
      GUEST,
      80,
      4000,
      0xfffffff0,
      0x80000001,
      FLAG.ack | FLAG.psh,
      0xffff,
      options,
    );
    return bytes;
  };
  const decode = (bytes: Uint8Array): Segment => {
    const segment = new Segment();
    expect(segment.decode(bytes, 0, bytes.length, SERVER, GUEST)).toBeNull();
    return segment;
  };
  const raw = (options: number[]): Uint8Array => make(Uint8Array.from(options));

  it("are what they were", () => {
    const segment = decode(make(null, "hello"));
    expect(segment).toMatchObject({
      sourcePort: 80,
      destinationPort: 4000,
      seq: 0xfffffff0,
      ack: 0x80000001,
      flags: 24,
      window: 65535,
      start: 20,
      end: 25,
      mss: null,
      windowScale: null,
      sackPermitted: false,
      sackCount: 0,
    });
  });

  it("carry options", () => {
    expect(decode(make(encodeSynOptions(1460, 7, true)))).toMatchObject({
      mss: 1460,
      windowScale: 7,
      sackPermitted: true,
    });
    expect(decode(make(encodeSynOptions(536, null, false)))).toMatchObject({
      mss: 536,
      windowScale: null,
      sackPermitted: false,
    });
    const segment = decode(make(encodeSack([10, 20, 0xfffffff0, 5]), "x"));
    expect([segment.sackCount, ...segment.sack.subarray(0, 4)]).toEqual([2, 10, 20, 0xfffffff0, 5]);
    expect(segment.end - segment.start).toBe(1);
  });

  it("survive options that are cut off or lie", () => {
    expect(decode(raw([2, 4, 5, 0xb4])).mss).toBe(1460);
    expect(decode(raw([3, 3, 200, 0])).windowScale).toBe(14);
    expect(decode(raw([1, 1, 1, 2])).mss).toBeNull(); // a kind without length
    expect(decode(raw([2, 0, 5, 0xb4])).mss).toBeNull();
    expect(decode(raw([2, 1, 5, 0xb4])).mss).toBeNull();
    expect(decode(raw([2, 5, 5, 0xb4])).mss).toBeNull(); // beyond the header
    expect(decode(raw([2, 3, 5, 0])).mss).toBeNull(); // the wrong length
    expect(decode(raw([0, 2, 4, 5])).mss).toBeNull();
    expect(decode(raw([5, 7, 1, 2, 3, 4, 5, 0])).sackCount).toBe(0);
    expect(decode(raw([5, 40, ...Array(38).fill(1)])).sackCount).toBe(0);
    expect(decode(raw([5, 34, ...Array(34).fill(1)])).sackCount).toBe(4);
    expect(decode(raw([254, 6, 1, 2, 3, 4, 2, 4, 1, 1, 1, 1])).mss).toBe(257); // unknown kinds are skipped
  });

  it("say what is wrong", () => {
    const bytes = make(null, "data");
    for (let length = 0; length < 20; length++)
      expect(new Segment().decode(bytes, 0, length, SERVER, GUEST)).toBe("short");
    expect(new Segment().decode(bytes, 0, 23, SERVER, GUEST)).toBe("checksum");
    expect(new Segment().decode(bytes, 0, 24, SERVER, GUEST + 1)).toBe("checksum");
    bytes[12] = 0x40;
    expect(new Segment().decode(bytes, 0, 24, SERVER, GUEST)).toBe("offset");
    bytes[12] = 0x70;
    expect(new Segment().decode(bytes, 0, 24, SERVER, GUEST)).toBe("offset");
  });
});

describe("queues", () => {
  it("of sending hold blocks of all sizes, and none of another queue", () => {
    const queues = Array.from({ length: 3 }, () => ({ queue: new SendQueue(), all: Buffer.alloc(0) }));
    let state = 1;
    const random = (n: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % n;
    };
    for (let i = 0; i < 6000; i++) {
      const one = queues[random(queues.length)] as (typeof queues)[number];
      const { queue } = one;
      const most = [40, 40, 3000, 20_000][random(4)] as number;
      // The queue keeps a copy: whoever reads from a server uses his memory again.
      const block = Buffer.alloc(random(most), random(256));
      for (let at = random(16); at < block.length; at += 1 + random(512)) block[at] = random(256);
      queue.push(block);
      one.all = Buffer.concat([one.all, block]);
      block.fill(0);
      const drop = random(one.all.length + 1) >> random(3);
      queue.drop(drop);
      one.all = one.all.subarray(drop);
      const { all } = one;
      expect(queue.length).toBe(all.length);
      if (all.length === 0) continue;
      const from = random(all.length);
      const length = 1 + random(all.length - from);
      const target = Buffer.alloc(length + 2);
      queue.copy(from, length, target, 1);
      expect(target.subarray(1, -1).equals(all.subarray(from, from + length))).toBe(true);
    }
  });

  it("of receiving are bounded", () => {
    const queue = new ReceiveQueue();
    for (let i = 0; i < 10_000; i++) queue.insert(2 * i, Buffer.from("x"), 0, 1);
    let pieces = 0;
    for (let seq = 0; seq < 20_000; seq++) if (queue.take(seq)) pieces++;
    expect(pieces).toBeLessThanOrEqual(400);
    expect(queue.blocks()).toEqual([]);
  });

  it("tell what is lost (RFC 6675)", () => {
    const board = new Scoreboard();
    expect(board.add(2000, 3000)).toBe(true);
    expect(board.add(2000, 3000)).toBe(false);
    expect(board.add(2100, 2900)).toBe(false);
    expect(board.lostBefore(1000, 7)).toBe(7);
    board.add(5000, 6000);
    expect(board.lostBefore(1000, 7)).toBe(7); // two segments
    board.add(8000, 8001);
    expect(board.lostBefore(1000, 7)).toBe(2000); // three ranges
    expect(board.missing(1000, 9000)).toBe(8000 - 2001);
    expect([
      board.nextMissing(2000),
      board.nextMissing(3000),
      board.endOfMissing(3000, 9000),
      board.endOfMissing(8500, 9000),
    ]).toEqual([3000, 3000, 5000, 9000]);
    board.add(2500, 5500); // joins them
    expect(board.missing(1000, 7000)).toBe(2000);
    board.advance(4000);
    expect(board.missing(4000, 9000)).toBe(2999);
    board.advance(9000);
    expect(board.isEmpty).toBe(true);
    for (let i = 0; i < 1000; i++) board.add(10_000 + 2 * i, 10_001 + 2 * i);
    expect(board.missing(10_000, 12_000)).toBe(2000 - 64);
  });
});

describe("timers", () => {
  it("fire in time, also after long waits and sleeps", () => {
    const clock = new VirtualClock();
    const wheel = new TimerWheel(clock);
    const start = clock.time;
    const fired: [number, number][] = [];
    const waits = [0, 1, 9, 10, 11, 500, 5110, 5120, 5130, 60_000, 7_440_000];
    for (const ms of waits) {
      const timer = wheel.timer(() => fired.push([ms, clock.time - start]));
      timer.set(ms);
    }
    clock.pass(8_000_000);
    expect(fired.map(([ms]) => ms)).toEqual(waits);
    for (const [ms, at] of fired) {
      expect(at).toBeGreaterThanOrEqual(ms);
      expect(at - ms).toBeLessThanOrEqual(21);
    }
    let count = 0;
    const late = wheel.timer(() => count++);
    late.set(1000);
    clock.time += 3_600_000; // the computer slept
    clock.pass(100);
    expect(count).toBe(1);
  });

  it("are moved, taken back, and set again by themselves", () => {
    const clock = new VirtualClock();
    const wheel = new TimerWheel(clock);
    const fired: number[] = [];
    const start = clock.time;
    const timer = wheel.timer(() => {
      fired.push(clock.time - start);
      if (fired.length < 3) timer.set(100);
    });
    timer.set(10_000);
    timer.set(200); // sooner
    timer.set(300); // later
    clock.pass(1000);
    expect(fired.length).toBe(3);
    expect(Math.abs((fired[0] ?? 0) - 300)).toBeLessThanOrEqual(20);
    timer.set(50);
    timer.clear();
    expect(timer.armed).toBe(false);
    clock.pass(1000);
    expect(fired.length).toBe(3);
    timer.set(50);
    wheel.stop();
    clock.pass(1000);
    expect(fired.length).toBe(3);
  });
});

describe("DHCP", () => {
  const configuration = {
    guest: GUEST,
    gateway: GUEST - 13,
    dns: GUEST - 12,
    mask: 0xffffff00,
    broadcast: GUEST | 255,
    mtu: 1500,
  };
  const four = (value: number): Uint8Array => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
  const request = (
    type: number,
    more: Partial<DhcpMessage> = {},
    options: [number, Uint8Array][] = [],
  ): DhcpMessage => ({
    op: 1,
    xid: 0xabcdef01,
    flags: 0,
    clientAddress: 0,
    yourAddress: 0,
    hardwareAddress: parseMac("02:11:22:33:44:55"),
    type,
    options: new Map<number, Uint8Array>([[DHCP_OPTION.type, Uint8Array.of(type)], ...options]),
    ...more,
  });
  const ask = (message: DhcpMessage): { destination: number; isBound: boolean; reply: DhcpMessage } | null => {
    const decoded = decodeDhcp(encodeDhcp(message));
    if (!decoded) throw new Error("not decoded");
    const answer = answerDhcp(decoded, configuration);
    const reply = answer && decodeDhcp(answer.message);
    return answer && reply && { destination: answer.destination, isBound: answer.isBound, reply };
  };
  const number = (bytes: Uint8Array | undefined): number => getU32(bytes ?? new Uint8Array(4), 0);

  it("offers and gives the address with all that belongs to it", () => {
    const offer = ask(request(DHCP_TYPE.discover));
    expect(offer).toMatchObject({
      destination: GUEST,
      isBound: false,
      reply: { op: 2, type: DHCP_TYPE.offer, xid: 0xabcdef01, yourAddress: GUEST },
    });
    const ack = ask(
      request(DHCP_TYPE.request, {}, [
        [DHCP_OPTION.requestedAddress, four(GUEST)],
        [DHCP_OPTION.server, four(configuration.gateway)],
      ]),
    );
    expect(ack).toMatchObject({
      destination: GUEST,
      isBound: true,
      reply: { type: DHCP_TYPE.ack, yourAddress: GUEST },
    });
    const { options } = ack?.reply ?? { options: new Map<number, Uint8Array>() };
    expect(
      [
        DHCP_OPTION.mask,
        DHCP_OPTION.router,
        DHCP_OPTION.dns,
        DHCP_OPTION.leaseTime,
        DHCP_OPTION.renewal,
        DHCP_OPTION.rebinding,
      ].map((code) => number(options.get(code))),
    ).toEqual([0xffffff00, configuration.gateway, configuration.dns, 86_400, 43_200, 75_600]);
    expect(options.get(DHCP_OPTION.mtu)).toEqual(Uint8Array.of(5, 220));
  });

  it("broadcasts when it is asked to, renews by unicast, refuses other addresses", () => {
    expect(ask(request(DHCP_TYPE.discover, { flags: 0x8000 }))?.destination).toBe(0xffffffff);
    expect(ask(request(DHCP_TYPE.request, { clientAddress: GUEST }))).toMatchObject({
      destination: GUEST,
      isBound: true,
    });
    expect(ask(request(DHCP_TYPE.request, {}, [[DHCP_OPTION.requestedAddress, four(GUEST + 1)]]))).toMatchObject({
      destination: 0xffffffff,
      isBound: false,
      reply: { type: DHCP_TYPE.nak, yourAddress: 0 },
    });
    expect(ask(request(DHCP_TYPE.inform, { clientAddress: GUEST + 5 }))).toMatchObject({
      destination: GUEST + 5,
      reply: { type: DHCP_TYPE.ack, yourAddress: 0 },
    });
  });

  it("is silent to answers, to other servers' clients, and to farewells", () => {
    expect(ask(request(DHCP_TYPE.discover, { op: 2 }))).toBeNull();
    expect(ask(request(DHCP_TYPE.request, {}, [[DHCP_OPTION.server, four(1)]]))).toBeNull();
    expect(ask(request(DHCP_TYPE.release))).toBeNull();
    expect(ask(request(DHCP_TYPE.decline))).toBeNull();
  });

  it("refuses what is cut off", () => {
    const good = encodeDhcp(request(DHCP_TYPE.discover));
    for (let length = 0; length < 243; length++) expect(decodeDhcp(good.subarray(0, length))).toBeNull();
    const bad = good.slice();
    bad.set([12, 200], 243);
    expect(decodeDhcp(bad)).toBeNull();
    bad[236] = 0;
    expect(decodeDhcp(bad)).toBeNull();
  });
});

describe("DNS messages", () => {
  const query = makeQuery("www.example.test", 1);
  it("are read as far as a forwarder needs", () => {
    expect(decodeDns(query)).toMatchObject({
      id: 0x1234,
      isAnswer: false,
      questions: 1,
      name: "www.example.test",
      type: 1,
      questionEnd: query.length,
      udpSize: 512,
    });
    const opt = Buffer.concat([query, Buffer.of(0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0)]);
    opt[11] = 1;
    expect(decodeDns(opt)?.udpSize).toBe(4096);
    for (let length = 0; length < query.length; length++) expect(decodeDns(query.subarray(0, length))).toBeNull();
  });

  it("tell a right answer from another", () => {
    const asked = decodeDns(query);
    if (!asked) throw new Error("not decoded");
    const answer = answerTest(query);
    expect(answers(query, asked, answer)).toBe(true);
    const upper = copyOf(answer);
    upper[13] = "W".charCodeAt(0);
    expect(answers(query, asked, upper)).toBe(true);
    expect(answers(query, asked, query)).toBe(false);
    expect(answers(query, asked, answerTest(makeQuery("www.example.tesx", 1)))).toBe(false);
    expect(answers(query, asked, answerTest(makeQuery("www.example.test", 28)))).toBe(false);
    expect(answers(query, asked, makeError(query, null, 1))).toBe(true);
  });

  it("say only an error, or that there is more", () => {
    expect(decodeDns(makeError(query, decodeDns(query), 5))).toMatchObject({
      isAnswer: true,
      rcode: 5,
      name: "www.example.test",
    });
    const short = truncate(answerTest(query));
    expect(decodeDns(short)).toMatchObject({ isAnswer: true, isTruncated: true, questionEnd: short.length });
  });

  it("do not hang on names that point at themselves", () => {
    const loop = Uint8Array.from(query);
    loop.set([0xc0, 12], 12);
    expect(decodeDns(loop)).not.toBeUndefined();
    expect(decodeDns(Uint8Array.of(0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0))).toBeNull();
  });
});

describe("tables and rates", () => {
  it("find flows by both ends", () => {
    const table = new FlowTable<string>();
    table.set(1, 2, 3, 4, "a");
    table.set(1, 2, 0xffffffff, 65535, "b");
    table.set(1, 2, 3, 4, "c");
    expect([table.get(1, 2, 3, 4), table.get(1, 2, 0xffffffff, 65535), table.get(2, 1, 3, 4), table.size]).toEqual([
      "c",
      "b",
      undefined,
      2,
    ]);
    table.delete(1, 2, 3, 4, "a"); // not there any more
    expect(table.values()).toEqual(["c", "b"]);
    table.delete(1, 2, 3, 4, "c");
    expect(table.size).toBe(1);
  });

  it("allow bursts and then so many a second", () => {
    let now = 0;
    const rate = new Rate(10, () => now);
    const take = (n: number): number => Array.from({ length: n }, () => rate.take()).filter(Boolean).length;
    expect(take(100)).toBe(20);
    now = 1000;
    expect(take(100)).toBe(10);
    now = 100_000;
    expect(take(100)).toBe(20);
  });
});
