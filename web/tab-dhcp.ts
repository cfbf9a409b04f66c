/**
 * The DHCP server of a room without a relay (RFC 2131, options of RFC 2132): each tab answers its own guest alone, with an
 * address that no other tab of the room has (web/tab-room.ts). It says of no router and no name server: there is none.
 *
 *   0                    14     34    42   43                 46    50     52      54       58       62              70       278      282
 *   | MAC to, from, 0800 | IPv4 | UDP | op | htype hlen hops | xid | secs | flags | ciaddr | yiaddr | siaddr giaddr | chaddr … | cookie | options
 *
 * The server has an address, for a guest renews its lease by asking the server alone, and so asks by ARP (RFC 826) for it.
 *
 * Limitations: no relay agents, no options in sname and file, no pings: the server is nobody to talk to.
 */
import { checksum } from "./open-connections.ts";

/** 10.77.0.0/24: guests have .1 to .253, the server .254. */
const NETWORK = 0x0a4d0000;
export const MOST_GUESTS = 253;
const SERVER = NETWORK + 254;
/** Locally administered. */
const SERVER_MAC = Uint8Array.of(0x02, 0x4d, 0, 0, 0, 0xfe);
const MASK = 0xffffff00;
const BROADCAST = NETWORK + 255;
const MTU = 1500;
const LEASE_S = 86_400;

const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806 } as const;
const PROTOCOL_UDP = 17;
const PORT = { server: 67, client: 68 } as const;
const ETHERNET = 14;
const UDP = ETHERNET + 20;
const DHCP = UDP + 8;
const FIXED = 240;
/** A BOOTP client may not look at shorter ones (RFC 1542, 2.1). */
const LEAST = 300;
const COOKIE = 0x63825363;
const BROADCAST_FLAG = 0x8000;
const TYPE = { discover: 1, offer: 2, request: 3, ack: 5, nak: 6, release: 7, inform: 8 } as const;
const OPTION = {
  mask: 1,
  mtu: 26,
  broadcast: 28,
  requested: 50,
  lease: 51,
  type: 53,
  server: 54,
  renewal: 58,
  rebinding: 59,
} as const;

export interface ServerAnswer {
  /** The frame for the guest, if there is anything to say. */
  reply: Uint8Array | null;
  /** True: the guest has its address from now on. False: it has given it back. Absent: nothing has changed. */
  isBound?: boolean;
}

/** @param host 1 to 253 @returns the address of a room's guest as a number */
export function addressOf(host: number): number {
  return NETWORK + host;
}

export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");
}

/**
 * What the server does about a frame of its guest.
 * @param address the guest's, as a number
 * @returns null when the frame is none of the server's business, but the room's
 */
export function serveGuest(frame: Uint8Array, address: number): ServerAnswer | null {
  if (frame.length < ETHERNET) return null;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (view.getUint16(12) === ETHERTYPE.arp && isArpForServer(view)) return { reply: answerArp(frame) };
  if (portOf(view, "to") === PORT.server) return answerDhcp(frame, view, address);
  return SERVER_MAC.every((byte, at) => frame[at] === byte) ? { reply: null } : null;
}

/** Whether a frame speaks in a DHCP server's name. */
export function isFromDhcpServer(frame: Uint8Array): boolean {
  return portOf(new DataView(frame.buffer, frame.byteOffset, frame.byteLength), "from") === PORT.server;
}

/** @returns null when it is no UDP over IPv4, or not a datagram's beginning */
function portOf(view: DataView, end: "from" | "to"): number | null {
  if (view.byteLength < DHCP || view.getUint16(12) !== ETHERTYPE.ipv4) return null;
  if (view.getUint8(23) !== PROTOCOL_UDP || (view.getUint16(20) & 0x1fff) !== 0) return null;
  const udp = ETHERNET + (view.getUint8(ETHERNET) & 15) * 4;
  return udp + 8 > view.byteLength ? null : view.getUint16(udp + (end === "from" ? 0 : 2));
}

function isArpForServer(view: DataView): boolean {
  return view.byteLength >= 42 && view.getUint16(20) === 1 && view.getUint32(38) === SERVER;
}

function answerArp(request: Uint8Array): Uint8Array {
  // The shortest that Ethernet has, without its checksum.
  const reply = new Uint8Array(60);
  const view = new DataView(reply.buffer);
  reply.set(request.subarray(6, 12));
  reply.set(SERVER_MAC, 6);
  // Ethernet, IPv4, their lengths, "is at".
  reply.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 2], 12);
  reply.set(SERVER_MAC, 22);
  view.setUint32(28, SERVER);
  reply.set(request.subarray(22, 32), 32);
  return reply;
}

