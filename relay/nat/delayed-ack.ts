/**
 * When data are acknowledged (RFC 9293, 3.8.6.3; RFC 5681, 4.2): at the end of the event loop's turn in which they came, not
 * at the second segment; those of a stream after some milliseconds or 64 KB.
 *
 * An emulated guest sends a segment every 100 µs or so: each comes in a turn of its own. Acknowledging each costs the guest
 * as much as sending it, and writing each to the server costs us more than all the rest. After so many full segments
 * without a pause it streams, and both wait for a quarter of the window; a segment that is not full is the end of something
 * and ends the waiting. The server is written to first, so that one segment tells the guest both that its bytes have come
 * and that there is room again: two would cost it a twentieth of its time.
 */
const STREAM_SEGMENTS = 8;
/** Between two segments of a stream at most. */
export const STEADY_MS = 5;
const STREAM_BYTES = 64 * 1024;
/** What is no stream is acknowledged at once from here on, without waiting for the end of the turn. */
const BYTES = 48 * 1024;

export class DelayedAck {
  /** Something is to be acknowledged, or a window to be told. */
  isWanted = false;
  /** At the end of this turn, though it is a stream. */
  private isDue = false;
  private bytes = 0;
  /** Full segments that have come without a pause between them. */
  private streak = 0;

  /** A segment with data. @param isSteady data have moved, in either direction, in the last `STEADY_MS` */
  arrive(isFull: boolean, isSteady: boolean): void {
    this.streak = isFull && isSteady ? this.streak + 1 : 0;
  }

  /** So many bytes of it were what was expected next. */
  add(bytes: number): void {
    this.bytes += bytes;
  }

  /** A gap is filled: the guest waits for that (RFC 5681, 4.2). */
  hurry(): void {
    this.isWanted = true;
    this.bytes = BYTES;
  }

  /**
   * @param largestWindow bytes
   * @returns `now`: it is to be sent; `flush`: what has come is to be handed on, and the rest at the end of the turn; `wait`
   */
  want(largestWindow: number): "now" | "flush" | "wait" {
    this.isWanted = true;
    if (!this.isStream) return this.bytes >= BYTES ? "now" : "wait";
    if (this.isDue || this.bytes < Math.min(STREAM_BYTES, largestWindow / 4)) return "wait";
    this.isDue = true;
    return "flush";
  }

  /** More is sure to come: beyond the end of the turn. */
  get mayWaitLonger(): boolean {
    return this.isStream && !this.isDue;
  }

  /** A segment goes, and every segment acknowledges. */
  sent(): void {
    this.isWanted = false;
    this.isDue = false;
    this.bytes = 0;
  }

  private get isStream(): boolean {
    return this.streak >= STREAM_SEGMENTS;
  }
}
