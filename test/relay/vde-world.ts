/**
 * The world in network namespaces, made by a test and taken away by it:
 *
 *   guest namespace ── tap ── (frames in this process) ── engine ── relay namespace ── veth ── world namespace
 *                                                                   11.0.0.1/24        11.0.0.2/24, and forbidden ones
 *
 * 11.0.0.0/8 is public by the registries, and behind these namespaces nobody has it.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Engine, EngineGuest, GuestPort, Refusal } from "../../relay/engine.ts";
import { VdePlug } from "../../relay/vde/vde-plug.ts";

export const WORLD = "11.0.0.2";
export const RELAY = "11.0.0.1";
/** Addresses that are there, with servers on them, and must not be reached. */
export const FORBIDDEN = ["10.9.9.9", "169.254.169.254", "192.168.7.7"] as const;

const BUSYBOX = join(import.meta.dirname, "../../public/system/busybox");
const SERVERS = join(import.meta.dirname, "vde-servers.mjs");
const run = (command: string, ...words: string[]): string =>
  execFileSync(command, words, { encoding: "utf8", stdio: "pipe", timeout: 10_000 });

let count = 0;

export class World {
  readonly relay: string;
  private readonly world: string;
  private readonly guests: TapGuest[] = [];
  private readonly children: ChildProcess[] = [];
  private readonly folder = mkdtempSync(join(tmpdir(), "vde-world-"));

  private constructor() {
    const id = `so-${process.pid}-${++count}`;
    this.relay = `${id}-relay`;
    this.world = `${id}-world`;
  }

  static async make(): Promise<World> {
    const world = new World();
    try {
      await world.start();
    } catch (error) {
      await world.close();
      throw error;
    }
    return world;
  }

  private async start(): Promise<void> {
    const { relay, world } = this;
    const ip = (...words: string[]): string => run("ip", ...words);
    for (const name of [relay, world]) {
      ip("netns", "add", name);
      ip("-n", name, "link", "set", "lo", "up");
    }
    ip("-n", relay, "link", "add", "veth0", "type", "veth", "peer", "name", "veth1", "netns", world);
    ip("-n", relay, "address", "add", `${RELAY}/24`, "dev", "veth0");
    ip("-n", world, "address", "add", `${WORLD}/24`, "dev", "veth1");
    for (const address of FORBIDDEN) ip("-n", world, "address", "add", `${address}/32`, "dev", "lo");
    ip("-n", relay, "link", "set", "veth0", "up");
    ip("-n", world, "link", "set", "veth1", "up");
    ip("-n", relay, "route", "add", "default", "via", WORLD);
    // `ip netns exec` puts it in the place of /etc/resolv.conf: what engines find there is the world's name server.
    mkdirSync(`/etc/netns/${relay}`, { recursive: true });
    writeFileSync(`/etc/netns/${relay}/resolv.conf`, `nameserver ${WORLD}\n`);
    // Servers in the relay's own namespace, on all its addresses: nobody may reach them.
    await Promise.all([this.serve(world), this.serve(relay)]);
    this.within(
      world,
      "dnsmasq",
      "--keep-in-foreground",
      "--conf-file=/dev/null",
      "--pid-file=",
      "--no-resolv",
      "--no-hosts",
      "--user=root",
      "--local=/example.test/",
      `--host-record=www.example.test,${WORLD}`,
      "--host-record=inside.example.test,10.9.9.9",
    );
  }

  /** In front of commands that run where the relay is. */
  get prefix(): string[] {
    return ["ip", "netns", "exec", this.relay];
  }

  /** What is in a namespace: taps, rules. */
  look(...command: string[]): string {
    return run("ip", "netns", "exec", this.relay, ...command);
  }

  /** Connections that the servers of a namespace have had, by their own address. */
  hits(where: "relay" | "world"): string[] {
    return JSON.parse(
      run(
        "ip",
        "netns",
        "exec",
        where === "relay" ? this.relay : this.world,
        BUSYBOX,
        "wget",
        "-q",
        "-O-",
        "http://127.0.0.1/hits",
      ),
    ) as string[];
  }

  async join(engine: Pick<Engine, "attach">, options: { mac?: string; address?: string } = {}): Promise<TapGuest> {
    const guest = new TapGuest(engine, `so-${process.pid}-${++count}-guest`, this.folder, options);
    this.guests.push(guest);
    await guest.start();
    return guest;
  }

