/** One guest at the relay: its websocket, its place at the engine and in a room, its forwards, and what it may use. */
import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import type { WebSocket } from "ws";
import type { Visit } from "./admission.ts";
import {
  CLOSE,
  type ClientMessage,
  CONTROL_VERSION,
  ControlError,
  decodeControl,
  type GuestStatistics,
  type ServerMessage,
} from "./control.ts";
import type { Engine, EngineGuest, Refusal, Subnet } from "./engine.ts";
import type { ForwardOwner, Forwards } from "./forwards.ts";
import { Intake } from "./intake.ts";
import { Line } from "./line.ts";
import { count, type Totals } from "./metrics.ts";
import type { Offer } from "./offer.ts";
import type { RelayLimits } from "./options.ts";
import { Bucket, type Household } from "./quota.ts";
import type { Member, Rooms, Seat } from "./rooms.ts";

/** What all sessions share. */
export interface SessionParts {
  engine: Engine;
  rooms: Rooms;
  forwards: Forwards;
  limits: RelayLimits;
  totals: Totals;
  subnet: Subnet;
  offer: Offer;
  onEnd(session: Session): void;
}

const SHORTEST_FRAME = 14;
/** Frames of a room are dropped when so much waits already: whoever sent them does not learn of it otherwise. */
const ROOM_QUEUE = 1024 * 1024;
/** Messages to a client that reads nothing are dropped at some point, too. */
const TEXT_QUEUE = 1024 * 1024;
const TELLS_PER_SECOND = 5;
/** The longest reason of a close frame (RFC 6455, 5.5: 125 bytes with its code). */
const LONGEST_REASON = 123;
const CLOSE_MS = 2000;

export class Session implements ForwardOwner, Member {
  /** For the log. */
  readonly id = randomBytes(6).toString("hex");
  /** For the client: whoever knows it gets this guest. */
  readonly secret = randomBytes(24).toString("base64url");
  readonly line: Line;
  engineGuest: EngineGuest;
  visible: Visit;
  private websocket: WebSocket | null = null;
  private speaksControl = false;
  private seat: Seat | null = null;
  private address: string;
  private toldAddress: string | null = null;
  private isBusy = false;
  private hasEnded = false;
  private isAlive = true;
  private framesReceived = 0;
  private bytesReceived = 0;
  private readonly dropped: Record<string, number> = {};
  private readonly startedAt = Date.now();
  private usedAt = Date.now();
  private waitTimer: NodeJS.Timeout | null = null;
  private readonly intake: Intake;
  private readonly messages: Bucket;
  private readonly tells = new Bucket(TELLS_PER_SECOND, TELLS_PER_SECOND * 2);

  constructor(
    private readonly parts: SessionParts,
    private readonly household: Household,
    visit: Visit,
    private readonly log: Logger,
  ) {
    const { framesPerSecond, bytesPerSecond, messagesPerSecond } = parts.limits;
    this.visible = visit;
    this.messages = new Bucket(messagesPerSecond, messagesPerSecond * 2);
    const inward = [new Bucket(bytesPerSecond, bytesPerSecond), household.sent];
    this.intake = new Intake(new Bucket(framesPerSecond, framesPerSecond), inward);
    const outward = [new Bucket(bytesPerSecond, bytesPerSecond), household.received];
    this.line = new Line(
      outward,
      (refusal) => this.refused(refusal),
      (reason) => this.drop(reason),
      parts.totals,
    );
    this.address = parts.subnet.guest;
    this.engineGuest = parts.engine.attach(this.line);
    household.guests++;
  }

  get isWaiting(): boolean {
    return this.websocket === null && !this.hasEnded;
  }

  /** A new websocket, or one that takes the place of a broken one. */
  connect(websocket: WebSocket, socket: Duplex, speaksControl: boolean, visit: Visit): void {
    const isResumed = this.websocket !== null || this.waitTimer !== null;
    const former = this.websocket;
    this.detach();
    former?.close(CLOSE.replaced, "The connection was taken up again");
    if (former) setTimeout(() => former.terminate(), CLOSE_MS).unref();
    this.websocket = websocket;
    this.speaksControl = speaksControl;
    this.visible = visit;
    this.isAlive = true;
    let isFaulty = false;
    websocket.on("message", (data, isBinary) => {
      if (this.websocket === websocket) this.receive(data as Buffer, isBinary);
    });
    websocket.on("pong", () => {
      this.isAlive = true;
    });
    // Frames that are too large or broken; "close" follows.
    websocket.on("error", (error: NodeJS.ErrnoException) => {
      isFaulty = true;
      this.drop(`websocket.${error.code ?? "error"}`);
    });
    websocket.on("close", (code) => {
      if (this.websocket === websocket) this.closed(code, isFaulty);
    });
    this.hello(isResumed);
    this.toldAddress = null;
    this.line.open(websocket, socket);
    this.intake.open(websocket);
  }

