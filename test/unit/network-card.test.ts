import { describe, expect, it } from "vitest";
import { addPseudoHeader, addWords, finishChecksum } from "../../relay/nat/checksum.ts";
import { ETHER_TYPE, writeEthernet } from "../../relay/nat/ethernet.ts";
import { Ipv4, writeIpv4 } from "../../relay/nat/ipv4.ts";
import { FLAG, Segment } from "../../relay/nat/tcp-segment.ts";
import { decodeUdp } from "../../relay/nat/udp.ts";
import { sendFrames } from "../../web/network-card.ts";

const GUEST = 0x0a00020f;
const PEER = 0x0a000202;
const MACS = [Uint8Array.of(2, 0, 0, 0, 2, 2), Uint8Array.of(0, 34, 21, 1, 2, 3)] as const;
const IP = 14;
const TCP = 34;
const CWR = 0x80;

interface Header {
  flags?: number;
  type?: number;
  size?: number;
  from?: number;
  to?: number;
}

/** A packet as v86 gives it: behind its header. */
function packet(header: Header, length: number): Uint8Array {
  const memory = new Uint8Array(12 + length);
  const view = new DataView(memory.buffer);
  memory.set([header.flags ?? 1, header.type ?? 0]);
  view.setUint16(4, header.size ?? 0, true);
  view.setUint16(6, header.from ?? TCP, true);
  view.setUint16(8, header.to ?? 16, true);
  return memory.subarray(12);
}

/** A guest's segment, with options, whose checksum is left to the card. */
function tcpPacket(data: Uint8Array, flags: number, header: Header, seq = 0xffffff00, id = 0xfffe): Uint8Array {
  const all = packet({ type: 1, size: 1448, ...header }, TCP + 32 + data.length);
  writeEthernet(all, MACS[0], MACS[1], ETHER_TYPE.ipv4);
  writeIpv4(all, IP, { source: GUEST, destination: PEER, protocol: 6, id }, 32 + data.length);
  const view = new DataView(all.buffer, all.byteOffset);
  view.setUint16(TCP, 4000);
  view.setUint16(TCP + 2, 80);
  view.setUint32(TCP + 4, seq);
  view.setUint32(TCP + 8, 77);
  // Three words of options: NOP, NOP, timestamps.
  all.set([8 << 4, flags, 1, 0], TCP + 12);
  all.set([1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8], TCP + 20);
  all.set(data, TCP + 32);
  view.setUint16(TCP + 16, ~finishChecksum(addPseudoHeader(GUEST, PEER, 6, 32 + data.length)) & 0xffff);
  return all;
}

function send(sent: Uint8Array): Uint8Array[] {
  const frames: Uint8Array[] = [];
  sendFrames(sent, (frame) => void frames.push(frame.slice()));
  return frames;
}

/** As the relay reads it, checksums included. */
function read(frame: Uint8Array): { id: number; seq: number; flags: number; data: Uint8Array } {
  const ip = new Ipv4();
  expect(ip.decode(frame, IP)).toBeNull();
  expect(ip.end).toBe(frame.length);
  const segment = new Segment();
  expect(segment.decode(frame, ip.payload, ip.end, ip.source, ip.destination)).toBeNull();
  return {
    id: ip.id,
    seq: segment.seq,
    flags: frame[TCP + 13] as number,
    data: frame.subarray(segment.start, segment.end),
  };
}

const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 255);

