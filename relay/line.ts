/**
 * The way to a guest over its websocket: shaped to the rate the guest may have, bounded, and put together so that what
 * is sent in one turn of the event loop leaves in one piece: a message of ws's for each frame would cost more than all that
 * is done for the frame before. What is put together are messages as a server sends them (RFC 6455, 5.2), unmasked:
 *
 *   0      1          2 or 4
 *   | 0x82 | length   | frame …           a length from 126 on: 126 and then 16 bits, big-endian
 *
 * Limitations: frames of 65535 bytes at most; no compression, which the relay never agrees to.
 */
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import { Blocks, rawBytes } from "./blocks.ts";
import type { GuestPort, Refusal } from "./engine.ts";
import type { Bucket } from "./quota.ts";

/** Below this, whoever waits may send again. */
const SMALL = 64 * 1024;
/** Above this, frames are dropped. An engine stops long before. */
export const LINE_MOST_BYTES = 6 * 1024 * 1024;
/** What a guest seems to have waiting while its connection is broken: enough to make engines wait. */
const BROKEN_BYTES = 1024 * 1024;

/** A whole message (FIN) of bytes. */
const BINARY_MESSAGE = 0x82;
const LENGTH_FOLLOWS = 126;
const LARGEST_FRAME = 0xffff;
/** So much is not put together any further. */
const LARGEST_PIECE = 64 * 1024;
/** Pieces of more than a half of this: what waits for a slow guest must not be mostly air. At most 0.8 MB are kept for later. */
const pieces = new Blocks(LARGEST_PIECE + 4096, 12);

export class Line implements GuestPort {
  framesSent = 0;
  bytesSent = 0;
  private connection: { websocket: WebSocket; socket: Duplex } | null = null;
  private waiting: Uint8Array[] = [];
  private head = 0;
  private waitingBytes = 0;
  private timer: NodeJS.Timeout | null = null;
  /** Frames of this turn, and the bytes that their messages will have. */
  private gathered: Uint8Array[] = [];
  private gatheredBytes = 0;
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
    this.leave();
    this.connection = null;
    this.waiting = [];
    this.head = 0;
    this.waitingBytes = 0;
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
  }

  get queuedBytes(): number {
    return this.connection
      ? this.waitingBytes + this.gatheredBytes + this.connection.websocket.bufferedAmount
      : BROKEN_BYTES;
  }

  /** What has left was copied. */
  get isEmpty(): boolean {
    return this.gathered.length === 0 && this.waitingBytes === 0;
  }

  send(frame: Uint8Array): void {
    if (!this.connection) return this.onDrop("line.broken");
    if (frame.length > LARGEST_FRAME) return this.onDrop("line.large");
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

  /** Sends what was gathered. Whoever sends something else on the websocket calls it before, so that nothing is overtaken. */
  leave(): void {
    const frames = this.gathered;
    if (frames.length === 0) return;
    const length = this.gatheredBytes;
    this.gathered = [];
    this.gatheredBytes = 0;
    const { websocket, socket } = this.connection as { websocket: WebSocket; socket: Duplex };
    // One that is closing tells it by its own event.
    if (websocket.readyState !== websocket.OPEN) return;
    const isLarge = length > pieces.size / 2 && length <= pieces.size;
    const piece = isLarge ? pieces.take() : rawBytes(length);
    let at = 0;
    for (const frame of frames) {
      piece[at++] = BINARY_MESSAGE;
      if (frame.length < LENGTH_FOLLOWS) piece[at++] = frame.length;
      else {
        piece[at++] = LENGTH_FOLLOWS;
        piece[at++] = frame.length >>> 8;
        piece[at++] = frame.length;
      }
      piece.set(frame, at);
      at += frame.length;
    }
    // Once it has left, nobody looks at it any more.
    if (isLarge) socket.write(piece.subarray(0, length), (error) => error ?? pieces.give(piece));
    else socket.write(piece);
  }

  private write(frame: Uint8Array): void {
    for (const rate of this.rates) rate.take(frame.length);
    this.framesSent++;
    this.bytesSent += frame.length;
    this.totals.framesOut++;
    this.totals.bytesOut += frame.length;
    if (this.gathered.push(frame) === 1) process.nextTick(() => this.leave());
    this.gatheredBytes += frame.length + (frame.length < LENGTH_FOLLOWS ? 2 : 4);
    if (this.gatheredBytes > LARGEST_PIECE) this.leave();
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
