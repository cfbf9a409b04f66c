/** A relay in this process, and clients of it over real websockets. */

import { createSocket } from "node:dgram";
import type { AddressInfo } from "node:net";
import { connect, createServer, type Server } from "node:net";
import type { Duplex } from "node:stream";
import { pino } from "pino";
import type { WebSocket } from "ws";
import { type ClientMessage, type ServerMessage, SUBPROTOCOL } from "../../relay/control.ts";
import type { Engine, EngineGuest, GuestPort, Subnet } from "../../relay/engine.ts";
import { encodeArp } from "../../relay/nat/arp.ts";
import { type RelayLimits, type RelayOptions, readOptions } from "../../relay/options.ts";
import { type Relay, type RelayParts, startRelay } from "../../relay/server.ts";
import { GatheringSocket } from "./gathering-socket.ts";
import { afterPatience } from "./patience.ts";

export const SUBNET: Subnet = {
  gateway: "10.0.2.2",
  dns: "10.0.2.3",
  guest: "10.0.2.15",
  prefixLength: 24,
  gatewayMac: "02:00:00:00:02:02",
};

export interface EchoGuest extends EngineGuest {
  port: GuestPort;
  given: string | undefined;
  frames: number;
  isClosed: boolean;
}

export interface EchoEngine extends Engine {
  guests: EchoGuest[];
  isClosed: boolean;
}

/**
 * An engine that gives each frame back, for the server's own logic. A guest's ports are ports of 127.0.0.1: its servers are
 * real ones of the test.
 */
export function echoEngine(): EchoEngine {
  const guests: EchoGuest[] = [];
  const engine: EchoEngine = {
    guests,
    isClosed: false,
    attach(port, given) {
      const flows = new Set<() => void>();
      const guest: EchoGuest = {
        port,
        given,
        frames: 0,
        isClosed: false,
        receive(frame) {
          guest.frames++;
          port.send(frame);
        },
        connect: (guestPort, signal) =>
          new Promise<Duplex>((resolve, reject) => {
            const socket = connect({ port: guestPort, host: "127.0.0.1", allowHalfOpen: true });
            socket.once("connect", () => resolve(socket));
            socket.once("error", () =>
              reject(new Error(`Cannot connect to the guest's port ${guestPort}: it refuses`)),
            );
            signal?.addEventListener("abort", () => socket.destroy());
          }),
        openUdp(guestPort, onAnswer) {
          const socket = createSocket("udp4");
          socket.on("message", onAnswer);
          socket.on("error", () => {});
          const close = (): void => {
            if (flows.delete(close)) socket.close();
          };
          flows.add(close);
          return { send: (data) => socket.send(data, guestPort, "127.0.0.1"), close };
        },
        address: null,
        statistics: { tcpOpen: 0, udpOpen: 0, tcpOpened: 0, refused: 0, dropped: {} },
        close() {
          guest.isClosed = true;
          for (const close of flows) close();
        },
      };
      guests.push(guest);
      return guest;
    },
    async close() {
      engine.isClosed = true;
    },
  };
  return engine;
}

export interface TestRelay extends Relay {
  url: string;
  engine: EchoEngine;
}

/** @param words the relay's command line; `limits` are for times shorter than it has words for */
export async function testRelay(
  words: string[] = [],
  parts: Partial<RelayParts> & { limits?: Partial<RelayLimits> } = {},
): Promise<TestRelay> {
  const options = readOptions(
    ["--port", "0", "--host", "127.0.0.1", "--log-level", "silent", ...words],
    {},
  ) as RelayOptions;
  Object.assign(options.limits, parts.limits);
  const engine = echoEngine();
  const relay = await startRelay(options, {
    engine,
    subnet: SUBNET,
    mtu: 1500,
    log: pino({ level: "silent" }),
    site: (_request, response) => {
      response.end("the playground");
    },
    ...parts,
  });
  return Object.assign(relay, { url: `ws://127.0.0.1:${relay.port}/relay`, engine });
}

export type Of<Type extends ServerMessage["type"]> = Extract<ServerMessage, { type: Type }>;
type Wish = ClientMessage extends infer Message
  ? Message extends { id: number }
    ? Omit<Message, "id">
    : never
  : never;

export interface ClientOptions {
  /** Speaks the control protocol; default. */
  control?: boolean;
  protocols?: string[];
  headers?: Record<string, string>;
}

