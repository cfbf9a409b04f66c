/**
 * Where guests may connect to. What is not public by the registries of special addresses is refused (IANA "IPv4 / IPv6
 * Special-Purpose Address Registry", RFC 6890), in all the forms in which IPv6 can carry it; the operator's rules come first.
 */
import { networkInterfaces } from "node:os";
import {
  type Address,
  type Cidr,
  contains,
  embeddedIpv4,
  formatCidr,
  parseAddress,
  parseCidr,
  unmap,
} from "./addresses.ts";
import type { Policy, Protocol } from "./engine.ts";

/** A network, and the ports of it; null for all, and for ICMP, which has none. */
export interface Rule {
  cidr: Cidr;
  ports: { first: number; last: number } | null;
}

const SMTP = 25;

const METADATA = "metadata services of clouds";
const DOCUMENTATION = "addresses for documentation";
const RESERVED = "reserved addresses";

/** The first that fits gives the words. */
const REFUSED: readonly { cidr: Cidr; what: string }[] = (
  [
    // Link-local, private, carrier-grade or even public addresses that clouds answer on (AWS, Alibaba, Oracle, Azure).
    ["169.254.169.254", METADATA],
    ["169.254.170.2", METADATA],
    ["100.100.100.200", METADATA],
    ["192.0.0.192", METADATA],
    ["168.63.129.16", METADATA],
    ["fd00:ec2::254", METADATA],
    ["fd20:ce::254", METADATA],
    ["0.0.0.0", "unspecified addresses"],
    ["0.0.0.0/8", 'addresses of "this network"'],
    ["10.0.0.0/8", "private addresses"],
    ["100.64.0.0/10", "addresses of carrier-grade NAT"],
    ["127.0.0.0/8", "loopback addresses"],
    ["169.254.0.0/16", "link-local addresses"],
    ["172.16.0.0/12", "private addresses"],
    ["192.0.0.0/24", RESERVED],
    ["192.0.2.0/24", DOCUMENTATION],
    ["192.88.99.0/24", RESERVED],
    ["192.168.0.0/16", "private addresses"],
    ["198.18.0.0/15", "addresses for benchmarks"],
    ["198.51.100.0/24", DOCUMENTATION],
    ["203.0.113.0/24", DOCUMENTATION],
    ["224.0.0.0/4", "multicast addresses"],
    ["255.255.255.255", "broadcast addresses"],
    ["240.0.0.0/4", RESERVED],
    ["::", "unspecified addresses"],
    ["::1", "loopback addresses"],
    ["fc00::/7", "private addresses"],
    ["fe80::/10", "link-local addresses"],
    ["fec0::/10", "site-local addresses"],
    ["ff00::/8", "multicast addresses"],
    ["64:ff9b:1::/48", "addresses of local NAT64"],
    ["2001:db8::/32", DOCUMENTATION],
    ["3fff::/20", DOCUMENTATION],
    ["2001:2::/48", "addresses for benchmarks"],
    ["2001::/32", "Teredo addresses"],
    ["2001::/23", RESERVED],
  ] as const
).map(([text, what]) => ({ cidr: parseCidr(text), what }));

const GLOBAL_IPV6 = parseCidr("2000::/3");
const NAT64 = parseCidr("64:ff9b::/96");

export interface PolicyOptions {
  allow?: readonly Rule[];
  deny?: readonly Rule[];
  /** The addresses of this machine. */
  own?: () => readonly string[];
  /** Milliseconds; for tests. */
  now?: () => number;
}

/** Addresses may come and go; asking the system for them takes a tenth of a millisecond. */
const OWN_FOR_MS = 5000;

