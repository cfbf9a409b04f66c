import { networkInterfaces } from "node:os";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Address,
  contains,
  embeddedIpv4,
  formatAddress,
  formatCidr,
  parseAddress,
  parseCidr,
  unmap,
} from "../../relay/addresses.ts";
import { createPolicy, formatRule, parsePorts, parseRule } from "../../relay/policy.ts";

const policy = createPolicy({ own: () => [] });
const refusal = (address: string, port = 80): string | null => policy.refuse("tcp", address, port);

/** First and last address of each refused network, and their neighbours outside. */
const EDGES: [string, string, boolean][] = [
  ["0.0.0.0", "unspecified", false],
  ["0.255.255.255", "this network", false],
  ["1.0.0.0", "", true],
  ["9.255.255.255", "", true],
  ["10.0.0.0", "private", false],
  ["10.255.255.255", "private", false],
  ["11.0.0.0", "", true],
  ["100.63.255.255", "", true],
  ["100.64.0.0", "carrier-grade", false],
  ["100.100.100.200", "metadata", false],
  ["100.127.255.255", "carrier-grade", false],
  ["100.128.0.0", "", true],
  ["126.255.255.255", "", true],
  ["127.0.0.0", "loopback", false],
  ["127.0.0.1", "loopback", false],
  ["127.255.255.255", "loopback", false],
  ["128.0.0.0", "", true],
  ["168.63.129.15", "", true],
  ["168.63.129.16", "metadata", false],
  ["168.63.129.17", "", true],
  ["169.253.255.255", "", true],
  ["169.254.0.0", "link-local", false],
  ["169.254.169.254", "metadata", false],
  ["169.254.170.2", "metadata", false],
  ["169.254.255.255", "link-local", false],
  ["169.255.0.0", "", true],
  ["172.15.255.255", "", true],
  ["172.16.0.0", "private", false],
  ["172.31.255.255", "private", false],
  ["172.32.0.0", "", true],
  ["191.255.255.255", "", true],
  ["192.0.0.0", "reserved", false],
  ["192.0.0.192", "metadata", false],
  ["192.0.0.255", "reserved", false],
  ["192.0.1.0", "", true],
  ["192.0.2.0", "documentation", false],
  ["192.0.2.255", "documentation", false],
  ["192.0.3.0", "", true],
  ["192.88.98.255", "", true],
  ["192.88.99.1", "reserved", false],
  ["192.88.100.0", "", true],
  ["192.167.255.255", "", true],
  ["192.168.0.0", "private", false],
  ["192.168.255.255", "private", false],
  ["192.169.0.0", "", true],
  ["198.17.255.255", "", true],
  ["198.18.0.0", "benchmark", false],
  ["198.19.255.255", "benchmark", false],
  ["198.20.0.0", "", true],
  ["198.51.99.255", "", true],
  ["198.51.100.0", "documentation", false],
  ["198.51.100.255", "documentation", false],
  ["198.51.101.0", "", true],
  ["203.0.112.255", "", true],
  ["203.0.113.0", "documentation", false],
  ["203.0.113.255", "documentation", false],
  ["203.0.114.0", "", true],
  ["223.255.255.255", "", true],
  ["224.0.0.0", "multicast", false],
  ["239.255.255.255", "multicast", false],
  ["240.0.0.0", "reserved", false],
  ["255.255.255.254", "reserved", false],
  ["255.255.255.255", "broadcast", false],
  ["8.8.8.8", "", true],
  // IPv6
  ["::", "unspecified", false],
  ["::1", "loopback", false],
  ["0:0:0:0:0:0:0:1", "loopback", false],
  ["::2", "reserved", false],
  ["::8.8.8.8", "reserved", false],
  ["::127.0.0.1", "reserved", false],
  ["::ffff:8.8.8.8", "", true],
  ["::ffff:127.0.0.1", "loopback", false],
  ["::ffff:7f00:1", "loopback", false],
  ["0:0:0:0:0:ffff:0a00:0001", "private", false],
  ["::FFFF:169.254.169.254", "metadata", false],
  ["::ffff:0:8.8.8.8", "reserved", false],
  ["::ffff:0:127.0.0.1", "reserved", false],
  ["64:ff9b::8.8.8.8", "", true],
  ["64:ff9b::7f00:1", "loopback", false],
  ["64:ff9b::192.168.1.1", "private", false],
  ["64:ff9b::1:8.8.8.8", "reserved", false],
  ["64:ff9b:1::8.8.8.8", "local NAT64", false],
  ["64:ff9b:2::", "reserved", false],
  ["100::", "reserved", false],
  ["1fff:ffff::", "reserved", false],
  ["2000::", "", true],
  ["2001::1", "Teredo", false],
  ["2001:0:0808:0808::", "Teredo", false],
  ["2001:1::1", "reserved", false],
  ["2001:2::1", "benchmark", false],
  ["2001:1ff:ffff::", "reserved", false],
  ["2001:200::", "", true],
  ["2001:db7:ffff::", "", true],
  ["2001:db8::", "documentation", false],
  ["2001:db8:ffff::1", "documentation", false],
  ["2001:db9::", "", true],
  ["2002:0808:0808::1", "", true],
  ["2002:7f00:1::", "loopback", false],
  ["2002:0a00:0001::1", "private", false],
  ["2002:a9fe:a9fe::1", "metadata", false],
  ["2606:4700::1111", "", true],
  ["2606:4700::5efe:10.0.0.1", "private", false],
  ["2606:4700::200:5efe:10.0.0.1", "private", false],
  ["2606:4700::5efe:8.8.8.8", "", true],
  ["3ffe:ffff::", "", true],
  ["3fff::", "documentation", false],
  ["3fff:fff:ffff::", "documentation", false],
  ["3fff:1000::", "", true],
  ["4000::", "reserved", false],
  ["5f00::", "reserved", false],
  ["fbff::", "reserved", false],
  ["fc00::", "private", false],
  ["fd00:ec2::254", "metadata", false],
  ["fd20:ce::254", "metadata", false],
  ["fdff:ffff::", "private", false],
  ["fe00::", "reserved", false],
  ["fe80::1", "link-local", false],
  ["fe80::1%eth0", "link-local", false],
  ["febf::", "link-local", false],
  ["fec0::", "site-local", false],
  ["feff::", "site-local", false],
  ["ff00::", "multicast", false],
  ["ff02::1", "multicast", false],
];

