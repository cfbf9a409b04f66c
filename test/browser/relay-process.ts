/** The relay as a process of its own, which can be killed, behind a wire that can be cut; and what its guests talk to. */
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { questionOf } from "../relay/dns-server.ts";
import type { Served } from "./page.ts";

const ROOT = join(import.meta.dirname, "../..");

export interface RelayProcess extends Served {
  /** Starts it, and resolves when it listens. */
  start(): Promise<void>;
  /** Without a word to anybody. */
  kill(): Promise<void>;
  /** Breaks all connections to it; new ones are made. */
  cut(): void;
  /** From now on nothing gets through, and nothing tells of it; until called again. */
  freeze(isFrozen: boolean): void;
}

/** @param words its command line; @param resolver "127.0.0.1:5353": whom it asks for names */
export async function startRelayProcess(words: string[], resolver: string): Promise<RelayProcess> {
  let child: ReturnType<typeof spawn> | null = null;
  let port = 0;
  let isFrozen = false;
  const sockets = new Set<Socket>();
  // Not even its port is the relay's own: what it says of itself must be what the page was opened at.
  const wire = createServer((socket) => {
    const upstream = connect(port, "127.0.0.1");
    for (const [from, to] of [
      [socket, upstream],
      [upstream, socket],
    ] as const) {
      sockets.add(from);
      from.on("data", (bytes) => {
        if (!isFrozen && !to.write(bytes)) from.pause();
      });
      from.on("drain", () => to.resume());
      from.on("end", () => !isFrozen && to.end());
      from.on("error", () => {});
      from.on("close", () => {
        sockets.delete(from);
        if (!isFrozen) to.destroy();
      });
    }
  });
  wire.listen(0, "127.0.0.1");
  await once(wire, "listening");
  const cut = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };

  const relay: RelayProcess = {
    url: `http://localhost:${(wire.address() as AddressInfo).port}/`,
    async start() {
      const dns = `import dns from "node:dns"; import { syncBuiltinESMExports } from "node:module";
        dns.setServers(["${resolver}"]); syncBuiltinESMExports();`;
      const started = spawn(
        process.execPath,
        [
          ...["--import", "tsx", "--import", `data:text/javascript,${encodeURIComponent(dns)}`, "relay/main.ts"],
          ...["--port", String(port), ...words],
        ],
        { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] },
      );
      child = started;
      let output = "";
      port = await new Promise<number>((resolve, reject) => {
        started.stdout.on("data", (bytes) => {
          output += String(bytes);
          const found = /smart-os is ready: http:\/\/localhost:(\d+)\//.exec(output);
          if (found) resolve(Number(found[1]));
        });
        started.once("exit", () => reject(new Error(`The relay did not start: ${output}`)));
      });
    },
    async kill() {
      const ending = child;
      child = null;
      if (!ending || ending.exitCode !== null) return;
      ending.kill("SIGKILL");
      await once(ending, "exit");
    },
    cut,
    freeze(wanted) {
      isFrozen = wanted;
    },
    async close() {
      await relay.kill();
      isFrozen = false;
      cut();
      wire.close();
    },
  };
  await relay.start();
  return relay;
}

/** A name server that knows a few names' addresses. @returns "127.0.0.1:PORT" */
export async function serveNames(names: Record<string, string>): Promise<{ address: string; close(): void }> {
  const socket = createSocket("udp4");
  socket.on("message", (query, from) => {
    const { key, end } = questionOf(query);
    const [name = "", type] = key.split(" ");
    const address = type === "1" ? names[name] : undefined;
    const head = Buffer.from(query.subarray(0, end));
    head.writeUInt16BE(name in names ? 0x8180 : 0x8183, 2);
    head.writeUInt16BE(address ? 1 : 0, 6);
    head.fill(0, 8, 12);
    const record = address
      ? Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address.split(".").map(Number)])
      : [];
    socket.send(Buffer.concat([head, Buffer.from(record)]), from.port, from.address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return { address: `127.0.0.1:${socket.address().port}`, close: () => socket.close() };
}
