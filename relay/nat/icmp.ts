/**
 * The Internet Control Message Protocol (RFC 792, RFC 1122 section 3.2.2).
 *
 *   0      1      2          4                8
 *   | type | code | checksum | rest of header | data …
 *
 * An error's data is the header of the packet it is about and the start of what that carried.
 */
import { addWords, finishChecksum } from "./checksum.ts";
import { getU16, setU16 } from "./words.ts";

export const ICMP_TYPE = { echoReply: 0, unreachable: 3, echoRequest: 8, timeExceeded: 11 } as const;

/** Codes of "unreachable": RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1. */
export const UNREACHABLE = { network: 0, host: 1, protocol: 2, port: 3, prohibited: 13 } as const;

/** The most an error carries of the packet it is about: RFC 1812, 4.3.2.3 wants the whole error within 576 bytes. */
const ERROR_DATA = 548;

export interface Echo {
  id: number;
  sequence: number;
  data: Uint8Array;
}

export type Icmp = { kind: "echo-request" | "echo-reply"; echo: Echo } | { kind: "other"; type: number; code: number };

export function decodeIcmp(bytes: Uint8Array, start: number, end: number): Icmp | "short" | "checksum" {
  if (end - start < 8) return "short";
  if (finishChecksum(addWords(bytes, start, end)) !== 0) return "checksum";
  const type = bytes[start] as number;
  const code = bytes[start + 1] as number;
  if ((type !== ICMP_TYPE.echoRequest && type !== ICMP_TYPE.echoReply) || code !== 0)
    return { kind: "other", type, code };
  return {
    kind: type === ICMP_TYPE.echoRequest ? "echo-request" : "echo-reply",
    echo: { id: getU16(bytes, start + 4), sequence: getU16(bytes, start + 6), data: bytes.subarray(start + 8, end) },
  };
}

export function encodeEcho(type: 0 | 8, echo: Echo): Uint8Array {
  const bytes = new Uint8Array(8 + echo.data.length);
  bytes[0] = type;
  setU16(bytes, 4, echo.id);
  setU16(bytes, 6, echo.sequence);
  bytes.set(echo.data, 8);
  setU16(bytes, 2, finishChecksum(addWords(bytes, 0, bytes.length)));
  return bytes;
}

/** @param packet the packet it is about, from its IPv4 header on */
export function encodeIcmpError(type: number, code: number, packet: Uint8Array): Uint8Array {
  const quoted = packet.subarray(0, ERROR_DATA);
  const bytes = new Uint8Array(8 + quoted.length);
  bytes[0] = type;
  bytes[1] = code;
  bytes.set(quoted, 8);
  setU16(bytes, 2, finishChecksum(addWords(bytes, 0, bytes.length)));
  return bytes;
}
