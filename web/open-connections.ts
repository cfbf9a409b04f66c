/**
 * The guest's TCP connections, as far as its own frames tell (RFC 9293). A relay that has forgotten the guest says nothing
 * on them any more, and a program that only waits for data would wait for ever: so they are reset in the name of the others.
 *
 *   0            12     14        23          26      30      34
 *   | MAC to, from | 0800 | 4 ihl … | protocol … | source | target | ports, sequence, acknowledgement, flags
 */
interface Connection extends Ends {
  /** What the guest expects next: a reset must have just this sequence number (RFC 5961, 3.2). */
  expected: number;
  /** Counts up with each segment: the least is the one that has been silent longest. */
  seen: number;
}

const ETHERTYPE_IPV4 = 0x0800;
const PROTOCOL_TCP = 6;
export const FLAG_SYN = 2;
const FLAG_RST = 4;
const FLAG_ACK = 16;
/** Far more than the relay lets a guest have; beyond it the silent ones are forgotten. */
const MOST = 4096;

/** Addresses as numbers. */
export interface Ends {
  guestMac: Uint8Array;
  peerMac: Uint8Array;
  guest: number;
  peer: number;
  guestPort: number;
  peerPort: number;
}

export class OpenConnections {
  private readonly connections = new Map<string, Connection>();
  private segments = 0;

  /** A frame that the guest sends. */
  note(frame: Uint8Array): void {
    if (frame.length < 54) return;
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    if (view.getUint16(12) !== ETHERTYPE_IPV4 || view.getUint8(14) >> 4 !== 4) return;
    if (view.getUint8(23) !== PROTOCOL_TCP || (view.getUint16(20) & 0x1fff) !== 0) return;
    const tcp = 14 + (view.getUint8(14) & 15) * 4;
    if (frame.length < tcp + 20) return;
    const flags = view.getUint8(tcp + 13);
    const [guest, peer] = [view.getUint32(26), view.getUint32(30)];
    const [guestPort, peerPort] = [view.getUint16(tcp), view.getUint16(tcp + 2)];
    const key = `${guest} ${peer} ${guestPort} ${peerPort}`;
    if (flags & FLAG_RST) {
      this.connections.delete(key);
      return;
    }
    // A first SYN acknowledges nothing yet; it is sent again until somebody answers.
    if (!(flags & FLAG_ACK)) return;
    this.segments += 1;
    const known = this.connections.get(key);
    if (known) {
      known.expected = view.getUint32(tcp + 8);
      known.seen = this.segments;
      return;
    }
    if (this.connections.size >= MOST) this.forgetHalf();
    this.connections.set(key, {
      guestMac: frame.slice(6, 12),
      peerMac: frame.slice(0, 6),
      guest,
      peer,
      guestPort,
      peerPort,
      expected: view.getUint32(tcp + 8),
      seen: this.segments,
    });
  }

  /**
   * Ends connections.
   * @param lives whether one goes on, by both ends' addresses as numbers
   * @returns the frames for the guest
   */
  reset(lives: (guest: number, peer: number) => boolean = () => false): Uint8Array[] {
    const ended = [...this.connections].filter(([, { guest, peer }]) => !lives(guest, peer));
    for (const [key] of ended) this.connections.delete(key);
    return ended.map(([, connection]) => encodeSegment(connection, connection.expected, FLAG_RST));
  }

  private forgetHalf(): void {
    const bySilence = [...this.connections].sort(([, a], [, b]) => a.seen - b.seen);
    for (const [key] of bySilence.slice(0, MOST / 2)) this.connections.delete(key);
  }
}

/** A segment to the guest in the name of the other end, without data. @returns an Ethernet frame */
export function encodeSegment(ends: Ends, sequence: number, flags: number): Uint8Array {
  const { guestMac, peerMac, guest, peer, guestPort, peerPort } = ends;
  const frame = new Uint8Array(54);
  const view = new DataView(frame.buffer);
  frame.set(guestMac);
  frame.set(peerMac, 6);
  view.setUint16(12, ETHERTYPE_IPV4);
  frame.set([0x45, 0, 0, 40, 0, 0, 0, 0, 64, PROTOCOL_TCP], 14);
  view.setUint32(26, peer);
  view.setUint32(30, guest);
  view.setUint16(24, checksum(view, 14, 34));
  view.setUint16(34, peerPort);
  view.setUint16(36, guestPort);
  view.setUint32(38, sequence);
  frame.set([0x50, flags], 46);
  // The pseudo header: addresses, protocol, length.
  view.setUint16(50, checksum(view, 26, 54, PROTOCOL_TCP + 20));
  return frame;
}

/** RFC 1071, over an even number of bytes. @param sum what is added to it: of a pseudo header */
export function checksum(view: DataView, start: number, end: number, sum = 0): number {
  for (let at = start; at < end; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
