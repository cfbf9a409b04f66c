/** A relay with its real engine in a process of its own, which tells its memory when it is asked; forked by `forkRelay`. */
import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { pino } from "pino";
import { MTU, SUBNET } from "../../relay/embedded.ts";
import { createEngine } from "../../relay/engines.ts";
import { type RelayOptions, readOptions } from "../../relay/options.ts";
import { startRelay } from "../../relay/server.ts";

export interface RelayMemory {
  /** Bytes of the whole process. */
  resident: number;
  /** Bytes of objects, strings and buffers that are in use. */
  used: number;
}

export interface RelayNumbers extends RelayMemory {
  guests: number;
  dropped: Record<string, number>;
}

export interface ForkedRelay {
  url: string;
  port: number;
  child: ChildProcess;
  /** After collecting garbage. */
  numbers(): Promise<RelayNumbers>;
  /** Seconds of the processor so far. */
  cpuSeconds(): number;
  stop(): Promise<void>;
  /** As a process that is killed or a computer that loses its power. */
  kill(): Promise<void>;
}

export async function forkRelay(words: string[]): Promise<ForkedRelay> {
  const child = fork(import.meta.filename, words, {
    execArgv: ["--expose-gc", "--import", "tsx"],
    // A native helper that development tools bring along; a relay that is installed alone has none.
    env: { ...process.env, WS_NO_BUFFER_UTIL: "1" },
  });
  const ended = new Promise<never>((_resolve, reject) => {
    child.once("exit", (code, signal) => reject(new Error(`The relay's process has ended: ${code ?? signal}`)));
  });
  ended.catch(() => {});
  const answer = <Message>(): Promise<Message> =>
    Promise.race([ended, new Promise<Message>((resolve) => child.once("message", (it) => resolve(it as Message)))]);
  const { port } = await answer<{ port: number }>();
  const end = async (signal: "SIGTERM" | "SIGKILL"): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await ended.catch(() => {});
  };
  return {
    url: `ws://127.0.0.1:${port}/relay`,
    port,
    child,
    numbers: () => {
      child.send("numbers");
      return answer<RelayNumbers>();
    },
    cpuSeconds: () => cpuSeconds(child.pid as number),
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
  };
}

/** Of a process, by Linux's /proc (proc_pid_stat(5): utime and stime, in hundredths of a second). */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

if (process.send && process.argv[1] === import.meta.filename) await serve();

async function serve(): Promise<void> {
  const words = ["--port", "0", "--host", "127.0.0.1", "--log-level", "silent", ...process.argv.slice(2)];
  const options = readOptions(words, {}) as RelayOptions;
  const relay = await startRelay(options, {
    engine: await createEngine(options, () => {}),
    subnet: SUBNET,
    mtu: MTU,
    site: (_request, response) => void response.end(),
    log: pino({ level: "silent" }),
  });
  process.on("message", () => {
    (globalThis as { gc?: () => void }).gc?.();
    const { rss, heapUsed, external } = process.memoryUsage();
    process.send?.({ resident: rss, used: heapUsed + external, guests: relay.guests, dropped: relay.totals.dropped });
  });
  process.on("disconnect", () => process.exit());
  process.on("SIGTERM", () => void relay.close().then(() => process.exit()));
  process.send?.({ port: relay.port });
}
