/**
 * Whether a guest is still there: when it was heard, how often it was asked since then, and when data moved. It asks by
 * keep-alive (RFC 9293, 3.8.4; RFC 1122, 4.2.3.6).
 */
import type { TcpOptions } from "./tcp-options.ts";
import type { Timer } from "./timers.ts";

/**
 * A guest is asked so many times, however much time has passed: after a process has stood still (a computer that slept), all
 * patience seems to be at an end before the guest could say a word.
 */
export const LEAST_QUESTIONS = 3;

type Patience = Pick<TcpOptions, "keepAliveMs" | "keepAliveIntervalMs" | "keepAliveProbes" | "idleMs">;

export class Liveness {
  /** In the timers' milliseconds, as all times here. */
  heardAt = 0;
  /** New data were sent, acknowledged or received. */
  progressAt = 0;
  private questions = 0;

  /** @param timer upon which `check()` is called */
  constructor(
    private readonly timer: Timer,
    private readonly options: Patience,
  ) {}

  /** The handshake begins, or has been done. */
  start(now: number): void {
    this.heard(now);
    this.progressAt = now;
  }

  heard(now: number): void {
    this.heardAt = now;
    this.questions = 0;
  }

  /** Counts a question that the guest is about to be asked. @returns whether it is not worth it any more */
  isGivenUp(now: number, afterMs: number): boolean {
    return this.questions++ >= LEAST_QUESTIONS && now - this.heardAt >= afterMs;
  }

  /** @param isQuiet nothing is on the way to the guest; what is would be asked about by its own timer */
  check(now: number, isQuiet: boolean): "over" | "ask" | "wait" {
    const { keepAliveMs, keepAliveIntervalMs, keepAliveProbes, idleMs } = this.options;
    if (now - this.progressAt >= idleMs) return "over";
    if (now - this.heardAt < keepAliveMs || !isQuiet) {
      this.watch(now);
      return "wait";
    }
    if (this.questions >= keepAliveProbes) return "over";
    this.questions++;
    this.timer.set(Math.min(keepAliveIntervalMs, Math.max(1, this.progressAt + idleMs - now)));
    return "ask";
  }

  /** Sets the timer. */
  watch(now: number): void {
    const { keepAliveMs, keepAliveIntervalMs, idleMs } = this.options;
    const ask = Math.max(this.heardAt + keepAliveMs, now + keepAliveIntervalMs / 4);
    this.timer.set(Math.max(1, Math.min(ask, this.progressAt + idleMs) - now));
  }
}