describe("the policy", () => {
  it.each(EDGES)("%s: %s", (address, words, isAllowed) => {
    if (isAllowed) expect(refusal(address)).toBeNull();
    else expect(refusal(address)).toMatch(new RegExp(`${words}.* are not reachable from here`));
  });

  it.each([
    "",
    "localhost",
    "127.1",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "2130706433",
    "127.0.0.1 ",
    "127.0.0.01",
    "[::1]",
    "::1/128",
    "1.2.3.4.5",
    ":::",
    "12345::",
    "::ffff:127.0.0.256",
  ])("refuses %j, which another parser might take for an address", (text) => {
    expect(parseAddress(text)).toBeNull();
    expect(refusal(text)).toBe("that is no address");
  });

  it("refuses ports that are none, but for ICMP", () => {
    for (const port of [0, -1, 65536, 1.5, Number.NaN]) {
      expect(refusal("8.8.8.8", port)).toMatch(/no port/);
      expect(policy.refuse("udp", "8.8.8.8", port)).toMatch(/no port/);
      expect(policy.refuse("icmp", "8.8.8.8", port)).toBeNull();
    }
    expect(policy.refuse("icmp", "10.0.0.1", 0)).toMatch(/private/);
    expect(refusal("8.8.8.8", 65535)).toBeNull();
  });

  it("closes mail, for TCP only", () => {
    expect(refusal("8.8.8.8", 25)).toBe("mail (port 25) is closed here");
    expect(refusal("2606:4700::1111", 25)).toMatch(/mail/);
    expect(refusal("8.8.8.8", 24)).toBeNull();
    expect(refusal("8.8.8.8", 26)).toBeNull();
    expect(policy.refuse("udp", "8.8.8.8", 25)).toBeNull();
  });

  it("refuses the relay's own addresses, and notices new ones", () => {
    let own = ["93.184.216.34", "2606:2800::1%eth0"];
    let now = 0;
    const watched = createPolicy({ own: () => own, now: () => now });
    expect(watched.refuse("tcp", "93.184.216.34", 80)).toBe("the relay's own addresses are not reachable from here");
    expect(watched.refuse("tcp", "::ffff:93.184.216.34", 80)).toMatch(/own/);
    expect(watched.refuse("tcp", "2002:5db8:d822::", 80)).toMatch(/own/);
    expect(watched.refuse("tcp", "64:ff9b::93.184.216.34", 80)).toMatch(/own/);
    expect(watched.refuse("icmp", "2606:2800::1", 0)).toMatch(/own/);
    expect(watched.refuse("tcp", "93.184.216.35", 80)).toBeNull();
    own = ["93.184.216.35"];
    expect(watched.refuse("tcp", "93.184.216.35", 80)).toBeNull();
    now = 5000;
    expect(watched.refuse("tcp", "93.184.216.35", 80)).toMatch(/own/);
    expect(watched.refuse("tcp", "93.184.216.34", 80)).toBeNull();
  });

  it("refuses every address this machine has", () => {
    const real = createPolicy();
    for (const { address } of Object.values(networkInterfaces()).flatMap((list) => list ?? []))
      expect(real.refuse("tcp", address, 80), address).not.toBeNull();
  });
});