/** The refusals that everybody gets, changed by the operator's rules: what is denied is denied, then what is allowed is. */
export function createPolicy(options: PolicyOptions = {}): Policy {
  const { allow = [], deny = [], own = ownAddresses, now = Date.now } = options;
  let known = new Set<string>();
  let knownUntil = Number.NEGATIVE_INFINITY;
  const isOwn = (address: Address): boolean => {
    if (now() >= knownUntil) {
      knownUntil = now() + OWN_FOR_MS;
      known = new Set();
      for (const text of own()) {
        const parsed = parseAddress(text);
        if (parsed) known.add(unmap(parsed).join());
      }
    }
    return known.has(address.join());
  };
  return {
    refuse(protocol, text, port) {
      const parsed = parseAddress(text);
      if (!parsed) return "that is no address";
      if (protocol !== "icmp" && !(Number.isInteger(port) && port > 0 && port < 65536))
        return `there is no port ${port}`;
      const address = unmap(parsed);
      // An allowed IPv4 network says nothing about who carries IPv6 packets there, so only refusals look inside.
      const readings = [address, ...embeddedIpv4(address)];
      if (readings.some((one) => deny.some((rule) => matches(rule, protocol, one, port))))
        return "the operator of this relay has closed it";
      if (allow.some((rule) => opens(rule, protocol, address, port))) return null;
      for (const one of readings) {
        const what = special(one) ?? (isOwn(one) ? "the relay's own addresses" : null);
        if (what) return `${what} are not reachable from here`;
      }
      if (protocol === "tcp" && port === SMTP) return "mail (port 25) is closed here";
      return null;
    },
  };
}

function special(address: Address): string | null {
  const found = REFUSED.find(({ cidr }) => contains(cidr, address));
  if (found) return found.what;
  // What NAT64 carries is judged by the IPv4 address in it.
  return address.length === 16 && !contains(GLOBAL_IPV6, address) && !contains(NAT64, address) ? RESERVED : null;
}

function matches(rule: Rule, protocol: Protocol, address: Address, port: number): boolean {
  if (!contains(rule.cidr, address)) return false;
  return rule.ports === null || (protocol !== "icmp" && rule.ports.first <= port && port <= rule.ports.last);
}

/** A rule for a whole network does not mean its mail servers: they must be named by their port. */
function opens(rule: Rule, protocol: Protocol, address: Address, port: number): boolean {
  if (rule.ports === null && protocol === "tcp" && port === SMTP) return false;
  return matches(rule, protocol, address, port);
}

function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address));
}

/**
 * Reads "192.0.2.0/24", "192.0.2.1:80", "192.0.2.1:8000-8080", "[2001:db8::]/32:443" or "[2001:db8::/32]:443".
 * @throws Error 'Cannot use the rule "…": …'
 */
export function parseRule(text: string): Rule {
  const bracketed = /^\[([^\]]*)\](\/\d+)?(?::(.*))?$/.exec(text);
  const colons = text.split(":").length - 1;
  const dotted = /^([^:]*)(?::(.*))?$/.exec(text);
  const [network, ports] = bracketed
    ? [`${bracketed[1]}${bracketed[2] ?? ""}`, bracketed[3]]
    : colons > 1 || !dotted
      ? [text, undefined]
      : [dotted[1] as string, dotted[2]];
  try {
    return { cidr: parseCidr(network), ports: ports === undefined ? null : parsePorts(ports) };
  } catch (error) {
    throw new Error(`Cannot use the rule "${text}": ${(error as Error).message.replace(/^Cannot use "[^"]*": /, "")}`);
  }
}

/** @throws Error 'Cannot use "80-": …' */
export function parsePorts(text: string): { first: number; last: number } {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (!match || first < 1 || last > 65535 || first > last)
    throw new Error(`Cannot use "${text}": ports look like 80 or 8000-8080, from 1 to 65535`);
  return { first, last };
}

export function formatRule({ cidr, ports }: Rule): string {
  const network = formatCidr(cidr);
  if (!ports) return network;
  const range = ports.first === ports.last ? `${ports.first}` : `${ports.first}-${ports.last}`;
  return `${network.includes(":") ? `[${network}]` : network}:${range}`;
}
