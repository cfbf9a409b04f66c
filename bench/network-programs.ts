/** The programs that bench/network.ts measures, each a process of its own. */
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";

export interface Servers {
  http: number;
  sink: number;
  bell: number;
  echo: number;
  say(message: { expect?: number; hash?: boolean; stop?: boolean; rounds?: number }): void;
  /** What it tells next. @throws Error when it says nothing for so long */
  heard<Message>(withinMs: number): Promise<Message>;
  stop(): void;
}

export interface Wisp {
  url: string;
  child: ChildProcess;
  /** Bytes, after collecting garbage. */
  resident(): Promise<number>;
  stop(): void;
}

export async function startServers(): Promise<Servers> {
  const child = fork(join(import.meta.dirname, "network-servers.mjs"));
  const ports = await next<Pick<Servers, "http" | "sink" | "bell" | "echo">>(child);
  return {
    ...ports,
    say: (message) => void child.send(message),
    heard: (withinMs) => next(child, withinMs),
    stop: () => child.disconnect(),
  };
}

export async function startWisp(): Promise<Wisp> {
  const child = fork(join(import.meta.dirname, "wisp-server.mjs"), { execArgv: ["--expose-gc"] });
  const { port } = await next<{ port: number }>(child);
  return {
    url: `wisp://127.0.0.1:${port}/`,
    child,
    async resident() {
      child.send("memory");
      return (await next<{ resident: number }>(child)).resident;
    },
    stop: () => child.disconnect(),
  };
}

function next<Message>(child: ChildProcess, withinMs = 10_000): Promise<Message> {
  return new Promise((resolve, reject) => {
    const listen = (message: unknown): void => {
      clearTimeout(timer);
      resolve(message as Message);
    };
    const timer = setTimeout(() => {
      child.off("message", listen);
      reject(new Error("nothing came in time"));
    }, withinMs);
    child.once("message", listen);
  });
}
