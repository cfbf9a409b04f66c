/**
 * The relay: one HTTP server for the page, the websockets of guests at /relay, web pages of guests under names of their
 * own, /healthz and /metrics.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import { type WebSocket, WebSocketServer } from "ws";
import { Admission, isSame, readWishes, type Visit, type Wishes } from "./admission.ts";
import { CLOSE, SUBPROTOCOL } from "./control.ts";
import type { Engine, Subnet } from "./engine.ts";
import { FORWARD_LIMITS, type ForwardLimits, Forwards } from "./forwards.ts";
import { forwardRequest, forwardUpgrade, KEEP_ALIVE_MS } from "./http-forward.ts";
import { count, createMetrics, type Metrics, newTotals, type Totals } from "./metrics.ts";
import { makeOffer } from "./offer.ts";
import { describeReach, type RelayOptions } from "./options.ts";
import { type Household, Households } from "./quota.ts";
import { createLocalBus, type RoomBus } from "./room-bus.ts";
import { type RoomLimits, Rooms } from "./rooms.ts";
import { closeWebsocket, Session, type SessionParts } from "./session.ts";

export interface RelayParts {
  engine: Engine;
  subnet: Subnet;
  mtu: number;
  /** Answers for the page's files. */
  site: (request: IncomingMessage, response: ServerResponse) => void;
  /** Answers for websockets of the page's that are not the relay's; without it there are none. */
  upgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  log: Logger;
  /** Without one, rooms are in this process only. */
  bus?: RoomBus;
  roomLimits?: Partial<RoomLimits>;
  forwardLimits?: Partial<ForwardLimits>;
  /** Between two looks at all guests, 1000 by default. */
  tickMs?: number;
}

export interface Relay {
  readonly port: number;
  readonly totals: Readonly<Totals>;
  readonly guests: number;
  /** Ends all connections, with a sentence to each client. */
  close(): Promise<void>;
}

/** The longest message that is read at all: frames and control messages. What is longer ends the connection. */
const MOST_MESSAGE = 2048;
const HEARTBEAT_TICKS = 25;
/** A connection on which nothing at all happens, of a visitor of a guest's page or of ours. */
const SILENT_MS = 600_000;
const CLOSE_MS = 3000;

/** @throws NodeJS.ErrnoException when it cannot listen */
export async function startRelay(options: RelayOptions, parts: RelayParts): Promise<Relay> {
  const relay = new RunningRelay(options, parts);
  await relay.listen();
  return relay;
}

class RunningRelay implements Relay {
  readonly totals = newTotals();
  port = 0;
  private readonly server: Server;
  private readonly websockets: WebSocketServer;
  private readonly admission: Admission;
  private readonly households: Households;
  private readonly forwards: Forwards;
  private readonly rooms: Rooms;
  private readonly bus: RoomBus;
  private readonly metrics: Metrics;
  private readonly sessions = new Map<string, Session>();
  private readonly sessionParts: SessionParts;
  private readonly timer: NodeJS.Timeout;
  private ticks = 0;
  private isClosing = false;
  private readonly startedAt = Date.now();

