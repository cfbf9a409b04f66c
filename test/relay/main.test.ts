import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { arp, BROADCAST, Client, dhcp, GATEWAY_MAC, mac, udp } from "./guests.ts";

const ROOT = join(import.meta.dirname, "../..");
const WORDS = ["--import", "tsx", "relay/main.ts"];
const environment = { ...process.env, PORT: "0" };

describe("npm run relay", () => {
  it("serves page and network on one port, says how, and ends when it is told to", async () => {
    const child = spawn(process.execPath, [...WORDS, "--allow", "192.0.2.0/24:80", "--log-level", "info"], {
      cwd: ROOT,
      env: environment,
    });
    let output = "";
    let log = "";
    child.stderr.on("data", (bytes) => {
      log += bytes;
    });
    const ended = new Promise<number | null>((resolve) => child.on("exit", resolve));
    const url = await new Promise<string>((resolve, reject) => {
      child.stdout.on("data", (bytes) => {
        output += bytes;
        const found = /smart-os is ready: (http:\/\/localhost:\d+\/)\n/.exec(output)?.[1];
        if (found) resolve(found);
      });
      void ended.then(() => reject(new Error(output + log)));
    });
    expect(output).toContain("Network: local, on 127.0.0.1; ");
    expect(output).toContain("allowed besides: 192.0.2.0/24:80");
    expect(await (await fetch(url)).text()).toContain("<html");
    expect((await fetch(`${url}nothing/here`)).status).toBe(404);

    const client = await Client.open(`${url.replace("http", "ws")}relay`, { headers: { Origin: url.slice(0, -1) } });
    // The real engine: an address, a gateway, and refusals in words.
    client.send(dhcp(mac(1)));
    await client.frame((bytes) => bytes.length > 300);
    client.send(arp(1, mac(1), "10.0.2.15", BROADCAST, "10.0.2.2"));
    await client.frame((bytes) => bytes.readUInt16BE(12) === 0x0806);
    await client.message("address", ({ address }) => address === "10.0.2.15");
    for (const [address, words] of [
      ["10.0.0.1", "private addresses are not reachable from here"],
      ["169.254.169.254", "metadata services of clouds are not reachable from here"],
      ["192.0.2.1", "addresses for documentation are not reachable from here"],
    ] as const) {
      client.send(udp(GATEWAY_MAC, mac(1), "10.0.2.15", 1000, address, 9, Buffer.from("hello")));
      const refusal = await client.message("refusal", ({ destination }) => destination === address);
      expect(refusal.text).toBe(`Cannot send to ${address}: ${words}`);
    }
    child.kill("SIGTERM");
    expect((await client.closed).code).toBe(1001);
    expect(await ended).toBe(0);
    const lines = log
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { msg: string });
    expect(lines.map(({ msg }) => msg)).toEqual(["guest came", "guest left"]);
    expect(log).not.toContain("hello");
  });

  it.each([
    [["--help"], 0, "npm run relay -- [OPTION…]"],
    [["--allow", "10.0.0.1/8"], 1, "Cannot use --allow 10.0.0.1/8: that network is 10.0.0.0/8\n"],
    [["--host", "192.0.2.1", "--port", "8086"], 1, "Cannot listen on port 8086: this computer has no such address"],
  ])("with %j ends with %d and a sentence", (words, status, text) => {
    const {
      status: ended,
      stdout,
      stderr,
    } = spawnSync(process.execPath, [...WORDS, ...words], {
      cwd: ROOT,
      env: environment,
      encoding: "utf8",
      timeout: 20_000,
    });
    expect(stdout + stderr).toContain(text);
    expect(ended).toBe(status);
    expect(stderr).not.toContain("at file:");
  });
});
