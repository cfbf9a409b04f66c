/**
 * As much of DNS messages (RFC 1035, 4) as a forwarder needs: the header, the question, and the size of answers the
 * client takes (RFC 6891). Everything else is passed on untouched.
 *
 *   0    2       4         6         8           10           12
 *   | id | flags | qdcount | ancount | nscount   | arcount    | question … records …
 */
import { copyOf, getU16, setU16 } from "./words.ts";

export const DNS_HEADER = 12;
export const RCODE = { formatError: 1, serverFailure: 2, refused: 5 } as const;

const FLAG_ANSWER = 0x8000;
const FLAG_TRUNCATED = 0x0200;
/** Operation code and "recursion desired", which an answer repeats. */
const REPEATED_FLAGS = 0x7900;
const TYPE_OPT = 41;

export interface DnsMessage {
  id: number;
  isAnswer: boolean;
  isTruncated: boolean;
  rcode: number;
  questions: number;
  /** The first question's name, as a person writes it. */
  name: string;
  type: number;
  /** Where the questions end. */
  questionEnd: number;
  /** The largest answer over UDP the sender takes. */
  udpSize: number;
}

/** @returns null when it is too short or its questions are broken */
export function decodeDns(bytes: Uint8Array): DnsMessage | null {
  if (bytes.length < DNS_HEADER) return null;
  const flags = getU16(bytes, 2);
  const questions = getU16(bytes, 4);
  let at = DNS_HEADER;
  let name = "";
  let type = 0;
  for (let i = 0; i < questions; i++) {
    const read = readName(bytes, at);
    if (!read || read.end + 4 > bytes.length) return null;
    if (i === 0) {
      name = read.name;
      type = getU16(bytes, read.end);
    }
    at = read.end + 4;
  }
  return {
    id: getU16(bytes, 0),
    isAnswer: (flags & FLAG_ANSWER) !== 0,
    isTruncated: (flags & FLAG_TRUNCATED) !== 0,
    rcode: flags & 15,
    questions,
    name,
    type,
    questionEnd: at,
    udpSize: readUdpSize(bytes, at),
  };
}

/** Whether an answer is one to this query: the same question, or none when it was not understood. */
export function answers(query: Uint8Array, asked: DnsMessage, answer: Uint8Array): boolean {
  const got = decodeDns(answer);
  if (!got?.isAnswer) return false;
  if (got.questions === 0) return got.rcode !== 0;
  if (got.questions !== asked.questions || got.questionEnd !== asked.questionEnd) return false;
  // Servers may change the case of letters, nothing else.
  for (let i = DNS_HEADER; i < asked.questionEnd; i++)
    if (lower(query[i] as number) !== lower(answer[i] as number)) return false;
  return true;
}

/** An answer that says only why there is none. */
export function makeError(query: Uint8Array, asked: DnsMessage | null, rcode: number): Uint8Array {
  const bytes = copyOf(query, 0, asked?.questionEnd ?? DNS_HEADER);
  setU16(bytes, 2, FLAG_ANSWER | (getU16(query, 2) & REPEATED_FLAGS) | 0x80 | rcode);
  setU16(bytes, 4, asked?.questions ?? 0);
  bytes.fill(0, 6, DNS_HEADER);
  return bytes;
}

/** An answer without its records: the client is to ask again over TCP. */
export function truncate(answer: Uint8Array): Uint8Array {
  const bytes = copyOf(answer, 0, decodeDns(answer)?.questionEnd ?? DNS_HEADER);
  setU16(bytes, 2, getU16(answer, 2) | FLAG_TRUNCATED);
  bytes.fill(0, 6, DNS_HEADER);
  return bytes;
}

function lower(byte: number): number {
  return byte >= 65 && byte <= 90 ? byte + 32 : byte;
}

/** Reads a name; of one that is compressed (RFC 1035, 4.1.4) only the end is of interest here. */
function readName(bytes: Uint8Array, start: number): { name: string; end: number } | null {
  let name = "";
  for (let at = start; at < bytes.length; ) {
    const length = bytes[at] as number;
    if (length === 0) return { name: name || ".", end: at + 1 };
    if (length >= 0xc0) return at + 2 <= bytes.length ? { name, end: at + 2 } : null;
    if (length > 63 || at + 1 + length > bytes.length || at - start > 255) return null;
    const label = bytes.subarray(at + 1, at + 1 + length);
    name += (name && ".") + Array.from(label, printable).join("");
    at += 1 + length;
  }
  return null;
}

function printable(byte: number): string {
  return byte > 32 && byte < 127 ? String.fromCharCode(byte) : `\\${String(byte).padStart(3, "0")}`;
}

/** RFC 6891, 6.1.2: the class of the OPT record; 512 without one. */
function readUdpSize(bytes: Uint8Array, start: number): number {
  const records = getU16(bytes, 6) + getU16(bytes, 8) + getU16(bytes, 10);
  let at = start;
  for (let i = 0; i < records; i++) {
    const read = readName(bytes, at);
    if (!read || read.end + 10 > bytes.length) break;
    if (getU16(bytes, read.end) === TYPE_OPT) return Math.max(512, getU16(bytes, read.end + 2));
    at = read.end + 10 + getU16(bytes, read.end + 8);
  }
  return 512;
}
