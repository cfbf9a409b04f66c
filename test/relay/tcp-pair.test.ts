import { describe, expect, it } from "vitest";
import { mulberry } from "./chance.ts";
import { MSS, Peer, sackOf, synOf, text } from "./scripted-peer.ts";

/** A channel that loses, doubles and delays, with a peer that is a TCP connection of ours as well. */
describe("two connections with each other", () => {
  for (const [name, loss, reorder] of [
    ["in order", 0, 0],
    ["10 % lost", 0.1, 0],
    ["10 % lost, 10 % late, 2 % twice", 0.1, 0.1],
  ] as const)
    it(`move every byte: ${name}, across the wrap of both sequences`, () => {
      const random = mulberry(loss * 100 + reorder * 10 + 1);
      const left = new Peer({ initialSequence: 0xffff_ff00 });
      const right = new Peer({ initialSequence: 0xffff_8000 });
      // One clock for both.
      const { clock } = left;
      Object.assign(right.clock, { now: () => clock.now(), after: clock.after.bind(clock) });
      const message = (n: number): string => {
        const make = mulberry(n);
        return Array.from({ length: 300_000 }, () => String.fromCharCode(make() * 256)).join("");
      };
      const [toRight, toLeft] = [message(1), message(2)];
      left.connection.connect();
      let wait = 0;
      const carry = (from: Peer, to: Peer): void => {
        for (const sent of from.take()) {
          const copies = random() < loss ? 0 : reorder > 0 && random() < 0.02 ? 2 : 1;
          for (let i = 0; i < copies; i++)
            clock.after(1 + random() + (random() < reorder ? 20 * random() : 0), () => give(to, sent));
        }
      };
      const written = { left: 0, right: 0 };
      const feed = (peer: Peer, side: "left" | "right", all: string): void => {
        if (peer.state !== "ESTABLISHED" && peer.state !== "CLOSE-WAIT") return;
        const room = Math.min(peer.connection.room, all.length - written[side]);
        if (room > 0) peer.connection.write(text(all.slice(written[side], written[side] + room)));
        written[side] += room;
        if (written[side] === all.length) peer.connection.end();
      };
      while ((left.end === null || right.end === null) && wait++ < 200_000) {
        feed(left, "left", toRight);
        feed(right, "right", toLeft);
        carry(left, right);
        carry(right, left);
        clock.pass(1);
      }
      expect(right.received === toRight).toBe(true);
      expect(left.received === toLeft).toBe(true);
      expect([left.end, right.end]).toEqual(["closed", "closed"]);
      if (loss === 0) expect(wait).toBeLessThan(2000);
    });
});

function give(to: Peer, { seq, ack, flags, window, options, data }: ReturnType<Peer["take"]>[number]): void {
  if (to.state === "CLOSED" && to.end === null && flags === "S") {
    const syn = synOf(seq);
    syn.mss = MSS;
    syn.windowScale = 3;
    syn.sackPermitted = true;
    return to.connection.accept(syn);
  }
  const isSyn = flags.includes("S");
  to.give(flags, {
    seq,
    ack,
    window,
    data,
    sack: isSyn ? [] : (sackOf(options) ?? []),
    ...(isSyn ? { mss: MSS, windowScale: 3, sackPermitted: true } : {}),
  });
}
