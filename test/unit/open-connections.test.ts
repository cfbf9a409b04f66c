import { describe, expect, it } from "vitest";
import { writeEthernet } from "../../relay/nat/ethernet.ts";
import { Ipv4 } from "../../relay/nat/ipv4.ts";
import { FLAG, Segment, writeTcp } from "../../relay/nat/tcp-segment.ts";
import { OpenConnections } from "../../web/open-connections.ts";
import { probeConnections } from "../../web/saved-connections.ts";

const GUEST_MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
const GATEWAY_MAC = Uint8Array.of(2, 0, 0, 0, 0, 2);
const GUEST = 0x0a00020f;
const SERVER = 0xc6336401;
const PEER = 0x0a000210;

/** What the guest sends on a connection from one of its ports to port 80. */
function segment(peer: number, port: number, ack: number, flags: number = FLAG.ack): Uint8Array {
  const frame = new Uint8Array(54);
  writeEthernet(frame, GATEWAY_MAC, GUEST_MAC, 0x0800);
  frame.set([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6], 14);
  const view = new DataView(frame.buffer);
  view.setUint32(26, GUEST);
  view.setUint32(30, peer);
  writeTcp(frame, 34, 54, GUEST, peer, port, 80, 5, ack, flags, 1000, null);
  return frame;
}

/** Read by the relay's own decoders, which look at both checksums. */
function read(frame: Uint8Array): { ip: Ipv4; tcp: Segment } {
  const ip = new Ipv4();
  const tcp = new Segment();
  expect(ip.decode(frame, 14)).toBeNull();
  expect(tcp.decode(frame, ip.payload, ip.end, ip.source, ip.destination)).toBeNull();
  return { ip, tcp };
}

describe("the guest's open connections", () => {
  it("are reset by just the sequence number that the guest expects", () => {
    const connections = new OpenConnections();
    connections.note(segment(SERVER, 40000, 100));
    connections.note(segment(SERVER, 40000, 0xffffff00));
    const frames = connections.reset();
    expect(frames).toHaveLength(1);
    const frame = frames[0] as Uint8Array;
    expect([frame.slice(0, 6), frame.slice(6, 12)]).toEqual([GUEST_MAC, GATEWAY_MAC]);
    const { ip, tcp } = read(frame);
    expect([ip.source, ip.destination]).toEqual([SERVER, GUEST]);
    expect([tcp.sourcePort, tcp.destinationPort]).toEqual([80, 40000]);
    expect([tcp.flags, tcp.seq]).toEqual([FLAG.rst, 0xffffff00]);
    expect(connections.reset()).toEqual([]);
  });

  it("are those that got an answer and that the guest has not reset itself", () => {
    const connections = new OpenConnections();
    connections.note(segment(SERVER, 1, 0, FLAG.syn));
    connections.note(segment(SERVER, 2, 7));
    connections.note(segment(SERVER, 2, 7, FLAG.rst));
    connections.note(segment(SERVER, 3, 7, FLAG.ack | FLAG.fin));
    for (const length of [0, 13, 14, 33, 53]) connections.note(segment(SERVER, 4, 7).subarray(0, length));
    expect(connections.reset().map((frame) => read(frame).tcp.destinationPort)).toEqual([3]);
  });

  it("go on where they are said to live", () => {
    const connections = new OpenConnections();
    connections.note(segment(SERVER, 1, 7));
    connections.note(segment(PEER, 2, 7));
    expect(connections.reset((_, peer) => peer === PEER)).toHaveLength(1);
    expect(connections.reset().map((frame) => read(frame).ip.source)).toEqual([PEER]);
  });

  it("are remembered up to 4096, those of late first", () => {
    const connections = new OpenConnections();
    for (let port = 1; port <= 4096; port++) connections.note(segment(SERVER, port, 7));
    connections.note(segment(SERVER, 1, 8));
    connections.note(segment(SERVER, 5000, 7));
    const ports = connections.reset().map((frame) => read(frame).tcp.destinationPort);
    expect(ports).toHaveLength(2049);
    expect(ports).toEqual(expect.arrayContaining([1, 4096, 5000]));
  });
});

describe("connections of a saved machine", () => {
  const HEAD = `02:00:00:00:00:01
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
`;
  const line = (ends: string, state: string): string =>
    `   0: ${ends} ${state} 00000000:00000000 00:00000000 00000000     0        0 999 1 0 10 4 30 10 -1\n`;

  it("are asked what they expect, but for those that listen, are over, or stay within the guest", () => {
    const output =
      HEAD +
      line("00000000:0050 00000000:0000", "0A") +
      line("0F02000A:9C40 016433C6:0050", "01") +
      line("0F02000A:9C41 016433C6:0050", "06") +
      line("0100007F:9C42 0100007F:0050", "01") +
      line("0F02000A:0050 0202000A:C000", "05");
    const segments = probeConnections(output, "02:00:00:00:00:02").map((frame) => {
      expect([frame.slice(0, 6), frame.slice(6, 12)]).toEqual([GUEST_MAC, GATEWAY_MAC]);
      const { ip, tcp } = read(frame);
      expect([ip.destination, tcp.flags]).toEqual([GUEST, FLAG.syn]);
      return [ip.source, tcp.sourcePort, tcp.destinationPort];
    });
    expect(segments).toEqual([
      [SERVER, 80, 40000],
      [0x0a000202, 49152, 80],
    ]);
  });

  it.each(["", "cat: not found", HEAD, `no card\n${line("0F02000A:9C40 016433C6:0050", "01")}`])(
    "are none in %j",
    (output) => expect(probeConnections(output, "02:00:00:00:00:02")).toEqual([]),
  );
});
