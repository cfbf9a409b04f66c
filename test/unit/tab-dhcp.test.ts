/** What the page's DHCP server says, read by the relay's decoders; busybox's own client judges it in tab-room.test.ts. */
import { describe, expect, it } from "vitest";
import { type DhcpMessage, decodeDhcp, encodeDhcp } from "../../relay/nat/dhcp.ts";
import { addressOf, formatAddress, isFromDhcpServer, serveGuest } from "../../web/tab-dhcp.ts";

const MAC = Uint8Array.of(0x00, 0x22, 0x15, 1, 2, 3);
const ADDRESS = addressOf(7);
const SERVER = addressOf(254);
const four = (value: number): Uint8Array => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);

/** A frame as a client sends it. Its checksums are not looked at: they may be the card's work. */
function ask(type: number, change: Partial<DhcpMessage> = {}, options: [number, Uint8Array][] = []): Uint8Array {
  const message = encodeDhcp({
    ...{ op: 1, xid: 0xdecade01, flags: 0, clientAddress: 0, yourAddress: 0, hardwareAddress: MAC, type },
    options: new Map<number, Uint8Array>([[53, Uint8Array.of(type)], ...options]),
    ...change,
  });
  const frame = new Uint8Array(42 + message.length);
  frame.fill(255, 0, 6);
  frame.set(MAC, 6);
  frame.set([8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17], 12);
  frame.set([0, 68, 0, 67], 34);
  frame.set(message, 42);
  return frame;
}

/** RFC 1071: over all that it covers, itself included, the sum is all ones. */
function sum(bytes: Uint8Array, more = 0): number {
  let total = more;
  for (const [at, byte] of bytes.entries()) total += at % 2 ? byte : byte * 256;
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

function read(frame: Uint8Array | null | undefined) {
  if (!frame) throw new Error("There is no answer");
  const view = new DataView(frame.buffer);
  expect(view.getUint16(12)).toBe(0x0800);
  expect(view.getUint16(16)).toBe(frame.length - 14);
  expect(sum(frame.subarray(14, 34))).toBe(0xffff);
  expect([view.getUint16(34), view.getUint16(36), view.getUint16(38)]).toEqual([67, 68, frame.length - 34]);
  expect(sum(frame.subarray(26), 17 + frame.length - 34)).toBe(0xffff);
  const message = decodeDhcp(frame.subarray(42));
  if (!message) throw new Error("The answer is no DHCP");
  expect(message).toMatchObject({ op: 2, xid: 0xdecade01, hardwareAddress: MAC });
  return { message, mac: [...frame.subarray(0, 6)], from: view.getUint32(26), to: view.getUint32(30) };
}

describe("the page's DHCP server", () => {
  it("offers the tab's address, with a mask, and neither a router nor a name server", () => {
    const { message, mac, from, to } = read(serveGuest(ask(1), ADDRESS)?.reply);
    expect(message).toMatchObject({ type: 2, yourAddress: ADDRESS });
    expect(mac).toEqual([...MAC]);
    expect([from, to]).toEqual([SERVER, ADDRESS]);
    expect(Object.fromEntries(message.options)).toEqual({
      53: Uint8Array.of(2),
      54: four(SERVER),
      1: four(0xffffff00),
      26: Uint8Array.of(5, 220),
      28: four(addressOf(255)),
      51: four(86_400),
      58: four(43_200),
      59: four(75_600),
    });
  });

  it("answers all who listen when it is asked to (RFC 2131, 4.1)", () => {
    const { mac, to } = read(serveGuest(ask(1, { flags: 0x8000 }), ADDRESS)?.reply);
    expect([mac, to]).toEqual([Array(6).fill(255), 0xffffffff]);
  });

  it("acknowledges that address, a renewal of it too, and refuses any other", () => {
    const bound = serveGuest(
      ask(3, {}, [
        [50, four(ADDRESS)],
        [54, four(SERVER)],
      ]),
      ADDRESS,
    );
    expect(bound?.isBound).toBe(true);
    expect(read(bound?.reply).message).toMatchObject({ type: 5, yourAddress: ADDRESS });
    const renewed = serveGuest(ask(3, { clientAddress: ADDRESS }), ADDRESS);
    expect(renewed?.isBound).toBe(true);
    expect(read(renewed?.reply)).toMatchObject({ to: ADDRESS, message: { type: 5, clientAddress: ADDRESS } });
    for (const request of [ask(3, {}, [[50, four(ADDRESS + 1)]]), ask(3, { clientAddress: 0x0a00020f })]) {
      const refused = serveGuest(request, ADDRESS);
      expect(refused?.isBound).toBe(false);
      expect(read(refused?.reply)).toMatchObject({ to: 0xffffffff, message: { type: 6, yourAddress: 0 } });
    }
  });

  it("keeps silent on what is another server's, and on what makes no sense, and lets neither into the room", () => {
    expect(serveGuest(ask(3, {}, [[54, four(0x0a000202)]]), ADDRESS)).toEqual({ reply: null });
    expect(serveGuest(ask(1, { op: 2 }), ADDRESS)).toEqual({ reply: null });
    for (let length = 42; length < 285; length += 1) {
      expect(serveGuest(ask(1).slice(0, length), ADDRESS)).toEqual({ reply: null });
    }
    expect(serveGuest(ask(7, { clientAddress: ADDRESS }), ADDRESS)).toEqual({ reply: null, isBound: false });
    expect(read(serveGuest(ask(8, { clientAddress: ADDRESS }), ADDRESS)?.reply).message.options.has(51)).toBe(false);
  });

  it("is found by ARP, and leaves all else to the room", () => {
    const arp = (target: number): Uint8Array => {
      const frame = new Uint8Array(60).fill(255, 0, 6);
      frame.set(MAC, 6);
      frame.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 1, ...MAC, ...four(ADDRESS)], 12);
      frame.set(four(target), 38);
      return frame;
    };
    const reply = serveGuest(arp(SERVER), ADDRESS)?.reply;
    expect([...(reply?.subarray(0, 6) ?? [])]).toEqual([...MAC]);
    expect([...(reply?.subarray(20, 22) ?? [])]).toEqual([0, 2]);
    expect(reply?.subarray(28, 32)).toEqual(four(SERVER));
    expect(reply?.subarray(32, 42)).toEqual(Uint8Array.of(...MAC, ...four(ADDRESS)));
    expect(serveGuest(arp(addressOf(8)), ADDRESS)).toBeNull();
    // To the server, and nothing that it understands.
    const other = ask(1);
    other.set(reply?.subarray(6, 12) ?? [], 0);
    other[37] = 9;
    expect(serveGuest(other, ADDRESS)).toEqual({ reply: null });
    other.fill(1, 0, 6);
    expect(serveGuest(other, ADDRESS)).toBeNull();
  });

  it("knows who speaks as a DHCP server", () => {
    expect(isFromDhcpServer(serveGuest(ask(1), ADDRESS)?.reply ?? ask(1))).toBe(true);
    expect(isFromDhcpServer(ask(1))).toBe(false);
    expect(isFromDhcpServer(new Uint8Array(14))).toBe(false);
    expect(formatAddress(ADDRESS)).toBe("10.77.0.7");
  });
});
