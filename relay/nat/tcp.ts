/**
 * One TCP connection (RFC 9293) between the relay and the guest: a state machine without sockets, frames or a clock
 * of its own. What carries its segments is `TcpLower`, what takes its bytes is `TcpUpper`.
 *
 * Done: the states of RFC 9293, window scaling (RFC 7323), retransmission and its timer (RFC 6298), slow start, fast
 * retransmit and recovery (RFC 5681, 6582), selective acknowledgements both ways (RFC 2018, 6675), zero-window probes,
 * avoidance of silly windows on both sides, guards against blind resets (RFC 5961), keep-alive (RFC 1122).
 * Limitations: urgent data are plain data; no timestamps; no Nagle (the other end of the relay has done it already);
 * acknowledgements wait for the end of the event loop's turn, not for a second segment; those of a stream for some
 * milliseconds or 64 KB.
 *
 * It is long because its parts share the variables of RFC 9293, 3.3.1: receiving moves what sending sends.
 */
import { Congestion } from "./congestion.ts";
import { ReceiveQueue } from "./receive-queue.ts";
import { RoundTrip } from "./round-trip.ts";
import { Scoreboard } from "./scoreboard.ts";
import { SendQueue } from "./send-queue.ts";
import { advance, distance } from "./sequence.ts";
import { encodeSack, encodeSynOptions, FLAG, type Segment } from "./tcp-segment.ts";
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

export interface TcpOptions {
  /** The largest segment that fits the link. */
  mss: number;
  /** Bytes that are taken over for sending; `room` tells how many are left. */
  sendBuffer: number;
  /** The largest window that is advertised. */
  receiveBuffer: number;
  initialSequence: number;
  /** Silence after which the guest is asked whether it is still there, between the questions, and how many. */
  keepAliveMs: number;
  keepAliveIntervalMs: number;
  keepAliveProbes: number;
  /** The longest time without any data in either direction. */
  idleMs: number;
  timeWaitMs: number;
  /** How long data may stay unacknowledged: R2 of RFC 9293, 3.8.3, at least 100 s. */
  giveUpMs: number;
  /** The same for the handshake. */
  handshakeMs: number;
}

export const TCP_DEFAULTS: Omit<TcpOptions, "initialSequence"> = {
  mss: 1460,
  sendBuffer: 512 * 1024,
  receiveBuffer: 256 * 1024,
  keepAliveMs: 120_000,
  keepAliveIntervalMs: 30_000,
  keepAliveProbes: 5,
  // RFC 5382, REQ-5: not below 2 hours and 4 minutes.
  idleMs: 7_440_000,
  // The guest is one hop away: nothing of an old connection can still be on the way for long.
  timeWaitMs: 10_000,
  giveUpMs: 120_000,
  handshakeMs: 30_000,
};

/** RFC 9293, 3.7.1: what is assumed of a side that says nothing. */
const DEFAULT_MSS = 536;
/** A segment below this would be mostly header: nobody honest asks for it. */
const MIN_MSS = 64;
/** 65535 · 2³ is above all windows that are ever advertised. */
const WINDOW_SCALE = 3;
/** So much is acknowledged at once, without waiting for the end of the turn. */
const ACK_BYTES = 48 * 1024;
/**
 * An emulated guest sends a segment every 100 µs or so: each comes in a turn of its own. Acknowledging each costs the guest
 * as much as sending it, and writing each to the server costs us more than all the rest. After so many full segments
 * without a pause it streams, and both wait for a quarter of the window; a segment that is not full is the end of something
 * and ends the waiting. The server is written to first, so that one segment tells the guest both that its bytes have come
 * and that there is room again: two would cost it a twentieth of its time.
 */
const STREAM_SEGMENTS = 8;
const STREAM_PAUSE_MS = 5;
const STREAM_ACK_BYTES = 64 * 1024;
/** Between two acknowledgements of segments that make no sense (RFC 5961, section 7). */
const CHALLENGE_MS = 100;
const DUPLICATES = 3;
/**
 * A guest is asked so many times, however much time has passed: after a process has stood still (a computer that slept), all
 * patience seems to be at an end before the guest could say a word.
 */
const LEAST_TIMEOUTS = 3;
/**
 * The longest wait between two questions about a closed window. The news that it is open may be lost, and the guest is one
 * hop away: the minute that RFC 9293 would allow would be felt, a frame in some seconds is not.
 */
const PROBE_MS = 5000;

