import { describe, expect, it } from "vitest";
import { advance } from "../../relay/nat/sequence.ts";
import { FLAG, Segment } from "../../relay/nat/tcp-segment.ts";
import { ISS, PEER, Peer, text } from "./scripted-peer.ts";

const A = ISS + 1;
const B = PEER + 1;
const MSS = 1460;
const full = (letter: string): string => letter.repeat(MSS);

describe("opening", () => {
  it("answers a SYN, and is established by the acknowledgement", () => {
    const peer = new Peer();
    peer.open({ windowScale: 7, sackPermitted: true });
    const [synAck] = peer.take();
    expect(synAck).toMatchObject({ flags: "SA", seq: ISS, ack: B, window: 65535 });
    expect([...(synAck?.options ?? [])]).toEqual([2, 4, 0x05, 0xb4, 1, 1, 4, 2, 1, 3, 3, 3]);
    expect(peer.state).toBe("ESTABLISHED");
    expect(peer.events).toEqual(["open"]);
  });

  it("offers only what was offered", () => {
    const peer = new Peer();
    peer.open();
    expect([...(peer.take()[0]?.options ?? [])]).toEqual([2, 4, 0x05, 0xb4]);
  });

  it("answers the same SYN again, and sends its answer again by itself, until it gives up", () => {
    const peer = new Peer();
    peer.give("S", { seq: PEER });
    expect(peer.take()).toEqual([]); // closed: nothing was accepted yet
    peer.connection.accept(synOf(PEER));
    peer.seq = B;
    peer.give("S", { seq: PEER });
    expect(peer.brief()).toEqual([`SA ${ISS} ${B}`, `SA ${ISS} ${B}`]);
    peer.clock.pass(60_000);
    const times = peer.take().filter(({ flags }) => flags === "SA");
    expect(times.length).toBe(4); // after 1, 3, 7, 15 s
    expect(peer.end).toBe("timeout");
    expect(peer.isGone).toBe(true);
  });

  it("refuses an acknowledgement of what it has not sent", () => {
    const peer = new Peer();
    peer.connection.accept(synOf(PEER));
    peer.seq = B;
    peer.take();
    peer.give("A", { ack: A + 7 });
    expect(peer.brief()).toEqual([`R ${A + 7} 0`]);
    expect(peer.state).toBe("SYN-RECEIVED");
    peer.give("A", { ack: A, data: "early" });
    expect(peer.received).toBe("early");
  });

  it("is gone when the guest resets a half-open connection", () => {
    const peer = new Peer();
    peer.connection.accept(synOf(PEER));
    peer.give("R", { seq: B });
    expect([peer.state, peer.end]).toEqual(["CLOSED", "refused"]);
  });

  it("calls the guest", () => {
    const peer = new Peer();
    peer.connection.connect();
    const [syn] = peer.take();
    expect(syn).toMatchObject({ flags: "S", seq: ISS, ack: 0 });
    expect([...(syn?.options ?? [])]).toEqual([2, 4, 0x05, 0xb4, 1, 1, 4, 2, 1, 3, 3, 3]);
    peer.give("SA", { ack: A, windowScale: 2, mss: 1000, sackPermitted: true });
    expect(peer.state).toBe("ESTABLISHED");
    expect(peer.brief()).toEqual([`A ${A} ${B}`]);
    peer.connection.write(text("x".repeat(1500)));
    expect(peer.take().map(({ data }) => data.length)).toEqual([1000, 500]);
  });

  it("is refused by the guest, or not answered", () => {
    const refused = new Peer();
    refused.connection.connect();
    refused.give("RA", { seq: 0, ack: A + 1 }); // not an answer to this SYN
    expect(refused.state).toBe("SYN-SENT");
    refused.give("RA", { seq: 0, ack: A });
    expect(refused.end).toBe("refused");
    const silent = new Peer({ handshakeMs: 15_000 });
    silent.connection.connect();
    silent.clock.pass(40_000);
    expect(silent.end).toBe("timeout");
    expect(silent.brief().every((sent) => sent === `S ${ISS} 0`)).toBe(true);
  });

  it("resets an old connection's acknowledgement of a SYN", () => {
    const peer = new Peer();
    peer.connection.connect();
    peer.take();
    peer.give("A", { seq: 1, ack: A + 50 });
    expect(peer.brief()).toEqual([`R ${A + 50} 0`]);
    expect(peer.state).toBe("SYN-SENT");
  });

  it("opens from both sides at once", () => {
    const peer = new Peer();
    peer.connection.connect();
    peer.take();
    peer.give("S", { seq: PEER, mss: 1460 });
    expect(peer.state).toBe("SYN-RECEIVED");
    expect(peer.brief()).toEqual([`SA ${ISS} ${B}`]);
    peer.give("SA", { seq: PEER, ack: A });
    expect(peer.state).toBe("ESTABLISHED");
    expect(peer.brief()).toEqual([`A ${A} ${B}`]);
    peer.seq = B;
    peer.give("A", { ack: A, data: "hi" });
    expect(peer.received).toBe("hi");
  });
});

