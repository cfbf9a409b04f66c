/** The relay's command line and environment. Each option `--some-name` can be given as `RELAY_SOME_NAME` as well. */
import { parseArgs } from "node:util";
import { type Cidr, parseCidr } from "./addresses.ts";
import { formatRule, parsePorts, parseRule, type Rule } from "./policy.ts";

/** Infinity: no limit. */
export interface RelayLimits {
  guests: number;
  guestsPerAddress: number;
  connectionsPerMinute: number;
  framesPerSecond: number;
  /** In each direction, as the next. */
  bytesPerSecond: number;
  /** For all guests of an address. */
  addressBytesPerSecond: number;
  messagesPerSecond: number;
  idleMs: number;
  totalMs: number;
  /** How long the guest of a broken connection is kept. */
  resumeMs: number;
  roomMembers: number;
  forwards: number;
}

/** What connects guests to the network: this process, libslirp, or the Linux kernel. */
export const ENGINES = ["embedded", "slirp", "kernel"] as const;

export interface RelayOptions {
  engine: (typeof ENGINES)[number];
  port: number;
  /** Where it listens; undefined: everywhere. */
  host: string | undefined;
  isPublic: boolean;
  allow: readonly Rule[];
  deny: readonly Rule[];
  origins: readonly string[];
  /** Whose pages may show the playground in a frame. */
  embedders: readonly string[];
  token: string | null;
  metricsToken: string | null;
  trustedProxies: readonly Cidr[];
  forwardPorts: { first: number; last: number } | null;
  forwardDomain: string | null;
  instance: string | null;
  redis: string | null;
  logLevel: string;
  limits: RelayLimits;
}

const MINUTE = 60_000;
const NONE = Number.POSITIVE_INFINITY;

/** Who starts it on a desk is the only user; who starts it for the public has users that want to find the limits. */
export const LOCAL_LIMITS: RelayLimits = {
  guests: 64,
  guestsPerAddress: NONE,
  connectionsPerMinute: NONE,
  framesPerSecond: NONE,
  bytesPerSecond: NONE,
  addressBytesPerSecond: NONE,
  messagesPerSecond: 50,
  idleMs: NONE,
  totalMs: NONE,
  resumeMs: 30_000,
  roomMembers: 32,
  forwards: 16,
};

export const PUBLIC_LIMITS: RelayLimits = {
  guests: 500,
  guestsPerAddress: 16,
  connectionsPerMinute: 60,
  framesPerSecond: 10_000,
  bytesPerSecond: 4 * 1024 * 1024,
  addressBytesPerSecond: 16 * 1024 * 1024,
  messagesPerSecond: 20,
  idleMs: 60 * MINUTE,
  totalMs: 24 * 60 * MINUTE,
  resumeMs: 30_000,
  roomMembers: 32,
  forwards: 8,
};

