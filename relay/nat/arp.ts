/**
 * Address resolution for IPv4 over Ethernet (RFC 826).
 *
 *   0      2       4     5     6     8            14          18           24
 *   | htype | ptype | hln | pln | op | sender mac | sender ip | target mac | target ip |
 */
import { copyOf, getU16, getU32, setU16, setU32 } from "./words.ts";

export const ARP_LENGTH = 28;
export const ARP_OPERATION = { request: 1, reply: 2 } as const;

export interface Arp {
  operation: number;
  senderMac: Uint8Array;
  senderAddress: number;
  targetMac: Uint8Array;
  targetAddress: number;
}

/** @returns null when it is too short or not for IPv4 over Ethernet */
export function decodeArp(bytes: Uint8Array, start: number): Arp | null {
  if (bytes.length - start < ARP_LENGTH) return null;
  if (getU16(bytes, start) !== 1 || getU16(bytes, start + 2) !== 0x0800 || getU16(bytes, start + 4) !== 0x0604)
    return null;
  return {
    operation: getU16(bytes, start + 6),
    senderMac: copyOf(bytes, start + 8, start + 14),
    senderAddress: getU32(bytes, start + 14),
    targetMac: copyOf(bytes, start + 18, start + 24),
    targetAddress: getU32(bytes, start + 24),
  };
}

export function encodeArp(arp: Arp): Uint8Array {
  const bytes = new Uint8Array(ARP_LENGTH);
  setU16(bytes, 0, 1);
  setU16(bytes, 2, 0x0800);
  setU16(bytes, 4, 0x0604);
  setU16(bytes, 6, arp.operation);
  bytes.set(arp.senderMac, 8);
  setU32(bytes, 14, arp.senderAddress);
  bytes.set(arp.targetMac, 18);
  setU32(bytes, 24, arp.targetAddress);
  return bytes;
}