describe("the virtio card's packets", () => {
  it("are frames when nothing is left to the card", () => {
    const sent = packet({ flags: 0 }, 60).fill(7);
    expect(send(sent)).toEqual([sent.slice()]);
  });

  for (const length of [1, 1447, 1448, 1449, 2896, 2897, 65_483])
    it(`are cut to segments: ${length} bytes`, () => {
      const data = bytes(length);
      const all = FLAG.ack | FLAG.psh | FLAG.fin | CWR;
      const frames = send(tcpPacket(data, all, {}));
      expect(frames.length).toBe(Math.ceil(length / 1448));
      const got: number[] = [];
      for (const [i, frame] of frames.entries()) {
        const { id, seq, flags, data: part } = read(frame);
        const isLast = i === frames.length - 1;
        expect(part.length).toBe(isLast ? length - i * 1448 : 1448);
        expect(id).toBe((0xfffe + i) & 0xffff);
        expect(seq).toBe((0xffffff00 + i * 1448) >>> 0);
        expect(flags).toBe(FLAG.ack | (isLast ? FLAG.psh | FLAG.fin : 0) | (i === 0 ? CWR : 0));
        expect(frame.subarray(0, 14)).toEqual(frames[0]?.subarray(0, 14));
        // Acknowledgement, window and options are each one's.
        expect([...frame.subarray(TCP + 8, TCP + 13)]).toEqual([0, 0, 0, 77, 0x80]);
        expect([...frame.subarray(TCP + 20, TCP + 32)]).toEqual([1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
        got.push(...part);
      }
      expect(Buffer.from(got).equals(Buffer.from(data))).toBe(true);
    });

  it("get their checksum, of any length, for TCP and UDP", () => {
    for (const length of [0, 1, 2, 999, 1448]) {
      const [frame, ...more] = send(tcpPacket(bytes(length), FLAG.ack, { type: 0 }));
      expect(more).toEqual([]);
      expect(read(frame as Uint8Array).data).toEqual(bytes(length));
    }
    // Every value of a datagram's last word, so that one sum is zero, which must not be sent as it is.
    let ones = 0;
    let wrong = 0;
    for (let word = 0; word < 0x10000; word++) {
      const all = packet({ from: 34, to: 6 }, 44);
      all.set([0x10, 0, 0, 9, 0, 10], 34);
      all.set([word >> 8, word & 255], 42);
      const pseudo = addPseudoHeader(GUEST, PEER, 17, 10);
      new DataView(all.buffer, all.byteOffset).setUint16(40, ~finishChecksum(pseudo) & 0xffff);
      const frame = send(all)[0] as Uint8Array;
      const checksum = new DataView(frame.buffer).getUint16(40);
      if (checksum === 0 || finishChecksum(addWords(frame, 34, 44, pseudo)) !== 0) wrong++;
      if (checksum === 0xffff) ones++;
    }
    expect(wrong).toBe(0);
    expect(ones).toBe(1);
    const all = packet({ from: 34, to: 6 }, 44);
    all.set([0x10, 0, 0, 9, 0, 10], 34);
    new DataView(all.buffer, all.byteOffset).setUint16(40, ~finishChecksum(addPseudoHeader(GUEST, PEER, 17, 10)));
    expect(typeof decodeUdp(send(all)[0] as Uint8Array, 34, 44, GUEST, PEER)).toBe("object");
  });

  it("are dropped when they make no sense", () => {
    const data = bytes(3000);
    expect(send(tcpPacket(data, FLAG.ack, { size: 0 }))).toEqual([]);
    // UDP fragments, TCP over IPv6, and numbers that mean nothing.
    for (const type of [3, 4, 5, 99]) expect(send(tcpPacket(data, FLAG.ack, { type }))).toEqual([]);
    for (const from of [35, 3050, 65_534]) expect(send(tcpPacket(data, FLAG.ack, { type: 0, from }))).toEqual([]);
    expect(send(tcpPacket(data, FLAG.ack, { type: 0, to: 65_535 }))).toEqual([]);
    for (const [at, value] of [
      [12, 0x86], // not IPv4
      [IP, 0x44], // headers that are too short
      [TCP + 12, 0x40],
      [IP, 0x4f], // and such as end elsewhere
      [IP + 9, 17], // not TCP
    ] as const) {
      const sent = tcpPacket(data, FLAG.ack, {});
      sent[at] = value;
      if (at !== IP || value !== 0x4f) expect(send(sent), `${at}: ${value}`).toEqual([]);
      else send(sent);
    }
    expect(send(packet({ type: 1, size: 1448 }, 20))).toEqual([]);
    expect(send(packet({ type: 1, size: 1448 }, 0))).toEqual([]);
    // No data, or less than its headers say.
    expect(send(tcpPacket(new Uint8Array(0), FLAG.ack, {}))).toEqual([]);
  });
});
