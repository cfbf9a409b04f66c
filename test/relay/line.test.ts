/** What guests get when the relay uses the memory of frames and pieces again, while some of it waits. */
import { createHash } from "node:crypto";
import { createServer } from "node:net";
import { afterEach, expect, it } from "vitest";
import { createNat } from "../../relay/nat/nat.ts";
import { type RelayOptions, readOptions } from "../../relay/options.ts";
import { createPolicy } from "../../relay/policy.ts";
import { listen, testRelay } from "./guests.ts";
import { LOOPBACK } from "./network.ts";
import { SimulatedGuest } from "./simulated-guest.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** Bytes in which no two places look alike. */
function bytesOf(seed: string, length: number): Buffer {
  const parts: Buffer[] = [];
  for (let i = 0; parts.length * 64 < length; i++) parts.push(createHash("sha512").update(`${seed} ${i}`).digest());
  return Buffer.concat(parts).subarray(0, length);
}

it.each([
  ["as fast as it goes", [], 1 << 20],
  ["at a rate, behind which frames wait", ["--bytes-per-second", "200k"], 256 << 10],
])(
  "four downloads of two guests, %s, are what the servers sent",
  async (_name, words, length) => {
    const all = ["--allow", "127.0.0.1", ...words];
    const engine = createNat({ policy: createPolicy(readOptions(all, {}) as RelayOptions), hostAliases: LOOPBACK });
    const relay = await testRelay(all, { engine });
    ends.push(() => relay.close());
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", (name: Buffer) => socket.end(bytesOf(name.toString(), length)));
    });
    const port = await listen(server);
    ends.push(() => server.close());
    const guests = await Promise.all([SimulatedGuest.join(relay.url), SimulatedGuest.join(relay.url)]);
    ends.push(() => {
      for (const guest of guests) guest.leave();
    });
    const names = ["one", "two", "three", "four"];
    const got = await Promise.all(
      names.map(async (name, i) => {
        const stream = (guests[i % 2] as SimulatedGuest).connect(port);
        stream.write(name);
        const parts: Buffer[] = [];
        for await (const part of stream) parts.push(part as Buffer);
        stream.end();
        return Buffer.concat(parts);
      }),
    );
    for (const [i, name] of names.entries()) expect(got[i]?.equals(bytesOf(name, length)), name).toBe(true);
    // Frames that were written over would come as doubles of others, and TCP would make up for what is missing.
    for (const guest of guests) expect(guest.tcp.bytes).toBeLessThan(3 * length);
  },
  60_000,
);