/** RFC 2131, 4.3. */
function answerDhcp(frame: Uint8Array, view: DataView, address: number): ServerAnswer {
  const at = ETHERNET + (view.getUint8(ETHERNET) & 15) * 4 + 8;
  const request = frame.subarray(at);
  const options = readOptions(request);
  const type = options?.get(OPTION.type)?.[0];
  if (!options || type === undefined || request[0] !== 1) return { reply: null };
  const server = options.get(OPTION.server);
  if (server && readNumber(server) !== SERVER) return { reply: null };
  const clientAddress = view.getUint32(at + 12);
  const say = (answer: number, lease: number): Uint8Array => encodeReply(request, answer, clientAddress, lease);
  switch (type) {
    case TYPE.discover:
      return { reply: say(TYPE.offer, address) };
    case TYPE.request: {
      const wanted = options.get(OPTION.requested);
      const isRight = (wanted ? readNumber(wanted) : clientAddress) === address;
      return { reply: say(isRight ? TYPE.ack : TYPE.nak, isRight ? address : 0), isBound: isRight };
    }
    case TYPE.inform:
      return { reply: say(TYPE.ack, 0) };
    case TYPE.release:
      return { reply: null, isBound: false };
    default:
      return { reply: null };
  }
}

/** @returns null when it is not a DHCP message over Ethernet */
function readOptions(message: Uint8Array): Map<number, Uint8Array> | null {
  if (message.length < FIXED || message[1] !== 1 || message[2] !== 6) return null;
  if (readNumber(message.subarray(236, 240)) !== COOKIE) return null;
  const options = new Map<number, Uint8Array>();
  for (let at = FIXED; at < message.length && message[at] !== 255; ) {
    if (message[at] === 0) at += 1;
    else {
      const length = message[at + 1] ?? 0;
      options.set(message[at] as number, message.subarray(at + 2, at + 2 + length));
      at += 2 + length;
    }
  }
  return options;
}

/** @param lease the address that is given; 0 for none: a refusal, or the guest has one from elsewhere (RFC 2131, 4.3.5) */
function encodeReply(request: Uint8Array, type: number, clientAddress: number, lease: number): Uint8Array {
  const options = [OPTION.type, 1, type, OPTION.server, 4, ...fourBytes(SERVER)];
  if (type !== TYPE.nak) {
    options.push(OPTION.mask, 4, ...fourBytes(MASK), OPTION.broadcast, 4, ...fourBytes(BROADCAST));
    options.push(OPTION.mtu, 2, MTU >>> 8, MTU & 255);
  }
  if (lease !== 0) {
    options.push(OPTION.lease, 4, ...fourBytes(LEASE_S), OPTION.renewal, 4, ...fourBytes(LEASE_S / 2));
    options.push(OPTION.rebinding, 4, ...fourBytes((LEASE_S * 7) / 8));
  }
  options.push(255);
  const length = Math.max(LEAST, FIXED + options.length);
  const frame = new Uint8Array(DHCP + length);
  const view = new DataView(frame.buffer);
  // op 2, then what the request says: hardware type and length, xid; no seconds, flags; the guest's hardware address.
  frame.set([2, 1, 6, 0], DHCP);
  frame.set(request.subarray(4, 8), DHCP + 4);
  frame.set(request.subarray(10, 12), DHCP + 10);
  view.setUint32(DHCP + 12, type === TYPE.ack ? clientAddress : 0);
  view.setUint32(DHCP + 16, lease);
  view.setUint32(DHCP + 20, type === TYPE.nak ? 0 : SERVER);
  frame.set(request.subarray(28, 34), DHCP + 28);
  view.setUint32(DHCP + 236, COOKIE);
  frame.set(options, DHCP + FIXED);
  // RFC 2131, 4.1: to its address if it has one, to all if it asks for that or is refused.
  const asksAll = clientAddress === 0 && (view.getUint16(DHCP + 10) & BROADCAST_FLAG) !== 0;
  const isForAll = type === TYPE.nak || asksAll;
  frame.set(request.subarray(28, 34));
  wrapDatagram(frame, isForAll ? 0xffffffff : clientAddress || lease);
  return frame;
}

/** Puts the heads of Ethernet (but for the receiver), IPv4 (RFC 791) and UDP (RFC 768) before a message of the server's. */
function wrapDatagram(frame: Uint8Array, to: number): void {
  const view = new DataView(frame.buffer);
  const length = frame.length - UDP;
  if (to === 0xffffffff) frame.fill(255, 0, 6);
  frame.set(SERVER_MAC, 6);
  view.setUint16(12, ETHERTYPE.ipv4);
  view.setUint16(ETHERNET, 0x4500);
  view.setUint16(16, 20 + length);
  view.setUint8(22, 64);
  view.setUint8(23, PROTOCOL_UDP);
  view.setUint32(26, SERVER);
  view.setUint32(30, to);
  view.setUint16(24, checksum(view, ETHERNET, UDP));
  view.setUint16(UDP, PORT.server);
  view.setUint16(UDP + 2, PORT.client);
  view.setUint16(UDP + 4, length);
  // The pseudo header: addresses, protocol, length. The sum wants an even number of bytes; zero would mean that there is none.
  const even = new DataView(new ArrayBuffer(frame.length + (frame.length & 1)));
  new Uint8Array(even.buffer).set(frame);
  view.setUint16(UDP + 6, checksum(even, 26, even.byteLength, PROTOCOL_UDP + length) || 0xffff);
}

function readNumber(bytes: Uint8Array): number | null {
  return bytes.length === 4 ? new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0) : null;
}

function fourBytes(value: number): number[] {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255);
}