  /** Joins before the first frame is read. @returns why it could not */
  async joinFirst(room: string, secret: string): Promise<string | null> {
    this.intake.hold();
    try {
      const renew = await this.join(room, secret);
      this.say({ type: "room", id: null, room: this.seat?.room ?? null, renew });
      return null;
    } catch (error) {
      this.say({ type: "error", id: null, text: (error as Error).message });
      return (error as Error).message;
    } finally {
      this.intake.release();
    }
  }

  /** Once a second. */
  tick(now: number, isHeartbeat: boolean): void {
    const { idleMs, totalMs } = this.parts.limits;
    if (now - this.startedAt >= totalMs)
      return this.end(CLOSE.idle, "The relay ends connections after a time; reload to connect again");
    if (now - this.usedAt >= idleMs) return this.end(CLOSE.idle, "The guest has sent nothing for a long time");
    const { address } = this.engineGuest;
    if (address !== this.toldAddress) {
      this.toldAddress = address;
      this.say({ type: "address", address });
    }
    if (!isHeartbeat || !this.websocket) return;
    // The other end may have gone without a word; TCP would notice after hours.
    if (!this.isAlive) this.websocket.terminate();
    else if (this.websocket.readyState === this.websocket.OPEN) {
      this.isAlive = false;
      this.websocket.ping();
    }
  }

