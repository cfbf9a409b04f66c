import { afterEach, describe, expect, it, vi } from "vitest";
import { readPorts } from "../../web/listening-ports.ts";
import { findRelay, toWebSocket } from "../../web/relay-place.ts";

const PLACE = new URL("https://play.example.org/linux/relay.json");
const answer = (body: string, status = 200): void =>
  void vi.stubGlobal("fetch", async () => new Response(body, { status }));

afterEach(() => vi.unstubAllGlobals());

describe("the page's own relay", () => {
  it("is where its server says", async () => {
    answer('{"relay": "relay"}');
    expect(await findRelay(PLACE)).toBe("wss://play.example.org/linux/relay");
    answer('{"relay": "wss://relay.example.net/"}');
    expect(await findRelay(PLACE)).toBe("wss://relay.example.net/relay");
  });

  it.each([
    ['{"relay": null}', 200],
    ['{"relay": ""}', 200],
    ['{"relay": 5}', 200],
    ['{"relay": "mailto:me@example.org"}', 200],
    ["{}", 200],
    ["<!doctype html>", 200],
    ["Not found", 404],
    ['{"relay": "relay"}', 500],
  ])("is none after %s with status %i", async (body, status) => {
    answer(body, status);
    expect(await findRelay(PLACE)).toBeNull();
  });

  it("is looked for where it is usually when the server is away", async () => {
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("Failed to fetch")));
    expect(await findRelay(PLACE)).toBe("wss://play.example.org/linux/relay");
  });
});

describe("a relay's address", () => {
  it.each([
    ["ws://localhost:8086", "ws://localhost:8086/relay"],
    ["https://relay.example.org/?token=t", "wss://relay.example.org/relay?token=t"],
    ["wss://relay.example.org/os", "wss://relay.example.org/os"],
    ["javascript:alert(1)", null],
    ["relay.example.org", null],
    ["", null],
    ["off", null],
  ])("%s is %s", (typed, url) => expect(toWebSocket(typed)).toBe(url));
});

describe("the guest's ports", () => {
  it("are read from netstat, each once, without those that nobody outside reaches", () => {
    const output = `Active Internet connections (only servers)
Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name
tcp        0      0 0.0.0.0:8080            0.0.0.0:*               LISTEN      120/httpd
tcp        0      0 127.0.0.1:631           0.0.0.0:*               LISTEN      99/cupsd
tcp        0      0 :::23                   :::*                    LISTEN      88/telnetd
tcp        0      0 0.0.0.0:23              0.0.0.0:*               LISTEN      88/telnetd
udp        0      0 0.0.0.0:9               0.0.0.0:*                           131/nc
udp        0      0 0.0.0.0:68              0.0.0.0:*                           61/udhcpc
`;
    expect(readPorts(output)).toEqual([
      { port: 9, protocol: "udp", program: "nc" },
      { port: 23, protocol: "tcp", program: "telnetd" },
      { port: 8080, protocol: "tcp", program: "httpd" },
    ]);
    expect(readPorts("netstat: not found")).toEqual([]);
  });
});
