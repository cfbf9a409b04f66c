/** The retransmission timeout (RFC 6298). */

/**
 * RFC 6298 (2.4) would have a second at least. The guest is in this process or one websocket away, and drops frames
 * when it is busy: a second for each lost tail would be felt. Linux takes 0.2 s.
 */
const MIN_MS = 300;
const MAX_MS = 60_000;
const INITIAL_MS = 1000;
/** The timers' granularity G. */
const GRANULARITY_MS = 10;

export class RoundTrip {
  private smoothed = -1;
  private variation = 0;
  private base = INITIAL_MS;
  private doublings = 0;

  /** A measured round trip, of a segment that was sent once (Karn's algorithm). */
  sample(ms: number): void {
    if (this.smoothed < 0) {
      this.smoothed = ms;
      this.variation = ms / 2;
    } else {
      this.variation += (Math.abs(this.smoothed - ms) - this.variation) / 4;
      this.smoothed += (ms - this.smoothed) / 8;
    }
    this.base = Math.max(MIN_MS, this.smoothed + Math.max(GRANULARITY_MS, 4 * this.variation));
    this.doublings = 0;
  }

  backOff(): void {
    if (this.timeoutMs < MAX_MS) this.doublings++;
  }

  /**
   * A part of what was lost is acknowledged, though nothing could be measured: when many segments are lost there is
   * hardly ever anything to measure, and patience would only grow. When all of it is acknowledged this does not count:
   * then the timeout may have been too short, and a measurement comes next.
   */
  ease(): void {
    if (this.doublings > 0) this.doublings--;
  }

  /** A window that was closed is open. */
  resetBackOff(): void {
    this.doublings = 0;
  }

  get timeoutMs(): number {
    return Math.min(MAX_MS, this.base * 2 ** this.doublings);
  }
}