  async close(): Promise<void> {
    for (const guest of this.guests) await guest.close();
    for (const child of this.children) {
      if (child.exitCode !== null) continue;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
    }
    for (const name of [this.relay, this.world])
      try {
        run("ip", "netns", "delete", name);
      } catch {
        // It was not made.
      }
    rmSync(`/etc/netns/${this.relay}`, { recursive: true, force: true });
    rmSync(this.folder, { recursive: true, force: true });
  }

  private within(namespace: string, ...command: string[]): ChildProcess {
    const child = spawn("ip", ["netns", "exec", namespace, ...command], { stdio: ["ignore", "pipe", "inherit"] });
    this.children.push(child);
    return child;
  }

  private serve(namespace: string): Promise<void> {
    const child = this.within(namespace, process.execPath, SERVERS);
    return new Promise((resolve, reject) => {
      child.stdout?.once("data", () => resolve());
      child.once("exit", () => reject(new Error("The test's servers have ended")));
    });
  }
}

/** A guest without an emulator: the namespace's own kernel, with the busybox of our guests. */
export class TapGuest {
  readonly told: Refusal[] = [];
  private guest: EngineGuest | null = null;
  private readonly plug: VdePlug;
  private readonly running = new Set<ChildProcess>();

  constructor(
    private readonly engine: Pick<Engine, "attach">,
    readonly namespace: string,
    private readonly folder: string,
    private readonly options: { mac?: string; address?: string },
  ) {
    this.plug = new VdePlug({
      command: ["ip", "netns", "exec", namespace, "vde_plug", "tap://eth0"],
      onFrame: (frame) => this.guest?.receive(new Uint8Array(frame)),
      onProblem: () => {},
    });
  }

  get engineGuest(): EngineGuest {
    return this.guest as EngineGuest;
  }

  async start(): Promise<void> {
    const { namespace, plug, told } = this;
    run("ip", "netns", "add", namespace);
    const port: GuestPort = {
      send: (frame) => void plug.send(frame, () => {}),
      queuedBytes: 0,
      onDrain: () => {},
      tell: (refusal) => void told.push(refusal),
    };
    this.guest = this.engine.attach(port, this.options.address);
    // The first frame starts it.
    plug.send(new Uint8Array(60), () => {});
    for (let i = 0; ; i++)
      try {
        const mac = this.options.mac ?? "52:54:00:00:00:01";
        run("ip", "-n", namespace, "link", "set", "eth0", "address", mac, "up");
        break;
      } catch (error) {
        if (i === 200) throw error;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    run("ip", "-n", namespace, "link", "set", "lo", "up");
    const script = join(this.folder, "udhcpc.sh");
    writeFileSync(
      script,
      `#!/bin/sh\n[ "$1" = bound ] || exit 0\nip address add "$ip/24" dev eth0 && ip route add default via "$router"\n` +
        `mkdir -p /etc/netns/${namespace} && echo "nameserver $dns" > /etc/netns/${namespace}/resolv.conf\n`,
      { mode: 0o755 },
    );
    await this.busybox("udhcpc", "-i", "eth0", "-n", "-q", "-t", "10", "-T", "1", "-s", script);
  }

  /** @returns what it printed, errors included */
  sh(command: string): Promise<string> {
    return this.execute("sh", "-c", command.replaceAll("busybox ", `${BUSYBOX} `));
  }

  private busybox(...words: string[]): Promise<string> {
    return this.execute(BUSYBOX, ...words);
  }

  private execute(...command: string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      // A group of its own: what the shell has started ends with it.
      const child = spawn("ip", ["netns", "exec", this.namespace, ...command], {
        stdio: ["ignore", "pipe", "pipe"],
        detached: true,
      });
      let output = "";
      for (const stream of [child.stdout, child.stderr])
        stream.on("data", (bytes) => {
          output += bytes;
        });
      this.running.add(child);
      const timer = setTimeout(() => killGroup(child), 20_000);
      child.on("error", reject);
      child.on("close", (_code, signal) => {
        clearTimeout(timer);
        this.running.delete(child);
        if (signal) reject(new Error(`${command.join(" ")} took too long: ${output}`));
        else resolve(output.trim());
      });
    });
  }

  async close(): Promise<void> {
    for (const child of this.running) killGroup(child);
    this.guest?.close();
    await this.plug.close();
    try {
      run("ip", "netns", "delete", this.namespace);
    } catch {
      // It was not made.
    }
    rmSync(`/etc/netns/${this.namespace}`, { recursive: true, force: true });
  }
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}
