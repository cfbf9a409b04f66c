/**
 * The relay against what others offer for v86 and for Linux guests: its speed, its patience and what it costs. Everything
 * runs on this machine, on two cores mostly shared by emulator, relay and servers; the ratios of one run are what counts.
 * Needs root and Linux, for the network namespace of the guest without an emulator.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocket } from "ws";
import { buildTestInitramfs } from "../test/machine/guest.ts";
import { OnlineGuest } from "../test/relay/online-guest.ts";
import { cpuSeconds, forkRelay } from "../test/relay/relay-process.ts";
import { blast } from "./network-blast.ts";
import { ourMemory, wispMemory } from "./network-memory.ts";
import { type Servers, startServers, startWisp } from "./network-programs.ts";
import { relayWay, slirpWay, tap } from "./network-tap.ts";
import { median, publish, type Row } from "./table.ts";
import { bootWispGuest } from "./wisp-guest.ts";

const ROUNDS = Number(process.argv[2] ?? 3);
const MIB = 2 ** 20;
const TRANSFERS = 100;
const TRANSFER_MIB = 4;
const PINGS = 100;

/** Of one way to the network: MiB a second, processor seconds for a MiB, transfers that were whole. */
interface Figures {
  down: number[];
  up: number[];
  cpuDown: number[];
  cpuUp: number[];
  whole: number;
  transfers: number;
}

type Run = (command: string, ms: number) => Promise<string>;

const say = (text: string): void => void process.stderr.write(`\r\u001b[K${text && `  ${text} …`}`);

/** Bytes that repeat, as the servers send them. */
function md5Of(mib: number): string {
  const hash = createHash("md5");
  const block = Buffer.alloc(65536, "0123456789abcdef");
  for (let i = 0; i < mib * 16; i++) hash.update(block);
  return hash.digest("hex");
}

/** @returns MiB a second, or null when it did not come to its end */
async function download(run: Run, servers: Servers, mib: number): Promise<number | null> {
  const startedAt = performance.now();
  const command = `timeout 40 wget -q -O /dev/null http://10.0.2.2:${servers.http}/bytes/${mib * MIB} && echo whole`;
  const output = await run(command, 60_000).catch(() => "");
  return output.includes("whole") ? (mib * 1000) / (performance.now() - startedAt) : null;
}

async function upload(run: Run, servers: Servers, mib: number): Promise<number | null> {
  // The server breaks off when it has enough: a pipe and a second program would cost the guest as much as the network does.
  servers.say({ expect: mib * MIB, hash: false, stop: true });
  const heard = servers.heard<{ ms: number }>(40_000).catch(() => null);
  const command = `timeout ${Math.max(10, mib)} nc 10.0.2.2 ${servers.sink} </dev/zero >/dev/null 2>&1; true`;
  const sent = run(command, 80_000).catch(() => "");
  const answer = await heard;
  await sent;
  return answer && (mib * 1000) / answer.ms;
}

/** So many transfers, every second one an upload, compared by their sums. */
async function wholes(run: Run, servers: Servers, transfers: number): Promise<number> {
  const wanted = md5Of(TRANSFER_MIB);
  const url = `http://10.0.2.2:${servers.http}/bytes/${TRANSFER_MIB * MIB}`;
  await run(`timeout 60 wget -q -O /tmp/blob ${url}; md5sum </tmp/blob`, 80_000).catch(() => "");
  servers.say({ expect: TRANSFER_MIB * MIB, hash: true, stop: false });
  let whole = 0;
  for (let i = 0; i < transfers; i++) {
    if (i % 2 === 0) {
      const sum = await run(`timeout 20 wget -q -O - ${url} | md5sum`, 30_000).catch(() => "");
      if (sum.includes(wanted)) whole++;
    } else {
      const heard = servers.heard<{ md5: string }>(8_000).catch(() => null);
      const sent = run(`timeout 8 nc 10.0.2.2 ${servers.sink} </tmp/blob`, 30_000).catch(() => "");
      const answer = await heard;
      // Whole is also: it comes to an end, and the server's last word arrives.
      if ((await sent).includes("done") && answer?.md5 === wanted) whole++;
    }
  }
  return whole;
}

