/** Addresses as numbers (IPv4) and bytes (Ethernet). */
import { getU16, getU32 } from "./words.ts";

/** @throws Error "Cannot read the address "10.0.2": …" */
export function parseAddress(text: string): number {
  const parts = text.split(".");
  let value = 0;
  for (const part of parts) {
    const number = Number(part);
    if (!/^\d{1,3}$/.test(part) || number > 255) value = Number.NaN;
    value = value * 256 + number;
  }
  if (parts.length !== 4 || Number.isNaN(value))
    throw new Error(`Cannot read the address "${text}": four numbers up to 255 with dots between them are needed`);
  return value;
}

export function formatAddress(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** @throws Error 'Cannot read the Ethernet address "52:54": …' */
export function parseMac(text: string): Uint8Array {
  const parts = text.split(":");
  if (parts.length !== 6 || !parts.every((part) => /^[0-9a-f]{2}$/i.test(part)))
    throw new Error(`Cannot read the Ethernet address "${text}": six bytes in hexadecimal are needed`);
  return Uint8Array.from(parts, (part) => Number.parseInt(part, 16));
}

export const MAC_BROADCAST = new Uint8Array(6).fill(255);

/** An Ethernet address as a key of a Map: 48 bits fit a number. */
export function macKey(bytes: Uint8Array, at: number): number {
  return getU16(bytes, at) * 2 ** 32 + getU32(bytes, at + 2);
}

/**
 * Addresses no packet may go to: this network (0/8), loopback (127/8), multicast (224/4), and the reserved ones with
 * the broadcast address (240/4). RFC 1122, 3.2.1.3; RFC 6890. What else is refused is the policy's affair.
 */
export function isMartian(address: number): boolean {
  const first = address >>> 24;
  return first === 0 || first === 127 || first >= 224;
}
