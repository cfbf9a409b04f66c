/**
 * The Linux kernel's own NAT as an engine: a tap interface for each guest (libvdeplug_tap(1)), nftables to translate and to
 * keep guests apart, dnsmasq to answer DNS. Needs CAP_NET_ADMIN and /dev/net/tun.
 *
 *   guest ── filter ── address-map ── vde_plug ── tap so0g1 ─┬─ forward, masquerade ── world
 *                     10.0.2.15 ↔ 198.18.0.2                 └─ 198.18.0.1 ── dnsmasq ── this computer's resolvers
 *
 * Guests all have the same address in their own networks; here each has one of 198.18.0.0/15, which is for benchmarks and
 * nobody else's (RFC 2544). Several relays on one computer take parts of it: who has its dnsmasq on a part owns it.
 *
 * The taps go with their programs, and so does dnsmasq with us; the table and the address of a relay that was killed are
 * replaced by the next.
 *
 * Limitations: another firewall that drops what is forwarded, as Docker's does, must let `so*` through.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { formatAddress, parseAddress } from "../nat/address.ts";
import type { Network } from "../nat/link.ts";
import { mapInward, mapOutward } from "./address-map.ts";
import { FILTER_LIMITS } from "./frame-filter.ts";
import { missingPackages, PLAIN_ENVIRONMENT, run } from "./programs.ts";
import { GUEST_MAC, type Uplink, type UplinkWay, VdeEngine, type VdeEngineOptions } from "./vde-guest.ts";

export interface KernelOptions extends Omit<VdeEngineOptions, "uplink"> {
  /** Words in front of each command, such as those that enter a network namespace. */
  within?: readonly string[];
  /** Whom dnsmasq asks ("192.0.2.53" or "192.0.2.53#5353"); this computer's resolvers by default. */
  resolvers?: readonly string[];
}

const PACKAGES = {
  vde_plug: "vdeplug",
  nft: "nftables",
  dnsmasq: "dnsmasq-base",
  ip: "iproute2",
  setpriv: "util-linux",
} as const;
const POOL = parseAddress("198.18.0.0");
/** Relays on one computer, and addresses for each: the pool has 2¹⁷. */
const SLOTS = 8;
const SLOT_SIZE = 2 ** 14;
const PREFIX = 18;
const CAP_NET_ADMIN = 12;
/** Connections and flows of one guest that the kernel keeps. More than the filter lets through at a time: it forgets earlier. */
const TRACKED = 4 * (FILTER_LIMITS.tcpConnections + FILTER_LIMITS.udpFlows);
const START_MS = 5000;
const TAP_MS = 3000;
const DNSMASQ_PAUSE_MS = 1000;
const FORWARDING = "/proc/sys/net/ipv4/ip_forward";
const NOBODY = 65534;

/** @throws Error "Cannot use the kernel engine: …" */
export async function createKernelEngine(options: KernelOptions): Promise<VdeEngine> {
  const cannot = (why: string): Error => new Error(`Cannot use the kernel engine: ${why}`);
  if (process.platform !== "linux") throw cannot("it is Linux's");
  if (!mayAdministrate()) throw cannot("it needs the right to change the network (root, or CAP_NET_ADMIN)");
  const missing = missingPackages(PACKAGES);
  if (missing.length > 0) throw cannot(`install ${missing.join(" ")}`);
  const kernel = new KernelUplink(options);
  try {
    await kernel.start();
  } catch (error) {
    await kernel.close();
    throw cannot((error as Error).message);
  }
  return new VdeEngine({ ...options, uplink: kernel });
}

