import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { GATEWAY, readAll } from "./frame-guest.ts";
import { serve, standsStill, withTcp } from "./nat-world.ts";

describe("bytes over TCP", () => {
  it("half-closes in both directions", async () => {
    const { port: number } = await serve((socket) => {
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk;
      });
      socket.on("end", () => setTimeout(() => socket.end(text.toUpperCase()), 30));
    });
    const { tcp, guest } = withTcp();
    const stream = tcp.connect(GATEWAY, number);
    stream.end("hello");
    expect(String(await readAll(stream))).toBe("HELLO");
    const { port: greeter } = await serve((socket) => {
      socket.end("welcome");
      socket.on("data", (chunk) => received.push(String(chunk)));
    });
    const received: string[] = [];
    const other = tcp.connect(GATEWAY, greeter);
    expect(String(await readAll(other))).toBe("welcome");
    other.end("late words");
    await expect.poll(() => received.join("")).toBe("late words");
    await expect.poll(() => guest.statistics.tcpOpen).toBe(0);
    expect(guest.statistics).toMatchObject({ tcpOpened: 2, dropped: {} });
  });

  it("passes resets on in both directions, after what came before them", async () => {
    let ended = "";
    const { port: number } = await serve((socket) => {
      socket.on("error", (error: NodeJS.ErrnoException) => {
        ended = error.code ?? "";
      });
      socket.on("data", () => {});
    });
    const { tcp, guest } = withTcp();
    const stream = tcp.connect(GATEWAY, number);
    stream.write("x");
    await expect.poll(() => guest.statistics.tcpOpened).toBe(1);
    await sleep(20);
    stream.destroy();
    await expect.poll(() => ended).toBe("ECONNRESET");
    const { port: rude } = await serve((socket) => {
      socket.write("last words");
      setTimeout(() => socket.resetAndDestroy(), 50);
    });
    const other = tcp.connect(GATEWAY, rude);
    let heard = "";
    other.on("data", (chunk) => {
      heard += chunk;
    });
    const error = await new Promise<Error>((resolve) => other.on("error", resolve));
    expect(error.message).toContain("has reset it");
    expect(heard).toBe("last words");
    await expect.poll(() => guest.statistics.tcpOpen).toBe(0);
  });

  it("holds back the guest when the server is slow, and the server when the guest is", async () => {
    let slow: Socket | null = null;
    const { port: number } = await serve((socket) => {
      slow = socket;
      socket.pause();
    });
    const { tcp, guest } = withTcp();
    const stream = tcp.connect(GATEWAY, number);
    let sent = 0;
    let done = false;
    const block = Buffer.alloc(64 * 1024, 1);
    const push = (): void => {
      while (sent < 64 * 1024 * 1024) {
        sent += block.length;
        if (!stream.write(block)) {
          stream.once("drain", push);
          return;
        }
      }
      stream.end();
      done = true;
    };
    push();
    // The kernel's buffers of loopback take some MB; the rest waits in the guest.
    await standsStill(() => sent);
    expect(done).toBe(false);
    let got = 0;
    (slow as Socket | null)?.on("data", (chunk: Buffer) => {
      got += chunk.length;
    });
    (slow as Socket | null)?.resume();
    await expect.poll(() => got, { timeout: 30_000 }).toBe(64 * 1024 * 1024);

    let offered = 0;
    const { port: eager } = await serve((socket) => {
      const write = (): void => {
        while (offered < 64 * 1024 * 1024) {
          offered += block.length;
          if (!socket.write(block)) {
            socket.once("drain", write);
            return;
          }
        }
        socket.end();
      };
      write();
    });
    const reader = tcp.connect(GATEWAY, eager);
    reader.pause();
    await standsStill(() => offered);
    expect(offered).toBeLessThan(32 * 1024 * 1024);
    expect((await readAll(reader)).length).toBe(64 * 1024 * 1024);
    reader.end();
    expect(guest.statistics.dropped).toEqual({});
  }, 120_000);

  it("stops reading from servers while the way to the guest is full", async () => {
    let offered = 0;
    const block = Buffer.alloc(64 * 1024, 1);
    const { port: number } = await serve((socket) => {
      const write = (): void => {
        while (offered < 1024 * 1024 * 1024) {
          offered += block.length;
          if (!socket.write(block)) {
            socket.once("drain", write);
            return;
          }
        }
      };
      write();
    });
    const { tcp, port } = withTcp();
    const stream = tcp.connect(GATEWAY, number);
    await expect.poll(() => offered).toBeGreaterThan(0);
    port.queuedBytes = 10 * 1024 * 1024;
    stream.on("data", () => {});
    await sleep(500);
    const [held, came] = [offered, tcp.bytes];
    await sleep(800);
    expect([offered, tcp.bytes]).toEqual([held, came]);
    port.queuedBytes = 0;
    port.drain();
    await expect.poll(() => offered).toBeGreaterThan(held + 20 * 1024 * 1024);
    stream.destroy();
  });
});
