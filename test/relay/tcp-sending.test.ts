import { describe, expect, it } from "vitest";
import { A, B, full, MSS, opened, text } from "./scripted-peer.ts";

describe("sending", () => {
  it("keeps to the guest's segment size, 536 when it names none", () => {
    const named = opened({ mss: 700 });
    named.connection.write(text("x".repeat(1500)));
    expect(named.take().map(({ data }) => data.length)).toEqual([700, 700, 100]);
    const silent = opened({ mss: null });
    silent.connection.write(text("x".repeat(1000)));
    expect(silent.take().map(({ data }) => data.length)).toEqual([536, 464]);
    const larger = opened({ mss: 9000 });
    larger.connection.write(text("x".repeat(1500)));
    expect(larger.take().map(({ data }) => data.length)).toEqual([1460, 40]);
  });

  it("starts with ten segments, and doubles", () => {
    const peer = opened({ windowScale: 7 });
    peer.connection.write(text(full("x").repeat(100)));
    expect(peer.take().length).toBe(10);
    for (let i = 1; i <= 10; i++) peer.give("A", { ack: A + i * MSS });
    expect(peer.take().length).toBe(20);
  });

  it("keeps to the guest's window, scaled", () => {
    const peer = opened({ windowScale: 2, window: 60_000 });
    peer.window = 1000; // 4000 bytes
    peer.give("A", { ack: A });
    peer.connection.write(text(full("x").repeat(5)));
    // Two whole segments; the last 1080 bytes of the window would be a silly one.
    expect(peer.take().map(({ data }) => data.length)).toEqual([1460, 1460]);
  });

  it("does not send silly segments, unless nothing else comes", () => {
    const peer = opened();
    peer.window = 3 * MSS;
    peer.give("A", { ack: A });
    peer.connection.write(text(full("x").repeat(10)));
    expect(peer.take().length).toBe(3);
    peer.window = 100;
    peer.give("A", { ack: A + 3 * MSS });
    expect(peer.take()).toEqual([]);
    peer.clock.pass(450);
    expect(peer.take().map(({ data }) => data.length)).toEqual([100]);
  });

  it("probes a closed window, ever more rarely up to five seconds, and goes on when it opens", () => {
    const peer = opened();
    peer.window = 0;
    peer.give("A", { ack: A });
    peer.connection.write(text("waiting"));
    expect(peer.take()).toEqual([]);
    let since = peer.clock.time;
    const gaps: number[] = [];
    for (let i = 0; i < 8; i++) {
      let probe = peer.take();
      while (probe.length === 0) {
        peer.clock.pass(100);
        probe = peer.take();
      }
      expect(probe).toMatchObject([{ flags: "A", seq: A - 1, data: "" }]);
      gaps.push((probe[0]?.at ?? 0) - since);
      since = probe[0]?.at ?? 0;
      peer.give("A", { ack: A });
    }
    for (let i = 1; i < gaps.length; i++) {
      expect(gaps[i]).toBeGreaterThanOrEqual(Math.min(4900, (gaps[i - 1] ?? 0) * 1.8));
      expect(gaps[i]).toBeLessThanOrEqual(5100);
    }
    // For hours, as long as it is answered.
    for (let i = 0; i < 60; i++) {
      peer.clock.pass(60_000);
      peer.take();
      peer.give("A", { ack: A });
    }
    expect(peer.state).toBe("ESTABLISHED");
    peer.window = 5000;
    peer.give("A", { ack: A });
    expect(peer.brief()).toEqual([`PA ${A} ${B} waiting`]);
    // Not answered: it ends.
    const dead = opened();
    dead.window = 0;
    dead.give("A", { ack: A });
    dead.connection.write(text("waiting"));
    dead.clock.pass(400_000);
    expect(dead.end).toBe("timeout");
  });

  it("a guest that takes its window back hears what is acknowledged, and goes on when its news of room are lost", () => {
    const peer = opened({ sackPermitted: true });
    peer.connection.write(text("x".repeat(1460)));
    peer.take();
    // It had no memory for them: none is taken, and the window is closed behind what it has.
    peer.window = 0;
    peer.give("A", { ack: A });
    peer.give("PA", { ack: A, data: "upward" });
    expect(peer.brief()).toEqual([`A ${A} ${B + 6}`]);
    // Out of order, and beyond the window by half a segment.
    peer.window = 700;
    peer.give("A", { seq: B + 8, ack: A, data: "later" });
    expect(peer.brief()).toEqual([`A ${A + 700} ${B + 6}`]);
    peer.window = 0;
    for (let i = 0; i < 20; i++) {
      peer.give("A", { seq: B + 13, ack: A });
      peer.clock.pass(5100);
      const [repeated, ...more] = peer.take();
      expect(repeated).toMatchObject({ seq: A, data: "x".repeat(1460) });
      if (i > 6) expect(more).toEqual([]);
    }
    peer.connection.abort();
    expect(peer.brief()).toEqual([`RA ${A} ${B + 6}`]);
  });

  it("waits while the way to the guest is full, without losing patience with the guest", () => {
    const peer = opened();
    peer.connection.write(text("first"));
    peer.take();
    peer.blocked = true;
    peer.connection.write(text("second"));
    peer.clock.pass(300_000);
    expect(peer.take()).toEqual([]);
    peer.blocked = false;
    peer.connection.resume();
    expect(peer.brief()).toEqual([`PA ${A + 5} ${B} second`]);
  });

  it("tells when there is room, and has none left when all is full", () => {
    const peer = opened({}, { sendBuffer: 10_000 });
    peer.connection.write(text("x".repeat(10_000)));
    expect(peer.connection.room).toBe(0);
    peer.give("A", { ack: A + 5840 });
    expect(peer.connection.room).toBe(5840);
    expect(peer.events).toContain("writable");
  });
});

