import { describe, expect, it } from "vitest";
import { A, B, ISS, opened, PEER, Peer, synOf, text } from "./scripted-peer.ts";

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
