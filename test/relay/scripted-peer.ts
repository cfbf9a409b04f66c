/** A guest's TCP that does what a test tells it, a clock that a test turns, and notes of everything that happens. */

import type { SendQueue } from "../../relay/nat/send-queue.ts";
import { advance } from "../../relay/nat/sequence.ts";
import { TcpConnection } from "../../relay/nat/tcp.ts";
import type { TcpEnd } from "../../relay/nat/tcp-layers.ts";
import { TCP_DEFAULTS, type TcpOptions } from "../../relay/nat/tcp-options.ts";
import { FLAG, Segment } from "../../relay/nat/tcp-segment.ts";
import { type Clock, TimerWheel } from "../../relay/nat/timers.ts";

export class VirtualClock implements Clock {
  time = 1_000_000;
  private waiting: { at: number; callback: () => void }[] = [];

  now(): number {
    return this.time;
  }

  after(ms: number, callback: () => void): () => void {
    const entry = { at: this.time + ms, callback };
    this.waiting.push(entry);
    return () => {
      this.waiting = this.waiting.filter((other) => other !== entry);
    };
  }

  /** Lets time pass, and all that falls due happen in its order. */
  pass(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      let next: { at: number; callback: () => void } | undefined;
      for (const entry of this.waiting) if (entry.at <= end && (!next || entry.at < next.at)) next = entry;
      if (!next) break;
      const due = next;
      this.waiting = this.waiting.filter((other) => other !== due);
      this.time = Math.max(this.time, due.at);
      due.callback();
    }
    this.time = end;
  }
}

/** What the relay has sent. */
export interface Sent {
  at: number;
  seq: number;
  ack: number;
  flags: string;
  window: number;
  options: Uint8Array | null;
  data: string;
}

const LETTERS = [
  ["F", FLAG.fin],
  ["S", FLAG.syn],
  ["R", FLAG.rst],
  ["P", FLAG.psh],
  ["A", FLAG.ack],
] as const;

export const ISS = 5000;
export const PEER = 90_000;

export interface PeerSyn {
  mss?: number | null;
  windowScale?: number | null;
  sackPermitted?: boolean;
  window?: number;
}

export class Peer {
  readonly clock = new VirtualClock();
  readonly wheel = new TimerWheel(this.clock);
  readonly connection: TcpConnection;
  sent: Sent[] = [];
  received = "";
  events: string[] = [];
  end: TcpEnd | null = null;
  isGone = false;
  blocked = false;
  /** Acts as a reader that takes nothing when false. */
  consumes = true;
  /** Of the peer: where its next byte goes, and its window field. */
  seq: number;
  window = 65535;
  iss: number;
  private scheduled = false;
  /** The connection asked for its end of a turn later, and not for the one of this turn. */
  waitsLonger = false;

  constructor(
    options: Partial<TcpOptions> = {},
    readonly irs = PEER,
  ) {
    this.iss = options.initialSequence ?? ISS;
    this.seq = irs;
    const isBlocked = (): boolean => this.blocked;
    this.connection = new TcpConnection(
      {
        send: (seq, ack, flags, window, opts, queue, offset, length) => {
          const letters = LETTERS.filter(([, bit]) => flags & bit).map(([letter]) => letter);
          this.sent.push({
            at: this.clock.time,
            seq,
            ack,
            flags: letters.join(""),
            window,
            options: opts,
            data: read(queue, offset, length),
          });
        },
        get blocked(): boolean {
          return isBlocked();
        },
        schedule: (isLater) => {
          this.waitsLonger = isLater && (this.waitsLonger || !this.scheduled);
          this.scheduled = true;
        },
        gone: () => {
          this.isGone = true;
        },
      },
      {
        onOpen: () => void this.events.push("open"),
        onData: (bytes, start, end) => {
          this.received += Buffer.from(bytes.subarray(start, end)).toString("latin1");
          // At once is the hardest case: a socket does it later.
          if (this.consumes) this.connection.consumed(end - start);
        },
        onEnd: () => void this.events.push("end"),
        onFlush: () => {},
        onWritable: () => void this.events.push("writable"),
        onClose: (end) => {
          this.end = end;
          this.events.push(`close ${end}`);
        },
      },
      this.wheel,
      { ...TCP_DEFAULTS, initialSequence: this.iss, ...options },
    );
  }

