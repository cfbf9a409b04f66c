/**
 * What v86's virtio network card leaves to its host: checksums, and TCP segments of 64 KB that are cut to the size of the wire
 * here. In the emulator the guest's kernel takes longer for a frame than for its bytes: it sends one where it sent forty.
 *
 * Virtual I/O Device (VIRTIO) 1.2, 5.1.6: before each frame of the guest stands
 *
 *   0       1          2         4          6            8             10            12
 *   | flags | GSO type | header length | segment size | checksum from | and to | buffers | frame
 *
 * all little endian; what follows is the network's own and big endian.
 *
 * Limitations: segments of TCP over IPv4 only; the guest cuts others itself. What the guest has not agreed to (a driver of an
 * older system, a machine that was saved before it was offered) does not come.
 */
import type { VirtioDevice } from "./machine-internals.ts";

/** Bits of the device's features (5.1.3). */
const FEATURE = { checksum: 0, tso4: 11 } as const;
const HEADER_LENGTH = 12;
const FLAG_NEEDS_CHECKSUM = 1;
const GSO = { none: 0, tcp4: 1, congestionBit: 0x80 } as const;

const ETHERNET_LENGTH = 14;
const ETHERTYPE_IPV4 = 0x0800;
const PROTOCOL_TCP = 6;
const TCP = { fin: 1, push: 8, windowReduced: 0x80 } as const;

/** Offers it to the guest; one that is restored from a state has what it agreed to then. */
export function offerOffloads(card: VirtioDevice): void {
  const bits = (1 << FEATURE.checksum) | (1 << FEATURE.tso4);
  for (const features of [card.device_feature, card.driver_feature]) features[0] = (features[0] ?? 0) | bits;
}

/**
 * Makes of a packet that v86's virtio card has sent frames as they go over a wire. A packet that makes no sense is dropped.
 * @param packet what v86 gives: a view of memory of its own, in which the header stands before it
 * @param send gets frames in memory of their own
 */
export function sendFrames(packet: Uint8Array, send: (frame: Uint8Array) => void): void {
  const header = new DataView(packet.buffer, packet.byteOffset - HEADER_LENGTH, HEADER_LENGTH);
  const type = header.getUint8(1) & ~GSO.congestionBit;
  if (type === GSO.tcp4) return cut(packet, header.getUint16(4, true), send);
  if (type !== GSO.none) return;
  if (header.getUint8(0) & FLAG_NEEDS_CHECKSUM) {
    const from = header.getUint16(6, true);
    const to = from + header.getUint16(8, true);
    if (from & 1 || to + 2 > packet.length) return;
    // The field holds the sum of the pseudo header. Zero would mean to UDP that there is no checksum.
    put16(packet, to, finish(sum(packet, from, packet.length)) || 0xffff);
  }
  send(packet);
}

/** Makes segments of `size` bytes at most of one: each with its own length, number, sequence number, flags and checksums. */
function cut(packet: Uint8Array, size: number, send: (frame: Uint8Array) => void): void {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  const ip = ETHERNET_LENGTH;
  if (size === 0 || packet.length < ip + 40 || view.getUint16(12) !== ETHERTYPE_IPV4) return;
  const tcp = ip + (view.getUint8(ip) & 15) * 4;
  if (tcp < ip + 20 || view.getUint8(ip + 9) !== PROTOCOL_TCP || packet.length < tcp + 20) return;
  const data = tcp + (view.getUint8(tcp + 12) >> 4) * 4;
  if (data < tcp + 20 || data >= packet.length) return;

  const id = view.getUint16(ip + 4);
  const sequence = view.getUint32(tcp + 4);
  const flags = view.getUint8(tcp + 13);
  view.setUint16(ip + 10, 0);
  view.setUint16(tcp + 16, 0);
  // Addresses and protocol: the pseudo header but for the length.
  const pseudo = sum(packet, ip + 12, ip + 20) + PROTOCOL_TCP;
  for (let at = data, count = 0; at < packet.length; at += size, count++) {
    const end = Math.min(at + size, packet.length);
    const frame = new Uint8Array(data + end - at);
    frame.set(packet.subarray(0, data));
    frame.set(packet.subarray(at, end), data);
    put16(frame, ip + 2, frame.length - ip);
    put16(frame, ip + 4, id + count);
    put16(frame, ip + 10, finish(sum(frame, ip, tcp)));
    put16(frame, tcp + 4, (sequence + at - data) / 0x10000);
    put16(frame, tcp + 6, sequence + at - data);
    // The end and the push belong to the last bytes, the answer to a mark of congestion to the first (RFC 3168, 6.1.2).
    const others = (end < packet.length ? TCP.fin | TCP.push : 0) | (count > 0 ? TCP.windowReduced : 0);
    frame[tcp + 13] = flags & ~others;
    put16(frame, tcp + 16, finish(pseudo + frame.length - tcp + sum(frame, tcp, frame.length)));
    send(frame);
  }
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** The sum of the words from `start`, which is even in memory, to `end`, folded into sixteen bits (RFC 1071). */
function sum(bytes: Uint8Array, start: number, end: number): number {
  const count = (end - start) >> 1;
  const words = new Uint16Array(bytes.buffer, bytes.byteOffset + start, count);
  let total = 0;
  for (let i = 0; i < count; i++) total += words[i] as number;
  if ((end - start) & 1) total += (bytes[end - 1] as number) << (isLittleEndian ? 0 : 8);
  total = fold(total);
  // Of words whose bytes are swapped the sum has its bytes swapped (RFC 1071, 2, B).
  return isLittleEndian ? ((total & 0xff) << 8) | (total >> 8) : total;
}

function fold(total: number): number {
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 0x10000);
  return total;
}

function finish(total: number): number {
  return ~fold(total) & 0xffff;
}
