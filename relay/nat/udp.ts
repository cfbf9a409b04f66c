/**
 * The User Datagram Protocol (RFC 768).
 *
 *   0             2                  4        6          8
 *   | source port | destination port | length | checksum | data …
 */
import { addPseudoHeader, addWords, finishChecksum } from "./checksum.ts";
import { IP_PROTOCOL } from "./ipv4.ts";
import { getU16, setU16 } from "./words.ts";

export const UDP_HEADER = 8;

/** The most that fits an IPv4 packet. */
export const UDP_MAX_DATA = 65507;

export interface Datagram {
  sourcePort: number;
  destinationPort: number;
  /** A view of the bytes it was decoded from. */
  data: Uint8Array;
}

/** Decodes what an IPv4 packet from `source` to `destination` carries from `start` to `end`. */
export function decodeUdp(
  bytes: Uint8Array,
  start: number,
  end: number,
  source: number,
  destination: number,
): Datagram | "short" | "length" | "checksum" {
  if (end - start < UDP_HEADER) return "short";
  const length = getU16(bytes, start + 4);
  if (length < UDP_HEADER || start + length > end) return "length";
  // Zero: the sender made none.
  if (getU16(bytes, start + 6) !== 0) {
    const sum = addWords(bytes, start, start + length, addPseudoHeader(source, destination, IP_PROTOCOL.udp, length));
    if (finishChecksum(sum) !== 0) return "checksum";
  }
  return {
    sourcePort: getU16(bytes, start),
    destinationPort: getU16(bytes, start + 2),
    data: bytes.subarray(start + UDP_HEADER, start + length),
  };
}

/** @throws Error "Cannot make a datagram of …" */
export function encodeUdp(datagram: Datagram, source: number, destination: number): Uint8Array {
  const { data } = datagram;
  if (data.length > UDP_MAX_DATA)
    throw new Error(`Cannot make a datagram of ${data.length} bytes: ${UDP_MAX_DATA} are the most`);
  const bytes = new Uint8Array(UDP_HEADER + data.length);
  setU16(bytes, 0, datagram.sourcePort);
  setU16(bytes, 2, datagram.destinationPort);
  setU16(bytes, 4, bytes.length);
  bytes.set(data, UDP_HEADER);
  const sum = addWords(bytes, 0, bytes.length, addPseudoHeader(source, destination, IP_PROTOCOL.udp, bytes.length));
  // A sum of zero is sent as all ones, since zero says that there is none.
  setU16(bytes, 6, finishChecksum(sum) || 0xffff);
  return bytes;
}
