import { createHash, randomBytes } from "node:crypto";
import { type AddressInfo, createServer } from "node:net";
import { afterAll, describe, expect, it } from "vitest";
import { mulberry } from "./chance.ts";
import { type Channel, GATEWAY, readAll, TcpGuest } from "./frame-guest.ts";
import { attach } from "./network.ts";

const BYTES = 4 * 1024 * 1024;

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

describe("over a bad wire, with real servers", () => {
  const cleanups: (() => unknown)[] = [];
  afterAll(async () => {
    for (const cleanup of cleanups) await cleanup();
  });

  const wires: [string, Channel | null][] = [
    ["a good one", null],
    ["1 % lost", lossy(0.01, 0, 1)],
    ["10 % lost", lossy(0.1, 0, 2)],
    ["10 % late", lossy(0, 0.1, 3)],
    ["10 % lost, 10 % late, 1 % twice", lossy(0.1, 0.1, 4)],
  ];
  for (const [name, channel] of wires)
    it(`moves ${BYTES >> 20} MB each way: ${name}`, async () => {
      const down = randomBytes(BYTES);
      const up = randomBytes(BYTES);
      const uploaded: string[] = [];
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        socket.end(down);
        void readAll(socket).then((bytes) => uploaded.push(hashOf(bytes)));
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const { nat, guest, port } = attach();
      const tcp = new TcpGuest(guest, port, channel);
      cleanups.push(() => {
        tcp.stop();
        server.close();
        return nat.close();
      });
      const startedAt = performance.now();
      const stream = tcp.connect(GATEWAY, (server.address() as AddressInfo).port);
      stream.end(up);
      const downloaded = await readAll(stream);
      expect(hashOf(downloaded)).toBe(hashOf(down));
      await expect.poll(() => uploaded, { timeout: 60_000 }).toEqual([hashOf(up)]);
      await expect.poll(() => guest.statistics.tcpOpen, { timeout: 30_000 }).toBe(0);
      expect(guest.statistics.dropped).toEqual({});
      console.log(`${name}: ${((2 * BYTES) / 1000 / (performance.now() - startedAt)).toFixed(1)} MB/s`);
    }, 180_000);
});

function lossy(loss: number, late: number, seed: number): Channel {
  const next = mulberry(seed);
  return () => {
    if (next() < loss) return [];
    const delay = next() < late ? 1 + 10 * next() : 0;
    return loss > 0 && late > 0 && next() < 0.01 ? [delay, 0] : [delay];
  };
}
