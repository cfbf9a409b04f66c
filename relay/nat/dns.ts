/**
 * The guest's resolver: DNS over UDP and TCP (RFC 1035, 4.2; RFC 7766) on port 53 of the subnet's DNS address.
 * Answers are the guest's affair: nothing here trusts them, and the policy is asked with the address of each connection.
 */
import type { Duplex } from "node:stream";
import { DNS_HEADER, decodeDns, makeError, RCODE, truncate } from "./dns-message.ts";
import type { Resolver } from "./dns-resolver.ts";
import { Rate } from "./limits.ts";
import { copyOf } from "./words.ts";

export const DNS_PORT = 53;

/** Queries of one TCP connection that wait at a time. */
const PIPELINED = 8;

export interface DnsServiceOptions {
  resolver: Resolver;
  perSecond: number;
  pending: number;
  now(): number;
  /** A question that was not forwarded or not answered. */
  onRefusal(kind: "limit" | "unreachable", name: string, text: string): void;
}

export class DnsService {
  private readonly rate: Rate;
  private pending = 0;

  constructor(private readonly options: DnsServiceOptions) {
    this.rate = new Rate(options.perSecond, options.now);
  }

  /** @returns the answer to send; null when the message is not a question */
  async ask(query: Uint8Array, transport: "udp" | "tcp"): Promise<Uint8Array | null> {
    if (query.length < DNS_HEADER || (query[2] as number) & 0x80) return null;
    const asked = decodeDns(query);
    if (!asked || asked.questions === 0) return makeError(query, null, RCODE.formatError);
    if (this.pending >= this.options.pending || !this.rate.take()) {
      this.options.onRefusal("limit", asked.name, `Cannot resolve ${asked.name}: too many questions at a time`);
      return makeError(query, asked, RCODE.refused);
    }
    this.pending++;
    try {
      const answer = await this.options.resolver.ask(query, transport);
      return transport === "udp" && answer.length > asked.udpSize ? truncate(answer) : answer;
    } catch (error) {
      this.options.onRefusal("unreachable", asked.name, error instanceof Error ? error.message : String(error));
      return makeError(query, asked, RCODE.serverFailure);
    } finally {
      this.pending--;
    }
  }

  /**
   * Serves a connection: each message is preceded by its length in two bytes. Answers may overtake each other. Who reads
   * none is asked for no more questions.
   */
  serve(stream: Duplex): void {
    let received = Buffer.alloc(0);
    let waiting = 0;
    let ended = false;
    const finish = (): void => {
      if (ended && waiting === 0) stream.end();
    };
    const read = (): void => {
      while (waiting < PIPELINED && !stream.writableNeedDrain && received.length >= 2) {
        const length = received.readUInt16BE(0);
        if (received.length < 2 + length) break;
        const query = copyOf(received, 2, 2 + length);
        received = received.subarray(2 + length);
        waiting++;
        void this.ask(query, "tcp").then((answer) => {
          waiting--;
          if (!answer) return stream.destroy();
          if (stream.destroyed) return;
          const head = Buffer.alloc(2);
          head.writeUInt16BE(answer.length);
          stream.write(Buffer.concat([head, answer]));
          read();
          finish();
        });
      }
      if (waiting >= PIPELINED || stream.writableNeedDrain) stream.pause();
      else if (!stream.destroyed) stream.resume();
    };
    stream.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      read();
    });
    stream.on("drain", read);
    stream.on("end", () => {
      ended = true;
      finish();
    });
    stream.on("error", () => {});
  }
}
