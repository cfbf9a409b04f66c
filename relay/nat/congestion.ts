/** How much may be on the way: slow start, congestion avoidance, and what losses do to them (RFC 5681, RFC 6582). */

/** RFC 6928. */
const INITIAL_SEGMENTS = 10;

export class Congestion {
  window = 0;
  private threshold = Number.POSITIVE_INFINITY;
  private mss = 0;

  /** The segment size is known only after the handshake. */
  start(mss: number): void {
    this.mss = mss;
    this.window = INITIAL_SEGMENTS * mss;
  }

  /**
   * @param bytes newly acknowledged
   * @param limit growth beyond this would say nothing, as no more is ever sent
   */
  acknowledged(bytes: number, limit: number): void {
    if (this.window >= limit) return;
    if (this.window < this.threshold) {
      // Counted in bytes (RFC 3465): the guest acknowledges many segments at once when it is busy.
      this.window = Math.min(this.window + bytes, Math.max(this.threshold, this.window + this.mss));
    } else this.window += Math.max(1, Math.floor((this.mss * bytes) / this.window));
    this.window = Math.min(this.window, limit);
  }

  /** Three duplicates, or selective acknowledgements that say the same. RFC 5681, equation 4. */
  lost(flight: number): void {
    this.threshold = Math.max(flight / 2, 2 * this.mss);
    this.window = this.threshold;
  }

  /** @param isFirst only the first timeout of a segment lowers the threshold */
  timedOut(flight: number, isFirst: boolean): void {
    if (isFirst) this.threshold = Math.max(flight / 2, 2 * this.mss);
    this.window = this.mss;
  }

  /** Nothing was sent for longer than a timeout: what the path bears is no longer known (RFC 5681, 4.1). */
  idle(): void {
    this.window = Math.min(this.window, INITIAL_SEGMENTS * this.mss);
  }
}
