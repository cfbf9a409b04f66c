/**
 * One TCP connection (RFC 9293) between the relay and the guest: a state machine without sockets, frames or a clock
 * of its own. What carries its segments is `TcpLower`, what takes its bytes is `TcpUpper`.
 *
 *   tcp: states, handshake ─┬─ tcp-sender ──── send-queue, flight (scoreboard), congestion, round-trip
 *                           ├─ tcp-receiver ── receive-queue, delayed-ack
 *                           ├─ tcp-signals ─── segments without data
 *                           └─ liveness ────── keep-alive, patience
 *
 * Done: the states of RFC 9293, window scaling (RFC 7323), retransmission and its timer (RFC 6298), slow start, fast
 * retransmit and recovery (RFC 5681, 6582), selective acknowledgements both ways (RFC 2018, 6675), zero-window probes,
 * avoidance of silly windows on both sides, guards against blind resets (RFC 5961), keep-alive (RFC 1122).
 * Limitations: urgent data are plain data; no timestamps; no Nagle (the other end of the relay has done it already);
 * acknowledgements wait for the end of the event loop's turn, not for a second segment; those of a stream for some
 * milliseconds or 64 KB.
 */
import { STEADY_MS } from "./delayed-ack.ts";
import { Liveness } from "./liveness.ts";
import { distance } from "./sequence.ts";
import type { TcpEnd, TcpLower, TcpUpper } from "./tcp-layers.ts";
import type { TcpOptions } from "./tcp-options.ts";
import { Receiver } from "./tcp-receiver.ts";
import { FLAG, type Segment } from "./tcp-segment.ts";
import { Sender } from "./tcp-sender.ts";
import { Signals } from "./tcp-signals.ts";
import type { Timer, TimerWheel } from "./timers.ts";

export type TcpState =
  | "SYN-SENT"
  | "SYN-RECEIVED"
  | "ESTABLISHED"
  | "FIN-WAIT-1"
  | "FIN-WAIT-2"
  | "CLOSE-WAIT"
  | "CLOSING"
  | "LAST-ACK"
  | "TIME-WAIT"
  | "CLOSED";

/** RFC 9293, 3.7.1: what is assumed of a side that says nothing. */
const DEFAULT_MSS = 536;
/** A segment below this would be mostly header: nobody honest asks for it. */
const MIN_MSS = 64;

export class TcpConnection {
  state: TcpState = "CLOSED";
  private readonly sender: Sender;
  private readonly receiver: Receiver;
  private readonly signals: Signals;
  private readonly liveness: Liveness;
  /** What the guest has not answered; in TIME-WAIT, the wait. */
  private readonly timer: Timer;
  private readonly slowTimer: Timer;
  private resetWanted = false;

  constructor(
    private readonly lower: TcpLower,
    private readonly upper: TcpUpper,
    private readonly wheel: TimerWheel,
    private readonly options: TcpOptions,
  ) {
    this.timer = wheel.timer(() => this.onTimer());
    this.slowTimer = wheel.timer(() => this.onSlowTimer());
    this.liveness = new Liveness(this.slowTimer, options);
    this.receiver = new Receiver(upper, options);
    this.sender = new Sender(lower, this.receiver, this.liveness, wheel, this.timer, options);
    this.signals = new Signals(lower, this.sender, this.receiver);
  }

  // --- For whoever has the connection -------------------------------------------------------------------------------

  /** Active open. */
  connect(): void {
    this.start("SYN-SENT");
    this.signals.syn(false);
  }

  /** Passive open: answers a SYN of the guest. */
  accept(syn: Segment): void {
    this.open(syn);
    this.start("SYN-RECEIVED");
    this.signals.syn(true);
  }

  /** Bytes that may be written now; more than that is taken too, but should not be given. */
  get room(): number {
    return this.sender.room;
  }

  /** Bytes that are kept for this connection. */
  get heldBytes(): number {
    return this.sender.length + this.receiver.unconsumed;
  }

  /** Whether the guest may still send data that anybody wants. */
  get receiving(): boolean {
    return (
      this.state === "ESTABLISHED" ||
      this.state === "FIN-WAIT-1" ||
      this.state === "FIN-WAIT-2" ||
      this.state === "SYN-RECEIVED" ||
      this.state === "SYN-SENT"
    );
  }

  /** The sequence number that is expected next: a SYN above it may take over a connection in TIME-WAIT. */
  get expected(): number {
    return this.receiver.next;
  }

  /** Sends a copy of the bytes. */
  write(bytes: Uint8Array): void {
    if (this.sender.finWanted || this.state === "CLOSED" || this.state === "TIME-WAIT") return;
    this.sender.write(bytes);
    this.output();
  }