export class TcpConnection {
  state: TcpState = "CLOSED";
  /** The side that ended it first, and what is left of it, are seen by these. */
  private finWanted = false;
  private finSent = false;
  private resetWanted = false;

  // Sending (RFC 9293, 3.3.1).
  private readonly queue = new SendQueue();
  private una: number;
  private nxt: number;
  private sendWindow = 0;
  private largestSendWindow = 0;
  private windowSeq = 0;
  private windowAck = 0;
  private sendScale = 0;
  private mss = DEFAULT_MSS;
  private readonly congestion: Congestion;
  private readonly roundTrip = new RoundTrip();
  private timedSeq = 0;
  private timedAt = -1;
  private lastSentAt = 0;

  // Recovery from losses. Up to `retransmitted` the missing parts were sent again; those up to `lostEdge` are to be.
  private readonly scoreboard = new Scoreboard();
  private sackPermitted = false;
  private recovery: "none" | "fast" | "timeout" = "none";
  private recoverPoint = 0;
  private retransmitted: number;
  private lostEdge: number;
  private duplicates = 0;
  /** What was sent from here on was sent after the first missing segment was repeated. */
  private repeatedAt = 0;
  private timeouts = 0;
  private firstTimeoutAt = 0;

  // Receiving.
  private readonly outOfOrder = new ReceiveQueue();
  private initialReceived = 0;
  private next = 0;
  /** The right edge of the window that was advertised: it never moves back. */
  private edge = 0;
  private receiveScale = 0;
  private finAt: number | null = null;
  /** Bytes the upper side was given and has not consumed. */
  private unconsumed = 0;
  private unacknowledged = 0;
  private ackWanted = false;
  /** At the end of this turn, though it is a stream. */
  private ackDue = false;
  /** Full segments that have come without a pause between them. */
  private streak = 0;
  private challengedAt = Number.NEGATIVE_INFINITY;

  private heardAt = 0;
  private progressAt = 0;
  private probes = 0;
  private readonly retransmitTimer: Timer;
  private readonly slowTimer: Timer;

  constructor(
    private readonly lower: TcpLower,
    private readonly upper: TcpUpper,
    private readonly wheel: TimerWheel,
    private readonly options: TcpOptions,
  ) {
    this.una = options.initialSequence >>> 0;
    this.nxt = this.una;
    this.retransmitted = this.una;
    this.lostEdge = this.una;
    this.congestion = new Congestion(options.mss);
    this.retransmitTimer = wheel.timer(() => this.onRetransmit());
    this.slowTimer = wheel.timer(() => this.onSlow());
  }

  /** Active open. */
  connect(): void {
    this.start("SYN-SENT");
    this.sendSyn();
  }

  /** Passive open: answers a SYN of the guest. */
  accept(syn: Segment): void {
    this.initialReceived = syn.seq;
    this.next = advance(syn.seq, 1);
    this.edge = advance(this.next, this.synWindow());
    this.takeSynOptions(syn);
    this.start("SYN-RECEIVED");
    this.sendSyn();
  }

  /** Bytes that may be written now; more than that is taken too, but should not be given. */
  get room(): number {
    return Math.max(0, this.options.sendBuffer - this.queue.length);
  }

  /** Bytes that are kept for this connection. */
  get heldBytes(): number {
    return this.queue.length + this.unconsumed;
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
    return this.next;
  }

  /** Sends a copy of the bytes. */
  write(bytes: Uint8Array): void {
    if (this.finWanted || this.state === "CLOSED" || this.state === "TIME-WAIT") return;
    this.queue.push(bytes);
    this.output();
  }

  /** Ends the direction to the guest once everything is sent. */
  end(): void {
    if (this.finWanted || this.state === "CLOSED") return;
    this.finWanted = true;
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
    if (this.state !== "SYN-SENT" && this.state !== "TIME-WAIT") this.sendReset();
    this.close("aborted");
  }

  /** The upper side has got rid of so many bytes: the window opens again. */
  consumed(bytes: number): void {
    this.unconsumed -= bytes;
    if (!this.receiving) return;
    // RFC 9293, 3.8.6.2.2, with a quarter instead of a segment: an update for each segment would cost the guest more
    // than it gives.
    const opened = this.freeWindow() - distance(this.edge, this.next);
    if (opened >= this.options.receiveBuffer / 4) this.wantAck();
  }

