/**
 * Hundreds of simulated guests on one relay, each with work of its own: pings, downloads and uploads whose every byte is
 * compared, some that break off, vanish, read nothing, or send nonsense. What disturbs one of them must not disturb others.
 */
import { createServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { BROADCAST, frame, listen, mac, pause } from "./guests.ts";
import { afterPatience } from "./patience.ts";
import { forkRelay, type RelayNumbers } from "./relay-process.ts";
import { SimulatedGuest } from "./simulated-guest.ts";

export interface CrowdReport {
  /** Of each kind, how many were done. */
  done: Record<string, number>;
  /** In words: what a guest did not get, or got wrong. */
  faults: string[];
  /** Milliseconds of pings of the gateway, from the shortest to the longest. */
  pings: number[];
  /** Of the relay's process: at the start without guests, and from time to time with all of them. */
  empty: RelayNumbers;
  samples: RelayNumbers[];
  /** At the end, when all have left. */
  left: RelayNumbers;
}

const LARGE = 200_000;
/** So long a relay keeps a guest whose connection is gone. */
const KEPT_MS = 30_000;
/** A transfer that takes longer is one that hangs. */
const PATIENCE_MS = 30_000;

/** What a server sends, and expects back: it differs at each place, so that nothing can be exchanged unnoticed. */
function pattern(seed: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0, value = seed | 1; at + 4 <= length; at += 4) {
    value = (Math.imul(value, 1664525) + 1013904223) | 0;
    bytes.writeInt32LE(value, at);
  }
  return bytes;
}

/**
 * @param guests how many there are at a time
 * @param ms how long they work
 * @param onSample called with each of the report's samples
 */
export async function crowd(
  guests: number,
  ms: number,
  onSample: (sample: RelayNumbers, report: CrowdReport) => void = () => {},
): Promise<CrowdReport> {
  const servers = [createServer({ allowHalfOpen: true }, give), createServer({ allowHalfOpen: true }, echo)];
  const [giver, echoer] = (await Promise.all(servers.map((server) => listen(server)))) as [number, number];
  const relay = await forkRelay(["--allow", "127.0.0.1", "--guests", String(2 * guests)]);
  const report: CrowdReport = {
    done: {},
    faults: [],
    pings: [],
    empty: await relay.numbers(),
    samples: [],
    left: { resident: 0, used: 0, guests: 0, dropped: {} },
  };
  const count = (what: string): void => {
    report.done[what] = (report.done[what] ?? 0) + 1;
  };
  const end = Date.now() + ms;

  // Whoever stood in the door while the computer slept is sent away (408, Request Timeout), and comes again as a page does.
  const join = (): Promise<SimulatedGuest> =>
    SimulatedGuest.join(relay.url).catch((error: Error) => {
      if (!error.message.startsWith("408")) throw error;
      return SimulatedGuest.join(relay.url);
    });
  const live = async (number: number): Promise<void> => {
    let guest = await join();
    for (let turn = number; Date.now() < end; turn += 7) {
      const what = `guest ${number}, turn ${turn}`;
      const kind = turn % 20;
      if (kind < 10) {
        const took = await guest.ping(PATIENCE_MS);
        if (took === null) report.faults.push(`${what}: no answer to a ping`);
        else report.pings.push(took);
        count("ping");
      } else if (kind < 13) {
        const wanted = kind === 12 ? LARGE : 1000;
        const stream = guest.connect(giver);
        stream.end(`${turn} ${wanted}\n`);
        judge(what, await arrived(stream), pattern(turn, wanted), report);
        count("download");
      } else if (kind < 16) {
        const sent = pattern(turn, kind === 15 ? LARGE : 1000);
        const stream = guest.connect(echoer);
        stream.end(sent);
        judge(what, await arrived(stream), sent, report);
        count("echo");
      } else if (kind === 16) {
        // Breaks off in the middle.
        const stream = guest.connect(giver);
        stream.write(`${turn} ${LARGE * 100}\n`);
        await pause(200);
        stream.destroy();
        count("broken off");
      } else if (kind === 17) {
        // Reads nothing for a while: the relay must hold a fixed amount for it.
        const stream = guest.connect(giver, { receiveBuffer: 16_384 });
        stream.pause();
        stream.end(`${turn} ${LARGE}\n`);
        await pause(1500);
        judge(what, await arrived(stream), pattern(turn, LARGE), report);
        count("slow reader");
      } else if (kind === 18) {
        for (let i = 0; i < 50; i++) guest.client.send(frame(BROADCAST, mac(i), "nonsense", i * 512));
        guest.client.websocket.send("{");
        count("nonsense");
      } else {
        // The relay keeps those that vanish, as they might come back: nobody is to be waited for at the end.
        if (turn % 3 === 0 && Date.now() < end - KEPT_MS) guest.vanish();
        else guest.leave();
        guest = await join();
        count("newcomer");
      }
      await pause(500 + ((turn * 7919) % 2000));
    }
    guest.leave();
  };

  const lives: Promise<void>[] = [];
  for (let number = 0; number < guests; number++) {
    const life = live(number).catch((error: Error) => void report.faults.push(`guest ${number}: ${error.message}`));
    lives.push(life);
    if (number % 25 === 24) await pause(50);
  }
  while (Date.now() + 2000 < end) {
    await pause(Math.min(10_000, end - Date.now()));
    const sample = await relay.numbers();
    report.samples.push(sample);
    onSample(sample, report);
  }
  await Promise.all(lives);
  for (let i = 0; i < 350 && (await relay.numbers()).guests > 0; i++) await pause(100);
  report.left = await relay.numbers();
  await relay.stop();
  for (const server of servers) server.close();
  report.pings.sort((a, b) => a - b);
  return report;
}

