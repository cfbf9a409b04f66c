/**
 * The control channel: JSON text messages beside the binary frames, spoken with clients that ask for the subprotocol
 * `smart-os-relay.1`. Others (v86's and JSLinux' own clients) get frames only. See docs/relay-protocol.md.
 */
import type { EngineStatistics, Refusal, Subnet } from "./engine.ts";

export const SUBPROTOCOL = "smart-os-relay.1";
/** What follows is the token, in base64url, for whom an address bar is no place for a secret. */
export const TOKEN_PROTOCOL = "smart-os-token.";
/** What follows is `hello.session` of a connection that broke: the guest, its connections and forwards are still there. */
export const SESSION_PROTOCOL = "smart-os-session.";

export const CONTROL_VERSION = 1;

/** Codes of a closed websocket (RFC 6455, 7.4.2: 4000 to 4999 are for applications). The reason is a sentence. */
export const CLOSE = {
  shuttingDown: 1001,
  tooLarge: 1009,
  broken: 1011,
  unauthorized: 4401,
  forbidden: 4403,
  idle: 4408,
  replaced: 4409,
  tooMany: 4429,
  full: 4503,
} as const;

export type ForwardKind = "http" | "tcp" | "udp";

export interface ForwardInfo {
  id: string;
  kind: ForwardKind;
  guestPort: number;
  /** A URL, or HOST:PORT. */
  address: string;
}

/** What the relay asks of a client and grants it. Null: no limit. */
export interface ClientLimits {
  frameBytes: number;
  framesPerSecond: number | null;
  bytesPerSecond: number | null;
  messagesPerSecond: number;
  idleSeconds: number | null;
  totalSeconds: number | null;
  /** How long a broken connection may be taken up again. */
  resumeSeconds: number;
  forwards: number;
  roomMembers: number;
}

export interface RoomInfo {
  name: string;
  /** Guests in it, this one included. */
  members: number;
}

export type Feature = "http-forward" | "tcp-forward" | "udp-forward" | "rooms" | "resume";

export interface GuestStatistics {
  framesSent: number;
  framesReceived: number;
  bytesSent: number;
  bytesReceived: number;
  /** Bytes on their way to the guest that wait in the relay. */
  queuedBytes: number;
  /** Frames the relay did not pass on, by reason. */
  dropped: Readonly<Record<string, number>>;
  engine: EngineStatistics;
}

/** From the relay. Those with an `id` answer the request that had it. */
export type ServerMessage =
  | {
      type: "hello";
      version: typeof CONTROL_VERSION;
      /** Take a broken connection up with it; a secret. */
      session: string;
      resumed: boolean;
      features: readonly Feature[];
      limits: ClientLimits;
      mtu: number;
      subnet: Subnet;
      /** What guests may reach, in words. */
      policy: string;
      forwards: readonly ForwardInfo[];
      room: RoomInfo | null;
    }
  | { type: "forward"; id: number; forward: ForwardInfo }
  | { type: "done"; id: number }
  | { type: "error"; id: number | null; text: string }
  /** `renew`: the guest's address has changed, it must ask DHCP again. */
  | { type: "room"; id: number | null; room: RoomInfo | null; renew: boolean }
  | ({ type: "refusal" } & Refusal)
  | { type: "address"; address: string | null }
  | { type: "statistics"; id: number; statistics: GuestStatistics }
  | { type: "pong"; id: number };

/** From the client. */
export type ClientMessage =
  | { type: "forward"; id: number; kind: ForwardKind; port: number }
  | { type: "unforward"; id: number; forward: string }
  | { type: "join"; id: number; room: string; secret: string }
  | { type: "leave"; id: number }
  | { type: "statistics"; id: number }
  | { type: "ping"; id: number };

const ROOM_NAME = /^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u;

/** @throws Error with a sentence, and `id` when the message had one */
export function decodeControl(text: string): ClientMessage {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ControlError(null, "Cannot read the message: it is no JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new ControlError(null, "Cannot read the message: it is no JSON object");
  const message = value as Record<string, unknown>;
  const { id } = message;
  if (typeof id !== "number" || !Number.isSafeInteger(id) || id < 0)
    throw new ControlError(null, "Cannot read the message: its id must be a whole number from 0");
  const text_ = (name: string): string => {
    const field = message[name];
    if (typeof field !== "string") throw new ControlError(id, `Cannot read the message: its ${name} must be a text`);
    return field;
  };
  switch (message.type) {
    case "forward": {
      const { kind, port } = message;
      if (kind !== "http" && kind !== "tcp" && kind !== "udp")
        throw new ControlError(id, "Cannot forward: the kind must be http, tcp or udp");
      if (typeof port !== "number" || !Number.isInteger(port) || port < 1 || port > 65535)
        throw new ControlError(id, "Cannot forward: the port must be a number from 1 to 65535");
      return { type: "forward", id, kind, port };
    }
    case "unforward":
      return { type: "unforward", id, forward: text_("forward") };
    case "join":
      return { type: "join", id, ...readRoom(text_("room"), text_("secret"), id) };
    case "leave":
    case "statistics":
    case "ping":
      return { type: message.type, id };
    default:
      throw new ControlError(id, "Cannot do that: this relay does not know such a message");
  }
}

/** @throws ControlError "Cannot join the room: …" */
export function readRoom(room: string, secret: string, id: number | null = null): { room: string; secret: string } {
  if (!ROOM_NAME.test(room))
    throw new ControlError(id, "Cannot join the room: its name must be 1 to 64 letters, digits, spaces, dots, - or _");
  if (secret.length < 8 || secret.length > 256)
    throw new ControlError(id, "Cannot join the room: the secret must have 8 to 256 characters");
  return { room, secret };
}

export class ControlError extends Error {
  constructor(
    readonly id: number | null,
    text: string,
  ) {
    super(text);
  }
}
