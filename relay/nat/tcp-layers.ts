/** What stands around a TCP connection: the layer that carries its segments, and the one its bytes are for. */
import type { SendQueue } from "./send-queue.ts";

/** Why a connection is over. `closed`: both sides have ended and everything is acknowledged. */
export type TcpEnd = "closed" | "reset" | "refused" | "timeout" | "aborted";

/** What carries segments to the guest. */
export interface TcpLower {
  /** Sends a segment with `length` bytes of `queue` from `offset` on. */
  send(
    seq: number,
    ack: number,
    flags: number,
    window: number,
    options: Uint8Array | null,
    queue: SendQueue | null,
    offset: number,
    length: number,
  ): void;
  /** The way to the guest is full: no data until `resume()` is called. Segments without data still go. */
  readonly blocked: boolean;
  /** Asks for `flush()` at the end of this turn of the event loop; or a little later, when more is sure to come. */
  schedule(isLater: boolean): void;
  /** The connection needs its ports no more. */
  gone(): void;
}

/** What the bytes are for. It may call the connection back at any time. */
export interface TcpUpper {
  onOpen(): void;
  /** Data in order: a view that is valid during the call only. They count against the window until `consumed()`. */
  onData(bytes: Uint8Array, start: number, end: number): void;
  /** The guest has sent its FIN. */
  onEnd(): void;
  /** The end of a turn in which data came, or of a little more while they stream. */
  onFlush(): void;
  /** There is room for more to send. */
  onWritable(): void;
  /** Once, at the end; nothing else is called afterwards. */
  onClose(end: TcpEnd): void;
}
