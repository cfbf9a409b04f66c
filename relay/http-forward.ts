/**
 * Passes HTTP requests and websocket upgrades on to a server in a guest (RFC 9110, section 7; RFC 9112), both bodies as
 * they come. What a guest answers is untrusted: it has an origin of its own, and may not reach beyond that by headers.
 *
 * Limitations: a connection of its own for each request; no trailers, no informational answers but 101.
 */
import type { EventEmitter } from "node:events";
import {
  type ClientRequest,
  request as httpRequest,
  type IncomingMessage,
  ServerResponse,
  STATUS_CODES,
} from "node:http";
import type { Socket } from "node:net";
import { type Duplex, finished, pipeline } from "node:stream";

export interface HttpTarget {
  guestPort: number;
  /** @throws Error "Cannot connect to the guest's port 80: …" */
  connect(signal: AbortSignal): Promise<Duplex>;
  /** Counts a request; false when there are too many. */
  begin(): boolean;
  end(): void;
  /** Ends with the forward. */
  readonly signal: AbortSignal;
}

export interface Visitor {
  address: string;
  scheme: "http" | "https";
}

/** How long a visitor is silent before the system asks whether it is there: one whose computer has gone must not hold a place. */
export const KEEP_ALIVE_MS = 60_000;
const CONNECT_MS = 10_000;
/** A server that answers nothing at all for so long is given up. */
const ANSWER_MS = 300_000;

/** RFC 9110, 7.6.1, and what only concerns a proxy. */
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
/** The relay says these itself; a visitor's own would be lies. */
const FROM_RELAY = new Set(["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "via", "expect"]);
/** Answers that would reach beyond the guest's origin: other ports of the host, other hosts of the domain. */
const BEYOND = new Set(["alt-svc", "clear-site-data", "strict-transport-security", "public-key-pins"]);

export function forwardRequest(
  target: HttpTarget,
  visitor: Visitor,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  open(target, visitor, request, response, (...problem) => sayProblem(response, ...problem))
    .then((outward) => {
      if (!outward) return;
      outward.on("response", (answer) => passAnswer(answer, response));
      pipeline(request, outward, () => {});
    })
    // Words of the visitor that Node takes and does not give.
    .catch(() => sayProblem(response, 400, "Cannot pass this request on"));
}

export function forwardUpgrade(
  target: HttpTarget,
  visitor: Visitor,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): void {
  socket.on("error", () => socket.destroy());
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket as Socket);
  response.on("finish", () => socket.end());
  open(target, visitor, request, socket, (...problem) => sayProblem(response, ...problem))
    .then((outward) => {
      if (!outward) return;
      outward.on("response", (answer) => passAnswer(answer, response));
      outward.on("upgrade", (answer, guest, guestHead) => {
        response.detachSocket(socket as Socket);
        const lines = [`HTTP/1.1 101 ${answer.statusMessage}`, "Connection: Upgrade"];
        if (answer.headers.upgrade) lines.push(`Upgrade: ${answer.headers.upgrade}`);
        const headers = answerHeaders(answer);
        for (let i = 0; i < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
        socket.write(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
        if (guestHead.length > 0) socket.write(guestHead);
        if (head.length > 0) guest.write(head);
        splice(socket, guest);
      });
      outward.end();
    })
    .catch(() => sayProblem(response, 400, "Cannot pass this request on"));
}

function passAnswer(answer: IncomingMessage, response: ServerResponse): void {
  try {
    response.writeHead(answer.statusCode as number, answer.statusMessage, answerHeaders(answer));
  } catch {
    // A status of 099, a reason with control characters: the parser takes more than the writer gives.
    answer.destroy();
    sayProblem(response, 502, "Cannot show the guest's answer: its head is broken");
    return;
  }
  // A stream of events shows that it is there before its first event.
  response.flushHeaders();
  pipeline(answer, response, () => {});
}

/** Connects two streams in both directions; each may end its own, and what breaks one breaks the other. */
export function splice(a: Duplex, b: Duplex): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.on("error", () => {});
    from.pipe(to);
    finished(from, (error) => {
      if (error) to.destroy();
    });
  }
}

/**
 * Begins the request to the guest.
 * @param visitorEnd closes when the visitor goes
 * @returns null when it could not be, which has been told then
 */
async function open(
  target: HttpTarget,
  visitor: Visitor,
  request: IncomingMessage,
  visitorEnd: EventEmitter,
  fail: (status: number, text: string) => void,
): Promise<ClientRequest | null> {
  if (!target.begin()) {
    fail(503, "Cannot reach the guest: too many requests to it are under way");
    return null;
  }
  const connecting = new AbortController();
  let guest: Duplex | null = null;
  const abort = (): void => {
    connecting.abort();
    guest?.destroy();
  };
  const end = (): void => {
    target.signal.removeEventListener("abort", abort);
    visitorEnd.off("close", abort);
    target.end();
  };
  target.signal.addEventListener("abort", abort);
  visitorEnd.on("close", abort);
  const connectTimer = setTimeout(abort, CONNECT_MS);
  try {
    guest = await target.connect(connecting.signal);
  } catch (error) {
    end();
    fail(502, error instanceof Error && error.message.startsWith("Cannot") ? error.message : cannotReach(target));
    return null;
  } finally {
    clearTimeout(connectTimer);
  }
  const stream = guest;
  stream.on("close", end);
  if (connecting.signal.aborted) {
    stream.destroy();
    return null;
  }
  let outward: ClientRequest;
  try {
    outward = httpRequest({
      method: request.method,
      path: request.url,
      headers: requestHeaders(request, visitor) as unknown as string[],
      setHost: false,
      createConnection: () => stream,
    });
  } catch (error) {
    stream.destroy();
    throw error;
  }
  let isAnswered = false;
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    outward.destroy();
  }, ANSWER_MS);
  for (const event of ["response", "upgrade"])
    outward.once(event, () => {
      isAnswered = true;
      clearTimeout(timer);
    });
  outward.on("error", () => {});
  outward.on("close", () => {
    clearTimeout(timer);
    if (isAnswered) return;
    stream.destroy();
    fail(isLate ? 504 : 502, cannotReach(target));
  });
  return outward;
}

