/**
 * The way to a guest over its websocket: shaped to the rate the guest may have, bounded, and put together so that what
 * is sent in one turn of the event loop leaves in one system call.
 */
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import type { GuestPort, Refusal } from "./engine.ts";
import type { Bucket } from "./quota.ts";

/** Below this, whoever waits may send again. */
const SMALL = 64 * 1024;
/** Above this, frames are dropped. An engine stops long before. */
export const LINE_MOST_BYTES = 6 * 1024 * 1024;
/** What a guest seems to have waiting while its connection is broken: enough to make engines wait. */
const BROKEN_BYTES = 1024 * 1024;

const BINARY = { binary: true, compress: false };

export class Line implements GuestPort {
  framesSent = 0;
  bytesSent = 0;
  private connection: { websocket: WebSocket; socket: Duplex } | null = null;
  private waiting: Uint8Array[] = [];
  private head = 0;
  private waitingBytes = 0;
  private timer: NodeJS.Timeout | null = null;
  private isCorked = false;
  private listeners: (() => void)[] = [];

  constructor(
    private readonly rates: readonly Bucket[],
    private readonly onTell: (message: Refusal) => void,
    private readonly onDrop: (reason: string) => void,
    private readonly totals: { framesOut: number; bytesOut: number },
  ) {}

  open(websocket: WebSocket, socket: Duplex): void {
    this.connection = { websocket, socket };
    socket.on("drain", () => this.drained());
    this.flush();
    this.drained();
  }

  /** Frames on their way are lost, as on a wire that is cut. */
  cut(): void {
    this.connection = null;
    this.isCorked = false;
    this.waiting = [];
    this.head = 0;
    this.waitingBytes = 0;
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
  }

  get queuedBytes(): number {
    return this.connection ? this.waitingBytes + this.connection.websocket.bufferedAmount : BROKEN_BYTES;
  }

  send(frame: Uint8Array): void {
    if (!this.connection) return this.onDrop("line.broken");
    if (this.queuedBytes + frame.length > LINE_MOST_BYTES) return this.onDrop("line.full");
    if (this.waitingBytes === 0 && this.delay() === 0) return this.write(frame);
    this.waiting.push(frame);
    this.waitingBytes += frame.length;
    this.schedule();
  }

  onDrain(listener: () => void): void {
    this.listeners.push(listener);
    if (this.connection && this.queuedBytes <= SMALL) setImmediate(() => this.drained());
  }

  tell(message: Refusal): void {
    this.onTell(message);
  }

  private delay(): number {
    let most = 0;
    for (const rate of this.rates) most = Math.max(most, rate.wait);
    return most;
  }

  private write(frame: Uint8Array): void {
    const { websocket, socket } = this.connection as { websocket: WebSocket; socket: Duplex };
    for (const rate of this.rates) rate.take(frame.length);
    this.framesSent++;
    this.bytesSent += frame.length;
    this.totals.framesOut++;
    this.totals.bytesOut += frame.length;
    if (!this.isCorked) {
      this.isCorked = true;
      socket.cork();
      process.nextTick(() => {
        this.isCorked = false;
        socket.uncork();
      });
    }
    websocket.send(frame, BINARY, ignore);
  }

  private schedule(): void {
    if (this.timer) return;
    this.timer = setTimeout(
      () => {
        this.timer = null;
        this.flush();
        this.drained();
      },
      Math.min(1000, Math.max(1, this.delay())),
    );
  }

  private flush(): void {
    while (this.head < this.waiting.length && this.delay() === 0) {
      const frame = this.waiting[this.head++] as Uint8Array;
      this.waitingBytes -= frame.length;
      this.write(frame);
    }
    if (this.head === this.waiting.length) {
      this.waiting = [];
      this.head = 0;
    } else {
      // What has left must not be held for ever behind what has not.
      if (this.head > 1024) {
        this.waiting = this.waiting.slice(this.head);
        this.head = 0;
      }
      this.schedule();
    }
  }

  private drained(): void {
    if (this.listeners.length === 0 || this.queuedBytes > SMALL) return;
    const listeners = this.listeners;
    this.listeners = [];
    for (const listener of listeners) listener();
  }
}

/** A websocket that is closing tells it by its own event. */
function ignore(): void {}
