/**
 * The Internet Protocol, version 4 (RFC 791).
 *
 *   0        1     2        4    6                8     9          10         12       16            20
 *   | 4, ihl | tos | length | id | flags, offset | ttl | protocol | checksum | source | destination | options …
 *
 * Limitations: options are skipped, not obeyed; source routes are dropped, as RFC 7126 advises for routers.
 */
import { addWords, finishChecksum } from "./checksum.ts";
import { getU16, getU32, setU16, setU32 } from "./words.ts";

export const IPV4_HEADER = 20;

export const IP_PROTOCOL = { icmp: 1, tcp: 6, udp: 17 } as const;

export const IPV4_TTL = 64;

/** A decoded header. One object serves many packets, so that none has to be made for each. */
export class Ipv4 {
  /** Where the header starts, where what it carries starts, and where that ends (padding of the frame left out). */
  start = 0;
  payload = 0;
  end = 0;
  id = 0;
  dontFragment = false;
  moreFragments = false;
  /** In bytes. */
  fragmentOffset = 0;
  ttl = 0;
  protocol = 0;
  source = 0;
  destination = 0;

  /** @returns null, or in a word what is wrong */
  decode(bytes: Uint8Array, start: number): "short" | "version" | "length" | "checksum" | "source-route" | null {
    if (bytes.length - start < IPV4_HEADER) return "short";
    const first = bytes[start] as number;
    if (first >>> 4 !== 4) return "version";
    const headerLength = (first & 15) * 4;
    const length = getU16(bytes, start + 2);
    if (headerLength < IPV4_HEADER || length < headerLength || start + length > bytes.length) return "length";
    if (finishChecksum(addWords(bytes, start, start + headerLength)) !== 0) return "checksum";
    if (headerLength > IPV4_HEADER && hasSourceRoute(bytes, start + IPV4_HEADER, start + headerLength))
      return "source-route";
    const fragment = getU16(bytes, start + 6);
    this.start = start;
    this.payload = start + headerLength;
    this.end = start + length;
    this.id = getU16(bytes, start + 4);
    this.dontFragment = (fragment & 0x4000) !== 0;
    this.moreFragments = (fragment & 0x2000) !== 0;
    this.fragmentOffset = (fragment & 0x1fff) * 8;
    this.ttl = bytes[start + 8] as number;
    this.protocol = bytes[start + 9] as number;
    this.source = getU32(bytes, start + 12);
    this.destination = getU32(bytes, start + 16);
    return null;
  }
}

/** RFC 791, 3.1: an option is one byte (0 ends the list, 1 is padding) or type, length, data. */
function hasSourceRoute(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; ) {
    const type = bytes[at] as number;
    if (type === 0) return false;
    if (type === 1) {
      at++;
      continue;
    }
    if (type === 131 || type === 137) return true;
    const length = at + 1 < end ? (bytes[at + 1] as number) : 0;
    if (length < 2) return false;
    at += length;
  }
  return false;
}

export interface Ipv4Fields {
  source: number;
  destination: number;
  protocol: number;
  id: number;
  ttl?: number;
  dontFragment?: boolean;
  moreFragments?: boolean;
  /** In bytes, a multiple of 8. */
  fragmentOffset?: number;
}

/** Writes a header without options to `at`, for `payloadLength` bytes behind it. */
export function writeIpv4(bytes: Uint8Array, at: number, fields: Ipv4Fields, payloadLength: number): void {
  const length = IPV4_HEADER + payloadLength;
  if (length > 0xffff) throw new Error(`Cannot make a packet of ${length} bytes: 65535 are the most`);
  bytes[at] = 0x45;
  bytes[at + 1] = 0;
  setU16(bytes, at + 2, length);
  setU16(bytes, at + 4, fields.id);
  const flags = (fields.dontFragment ? 0x4000 : 0) | (fields.moreFragments ? 0x2000 : 0);
  setU16(bytes, at + 6, flags | ((fields.fragmentOffset ?? 0) >>> 3));
  bytes[at + 8] = fields.ttl ?? IPV4_TTL;
  bytes[at + 9] = fields.protocol;
  bytes[at + 10] = 0;
  bytes[at + 11] = 0;
  setU32(bytes, at + 12, fields.source);
  setU32(bytes, at + 16, fields.destination);
  setU16(bytes, at + 10, finishChecksum(addWords(bytes, at, at + IPV4_HEADER)));
}

/**
 * How a payload is cut for a link (RFC 791, 3.2): all pieces but the last are multiples of 8 bytes.
 * @param mtu bytes of a whole packet
 */
export function* fragments(
  payloadLength: number,
  mtu: number,
): Generator<{ offset: number; length: number; more: boolean }> {
  const room = payloadLength + IPV4_HEADER <= mtu ? payloadLength : (mtu - IPV4_HEADER) & ~7;
  let offset = 0;
  do {
    const length = Math.min(room, payloadLength - offset);
    yield { offset, length, more: offset + length < payloadLength };
    offset += length;
  } while (offset < payloadLength);
}
