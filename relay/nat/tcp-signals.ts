/** The segments of a TCP connection that carry no data: SYN, acknowledgements, questions, resets. */
import { advance } from "./sequence.ts";
import type { TcpLower } from "./tcp-layers.ts";
import type { Receiver } from "./tcp-receiver.ts";
import { FLAG, type Segment } from "./tcp-segment.ts";
import type { Sender } from "./tcp-sender.ts";

/** Between two acknowledgements of segments that make no sense (RFC 5961, section 7). */
const CHALLENGE_MS = 100;

export class Signals {
  private challengedAt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly lower: TcpLower,
    private readonly sender: Sender,
    private readonly receiver: Receiver,
  ) {}

  /** @param isAnswer the guest's SYN has come */
  syn(isAnswer: boolean): void {
    const { next, synWindow } = this.receiver;
    const flags = FLAG.syn | (isAnswer ? FLAG.ack : 0);
    const options = this.receiver.synOptions(isAnswer);
    this.lower.send(this.sender.sendSyn(), isAnswer ? next : 0, flags, synWindow, options, null, 0, 0);
  }

  ack(): void {
    const { sender, receiver } = this;
    const window = receiver.announce();
    this.lower.send(sender.acceptable, receiver.next, FLAG.ack, window, receiver.sack(), null, 0, 0);
  }

  /** Acknowledges a segment that makes no sense, so that an honest guest can put it right; not too often. */
  challenge(now: number): void {
    if (now - this.challengedAt < CHALLENGE_MS) return;
    this.challengedAt = now;
    this.ack();
  }

  /**
   * Asks for an acknowledgement: an old sequence number, which the guest must answer (RFC 9293, 3.8.4), does it without a
   * byte that would then be half sent.
   */
  ask(): void {
    const seq = advance(this.sender.flight.una, -1);
    this.lower.send(seq, this.receiver.next, FLAG.ack, this.receiver.windowField(), null, null, 0, 0);
  }

  reset(): void {
    this.lower.send(this.sender.acceptable, this.receiver.next, FLAG.rst | FLAG.ack, 0, null, null, 0, 0);
  }

  /** Resets whatever has sent a segment that acknowledges what was never sent (RFC 9293, 3.10.7.3 and 3.10.7.4). */
  refuse(segment: Segment): void {
    this.lower.send(segment.ack, 0, FLAG.rst, 0, null, null, 0, 0);
  }
}
