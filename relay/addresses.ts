/**
 * Internet addresses as bytes, and networks of them in CIDR form (RFC 4632, RFC 4291).
 *
 * Limitations: only the spellings that inet_pton takes. "127.1", "0x7f.0.0.1" and "2130706433" are no addresses here, so
 * that nothing can mean one thing to the policy and another to the operating system.
 */
import { isIPv4, isIPv6 } from "node:net";

/** 4 bytes for IPv4, 16 for IPv6. */
export type Address = Uint8Array;

export interface Cidr {
  network: Address;
  prefixLength: number;
}

/** @returns null when it is none. A zone ("fe80::1%eth0") is left out. */
export function parseAddress(text: string): Address | null {
  if (isIPv4(text)) return Uint8Array.from(text.split("."), Number);
  if (!isIPv6(text)) return null;
  const [plain = ""] = text.split("%");
  // The last 32 bits may be written as an IPv4 address.
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(plain);
  const [a = 0, b = 0, c = 0, d = 0] = dotted ? (dotted[2] as string).split(".").map(Number) : [];
  const hex = dotted ? `${dotted[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}` : plain;
  const [head = "", tail] = hex.split("::");
  const words = (part: string): number[] => (part ? part.split(":").map((word) => Number.parseInt(word, 16)) : []);
  const before = words(head);
  const after = tail === undefined ? [] : words(tail);
  const all = [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
  return Uint8Array.from(all.flatMap((word) => [word >> 8, word & 255]));
}

/** IPv4 in dotted form, IPv6 as RFC 5952 wants it. */
export function formatAddress(address: Address): string {
  if (address.length === 4) return address.join(".");
  const words = Array.from({ length: 8 }, (_, i) =>
    (((address[2 * i] as number) << 8) | (address[2 * i + 1] as number)).toString(16),
  );
  let best = { at: 0, length: 0 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (words[at + length] === "0") length++;
    if (length > best.length) best = { at, length };
  }
  if (best.length < 2) return words.join(":");
  return `${words.slice(0, best.at).join(":")}::${words.slice(best.at + best.length).join(":")}`;
}

const startsWith = (address: Address, ...bytes: number[]): boolean => bytes.every((byte, i) => address[i] === byte);
const ZEROS = new Array<number>(10).fill(0);

/** `::ffff:192.0.2.1` is 192.0.2.1 to every socket, so it is nothing else here. */
export function unmap(address: Address): Address {
  return address.length === 16 && startsWith(address, ...ZEROS, 255, 255) ? address.subarray(12) : address;
}

/**
 * IPv4 addresses to which packets for an IPv6 address may be carried on: IPv4-compatible (RFC 4291, 2.5.5.1),
 * IPv4-translated (RFC 7915), NAT64 (RFC 6052), 6to4 (RFC 3056), Teredo's server and client (RFC 4380), ISATAP (RFC 5214).
 */
export function embeddedIpv4(address: Address): Address[] {
  if (address.length !== 16) return [];
  const last = address.subarray(12);
  const found: Address[] = [];
  if (startsWith(address, ...ZEROS, 255, 255)) found.push(last);
  if (startsWith(address, ...ZEROS, 0, 0)) found.push(last);
  if (startsWith(address, ...ZEROS.slice(0, 8), 255, 255, 0, 0)) found.push(last);
  if (startsWith(address, 0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0)) found.push(last);
  if (startsWith(address, 0x20, 0x02)) found.push(address.subarray(2, 6));
  if (startsWith(address, 0x20, 0x01, 0, 0))
    found.push(
      address.subarray(4, 8),
      last.map((byte) => byte ^ 255),
    );
  if ((address[8] === 0 || address[8] === 2) && startsWith(address.subarray(9), 0, 0x5e, 0xfe)) found.push(last);
  return found;
}

export function contains(cidr: Cidr, address: Address): boolean {
  const { network, prefixLength } = cidr;
  if (network.length !== address.length) return false;
  const whole = prefixLength >> 3;
  for (let i = 0; i < whole; i++) if (network[i] !== address[i]) return false;
  const rest = prefixLength & 7;
  return rest === 0 || ((network[whole] as number) ^ (address[whole] as number)) >> (8 - rest) === 0;
}

/**
 * Reads "10.0.0.0/8", "192.0.2.1", "2001:db8::/32".
 * @throws Error 'Cannot use "10.0.0.1/8": …'
 */
export function parseCidr(text: string): Cidr {
  const [addressText = "", lengthText, ...more] = text.split("/");
  const address = addressText.includes("%") ? null : parseAddress(addressText);
  if (!address || more.length > 0)
    throw new Error(`Cannot use "${text}": a network looks like 192.0.2.0/24, 192.0.2.1 or 2001:db8::/32`);
  const bits = address.length * 8;
  const prefixLength = lengthText === undefined ? bits : Number(lengthText);
  if ((lengthText !== undefined && !/^\d{1,3}$/.test(lengthText)) || prefixLength > bits)
    throw new Error(`Cannot use "${text}": behind the slash stands a number from 0 to ${bits}`);
  const network = address.map((byte, i) => byte & (0xff00 >> Math.max(0, Math.min(8, prefixLength - 8 * i))));
  if (network.some((byte, i) => byte !== address[i]))
    throw new Error(`Cannot use "${text}": that network is ${formatAddress(network)}/${prefixLength}`);
  const plain = prefixLength >= 96 ? unmap(network) : network;
  return { network: plain, prefixLength: prefixLength - (bits - plain.length * 8) };
}

export function formatCidr({ network, prefixLength }: Cidr): string {
  return prefixLength === network.length * 8 ? formatAddress(network) : `${formatAddress(network)}/${prefixLength}`;
}
