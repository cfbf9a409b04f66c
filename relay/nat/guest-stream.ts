/** A TCP connection with the guest as a stream of Node: backpressure and half-close both ways. */
import { Duplex } from "node:stream";
import type { TcpConnection } from "./tcp.ts";
import type { TcpEnd, TcpUpper } from "./tcp-layers.ts";

export class GuestStream extends Duplex implements TcpUpper {
  /** Set by whoever makes both. */
  connection!: TcpConnection;
  /** The stream is closed, and its connection has nothing left to do. */
  onOver: () => void = () => {};
  private blocks: Buffer[] = [];
  /** Bytes that were pushed while the reader had enough: the guest's window stays closed by them. */
  private held = 0;
  private written: (() => void) | null = null;
  private hasPeerEnded = false;
  private hasEnded = false;
  private isOver = false;

  /**
   * @param onOpened the handshake is done
   * @param onRefused it will never be
   */
  constructor(
    private readonly onOpened: () => void = () => {},
    private readonly onRefused: (end: TcpEnd) => void = () => {},
  ) {
    super({ allowHalfOpen: true });
  }

  private isOpen = false;

  onOpen(): void {
    this.isOpen = true;
    this.onOpened();
  }

  onData(bytes: Uint8Array, start: number, end: number): void {
    this.blocks.push(Buffer.from(bytes.subarray(start, end)));
  }

  onFlush(): void {
    if (this.blocks.length === 0) return;
    const block = this.blocks.length === 1 ? (this.blocks[0] as Buffer) : Buffer.concat(this.blocks);
    this.blocks = [];
    if (this.destroyed) return this.connection.consumed(block.length);
    this.held += block.length;
    if (this.push(block)) this.release();
  }

  onEnd(): void {
    this.hasPeerEnded = true;
    this.push(null);
  }

  onWritable(): void {
    const done = this.written;
    this.written = null;
    done?.();
  }

  onClose(end: TcpEnd): void {
    this.isOver = true;
    if (!this.isOpen) this.onRefused(end);
    const done = this.written;
    this.written = null;
    if (end === "closed") done?.();
    else
      this.destroy(
        Object.assign(new Error(`Cannot go on with the guest's connection: ${DESCRIPTION[end]}`), {
          code: end === "timeout" ? "ETIMEDOUT" : "ECONNRESET",
        }),
      );
    if (this.destroyed) this.onOver();
  }

  override _read(): void {
    this.release();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.connection.write(chunk);
    if (this.connection.room > 0 || this.isOver) done();
    else this.written = done;
  }

  override _final(done: (error?: Error | null) => void): void {
    this.hasEnded = true;
    this.connection.end();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // After both ends the connection sends what is left on its own.
    if (!this.isOver && !(this.hasEnded && this.hasPeerEnded)) this.connection.abort();
    this.blocks = [];
    this.release();
    if (this.isOver) this.onOver();
    done(error);
  }

  private release(): void {
    const bytes = this.held;
    this.held = 0;
    if (bytes > 0) this.connection.consumed(bytes);
  }
}

const DESCRIPTION: Record<TcpEnd, string> = {
  closed: "it is over",
  reset: "the guest has reset it",
  refused: "the guest refuses it",
  timeout: "the guest does not answer",
  aborted: "it was ended",
};