const HELP = `The relay of smart-os: serves the page and connects its machines to the network.

  npm run relay -- [OPTION…]

Where it listens
  --port N                    8086 by default, also PORT
  --host ADDRESS              127.0.0.1 by default, everywhere with --public; also HOST
  --public                    for users that are not you: listens everywhere, with limits for each of them

What connects guests to the network
  --engine NAME               embedded, by default: in this process; slirp: a libslirp for each guest; kernel:
                              Linux's own NAT (root; taps, nftables and dnsmasq). The rules below hold for all

Where guests may connect to: public addresses, but no mail servers (port 25)
  --allow CIDR[:PORT[-PORT]]  this too; IPv6 in brackets: [fd00::/8]:80; several times or with commas.
                              Guests find this computer's 127.0.0.1 at their gateway, 10.0.2.2
  --deny CIDR[:PORT[-PORT]]   not this; goes before --allow

Who may connect
  --origin URL                web pages of this origin too, besides the relay's own; * for all
  --embed URL                 pages of this origin, and no others, may show the playground in a frame; all may, by
                              default (docs/embedding.md)
  --token SECRET              only who knows it (better in RELAY_TOKEN: others see the command line)
  --trust-proxy CIDR          believe X-Forwarded-For and -Proto of this proxy

Ways to guests
  --forward-domain NAME       http://ID--PORT.NAME leads to guests; "localhost" by default, none with --public
  --forward-ports A-B         TCP and UDP ports of this computer that guests may use; none by default
  --redis URL                 rooms over several relays
  --instance NAME             in front of the names of forwards, for load balancers

Limits (0: none)
  --guests N                  in all                              ${LOCAL_LIMITS.guests}, public ${PUBLIC_LIMITS.guests}
  --guests-per-address N      of one client's address             none, public ${PUBLIC_LIMITS.guestsPerAddress}
  --connections-per-minute N  new ones of one address             none, public ${PUBLIC_LIMITS.connectionsPerMinute}
  --frames-per-second N       of one guest                        none, public ${PUBLIC_LIMITS.framesPerSecond}
  --bytes-per-second N        of one guest, each way; k, M        none, public 4M
  --address-bytes-per-second N  of one address, each way          none, public 16M
  --messages-per-second N     control messages of one guest       ${LOCAL_LIMITS.messagesPerSecond}, public ${PUBLIC_LIMITS.messagesPerSecond}
  --idle-minutes N            without a frame                     none, public 60
  --total-minutes N           of one connection                   none, public 1440
  --resume-seconds N          a broken connection may come back   30
  --room-members N            guests in a room                    32
  --forwards N                of one guest                        ${LOCAL_LIMITS.forwards}, public ${PUBLIC_LIMITS.forwards}

For the operator
  --metrics-token SECRET      who may read /metrics from elsewhere; this computer may always
  --log-level LEVEL           trace, debug, info, warn, error, fatal or silent; warn by default, info with --public
  --help

Every option can be given in the environment: --forward-ports as RELAY_FORWARD_PORTS.
`;

const TEXT = { type: "string" } as const;
const LIST = { type: "string", multiple: true } as const;
const OPTIONS = {
  engine: TEXT,
  port: TEXT,
  host: TEXT,
  public: { type: "boolean" },
  allow: LIST,
  deny: LIST,
  origin: LIST,
  embed: LIST,
  token: TEXT,
  "trust-proxy": LIST,
  "forward-domain": TEXT,
  "forward-ports": TEXT,
  redis: TEXT,
  instance: TEXT,
  guests: TEXT,
  "guests-per-address": TEXT,
  "connections-per-minute": TEXT,
  "frames-per-second": TEXT,
  "bytes-per-second": TEXT,
  "address-bytes-per-second": TEXT,
  "messages-per-second": TEXT,
  "idle-minutes": TEXT,
  "total-minutes": TEXT,
  "resume-seconds": TEXT,
  "room-members": TEXT,
  forwards: TEXT,
  "metrics-token": TEXT,
  "log-level": TEXT,
  help: { type: "boolean", short: "h" },
} as const;

type Name = keyof typeof OPTIONS;
type Environment = Readonly<Record<string, string | undefined>>;

const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];

/**
 * @returns the help's text when it was asked for
 * @throws Error "Cannot use --port 99999: …"
 */