/** One way to the network, and what is asked of it. */
interface Way {
  name: string;
  run: Run;
  pid: number;
  mib: number;
  figures: Figures;
}

const way = (name: string, run: Run, pid: number, mib: number): Way => ({
  name,
  run,
  pid,
  mib,
  figures: { down: [], up: [], cpuDown: [], cpuUp: [], whole: 0, transfers: 0 },
});

/** All ways in turns, so that a machine that becomes slower does so for each of them. */
async function transfer(ways: readonly Way[], servers: Servers): Promise<void> {
  for (const { name, run, mib } of ways) {
    // The first ones are the emulator's compiler's, and the browser engine's after it.
    say(`${name}: warming up`);
    await download(run, servers, mib);
    await upload(run, servers, mib);
  }
  for (let round = 0; round < ROUNDS; round++)
    for (const { name, run, pid, mib, figures } of ways)
      for (const [move, speeds, cpus] of [
        [download, figures.down, figures.cpuDown],
        [upload, figures.up, figures.cpuUp],
      ] as const) {
        say(`${name}: ${move.name}, round ${round + 1}`);
        const before = cpuSeconds(pid);
        const speed = await move(run, servers, mib);
        if (speed === null) continue;
        speeds.push(speed);
        cpus.push((cpuSeconds(pid) - before) / mib);
      }
}

/**
 * Milliseconds: a line that a server sends and the guest's cat gives back, and what it is made of, in turns.
 *
 * All three one upon the other, as `ping -A` does it: whoever has rested is slower, all programs on the way alike (caches,
 * and processors that sleep). With 5 ms before each line, and pings without, the line takes 1.7 to 1.9 × the two others.
 */
async function roundTrip(run: Run, servers: Servers): Promise<{ request: number; ping: number; echo: number }> {
  const requests: number[] = [];
  const pings: number[] = [];
  const echoes: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    servers.say({ rounds: PINGS });
    const heard = servers.heard<{ times: number[] }>(30_000);
    await run(`nc 10.0.2.2 ${servers.bell} -e cat`, 30_000);
    requests.push(...(await heard).times);
    const output = await run(`ping -c ${PINGS} -A 10.0.2.2`, 60_000);
    pings.push(...[...output.matchAll(/time=([\d.]+)/g)].map((match) => Number(match[1])));
    echoes.push(...(await echoTimes(servers.echo)));
  }
  return { request: median(requests), ping: median(pings), echo: median(echoes) };
}

async function echoTimes(port: number): Promise<number[]> {
  const websocket = new WebSocket(`ws://127.0.0.1:${port}`);
  await new Promise((resolve) => websocket.once("open", resolve));
  const times: number[] = [];
  for (let i = 0; i < PINGS; i++) {
    const startedAt = performance.now();
    const back = new Promise((resolve) => websocket.once("message", resolve));
    websocket.send(Buffer.alloc(74));
    await back;
    times.push(performance.now() - startedAt);
  }
  websocket.close();
  return times;
}

/** `npm run bench -- network` measures all; `npx tsx bench/network.ts 3 guest,whole` parts: guest, whole, tap, memory. */
const only = process.argv[3];
const wants = (part: string): boolean => only === undefined || only.split(",").includes(part);
const rows: Row[] = [];
const details: Record<string, unknown> = { rounds: ROUNDS };
const row = (what: string, unit: string, value: number, baseline: number, limit: number, name: string): void => {
  const isSpeed = unit.endsWith("/s");
  const ratio = value / baseline;
  const goal = `${isSpeed ? "≥" : "≤"} ${limit} × ${name}`;
  rows.push({ what, value, unit, baseline, ratio, goal, met: isSpeed ? ratio >= limit : ratio <= limit });
};
const servers = await startServers();
const initramfs = await buildTestInitramfs();