  /** Ends the direction to the guest once everything is sent. */
  end(): void {
    if (this.sender.finWanted || this.state === "CLOSED") return;
    this.sender.finWanted = true;
    this.output();
  }

  /** Resets the connection, but delivers first what was written before. */
  endWithReset(): void {
    if (this.state === "CLOSED") return;
    this.resetWanted = true;
    this.output();
  }

  /** Resets the connection at once. */
  abort(): void {
    if (this.state === "CLOSED") return;
    if (this.state !== "SYN-SENT" && this.state !== "TIME-WAIT") this.signals.reset();
    this.close("aborted");
  }

  /** The upper side has got rid of so many bytes: the window opens again. */
  consumed(bytes: number): void {
    if (this.receiver.consumed(bytes) && this.receiving) this.wantAck();
  }

  /** The way to the guest is free again. */
  resume(): void {
    if (this.state !== "CLOSED") this.output();
  }

  /** The end of the event loop's turn: what has come is handed on and acknowledged. */
  flush(): void {
    if (this.state === "CLOSED") return;
    this.upper.onFlush();
    if (this.receiver.delayedAck.isWanted) this.signals.ack();
  }

  // --- Segments from the guest (RFC 9293, 3.10.7) -------------------------------------------------------------------

  receive(segment: Segment): void {
    if (this.state === "CLOSED") return;
    if (this.state === "SYN-SENT") return this.receiveSynSent(segment);
    const { sender, receiver } = this;
    const { flags, extent } = segment;
    const now = this.wheel.now();
    if (this.state === "SYN-RECEIVED" && flags & FLAG.syn && segment.seq === receiver.initial) {
      // The SYN-ACK that answers our SYN when both sides opened at once: its SYN is known, its acknowledgement counts.
      if (flags & FLAG.ack && segment.ack === sender.flight.nxt) return this.establishAndAnswer(segment);
      return this.signals.syn(true);
    }
    const offset = distance(segment.seq, receiver.next);
    if (offset > receiver.window || offset + extent < 0 || (offset < 0 && offset + extent === 0)) {
      if (flags & FLAG.rst) return;
      // What was received before is acknowledged again at once: the acknowledgement may have been lost.
      if (extent > 0 && offset < 0) this.signals.ack();
      else this.signals.challenge(now);
      // A FIN that comes again starts the wait anew.
      if (this.state === "TIME-WAIT" && flags & FLAG.fin) this.timer.set(this.options.timeWaitMs);
      return;
    }
    if (flags & FLAG.rst) {
      if (offset === 0) this.close(this.state === "SYN-RECEIVED" ? "refused" : "reset");
      else this.signals.challenge(now);
      return;
    }
    if (flags & FLAG.syn) return this.signals.challenge(now);
    if (!(flags & FLAG.ack)) return;
    this.liveness.heard(now);
    if (this.state === "SYN-RECEIVED") {
      if (segment.ack !== sender.flight.nxt) return this.signals.refuse(segment);
      this.establish(segment);
    } else if (!this.receiveAck(segment, now)) return;
    if (extent > 0 && this.receiving) this.receiveData(segment, now);
  }

  private receiveSynSent(segment: Segment): void {
    const { flags } = segment;
    if (flags & FLAG.ack && segment.ack !== this.sender.flight.nxt) {
      if (!(flags & FLAG.rst)) this.signals.refuse(segment);
      return;
    }
    if (flags & FLAG.rst) {
      if (flags & FLAG.ack) this.close("refused");
      return;
    }
    if (!(flags & FLAG.syn)) return;
    this.open(segment);
    if (flags & FLAG.ack) return this.establishAndAnswer(segment);
    this.state = "SYN-RECEIVED";
    this.signals.syn(true);
  }

  /** The guest's SYN tells what it can. */
  private open(syn: Segment): void {
    const mss = Math.max(MIN_MSS, Math.min(syn.mss ?? DEFAULT_MSS, this.options.mss));
    this.sender.open(syn, mss);
    this.receiver.open(syn, mss);
  }

  /** Our SYN is acknowledged. */
  private establish(segment: Segment): void {
    const now = this.wheel.now();
    this.state = "ESTABLISHED";
    this.sender.establish(segment, now);
    this.liveness.start(now);
    this.liveness.watch(now);
    this.upper.onOpen();
    this.output();
  }

  /** By a SYN-ACK. Data that come with it are sent again by the guest: nobody does that without TCP Fast Open. */
  private establishAndAnswer(synAck: Segment): void {
    this.establish(synAck);
    if (!this.closed) this.signals.ack();
  }