export function readOptions(words: readonly string[], environment: Environment): RelayOptions | { help: string } {
  const given = parse(words);
  if (given.help) return { help: HELP };
  const text = (name: Name): string | null => {
    const value = given[name] ?? environment[variable(name)];
    return value === undefined || value === "" ? null : String(value);
  };
  const list = (name: Name): string[] => {
    const values = (given[name] as string[] | undefined) ?? [environment[variable(name)] ?? ""];
    return values.flatMap((value) => value.split(",")).flatMap((value) => value.trim() || []);
  };
  const read = <T>(name: Name, value: string, parser: (text: string) => T): T => {
    try {
      return parser(value);
    } catch (error) {
      throw new Error(`Cannot use --${name} ${value}: ${reason(error)}`);
    }
  };

  const isPublic = given.public === true || /^(1|true|yes)$/i.test(environment.RELAY_PUBLIC ?? "");
  const usual = isPublic ? PUBLIC_LIMITS : LOCAL_LIMITS;
  const number = (name: Name, usually: number, unit = 1): number => {
    const value = text(name);
    return value === null ? usually : read(name, value, (words_) => readAmount(words_) * unit);
  };
  /** Like `number`, for what there is always: a relay without any guests is none. */
  const positive = (name: Name, usually: number, most: number): number => {
    const value = number(name, usually);
    if (value > most) throw new Error(`Cannot use --${name} ${text(name)}: it must be a number from 1 to ${most}`);
    return value;
  };
  const portText = text("port") ?? "8086";
  const portName = given.port === undefined ? "PORT" : "--port";
  if (!/^\d{1,5}$/.test(portText) || Number(portText) > 65535)
    throw new Error(`Cannot listen on port ${portText}: ${portName} must be a number from 0 to 65535`);
  const ports = text("forward-ports");
  const forwardDomain = text("forward-domain");
  const instance = text("instance");
  const logLevel = text("log-level") ?? (isPublic ? "info" : "warn");
  if (forwardDomain !== null && !/^(?=.{1,190}$)[a-z0-9-]+(\.[a-z0-9-]+)*$/i.test(forwardDomain))
    throw new Error(`Cannot use --forward-domain ${forwardDomain}: a domain's name looks like guests.example.org`);
  if (instance !== null && !/^[a-z0-9]{1,12}$/.test(instance))
    throw new Error(`Cannot use --instance ${instance}: it must be 1 to 12 small letters and digits`);
  if (!LEVELS.includes(logLevel))
    throw new Error(`Cannot use --log-level ${logLevel}: it is one of ${LEVELS.join(", ")}`);
  const engineName = text("engine") ?? "embedded";
  const engine = ENGINES.find((name) => name === engineName);
  if (!engine) throw new Error(`Cannot use --engine ${engineName}: it is one of ${ENGINES.join(", ")}`);
  const redis = text("redis");
  if (redis !== null && !/^rediss?:\/\/./.test(redis))
    throw new Error("Cannot use --redis: its address begins with redis:// or rediss://");
  const resumeSeconds = text("resume-seconds");
  const embedders = list("embed").map((origin) => read("embed", origin, readOrigin));

  return {
    engine,
    port: Number(portText),
    host: text("host") ?? (isPublic ? undefined : "127.0.0.1"),
    isPublic,
    allow: list("allow").map((rule) => read("allow", rule, parseRule)),
    deny: list("deny").map((rule) => read("deny", rule, parseRule)),
    origins: list("origin").map((origin) => read("origin", origin, readOrigin)),
    embedders: embedders.length === 0 ? ["*"] : embedders,
    token: text("token"),
    metricsToken: text("metrics-token"),
    trustedProxies: list("trust-proxy").map((cidr) => read("trust-proxy", cidr, parseCidr)),
    forwardPorts: ports === null ? null : read("forward-ports", ports, parsePorts),
    forwardDomain: forwardDomain?.toLowerCase() ?? (isPublic ? null : "localhost"),
    instance,
    redis,
    logLevel,
    limits: {
      guests: number("guests", usual.guests),
      guestsPerAddress: number("guests-per-address", usual.guestsPerAddress),
      connectionsPerMinute: number("connections-per-minute", usual.connectionsPerMinute),
      framesPerSecond: number("frames-per-second", usual.framesPerSecond),
      bytesPerSecond: number("bytes-per-second", usual.bytesPerSecond),
      addressBytesPerSecond: number("address-bytes-per-second", usual.addressBytesPerSecond),
      messagesPerSecond: positive("messages-per-second", usual.messagesPerSecond, 10_000),
      idleMs: number("idle-minutes", usual.idleMs / MINUTE) * MINUTE,
      totalMs: number("total-minutes", usual.totalMs / MINUTE) * MINUTE,
      // Here 0 is no time, not an endless one.
      resumeMs: resumeSeconds === "0" ? 0 : positive("resume-seconds", usual.resumeMs / 1000, 3600) * 1000,
      roomMembers: positive("room-members", usual.roomMembers, 200),
      forwards: positive("forwards", usual.forwards, 1000),
    },
  };
}

