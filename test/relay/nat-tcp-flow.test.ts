import type { Socket } from "node:net";
import type { Writable } from "node:stream";
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
    const upload = pour(stream, 64 * 1024 * 1024);
    // The kernel's buffers of loopback take some MB; the rest waits in the guest.
    await standsStill(() => upload.offered);
    expect(upload.isDone).toBe(false);
    let got = 0;
    (slow as Socket | null)?.on("data", (chunk: Buffer) => {
      got += chunk.length;
    });
    (slow as Socket | null)?.resume();
    await expect.poll(() => got, { timeout: 30_000 }).toBe(64 * 1024 * 1024);

    let download = { offered: 0 };
    const { port: eager } = await serve((socket) => {
      download = pour(socket, 64 * 1024 * 1024);
    });
    const reader = tcp.connect(GATEWAY, eager);
    reader.pause();
    await standsStill(() => download.offered);
    expect(download.offered).toBeLessThan(32 * 1024 * 1024);
    expect((await readAll(reader)).length).toBe(64 * 1024 * 1024);
    reader.end();
    expect(guest.statistics.dropped).toEqual({});
  }, 120_000);

  it("stops reading from servers while the way to the guest is full", async () => {
    let download = { offered: 0 };
    const { port: number } = await serve((socket) => {
      download = pour(socket, 1024 * 1024 * 1024);
    });
    const { tcp, port } = withTcp();
    const stream = tcp.connect(GATEWAY, number);
    await expect.poll(() => download.offered).toBeGreaterThan(0);
    port.queuedBytes = 10 * 1024 * 1024;
    stream.on("data", () => {});
    await sleep(500);
    const [held, came] = [download.offered, tcp.bytes];
    await sleep(800);
    expect([download.offered, tcp.bytes]).toEqual([held, came]);
    port.queuedBytes = 0;
    port.drain();
    await expect.poll(() => download.offered).toBeGreaterThan(held + 20 * 1024 * 1024);
    stream.destroy();
  });
});

/** Writes so many bytes as fast as they are taken, and ends. `offered`: how many were written so far. */
function pour(to: Writable, bytes: number): { offered: number; isDone: boolean } {
  const progress = { offered: 0, isDone: false };
  const block = Buffer.alloc(64 * 1024, 1);
  const push = (): void => {
    while (progress.offered < bytes) {
      progress.offered += block.length;
      if (!to.write(block)) {
        to.once("drain", push);
        return;
      }
    }
    to.end();
    progress.isDone = true;
  };
  push();
  return progress;
}