describe("closing", () => {
  it("by the guest first: CLOSE-WAIT, LAST-ACK, CLOSED", () => {
    const peer = opened();
    peer.give("FA", { ack: A });
    expect(peer.state).toBe("CLOSE-WAIT");
    expect(peer.brief()).toEqual([`A ${A} ${B + 1}`]);
    peer.connection.write(text("still"));
    peer.connection.end();
    expect(peer.state).toBe("LAST-ACK");
    expect(peer.brief()).toEqual([`PA ${A} ${B + 1} still`, `FA ${A + 5} ${B + 1}`]);
    peer.give("A", { ack: A + 6 });
    expect([peer.state, peer.end, peer.isGone]).toEqual(["CLOSED", "closed", true]);
    expect(peer.events).toEqual(["open", "end", "close closed"]);
  });

  it("by the relay first: FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT, CLOSED; data flow on in between", () => {
    const peer = opened();
    peer.connection.end();
    expect(peer.state).toBe("FIN-WAIT-1");
    peer.give("A", { ack: A, data: "one" });
    expect(peer.state).toBe("FIN-WAIT-1");
    peer.give("A", { ack: A + 1 });
    expect(peer.state).toBe("FIN-WAIT-2");
    peer.give("A", { ack: A + 1, data: "two" });
    peer.give("FA", { ack: A + 1, data: "three" });
    expect([peer.state, peer.received]).toEqual(["TIME-WAIT", "onetwothree"]);
    expect(peer.brief().at(-1)).toBe(`A ${A + 1} ${B + 12}`);
    // The last acknowledgement was lost: the FIN comes again.
    peer.clock.pass(9000);
    peer.give("FA", { seq: B + 11, ack: A + 1 });
    expect(peer.brief()).toEqual([`A ${A + 1} ${B + 12}`]);
    peer.clock.pass(9000);
    expect(peer.isGone).toBe(false);
    peer.clock.pass(2000);
    expect([peer.state, peer.isGone]).toEqual(["CLOSED", true]);
    expect(peer.events).toEqual(["open", "end", "close closed"]);
  });

  it("FIN-WAIT-1 straight to TIME-WAIT when one segment ends and acknowledges", () => {
    const peer = opened();
    peer.connection.end();
    peer.give("FA", { ack: A + 1 });
    expect(peer.state).toBe("TIME-WAIT");
  });

  it("from both sides at once: CLOSING", () => {
    const peer = opened();
    peer.connection.end();
    peer.take();
    peer.give("FA", { ack: A });
    expect(peer.state).toBe("CLOSING");
    expect(peer.brief()).toEqual([`A ${A + 1} ${B + 1}`]);
    peer.give("A", { ack: A + 1 });
    expect(peer.state).toBe("TIME-WAIT");
  });

  it("a FIN that comes before its data waits for them", () => {
    const peer = opened();
    peer.give("FA", { seq: B + 3, ack: A, data: "def" });
    expect([peer.state, peer.received]).toEqual(["ESTABLISHED", ""]);
    peer.give("A", { seq: B, ack: A, data: "abc" });
    expect([peer.state, peer.received]).toEqual(["CLOSE-WAIT", "abcdef"]);
    expect(peer.brief().at(-1)).toBe(`A ${A} ${B + 7}`);
  });

  it("a lost FIN is sent again", () => {
    const peer = opened();
    peer.connection.write(text("bye"));
    peer.connection.end();
    peer.take();
    peer.give("A", { ack: A + 3 });
    peer.clock.pass(500);
    expect(peer.brief()).toEqual([`FA ${A + 3} ${B}`]);
    peer.give("A", { ack: A + 4 });
    expect(peer.state).toBe("FIN-WAIT-2");
  });
});

