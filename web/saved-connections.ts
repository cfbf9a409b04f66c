/**
 * TCP connections that a machine had when it was saved. Nobody at the other ends knows of them any more, and a program that
 * only waits would wait for ever. What their next sequence numbers are is not known outside the guest, but it tells: a SYN
 * on an open connection is answered by what it expects (RFC 5961, 4.2), to which the relay, who knows of no such connection,
 * says that it is over.
 */
import { encodeSegment, FLAG_SYN } from "./open-connections.ts";

export const LIST_CONNECTIONS = "cat /sys/class/net/eth0/address /proc/net/tcp";

/** Linux's numbers (include/net/tcp_states.h): established, FIN-WAIT-1 and 2, CLOSE-WAIT, LAST-ACK, CLOSING. */
const OPEN_STATES = new Set(["01", "04", "05", "08", "09", "0B"]);
const LOOPBACK = 127;

/**
 * @param output of LIST_CONNECTIONS: the card's address, then a line for each connection, numbers in hexadecimal,
 * addresses with their last byte first: `0: 0F02000A:9C40 016433C6:0050 01 …`
 * @returns frames for the guest
 */
export function probeConnections(output: string, gatewayMac: string): Uint8Array[] {
  const [card = "", ...lines] = output.split("\n");
  const [guestMac, peerMac] = [readMac(card), readMac(gatewayMac)];
  if (!guestMac || !peerMac) return [];
  return lines.flatMap((line) => {
    const match = /^\s*\d+: ([0-9A-F]{8}):([0-9A-F]{4}) ([0-9A-F]{8}):([0-9A-F]{4}) ([0-9A-F]{2}) /.exec(line);
    if (!match || !OPEN_STATES.has(match[5] as string)) return [];
    const [guest, guestPort, peer, peerPort] = match.slice(1, 5).map((digits) => Number.parseInt(digits, 16)) as [
      number,
      number,
      number,
      number,
    ];
    if ((peer & 0xff) === LOOPBACK) return [];
    const ends = { guestMac, peerMac, guest: swap(guest), peer: swap(peer), guestPort, peerPort };
    return [encodeSegment(ends, 0, FLAG_SYN)];
  });
}

function readMac(text: string): Uint8Array | null {
  const bytes = text
    .trim()
    .split(":")
    .map((digits) => Number.parseInt(digits, 16));
  return bytes.length === 6 && bytes.every((byte) => byte >= 0 && byte < 256) ? Uint8Array.from(bytes) : null;
}

function swap(word: number): number {
  return (((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;
}
