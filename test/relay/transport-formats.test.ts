import { describe, expect, it } from "vitest";
import { parseAddress } from "../../relay/nat/address.ts";
import { addPseudoHeader, addWords, finishChecksum } from "../../relay/nat/checksum.ts";
import { decodeIcmp, encodeEcho, encodeIcmpError } from "../../relay/nat/icmp.ts";
import { encodeSack, encodeSynOptions, FLAG, Segment, writeTcp } from "../../relay/nat/tcp-segment.ts";
import { decodeUdp, encodeUdp, UDP_MAX_DATA } from "../../relay/nat/udp.ts";
import { getU16, setU16 } from "../../relay/nat/words.ts";

const GUEST = parseAddress("10.0.2.15");
const SERVER = parseAddress("192.0.2.1");

describe("UDP", () => {
  it("is what it was, with its checksum", () => {
    const bytes = encodeUdp({ sourcePort: 53, destinationPort: 4000, data: Buffer.from("hello") }, SERVER, GUEST);
    const datagram = decodeUdp(bytes, 0, bytes.length, SERVER, GUEST);
    if (typeof datagram === "string") throw new Error(datagram);
    expect([datagram.sourcePort, datagram.destinationPort, Buffer.from(datagram.data).toString()]).toEqual([
      53,
      4000,
      "hello",
    ]);
    expect(finishChecksum(addWords(bytes, 0, bytes.length, addPseudoHeader(SERVER, GUEST, 17, bytes.length)))).toBe(0);
    expect(decodeUdp(bytes, 0, bytes.length, SERVER, GUEST + 1)).toBe("checksum");
    setU16(bytes, 6, 0); // none was made
    expect(typeof decodeUdp(bytes, 0, bytes.length, SERVER, GUEST + 1)).toBe("object");
  });

  it("has lengths that fit", () => {
    const bytes = encodeUdp({ sourcePort: 1, destinationPort: 2, data: new Uint8Array(4) }, SERVER, GUEST);
    for (let length = 0; length < 8; length++) expect(decodeUdp(bytes, 0, length, SERVER, GUEST)).toBe("short");
    expect(decodeUdp(bytes, 0, 11, SERVER, GUEST)).toBe("length");
    setU16(bytes, 4, 7);
    expect(decodeUdp(bytes, 0, 12, SERVER, GUEST)).toBe("length");
    expect(() =>
      encodeUdp({ sourcePort: 1, destinationPort: 2, data: new Uint8Array(UDP_MAX_DATA + 1) }, 0, 0),
    ).toThrow("Cannot make a datagram");
    expect(encodeUdp({ sourcePort: 1, destinationPort: 2, data: new Uint8Array(UDP_MAX_DATA) }, 0, 0).length).toBe(
      65515,
    );
  });

  it("never sends zero as a checksum", () => {
    for (let port = 0; port < 65536; port += 1) {
      const bytes = encodeUdp({ sourcePort: port, destinationPort: 0, data: new Uint8Array(0) }, 0, 0);
      if (getU16(bytes, 6) === 0) throw new Error(`zero for ${port}`);
    }
  });
});

describe("ICMP", () => {
  it("echoes", () => {
    const bytes = encodeEcho(8, { id: 77, sequence: 5, data: Buffer.from("abc") });
    expect(decodeIcmp(bytes, 0, bytes.length)).toMatchObject({ kind: "echo-request", echo: { id: 77, sequence: 5 } });
    bytes[9] = 0;
    expect(decodeIcmp(bytes, 0, bytes.length)).toBe("checksum");
    expect(decodeIcmp(bytes, 0, 7)).toBe("short");
  });

  it("quotes the start of what an error is about", () => {
    const error = encodeIcmpError(3, 13, new Uint8Array(1500).fill(7));
    expect(error.length).toBe(8 + 548);
    expect(decodeIcmp(error, 0, error.length)).toEqual({ kind: "other", type: 3, code: 13 });
  });
});