  /** The way to the guest is free again. */
  resume(): void {
    if (this.state !== "CLOSED") this.output();
  }

  /** The end of the event loop's turn: what has come is handed on and acknowledged. */
  flush(): void {
    if (this.state === "CLOSED") return;
    this.upper.onFlush();
    if (this.ackWanted) this.sendAck();
  }

  // --- Segments from the guest (RFC 9293, 3.10.7) ---------------------------------------------------------------

  receive(segment: Segment): void {
    if (this.state === "CLOSED") return;
    if (this.state === "SYN-SENT") return this.receiveSynSent(segment);
    const { flags } = segment;
    const length = segment.end - segment.start;
    const extent = length + (flags & FLAG.syn ? 1 : 0) + (flags & FLAG.fin ? 1 : 0);
    const offset = distance(segment.seq, this.next);
    const window = distance(this.edge, this.next);

    if (this.state === "SYN-RECEIVED" && flags & FLAG.syn && segment.seq === this.initialReceived) {
      if (flags & FLAG.ack && segment.ack === this.nxt) {
        // The SYN-ACK that answers our SYN when both sides opened at once: its SYN is known, its acknowledgement counts.
        this.establish(segment);
        return this.sendAck();
      }
      return this.sendSyn();
    }
    if (offset > window || offset + extent < 0 || (offset < 0 && offset + extent === 0)) {
      if (flags & FLAG.rst) return;
      // What was received before is acknowledged again at once: the acknowledgement may have been lost.
      if (extent > 0 && offset < 0) this.sendAck();
      else this.challenge();
      // A FIN that comes again starts the wait anew.
      if (this.state === "TIME-WAIT" && flags & FLAG.fin) this.slowTimer.set(this.options.timeWaitMs);
      return;
    }
    if (flags & FLAG.rst) {
      if (offset === 0) this.close(this.state === "SYN-RECEIVED" ? "refused" : "reset");
      else this.challenge();
      return;
    }
    if (flags & FLAG.syn) return this.challenge();
    if (!(flags & FLAG.ack)) return;
    const now = this.wheel.now();
    this.heardAt = now;
    this.probes = 0;
    if (this.state === "SYN-RECEIVED") {
      if (segment.ack !== this.nxt) return this.lower.send(segment.ack, 0, FLAG.rst, 0, null, null, 0, 0);
      this.establish(segment);
      if (this.closed) return;
    } else if (!this.receiveAck(segment, length, now)) return;
    if (this.closed) return;
    if (extent > 0) this.receiveData(segment, offset, window, now);
  }

  private receiveSynSent(segment: Segment): void {
    const { flags } = segment;
    if (flags & FLAG.ack && segment.ack !== this.nxt) {
      if (!(flags & FLAG.rst)) this.lower.send(segment.ack, 0, FLAG.rst, 0, null, null, 0, 0);
      return;
    }
    if (flags & FLAG.rst) {
      if (flags & FLAG.ack) this.close("refused");
      return;
    }
    if (!(flags & FLAG.syn)) return;
    this.initialReceived = segment.seq;
    this.next = advance(segment.seq, 1);
    this.edge = advance(this.next, this.synWindow());
    this.takeSynOptions(segment);
    if (flags & FLAG.ack) {
      this.establish(segment);
      // Data that come with it are sent again by the guest: nobody does that without TCP Fast Open.
      if (!this.closed) this.sendAck();
    } else {
      this.state = "SYN-RECEIVED";
      this.sendSyn();
    }
  }

  /** Our SYN is acknowledged. */
  private establish(segment: Segment): void {
    this.una = segment.ack;
    this.retransmitted = this.una;
    this.lostEdge = this.una;
    this.state = "ESTABLISHED";
    // The window of a SYN is not scaled (RFC 7323, 2.2).
    this.sendWindow = segment.window << (segment.flags & FLAG.syn ? 0 : this.sendScale);
    this.largestSendWindow = this.sendWindow;
    this.windowSeq = segment.seq;
    this.windowAck = segment.ack;
    const now = this.wheel.now();
    if (this.timedAt >= 0) this.roundTrip.sample(now - this.timedAt);
    this.timedAt = -1;
    this.timeouts = 0;
    this.heardAt = now;
    this.progressAt = now;
    this.retransmitTimer.clear();
    this.setSlowTimer();
    this.upper.onOpen();
    if (!this.closed) this.output();
  }

