/**
 * Puts fragmented IPv4 packets together again (RFC 791, 3.2; RFC 815), within bounds: some packets at a time, and
 * none for long. A packet whose fragments overlap is given up as a whole: honest senders do not make such (RFC 5722
 * forbids them in IPv6), and what hides in an overlap is read differently by different hosts.
 */
import type { Ipv4 } from "./ipv4.ts";
import type { Timer, TimerWheel } from "./timers.ts";
import { copyOf } from "./words.ts";

const PACKETS = 16;
const BYTES = 256 * 1024;
const FRAGMENTS = 256;
/** RFC 1122, 3.3.2 wants 60 to 120 s for the Internet; the guest is one hop away. */
const LIFE_MS = 15_000;

interface Partial {
  pieces: { offset: number; bytes: Uint8Array }[];
  /** Known when the last fragment has come. */
  total: number;
  held: number;
  bornAt: number;
}

export class Reassembly {
  private readonly partials = new Map<string, Partial>();
  private readonly timer: Timer;
  private held = 0;

  /** @param onDrop is told why a packet will never be whole */
  constructor(
    private readonly wheel: TimerWheel,
    private readonly onDrop: (why: "overlap" | "bounds" | "timeout") => void,
  ) {
    this.timer = wheel.timer(() => this.expire());
  }

  /** Bytes that wait. */
  get heldBytes(): number {
    return this.held;
  }

  /** Takes a fragment. @returns what the packet carries, when this was its last missing piece */
  add(ip: Ipv4, frame: Uint8Array): Uint8Array | null {
    const key = `${ip.source}.${ip.destination}.${ip.protocol}.${ip.id}`;
    const length = ip.end - ip.payload;
    const offset = ip.fragmentOffset;
    if (length === 0 || (ip.moreFragments && length % 8 !== 0) || offset + length > 0xffff - 20) {
      this.give(key, "bounds");
      return null;
    }
    let partial = this.partials.get(key);
    if (!partial) {
      // The oldest makes room: its missing pieces are the least likely to come.
      while (this.partials.size >= PACKETS || this.held + length > BYTES) {
        const oldest = this.partials.keys().next();
        if (oldest.done) break;
        this.give(oldest.value, "bounds");
      }
      partial = { pieces: [], total: -1, held: 0, bornAt: this.wheel.now() };
      this.partials.set(key, partial);
      if (!this.timer.armed) this.timer.set(LIFE_MS);
    }
    if (partial.pieces.length >= FRAGMENTS || this.held + length > BYTES) {
      this.give(key, "bounds");
      return null;
    }
    const isLast = !ip.moreFragments;
    const end = offset + length;
    const contradicts = isLast
      ? partial.total >= 0 && partial.total !== end
      : partial.total >= 0 && end > partial.total;
    let at = partial.pieces.length;
    while (at > 0 && (partial.pieces[at - 1]?.offset ?? 0) > offset) at--;
    const before = partial.pieces[at - 1];
    const after = partial.pieces[at];
    if (before && before.offset === offset && before.bytes.length === length) return null; // sent twice
    if (contradicts || (before && before.offset + before.bytes.length > offset) || (after && after.offset < end)) {
      this.give(key, "overlap");
      return null;
    }
    partial.pieces.splice(at, 0, { offset, bytes: copyOf(frame, ip.payload, ip.end) });
    partial.held += length;
    this.held += length;
    if (isLast) partial.total = end;
    if (partial.held !== partial.total) return null;
    this.forget(key);
    const whole = new Uint8Array(partial.total);
    for (const piece of partial.pieces) {
      if (piece.offset + piece.bytes.length > whole.length) {
        this.onDrop("overlap");
        return null;
      }
      whole.set(piece.bytes, piece.offset);
    }
    return whole;
  }

  close(): void {
    this.partials.clear();
    this.held = 0;
    this.timer.discard();
  }

  private expire(): void {
    const oldest = this.wheel.now() - LIFE_MS;
    for (const [key, partial] of this.partials) if (partial.bornAt <= oldest) this.give(key, "timeout");
    if (this.partials.size > 0) this.timer.set(LIFE_MS / 4);
  }

  private give(key: string, why: "overlap" | "bounds" | "timeout"): void {
    this.forget(key);
    this.onDrop(why);
  }

  private forget(key: string): void {
    this.held -= this.partials.get(key)?.held ?? 0;
    this.partials.delete(key);
  }
}
