import { describe, expect, it } from "vitest";
import { FlowTable } from "../../relay/nat/flow-table.ts";
import { Rate } from "../../relay/nat/limits.ts";
import { ReceiveQueue } from "../../relay/nat/receive-queue.ts";
import { Scoreboard } from "../../relay/nat/scoreboard.ts";
import { SendQueue } from "../../relay/nat/send-queue.ts";
import { TimerWheel } from "../../relay/nat/timers.ts";
import { VirtualClock } from "./scripted-peer.ts";

describe("queues", () => {
  it("of sending hold blocks of all sizes, and none of another queue", () => {
    const queues = Array.from({ length: 3 }, () => ({ queue: new SendQueue(), all: Buffer.alloc(0) }));
    let state = 1;
    const random = (n: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % n;
    };
    for (let i = 0; i < 6000; i++) {
      const one = queues[random(queues.length)] as (typeof queues)[number];
      const { queue } = one;
      const most = [40, 40, 3000, 20_000][random(4)] as number;
      // The queue keeps a copy: whoever reads from a server uses his memory again.
      const block = Buffer.alloc(random(most), random(256));
      for (let at = random(16); at < block.length; at += 1 + random(512)) block[at] = random(256);
      queue.push(block);
      one.all = Buffer.concat([one.all, block]);
      block.fill(0);
      const drop = random(one.all.length + 1) >> random(3);
      queue.drop(drop);
      one.all = one.all.subarray(drop);
      const { all } = one;
      expect(queue.length).toBe(all.length);
      if (all.length === 0) continue;
      const from = random(all.length);
      const length = 1 + random(all.length - from);
      const target = Buffer.alloc(length + 2);
      queue.copy(from, length, target, 1);
      expect(target.subarray(1, -1).equals(all.subarray(from, from + length))).toBe(true);
    }
  });

  it("of receiving are bounded", () => {
    const queue = new ReceiveQueue();
    for (let i = 0; i < 10_000; i++) queue.insert(2 * i, Buffer.from("x"), 0, 1);
    let pieces = 0;
    for (let seq = 0; seq < 20_000; seq++) if (queue.take(seq)) pieces++;
    expect(pieces).toBeLessThanOrEqual(400);
    expect(queue.blocks()).toEqual([]);
  });

  it("tell what is lost (RFC 6675)", () => {
    const board = new Scoreboard();
    expect(board.add(2000, 3000)).toBe(true);
    expect(board.add(2000, 3000)).toBe(false);
    expect(board.add(2100, 2900)).toBe(false);
    expect(board.lostBefore(1000, 7)).toBe(7);
    board.add(5000, 6000);
    expect(board.lostBefore(1000, 7)).toBe(7); // two segments
    board.add(8000, 8001);
    expect(board.lostBefore(1000, 7)).toBe(2000); // three ranges
    expect(board.missing(1000, 9000)).toBe(8000 - 2001);
    expect([
      board.nextMissing(2000),
      board.nextMissing(3000),
      board.endOfMissing(3000, 9000),
      board.endOfMissing(8500, 9000),
    ]).toEqual([3000, 3000, 5000, 9000]);
    board.add(2500, 5500); // joins them
    expect(board.missing(1000, 7000)).toBe(2000);
    board.advance(4000);
    expect(board.missing(4000, 9000)).toBe(2999);
    board.advance(9000);
    expect(board.isEmpty).toBe(true);
    for (let i = 0; i < 1000; i++) board.add(10_000 + 2 * i, 10_001 + 2 * i);
    expect(board.missing(10_000, 12_000)).toBe(2000 - 64);
  });
});

describe("timers", () => {
  it("fire in time, also after long waits and sleeps", () => {
    const clock = new VirtualClock();
    const wheel = new TimerWheel(clock);
    const start = clock.time;
    const fired: [number, number][] = [];
    const waits = [0, 1, 9, 10, 11, 500, 5110, 5120, 5130, 60_000, 7_440_000];
    for (const ms of waits) {
      const timer = wheel.timer(() => fired.push([ms, clock.time - start]));
      timer.set(ms);
    }
    clock.pass(8_000_000);
    expect(fired.map(([ms]) => ms)).toEqual(waits);
    for (const [ms, at] of fired) {
      expect(at).toBeGreaterThanOrEqual(ms);
      expect(at - ms).toBeLessThanOrEqual(21);
    }
    let count = 0;
    const late = wheel.timer(() => count++);
    late.set(1000);
    clock.time += 3_600_000; // the computer slept
    clock.pass(100);
    expect(count).toBe(1);
  });

  it("are moved, taken back, and set again by themselves", () => {
    const clock = new VirtualClock();
    const wheel = new TimerWheel(clock);
    const fired: number[] = [];
    const start = clock.time;
    const timer = wheel.timer(() => {
      fired.push(clock.time - start);
      if (fired.length < 3) timer.set(100);
    });
    timer.set(10_000);
    timer.set(200); // sooner
    timer.set(300); // later
    clock.pass(1000);
    expect(fired.length).toBe(3);
    expect(Math.abs((fired[0] ?? 0) - 300)).toBeLessThanOrEqual(20);
    timer.set(50);
    timer.clear();
    expect(timer.armed).toBe(false);
    clock.pass(1000);
    expect(fired.length).toBe(3);
    timer.set(50);
    wheel.stop();
    clock.pass(1000);
    expect(fired.length).toBe(3);
  });
});

describe("tables and rates", () => {
  it("find flows by both ends", () => {
    const table = new FlowTable<string>();
    table.set(1, 2, 3, 4, "a");
    table.set(1, 2, 0xffffffff, 65535, "b");
    table.set(1, 2, 3, 4, "c");
    expect([table.get(1, 2, 3, 4), table.get(1, 2, 0xffffffff, 65535), table.get(2, 1, 3, 4), table.size]).toEqual([
      "c",
      "b",
      undefined,
      2,
    ]);
    table.delete(1, 2, 3, 4, "a"); // not there any more
    expect(table.values()).toEqual(["c", "b"]);
    table.delete(1, 2, 3, 4, "c");
    expect(table.size).toBe(1);
  });

  it("allow bursts and then so many a second", () => {
    let now = 0;
    const rate = new Rate(10, () => now);
    const take = (n: number): number => Array.from({ length: n }, () => rate.take()).filter(Boolean).length;
    expect(take(100)).toBe(20);
    now = 1000;
    expect(take(100)).toBe(10);
    now = 100_000;
    expect(take(100)).toBe(20);
  });
});