  /** @returns whether the rest of the segment counts */
  private receiveAck(segment: Segment, length: number, now: number): boolean {
    const acknowledged = distance(segment.ack, this.una);
    const flight = distance(this.nxt, this.una);
    if (acknowledged > flight || acknowledged < -this.largestSendWindow) {
      this.challenge();
      return false;
    }
    if (acknowledged < 0) return true;
    let isNews = false;
    if (this.sackPermitted)
      for (let i = 0; i < segment.sackCount; i++) {
        const start = segment.sack[2 * i] as number;
        const end = segment.sack[2 * i + 1] as number;
        // Blocks outside of what is on the way are duplicates (RFC 2883) or nonsense.
        if (distance(start, segment.ack) > 0 && distance(end, start) > 0 && distance(end, this.nxt) <= 0)
          isNews = this.scoreboard.add(start, end) || isNews;
      }
    const window = segment.window << this.sendScale;
    const isDuplicate =
      acknowledged === 0 &&
      flight > 0 &&
      (this.sackPermitted ? isNews : length === 0 && !(segment.flags & FLAG.fin) && window === this.sendWindow);
    const isNewer = distance(segment.seq, this.windowSeq);
    if (isNewer > 0 || (isNewer === 0 && distance(segment.ack, this.windowAck) >= 0)) {
      if (this.sendWindow === 0 && window > 0) this.roundTrip.resetBackOff();
      this.sendWindow = window;
      if (window > this.largestSendWindow) this.largestSendWindow = window;
      this.windowSeq = segment.seq;
      this.windowAck = segment.ack;
    }
    if (acknowledged > 0) {
      this.acknowledge(segment.ack, acknowledged, now);
      if (this.closed) return false;
    } else if (isDuplicate) this.duplicate(flight);
    const hadRoom = acknowledged > 0;
    this.output();
    if (hadRoom && !this.closed && !this.finWanted && this.room > 0) this.upper.onWritable();
    return !this.closed;
  }

  private acknowledge(ack: number, bytes: number, now: number): void {
    const isFinAcknowledged = this.finSent && ack === this.nxt;
    this.queue.drop(Math.min(bytes, this.queue.length));
    this.una = ack;
    this.progressAt = now;
    this.timeouts = 0;
    if (this.timedAt >= 0 && distance(ack, this.timedSeq) > 0) {
      this.roundTrip.sample(now - this.timedAt);
      this.timedAt = -1;
    }
    this.scoreboard.advance(ack);
    if (distance(this.retransmitted, ack) < 0) this.retransmitted = ack;
    if (distance(this.lostEdge, ack) < 0) this.lostEdge = ack;
    if (this.recovery !== "none" && distance(ack, this.recoverPoint) >= 0) {
      this.recovery = "none";
      this.duplicates = 0;
      this.retransmitted = ack;
      this.lostEdge = ack;
    }
    this.repeatedAt = this.nxt;
    if (this.recovery !== "none") this.roundTrip.ease();
    if (this.recovery === "fast") {
      // A partial acknowledgement: what follows it was lost as well (RFC 6582, 3.2).
      this.duplicates = Math.max(0, this.duplicates - Math.ceil(bytes / this.mss) + 1);
      if (this.retransmitted === ack) this.markLost(advance(ack, this.mss));
      this.markLost(this.scoreboard.lostBefore(this.mss, ack));
    } else {
      this.duplicates = 0;
      this.congestion.acknowledged(bytes, this.options.sendBuffer);
      if (!this.scoreboard.isEmpty && this.recovery === "none") this.detectLoss(distance(this.nxt, ack));
    }
    if (ack === this.nxt) this.retransmitTimer.clear();
    else this.retransmitTimer.set(this.patienceMs);
    if (!isFinAcknowledged) return;
    if (this.state === "FIN-WAIT-1") this.state = "FIN-WAIT-2";
    else if (this.state === "CLOSING") this.enterTimeWait();
    else if (this.state === "LAST-ACK") this.close("closed");
  }

  /** An acknowledgement that says: something behind a gap has come. */
  private duplicate(flight: number): void {
    this.duplicates++;
    if (this.recovery === "none") this.detectLoss(flight);
    else {
      if (this.recovery === "fast") this.markLost(this.scoreboard.lostBefore(this.mss, this.una));
      this.detectLostAgain(flight);
    }
  }