  get state(): string {
    return this.connection.state;
  }

  /** The end of the event loop's turn. */
  turn(): void {
    while (this.scheduled) {
      this.scheduled = false;
      this.waitsLonger = false;
      this.connection.flush();
    }
  }

  /** What was sent since the last call. */
  take(): Sent[] {
    this.turn();
    const sent = this.sent;
    this.sent = [];
    return sent;
  }

  /** The same, to be compared: "A 5001 90001", "PA 5001 90001 hello". */
  brief(): string[] {
    return this.take().map(({ seq, ack, flags, data }) => `${flags} ${seq} ${ack}${data && ` ${data}`}`);
  }

  /** Gives the relay a segment. */
  give(flags: string, fields: { seq?: number; ack?: number; data?: string; sack?: number[] } & PeerSyn = {}): void {
    const segment = new Segment();
    const data = Buffer.from(fields.data ?? "", "latin1");
    segment.seq = fields.seq ?? this.seq;
    segment.ack = fields.ack ?? 0;
    segment.flags = 0;
    for (const [letter, bit] of LETTERS) if (flags.includes(letter)) segment.flags |= bit;
    segment.window = fields.window ?? this.window;
    segment.mss = fields.mss ?? null;
    segment.windowScale = fields.windowScale ?? null;
    segment.sackPermitted = fields.sackPermitted ?? false;
    segment.sack.set(fields.sack ?? []);
    segment.sackCount = (fields.sack?.length ?? 0) / 2;
    segment.bytes = data;
    segment.start = 0;
    segment.end = data.length;
    const extent = data.length + (flags.includes("S") ? 1 : 0) + (flags.includes("F") ? 1 : 0);
    if (fields.seq === undefined) this.seq = advance(this.seq, extent);
    this.connection.receive(segment);
  }

  /** The guest opens, and the relay's connection is established. */
  open(syn: PeerSyn = {}): this {
    const segment = new Segment();
    segment.seq = this.irs;
    segment.flags = FLAG.syn;
    segment.window = syn.window ?? this.window;
    segment.mss = syn.mss === undefined ? 1460 : syn.mss;
    segment.windowScale = syn.windowScale ?? null;
    segment.sackPermitted = syn.sackPermitted ?? false;
    this.connection.accept(segment);
    this.seq = advance(this.irs, 1);
    this.give("A", { ack: advance(this.iss, 1) });
    return this;
  }
}

function read(queue: SendQueue | null, offset: number, length: number): string {
  if (!queue) return "";
  const bytes = Buffer.alloc(length);
  queue.copy(offset, length, bytes, 0);
  return bytes.toString("latin1");
}

/** The first byte of each side, once the connection is open. */
export const A = ISS + 1;
export const B = PEER + 1;
export const MSS = 1460;
/** A full segment of a letter. */
export const full = (letter: string): string => letter.repeat(MSS);

/** The SYN of a guest that offers nothing. */
export function synOf(seq: number): Segment {
  const segment = new Segment();
  segment.seq = seq;
  segment.flags = FLAG.syn;
  segment.window = 65535;
  return segment;
}

/** A peer that is connected; what was said for that is forgotten. */
export function opened(
  syn: Parameters<Peer["open"]>[0] = {},
  options: ConstructorParameters<typeof Peer>[0] = {},
): Peer {
  const peer = new Peer(options).open(syn);
  peer.take();
  return peer;
}

/** The ranges of a SACK option that stands behind two paddings. */
export function sackOf(options: Uint8Array | null | undefined): number[] | null {
  if (options?.[2] !== 5) return null;
  const view = new DataView(options.buffer, options.byteOffset, options.byteLength);
  return Array.from({ length: (options.length - 4) / 4 }, (_, i) => view.getUint32(4 + 4 * i));
}

export const text = (string: string): Uint8Array => Buffer.from(string, "latin1");