  constructor(
    private readonly options: RelayOptions,
    private readonly parts: RelayParts,
  ) {
    const { limits } = options;
    this.admission = new Admission({ ...options, localNamesOnly: !options.isPublic, host: options.host ?? "" });
    this.households = new Households(limits);
    this.forwards = new Forwards({
      ports: options.forwardPorts,
      host: options.host,
      domain: options.forwardDomain,
      instance: options.instance,
      limits: { ...FORWARD_LIMITS, forwards: limits.forwards, ...parts.forwardLimits },
    });
    this.bus = parts.bus ?? createLocalBus();
    this.rooms = new Rooms({
      subnet: parts.subnet,
      bus: this.bus,
      limits: { roomMembers: limits.roomMembers, ...parts.roomLimits },
    });
    this.sessionParts = {
      engine: parts.engine,
      rooms: this.rooms,
      forwards: this.forwards,
      limits,
      totals: this.totals,
      subnet: parts.subnet,
      offer: makeOffer(limits, this.forwards, parts.mtu, describeReach(options)),
      onEnd: (session) => this.sessions.delete(session.secret),
    };
    this.metrics = createMetrics(this.totals, {
      guests: () => this.sessions.size,
      waitingGuests: () => this.sum((session) => (session.isWaiting ? 1 : 0)),
      queuedBytes: () => this.sum((session) => (session.isWaiting ? 0 : session.line.queuedBytes)),
      rooms: () => this.rooms.count,
      households: () => this.households.size,
      forwards: () => ({
        http: this.forwards.count("http"),
        tcp: this.forwards.count("tcp"),
        udp: this.forwards.count("udp"),
      }),
      roomFramesLost: () => this.bus.lost,
      roomBusConnected: () => this.bus.isConnected,
    });
    this.websockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      // Frames are small and often compressed or encrypted already; a compressor would cost each guest 300 kB.
      perMessageDeflate: false,
      maxPayload: Math.max(MOST_MESSAGE, this.sessionParts.offer.limits.frameBytes),
      handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    });
    // A long upload to a guest is no attack; headers that do not come are, and so is silence.
    this.server = createServer({ requestTimeout: 0, headersTimeout: 30_000, noDelay: true }, (request, response) =>
      this.request(request, response),
    );
    this.server.setTimeout(SILENT_MS);
    this.server.on("upgrade", (request, socket, head) => this.upgrade(request, socket, head));
    this.timer = setInterval(() => this.tick(), parts.tickMs ?? 1000);
  }

  get guests(): number {
    return this.sessions.size;
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.server.once("error", (error) => {
        clearInterval(this.timer);
        reject(error);
      });
      this.server.listen(this.options.port, this.options.host, () => {
        this.port = (this.server.address() as AddressInfo).port;
        this.server.removeAllListeners("error");
        this.server.on("error", (error) => this.parts.log.error({ problem: error.message }, "server"));
        resolve();
      });
    });
  }

  async close(): Promise<void> {
    if (this.isClosing) return;
    this.isClosing = true;
    clearInterval(this.timer);
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const session of [...this.sessions.values()])
      session.end(CLOSE.shuttingDown, "The relay is shutting down; it may be back soon");
    this.server.closeIdleConnections();
    const timer = setTimeout(() => this.server.closeAllConnections(), CLOSE_MS / 2);
    await Promise.all([this.rooms.close(), this.parts.engine.close()]);
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, CLOSE_MS).unref())]);
    clearTimeout(timer);
    this.server.closeAllConnections();
    this.websockets.close();
  }

  private sum(read: (session: Session) => number): number {
    let sum = 0;
    for (const session of this.sessions.values()) sum += read(session);
    return sum;
  }

  private tick(): void {
    this.ticks++;
    const now = Date.now();
    const isHeartbeat = this.ticks % HEARTBEAT_TICKS === 0;
    for (const session of [...this.sessions.values()]) session.tick(now, isHeartbeat);
    if (isHeartbeat) this.households.sweep();
  }

  private request(request: IncomingMessage, response: ServerResponse): void {
    const target = this.forwards.find(request.headers.host);
    if (target === "gone")
      return answer(response, 404, "Cannot find this page: its guest has gone, or ended the forward");
    if (target) {
      this.totals.httpRequests++;
      return forwardRequest(target, this.admission.visit(request), request, response);
    }
    const path = pathOf(request);
    if (path === "/healthz") return this.answerHealth(response);
    if (path === "/metrics") return this.answerMetrics(request, response);
    // The static site's own says that there is none.
    if (path === "/relay.json") {
      response.writeHead(200, { "Content-Type": "application/json", "Cache-Control": "no-store" });
      response.end('{ "relay": "relay" }\n');
      return;
    }
    if (path === "/relay") {
      response.setHeader("Upgrade", "websocket");
      return answer(response, 426, "Cannot show this as a page: it is for websockets, see docs/relay-protocol.md");
    }
    this.parts.site(request, response);
  }

  private answerHealth(response: ServerResponse): void {
    response.writeHead(this.isClosing ? 503 : 200, { "Content-Type": "application/json", "Cache-Control": "no-store" });
    const status = this.isClosing ? "closing" : this.bus.isConnected ? "ok" : "rooms are cut off from other relays";
    const uptimeSeconds = Math.round((Date.now() - this.startedAt) / 1000);
    response.end(`${JSON.stringify({ status, guests: this.sessions.size, uptimeSeconds })}\n`);
  }

  private answerMetrics(request: IncomingMessage, response: ServerResponse): void {
    const refusal = this.refuseMetrics(request);
    if (refusal) return answer(response, 403, refusal);
    this.metrics.text().then(
      (text) => {
        response.writeHead(200, { "Content-Type": this.metrics.contentType, "Cache-Control": "no-store" });
        response.end(text);
      },
      () => answer(response, 500, "Cannot read the metrics"),
    );
  }

  private refuseMetrics(request: IncomingMessage): string | null {
    const { authorization } = request.headers;
    const { metricsToken } = this.options;
    if (metricsToken !== null && authorization !== undefined && isSame(authorization, `Bearer ${metricsToken}`))
      return null;
    // A proxy on this computer passes on the requests of others.
    const isProxied = ["x-forwarded-for", "forwarded", "via"].some((name) => request.headers[name] !== undefined);
    const { address, host } = this.admission.visit(request);
    const isLocal = address === "::1" || address.startsWith("127.");
    if (isLocal && !isProxied) return this.admission.refuseHost(host);
    return "Cannot show the metrics: they are for this computer, or for who knows the --metrics-token";
  }

  private upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => socket.destroy());
    const target = this.forwards.find(request.headers.host);
    if (target === "gone") return refuseUpgrade(socket, 404, "Cannot find this page: its guest has gone");
    if (target) {
      this.totals.httpRequests++;
      // It may be silent for long, but a visitor whose computer has gone must not hold a place for ever.
      (socket as Socket).setTimeout(0);
      (socket as Socket).setKeepAlive(true, KEEP_ALIVE_MS);
      return forwardUpgrade(target, this.admission.visit(request), request, socket, head);
    }
    if (pathOf(request) !== "/relay")
      return this.parts.upgrade
        ? this.parts.upgrade(request, socket, head)
        : refuseUpgrade(socket, 404, "Cannot find this: the relay is at /relay");
    const visit = this.admission.visit(request);
    const wishes = readWishes(request);
    const household = this.households.at(visit.address);
    const resumed = wishes.session === null ? undefined : this.sessions.get(wishes.session);
    const { isClosing } = this;
    const crowd = { isClosing, guests: this.sessions.size, household, isResumed: resumed !== undefined };
    const refusal = this.admission.refuse(request, visit, wishes, crowd);
    if (refusal) {
      count(this.totals.refused, refusal.reason);
      this.parts.log.info({ address: visit.address, reason: refusal.reason }, "refused");
      if (!wishes.control) return refuseUpgrade(socket, refusal.status, refusal.text);
      // A browser tells a page nothing of a refused handshake, but it tells the reason of a closed connection.
      this.websockets.handleUpgrade(request, socket, head, (websocket) => {
        websocket.on("error", () => {});
        closeWebsocket(websocket, refusal.code, refusal.text);
      });
      return;
    }
    this.websockets.handleUpgrade(request, socket, head, (websocket) => {
      websocket.binaryType = "nodebuffer";
      if (resumed) {
        this.totals.resumed++;
        resumed.connect(websocket, socket, wishes.control, visit);
      } else this.begin(websocket, socket, wishes, visit, household as Household);
    });
  }

  private begin(websocket: WebSocket, socket: Duplex, wishes: Wishes, visit: Visit, household: Household): void {
    const session = new Session(this.sessionParts, household, visit, this.parts.log);
    this.sessions.set(session.secret, session);
    this.totals.connections++;
    this.parts.log.info({ guest: session.id, address: visit.address }, "guest came");
    session.connect(websocket, socket, wishes.control, visit);
    const { room } = wishes;
    if (!room) return;
    void session.joinFirst(room.room, room.secret).then((problem) => {
      // Who speaks no control messages would believe to be in the room.
      if (problem !== null && !wishes.control) session.end(CLOSE.forbidden, problem);
    });
  }
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? "").split("?")[0] as string;
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    "Content-Type": "text/plain; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
  });
  response.end(`${text}\n`);
}

function refuseUpgrade(socket: Duplex, status: number, text: string): void {
  const body = `${text}\n`;
  socket.end(
    `HTTP/1.1 ${status} Refused\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