function cannotReach(target: HttpTarget): string {
  return `Cannot reach port ${target.guestPort} of the guest: it does not answer, or not in HTTP`;
}

function sayProblem(response: ServerResponse, status: number, text: string): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  // With its reason: a broken one of the guest's may have been left behind.
  response.writeHead(status, STATUS_CODES[status], {
    "Content-Type": "text/plain; charset=utf-8",
    "Cache-Control": "no-store",
    Connection: "close",
  });
  response.end(`${text}\n`);
}

/** Names in `Connection` are hop-by-hop as well. */
function isKept(name: string, connection: string | undefined): boolean {
  const lower = name.toLowerCase();
  if (HOP_BY_HOP.has(lower)) return false;
  return !(connection ?? "")
    .toLowerCase()
    .split(",")
    .some((option) => option.trim() === lower);
}

function requestHeaders(request: IncomingMessage, visitor: Visitor): string[] {
  const { headers, rawHeaders } = request;
  const out: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (isKept(name, headers.connection) && !FROM_RELAY.has(name.toLowerCase()))
      out.push(name, rawHeaders[i + 1] as string);
  }
  out.push(
    ...["X-Forwarded-For", visitor.address],
    ...["X-Forwarded-Host", headers.host ?? ""],
    ...["X-Forwarded-Proto", visitor.scheme],
    ...["Via", `${request.httpVersion} smart-os`],
  );
  if (headers.upgrade !== undefined && hasOption(headers.connection, "upgrade"))
    out.push("Connection", "Upgrade", "Upgrade", headers.upgrade);
  else out.push("Connection", "close");
  // The length is the message's, the chunks are the connection's: they are made again.
  if (headers["transfer-encoding"] !== undefined) out.push("Transfer-Encoding", "chunked");
  else if (headers["content-length"] === undefined && !/^(GET|HEAD|DELETE|OPTIONS|TRACE)$/.test(request.method ?? ""))
    out.push("Content-Length", "0");
  return out;
}

function hasOption(connection: string | undefined, option: string): boolean {
  return (connection ?? "")
    .toLowerCase()
    .split(/\s*,\s*/)
    .includes(option);
}

function answerHeaders(answer: IncomingMessage): string[] {
  const { headers, rawHeaders } = answer;
  const out: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    const value = rawHeaders[i + 1] as string;
    const lower = name.toLowerCase();
    if (!isKept(name, headers.connection) || BEYOND.has(lower)) continue;
    // A cookie for the whole domain would go to other guests and, if the operator chose so, to the playground.
    out.push(name, lower === "set-cookie" ? value.replace(/;\s*domain\s*=[^;]*/gi, "") : value);
  }
  return out;
}