describe("the operator's rules", () => {
  const withRules = (allow: string[], deny: string[] = []) =>
    createPolicy({ allow: allow.map(parseRule), deny: deny.map(parseRule), own: () => ["93.184.216.34"] });

  it("open what is refused otherwise, in the same address only", () => {
    const open = withRules(["127.0.0.0/8:8000-8080", "[fd00::/8]:80", "93.184.216.34"]);
    expect(open.refuse("tcp", "127.0.0.1", 7999)).toMatch(/loopback/);
    expect(open.refuse("tcp", "127.0.0.1", 8000)).toBeNull();
    expect(open.refuse("tcp", "127.0.0.1", 8080)).toBeNull();
    expect(open.refuse("tcp", "127.0.0.1", 8081)).toMatch(/loopback/);
    expect(open.refuse("tcp", "::ffff:127.0.0.1", 8080)).toBeNull();
    expect(open.refuse("tcp", "64:ff9b::127.0.0.1", 8080)).toMatch(/loopback/);
    expect(open.refuse("tcp", "2002:7f00:1::", 8080)).toMatch(/loopback/);
    expect(open.refuse("icmp", "127.0.0.1", 0)).toMatch(/loopback/);
    expect(open.refuse("tcp", "fd12::1", 80)).toBeNull();
    expect(open.refuse("tcp", "fd12::1", 81)).toMatch(/private/);
    expect(open.refuse("icmp", "93.184.216.34", 0)).toBeNull();
  });

  it("open mail only when its port is named", () => {
    expect(withRules(["8.8.8.8"]).refuse("tcp", "8.8.8.8", 25)).toMatch(/mail/);
    expect(withRules(["10.0.0.0/8"]).refuse("tcp", "10.0.0.1", 25)).toMatch(/private/);
    expect(withRules(["8.8.8.8:25"]).refuse("tcp", "8.8.8.8", 25)).toBeNull();
    expect(withRules(["8.8.8.8:20-30"]).refuse("tcp", "8.8.8.8", 25)).toBeNull();
  });

  it("close before they open, in all forms of an address", () => {
    const rules = withRules(["8.8.8.0/24"], ["8.8.8.8", "1.1.1.1:53", "2606:4700::/32"]);
    for (const form of ["8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2606::5efe:8.8.8.8"])
      expect(rules.refuse("tcp", form, 80), form).toBe("the operator of this relay has closed it");
    expect(rules.refuse("tcp", "8.8.8.9", 80)).toBeNull();
    expect(rules.refuse("udp", "1.1.1.1", 53)).toMatch(/operator/);
    expect(rules.refuse("udp", "1.1.1.1", 54)).toBeNull();
    expect(rules.refuse("icmp", "1.1.1.1", 0)).toBeNull();
    expect(rules.refuse("icmp", "8.8.8.8", 0)).toMatch(/operator/);
    expect(rules.refuse("tcp", "2606:4700::1", 80)).toMatch(/operator/);
    expect(withRules([], ["0.0.0.0/0"]).refuse("tcp", "1.2.3.4", 80)).toMatch(/operator/);
    expect(withRules([], ["::/0"]).refuse("tcp", "2606::1", 80)).toMatch(/operator/);
  });

  it.each([
    ["10.0.0.0/8", "10.0.0.0/8"],
    ["10.0.0.1", "10.0.0.1"],
    ["10.0.0.1/32", "10.0.0.1"],
    ["10.0.0.1:80", "10.0.0.1:80"],
    ["10.0.0.0/8:80-81", "10.0.0.0/8:80-81"],
    ["10.0.0.0/8:80-80", "10.0.0.0/8:80"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["::/0", "::/0"],
    ["fd00::/8", "fd00::/8"],
    ["FD00:0:0::1", "fd00::1"],
    ["[fd00::1]:443", "[fd00::1]:443"],
    ["[fd00::/8]:443", "[fd00::/8]:443"],
    ["[fd00::]/8:443", "[fd00::/8]:443"],
    ["[fd00::1]", "fd00::1"],
    ["::ffff:10.0.0.0/104", "10.0.0.0/8"],
    ["::ffff:0:0/96", "0.0.0.0/0"],
  ])("reads %s", (text, again) => {
    expect(formatRule(parseRule(text))).toBe(again);
  });

  it.each([
    ["10.0.0.1/8", "that network is 10.0.0.0/8"],
    ["fd00::1/64", "that network is fd00::/64"],
    ["10.0.0.0/33", "behind the slash stands a number from 0 to 32"],
    ["fd00::/129", "from 0 to 128"],
    ["10.0.0.0/-1", "from 0 to 32"],
    ["10.0.0.0/", "from 0 to 32"],
    ["10.0.0.0/8/8", "looks like"],
    ["example.org", "a network looks like"],
    ["10.0.0", "a network looks like"],
    ["fe80::1%eth0", "a network looks like"],
    ["", "a network looks like"],
    ["10.0.0.0/8:", "ports look like"],
    ["10.0.0.0/8:0", "from 1 to 65535"],
    ["10.0.0.0/8:65536", "from 1 to 65535"],
    ["10.0.0.0/8:90-80", "from 1 to 65535"],
    ["10.0.0.0/8:http", "ports look like"],
  ])("refuses %j in words", (text, words) => {
    expect(() => parseRule(text)).toThrow(`Cannot use the rule "${text}": `);
    expect(() => parseRule(text)).toThrow(words);
  });

  it("reads ports", () => {
    expect(parsePorts("1-65535")).toEqual({ first: 1, last: 65535 });
    for (const text of ["", "-", "80-", "-80", "80-81-82", "+80", "8e3"])
      expect(() => parsePorts(text)).toThrow("ports look like");
  });
});

describe("addresses", () => {
  const v4 = fc.uint8Array({ minLength: 4, maxLength: 4 });
  const v6 = fc.uint8Array({ minLength: 16, maxLength: 16 });
  const sparse = fc.array(fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 0, max: 255 })), {
    minLength: 16,
    maxLength: 16,
  });

  it("are the same after they are written and read, and written as the system writes them", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          v4,
          v6,
          sparse.map((bytes) => Uint8Array.from(bytes)),
        ),
        (address) => {
          const text = formatAddress(address);
          expect(parseAddress(text)).toEqual(Uint8Array.from(address));
          // The URL parser follows RFC 5952 for IPv6.
          if (address.length === 16) expect(new URL(`http://[${text}]/`).hostname).toBe(`[${text}]`);
        },
      ),
    );
  });

  /** Every way to put an IPv4 address into an IPv6 one. */
  const FORMS: ((v: Address) => string)[] = [
    (v) => `::ffff:${v.join(".")}`,
    (v) => `::ffff:${words(v)}`,
    (v) => `0:0:0:0:0:FFFF:${words(v).toUpperCase()}`,
    (v) => `::${v.join(".")}`,
    (v) => `::ffff:0:${v.join(".")}`,
    (v) => `64:ff9b::${v.join(".")}`,
    (v) => `64:ff9b::${words(v)}`,
    (v) => `2002:${words(v)}::1`,
    (v) => `2001:0:${words(v)}::`,
    (v) => `2001:0:808:808:0:0:${words(v.map((byte) => byte ^ 255))}`,
    (v) => `2606:4700::5efe:${words(v)}`,
    (v) => `2606:4700::200:5efe:${v.join(".")}`,
  ];
  function words(v: Address): string {
    return [0, 2].map((i) => (((v[i] as number) << 8) | (v[i + 1] as number)).toString(16)).join(":");
  }

  it("in IPv6 never reach what IPv4 may not, in any form", () => {
    fc.assert(
      fc.property(v4, fc.constantFrom(...FORMS), fc.integer({ min: 1, max: 65535 }), (v, form, port) => {
        const plain = policy.refuse("tcp", v.join("."), port);
        const inside = policy.refuse("tcp", form(v), port);
        const found = embeddedIpv4(parseAddress(form(v)) as Address).map((address) => address.join("."));
        expect(found).toContain(v.join("."));
        if (plain !== null) expect(inside, form(v)).not.toBeNull();
      }),
      { numRuns: 2000 },
    );
  });

  it("are denied in every form when they are denied in one", () => {
    fc.assert(
      fc.property(v4, fc.constantFrom(...FORMS), (v, form) => {
        const closed = createPolicy({ deny: [parseRule(v.join("."))], own: () => [] });
        expect(closed.refuse("tcp", form(v), 80)).toMatch(/operator/);
      }),
    );
  });

  it("are never reached outside of 2000::/3 and the two forms that may carry public ones", () => {
    fc.assert(
      fc.property(v6, (address) => {
        fc.pre(((address[0] as number) & 0xe0) !== 0x20);
        fc.pre(unmap(address).length === 16 && !contains(parseCidr("64:ff9b::/96"), address));
        expect(refusal(formatAddress(address))).not.toBeNull();
      }),
      { numRuns: 1000 },
    );
  });

  it("are in exactly the networks that their first bits make", () => {
    fc.assert(
      fc.property(fc.oneof(v4, v6), fc.nat(128), (address, length) => {
        const prefixLength = Math.min(length, address.length * 8);
        const bits = [...address].map((byte) => byte.toString(2).padStart(8, "0")).join("");
        const kept = bits.slice(0, prefixLength).padEnd(bits.length, "0");
        const network = Uint8Array.from({ length: address.length }, (_, i) =>
          Number.parseInt(kept.slice(8 * i, 8 * i + 8), 2),
        );
        const cidr = { network, prefixLength };
        expect(contains(cidr, address)).toBe(true);
        if (unmap(network).length === network.length) expect(parseCidr(formatCidr(cidr))).toEqual(cidr);
        if (prefixLength === 0) return;
        const flipped = Uint8Array.from(address);
        (flipped[(prefixLength - 1) >> 3] as number) ^= 128 >> ((prefixLength - 1) & 7);
        expect(contains(cidr, flipped)).toBe(false);
      }),
    );
  });
});
