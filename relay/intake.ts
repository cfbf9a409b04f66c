/**
 * The way from a guest's websocket: who sends faster than it may is read more slowly, so nothing is lost on the way, and its
 * browser sees that messages do not leave.
 */
import type { WebSocket } from "ws";
import type { Bucket } from "./quota.ts";

export class Intake {
  private websocket: WebSocket | null = null;
  private timer: NodeJS.Timeout | null = null;
  private isHeld = false;

  constructor(
    private readonly messages: Bucket,
    private readonly bytes: readonly Bucket[],
  ) {}

  /** From now on this one is read, unless it is held or there is a debt. */
  open(websocket: WebSocket): void {
    this.websocket = websocket;
    if (this.isHeld) websocket.pause();
    else this.wait();
  }

  /** It is the intake's no more. */
  cut(): void {
    this.websocket = null;
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
  }

  /** Counts a message that was read. */
  take(bytes: number): void {
    this.messages.take(1);
    for (const bucket of this.bytes) bucket.take(bytes);
    this.wait();
  }

  /** Reads nothing until `release()`, from no websocket. */
  hold(): void {
    this.isHeld = true;
    this.websocket?.pause();
  }

  release(): void {
    this.isHeld = false;
    if (!this.timer) this.websocket?.resume();
  }

  /** Reads nothing until no more was sent than may be. */
  private wait(): void {
    const { websocket } = this;
    if (this.timer || !websocket) return;
    let ms = this.messages.wait;
    for (const bucket of this.bytes) ms = Math.max(ms, bucket.wait);
    if (ms <= 0) return;
    websocket.pause();
    this.timer = setTimeout(() => {
      this.timer = null;
      this.wait();
      if (!this.timer && !this.isHeld) websocket.resume();
    }, ms);
  }
}
