/** What carries the segments of one connection: its two ends and the link. */
import type { Link, Waiting } from "./link.ts";
import type { SendQueue } from "./send-queue.ts";
import type { TcpConnection } from "./tcp.ts";
import type { TcpLower } from "./tcp-layers.ts";

/** The four numbers that name a connection. `remote` is the far end, as the guest sees it. */
export interface Ends {
  guest: number;
  guestPort: number;
  remote: number;
  remotePort: number;
}

/** What waits for more of a stream waits so long at most. */
const LATER_MS = 4;

/** Runs what was asked for during a turn of the event loop at its end, or a little later. */
export class TurnEnd {
  private waiting: TcpPath[] = [];
  private waitingLonger: TcpPath[] = [];
  private readonly run = (): void => {
    const paths = this.waiting;
    this.waiting = [];
    for (const path of paths) path.flush();
  };
  private readonly runLater = (): void => {
    const paths = this.waitingLonger;
    this.waitingLonger = [];
    for (const path of paths) path.flush();
  };

  add(path: TcpPath): void {
    if (this.waiting.push(path) === 1) setImmediate(this.run);
  }

  /** One timer serves all connections. */
  addLater(path: TcpPath): void {
    if (this.waitingLonger.push(path) === 1) setTimeout(this.runLater, LATER_MS);
  }
}

export class TcpPath implements TcpLower, Waiting {
  /** Set by whoever makes both. */
  connection!: TcpConnection;
  private scheduled: "no" | "later" | "now" = "no";

  constructor(
    readonly ends: Ends,
    private readonly link: Link,
    private readonly turnEnd: TurnEnd,
    private readonly onGone: (path: TcpPath) => void,
  ) {}

  send(
    seq: number,
    ack: number,
    flags: number,
    window: number,
    options: Uint8Array | null,
    queue: SendQueue | null,
    offset: number,
    length: number,
  ): void {
    const { guest, guestPort, remote, remotePort } = this.ends;
    this.link.sendTcp(remote, remotePort, guest, guestPort, seq, ack, flags, window, options, queue, offset, length);
  }

  get blocked(): boolean {
    return this.link.isFull(this);
  }

  schedule(isLater: boolean): void {
    if (this.scheduled === "now" || (isLater && this.scheduled === "later")) return;
    this.scheduled = isLater ? "later" : "now";
    if (isLater) this.turnEnd.addLater(this);
    else this.turnEnd.add(this);
  }

  flush(): void {
    this.scheduled = "no";
    this.connection.flush();
  }

  resume(): void {
    this.connection.resume();
  }

  gone(): void {
    this.link.forget(this);
    this.onGone(this);
  }
}