if (wants("guest") || wants("whole")) {
  const relay = await forkRelay(["--allow", "127.0.0.1"]);
  const online = await OnlineGuest.boot(relay.url, initramfs);
  await online.booted();
  const run: Run = async (command, ms) => (await online.guest.agent.run(command, ms)).output;
  const server = await startWisp();
  const guest = await bootWispGuest(initramfs, server.url);
  const runThere: Run = async (command, ms) => (await guest.agent.run(command, ms)).output;
  await runThere("for i in 1 2 3 4 5 6 7 8 9 10; do ip route | grep -q default && break; sleep 0.3; done", 30_000);
  const our = way("our relay", run, relay.child.pid as number, 64);
  // It hangs above 16 MB; a tenth of the transfers tells enough.
  const wisp = way("wisp", runThere, server.child.pid as number, 16);
  await transfer([our, wisp], servers);
  const { figures: ours } = our;
  const { figures: theirs } = wisp;
  if (wants("whole"))
    for (const [{ name, run: there, figures }, transfers] of [
      [our, TRANSFERS],
      [wisp, TRANSFERS / 10],
    ] as const) {
      say(`${name}: ${transfers} transfers`);
      figures.transfers = transfers;
      figures.whole = await wholes(there, servers, transfers);
    }
  await guest.stop();
  server.stop();
  say("round trips");
  const trips = await roundTrip(run, servers);
  await online.stop();
  await relay.stop();

  say("the card alone");
  const limit = await blast(initramfs);
  row("guest in v86: TCP download, 64 MB", "MiB/s", median(ours.down), median(theirs.down), 2.5, "v86's wisp, 16 MB");
  row("guest in v86: TCP upload, 64 MB", "MiB/s", median(ours.up), median(theirs.up), 2.5, "v86's wisp, 16 MB");
  if (wants("whole"))
    rows.push({
      what: `transfers of ${TRANSFER_MIB} MB that were whole (wisp: ${theirs.whole} of ${theirs.transfers})`,
      value: ours.whole,
      unit: `of ${TRANSFERS}`,
      goal: `${TRANSFERS} of ${TRANSFERS}`,
      met: ours.whole === TRANSFERS,
    });
  row("the download against bare frames", "MiB/s", median(ours.down), limit.inward, 0.7, "v86's card alone");
  row("the upload against bare frames", "MiB/s", median(ours.up), limit.outward, 0.7, "v86's card alone");
  const { request, ping, echo } = trips;
  row("round trip of a small request", "ms", request, ping + echo, 1.5, "websocket echo and a ping of the router");
  const cost = (figures: Figures): number => ((median(figures.cpuDown) + median(figures.cpuUp)) / 2) * 1000;
  row("relay's processor time for a GB, half down, half up", "s", cost(ours), cost(theirs), 1, "wisp-js");
  Object.assign(details, { ours, theirs, limit, trips });
}

if (wants("tap") && process.getuid?.() !== 0) console.error("The guest without an emulator needs root: left out");
else if (wants("tap")) {
  const folder = mkdtempSync(join(tmpdir(), "smart-os-bench-"));
  say("a guest without an emulator");
  const relay = await forkRelay(["--allow", "127.0.0.1"]);
  const slirp = await tap(slirpWay(), folder, servers, ROUNDS);
  const ours = await tap(relayWay(relay.url), folder, servers, ROUNDS);
  await relay.stop();
  rmSync(folder, { recursive: true });
  row("guest without an emulator: download, 256 MB", "MiB/s", ours.down, slirp.down, 1, "libslirp through vde_plug");
  row("guest without an emulator: upload, 256 MB", "MiB/s", ours.up, slirp.up, 1, "libslirp through vde_plug");
  Object.assign(details, { tap: { ours, slirp } });
}

if (wants("memory")) {
  say("memory");
  const ours = await ourMemory(servers);
  const theirs = await wispMemory(servers);
  const idle = ours.idle / 1e3;
  rows.push({ what: "memory for an idle guest", value: idle, unit: "kB", goal: "≤ 64 kB", met: idle <= 64 });
  row("memory for a guest that downloads", "kB", ours.busy / 1e3, theirs.busy / 1e3, 1, "wisp-js");
  Object.assign(details, { memory: { ours, theirs } });
}

say("");
servers.stop();
publish("network", rows, details);
process.exit(0);
