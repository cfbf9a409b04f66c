/** One connection of the guest to a server: a TCP connection on the guest's side, a socket on the other. */
import { connect, type Socket } from "node:net";
import type { TcpConnection } from "./tcp.ts";
import type { TcpEnd, TcpUpper } from "./tcp-layers.ts";

/** Segments of a turn are gathered into blocks: a write for each would cost more than copying them. */
const SMALL_BLOCK = 4 * 1024;
const LARGE_BLOCK = 64 * 1024;
/**
 * What all servers' bytes are read into: they are copied from here at once. Node would make a block for each read, and keep
 * it as long as a byte of it waits.
 */
const READ_BLOCK = Buffer.allocUnsafeSlow(64 * 1024);
/** After the guest's side is over, a server that takes nothing for so long loses the rest. */
const LINGER_MS = 120_000;

export interface OutwardEvents {
  onConnected(flow: TcpOutward): void;
  /** The connection to the server was not made; `code` is the system's, or "ETIMEDOUT". */
  onFailed(flow: TcpOutward, code: string): void;
  /** Neither side needs anything any more. */
  onOver(flow: TcpOutward): void;
}

export class TcpOutward implements TcpUpper {
  /** None until the server has accepted. */
  connection: TcpConnection | null = null;
  private readonly socket: Socket;
  private isConnected = false;
  private isGuestOver = false;
  private isServerOver = false;
  private hasServerEnded = false;
  private hasGuestEnded = false;
  private lowWater = 0;
  private block: Buffer | null = null;
  private from = 0;
  private fill = 0;
  private turnBytes = 0;

  constructor(
    host: string,
    port: number,
    connectMs: number,
    private readonly events: OutwardEvents,
  ) {
    this.socket = connect({
      host,
      port,
      allowHalfOpen: true,
      // The guest has its own Nagle.
      noDelay: true,
      keepAlive: true,
      // A literal address it must be: a name looked up here would be another one than the policy has seen.
      lookup: (_name, _options, callback) => callback(new Error("not an address"), "", 4),
      onread: {
        buffer: READ_BLOCK,
        callback: (length) => {
          this.connection?.write(READ_BLOCK.subarray(0, length));
          if (this.connection?.room === 0) socket.pause();
          return true;
        },
      },
    });
    const { socket } = this;
    socket.setTimeout(connectMs);
    socket.on("connect", () => {
      this.isConnected = true;
      socket.setTimeout(0);
      // Reading starts when the guest's side is open.
      socket.pause();
      events.onConnected(this);
    });
    socket.on("timeout", () => {
      if (!this.isConnected) this.fail("ETIMEDOUT");
      else socket.destroy();
    });
    socket.on("end", () => {
      this.hasServerEnded = true;
      this.connection?.end();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (!this.isConnected) this.fail(error.code ?? "EIO");
    });
    socket.on("close", () => {
      this.isServerOver = true;
      // An error, or a server that has gone before the guest had ended: what came from it is delivered first.
      if (!this.isGuestOver && !(this.hasServerEnded && socket.writableFinished)) this.connection?.endWithReset();
      this.checkOver();
    });
  }

  /** The guest's side is there: it is in the handshake. */
  attach(connection: TcpConnection): void {
    this.connection = connection;
    this.lowWater = connection.room / 2;
  }

  /** The guest has given up before the server has accepted, or its guest is gone. */
  cancel(): void {
    this.isGuestOver = true;
    if (this.connection) this.connection.abort();
    this.socket.destroy();
  }

  onOpen(): void {
    this.socket.resume();
  }

  onData(bytes: Uint8Array, start: number, end: number): void {
    this.turnBytes += end - start;
    while (start < end) {
      if (!this.block || this.fill === this.block.length) {
        this.write();
        this.block = Buffer.allocUnsafeSlow(this.turnBytes > SMALL_BLOCK / 2 ? LARGE_BLOCK : SMALL_BLOCK);
        this.from = 0;
        this.fill = 0;
      }
      const length = Math.min(end - start, this.block.length - this.fill);
      this.block.set(bytes.subarray(start, start + length), this.fill);
      this.fill += length;
      start += length;
    }
  }

  onFlush(): void {
    this.write();
    this.turnBytes = 0;
  }

  onEnd(): void {
    this.hasGuestEnded = true;
    this.endWhenWritten();
  }

  onWritable(): void {
    if (this.connection && this.connection.room >= this.lowWater && this.socket.isPaused()) this.socket.resume();
  }

  onClose(end: TcpEnd): void {
    this.isGuestOver = true;
    this.block = null;
    if (end !== "closed") {
      this.resetServer();
    } else if (!this.isServerOver) this.socket.setTimeout(LINGER_MS);
    this.checkOver();
  }

  private write(): void {
    const { block, from, fill } = this;
    if (!block || fill === from) return;
    this.from = fill;
    const length = fill - from;
    const consumed = (): void => {
      this.connection?.consumed(length);
      this.endWhenWritten();
    };
    // With an error the socket closes, which ends the guest's side too.
    if (this.socket.writable) this.socket.write(block.subarray(from, fill), consumed);
    else consumed();
  }

  /** Only then, so that a reset that follows can still tell the server that something is missing. */
  private endWhenWritten(): void {
    if (this.hasGuestEnded && this.socket.writableLength === 0 && this.socket.writable) this.socket.end();
  }

  private resetServer(): void {
    if (this.isServerOver) return;
    // A socket of Node's that is shutting down refuses to reset, and then never closes. All data have left it.
    if (this.socket.writableEnded) this.socket.destroy();
    else this.socket.resetAndDestroy();
  }

  private fail(code: string): void {
    if (this.isGuestOver) return;
    this.isGuestOver = true;
    this.socket.destroy();
    this.events.onFailed(this, code);
  }

  private checkOver(): void {
    if (!this.isGuestOver || !this.isServerOver) return;
    this.events.onOver(this);
  }
}
