/**
 * One timer wheel for all connections: a single timer of the system runs, however many of ours do.
 *
 * A timer that is set again and again to a later time (a retransmission timer at each acknowledgement) stays where it
 * is and is moved on when its slot comes round: setting it costs two assignments. The same when it is cleared.
 */

/** Time, injected so that tests can turn it. */
export interface Clock {
  /** Milliseconds, never going back. */
  now(): number;
  /** @returns a function that takes it back */
  after(ms: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms);
    // A connection that waits is no reason for a process to live on.
    timer.unref();
    return () => clearTimeout(timer);
  },
};

const TICK_MS = 10;
const SLOTS = 512;
const NOTHING = (): void => {};

export interface Timer {
  set(ms: number): void;
  clear(): void;
  /** For good: a timer that is only cleared stays in its slot for up to a turn, and with it all that it would call. */
  discard(): void;
  readonly armed: boolean;
}

class WheelTimer implements Timer {
  deadline = Number.POSITIVE_INFINITY;
  /** The tick of the slot it sits in, or -1. */
  tick = -1;
  constructor(
    private readonly wheel: TimerWheel,
    private call: () => void,
  ) {}

  get armed(): boolean {
    return this.deadline !== Number.POSITIVE_INFINITY;
  }

  set(ms: number): void {
    this.deadline = this.wheel.now() + ms;
    if (this.tick < 0 || this.tick * TICK_MS >= this.deadline + TICK_MS) this.wheel.place(this);
  }

  clear(): void {
    this.deadline = Number.POSITIVE_INFINITY;
  }

  discard(): void {
    this.clear();
    this.call = NOTHING;
  }

  fire(): void {
    this.deadline = Number.POSITIVE_INFINITY;
    this.call();
  }
}

export class TimerWheel {
  private readonly slots: WheelTimer[][] = Array.from({ length: SLOTS }, () => []);
  private placed = 0;
  /** All ticks up to this one are done. */
  private done: number;
  private wakeTick = Number.POSITIVE_INFINITY;
  private cancelWake: (() => void) | null = null;

  constructor(private readonly clock: Clock = systemClock) {
    this.done = Math.floor(clock.now() / TICK_MS);
  }

  now(): number {
    return this.clock.now();
  }

  /** Makes a timer that is not set. It fires up to 10 ms late, never early. */
  timer(fire: () => void): Timer {
    return new WheelTimer(this, fire);
  }

  /** Stops the system's timer; none of ours fires any more. */
  stop(): void {
    this.cancelWake?.();
    this.cancelWake = null;
    for (const slot of this.slots) slot.length = 0;
    this.placed = 0;
  }

  /** For the timers. */
  place(timer: WheelTimer): void {
    if (this.placed === 0) this.done = Math.floor(this.now() / TICK_MS);
    if (timer.tick >= 0) {
      const slot = this.slots[timer.tick % SLOTS] as WheelTimer[];
      const at = slot.indexOf(timer);
      if (at >= 0) {
        slot[at] = slot[slot.length - 1] as WheelTimer;
        slot.pop();
        this.placed--;
      }
    }
    // Beyond one turn it waits in the last slot of this turn.
    timer.tick = Math.min(Math.max(Math.ceil(timer.deadline / TICK_MS), this.done + 1), this.done + SLOTS - 1);
    (this.slots[timer.tick % SLOTS] as WheelTimer[]).push(timer);
    this.placed++;
    if (timer.tick < this.wakeTick) this.wake(timer.tick);
  }

  private wake(tick: number): void {
    this.cancelWake?.();
    this.wakeTick = tick;
    this.cancelWake = this.clock.after(Math.max(1, tick * TICK_MS - this.now()), () => this.run());
  }

  private run(): void {
    this.cancelWake = null;
    this.wakeTick = Number.POSITIVE_INFINITY;
    const now = this.now();
    const until = Math.floor(now / TICK_MS);
    // After a long sleep of the process each slot is visited once.
    const from = Math.max(this.done + 1, until - SLOTS + 1);
    this.done = until;
    for (let tick = from; tick <= until; tick++) {
      const index = tick % SLOTS;
      const slot = this.slots[index] as WheelTimer[];
      if (slot.length === 0) continue;
      this.slots[index] = [];
      this.placed -= slot.length;
      for (const timer of slot) timer.tick = -1;
      for (const timer of slot) {
        if (timer.tick >= 0) continue; // set anew by one that fired before it
        if (timer.deadline <= now) timer.fire();
        else if (timer.armed) this.place(timer);
      }
    }
    if (this.placed === 0) return;
    for (let tick = this.done + 1; tick <= this.done + SLOTS; tick++)
      if ((this.slots[tick % SLOTS] as WheelTimer[]).length > 0) {
        if (tick < this.wakeTick) this.wake(tick);
        return;
      }
  }
}
