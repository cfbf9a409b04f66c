/** A machine whose card is on a relay, over a real websocket: what a page is, without the page. */
import { expect } from "vitest";
import { bootGuest, type Guest } from "../machine/guest.ts";
import { Client, type ClientOptions } from "./guests.ts";

/** What becomes of a frame on the websocket: how often it arrives, and how many milliseconds late. */
export type Wire = (frame: Uint8Array) => readonly number[];

export class OnlineGuest {
  /** Null: a good one. Another can be put in while the guest runs. */
  wire: Wire | null = null;

  private constructor(
    readonly guest: Guest,
    readonly url: string,
    public client: Client,
  ) {}

  static async boot(url: string, initramfs: Uint8Array<ArrayBuffer>): Promise<OnlineGuest> {
    let online: OnlineGuest | null = null;
    const client = await Client.open(url);
    const guest = await bootGuest({ initramfs, onFrame: (frame) => online?.send(frame) });
    online = new OnlineGuest(guest, url, client);
    online.plug(client);
    return online;
  }

  plug(client: Client): void {
    this.client = client;
    client.websocket.on("message", (data: Buffer, isBinary) => {
      if (isBinary) this.carry(new Uint8Array(data), (frame) => this.guest.machine.sendFrame(frame));
      client.frames.length = 0;
    });
  }

  async reconnect(options: ClientOptions = {}, url = this.url): Promise<void> {
    this.plug(await Client.open(url, options));
  }

  /** @returns what it printed; the command must succeed */
  async run(command: string, ms = 30_000): Promise<string> {
    const { status, output } = await this.guest.agent.run(command, ms);
    expect(status, `${command}: ${output}`).toBe(0);
    return output.trim();
  }

  async booted(): Promise<void> {
    await this.guest.until(() => this.guest.watch.promptMs !== null, "prompt", 60_000);
    await this.run(
      "for i in $(seq 100); do ip route | grep -q default && break; sleep 0.3; done; ip route | grep default",
      60_000,
    );
  }

  async stop(): Promise<void> {
    this.client.close();
    await this.guest.machine.stop();
  }

  private send(frame: Uint8Array): void {
    this.carry(frame, (arrived) => {
      if (this.client.websocket.readyState === this.client.websocket.OPEN) this.client.send(arrived);
    });
  }

  private carry(frame: Uint8Array, arrive: (frame: Uint8Array) => void): void {
    if (!this.wire) return arrive(frame);
    for (const delay of this.wire(frame)) {
      if (delay === 0) arrive(frame);
      else setTimeout(() => arrive(frame), delay);
    }
  }
}