describe("TCP segments", () => {
  const make = (options: Uint8Array | null, data = ""): Uint8Array => {
    const headerLength = 20 + (options?.length ?? 0);
    const bytes = new Uint8Array(headerLength + data.length);
    bytes.set(Buffer.from(data), headerLength);
    writeTcp(
      bytes,
      0,
      bytes.length,
      SERVER,
      GUEST,
      80,
      4000,
      0xfffffff0,
      0x80000001,
      FLAG.ack | FLAG.psh,
      0xffff,
      options,
    );
    return bytes;
  };
  const decode = (bytes: Uint8Array): Segment => {
    const segment = new Segment();
    expect(segment.decode(bytes, 0, bytes.length, SERVER, GUEST)).toBeNull();
    return segment;
  };
  const raw = (options: number[]): Uint8Array => make(Uint8Array.from(options));

  it("are what they were", () => {
    const segment = decode(make(null, "hello"));
    expect(segment).toMatchObject({
      sourcePort: 80,
      destinationPort: 4000,
      seq: 0xfffffff0,
      ack: 0x80000001,
      flags: 24,
      window: 65535,
      start: 20,
      end: 25,
      mss: null,
      windowScale: null,
      sackPermitted: false,
      sackCount: 0,
    });
  });

  it("carry options", () => {
    expect(decode(make(encodeSynOptions(1460, 7, true)))).toMatchObject({
      mss: 1460,
      windowScale: 7,
      sackPermitted: true,
    });
    expect(decode(make(encodeSynOptions(536, null, false)))).toMatchObject({
      mss: 536,
      windowScale: null,
      sackPermitted: false,
    });
    const segment = decode(make(encodeSack([10, 20, 0xfffffff0, 5]), "x"));
    expect([segment.sackCount, ...segment.sack.subarray(0, 4)]).toEqual([2, 10, 20, 0xfffffff0, 5]);
    expect(segment.end - segment.start).toBe(1);
  });

  it("survive options that are cut off or lie", () => {
    expect(decode(raw([2, 4, 5, 0xb4])).mss).toBe(1460);
    expect(decode(raw([3, 3, 200, 0])).windowScale).toBe(14);
    expect(decode(raw([1, 1, 1, 2])).mss).toBeNull(); // a kind without length
    expect(decode(raw([2, 0, 5, 0xb4])).mss).toBeNull();
    expect(decode(raw([2, 1, 5, 0xb4])).mss).toBeNull();
    expect(decode(raw([2, 5, 5, 0xb4])).mss).toBeNull(); // beyond the header
    expect(decode(raw([2, 3, 5, 0])).mss).toBeNull(); // the wrong length
    expect(decode(raw([0, 2, 4, 5])).mss).toBeNull();
    expect(decode(raw([5, 7, 1, 2, 3, 4, 5, 0])).sackCount).toBe(0);
    expect(decode(raw([5, 40, ...Array(38).fill(1)])).sackCount).toBe(0);
    expect(decode(raw([5, 34, ...Array(34).fill(1)])).sackCount).toBe(4);
    expect(decode(raw([254, 6, 1, 2, 3, 4, 2, 4, 1, 1, 1, 1])).mss).toBe(257); // unknown kinds are skipped
  });

  it("say what is wrong", () => {
    const bytes = make(null, "data");
    for (let length = 0; length < 20; length++)
      expect(new Segment().decode(bytes, 0, length, SERVER, GUEST)).toBe("short");
    expect(new Segment().decode(bytes, 0, 23, SERVER, GUEST)).toBe("checksum");
    expect(new Segment().decode(bytes, 0, 24, SERVER, GUEST + 1)).toBe("checksum");
    bytes[12] = 0x40;
    expect(new Segment().decode(bytes, 0, 24, SERVER, GUEST)).toBe("offset");
    bytes[12] = 0x70;
    expect(new Segment().decode(bytes, 0, 24, SERVER, GUEST)).toBe("offset");
  });
});
