/**
 * The sending side of a TCP connection: what is written to it leaves in segments, as fast as the guest's window
 * (RFC 9293, 3.8.6) and the way to it (RFC 5681) allow, and again when it is lost, at once or after a time (RFC 6298).
 * Each segment carries what the receiving side has to tell.
 */
import { Congestion } from "./congestion.ts";
import { Flight } from "./flight.ts";
import { LEAST_QUESTIONS, type Liveness } from "./liveness.ts";
import { RoundTrip } from "./round-trip.ts";
import { SendQueue } from "./send-queue.ts";
import { advance, distance } from "./sequence.ts";
import type { TcpLower } from "./tcp-layers.ts";
import type { TcpOptions } from "./tcp-options.ts";
import type { Receiver } from "./tcp-receiver.ts";
import { FLAG, type Segment } from "./tcp-segment.ts";
import type { Timer } from "./timers.ts";

/**
 * The longest wait between two questions about a closed window. The news that it is open may be lost, and the guest is one
 * hop away: the minute that RFC 9293 would allow would be felt, a frame in some seconds is not.
 */
const PROBE_MS = 5000;

export class Sender {
  readonly flight: Flight;
  /** Nothing may be written any more, and once all is sent a FIN follows. */
  finWanted = false;
  finSent = false;
  /** Bytes from `flight.una` on: those on the way, and those that wait. */
  private readonly queue = new SendQueue();
  private readonly congestion = new Congestion();
  private readonly roundTrip = new RoundTrip();
  private mss = 0;

  // What the guest allows: SND.WND, the largest there was, SND.WL1 and SND.WL2 (RFC 9293, 3.3.1 and 3.8.6.2.1).
  private window = 0;
  private largestWindow = 0;
  private windowSeq = 0;
  private windowAck = 0;
  private windowScale = 0;

  /** The segment whose round trip is measured; -1: none. */
  private timedAt = -1;
  private timedSeq = 0;
  private lastSentAt = 0;
  /** Since something was acknowledged. */
  private timeouts = 0;
  private firstTimeoutAt = 0;

  /** @param timer upon which `timedOut()` is called, or in the handshake `handshakeTimedOut()` */
  constructor(
    private readonly lower: TcpLower,
    private readonly receiver: Pick<Receiver, "next" | "announce">,
    private readonly liveness: Liveness,
    private readonly clock: { now(): number },
    private readonly timer: Timer,
    private readonly options: Pick<TcpOptions, "sendBuffer" | "giveUpMs" | "handshakeMs" | "initialSequence">,
  ) {
    this.flight = new Flight(options.initialSequence >>> 0);
  }

  // --- The handshake ------------------------------------------------------------------------------------------------

  /** A SYN is about to be sent, for the first time or again. @returns its number */
  sendSyn(): number {
    if (this.flight.size === 0) {
      this.flight.send(1);
      this.timedAt = this.clock.now();
      this.lastSentAt = this.timedAt;
    } else this.timedAt = -1;
    this.timer.set(this.roundTrip.timeoutMs);
    return this.flight.una;
  }

  /** @returns whether the SYN is to be sent again; otherwise it was often and long enough */
  handshakeTimedOut(now: number): boolean {
    this.roundTrip.backOff();
    return !this.liveness.isGivenUp(now, this.options.handshakeMs);
  }

  /** The guest's SYN. @param mss what a full segment of the connection has */
  open(syn: Segment, mss: number): void {
    this.mss = mss;
    this.congestion.start(mss);
    this.flight.open(mss, syn.sackPermitted);
    // Scaling is on when both sides offer it; ours always does when it is asked.
    this.windowScale = syn.windowScale ?? 0;
    this.window = syn.window;
  }

  /** Our SYN is acknowledged. */
  establish(segment: Segment, now: number): void {
    this.flight.acknowledge(segment.ack, 1);
    // The window of a SYN is not scaled (RFC 7323, 2.2).
    this.takeWindow(segment, segment.window << (segment.flags & FLAG.syn ? 0 : this.windowScale));
    if (this.timedAt >= 0) this.roundTrip.sample(now - this.timedAt);
    this.timedAt = -1;
    this.timer.clear();
  }

  // --- What is written ----------------------------------------------------------------------------------------------

  /** Bytes that may be written now; more than that is taken too, but should not be given. */
  get room(): number {
    return Math.max(0, this.options.sendBuffer - this.queue.length);
  }

  /** Bytes that were written and are not acknowledged. */
  get length(): number {
    return this.queue.length;
  }

