import { describe, expect, it } from "vitest";
import { advance } from "../../relay/nat/sequence.ts";
import { mulberry } from "./chance.ts";
import { A, B, full, MSS, opened, Peer, sackOf, text } from "./scripted-peer.ts";

describe("receiving", () => {
  it("acknowledges once for a turn", () => {
    const peer = opened();
    for (const part of ["ab", "cd", "ef"]) peer.give("A", { ack: A, data: part });
    expect(peer.brief()).toEqual([`A ${A} ${B + 6}`]);
    expect(peer.received).toBe("abcdef");
  });

  it("waits a little for more of a stream, up to a quarter of the window; its last segment is not full and waits for nothing", () => {
    const peer = opened({ windowScale: 7 });
    const full = "x".repeat(1460);
    for (let i = 0; i < 8; i++) {
      peer.give("A", { ack: A, data: full });
      expect(peer.waitsLonger, `segment ${i}`).toBe(i === 7);
      // Each in a turn of its own, as they come from an emulated guest.
      if (i < 7) expect(peer.brief()).toEqual([`A ${A} ${B + (i + 1) * 1460}`]);
      peer.clock.pass(0.2);
    }
    // 64 KB: the eighth waits already.
    for (let i = 8; i < 51; i++) peer.give("A", { ack: A, data: full });
    expect(peer.waitsLonger).toBe(true);
    expect(peer.sent).toEqual([]);
    peer.give("A", { ack: A, data: full });
    // At the end of the turn, so that what the server has taken until then is room already.
    expect(peer.waitsLonger).toBe(false);
    expect(peer.sent).toEqual([]);
    expect(peer.take().map(({ ack, window }) => [ack, window << 3])).toEqual([[B + 52 * 1460, 256 * 1024]]);
    peer.give("A", { ack: A, data: full });
    peer.give("A", { ack: A, data: "the end" });
    expect(peer.waitsLonger).toBe(false);
    expect(peer.brief().at(-1)).toBe(`A ${A} ${B + 53 * 1460 + 7}`);
    // After a pause it is no stream any more.
    for (let i = 0; i < 8; i++) {
      peer.take();
      peer.give("A", { ack: A, data: full });
    }
    expect(peer.waitsLonger).toBe(true);
    peer.take();
    peer.clock.pass(6);
    peer.give("A", { ack: A, data: full });
    expect(peer.waitsLonger).toBe(false);
  });

  it("puts out-of-order and overlapping segments in order, first come first kept", () => {
    const peer = opened({ sackPermitted: true });
    peer.give("A", { seq: B + 6, ack: A, data: "ghi" });
    expect(sackOf(peer.take()[0]?.options)).toEqual([B + 6, B + 9]);
    peer.give("A", { seq: B + 12, ack: A, data: "mno" });
    expect(sackOf(peer.take()[0]?.options)).toEqual([B + 12, B + 15, B + 6, B + 9]);
    peer.give("A", { seq: B + 4, ack: A, data: "efXXXjkl" }); // overlaps ghi
    expect(sackOf(peer.take()[0]?.options)?.slice(0, 2)).toEqual([B + 4, B + 15]);
    peer.give("A", { seq: B, ack: A, data: "abcdZ" });
    expect(peer.received).toBe("abcdZfghijklmno");
    peer.give("A", { seq: B + 10, ack: A, data: "klmnopq" });
    expect(peer.received).toBe("abcdZfghijklmnopq");
    expect(peer.brief().at(-1)).toBe(`A ${A} ${B + 17}`);
  });

  it("acknowledges again what it had", () => {
    const peer = opened();
    peer.give("A", { ack: A, data: "once" });
    peer.take();
    peer.give("A", { seq: B, ack: A, data: "once" });
    expect(peer.brief()).toEqual([`A ${A} ${B + 4}`]);
    expect(peer.received).toBe("once");
    // And keep-alive probes.
    peer.clock.pass(200);
    peer.give("A", { seq: B + 3, ack: A });
    expect(peer.brief()).toEqual([`A ${A} ${B + 4}`]);
  });

  it("takes any order of pieces, doubled and overlapping, across the wrap of sequence numbers", () => {
    const random = mulberry(7);
    for (let round = 0; round < 50; round++) {
      const irs = (0xffffffff - Math.floor(random() * 3000)) >>> 0;
      const peer = new Peer({}, irs).open({ sackPermitted: true });
      const message = Array.from({ length: 5000 }, (_, i) => String.fromCharCode(33 + ((i * 7) % 90))).join("");
      const pieces: [number, number][] = [];
      for (let at = 0; at < message.length; ) {
        const length = 1 + Math.floor(random() * 400);
        pieces.push([at, Math.min(message.length, at + length)]);
        if (random() < 0.5) pieces.push([Math.max(0, at - 100), Math.min(message.length, at + length + 50)]);
        at += length;
      }
      pieces.sort(() => random() - 0.5);
      for (const [from, to] of pieces)
        peer.give("A", { seq: advance(irs, 1 + from), ack: A, data: message.slice(from, to) });
      expect(peer.received).toBe(message);
      expect(peer.take().at(-1)?.ack).toBe(advance(irs, 1 + message.length));
    }
  });

  it("closes its window while nobody takes the data, and opens it again", () => {
    const peer = opened({ windowScale: 7 }, { receiveBuffer: 64 * 1024 });
    peer.consumes = false;
    let given = 0;
    for (let i = 0; i < 60; i++) {
      peer.give("A", { ack: A, data: full("d") });
      given += MSS;
      if (i === 41) peer.turn();
    }
    expect(given).toBeGreaterThan(64 * 1024);
    expect(peer.received.length).toBe(64 * 1024);
    const last = peer.take().at(-1);
    expect(last?.window).toBe(0);
    // The guest probes.
    peer.clock.pass(1000);
    peer.give("A", { seq: advance(last?.ack ?? 0, -1), ack: A });
    peer.give("A", { seq: last?.ack ?? 0, ack: A, data: "p" });
    expect(peer.take().map(({ window }) => window)).toEqual([0, 0]);
    expect(peer.received.length).toBe(64 * 1024);
    // A little room is not worth telling, a quarter is.
    peer.connection.consumed(1000);
    expect(peer.take()).toEqual([]);
    peer.connection.consumed(16 * 1024);
    expect(peer.take()[0]?.window).toBe((16 * 1024 + 1000) >> 3);
  });

  it("takes what comes with the acknowledgement that lets it tell of new room", () => {
    const peer = opened({ windowScale: 0 }, { receiveBuffer: 64 * 1024 });
    peer.consumes = false;
    peer.window = MSS;
    peer.give("A", { ack: A });
    peer.connection.write(text(full("x").repeat(2)));
    peer.give("A", { ack: A, data: "d".repeat(64 * 1024) });
    expect(peer.take().at(-1)?.window).toBe(0);
    // Not enough to be told by itself.
    peer.connection.consumed(10_000);
    peer.give("A", { ack: A + MSS, data: "more" });
    expect(peer.take()[0]).toMatchObject({ seq: A + MSS, window: 10_000 >> 3 });
    expect(peer.received.slice(64 * 1024)).toBe("more");
  });

  it("never takes back what it has allowed", () => {
    const peer = opened({ windowScale: 0 }, { receiveBuffer: 100_003 });
    peer.consumes = false;
    let edge = B + 65535;
    const random = mulberry(3);
    for (let i = 0, held = 0; i < 3000; i++) {
      const length = Math.min(Math.floor(random() * 900), edge - peer.seq);
      if (length > 0) peer.give("A", { ack: A, data: "x".repeat(length) });
      held += length;
      if (random() < 0.5) {
        const taken = Math.floor(random() * held);
        peer.connection.consumed(taken);
        held -= taken;
      }
      for (const { ack, window } of peer.take()) {
        expect(ack + window * 8).toBeGreaterThanOrEqual(edge);
        expect(window * 8).toBeLessThanOrEqual(100_003 + 7);
        edge = ack + window * 8;
      }
      expect(held).toBeLessThanOrEqual(100_003 + 7);
    }
  });

  it("has the whole window without scaling, not more", () => {
    const peer = opened({ windowScale: null });
    peer.give("A", { ack: A, data: "x".repeat(2000) });
    expect(peer.take()[0]?.window).toBe(65535);
  });
});
