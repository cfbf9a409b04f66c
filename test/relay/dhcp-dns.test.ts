import { describe, expect, it } from "vitest";
import { parseAddress, parseMac } from "../../relay/nat/address.ts";
import { answerDhcp, DHCP_OPTION, DHCP_TYPE, type DhcpMessage, decodeDhcp, encodeDhcp } from "../../relay/nat/dhcp.ts";
import { answers, decodeDns, makeError, truncate } from "../../relay/nat/dns-message.ts";
import { copyOf, getU32 } from "../../relay/nat/words.ts";
import { answerTest, makeQuery } from "./dns-server.ts";

const GUEST = parseAddress("10.0.2.15");

describe("DHCP", () => {
  const configuration = {
    guest: GUEST,
    gateway: GUEST - 13,
    dns: GUEST - 12,
    mask: 0xffffff00,
    broadcast: GUEST | 255,
    mtu: 1500,
  };
  const four = (value: number): Uint8Array => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
  const request = (
    type: number,
    more: Partial<DhcpMessage> = {},
    options: [number, Uint8Array][] = [],
  ): DhcpMessage => ({
    op: 1,
    xid: 0xabcdef01,
    flags: 0,
    clientAddress: 0,
    yourAddress: 0,
    hardwareAddress: parseMac("02:11:22:33:44:55"),
    type,
    options: new Map<number, Uint8Array>([[DHCP_OPTION.type, Uint8Array.of(type)], ...options]),
    ...more,
  });
  const ask = (message: DhcpMessage): { destination: number; isBound: boolean; reply: DhcpMessage } | null => {
    const decoded = decodeDhcp(encodeDhcp(message));
    if (!decoded) throw new Error("not decoded");
    const answer = answerDhcp(decoded, configuration);
    const reply = answer && decodeDhcp(answer.message);
    return answer && reply && { destination: answer.destination, isBound: answer.isBound, reply };
  };
  const number = (bytes: Uint8Array | undefined): number => getU32(bytes ?? new Uint8Array(4), 0);

  it("offers and gives the address with all that belongs to it", () => {
    const offer = ask(request(DHCP_TYPE.discover));
    expect(offer).toMatchObject({
      destination: GUEST,
      isBound: false,
      reply: { op: 2, type: DHCP_TYPE.offer, xid: 0xabcdef01, yourAddress: GUEST },
    });
    const ack = ask(
      request(DHCP_TYPE.request, {}, [
        [DHCP_OPTION.requestedAddress, four(GUEST)],
        [DHCP_OPTION.server, four(configuration.gateway)],
      ]),
    );
    expect(ack).toMatchObject({
      destination: GUEST,
      isBound: true,
      reply: { type: DHCP_TYPE.ack, yourAddress: GUEST },
    });
    const { options } = ack?.reply ?? { options: new Map<number, Uint8Array>() };
    expect(
      [
        DHCP_OPTION.mask,
        DHCP_OPTION.router,
        DHCP_OPTION.dns,
        DHCP_OPTION.leaseTime,
        DHCP_OPTION.renewal,
        DHCP_OPTION.rebinding,
      ].map((code) => number(options.get(code))),
    ).toEqual([0xffffff00, configuration.gateway, configuration.dns, 86_400, 43_200, 75_600]);
    expect(options.get(DHCP_OPTION.mtu)).toEqual(Uint8Array.of(5, 220));
  });

  it("broadcasts when it is asked to, renews by unicast, refuses other addresses", () => {
    expect(ask(request(DHCP_TYPE.discover, { flags: 0x8000 }))?.destination).toBe(0xffffffff);
    expect(ask(request(DHCP_TYPE.request, { clientAddress: GUEST }))).toMatchObject({
      destination: GUEST,
      isBound: true,
    });
    expect(ask(request(DHCP_TYPE.request, {}, [[DHCP_OPTION.requestedAddress, four(GUEST + 1)]]))).toMatchObject({
      destination: 0xffffffff,
      isBound: false,
      reply: { type: DHCP_TYPE.nak, yourAddress: 0 },
    });
    expect(ask(request(DHCP_TYPE.inform, { clientAddress: GUEST + 5 }))).toMatchObject({
      destination: GUEST + 5,
      reply: { type: DHCP_TYPE.ack, yourAddress: 0 },
    });
  });

  it("is silent to answers, to other servers' clients, and to farewells", () => {
    expect(ask(request(DHCP_TYPE.discover, { op: 2 }))).toBeNull();
    expect(ask(request(DHCP_TYPE.request, {}, [[DHCP_OPTION.server, four(1)]]))).toBeNull();
    expect(ask(request(DHCP_TYPE.release))).toBeNull();
    expect(ask(request(DHCP_TYPE.decline))).toBeNull();
  });

  it("refuses what is cut off", () => {
    const good = encodeDhcp(request(DHCP_TYPE.discover));
    for (let length = 0; length < 243; length++) expect(decodeDhcp(good.subarray(0, length))).toBeNull();
    const bad = good.slice();
    bad.set([12, 200], 243);
    expect(decodeDhcp(bad)).toBeNull();
    bad[236] = 0;
    expect(decodeDhcp(bad)).toBeNull();
  });
});

describe("DNS messages", () => {
  const query = makeQuery("www.example.test", 1);
  it("are read as far as a forwarder needs", () => {
    expect(decodeDns(query)).toMatchObject({
      id: 0x1234,
      isAnswer: false,
      questions: 1,
      name: "www.example.test",
      type: 1,
      questionEnd: query.length,
      udpSize: 512,
    });
    const opt = Buffer.concat([query, Buffer.of(0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0)]);
    opt[11] = 1;
    expect(decodeDns(opt)?.udpSize).toBe(4096);
    for (let length = 0; length < query.length; length++) expect(decodeDns(query.subarray(0, length))).toBeNull();
  });

  it("tell a right answer from another", () => {
    const asked = decodeDns(query);
    if (!asked) throw new Error("not decoded");
    const answer = answerTest(query);
    expect(answers(query, asked, answer)).toBe(true);
    const upper = copyOf(answer);
    upper[13] = "W".charCodeAt(0);
    expect(answers(query, asked, upper)).toBe(true);
    expect(answers(query, asked, query)).toBe(false);
    expect(answers(query, asked, answerTest(makeQuery("www.example.tesx", 1)))).toBe(false);
    expect(answers(query, asked, answerTest(makeQuery("www.example.test", 28)))).toBe(false);
    expect(answers(query, asked, makeError(query, null, 1))).toBe(true);
  });

  it("say only an error, or that there is more", () => {
    expect(decodeDns(makeError(query, decodeDns(query), 5))).toMatchObject({
      isAnswer: true,
      rcode: 5,
      name: "www.example.test",
    });
    const short = truncate(answerTest(query));
    expect(decodeDns(short)).toMatchObject({ isAnswer: true, isTruncated: true, questionEnd: short.length });
  });

  it("do not hang on names that point at themselves", () => {
    const loop = Uint8Array.from(query);
    loop.set([0xc0, 12], 12);
    expect(decodeDns(loop)).not.toBeUndefined();
    expect(decodeDns(Uint8Array.of(0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0))).toBeNull();
  });
});