  /** Takes a copy of the bytes; `output()` sends them. */
  write(bytes: Uint8Array): void {
    this.queue.push(bytes);
  }

  /** Gives all up. */
  clear(): void {
    this.queue.clear();
  }

  // --- What is acknowledged -----------------------------------------------------------------------------------------

  /**
   * Takes acknowledgements and window of a segment. `output()` is to follow, except after an old one.
   * @returns what it is: `absurd` when it cannot be of this connection, as it acknowledges what was not sent yet, or what
   * was long ago (RFC 5961, 5.2); `old`, `same`, or `new` when it acknowledges something
   */
  receive(segment: Segment, now: number): "absurd" | "old" | "same" | "new" {
    const { flight } = this;
    const acknowledged = distance(segment.ack, flight.una);
    const { size } = flight;
    if (acknowledged > size || acknowledged < -this.largestWindow) return "absurd";
    if (acknowledged < 0) return "old";
    const window = segment.window << this.windowScale;
    const isDuplicate = flight.sack(segment, window === this.window) && acknowledged === 0 && size > 0;
    const isNewer = distance(segment.seq, this.windowSeq);
    if (isNewer > 0 || (isNewer === 0 && distance(segment.ack, this.windowAck) >= 0)) {
      if (this.window === 0 && window > 0) this.roundTrip.resetBackOff();
      this.takeWindow(segment, window);
    }
    if (acknowledged > 0) {
      this.acknowledge(segment.ack, acknowledged, now);
      return "new";
    }
    if (isDuplicate) this.duplicate();
    return "same";
  }

  private takeWindow(segment: Segment, window: number): void {
    this.window = window;
    if (window > this.largestWindow) this.largestWindow = window;
    this.windowSeq = segment.seq;
    this.windowAck = segment.ack;
  }

  private acknowledge(ack: number, bytes: number, now: number): void {
    const { flight } = this;
    this.queue.drop(Math.min(bytes, this.queue.length));
    this.liveness.progressAt = now;
    this.timeouts = 0;
    if (this.timedAt >= 0 && distance(ack, this.timedSeq) > 0) {
      this.roundTrip.sample(now - this.timedAt);
      this.timedAt = -1;
    }
    flight.acknowledge(ack, bytes);
    if (flight.recovery !== "none") this.roundTrip.ease();
    if (flight.recovery !== "fast") this.congestion.acknowledged(bytes, this.options.sendBuffer);
    if (flight.detectLoss()) this.beginRecovery();
    if (ack === flight.nxt) this.timer.clear();
    else this.timer.set(this.patienceMs);
  }

  private duplicate(): void {
    const { flight } = this;
    flight.duplicate();
    if (flight.detectLoss()) this.beginRecovery();
    else if (flight.isLostAgain && !this.lower.blocked) {
      this.congestion.lost(flight.size);
      this.repeat(flight.una, flight.repeatFirst());
      this.timer.set(this.roundTrip.timeoutMs);
    }
  }

  private beginRecovery(): void {
    this.congestion.lost(this.flight.size);
    this.timedAt = -1;
    if (!this.lower.blocked) this.repeatLost();
  }

  // --- What is sent -------------------------------------------------------------------------------------------------

  /** Sends what may be sent: first what was lost, then new data, then the FIN. */
  output(): void {
    const { flight } = this;
    let isHeldByWindow = false;
    while (!this.lower.blocked) {
      const pipe = flight.pipe();
      if (flight.recovery !== "none" && flight.nextLost() >= 0) {
        if (pipe + this.mss > this.congestion.window && pipe > 0) break;
        this.repeatLost();
        continue;
      }
      const sent = flight.size;
      const waiting = this.queue.length - sent;
      if (this.finSent || (waiting <= 0 && !this.finWanted)) break;
      const usable = this.window - sent;
      const length = Math.min(waiting, this.mss, usable);
      const withFin = this.finWanted && length === waiting && usable > length;
      // Silly windows (RFC 9293, 3.8.6.2.1): less than a segment goes only when it is all there is, or half a window.
      const isSilly = length < this.mss && length < waiting && length < this.largestWindow / 2;
      if ((length <= 0 && !withFin) || isSilly) {
        isHeldByWindow = true;
        break;
      }
      if (pipe + length > this.congestion.window && pipe > 0) break;
      this.sendNew(sent, length, waiting, withFin);
    }
    if (isHeldByWindow && flight.size === 0 && !this.timer.armed) this.timer.set(this.patienceMs);
  }