  /** Segments that were sent after the repeated one have arrived, and it has not: it was lost again. */
  private detectLostAgain(flight: number): void {
    if (this.retransmitted === this.una || this.lower.blocked) return;
    const later = distance(this.nxt, this.repeatedAt) - this.scoreboard.missing(this.repeatedAt, this.nxt);
    if (later <= (DUPLICATES - 1) * this.mss) return;
    const { retransmitted } = this;
    this.congestion.lost(flight);
    this.retransmitted = this.una;
    this.retransmitHole();
    this.retransmitted = retransmitted;
    this.retransmitTimer.set(this.roundTrip.timeoutMs);
  }

  private detectLoss(flight: number): void {
    const edge = this.scoreboard.lostBefore(this.mss, this.una);
    if (this.duplicates < DUPLICATES && edge === this.una) return;
    this.recovery = "fast";
    this.recoverPoint = this.nxt;
    this.retransmitted = this.una;
    this.lostEdge = this.una;
    this.congestion.lost(flight);
    this.markLost(edge);
    // The first missing segment goes in any case.
    this.markLost(advance(this.una, this.mss));
    this.timedAt = -1;
    if (!this.lower.blocked) this.retransmitHole();
  }

  private markLost(edge: number): void {
    if (distance(edge, this.lostEdge) > 0) this.lostEdge = distance(edge, this.nxt) > 0 ? this.nxt : edge;
  }

  private receiveData(segment: Segment, offset: number, window: number, now: number): void {
    if (!this.receiving) return;
    let { start, end } = segment;
    let seq = segment.seq;
    let hasFin = (segment.flags & FLAG.fin) !== 0;
    this.streak = end - start < this.mss || now - this.progressAt > STREAM_PAUSE_MS ? 0 : this.streak + 1;
    this.progressAt = now;
    if (offset < 0) {
      start -= offset;
      seq = this.next;
      this.ackWanted = true;
    }
    if (distance(advance(seq, end - start), this.edge) > 0) {
      end = start + Math.max(0, distance(this.edge, seq));
      hasFin = false;
      this.ackWanted = true;
    }
    if (window === 0 && !hasFin) return this.sendAck();
    if (hasFin) this.finAt ??= advance(seq, end - start);
    if (end > start) {
      if (seq !== this.next) {
        this.outOfOrder.insert(seq, segment.bytes, start, end);
        // At once, one for each: the guest counts them (RFC 5681, 4.2).
        return this.sendAck();
      }
      this.deliver(segment.bytes, start, end);
      if (this.closed) return;
      if (!this.outOfOrder.isEmpty) {
        for (let piece = this.outOfOrder.take(this.next); piece; piece = this.outOfOrder.take(this.next)) {
          this.deliver(piece, 0, piece.length);
          if (this.closed) return;
        }
        this.ackWanted = true;
        this.unacknowledged = ACK_BYTES;
      }
    }
    if (this.finAt !== null && this.finAt === this.next) return this.receiveFin();
    if (seq !== this.next && end === start) return this.sendAck();
    this.wantAck();
  }

  private deliver(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    this.next = advance(this.next, length);
    this.unconsumed += length;
    this.unacknowledged += length;
    this.upper.onData(bytes, start, end);
  }

  private receiveFin(): void {
    this.next = advance(this.next, 1);
    if (distance(this.edge, this.next) < 0) this.edge = this.next;
    this.outOfOrder.clear();
    const before = this.state;
    if (before === "ESTABLISHED") this.state = "CLOSE-WAIT";
    else if (before === "FIN-WAIT-1") this.state = "CLOSING";
    this.upper.onFlush();
    if (this.closed) return;
    this.sendAck();
    this.upper.onEnd();
    if (before === "FIN-WAIT-2" && !this.closed) this.enterTimeWait();
  }

  private wantAck(): void {
    this.ackWanted = true;
    const isStream = this.streak >= STREAM_SEGMENTS;
    if (!isStream) {
      if (this.unacknowledged >= ACK_BYTES) this.sendAck();
    } else if (!this.ackDue && this.unacknowledged >= Math.min(STREAM_ACK_BYTES, this.largestWindow / 4)) {
      this.ackDue = true;
      this.upper.onFlush();
      if (this.closed) return;
    }
    // Also when all is acknowledged: data may wait to be handed on.
    this.lower.schedule(isStream && !this.ackDue);
  }

  // --- Segments to the guest ------------------------------------------------------------------------------------

