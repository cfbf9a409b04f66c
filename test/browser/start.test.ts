import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { Client } from "../relay/guests.ts";

const ROOT = join(import.meta.dirname, "../..");

/** Runs `npm start` or another command of the project until it says that it is ready or ends. */
function start(
  port: number,
  ...words: string[]
): Promise<{ output: string; status: number | null; stop(): Promise<void> }> {
  const child = spawn("npm", [...(words.length > 0 ? ["run", ...words] : ["start"]), "--silent"], {
    cwd: ROOT,
    env: { ...process.env, PORT: String(port) },
    detached: true,
  });
  let output = "";
  const ended = new Promise<number | null>((resolve) => child.on("exit", resolve));
  const stop = async (): Promise<void> => {
    try {
      process.kill(-(child.pid as number), "SIGTERM");
    } catch {
      // It has ended by itself.
    }
    await ended;
  };
  return new Promise((resolve) => {
    const look = (bytes: Buffer): void => {
      output += bytes.toString();
      if (output.includes("smart-os is ready")) resolve({ output, status: null, stop });
    };
    child.stdout.on("data", look);
    child.stderr.on("data", look);
    void ended.then((status) => resolve({ output, status, stop }));
  });
}

describe("npm start", () => {
  it("prints the address of a page that is there, with compressed and cacheable assets", async () => {
    const { output, stop } = await start(0);
    const url = /smart-os is ready: (http:\/\/localhost:\d+\/)/.exec(output)?.[1];
    expect(url, output).toBeDefined();
    const page = await fetch(url as string);
    expect(page.status).toBe(200);
    const script = /src="\.\/(assets\/[^"]+\.js)"/.exec(await page.text())?.[1];
    const asset = await fetch(`${url}${script}`, { headers: { "Accept-Encoding": "br" } });
    expect(asset.headers.get("content-encoding")).toBe("br");
    expect(asset.headers.get("cache-control")).toContain("immutable");
    const manifest = await fetch(`${url}system/manifest.json`);
    expect(manifest.headers.get("cache-control")).toBe("no-cache");
    const state = `system/${(await manifest.json()).states.files[0].file}`;
    const packed = await fetch(`${url}${state}`, { headers: { "Accept-Encoding": "gzip, br, zstd" } });
    expect(packed.headers.get("content-encoding")).toBe("zstd");
    expect(packed.headers.get("cache-control")).toContain("immutable");
    expect(packed.headers.get("content-type")).toBe("application/octet-stream");
    const unpacked = execFileSync("zstd", ["-dc"], {
      input: Buffer.from(await packed.arrayBuffer()),
      maxBuffer: 2 ** 26,
    });
    expect(unpacked.equals(readFileSync(join(ROOT, "dist", state)))).toBe(true);
    expect((await fetch(`${url}nothing/here`)).status).toBe(404);
    expect((await fetch(`${url}..%2fpackage.json`)).status).toBe(404);
    expect((await fetch(`${url}.inputs`)).status).toBe(404);
    await stop();
  });

  it("says which port is taken, and what to do", async () => {
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen(0, resolve));
    const { port } = holder.address() as { port: number };
    const { output, status } = await start(port);
    expect(output).toContain(`Cannot listen on port ${port}: another program uses it; set PORT to a free one`);
    expect(status).toBe(1);
    holder.close();
  });

  it("refuses a port that is none", async () => {
    const { output, status } = await start(99999);
    expect(output).toContain("Cannot listen on port 99999: PORT must be a number from 0 to 65535");
    expect(status).toBe(1);
  });
});

describe("npm run dev", () => {
  it("has hot reloading, and a relay on the same port", async () => {
    const { output, stop } = await start(0, "dev");
    const url = /smart-os is ready: (http:\/\/localhost:\d+\/)/.exec(output)?.[1] as string;
    expect(url, output).toBeDefined();
    expect(await (await fetch(url)).text()).toContain("/@vite/client");
    expect(await (await fetch(`${url}relay.json`)).json()).toEqual({ relay: "relay" });
    const socket = url.replace("http", "ws");
    const reloading = new WebSocket(socket, "vite-ping");
    await once(reloading, "open");
    reloading.close();
    const client = await Client.open(`${socket}relay`, { headers: { Origin: url.slice(0, -1) } });
    expect(await client.message("hello")).toMatchObject({ room: null });
    client.close();
    await stop();
  });
});
