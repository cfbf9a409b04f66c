/**
 * TCP segments (RFC 9293, 3.1), with the options of RFC 7323 (window scale) and RFC 2018 (selective acknowledgement).
 *
 *   0             2                  4     8     12             14       16         18       20
 *   | source port | destination port | seq | ack | offset,flags | window | checksum | urgent | options … data …
 *
 * Limitations: no timestamps: connections of some 256 KB in flight need no PAWS, and segments stay 12 bytes shorter.
 */
import { addPseudoHeader, addWords, finishChecksum } from "./checksum.ts";
import { IP_PROTOCOL } from "./ipv4.ts";
import { getU16, getU32, setU16, setU32 } from "./words.ts";

export const TCP_HEADER = 20;

export const FLAG = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32 } as const;

const OPTION = { end: 0, nothing: 1, mss: 2, windowScale: 3, sackPermitted: 4, sack: 5 } as const;

/** RFC 7323, 2.3. */
const MAX_WINDOW_SCALE = 14;

/** A decoded segment. One object serves many, so that none has to be made for each. */
export class Segment {
  sourcePort = 0;
  destinationPort = 0;
  seq = 0;
  ack = 0;
  flags = 0;
  window = 0;
  /** Options; null when they are not there. */
  mss: number | null = null;
  windowScale: number | null = null;
  sackPermitted = false;
  /** Pairs of start and end; the first `sackCount` pairs count. */
  readonly sack = new Uint32Array(8);
  sackCount = 0;
  /** The data are `bytes` from `start` to `end`. */
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;

  /** How many sequence numbers it takes: SEG.LEN of RFC 9293, 3.3.1. */
  get extent(): number {
    return this.end - this.start + (this.flags & FLAG.syn ? 1 : 0) + (this.flags & FLAG.fin ? 1 : 0);
  }

  /**
   * Decodes what an IPv4 packet from `source` to `destination` carries. Options that contradict themselves end the
   * list of options, as in other systems; the segment is still good.
   * @returns null, or in a word what is wrong
   */
  decode(
    bytes: Uint8Array,
    start: number,
    end: number,
    source: number,
    destination: number,
  ): "short" | "offset" | "checksum" | null {
    if (end - start < TCP_HEADER) return "short";
    const headerEnd = start + ((bytes[start + 12] as number) >>> 4) * 4;
    if (headerEnd < start + TCP_HEADER || headerEnd > end) return "offset";
    const sum = addPseudoHeader(source, destination, IP_PROTOCOL.tcp, end - start);
    if (finishChecksum(addWords(bytes, start, end, sum)) !== 0) return "checksum";
    this.sourcePort = getU16(bytes, start);
    this.destinationPort = getU16(bytes, start + 2);
    this.seq = getU32(bytes, start + 4);
    this.ack = getU32(bytes, start + 8);
    this.flags = (bytes[start + 13] as number) & 0x3f;
    this.window = getU16(bytes, start + 14);
    this.mss = null;
    this.windowScale = null;
    this.sackPermitted = false;
    this.sackCount = 0;
    if (headerEnd > start + TCP_HEADER) this.readOptions(bytes, start + TCP_HEADER, headerEnd);
    this.bytes = bytes;
    this.start = headerEnd;
    this.end = end;
    return null;
  }

  private readOptions(bytes: Uint8Array, start: number, end: number): void {
    for (let at = start; at < end; ) {
      const kind = bytes[at] as number;
      if (kind === OPTION.end) return;
      if (kind === OPTION.nothing) {
        at++;
        continue;
      }
      const length = at + 1 < end ? (bytes[at + 1] as number) : 0;
      if (length < 2 || at + length > end) return;
      if (kind === OPTION.mss && length === 4) this.mss = getU16(bytes, at + 2);
      else if (kind === OPTION.windowScale && length === 3)
        this.windowScale = Math.min(bytes[at + 2] as number, MAX_WINDOW_SCALE);
      else if (kind === OPTION.sackPermitted && length === 2) this.sackPermitted = true;
      else if (kind === OPTION.sack && length % 8 === 2) {
        this.sackCount = Math.min((length - 2) >>> 3, 4);
        for (let i = 0; i < this.sackCount * 2; i++) this.sack[i] = getU32(bytes, at + 2 + 4 * i);
      }
      at += length;
    }
  }
}

/** The options of a SYN. Null and false: not sent. */
export function encodeSynOptions(mss: number, windowScale: number | null, sackPermitted: boolean): Uint8Array {
  const options = [OPTION.mss, 4, mss >>> 8, mss & 255];
  if (sackPermitted) options.push(OPTION.nothing, OPTION.nothing, OPTION.sackPermitted, 2);
  if (windowScale !== null) options.push(OPTION.nothing, OPTION.windowScale, 3, windowScale);
  return Uint8Array.from(options);
}

/** @param blocks pairs of start and end, the newest first; four pairs at most */
export function encodeSack(blocks: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 + 4 * blocks.length);
  bytes.fill(OPTION.nothing, 0, 2);
  bytes[2] = OPTION.sack;
  bytes[3] = 2 + 4 * blocks.length;
  blocks.forEach((edge, i) => {
    setU32(bytes, 4 + 4 * i, edge);
  });
  return bytes;
}

/**
 * Writes the header of a segment to `at`; its data must already stand behind it, up to `end`, since the checksum
 * covers them.
 * @param options a multiple of four bytes
 */
export function writeTcp(
  bytes: Uint8Array,
  at: number,
  end: number,
  source: number,
  destination: number,
  sourcePort: number,
  destinationPort: number,
  seq: number,
  ack: number,
  flags: number,
  window: number,
  options: Uint8Array | null,
): void {
  const headerLength = TCP_HEADER + (options?.length ?? 0);
  setU16(bytes, at, sourcePort);
  setU16(bytes, at + 2, destinationPort);
  setU32(bytes, at + 4, seq);
  setU32(bytes, at + 8, ack);
  bytes[at + 12] = headerLength << 2;
  bytes[at + 13] = flags;
  setU16(bytes, at + 14, window);
  setU32(bytes, at + 16, 0);
  if (options) bytes.set(options, at + TCP_HEADER);
  const sum = addPseudoHeader(source, destination, IP_PROTOCOL.tcp, end - at);
  setU16(bytes, at + 16, finishChecksum(addWords(bytes, at, end, sum)));
}