  /** Sends what may be sent: first what was lost, then new data, then the FIN. */
  private output(): void {
    if (this.state !== "ESTABLISHED" && this.state !== "CLOSE-WAIT" && !this.finSent) return;
    if (this.state === "TIME-WAIT" || this.state === "CLOSED") return;
    let isHeldByWindow = false;
    while (!this.lower.blocked) {
      const pipe = this.pipe();
      if (this.recovery !== "none" && this.hasHole()) {
        if (pipe + this.mss > this.congestion.window && pipe > 0) break;
        this.retransmitHole();
        continue;
      }
      const sent = distance(this.nxt, this.una);
      const waiting = this.queue.length - sent;
      if (this.finSent || (waiting <= 0 && !this.finWanted)) break;
      const usable = this.sendWindow - sent;
      const length = Math.min(waiting, this.mss, usable);
      const withFin = this.finWanted && length === waiting && usable > length;
      if (length <= 0 && !withFin) {
        isHeldByWindow = true;
        break;
      }
      // Silly windows (RFC 9293, 3.8.6.2.1): less than a segment goes only when it is all there is, or half a window.
      if (length < this.mss && length < waiting && length < this.largestSendWindow / 2) {
        isHeldByWindow = true;
        break;
      }
      if (pipe + length > this.congestion.window && pipe > 0) break;
      this.sendNew(length, waiting, withFin);
    }
    if (isHeldByWindow && this.nxt === this.una && !this.retransmitTimer.armed)
      this.retransmitTimer.set(this.patienceMs);
    if (this.resetWanted && this.queue.length === 0 && this.nxt === this.una) this.abort();
  }

  private sendNew(length: number, waiting: number, withFin: boolean): void {
    const now = this.wheel.now();
    const offset = distance(this.nxt, this.una);
    if (offset === 0 && now - this.lastSentAt > this.roundTrip.timeoutMs) this.congestion.idle();
    const seq = this.nxt;
    this.nxt = advance(seq, length + (withFin ? 1 : 0));
    if (withFin) {
      this.finSent = true;
      this.state = this.state === "ESTABLISHED" ? "FIN-WAIT-1" : "LAST-ACK";
    }
    if (this.timedAt < 0 && this.recovery === "none") {
      this.timedSeq = seq;
      this.timedAt = now;
    }
    this.lastSentAt = now;
    this.progressAt = now;
    if (!this.retransmitTimer.armed || offset === 0) this.retransmitTimer.set(this.roundTrip.timeoutMs);
    const push = length === waiting && length > 0 ? FLAG.psh : 0;
    this.transmit(seq, FLAG.ack | push | (withFin ? FLAG.fin : 0), offset, length);
  }

  private hasHole(): boolean {
    const from = this.scoreboard.nextMissing(this.retransmitted);
    return distance(this.lostEdge, from) > 0;
  }

  private retransmitHole(): void {
    const seq = this.scoreboard.nextMissing(this.retransmitted);
    if (distance(this.lostEdge, seq) <= 0) return;
    const end = this.scoreboard.endOfMissing(seq, this.nxt);
    if (seq === this.una) this.repeatedAt = this.nxt;
    this.retransmit(seq, Math.min(this.mss, distance(end, seq)));
  }

  private retransmit(seq: number, extent: number): void {
    const offset = distance(seq, this.una);
    const length = Math.min(extent, this.queue.length - offset);
    const withFin = this.finSent && length < extent;
    this.retransmitted = advance(seq, extent);
    // Karn: the acknowledgement could be that of the first or of the second.
    this.timedAt = -1;
    this.lastSentAt = this.wheel.now();
    this.transmit(seq, FLAG.ack | (length > 0 ? FLAG.psh : 0) | (withFin ? FLAG.fin : 0), offset, length);
  }

  /** Bytes that are thought to be on the way (RFC 6675, section 4; without its option, RFC 6582). */
  private pipe(): number {
    if (this.recovery === "none" && this.duplicates === 0 && this.scoreboard.isEmpty)
      return distance(this.nxt, this.una);
    const from = distance(this.lostEdge, this.retransmitted) > 0 ? this.lostEdge : this.retransmitted;
    const bytes = this.scoreboard.missing(this.una, this.retransmitted) + this.scoreboard.missing(from, this.nxt);
    return this.sackPermitted ? bytes : Math.max(0, bytes - this.duplicates * this.mss);
  }

