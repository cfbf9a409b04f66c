/** What the container runs, without a container: the relay in one bundle beside the page, with nothing else of the project. */
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, it } from "vitest";
import { arp, BROADCAST, Client, dhcp, mac } from "./guests.ts";

const ROOT = join(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "smart-os-bundle-"));
afterAll(() => rmSync(folder, { recursive: true }));

it("the bundle serves page and network by itself, public, and ends when it is told to", async () => {
  await promisify(execFile)(process.execPath, ["tools/bundle.mjs", join(folder, "relay")], { cwd: ROOT });
  symlinkSync(join(ROOT, "dist"), join(folder, "dist"));
  writeFileSync(join(folder, "package.json"), '{"type": "module"}');
  // As the image sets it; HOST only, so that the test does not listen everywhere.
  const env = { PATH: process.env.PATH, NODE_ENV: "production", RELAY_PUBLIC: "1", PORT: "0", HOST: "127.0.0.1" };
  const child = spawn(process.execPath, ["relay/main.js"], { cwd: folder, env });
  let output = "";
  const ended = new Promise<number | null>((resolve) => child.on("exit", resolve));
  const port = await new Promise<number>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (bytes) => {
        output += bytes;
        const found = /ready: http:\/\/localhost:(\d+)\//.exec(output)?.[1];
        if (found) resolve(Number(found));
      });
    void ended.then(() => reject(new Error(output)));
  });
  try {
    expect(output).toContain("Network: public, on 127.0.0.1; 500 guests, 16 of one address, 4.0 MB/s each");
    expect(output).toContain("Guests are reached by nobody");
    expect(output).toContain("Anybody may connect: there is no --token");
    const url = `http://127.0.0.1:${port}`;
    expect(await (await fetch(`${url}/healthz`)).json()).toMatchObject({ status: "ok", guests: 0 });
    expect(await (await fetch(url)).text()).toContain("<html");
    const client = await Client.open(`ws://127.0.0.1:${port}/relay`, { headers: { Origin: url } });
    client.send(dhcp(mac(1)));
    await client.frame((bytes) => bytes.length > 300);
    client.send(arp(1, mac(1), "10.0.2.15", BROADCAST, "10.0.2.2"));
    await client.frame((bytes) => bytes.readUInt16BE(12) === 0x0806);
    client.close();
  } finally {
    child.kill("SIGTERM");
  }
  expect(await ended).toBe(0);
});
