/**
 * The receiving side of a TCP connection: puts what comes in order, hands it on, and says how much more may come
 * (RFC 9293, 3.10.7.4 and 3.8.6.2.2; selective acknowledgements of RFC 2018, window scaling of RFC 7323). It sends nothing
 * itself.
 *
 *   next                                       edge
 *   | pieces that came out of order, and gaps | not allowed yet
 */
import { DelayedAck } from "./delayed-ack.ts";
import { ReceiveQueue } from "./receive-queue.ts";
import { advance, distance } from "./sequence.ts";
import type { TcpUpper } from "./tcp-layers.ts";
import type { TcpOptions } from "./tcp-options.ts";
import { encodeSack, encodeSynOptions, FLAG, type Segment } from "./tcp-segment.ts";

/** 65535 · 2³ is above all windows that are ever advertised. */
const WINDOW_SCALE = 3;

export class Receiver {
  /** The number that is expected next (RCV.NXT). */
  next = 0;
  /** The number of the guest's SYN. */
  initial = 0;
  readonly delayedAck = new DelayedAck();
  /** Bytes the upper side was given and has not consumed. */
  unconsumed = 0;
  private readonly outOfOrder = new ReceiveQueue();
  /** The right edge of the window that was advertised: it never moves back. */
  private edge = 0;
  /** 0 when the guest does not scale. */
  private scale = 0;
  private hasSack = false;
  private finAt: number | null = null;
  /** Bytes of a segment that is full. */
  private mss = 0;

  constructor(
    private readonly upper: Pick<TcpUpper, "onData">,
    private readonly options: Pick<TcpOptions, "mss" | "receiveBuffer">,
  ) {}

  /** The guest's SYN. @param mss what a full segment of the connection has */
  open(syn: Segment, mss: number): void {
    this.initial = syn.seq;
    this.next = advance(syn.seq, 1);
    this.edge = advance(this.next, this.synWindow);
    this.scale = syn.windowScale === null ? 0 : WINDOW_SCALE;
    this.hasSack = syn.sackPermitted;
    this.mss = mss;
  }

  /** Bytes that were allowed and have not come: RCV.WND. */
  get window(): number {
    return distance(this.edge, this.next);
  }

  /** The options of our SYN. An answer offers what the guest's SYN has offered, another everything. */
  synOptions(isAnswer: boolean): Uint8Array {
    const scale = isAnswer && this.scale === 0 ? null : WINDOW_SCALE;
    return encodeSynOptions(this.options.mss, scale, !isAnswer || this.hasSack);
  }

  /** The window field of a SYN, which is not scaled (RFC 7323, 2.2). */
  get synWindow(): number {
    return Math.min(0xffff, this.options.receiveBuffer);
  }

  /**
   * Takes data and FIN of a segment that lies in the window, in part at least. The upper side is given what is in order,
   * and may end the connection at that.
   * @param isSteady data have moved, in either direction, in the last `STEADY_MS`
   * @returns `ack`: it is to be acknowledged at once; `fin`: all has come, `takeFin()` is to be called; `wait`
   */
  receive(segment: Segment, isSteady: boolean): "ack" | "fin" | "wait" {
    let { seq, start, end } = segment;
    let hasFin = (segment.flags & FLAG.fin) !== 0;
    this.delayedAck.arrive(end - start >= this.mss, isSteady);
    const known = distance(this.next, seq);
    if (known > 0) {
      start += known;
      seq = this.next;
      this.delayedAck.isWanted = true;
    }
    if (distance(advance(seq, end - start), this.edge) > 0) {
      end = start + Math.max(0, distance(this.edge, seq));
      hasFin = false;
      this.delayedAck.isWanted = true;
    }
    // There is no room for any of it.
    if (end === start && !hasFin) return "ack";
    if (hasFin) this.finAt ??= advance(seq, end - start);
    if (end > start) {
      if (seq !== this.next) {
        this.outOfOrder.insert(seq, segment.bytes, start, end);
        // At once, one for each: the guest counts them (RFC 5681, 4.2).
        return "ack";
      }
      this.deliver(segment.bytes, start, end);
      if (!this.outOfOrder.isEmpty) {
        for (let piece = this.outOfOrder.take(this.next); piece; piece = this.outOfOrder.take(this.next))
          this.deliver(piece, 0, piece.length);
        this.delayedAck.hurry();
      }
    }
    if (this.finAt !== null && this.finAt === this.next) return "fin";
    return end === start && seq !== this.next ? "ack" : "wait";
  }

  /** The guest's FIN has its turn: nothing can follow. */
  takeFin(): void {
    this.next = advance(this.next, 1);
    if (this.window < 0) this.edge = this.next;
    this.outOfOrder.clear();
  }

  /** The upper side has got rid of so many bytes. @returns whether that makes enough room for the guest to be told */
  consumed(bytes: number): boolean {
    this.unconsumed -= bytes;
    // RFC 9293, 3.8.6.2.2, with a quarter instead of a segment: an update for each segment would cost the guest more
    // than it gives.
    return this.free - this.window >= this.options.receiveBuffer / 4;
  }

  /** The largest window that is ever advertised. */
  get largestWindow(): number {
    return this.scale === 0 ? this.synWindow : this.options.receiveBuffer;
  }

  /** The window field of a segment that acknowledges `next`, which is about to be sent. */
  announce(): number {
    this.delayedAck.sent();
    return this.windowField();
  }

  /** The window field of the next segment. The right edge moves only by amounts that are worth it, and never back. */
  windowField(): number {
    const unit = 1 << this.scale;
    const free = this.free & ~(unit - 1);
    const open = this.window;
    if (free - open >= Math.min(this.options.mss, this.options.receiveBuffer / 2)) {
      this.edge = advance(this.next, free);
      return free >>> this.scale;
    }
    const field = Math.min(0xffff, (open + unit - 1) >>> this.scale);
    this.edge = advance(this.next, field << this.scale);
    return field;
  }

  /** The option that tells what came out of order; null when there is nothing to tell. */
  sack(): Uint8Array | null {
    return this.hasSack && !this.outOfOrder.isEmpty ? encodeSack(this.outOfOrder.blocks()) : null;
  }

  /** Forgets what waits: the connection is over. */
  clear(): void {
    this.outOfOrder.clear();
  }

  private get free(): number {
    return Math.max(0, Math.min(this.largestWindow, this.options.receiveBuffer - this.unconsumed));
  }

  private deliver(bytes: Uint8Array, start: number, end: number): void {
    this.next = advance(this.next, end - start);
    this.unconsumed += end - start;
    this.delayedAck.add(end - start);
    this.upper.onData(bytes, start, end);
  }
}