/** What the operator should know before the first guest comes: one line each. */
export function describeOptions(options: RelayOptions): string[] {
  const { limits, isPublic, host } = options;
  const where = host ?? "all addresses of this computer";
  const lines = [
    isPublic
      ? `Network: public, on ${where}; ${limitWords(limits)}`
      : `Network: local, on ${where}; ${limitWords(limits)}. --public listens everywhere and sets limits for each client`,
    `Guests reach ${describeReach(options)}`,
  ];
  const ways = [
    options.forwardDomain === null ? null : `web pages at http://ID--PORT.${options.forwardDomain}`,
    options.forwardPorts === null
      ? null
      : `TCP and UDP on ports ${options.forwardPorts.first}-${options.forwardPorts.last}`,
  ].filter((way) => way !== null);
  lines.push(
    `Guests are reached by ${ways.length === 0 ? "nobody" : ways.join(", ")} (--forward-domain, --forward-ports)`,
  );
  if (options.engine !== "embedded") lines.push(`Connections go through the ${options.engine} engine (--engine)`);
  if (isPublic && options.token === null) lines.push("Anybody may connect: there is no --token");
  return lines;
}

/** "public addresses, but no mail servers (port 25); also 10.0.0.0/8; never 192.0.2.1:80" */
export function describeReach({ allow, deny }: Pick<RelayOptions, "allow" | "deny">): string {
  const parts = ["public addresses only, and no mail servers (port 25)"];
  if (allow.length > 0) parts.push(`allowed besides: ${allow.map(formatRule).join(", ")}`);
  if (deny.length > 0) parts.push(`closed: ${deny.map(formatRule).join(", ")}`);
  return parts.join("; ");
}

function limitWords(limits: RelayLimits): string {
  const words = [`${words_(limits.guests)} guests`];
  if (Number.isFinite(limits.guestsPerAddress)) words.push(`${limits.guestsPerAddress} of one address`);
  if (Number.isFinite(limits.bytesPerSecond)) words.push(`${(limits.bytesPerSecond / 1048576).toFixed(1)} MB/s each`);
  else words.push("no limit of rates");
  return words.join(", ");
}

const words_ = (value: number): string => (Number.isFinite(value) ? String(value) : "any number of");

function variable(name: Name): string {
  return name === "port" || name === "host" ? name.toUpperCase() : `RELAY_${name.toUpperCase().replaceAll("-", "_")}`;
}

function parse(words: readonly string[]): Partial<Record<Name, string | boolean | string[]>> {
  try {
    return parseArgs({ args: [...words], options: OPTIONS, strict: true, allowPositionals: false }).values;
  } catch (error) {
    // Node's own sentences go on with advice on how to write positional arguments, which there are none of.
    const [sentence = ""] = (error as Error).message.split(/[.\n] /);
    throw new Error(`Cannot understand the command line: ${sentence.replace(/\.$/, "")}; --help shows what there is`);
  }
}

/** "4M" is 4 MiB, "0" is no limit. */
function readAmount(text: string): number {
  const match = /^(\d{1,12})([kM]?)$/.exec(text);
  if (!match) throw new Error("a whole number is needed, k or M may follow");
  const value = Number(match[1]) * { "": 1, k: 1024, M: 1024 * 1024 }[match[2] as "" | "k" | "M"];
  return value === 0 ? NONE : value;
}

function readOrigin(text: string): string {
  if (text === "*" || text === "null") return text;
  if (!/^https?:\/\/[^/?#\s]+$/.test(text)) throw new Error("an origin looks like https://example.org, or is *");
  return text.toLowerCase();
}

const reason = (error: unknown): string => (error as Error).message.replace(/^Cannot use .*?": /, "");