/** A client: what v86 in a page is to the relay. */
export class Client {
  readonly frames: Buffer[] = [];
  readonly messages: ServerMessage[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  private waiters: (() => void)[] = [];
  /** Beyond those that tests write themselves. */
  private nextId = 100_000;

  private constructor(readonly websocket: WebSocket) {
    websocket.on("message", (data: Buffer, isBinary) => {
      if (isBinary) this.frames.push(data);
      else this.messages.push(JSON.parse(data.toString()) as ServerMessage);
      this.wake();
    });
    websocket.on("error", () => {});
    this.closed = new Promise((resolve) => {
      websocket.on("close", (code, reason) => {
        resolve({ code, reason: reason.toString() });
        this.wake();
      });
    });
  }

  /** Resolves when it is open, or closed, or refused with an HTTP answer (whose text is thrown). */
  static open(url: string, options: ClientOptions = {}): Promise<Client> {
    const { control = true, protocols = [], headers = {} } = options;
    const all = control ? [SUBPROTOCOL, ...protocols] : protocols;
    const websocket = new GatheringSocket(url, all, { headers, perMessageDeflate: true });
    const client = new Client(websocket);
    return new Promise((resolve, reject) => {
      websocket.once("open", () => resolve(client));
      websocket.once("unexpected-response", (_request, response) => {
        let text = "";
        response.on("data", (bytes) => {
          text += bytes;
        });
        response.on("end", () => reject(new Error(`${response.statusCode} ${text.trim()}`)));
      });
      websocket.once("error", reject);
    });
  }

  send(frame: Uint8Array): void {
    this.websocket.send(frame);
  }

  /** The first message, past or to come, that fits. */
  async message<Type extends ServerMessage["type"]>(
    type: Type,
    fits: (message: Of<Type>) => boolean = () => true,
  ): Promise<Of<Type>> {
    return await this.wait(() =>
      this.messages.find((message): message is Of<Type> => message.type === type && fits(message as Of<Type>)),
    );
  }

  /** Sends a request and waits for its answer. @throws Error with the relay's sentence */
  async ask<Answer extends ServerMessage>(wish: Wish): Promise<Answer> {
    const id = this.nextId++;
    this.websocket.send(JSON.stringify({ ...wish, id }));
    const answer = await this.wait(() => this.messages.find((message) => "id" in message && message.id === id));
    if (answer.type === "error") throw new Error(answer.text);
    return answer as Answer;
  }

  async frame(fits: (frame: Buffer) => boolean = () => true): Promise<Buffer> {
    return await this.wait(() => this.frames.find(fits));
  }

  /** What has been sent so far has been answered: a message overtakes no frame. */
  async settle(): Promise<void> {
    await this.ask({ type: "ping" });
  }

  close(): void {
    this.websocket.close(1000);
  }

  private async wait<Found>(look: () => Found | undefined): Promise<Found> {
    let isOver = false;
    const callOff = afterPatience(10_000, () => {
      isOver = true;
      this.wake();
    });
    try {
      for (;;) {
        const found = look();
        if (found !== undefined) return found;
        if (isOver)
          throw new Error(`Nothing came that fits; there were ${JSON.stringify(this.messages).slice(0, 2000)}`);
        await new Promise<void>((resolve) => this.waiters.push(resolve));
      }
    } finally {
      callOff();
    }
  }

  private wake(): void {
    const { waiters } = this;
    this.waiters = [];
    for (const wake of waiters) wake();
  }
}

export const mac = (last: number): number[] => [0x52, 0x54, 0, 0, 0, last];
export const BROADCAST = [255, 255, 255, 255, 255, 255];
export const GATEWAY_MAC = [2, 0, 0, 0, 2, 2];

/** A frame of a type that no one has, so that nothing but the switch looks at it. */
export function frame(to: number[], from: number[], text = "", type = 0x88b5): Buffer {
  return Buffer.concat([Buffer.from([...to, ...from, type >> 8, type & 255]), Buffer.from(text)]);
}

/** An ARP frame as a guest sends it. */
export function arp(
  operation: 1 | 2,
  from: number[],
  senderAddress: string,
  to: number[],
  targetAddress: string,
): Buffer {
  const number = (text: string): number => text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  const payload = encodeArp({
    operation,
    senderMac: Uint8Array.from(from),
    senderAddress: number(senderAddress),
    targetMac: new Uint8Array(6),
    targetAddress: number(targetAddress),
  });
  return Buffer.concat([frame(to, from, "", 0x0806), payload]);
}

/** DHCPDISCOVER in its frame. */
export function dhcp(from: number[]): Buffer {
  const message = Buffer.alloc(300);
  message.set([1, 1, 6, 0, 1, 2, 3, 4]);
  message.set(from, 28);
  message.set([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255], 236);
  return udp(BROADCAST, from, "0.0.0.0", 68, "255.255.255.255", 67, message);
}

export function udp(
  to: number[],
  from: number[],
  source: string,
  sourcePort: number,
  target: string,
  port: number,
  data: Buffer,
): Buffer {
  const ip = Buffer.alloc(28);
  ip.set([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17]);
  ip.writeUInt16BE(28 + data.length, 2);
  ip.set([...source.split("."), ...target.split(".")].map(Number), 12);
  ip.writeUInt16BE(sourcePort, 20);
  ip.writeUInt16BE(port, 22);
  ip.writeUInt16BE(8 + data.length, 24);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += ip.readUInt16BE(at);
  ip.writeUInt16BE(~((sum & 0xffff) + (sum >> 16)) & 0xffff, 10);
  return Buffer.concat([frame(to, from, "", 0x0800), ip, data]);
}

export const textOf = (bytes: Buffer): string => bytes.subarray(14).toString();

export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`It did not come to it that ${what}`);
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A server on a free port of 127.0.0.1. */
export async function listen(server: Server = createServer()): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}
