/**
 * Asks the host's resolvers with the guest's own message: all types of records, and whatever is invented next.
 *
 * Each query over UDP has a socket of its own, so a port of its own, and an identifier of ours: an answer must come from
 * the server that was asked, to that port, with that identifier and that question (RFC 5452). A truncated one is
 * fetched again over TCP (RFC 7766).
 */
import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { getServers } from "node:dns";
import { connect, isIPv6 } from "node:net";
import { answers, type DnsMessage, decodeDns } from "./dns-message.ts";
import { copyOf, getU16, setU16 } from "./words.ts";

export interface Resolver {
  /**
   * @param query is not changed
   * @returns the answer, with the query's identifier
   * @throws Error "Cannot resolve …"
   */
  ask(query: Uint8Array, transport: "udp" | "tcp"): Promise<Uint8Array>;
}

export interface ResolverOptions {
  /** "192.0.2.1", "192.0.2.1:5353", "[2001:db8::1]:53"; the host's when it is not given. */
  servers?: readonly string[];
  /** For each server; they are asked one after the other, twice. */
  timeoutMs?: number;
}

const SERVERS = 3;
const ROUNDS = 2;

export function createResolver(options: ResolverOptions = {}): Resolver {
  const timeoutMs = options.timeoutMs ?? 1500;
  return {
    async ask(query, transport) {
      const asked = decodeDns(query);
      if (!asked) throw new Error("Cannot resolve a broken question");
      const servers = (options.servers ?? getServers()).slice(0, SERVERS).map(readServer);
      if (servers.length === 0) throw new Error(`Cannot resolve ${asked.name}: the host has no resolver`);
      let why = "";
      for (let round = 0; round < ROUNDS; round++)
        for (const server of servers) {
          try {
            if (transport === "tcp") return await askTcp(server, query, asked, timeoutMs * 2);
            const answer = await askUdp(server, query, asked, timeoutMs);
            if (!decodeDns(answer)?.isTruncated) return answer;
            // A server that has no TCP leaves the truncated answer, which is true as well.
            return await askTcp(server, query, asked, timeoutMs).catch(() => answer);
          } catch (error) {
            why = error instanceof Error ? error.message : String(error);
          }
        }
      throw new Error(`Cannot resolve ${asked.name}: ${why}`);
    },
  };
}

interface Server {
  address: string;
  port: number;
}

function readServer(text: string): Server {
  const match = /^\[(.+)\](?::(\d+))?$/.exec(text) ?? /^([\d.]+):(\d+)$/.exec(text);
  return { address: match?.[1] ?? text, port: Number(match?.[2] ?? 53) };
}

function withId(message: Uint8Array, id: number): Uint8Array {
  const copy = copyOf(message);
  setU16(copy, 0, id);
  return copy;
}

function askUdp(server: Server, query: Uint8Array, asked: DnsMessage, timeoutMs: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const id = randomInt(0x10000);
    const socket = createSocket({
      type: isIPv6(server.address) ? "udp6" : "udp4",
      // It is an address already: nothing is to be looked up.
      lookup: (name, _options, callback) => callback(null, name, isIPv6(name) ? 6 : 4),
    });
    const finish = (error: Error | null, answer?: Uint8Array): void => {
      clearTimeout(timer);
      socket.removeAllListeners();
      socket.on("error", () => {});
      socket.close();
      if (answer) resolve(answer);
      else reject(error);
    };
    const timer = setTimeout(() => finish(new Error(`${server.address} does not answer`)), timeoutMs);
    socket.on("error", (error) => finish(new Error(`${server.address}: ${error.message}`)));
    socket.on("message", (message) => {
      // A forged one does not end the wait for the right one.
      if (message.length < 12 || getU16(message, 0) !== id || !answers(query, asked, message)) return;
      finish(null, withId(message, asked.id));
    });
    // Connected: the kernel drops what does not come from this server, and tells when nobody listens there.
    socket.connect(server.port, server.address, () => {
      socket.send(withId(query, id), (error) => {
        if (error) finish(error);
      });
    });
  });
}

function askTcp(server: Server, query: Uint8Array, asked: DnsMessage, timeoutMs: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const id = randomInt(0x10000);
    let received = Buffer.alloc(0);
    const socket = connect({ host: server.address, port: server.port });
    const finish = (error: Error | null, answer?: Uint8Array): void => {
      clearTimeout(timer);
      socket.destroy();
      if (answer) resolve(answer);
      else reject(error);
    };
    const timer = setTimeout(() => finish(new Error(`${server.address} does not answer over TCP`)), timeoutMs);
    socket.on("error", (error) => finish(new Error(`${server.address}: ${error.message}`)));
    socket.on("end", () => finish(new Error(`${server.address} ended the connection without an answer`)));
    socket.on("connect", () => {
      const message = Buffer.alloc(2 + query.length);
      message.writeUInt16BE(query.length);
      message.set(withId(query, id), 2);
      socket.write(message);
    });
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2) return;
      const length = received.readUInt16BE(0);
      if (received.length < 2 + length) return;
      const answer = received.subarray(2, 2 + length);
      if (length < 12 || getU16(answer, 0) !== id || !answers(query, asked, answer))
        return finish(new Error(`${server.address} answered something else`));
      finish(null, withId(answer, asked.id));
    });
  });
}