describe("resetting", () => {
  it("by the guest, at the very next number only", () => {
    const peer = opened();
    peer.give("R", { seq: B + 1 });
    expect(peer.state).toBe("ESTABLISHED");
    expect(peer.brief()).toEqual([`A ${A} ${B}`]); // a challenge (RFC 5961)
    peer.give("R", { seq: B - 1 });
    peer.give("R", { seq: B + 70_000 });
    expect(peer.brief()).toEqual([]);
    peer.give("R", { seq: B });
    expect([peer.state, peer.end, peer.isGone]).toEqual(["CLOSED", "reset", true]);
  });

  it("by the relay, at once or after what was written", () => {
    const now = opened();
    now.connection.write(text("never mind"));
    now.take();
    now.connection.abort();
    expect(now.brief()).toEqual([`RA ${A + 10} ${B}`]);
    expect(now.end).toBe("aborted");
    const later = opened();
    later.connection.write(text("first"));
    later.connection.endWithReset();
    expect(later.brief()).toEqual([`PA ${A} ${B} first`]);
    expect(later.state).toBe("ESTABLISHED");
    later.give("A", { ack: A + 5 });
    expect(later.brief()).toEqual([`RA ${A + 5} ${B}`]);
  });

  it("a SYN in a connection is challenged, which a guest that has restarted resolves by a reset", () => {
    const peer = opened();
    peer.give("S", { seq: B + 1000 });
    expect(peer.brief()).toEqual([`A ${A} ${B}`]);
    peer.give("R", { seq: B });
    expect(peer.end).toBe("reset");
  });

  it("challenges are rare", () => {
    const peer = opened();
    for (let i = 0; i < 1000; i++) peer.give("A", { ack: A + 1_000_000 });
    expect(peer.take().length).toBe(1);
    peer.clock.pass(200);
    peer.give("A", { ack: A + 1_000_000 });
    expect(peer.take().length).toBe(1);
  });
});

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

describe("staying", () => {
  it("a relay that has stood still asks first, and goes on with a guest that was there all the time", () => {
    const [sending, held, opening] = [opened(), opened(), new Peer()];
    sending.connection.write(text("lost"));
    sending.clock.pass(400);
    held.give("A", { ack: A, window: 0 });
    held.connection.write(text("held"));
    held.clock.pass(400);
    opening.connection.accept(synOf(PEER));
    opening.seq = B;
    for (const peer of [sending, held, opening]) {
      peer.take();
      peer.clock.time += 600_000;
      peer.clock.pass(10);
      expect(peer.end).toBeNull();
      expect(peer.take().map(({ flags }) => flags)).not.toContain("RA");
    }
    sending.give("A", { ack: A + 4 });
    held.give("A", { ack: A, window: 1000 });
    opening.give("A", { ack: A });
    expect(held.take().map(({ data }) => data)).toEqual(["held"]);
    expect(opening.state).toBe("ESTABLISHED");
    // Who is silent then is given up all the same.
    sending.connection.write(text("more"));
    sending.clock.pass(200_000);
    expect(sending.end).toBe("timeout");
  });

  it("asks a silent guest whether it is there, and ends when it is not", () => {
    const peer = opened();
    peer.clock.pass(121_000);
    expect(peer.brief()).toEqual([`A ${A - 1} ${B}`]);
    peer.give("A", { ack: A });
    peer.clock.pass(100_000);
    expect(peer.brief()).toEqual([]);
    peer.clock.pass(300_000);
    const sent = peer.brief();
    expect(sent.slice(0, -1)).toEqual(Array(5).fill(`A ${A - 1} ${B}`));
    expect(sent.at(-1)).toBe(`RA ${A} ${B}`);
    expect(peer.end).toBe("timeout");
  });

  it("ends without any data after its idle time, though the guest is there", () => {
    const peer = opened();
    for (let minute = 0; minute < 124; minute++) {
      peer.clock.pass(60_000);
      if (peer.take().length > 0) peer.give("A", { ack: A });
      if (minute < 122) expect(peer.state).toBe("ESTABLISHED");
    }
    expect(peer.end).toBe("timeout");
  });
});

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

function synOf(seq: number): Segment {
  const segment = new Segment();
  segment.seq = seq;
  segment.flags = FLAG.syn;
  segment.window = 65535;
  return segment;
}

function opened(syn: Parameters<Peer["open"]>[0] = {}, options: ConstructorParameters<typeof Peer>[0] = {}): Peer {
  const peer = new Peer(options).open(syn);
  peer.take();
  return peer;
}

function sackOf(options: Uint8Array | null | undefined): number[] | null {
  if (options?.[2] !== 5) return null;
  const view = new DataView(options.buffer, options.byteOffset, options.byteLength);
  return Array.from({ length: (options.length - 4) / 4 }, (_, i) => view.getUint32(4 + 4 * i));
}

function mulberry(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
