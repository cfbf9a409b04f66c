/**
 * Ethernet II frames (IEEE 802.3, clause 3; RFC 894).
 *
 *   0        6       12     14
 *   | to     | from  | type | payload …
 *
 * Limitations: no VLAN tags, no 802.3 lengths; both are unknown types and are dropped.
 */
import { setU16 } from "./words.ts";

export const ETHERNET_HEADER = 14;

export const ETHER_TYPE = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;

/** Writes the header to the start of a frame. */
export function writeEthernet(frame: Uint8Array, to: Uint8Array, from: Uint8Array, type: number): void {
  for (let i = 0; i < 6; i++) {
    frame[i] = to[i] as number;
    frame[6 + i] = from[i] as number;
  }
  setU16(frame, 12, type);
}

/** Whether a frame is for `mac`, for all, or for a group. */
export function isFor(frame: Uint8Array, mac: Uint8Array): boolean {
  if ((frame[0] as number) & 1) return true;
  for (let i = 0; i < 6; i++) if (frame[i] !== mac[i]) return false;
  return true;
}