  end(code: number, reason: string): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    const { websocket } = this;
    this.detach();
    if (websocket) closeWebsocket(websocket, code, reason);
    this.seat?.leave();
    this.seat = null;
    this.parts.forwards.closeAll(this);
    this.engineGuest.close();
    this.household.guests--;
    this.log.info(
      { guest: this.id, code, reason, seconds: Math.round((Date.now() - this.startedAt) / 1000) },
      "guest left",
    );
    this.parts.onEnd(this);
  }

  deliver(frame: Uint8Array): void {
    if (this.line.queuedBytes > ROOM_QUEUE) return this.drop("room.slow");
    this.line.send(frame);
  }

  drop(reason: string): void {
    count(this.dropped, reason);
    count(this.parts.totals.dropped, reason);
  }

  onMembers(): void {
    // While it joins, the answer to that tells it.
    if (this.seat) this.say({ type: "room", id: null, room: this.seat.room, renew: false });
  }

  private closed(code: number, isFaulty: boolean): void {
    const { resumeMs } = this.parts.limits;
    const wasBroken = code === 1006 && !isFaulty;
    this.detach();
    // A page that is closed says so, and its machine is gone with it. A connection that breaks says nothing.
    if (!wasBroken || !this.speaksControl || resumeMs === 0) return this.end(code, "the client went");
    this.waitTimer = setTimeout(() => this.end(code, "the client did not come back"), resumeMs);
    this.log.info({ guest: this.id }, "connection broken");
  }

  private detach(): void {
    this.websocket = null;
    this.line.cut();
    this.intake.cut();
    if (this.waitTimer) clearTimeout(this.waitTimer);
    this.waitTimer = null;
  }

  private receive(data: Buffer, isBinary: boolean): void {
    const { totals, offer } = this.parts;
    this.intake.take(data.length);
    if (!isBinary) return this.receiveText(data);
    this.framesReceived++;
    this.bytesReceived += data.length;
    totals.framesIn++;
    totals.bytesIn += data.length;
    const { frameBytes } = offer.limits;
    if (data.length > frameBytes) {
      this.drop("frame.jumbo");
      if (this.tells.tryTake())
        this.say({
          type: "error",
          id: null,
          text: `Cannot pass a frame of ${data.length} bytes on: ${frameBytes} are the most, the guest's MTU must be ${offer.mtu}`,
        });
      return;
    }
    if (data.length < SHORTEST_FRAME) return this.drop("frame.short");
    this.usedAt = Date.now();
    if (!this.seat || this.seat.receive(data)) this.engineGuest.receive(data);
  }

  private receiveText(data: Buffer): void {
    this.parts.totals.controlMessages++;
    if (!this.speaksControl) return this.drop("control.unasked");
    if (!this.messages.tryTake()) {
      this.drop("control.rate");
      if (this.tells.tryTake())
        this.say({ type: "error", id: null, text: "Cannot follow: these are too many messages at a time" });
      return;
    }
    let message: ClientMessage;
    try {
      message = decodeControl(data.toString());
    } catch (error) {
      this.drop("control.broken");
      const id = error instanceof ControlError ? error.id : null;
      return this.say({ type: "error", id, text: (error as Error).message });
    }
    const { id } = message;
    void this.follow(message).then(
      (answer) => this.say(answer),
      (error: Error) => this.say({ type: "error", id, text: error.message }),
    );
  }

  /** @throws Error with a sentence */
  private async follow(message: ClientMessage): Promise<ServerMessage> {
    const { forwards } = this.parts;
    const { id } = message;
    switch (message.type) {
      case "ping":
        return { type: "pong", id };
      case "statistics":
        return { type: "statistics", id, statistics: this.statistics() };
      case "forward":
        if (this.hasEnded) throw new Error("Cannot forward: the guest has gone");
        return { type: "forward", id, forward: await forwards.open(this, message.kind, message.port) };
      case "unforward":
        if (!forwards.close(this, message.forward))
          throw new Error("Cannot end the forward: there is none with this id");
        return { type: "done", id };
      case "join": {
        const renew = await this.join(message.room, message.secret);
        return { type: "room", id, room: this.seat?.room ?? null, renew };
      }
      case "leave": {
        this.seat?.leave();
        this.seat = null;
        return { type: "room", id, room: null, renew: this.moveTo(this.parts.subnet.guest) };
      }
    }
  }

  /** @returns whether the guest must ask for its address again */
  private async join(room: string, secret: string): Promise<boolean> {
    if (this.isBusy) throw new Error("Cannot join the room: another is being joined");
    this.isBusy = true;
    try {
      const seat = await this.parts.rooms.join(room, secret, this);
      if (this.hasEnded) {
        seat.leave();
        throw new Error("Cannot join the room: the guest has gone");
      }
      this.seat?.leave();
      this.seat = seat;
      return this.moveTo(seat.address);
    } finally {
      this.isBusy = false;
    }
  }

  private moveTo(address: string): boolean {
    if (address === this.address || this.hasEnded) return false;
    this.address = address;
    this.engineGuest.close();
    this.engineGuest = this.parts.engine.attach(this.line, address);
    this.parts.forwards.reset(this);
    return true;
  }

  private refused(refusal: Refusal): void {
    count(this.parts.totals.refusals, refusal.kind);
    if (this.tells.tryTake()) this.say({ type: "refusal", ...refusal });
  }

  private statistics(): GuestStatistics {
    return {
      framesSent: this.line.framesSent,
      framesReceived: this.framesReceived,
      bytesSent: this.line.bytesSent,
      bytesReceived: this.bytesReceived,
      queuedBytes: this.line.queuedBytes,
      dropped: this.dropped,
      engine: this.engineGuest.statistics,
    };
  }

  private hello(resumed: boolean): void {
    const { offer, subnet, forwards } = this.parts;
    this.say({
      type: "hello",
      version: CONTROL_VERSION,
      session: this.secret,
      resumed,
      ...offer,
      subnet: { ...subnet, guest: this.address },
      forwards: forwards.of(this),
      room: this.seat?.room ?? null,
    });
  }

  private say(message: ServerMessage): void {
    const { websocket } = this;
    if (!websocket || !this.speaksControl || websocket.readyState !== websocket.OPEN) return;
    if (websocket.bufferedAmount > TEXT_QUEUE) return this.drop("control.slow");
    this.line.leave();
    websocket.send(JSON.stringify(message));
  }
}

/** Says why, and does not wait long for the answer. */
export function closeWebsocket(websocket: WebSocket, code: number, reason: string): void {
  let text = reason;
  while (Buffer.byteLength(text) > LONGEST_REASON) text = text.slice(0, -1);
  websocket.resume();
  websocket.close(code, text);
  setTimeout(() => websocket.terminate(), CLOSE_MS).unref();
}
