/**
 * Other addresses in IPv4 packets, one for one. All guests have the same address in networks of their own; in the kernel
 * each has one that nobody else has. Checksums are not made anew but corrected by the difference (RFC 1624, equation 3),
 * so what was broken stays broken.
 */
import { addWords, finishChecksum } from "../nat/checksum.ts";
import { ETHERNET_HEADER } from "../nat/ethernet.ts";
import { ICMP_TYPE } from "../nat/icmp.ts";
import { IP_PROTOCOL, IPV4_HEADER } from "../nat/ipv4.ts";
import { getU16, getU32, setU16, setU32 } from "../nat/words.ts";

export interface Addresses {
  guest: number;
  gateway: number;
  dns: number;
}

/** Where a header keeps them. */
const SOURCE = 12;
const DESTINATION = 16;
const ICMP_HEADER = 8;

/** From the guest's addresses to the kernel's. The frame has passed the filter. */
export function mapOutward(frame: Uint8Array, seen: Addresses, real: Addresses): void {
  replace(frame, ETHERNET_HEADER, SOURCE, real.guest);
  if (getU32(frame, ETHERNET_HEADER + DESTINATION) === seen.dns) replace(frame, ETHERNET_HEADER, DESTINATION, real.dns);
}

/** From the kernel's addresses to the guest's. @returns whether it is an IPv4 packet for the guest */
export function mapInward(frame: Uint8Array, seen: Addresses, real: Addresses): boolean {
  const at = ETHERNET_HEADER;
  if (frame.length < at + IPV4_HEADER || getU16(frame, 12) !== 0x0800) return false;
  const payload = at + ((frame[at] as number) & 15) * 4;
  if (payload < at + IPV4_HEADER || payload > frame.length || getU32(frame, at + DESTINATION) !== real.guest)
    return false;
  replace(frame, at, DESTINATION, seen.guest);
  const isIcmp = frame[at + 9] === IP_PROTOCOL.icmp;
  // The kernel speaks in its own name in errors only: it is the guest's gateway then.
  if (getU32(frame, at + SOURCE) === real.dns) replace(frame, at, SOURCE, isIcmp ? seen.gateway : seen.dns);
  if (isIcmp) mapQuoted(frame, payload, at + getU16(frame, at + 2), seen, real);
  return true;
}

/** An ICMP error quotes the packet it is about, as it was under the kernel's addresses. */
function mapQuoted(frame: Uint8Array, payload: number, end: number, seen: Addresses, real: Addresses): void {
  const type = frame[payload];
  const quoted = payload + ICMP_HEADER;
  const isWhole = (getU16(frame, ETHERNET_HEADER + 6) & 0x3fff) === 0;
  if ((type !== ICMP_TYPE.unreachable && type !== ICMP_TYPE.timeExceeded) || !isWhole) return;
  if (end > frame.length || quoted + IPV4_HEADER > end || getU32(frame, quoted + SOURCE) !== real.guest) return;
  replace(frame, quoted, SOURCE, seen.guest, end);
  if (getU32(frame, quoted + DESTINATION) === real.dns) replace(frame, quoted, DESTINATION, seen.dns, end);
  setU16(frame, payload + 2, 0);
  setU16(frame, payload + 2, finishChecksum(addWords(frame, payload, end)));
}

/** Replaces one address of the header at `at`, and corrects the checksums that cover it. */
function replace(frame: Uint8Array, at: number, field: number, address: number, end = frame.length): void {
  const former = getU32(frame, at + field);
  setU32(frame, at + field, address);
  correct(frame, at + 10, former, address);
  // Later fragments carry no header of TCP or UDP.
  if ((getU16(frame, at + 6) & 0x1fff) !== 0) return;
  const payload = at + ((frame[at] as number) & 15) * 4;
  const protocol = frame[at + 9];
  if (protocol === IP_PROTOCOL.tcp && payload + 18 <= end) correct(frame, payload + 16, former, address);
  // Zero: the sender made none.
  else if (protocol === IP_PROTOCOL.udp && payload + 8 <= end && getU16(frame, payload + 6) !== 0) {
    correct(frame, payload + 6, former, address);
    if (getU16(frame, payload + 6) === 0) setU16(frame, payload + 6, 0xffff);
  }
}

function correct(frame: Uint8Array, at: number, former: number, address: number): void {
  const sum =
    (~getU16(frame, at) & 0xffff) +
    (~(former >>> 16) & 0xffff) +
    (~former & 0xffff) +
    (address >>> 16) +
    (address & 0xffff);
  setU16(frame, at, finishChecksum(sum));
}