  /** @returns whether the rest of the segment counts */
  private receiveAck(segment: Segment, now: number): boolean {
    const { sender } = this;
    const verdict = sender.receive(segment, now);
    if (verdict === "absurd") {
      this.signals.challenge(now);
      return false;
    }
    if (verdict === "old") return true;
    if (sender.finSent && sender.flight.size === 0) this.finAcknowledged();
    this.output();
    if (verdict === "new" && !this.closed && !sender.finWanted && sender.room > 0) this.upper.onWritable();
    return !this.closed;
  }

  private finAcknowledged(): void {
    if (this.state === "FIN-WAIT-1") this.state = "FIN-WAIT-2";
    else if (this.state === "CLOSING") this.enterTimeWait();
    else if (this.state === "LAST-ACK") this.close("closed");
  }

  private receiveData(segment: Segment, now: number): void {
    const { receiver, liveness } = this;
    const isSteady = now - liveness.progressAt <= STEADY_MS;
    liveness.progressAt = now;
    const verdict = receiver.receive(segment, isSteady);
    if (this.closed) return;
    if (verdict === "fin") this.receiveFin();
    else if (verdict === "ack") this.signals.ack();
    else this.wantAck();
  }

  private receiveFin(): void {
    this.receiver.takeFin();
    const before = this.state;
    if (before === "ESTABLISHED") this.state = "CLOSE-WAIT";
    else if (before === "FIN-WAIT-1") this.state = "CLOSING";
    this.upper.onFlush();
    if (this.closed) return;
    this.signals.ack();
    this.upper.onEnd();
    if (before === "FIN-WAIT-2" && !this.closed) this.enterTimeWait();
  }

  private wantAck(): void {
    const { delayedAck, largestWindow } = this.receiver;
    const verdict = delayedAck.want(largestWindow);
    if (verdict === "now") this.signals.ack();
    else if (verdict === "flush") {
      this.upper.onFlush();
      if (this.closed) return;
    }
    // Also when all is acknowledged: data may wait to be handed on.
    this.lower.schedule(delayedAck.mayWaitLonger);
  }

  // --- Segments to the guest ----------------------------------------------------------------------------------------

  private output(): void {
    if (this.state !== "ESTABLISHED" && !this.maySend) return;
    this.sender.output();
    this.noticeFin();
    if (this.resetWanted && this.sender.isEmpty) this.abort();
  }

  private get maySend(): boolean {
    const { state } = this;
    return state !== "SYN-SENT" && state !== "SYN-RECEIVED" && state !== "TIME-WAIT" && state !== "CLOSED";
  }

  /** The sender may have sent our FIN. */
  private noticeFin(): void {
    if (!this.sender.finSent) return;
    if (this.state === "ESTABLISHED") this.state = "FIN-WAIT-1";
    else if (this.state === "CLOSE-WAIT") this.state = "LAST-ACK";
  }

  // --- Timers and the end -------------------------------------------------------------------------------------------

  private onTimer(): void {
    const now = this.wheel.now();
    if (this.state === "TIME-WAIT") return this.close("closed");
    if (this.state === "SYN-SENT" || this.state === "SYN-RECEIVED") {
      if (!this.sender.handshakeTimedOut(now)) return this.giveUp();
      return this.signals.syn(this.state === "SYN-RECEIVED");
    }
    const verdict = this.sender.timedOut(now);
    this.noticeFin();
    if (verdict === "ask") this.signals.ask();
    else if (verdict === "over") this.giveUp();
  }

  private onSlowTimer(): void {
    const verdict = this.liveness.check(this.wheel.now(), this.sender.flight.size === 0);
    if (verdict === "ask") this.signals.ask();
    else if (verdict === "over") this.giveUp();
  }

  private start(state: TcpState): void {
    this.state = state;
    this.liveness.start(this.wheel.now());
  }

  private giveUp(): void {
    if (this.state !== "SYN-SENT") this.signals.reset();
    this.close("timeout");
  }

  private enterTimeWait(): void {
    this.state = "TIME-WAIT";
    this.slowTimer.clear();
    this.sender.clear();
    this.timer.set(this.options.timeWaitMs);
    this.upper.onClose("closed");
  }

  private get closed(): boolean {
    return this.state === "CLOSED";
  }

  private close(end: TcpEnd): void {
    const wasTimeWait = this.state === "TIME-WAIT";
    this.state = "CLOSED";
    this.timer.discard();
    this.slowTimer.discard();
    this.sender.clear();
    this.receiver.clear();
    this.lower.gone();
    if (!wasTimeWait) this.upper.onClose(end);
  }
}