describe("losses", () => {
  it("sends again after the timeout, with twice the patience each time (RFC 6298)", () => {
    const peer = opened();
    peer.connection.write(text("lost"));
    const [first] = peer.take();
    const start = first?.at ?? 0;
    peer.clock.pass(100_000);
    const times = peer.take().map(({ at, data }) => {
      expect(data).toBe("lost");
      return at - start;
    });
    // The handshake took no time: the timeout is at its floor of 300 ms.
    const expected = [300, 900, 2100, 4500, 9300, 18_900, 38_100, 76_500];
    expect(times.length).toBe(expected.length);
    expected.forEach((ms, i) => {
      expect(Math.abs((times[i] ?? 0) - ms)).toBeLessThan(120);
    });
    peer.clock.pass(200_000);
    expect(peer.end).toBe("timeout");
    expect(peer.take().at(-1)?.flags).toBe("RA");
  });

  it("measures round trips", () => {
    const peer = opened();
    for (let i = 0; i < 100; i++) {
      peer.connection.write(text("x"));
      peer.clock.pass(500);
      peer.give("A", { ack: A + i + 1 });
    }
    peer.take();
    peer.connection.write(text("y"));
    peer.take();
    peer.clock.pass(480);
    expect(peer.take()).toEqual([]);
    peer.clock.pass(200);
    expect(peer.take().length).toBe(1);
  });

  it("fast retransmits at the third duplicate without SACK, and mends one loss a partial acknowledgement", () => {
    const peer = opened({ window: 65535 });
    peer.connection.write(text(full("x").repeat(10)));
    expect(peer.take().length).toBe(10);
    // Segments 1 and 4 (from 0) are lost.
    peer.give("A", { ack: A + MSS });
    for (let i = 0; i < 2; i++) peer.give("A", { ack: A + MSS });
    expect(peer.take().filter(({ seq }) => seq === A + MSS)).toEqual([]);
    peer.give("A", { ack: A + MSS });
    expect(peer.take().map(({ seq }) => (seq - A) / MSS)).toEqual([1]);
    for (let i = 0; i < 4; i++) peer.give("A", { ack: A + MSS });
    peer.give("A", { ack: A + 4 * MSS });
    expect(peer.take().map(({ seq }) => (seq - A) / MSS)).toEqual([4]);
    peer.give("A", { ack: A + 10 * MSS });
    peer.clock.pass(60_000);
    expect(peer.take().filter(({ data }) => data)).toEqual([]);
  });

  it("with SACK sends exactly what is missing, once", () => {
    const peer = opened({ sackPermitted: true, windowScale: 7 });
    peer.connection.write(text(full("x").repeat(10)));
    peer.take();
    const sack = (...segments: number[]): number[] => segments.map((n) => A + n * MSS);
    peer.give("A", { ack: A, sack: sack(1, 2) });
    peer.give("A", { ack: A, sack: sack(3, 4, 1, 2) });
    expect(peer.take()).toEqual([]);
    peer.give("A", { ack: A, sack: sack(3, 5, 1, 2) });
    for (let i = 6; i <= 7; i++) peer.give("A", { ack: A, sack: sack(3, i, 1, 2) });
    for (let i = 9; i <= 10; i++) peer.give("A", { ack: A, sack: sack(8, i, 3, 7, 1, 2) });
    const sent = peer.take().map(({ seq }) => (seq - A) / MSS);
    expect(sent.slice(0, 2)).toEqual([0, 2]);
    expect([...sent].sort()).toEqual([...new Set(sent)].sort());
    peer.give("A", { ack: A + 7 * MSS, sack: sack(8, 10) });
    expect(peer.take().map(({ seq }) => (seq - A) / MSS)).toEqual(sent.includes(7) ? [] : [7]);
  });

  it("sends again what the guest had and has thrown away (RFC 2018, section 8)", () => {
    const peer = opened({ sackPermitted: true });
    peer.connection.write(text(full("x").repeat(3)));
    peer.take();
    peer.give("A", { ack: A, sack: [A + MSS, A + 3 * MSS] });
    peer.clock.pass(1200); // two timeouts
    peer.take();
    peer.give("A", { ack: A + MSS });
    expect(peer.take().map(({ seq }) => (seq - A) / MSS)).toEqual([1, 2]);
  });

  it("after a timeout slow-starts through what is missing", () => {
    const peer = opened({ windowScale: 7 });
    peer.connection.write(text(full("x").repeat(10)));
    peer.take();
    peer.clock.pass(450);
    expect(peer.take().map(({ seq }) => (seq - A) / MSS)).toEqual([0]);
    peer.give("A", { ack: A + MSS });
    expect(peer.take().map(({ seq }) => (seq - A) / MSS)).toEqual([1, 2]);
    peer.give("A", { ack: A + 3 * MSS });
    expect(peer.take().map(({ seq }) => (seq - A) / MSS)).toEqual([3, 4, 5, 6]);
  });
});
