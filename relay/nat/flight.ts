/**
 * What is on the way to the guest: the numbers from SND.UNA to SND.NXT (RFC 9293, 3.3.1), which of them have arrived, and
 * which are lost and have to be sent again (RFC 6675; RFC 6582 for a guest without selective acknowledgements). It sends
 * nothing itself and knows no time.
 *
 *   una          retransmitted            lostEdge                 nxt
 *   | sent again | lost, to be sent again | on the way for all we know |      less what the scoreboard has
 */
import { DUPLICATE_THRESHOLD, Scoreboard } from "./scoreboard.ts";
import { advance, distance } from "./sequence.ts";
import type { Segment } from "./tcp-segment.ts";

export class Flight {
  /** The first number that is not acknowledged. */
  una: number;
  /** The first number that was never sent. */
  nxt: number;
  /** After a loss, until what was on the way then is acknowledged: how the loss was noticed. */
  recovery: "none" | "fast" | "timeout" = "none";
  private recoverPoint = 0;
  private readonly scoreboard = new Scoreboard();
  /** The missing parts up to here were sent again; those up to `lostEdge` are to be. */
  private retransmitted: number;
  private lostEdge: number;
  private duplicates = 0;
  /** What was sent from here on was sent after the first missing segment was repeated. */
  private repeatedAt = 0;
  private mss = 0;
  private hasSack = false;

  constructor(initialSequence: number) {
    this.una = initialSequence;
    this.nxt = initialSequence;
    this.retransmitted = initialSequence;
    this.lostEdge = initialSequence;
  }

  /**
   * The handshake has told how it is done.
   * @param mss bytes of a full segment
   */
  open(mss: number, hasSack: boolean): void {
    this.mss = mss;
    this.hasSack = hasSack;
  }

  get size(): number {
    return distance(this.nxt, this.una);
  }

  /** New numbers are used: bytes, a SYN, a FIN. @returns the first of them */
  send(extent: number): number {
    const seq = this.nxt;
    this.nxt = advance(seq, extent);
    return seq;
  }

  /** Bytes that are thought to be on the way (RFC 6675, section 4; without its option, RFC 6582). */
  pipe(): number {
    if (this.recovery === "none" && this.duplicates === 0 && this.scoreboard.isEmpty) return this.size;
    const from = distance(this.lostEdge, this.retransmitted) > 0 ? this.lostEdge : this.retransmitted;
    const bytes = this.scoreboard.missing(this.una, this.retransmitted) + this.scoreboard.missing(from, this.nxt);
    return this.hasSack ? bytes : Math.max(0, bytes - this.duplicates * this.mss);
  }

  /** Where the next lost part begins that was not sent again; -1 when there is none. */
  nextLost(): number {
    const seq = this.scoreboard.nextMissing(this.retransmitted);
    return distance(this.lostEdge, seq) > 0 ? seq : -1;
  }

  /** The part that begins at `seq` is sent again. @returns how many numbers, a full segment at most */
  repeat(seq: number): number {
    const extent = Math.min(this.mss, distance(this.scoreboard.endOfMissing(seq, this.nxt), seq));
    if (seq === this.una) this.repeatedAt = this.nxt;
    this.retransmitted = advance(seq, extent);
    return extent;
  }

  /** The first part is sent once more; the others that were sent again stay so. @returns how many numbers */
  repeatFirst(): number {
    const { retransmitted } = this;
    const extent = this.repeat(this.una);
    this.retransmitted = retransmitted;
    return extent;
  }

  /**
   * Takes what a segment acknowledges selectively.
   * @param isSameWindow it leaves the guest's window as it was
   * @returns whether it says that something has come which was not known: with selective acknowledgements it names that,
   * otherwise it says nothing else (RFC 5681, section 2)
   */
  sack(segment: Segment, isSameWindow: boolean): boolean {
    if (!this.hasSack) return segment.extent === 0 && isSameWindow;
    let isNews = false;
    for (let i = 0; i < segment.sackCount; i++) {
      const start = segment.sack[2 * i] as number;
      const end = segment.sack[2 * i + 1] as number;
      // Blocks outside of what is on the way are duplicates (RFC 2883) or nonsense.
      if (distance(start, segment.ack) > 0 && distance(end, start) > 0 && distance(end, this.nxt) <= 0)
        isNews = this.scoreboard.add(start, end) || isNews;
    }
    return isNews;
  }

  /** What comes before `ack` has arrived, `bytes` more than before. */
  acknowledge(ack: number, bytes: number): void {
    this.una = ack;
    this.scoreboard.advance(ack);
    if (distance(this.retransmitted, ack) < 0) this.retransmitted = ack;
    if (distance(this.lostEdge, ack) < 0) this.lostEdge = ack;
    if (this.recovery !== "none" && distance(ack, this.recoverPoint) >= 0) {
      this.recovery = "none";
      this.retransmitted = ack;
      this.lostEdge = ack;
    }
    this.repeatedAt = this.nxt;
    if (this.recovery === "fast") {
      // A partial acknowledgement: what follows it was lost as well (RFC 6582, 3.2).
      this.duplicates = Math.max(0, this.duplicates - Math.ceil(bytes / this.mss) + 1);
      if (this.retransmitted === ack) this.markLost(advance(ack, this.mss));
      this.markLost(this.scoreboard.lostBefore(this.mss, ack));
    } else this.duplicates = 0;
  }

  /** An acknowledgement that says: something behind a gap has come (RFC 5681, section 2). */
  duplicate(): void {
    this.duplicates++;
    if (this.recovery === "fast") this.markLost(this.scoreboard.lostBefore(this.mss, this.una));
  }

  /** Begins a fast recovery if enough has come behind a gap (RFC 6675, section 5). @returns whether it does */
  detectLoss(): boolean {
    if (this.recovery !== "none" || (this.duplicates === 0 && this.scoreboard.isEmpty)) return false;
    const edge = this.scoreboard.lostBefore(this.mss, this.una);
    if (this.duplicates < DUPLICATE_THRESHOLD && edge === this.una) return false;
    this.recover("fast", this.una);
    this.markLost(edge);
    // The first missing segment goes in any case.
    this.markLost(advance(this.una, this.mss));
    return true;
  }

  /** Segments that were sent after the repeated one have arrived, and it has not: it was lost again. */
  get isLostAgain(): boolean {
    if (this.recovery === "none" || this.retransmitted === this.una) return false;
    const later = distance(this.nxt, this.repeatedAt) - this.scoreboard.missing(this.repeatedAt, this.nxt);
    return later > (DUPLICATE_THRESHOLD - 1) * this.mss;
  }

  /** Nothing was acknowledged for too long: all is to be sent again. @param isFirst since the last acknowledgement */
  timedOut(isFirst: boolean): void {
    // The guest may take back what it has acknowledged selectively (RFC 2018, section 8).
    if (!isFirst) this.scoreboard.clear();
    this.recover("timeout", this.nxt);
    this.duplicates = 0;
  }

  private recover(recovery: "fast" | "timeout", lostEdge: number): void {
    this.recovery = recovery;
    this.recoverPoint = this.nxt;
    this.retransmitted = this.una;
    this.lostEdge = lostEdge;
  }

  private markLost(edge: number): void {
    if (distance(edge, this.lostEdge) > 0) this.lostEdge = distance(edge, this.nxt) > 0 ? this.nxt : edge;
  }
}
