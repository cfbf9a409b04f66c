import { describe, expect, it } from "vitest";
import { describeOptions, type RelayOptions, readOptions } from "../../relay/options.ts";
import { formatRule } from "../../relay/policy.ts";
import { Bucket, Households, householdKey } from "../../relay/quota.ts";

const read = (words: string[] = [], environment: Record<string, string> = {}): RelayOptions =>
  readOptions(words, environment) as RelayOptions;

describe("the relay's options", () => {
  it("are for this computer alone by default", () => {
    const options = read();
    expect(options).toMatchObject({
      port: 8086,
      host: "127.0.0.1",
      isPublic: false,
      forwardDomain: "localhost",
      forwardPorts: null,
      token: null,
      logLevel: "warn",
    });
    expect(options.limits.bytesPerSecond).toBe(Number.POSITIVE_INFINITY);
    expect(describeOptions(options)).toEqual([
      "Network: local, on 127.0.0.1; 64 guests, no limit of rates. --public listens everywhere and sets limits for each client",
      "Guests reach public addresses only, and no mail servers (port 25)",
      "Guests are reached by web pages at http://ID--PORT.localhost (--forward-domain, --forward-ports)",
    ]);
  });

  it("name the engine, and say so if it is another", () => {
    expect(read().engine).toBe("embedded");
    expect(read([], { RELAY_ENGINE: "slirp" }).engine).toBe("slirp");
    const options = read(["--engine", "kernel"]);
    expect(options.engine).toBe("kernel");
    expect(describeOptions(options)).toContain("Connections go through the kernel engine (--engine)");
    expect(() => read(["--engine", "wisp"])).toThrow("Cannot use --engine wisp: it is one of embedded, slirp, kernel");
  });

  it("are for everybody with --public, which says so", () => {
    const options = read(["--public", "--allow", "10.0.0.0/8:80,fd00::/8", "--deny", "10.0.0.1"]);
    expect(options).toMatchObject({ host: undefined, isPublic: true, forwardDomain: null, logLevel: "info" });
    expect(options.limits).toMatchObject({ guests: 500, guestsPerAddress: 16, bytesPerSecond: 4 * 1024 * 1024 });
    expect(describeOptions(options)).toEqual([
      "Network: public, on all addresses of this computer; 500 guests, 16 of one address, 4.0 MB/s each",
      "Guests reach public addresses only, and no mail servers (port 25); allowed besides: 10.0.0.0/8:80, fd00::/8; closed: 10.0.0.1",
      "Guests are reached by nobody (--forward-domain, --forward-ports)",
      "Anybody may connect: there is no --token",
    ]);
    expect(read([], { RELAY_PUBLIC: "1" }).isPublic).toBe(true);
    expect(read([], { RELAY_PUBLIC: "0" }).isPublic).toBe(false);
  });

  it("come from the command line, else from the environment", () => {
    const environment = {
      PORT: "1",
      HOST: "::1",
      RELAY_ALLOW: "192.0.2.1, 192.0.2.2:80",
      RELAY_TOKEN: "a,b",
      RELAY_FORWARD_PORTS: "1-2",
      RELAY_GUESTS: "9",
      RELAY_ORIGIN: "",
    };
    const options = read([], environment);
    expect(options).toMatchObject({
      port: 1,
      host: "::1",
      token: "a,b",
      forwardPorts: { first: 1, last: 2 },
      origins: [],
    });
    expect(options.allow.map(formatRule)).toEqual(["192.0.2.1", "192.0.2.2:80"]);
    expect(options.limits.guests).toBe(9);
    const other = read(["--port", "2", "--allow", "192.0.2.3", "--allow=192.0.2.4", "--guests", "0"], environment);
    expect(other.port).toBe(2);
    expect(other.allow.map(formatRule)).toEqual(["192.0.2.3", "192.0.2.4"]);
    expect(other.limits.guests).toBe(Number.POSITIVE_INFINITY);
  });

  it("have units", () => {
    const { limits } = read([
      ...[
        "--bytes-per-second",
        "3M",
        "--address-bytes-per-second",
        "100k",
        "--idle-minutes",
        "2",
        "--total-minutes",
        "0",
      ],
      ...["--resume-seconds", "0"],
    ]);
    expect(limits).toMatchObject({
      bytesPerSecond: 3 * 1024 * 1024,
      addressBytesPerSecond: 102_400,
      idleMs: 120_000,
      totalMs: Number.POSITIVE_INFINITY,
      resumeMs: 0,
    });
  });

  it("have a help text that names each of them", () => {
    const { help } = readOptions(["--help"], {}) as { help: string };
    for (const name of [
      "port",
      "public",
      "allow",
      "deny",
      "origin",
      "embed",
      "token",
      "trust-proxy",
      "forward-domain",
      "redis",
      "room-members",
      "log-level",
    ])
      expect(help).toContain(`--${name} `);
    expect(readOptions(["-h"], {})).toEqual({ help });
  });

  it.each([
    [["--port", "65536"], "Cannot listen on port 65536: --port must be a number from 0 to 65535"],
    [["--port", "http"], "Cannot listen on port http: --port must be a number from 0 to 65535"],
    [["--nonsense"], "Cannot understand the command line: Unknown option '--nonsense'; --help shows what there is"],
    [["nonsense"], "Cannot understand the command line: Unexpected argument 'nonsense'"],
    [["--port"], "Cannot understand the command line: Option '--port <value>' argument missing"],
    [["--public=yes"], "Cannot understand the command line: Option '--public' does not take an argument"],
    [["--allow", "10.0.0.1/8"], "Cannot use --allow 10.0.0.1/8: that network is 10.0.0.0/8"],
    [["--deny", "10.0.0.0/8:0"], "Cannot use --deny 10.0.0.0/8:0: ports look like 80 or 8000-8080, from 1 to 65535"],
    [["--forward-ports", "9-8"], "Cannot use --forward-ports 9-8: ports look like"],
    [
      ["--forward-domain", "http://x"],
      "Cannot use --forward-domain http://x: a domain's name looks like guests.example.org",
    ],
    [["--origin", "example.org"], "Cannot use --origin example.org: an origin looks like https://example.org, or is *"],
    [["--origin", "https://example.org/"], "an origin looks like https://example.org"],
    [["--trust-proxy", "proxy"], "Cannot use --trust-proxy proxy: a network looks like"],
    [["--instance", "A"], "Cannot use --instance A: it must be 1 to 12 small letters and digits"],
    [["--redis", "localhost"], "Cannot use --redis: its address begins with redis:// or rediss://"],
    [["--guests", "many"], "Cannot use --guests many: a whole number is needed, k or M may follow"],
    [["--guests=-1"], "Cannot use --guests -1: a whole number is needed"],
    [["--messages-per-second", "0"], "Cannot use --messages-per-second 0: it must be a number from 1 to 10000"],
    [["--room-members", "201"], "Cannot use --room-members 201: it must be a number from 1 to 200"],
    [["--log-level", "loud"], "Cannot use --log-level loud: it is one of trace"],
  ])("refuse %j in words", (words, text) => {
    expect(() => read(words)).toThrow(text);
  });

  it("name the variable that is wrong", () => {
    expect(() => read([], { PORT: "x" })).toThrow("Cannot listen on port x: PORT must be a number from 0 to 65535");
    expect(() => read([], { RELAY_ALLOW: "x" })).toThrow("Cannot use --allow x: a network looks like");
  });
});

