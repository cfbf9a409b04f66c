/**
 * Who may connect: by Origin and Host (so that no other web page uses a relay through its visitors), by token, and by how many
 * are here already.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { type Cidr, contains, formatAddress, parseAddress, unmap } from "./addresses.ts";
import { CLOSE, type ControlError, readRoom, SESSION_PROTOCOL, SUBPROTOCOL, TOKEN_PROTOCOL } from "./control.ts";
import type { RelayLimits } from "./options.ts";
import type { Household } from "./quota.ts";

export interface AdmissionOptions {
  /** Origins besides the relay's own: "https://example.org", or "*" for all. */
  origins: readonly string[];
  /** A secret that clients must know; null: none. */
  token: string | null;
  /**
   * Whether a name in the Host header must be this machine's. A page whose name is made to resolve to 127.0.0.1 later
   * ("DNS rebinding") is same-origin with itself; a public relay has nothing to lose by it.
   */
  localNamesOnly: boolean;
  /** What the operator called this machine. */
  host: string;
  /** Proxies whose X-Forwarded-For and -Proto are believed. */
  trustedProxies: readonly Cidr[];
  limits: Pick<RelayLimits, "guests" | "guestsPerAddress">;
}

export interface Visit {
  address: string;
  scheme: "http" | "https";
  host: string;
}

/** Who is here when somebody comes. */
export interface Crowd {
  isClosing: boolean;
  guests: number;
  /** Of the address it comes from; null: there are too many of them. */
  household: Household | null;
  /** It takes a guest's broken connection up again. */
  isResumed: boolean;
}

/** Why somebody is not let in. */
export interface Rejection {
  /** Of HTTP, or for a client of the control protocol the code with which its websocket is closed. */
  status: number;
  code: number;
  /** A word for log and metrics, and a sentence for people. */
  reason: string;
  text: string;
}

export class Admission {
  constructor(private readonly options: AdmissionOptions) {}

  /** Counts an attempt to connect. @returns null when it is let in */
  refuse(request: IncomingMessage, visit: Visit, wishes: Wishes, crowd: Crowd): Rejection | null {
    const { limits } = this.options;
    const { household } = crowd;
    const rejection = (status: number, code: number, reason: string, text: string) => ({ status, code, reason, text });
    if (crowd.isClosing) return rejection(503, CLOSE.shuttingDown, "closing", "The relay is shutting down");
    const host = this.refuseHost(visit.host);
    if (host) return rejection(403, CLOSE.forbidden, "host", host);
    const origin = this.refuseOrigin(request.headers.origin, visit);
    if (origin) return rejection(403, CLOSE.forbidden, "origin", origin);
    // Guesses at the token are connections too, so they are counted before it is looked at.
    if (!household?.connections.tryTake())
      return rejection(
        429,
        CLOSE.tooMany,
        "rate",
        "Cannot connect: too many connections in a short time; wait a minute",
      );
    const token = this.refuseToken(wishes.token);
    if (token) return rejection(401, CLOSE.unauthorized, "token", token);
    if (crowd.isResumed) return null;
    if (household.guests >= limits.guestsPerAddress)
      return rejection(
        429,
        CLOSE.tooMany,
        "address",
        `Cannot connect: there are ${household.guests} guests from your address, and no more are allowed`,
      );
    if (crowd.guests >= limits.guests)
      return rejection(503, CLOSE.full, "full", `Cannot connect: the relay has ${limits.guests} guests and is full`);
    if (wishes.room)
      try {
        readRoom(wishes.room.room, wishes.room.secret);
      } catch (error) {
        return rejection(400, CLOSE.forbidden, "room", (error as ControlError).message);
      }
    return null;
  }