  private transmit(seq: number, flags: number, offset: number, length: number): void {
    const window = this.nextWindow();
    this.ackWanted = false;
    this.ackDue = false;
    this.unacknowledged = 0;
    this.lower.send(seq, this.next, flags, window, null, length > 0 ? this.queue : null, offset, length);
  }

  private sendAck(): void {
    const window = this.nextWindow();
    this.ackWanted = false;
    this.ackDue = false;
    this.unacknowledged = 0;
    const options = this.sackPermitted && !this.outOfOrder.isEmpty ? encodeSack(this.outOfOrder.blocks()) : null;
    this.lower.send(this.acceptable, this.next, FLAG.ack, window, options, null, 0, 0);
  }

  /**
   * The number of a segment without data. A guest that has no memory for what is on the way takes its window back; beyond
   * its edge it reads nothing of a segment, not even what is acknowledged (RFC 9293, 3.10.7.4).
   */
  private get acceptable(): number {
    return distance(this.nxt, this.una) > this.sendWindow ? advance(this.una, this.sendWindow) : this.nxt;
  }

  /** How long to wait for an acknowledgement, or for the window. */
  private get patienceMs(): number {
    const { timeoutMs } = this.roundTrip;
    return this.sendWindow === 0 ? Math.min(PROBE_MS, timeoutMs) : timeoutMs;
  }

  /** Acknowledges a segment that makes no sense, so that an honest guest can put it right; not too often. */
  private challenge(): void {
    const now = this.wheel.now();
    if (now - this.challengedAt < CHALLENGE_MS) return;
    this.challengedAt = now;
    this.sendAck();
  }

  private sendReset(): void {
    this.lower.send(this.acceptable, this.next, FLAG.rst | FLAG.ack, 0, null, null, 0, 0);
  }

  private sendSyn(): void {
    const isAnswer = this.state === "SYN-RECEIVED";
    const scale = isAnswer && this.receiveScale === 0 ? null : WINDOW_SCALE;
    const options = encodeSynOptions(this.options.mss, scale, !isAnswer || this.sackPermitted);
    if (this.nxt === this.una) {
      this.nxt = advance(this.una, 1);
      this.timedAt = this.wheel.now();
    } else this.timedAt = -1;
    this.retransmitTimer.set(this.roundTrip.timeoutMs);
    this.lower.send(
      this.una,
      isAnswer ? this.next : 0,
      FLAG.syn | (isAnswer ? FLAG.ack : 0),
      this.synWindow(),
      options,
      null,
      0,
      0,
    );
  }

  private takeSynOptions(syn: Segment): void {
    this.mss = Math.max(MIN_MSS, Math.min(syn.mss ?? DEFAULT_MSS, this.options.mss));
    this.congestion.start(this.mss);
    this.sackPermitted = syn.sackPermitted;
    // Scaling is on when both sides offer it; ours always does when it is asked.
    this.sendScale = syn.windowScale ?? 0;
    this.receiveScale = syn.windowScale === null ? 0 : WINDOW_SCALE;
    this.sendWindow = syn.window;
  }

  private synWindow(): number {
    return Math.min(0xffff, this.options.receiveBuffer);
  }

  private get largestWindow(): number {
    return this.receiveScale === 0 ? this.synWindow() : this.options.receiveBuffer;
  }

  private freeWindow(): number {
    return Math.max(0, Math.min(this.largestWindow, this.options.receiveBuffer - this.unconsumed));
  }

  /** The window field of the next segment. The right edge moves only by amounts that are worth it, and never back. */
  private nextWindow(): number {
    const unit = 1 << this.receiveScale;
    const free = this.freeWindow() & ~(unit - 1);
    const open = distance(this.edge, this.next);
    if (free - open >= Math.min(this.options.mss, this.options.receiveBuffer / 2)) {
      this.edge = advance(this.next, free);
      return free >>> this.receiveScale;
    }
    const field = Math.min(0xffff, (open + unit - 1) >>> this.receiveScale);
    this.edge = advance(this.next, field << this.receiveScale);
    return field;
  }

  // --- Timers and the end ---------------------------------------------------------------------------------------