function mayAdministrate(): boolean {
  const effective = /^CapEff:\t([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return ((BigInt(`0x${effective}`) >> BigInt(CAP_NET_ADMIN)) & 1n) === 1n;
}

class KernelUplink implements Uplink {
  readonly name = "kernel";
  readonly carriesPings = true;
  private readonly within: readonly string[];
  private slot = -1;
  private dnsmasq: ChildProcess | null = null;
  private dnsmasqTimer: NodeJS.Timeout | null = null;
  private isClosed = false;
  private hasSwitchedForwarding = false;
  private hasTable = false;
  /** By number; 1 is dnsmasq's, so guests begin with 2. */
  private readonly taken = new Set<number>();

  constructor(private readonly options: KernelOptions) {
    this.within = options.within ?? [];
  }

  private get prefix(): string {
    return `so${this.slot}g`;
  }

  private get table(): string {
    return `smartos${this.slot}`;
  }

  private address(number: number): number {
    return POOL + this.slot * SLOT_SIZE + number;
  }

  async start(): Promise<void> {
    await this.takeSlot();
    if ((await this.run("cat", FORWARDING)).trim() !== "1") {
      await this.run("sh", "-c", `echo 1 > ${FORWARDING}`).catch(() => {
        throw new Error(
          "forwarding is off, and only the system's owner can switch it on (sysctl net.ipv4.ip_forward=1)",
        );
      });
      this.hasSwitchedForwarding = true;
    }
    await run([...this.within, "nft", "-f", "-"], this.rules());
    this.hasTable = true;
  }

  open(network: Network): UplinkWay {
    let number = 2;
    while (this.taken.has(number)) number++;
    if (number >= SLOT_SIZE - 1) throw new Error("Cannot connect the guest: the kernel engine has no address left");
    this.taken.add(number);
    const tap = `${this.prefix}${number}`;
    const real = { guest: this.address(number), gateway: this.address(1), dns: this.address(1) };
    return {
      command: [...this.within, "vde_plug", `tap://${tap}`],
      prepare: () => this.prepare(tap, real.guest, network),
      outward: (frame) => mapOutward(frame, network, real),
      inward: (frame) => mapInward(frame, network, real),
      close: () => {
        this.taken.delete(number);
      },
    };
  }

  async close(): Promise<void> {
    this.isClosed = true;
    if (this.dnsmasqTimer) clearTimeout(this.dnsmasqTimer);
    const { dnsmasq } = this;
    if (this.hasTable) await this.quietly("nft", "delete", "table", "ip", this.table);
    if (this.hasSwitchedForwarding) await this.quietly("sh", "-c", `echo 0 > ${FORWARDING}`);
    if (!dnsmasq) return;
    // As long as it runs the part of the pool is ours: it ends last.
    await this.quietly("ip", "address", "delete", `${formatAddress(this.address(1))}/32`, "dev", "lo");
    if (dnsmasq.exitCode !== null || dnsmasq.signalCode !== null) return;
    await new Promise<void>((resolve) => {
      dnsmasq.once("exit", () => resolve());
      dnsmasq.kill("SIGTERM");
    });
  }

  /** Finds a part of the pool on which no other relay's dnsmasq answers, and starts ours there. */
  private async takeSlot(): Promise<void> {
    await this.run("ip", "link", "set", "lo", "up");
    for (this.slot = 0; this.slot < SLOTS; this.slot++) {
      const isNew = !(await this.run("ip", "-o", "address", "show", "dev", "lo")).includes(
        ` ${formatAddress(this.address(1))}/`,
      );
      if (isNew) await this.run("ip", "address", "add", `${formatAddress(this.address(1))}/32`, "dev", "lo");
      const problem = await this.startDnsmasq();
      if (problem === null) return;
      if (!/in use/i.test(problem)) {
        if (isNew) await this.quietly("ip", "address", "delete", `${formatAddress(this.address(1))}/32`, "dev", "lo");
        throw new Error(problem);
      }
    }
    throw new Error(`${SLOTS} relays on this computer use it already`);
  }

  /** @returns null when it answers, else what it said */
  private startDnsmasq(): Promise<string | null> {
    const { resolvers } = this.options;
    const command = [
      ...this.within,
      // It needs the port below 1024 and nothing else of root's. It must not outlive us, even if we are killed.
      "setpriv",
      `--reuid=${NOBODY}`,
      `--regid=${NOBODY}`,
      "--clear-groups",
      "--inh-caps=-all,+net_bind_service",
      "--ambient-caps=-all,+net_bind_service",
      "--pdeathsig=TERM",
      "dnsmasq",
      "--keep-in-foreground",
      "--conf-file=/dev/null",
      "--log-facility=-",
      "--pid-file=",
      `--listen-address=${formatAddress(this.address(1))}`,
      "--bind-interfaces",
      // What this computer's own file of hosts says is not for guests.
      "--no-hosts",
      "--cache-size=2000",
      ...(resolvers ? ["--no-resolv", ...resolvers.map((resolver) => `--server=${resolver}`)] : []),
    ];
    const [program = "", ...words] = command;
    return new Promise((resolve) => {
      const child = spawn(program, words, {
        stdio: ["ignore", "ignore", "pipe"],
        cwd: "/",
        env: PLAIN_ENVIRONMENT,
      });
      let said = "";
      let hasStarted = false;
      const timer = setTimeout(() => child.kill("SIGKILL"), START_MS);
      child.stderr.on("data", (bytes) => {
        if (hasStarted) return;
        said += bytes;
        if (!/started, version/.test(said)) return;
        hasStarted = true;
        clearTimeout(timer);
        this.dnsmasq = child;
        resolve(null);
      });
      child.on("error", (error) => resolve(error.message));
      child.on("close", (code) => {
        clearTimeout(timer);
        if (!hasStarted) return resolve(said.trim().split("\n")[0] || `dnsmasq ended with status ${code}`);
        if (!this.isClosed) this.restartDnsmasq(`it has ended with status ${code}`);
      });
    });
  }

  private restartDnsmasq(why: string): void {
    this.options.onProblem(`The dnsmasq of the kernel engine: ${why}`);
    this.dnsmasqTimer = setTimeout(() => {
      void this.startDnsmasq().then((problem) => {
        if (this.isClosed) this.dnsmasq?.kill();
        else if (problem !== null) this.restartDnsmasq(problem);
      });
    }, DNSMASQ_PAUSE_MS);
  }

  /** vde_plug has been started: waits for its tap and sets it up. */
  private async prepare(tap: string, guest: number, network: Network): Promise<void> {
    const address = formatAddress(guest);
    const batch = [
      // No IPv6 on it, not even a link-local address.
      `link set dev ${tap} addrgenmode none`,
      `link set dev ${tap} address ${mac(network.gatewayMac)} mtu ${network.mtu} up`,
      // The kernel knows where the guest is, and never asks; its errors come from the address that the guest's gateway has.
      `route replace ${address}/32 dev ${tap} src ${formatAddress(this.address(1))}`,
      `neigh replace ${address} dev ${tap} lladdr ${mac(GUEST_MAC)} nud permanent`,
    ].join("\n");
    const end = Date.now() + TAP_MS;
    for (;;) {
      try {
        await run([...this.within, "ip", "-batch", "-"], `${batch}\n`);
        return;
      } catch (error) {
        if (Date.now() > end || this.isClosed || !/Cannot find device/.test((error as Error).message)) throw error;
        await sleep(20);
      }
    }
  }

  private rules(): string {
    const taps = `iifname "${this.prefix}*"`;
    const dns = formatAddress(this.address(1));
    const pool = `${formatAddress(this.address(0))}/${PREFIX}`;
    return `
table ip ${this.table}
delete table ip ${this.table}
table ip ${this.table} {
  set flows {
    type ipv4_addr
    size ${SLOT_SIZE}
    flags dynamic
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    ${taps} oifname "so*" drop
    ${taps} ip saddr != ${pool} drop
    ${taps} ct state invalid drop
    ${taps} tcp flags & (fin | syn | rst | ack) != syn ct state new drop
    ${taps} ct state new add @flows { ip saddr ct count over ${TRACKED} } drop
    oifname "${this.prefix}*" ct state != { established, related } drop
  }
  chain input {
    type filter hook input priority filter; policy accept;
    ${taps} ct state new ip saddr ${pool} ip daddr ${dns} udp dport 53 accept
    ${taps} ct state new ip saddr ${pool} ip daddr ${dns} tcp dport 53 accept
    ${taps} ct state != { established, related } drop
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${pool} oifname != "so*" oifname != "lo" masquerade
  }
}
`;
  }

  private run(...command: string[]): Promise<string> {
    return run([...this.within, ...command]);
  }

  /** What is not there need not be taken away. */
  private async quietly(...command: string[]): Promise<void> {
    await this.run(...command).catch(() => {});
  }
}

function mac(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
