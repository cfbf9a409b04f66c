import { createSocket } from "node:dgram";
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../relay/nat/address.ts";
import { fragments } from "../../relay/nat/ipv4.ts";
import { Reassembly } from "../../relay/nat/reassembly.ts";
import { TimerWheel } from "../../relay/nat/timers.ts";
import { decodeUdp, encodeUdp } from "../../relay/nat/udp.ts";
import {
  arpFrame,
  datagramsOf,
  GATEWAY,
  GUEST,
  icmpOf,
  ipFrame,
  packetsOf,
  RESOLVER,
  udpFrame,
} from "./frame-guest.ts";
import { bindUdp, OUTSIDE, start } from "./nat-world.ts";

describe("UDP", () => {
  it("goes to the server and back, larger than the link in both directions", async () => {
    const server = await bindUdp();
    server.on("message", (data, from) => server.send(data, from.port, from.address));
    const { guest, port } = start();
    const number = server.address().port;
    guest.receive(udpFrame(GATEWAY, number, Buffer.from("hello")));
    await expect.poll(() => port.frames.length).toBe(1);
    expect(datagramsOf(port.frames)[0]).toMatchObject({ sourcePort: number, destinationPort: 4000 });
    port.frames.length = 0;
    const data = Buffer.alloc(60_000, "large");
    const payload = encodeUdp({ sourcePort: 4000, destinationPort: number, data }, GUEST, GATEWAY);
    for (const { offset, length, more } of fragments(payload.length, 1500))
      guest.receive(
        Buffer.from(
          ipFrame(
            { protocol: 17, id: 3, fragmentOffset: offset, moreFragments: more },
            payload.subarray(offset, offset + length),
          ),
        ),
      );
    await expect.poll(() => port.frames.length).toBe(41);
    const reassembly = new Reassembly(new TimerWheel(), () => {});
    const whole = packetsOf(port.frames)
      .map(({ ip, frame }) => reassembly.add(ip, frame))
      .at(-1);
    const answer = whole && decodeUdp(whole, 0, whole.length, GATEWAY, GUEST);
    expect(answer && typeof answer === "object" && data.equals(answer.data)).toBe(true);
    expect(guest.statistics.udpOpen).toBe(1);
  });

  it("is refused by policy, by the gateway, by closed ports, and to nowhere", async () => {
    const closed = createSocket("udp4");
    await new Promise<void>((resolve) => closed.bind(0, "127.0.0.1", resolve));
    const closedPort = closed.address().port;
    await new Promise<void>((resolve) => closed.close(resolve));
    const asked: string[] = [];
    const { guest, port } = start({
      hostAliases: { "10.0.2.2": "127.0.0.1" },
      policy: {
        refuse(protocol, address, number) {
          asked.push(`${protocol} ${address} ${number}`);
          return address.startsWith("192.") ? "private addresses are not reachable from here" : null;
        },
      },
    });
    guest.receive(udpFrame(OUTSIDE, 99, Buffer.from("x")));
    guest.receive(udpFrame(RESOLVER, 99, Buffer.from("x")));
    expect(icmpOf(port.frames)).toEqual([
      { type: 3, code: 13, from: GATEWAY },
      { type: 3, code: 3, from: GATEWAY },
    ]);
    guest.receive(udpFrame(GATEWAY, closedPort, Buffer.from("x")));
    await expect.poll(() => icmpOf(port.frames).at(2)).toEqual({ type: 3, code: 3, from: GATEWAY });
    for (const nowhere of ["127.0.0.1", "0.0.0.1", "224.0.0.251", "255.255.255.255", "10.0.2.255", "10.0.2.99"])
      guest.receive(udpFrame(parseAddress(nowhere), 99, Buffer.from("x")));
    guest.receive(udpFrame(GATEWAY, 0, Buffer.from("x")));
    expect(guest.statistics.dropped).toEqual({ "udp.destination": 7 });
    expect(asked).toEqual(["udp 192.0.2.1 99", `udp 127.0.0.1 ${closedPort}`]);
    expect(port.told).toEqual([
      {
        kind: "policy",
        protocol: "udp",
        destination: "192.0.2.1",
        port: 99,
        text: "Cannot send to 192.0.2.1: private addresses are not reachable from here",
      },
    ]);
  });

  it("has a bound on its flows, and ends them when they are idle", async () => {
    const server = await bindUdp();
    const { guest, port } = start({ limits: { udpFlows: 5, udpIdleMs: 300, udpFlowsPerSecond: 1000 } });
    for (let i = 0; i < 20; i++) guest.receive(udpFrame(GATEWAY, server.address().port, Buffer.from("x"), 5000 + i));
    expect(guest.statistics.udpOpen).toBe(5);
    expect(port.told[0]).toMatchObject({ kind: "limit", protocol: "udp" });
    await expect.poll(() => guest.statistics.udpOpen).toBe(0);
  });

  it("comes in from the gateway's address", () => {
    const { guest, port } = start();
    const got: string[] = [];
    const channel = guest.openUdp(7, (data) => got.push(Buffer.from(data).toString()));
    channel.send(Buffer.from("lost: no address yet"));
    guest.receive(arpFrame(GATEWAY));
    port.frames.length = 0;
    channel.send(Buffer.from("hello"));
    const [datagram] = datagramsOf(port.frames);
    expect(datagram).toMatchObject({ destinationPort: 7 });
    guest.receive(udpFrame(GATEWAY, datagram?.sourcePort ?? 0, Buffer.from("answer"), 7));
    guest.receive(udpFrame(GATEWAY, datagram?.sourcePort ?? 0, Buffer.from("from another port"), 8));
    expect(got).toEqual(["answer"]);
    channel.close();
    guest.receive(udpFrame(GATEWAY, datagram?.sourcePort ?? 0, Buffer.from("late"), 7));
    expect(got).toEqual(["answer"]);
  });
});