  private onRetransmit(): void {
    const now = this.wheel.now();
    if (this.state === "SYN-SENT" || this.state === "SYN-RECEIVED") {
      if (this.timeouts++ >= LEAST_TIMEOUTS && now - this.heardAt >= this.options.handshakeMs) {
        if (this.state === "SYN-RECEIVED") this.sendReset();
        return this.close("timeout");
      }
      this.roundTrip.backOff();
      return this.sendSyn();
    }
    // What was sent has not even left: sending it again would only make the way fuller.
    if (this.lower.blocked) return this.retransmitTimer.set(this.roundTrip.timeoutMs);
    if (this.nxt === this.una) return this.probeWindow(now);
    if (this.timeouts++ === 0) this.firstTimeoutAt = now;
    // A guest that acknowledges with a closed window is alive (RFC 9293, 3.8.6.1).
    const since = this.sendWindow === 0 ? Math.max(this.heardAt, this.firstTimeoutAt) : this.firstTimeoutAt;
    if (this.timeouts > LEAST_TIMEOUTS && now - since >= this.options.giveUpMs) {
      this.sendReset();
      return this.close("timeout");
    }
    this.congestion.timedOut(distance(this.nxt, this.una), this.timeouts === 1);
    // The guest may take back what it has acknowledged selectively (RFC 2018, section 8).
    if (this.timeouts > 1) this.scoreboard.clear();
    this.recovery = "timeout";
    this.recoverPoint = this.nxt;
    this.lostEdge = this.nxt;
    this.retransmitted = this.una;
    this.duplicates = 0;
    this.roundTrip.backOff();
    this.retransmitTimer.set(this.patienceMs);
    this.retransmitHole();
  }

  /**
   * Asks for the size of a window that is closed (RFC 9293, 3.8.6.1). An old sequence number, which the guest must
   * answer, does it without a byte that would then be half sent.
   */
  private probeWindow(now: number): void {
    if (this.queue.length === 0 && !this.finWanted) return;
    if (this.probes++ >= LEAST_TIMEOUTS && now - this.heardAt >= this.options.giveUpMs) {
      this.sendReset();
      return this.close("timeout");
    }
    if (this.sendWindow > 0) {
      // Held back as too small a piece: after this time it goes as it is.
      const waiting = this.queue.length;
      const length = Math.min(waiting, this.mss, this.sendWindow);
      this.sendNew(length, waiting, this.finWanted && length === waiting && this.sendWindow > length);
      return;
    }
    this.roundTrip.backOff();
    this.retransmitTimer.set(this.patienceMs);
    this.lower.send(advance(this.una, -1), this.next, FLAG.ack, this.nextWindow(), null, null, 0, 0);
  }

  private onSlow(): void {
    if (this.state === "TIME-WAIT") return this.close("closed");
    const now = this.wheel.now();
    const { keepAliveMs, keepAliveIntervalMs, keepAliveProbes, idleMs } = this.options;
    if (now - this.progressAt >= idleMs) {
      this.sendReset();
      return this.close("timeout");
    }
    if (now - this.heardAt >= keepAliveMs && this.nxt === this.una) {
      if (this.probes >= keepAliveProbes) {
        this.sendReset();
        return this.close("timeout");
      }
      this.probes++;
      // RFC 9293, 3.8.4: an old sequence number and no data.
      this.lower.send(advance(this.una, -1), this.next, FLAG.ack, this.nextWindow(), null, null, 0, 0);
      return this.slowTimer.set(Math.min(keepAliveIntervalMs, Math.max(1, this.progressAt + idleMs - now)));
    }
    this.setSlowTimer();
  }

  private setSlowTimer(): void {
    const now = this.wheel.now();
    const ask = Math.max(this.heardAt + this.options.keepAliveMs, now + this.options.keepAliveIntervalMs / 4);
    this.slowTimer.set(Math.max(1, Math.min(ask, this.progressAt + this.options.idleMs) - now));
  }

  private start(state: TcpState): void {
    this.state = state;
    const now = this.wheel.now();
    this.heardAt = now;
    this.progressAt = now;
    this.lastSentAt = now;
  }

  private enterTimeWait(): void {
    this.state = "TIME-WAIT";
    this.retransmitTimer.clear();
    this.queue.clear();
    this.slowTimer.set(this.options.timeWaitMs);
    this.upper.onClose("closed");
  }

  private get closed(): boolean {
    return this.state === "CLOSED";
  }

  private close(end: TcpEnd): void {
    const wasTimeWait = this.state === "TIME-WAIT";
    this.state = "CLOSED";
    this.retransmitTimer.discard();
    this.slowTimer.discard();
    this.queue.clear();
    this.outOfOrder.clear();
    this.scoreboard.clear();
    this.lower.gone();
    if (!wasTimeWait) this.upper.onClose(end);
  }
}