describe("rates", () => {
  it("let a burst through, and make a debt wait", () => {
    let now = 0;
    const bucket = new Bucket(100, 50, () => now);
    bucket.take(50);
    expect(bucket.wait).toBe(0);
    bucket.take(10);
    expect(bucket.wait).toBe(100);
    expect(bucket.tryTake()).toBe(false);
    now = 99;
    expect(bucket.wait).toBeGreaterThan(0);
    now = 100;
    expect(bucket.wait).toBe(0);
    now = 110;
    expect(bucket.tryTake()).toBe(true);
    expect(bucket.tryTake()).toBe(false);
    now = 100_000;
    bucket.take(50);
    expect(bucket.tryTake()).toBe(false);
    // The clock is set back.
    now = 0;
    expect(bucket.tryTake()).toBe(false);
    now = 10;
    expect(bucket.tryTake()).toBe(true);
  });

  it("can be none", () => {
    const bucket = new Bucket(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
    bucket.take(1e12);
    expect(bucket.wait).toBe(0);
    expect(bucket.tryTake(1e12)).toBe(true);
  });

  it("are one user's for a /64 of IPv6, and in all spellings of IPv4", () => {
    expect(householdKey("2001:db8:1:2::1")).toBe(householdKey("2001:db8:1:2:ffff::"));
    expect(householdKey("2001:db8:1:2::1")).not.toBe(householdKey("2001:db8:1:3::1"));
    expect(householdKey("::ffff:192.0.2.1")).toBe(householdKey("192.0.2.1"));
    expect(householdKey("192.0.2.1")).not.toBe(householdKey("192.0.2.2"));
  });

  it("are remembered of so many addresses, the silent ones not for long", () => {
    let now = 0;
    const limits = { guestsPerAddress: 1, connectionsPerMinute: 60, addressBytesPerSecond: 1 };
    const households = new Households(limits, 3, () => now);
    const first = households.at("192.0.2.1");
    if (first) first.guests = 1;
    households.at("192.0.2.2");
    households.at("192.0.2.3");
    expect(households.at("192.0.2.4")).toBeNull();
    now = 120_001;
    expect(households.at("192.0.2.4")).not.toBeNull();
    expect(households.size).toBe(2);
    expect(households.at("192.0.2.1")).toBe(first);
  });
});
