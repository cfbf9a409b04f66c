/** A guest of a relay without a machine: frames over a real websocket, TCP by a connection of its own. Hundreds fit a process. */
import type { Duplex } from "node:stream";
import type { EngineGuest } from "../../relay/engine.ts";
import { encodeEcho, ICMP_TYPE } from "../../relay/nat/icmp.ts";
import { GATEWAY, icmpOf, ipFrame, MAC, TcpGuest } from "./frame-guest.ts";
import { Client, type ClientOptions, dhcp } from "./guests.ts";
import { createPort } from "./network.ts";
import { afterPatience } from "./patience.ts";

const ETHER_TYPE_AT = 12;
const PROTOCOL_AT = 23;
const PATIENCE_MS = 30_000;
const ICMP = 1;
const TCP = 6;

export class SimulatedGuest {
  readonly tcp: TcpGuest;
  private readonly pings: ((isAnswered: boolean) => void)[] = [];
  private sequence = 0;
  private onFirstPacket: ((isGiven: boolean) => void) | null = null;

  private constructor(readonly client: Client) {
    const port = createPort();
    const { websocket } = client;
    const send = (frame: Uint8Array): void => {
      if (websocket.readyState === websocket.OPEN) websocket.send(frame);
    };
    this.tcp = new TcpGuest({ receive: send } as EngineGuest, port);
    websocket.on("message", (data: Buffer, isBinary) => {
      client.frames.length = 0;
      if (!isBinary || data.readUInt16BE(ETHER_TYPE_AT) !== 0x0800) return;
      this.onFirstPacket?.(true);
      this.onFirstPacket = null;
      if (data[PROTOCOL_AT] === TCP) port.send(data);
      else if (data[PROTOCOL_AT] === ICMP && icmpOf([data])[0]?.type === ICMP_TYPE.echoReply)
        this.pings.shift()?.(true);
    });
    websocket.on("close", () => this.stop());
  }

  /** Resolves when the relay has given it an address. */
  static async join(url: string, options: ClientOptions = {}): Promise<SimulatedGuest> {
    const client = await Client.open(url, options);
    const guest = new SimulatedGuest(client);
    const given = new Promise<boolean>((resolve) => {
      const callOff = afterPatience(PATIENCE_MS, () => resolve(false));
      guest.onFirstPacket = (isGiven) => {
        callOff();
        resolve(isGiven);
      };
    });
    client.send(dhcp([...MAC]));
    if (!(await given)) throw new Error("The relay gives the guest no address");
    return guest;
  }

  connect(port: number, options: { receiveBuffer?: number } = {}): Duplex {
    return this.tcp.connect(GATEWAY, port, options);
  }

  /** Asks the gateway. @returns milliseconds, or null when no answer comes */
  async ping(withinMs = 5000): Promise<number | null> {
    const startedAt = performance.now();
    const answered = await new Promise<boolean>((resolve) => {
      const callOff = afterPatience(withinMs, () => resolve(false));
      this.pings.push((isAnswered) => {
        callOff();
        resolve(isAnswered);
      });
      const echo = { id: 1, sequence: this.sequence++ & 0xffff, data: new Uint8Array(32) };
      this.client.send(ipFrame({ protocol: ICMP, destination: GATEWAY }, encodeEcho(ICMP_TYPE.echoRequest, echo)));
    });
    return answered ? performance.now() - startedAt : null;
  }

  leave(): void {
    this.stop();
    this.client.close();
  }

  /** As a machine that is switched off: no end is said to anything. */
  vanish(): void {
    this.stop();
    this.client.websocket.terminate();
  }

  private stop(): void {
    this.tcp.stop();
    for (const waiting of this.pings.splice(0)) waiting(false);
  }
}