  /** Where a request comes from, in truth or in the words of a proxy that is trusted. */
  visit(request: IncomingMessage): Visit {
    const { headers, socket } = request;
    let address = plain(socket.remoteAddress ?? "");
    const isBehindProxy = this.isTrusted(address);
    if (isBehindProxy) {
      // Each proxy adds whom it has seen at the end. The last one that is not ours is the visitor; all before are its words.
      const hops = String(headers["x-forwarded-for"] ?? "").split(",");
      for (let i = hops.length - 1; i >= 0 && this.isTrusted(address); i--) {
        const hop = plain((hops[i] as string).trim());
        if (isIP(hop) === 0) break;
        address = hop;
      }
    }
    const proto = String(headers["x-forwarded-proto"] ?? "")
      .split(",")
      .at(-1)
      ?.trim();
    return { address, scheme: isBehindProxy && proto === "https" ? "https" : "http", host: headers.host ?? "" };
  }

  /** @returns why not, or null */
  refuseHost(host: string): string | null {
    if (!this.options.localNamesOnly) return null;
    const name = hostName(host);
    if (name === "localhost" || name.endsWith(".localhost") || isIP(name) !== 0 || name === this.options.host)
      return null;
    if (this.options.origins.some((origin) => origin !== "*" && hostName(origin.replace(/^\w+:\/\//, "")) === name))
      return null;
    return "Cannot serve this name: the relay is for this computer only; start it with --public, or name --origin";
  }

  /** Programs that are no browsers send no Origin; browsers always do, and pages cannot change it. */
  private refuseOrigin(origin: string | undefined, visit: Visit): string | null {
    if (origin === undefined) return null;
    const { origins } = this.options;
    if (origins.includes("*") || origins.includes(origin.toLowerCase())) return null;
    // The scheme may differ: a proxy that is not trusted to say so may have ended TLS.
    const [, scheme, host] = /^(https?):\/\/(.+)$/.exec(origin.toLowerCase()) ?? [];
    if (scheme && host && withPort(host, scheme) === withPort(visit.host.toLowerCase(), scheme)) return null;
    return "Cannot connect from this page: its origin is not allowed here (--origin)";
  }

  private refuseToken(given: string | null): string | null {
    const { token } = this.options;
    if (token === null) return null;
    if (given === null) return "Cannot connect: this relay wants a token";
    return isSame(given, token) ? null : "Cannot connect: the token is wrong";
  }

  private isTrusted(address: string): boolean {
    const parsed = parseAddress(address);
    return parsed !== null && this.options.trustedProxies.some((cidr) => contains(cidr, unmap(parsed)));
  }
}

/** What a client says in Sec-WebSocket-Protocol and in the query. */
export interface Wishes {
  /** It speaks the control protocol. */
  control: boolean;
  token: string | null;
  /** A broken connection to take up again. */
  session: string | null;
  room: { room: string; secret: string } | null;
}

export function readWishes(request: IncomingMessage): Wishes {
  const offered = String(request.headers["sec-websocket-protocol"] ?? "")
    .split(",")
    .map((protocol) => protocol.trim());
  const behind = (prefix: string): string | null =>
    offered.find((protocol) => protocol.startsWith(prefix))?.slice(prefix.length) ?? null;
  const query = new URLSearchParams((request.url ?? "").split("?")[1] ?? "");
  const encoded = behind(TOKEN_PROTOCOL);
  const room = query.get("room");
  return {
    control: offered.includes(SUBPROTOCOL),
    token: encoded === null ? query.get("token") : Buffer.from(encoded, "base64url").toString(),
    session: behind(SESSION_PROTOCOL),
    room: room === null ? null : { room, secret: query.get("secret") ?? "" },
  };
}

/** Compares secrets in a time that tells nothing: hashes have one length, whatever the secrets have. */
export function isSame(a: string, b: string): boolean {
  const [one, other] = [a, b].map((text) => createHash("sha256").update(text).digest()) as [Buffer, Buffer];
  return timingSafeEqual(one, other);
}

function plain(address: string): string {
  const parsed = parseAddress(address.replace(/^\[|\]$/g, ""));
  return parsed ? formatAddress(unmap(parsed)) : address;
}

export function hostName(host: string): string {
  return host
    .toLowerCase()
    .replace(/:\d+$/, "")
    .replace(/^\[(.*)\]$/, "$1");
}

function withPort(host: string, scheme: string): string {
  return /:\d+$/.test(host) ? host : `${host}:${scheme === "https" ? 443 : 80}`;
}