/** Sends what a line asks for: a seed and a length. */
function give(socket: Socket): void {
  let line = "";
  socket.on("error", () => {});
  socket.on("data", (bytes) => {
    line += bytes.toString();
    const wish = /^(\d+) (\d+)\n/.exec(line);
    if (wish) socket.end(pattern(Number(wish[1]), Math.min(Number(wish[2]), LARGE * 20)));
  });
}

function echo(socket: Socket): void {
  socket.on("error", () => {});
  socket.pipe(socket);
}

function judge(what: string, got: Buffer | Error, wanted: Buffer, report: CrowdReport): void {
  if (got instanceof Error) report.faults.push(`${what}: ${got.message}`);
  else if (!got.equals(wanted))
    report.faults.push(`${what}: ${got.length} bytes came that are not the ${wanted.length} sent`);
}

/** All that comes, or why not. */
function arrived(stream: Duplex): Promise<Buffer | Error> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const callOff = afterPatience(PATIENCE_MS, () => {
      resolve(new Error(`it hangs after ${Buffer.concat(chunks).length} bytes`));
      stream.destroy();
    });
    const done = (result: Buffer | Error): void => {
      callOff();
      resolve(result);
    };
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => done(Buffer.concat(chunks)));
    stream.on("error", done);
    stream.resume();
  });
}

/** Of memory in use, which guests' work makes go up and down. */
const MOST_GROWTH = 16e6;
const MOST_LEFT = 8e6;
/** Of the process, for each guest; idle ones need a tenth. */
const MOST_EACH = 600e3;

/** @returns in words what is not as it should be */
export function judgeCrowd(report: CrowdReport, guests: number): string[] {
  const { done, faults, pings, empty, samples, left } = report;
  const problems = faults.slice(0, 20);
  const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
  const kinds = ["ping", "download", "echo", "broken off", "slow reader", "nonsense", "newcomer"];
  for (const kind of kinds) if (!done[kind]) problems.push(`nobody did what is called ${kind}`);
  if (pings.length < guests) problems.push(`only ${pings.length} pings were answered`);
  if (!samples.some((sample) => sample.guests >= guests)) problems.push(`there were never ${guests} guests at a time`);
  // It goes up and down with what guests do; what leaks makes even the lowest of later values higher than all before.
  const half = Math.floor(samples.length / 2);
  const before = Math.max(empty.used, ...samples.slice(0, half).map(({ used }) => used));
  const after = Math.min(...samples.slice(half).map(({ used }) => used));
  if (after - before > MOST_GROWTH)
    problems.push(`memory grew from ${mb(before)} to ${mb(after)} while the number of guests stayed`);
  for (const { resident } of samples)
    if (resident - empty.resident > guests * MOST_EACH)
      problems.push(`${guests} guests took ${mb(resident - empty.resident)} of memory`);
  if (left.guests > 0) problems.push(`${left.guests} guests stayed for ever`);
  if (left.used - empty.used > MOST_LEFT)
    problems.push(`${mb(left.used - empty.used)} of memory stayed when all guests had gone`);
  return problems;
}