  /**
   * The number of a segment without data. A guest that has no memory for what is on the way takes its window back; beyond
   * its edge it reads nothing of a segment, not even what is acknowledged (RFC 9293, 3.10.7.4).
   */
  get acceptable(): number {
    const { una, nxt, size } = this.flight;
    return size > this.window ? advance(una, this.window) : nxt;
  }

  /** Nothing is on the way, and nothing waits. */
  get isEmpty(): boolean {
    return this.queue.length === 0 && this.flight.size === 0;
  }

  /** @param offset what is on the way already, behind which it stands */
  private sendNew(offset: number, length: number, waiting: number, withFin: boolean): void {
    const now = this.clock.now();
    if (offset === 0 && now - this.lastSentAt > this.roundTrip.timeoutMs) this.congestion.idle();
    const seq = this.flight.send(length + (withFin ? 1 : 0));
    if (withFin) this.finSent = true;
    if (this.timedAt < 0 && this.flight.recovery === "none") {
      this.timedSeq = seq;
      this.timedAt = now;
    }
    this.lastSentAt = now;
    this.liveness.progressAt = now;
    if (!this.timer.armed || offset === 0) this.timer.set(this.roundTrip.timeoutMs);
    this.transmit(seq, length === waiting && length > 0 ? FLAG.psh : 0, withFin, offset, length);
  }

  private repeatLost(): void {
    const seq = this.flight.nextLost();
    if (seq >= 0) this.repeat(seq, this.flight.repeat(seq));
  }

  private repeat(seq: number, extent: number): void {
    const offset = distance(seq, this.flight.una);
    const length = Math.min(extent, this.queue.length - offset);
    // Karn: the acknowledgement could be that of the first or of the second.
    this.timedAt = -1;
    this.lastSentAt = this.clock.now();
    this.transmit(seq, length > 0 ? FLAG.psh : 0, this.finSent && length < extent, offset, length);
  }

  private transmit(seq: number, push: number, withFin: boolean, offset: number, length: number): void {
    const { next } = this.receiver;
    const flags = FLAG.ack | push | (withFin ? FLAG.fin : 0);
    const queue = length > 0 ? this.queue : null;
    this.lower.send(seq, next, flags, this.receiver.announce(), null, queue, offset, length);
  }

  // --- What is waited for in vain -----------------------------------------------------------------------------------

  /** How long to wait for an acknowledgement, or for the window. */
  private get patienceMs(): number {
    const { timeoutMs } = this.roundTrip;
    return this.window === 0 ? Math.min(PROBE_MS, timeoutMs) : timeoutMs;
  }

  /** @returns `ask`: the guest's window is closed, and it is to be asked for it; `over`: it has not answered for too long */
  timedOut(now: number): "ask" | "over" | "wait" {
    const { flight } = this;
    if (this.lower.blocked) {
      // What was sent has not even left: sending it again would only make the way fuller.
      this.timer.set(this.roundTrip.timeoutMs);
      return "wait";
    }
    if (flight.size === 0) return this.heldTooLong(now);
    if (this.timeouts++ === 0) this.firstTimeoutAt = now;
    // A guest that acknowledges with a closed window is alive (RFC 9293, 3.8.6.1).
    const since = this.window === 0 ? Math.max(this.liveness.heardAt, this.firstTimeoutAt) : this.firstTimeoutAt;
    if (this.timeouts > LEAST_QUESTIONS && now - since >= this.options.giveUpMs) return "over";
    this.congestion.timedOut(flight.size, this.timeouts === 1);
    flight.timedOut(this.timeouts === 1);
    this.roundTrip.backOff();
    this.timer.set(this.patienceMs);
    this.repeatLost();
    return "wait";
  }

  /** The window holds back what there is to send (RFC 9293, 3.8.6.1). */
  private heldTooLong(now: number): "ask" | "over" | "wait" {
    if (this.queue.length === 0 && !this.finWanted) return "wait";
    if (this.liveness.isGivenUp(now, this.options.giveUpMs)) return "over";
    if (this.window > 0) {
      // Held back as too small a piece: after this time it goes as it is.
      const waiting = this.queue.length;
      const length = Math.min(waiting, this.mss, this.window);
      this.sendNew(0, length, waiting, this.finWanted && length === waiting && this.window > length);
      return "wait";
    }
    this.roundTrip.backOff();
    this.timer.set(this.patienceMs);
    return "ask";
  }
}
