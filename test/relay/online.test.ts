/** Real Linux guests on the real relay, over real websockets: from outside to inside and back. */
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SESSION_PROTOCOL } from "../../relay/control.ts";
import { createEmbedded } from "../../relay/embedded.ts";
import { type RelayOptions, readOptions } from "../../relay/options.ts";
import { LIST_CONNECTIONS, probeConnections } from "../../web/saved-connections.ts";
import { buildTestInitramfs } from "../machine/guest.ts";
import { type Of, pause, type TestRelay, testRelay } from "./guests.ts";
import { OnlineGuest } from "./online-guest.ts";

const run = promisify(execFile);
const curl = async (...words: string[]): Promise<string> =>
  (await run("curl", ["-sS", "--max-time", "20", ...words])).stdout;

describe("Linux guests on the relay", () => {
  const body = randomBytes(4 * 1024 * 1024);
  const md5 = createHash("md5").update(body).digest("hex");
  const server = createServer((request, response) => {
    if (request.url === "/slow") {
      response.write(body.subarray(0, 1 << 20));
      setTimeout(() => response.end(body.subarray(1 << 20)), 700);
    } else if (request.url === "/endless") response.write(body.subarray(0, 1 << 20));
    else response.end(request.url === "/small" ? "hello from outside\n" : body);
  });
  let relay: TestRelay;
  let one: OnlineGuest;
  let two: OnlineGuest;
  let port: number;

  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as AddressInfo).port;
    const words = ["--allow", `127.0.0.1:${port}`, "--forward-ports", "42000-42010"];
    const engine = createEmbedded(readOptions(words, {}) as RelayOptions);
    relay = await testRelay(words, { engine });
    const initramfs = await buildTestInitramfs();
    one = await OnlineGuest.boot(relay.url, initramfs);
    await one.booted();
    two = await OnlineGuest.boot(relay.url, initramfs);
    await two.booted();
  });
  afterAll(async () => {
    await Promise.all([one, two].map((guest) => guest?.stop()));
    await relay?.close();
    server.closeAllConnections();
    server.close();
  });

  it("reach what is allowed, and are told at once what is not", async () => {
    expect(await one.run(`wget -q -O - http://10.0.2.2:${port}/small`)).toBe("hello from outside");
    expect(await one.run(`wget -q -O - http://10.0.2.2:${port}/ | md5sum`)).toContain(md5);
    // What a command costs at all, on a machine that may have other things to do.
    const start = Date.now();
    await one.run("true");
    const usual = Date.now() - start;
    for (const [address, words] of [
      [`10.0.2.2:${port + 1}`, "loopback addresses"],
      ["10.0.0.1", "private addresses"],
      ["169.254.169.254", "metadata services of clouds"],
      ["192.168.1.1:8080", "private addresses"],
    ] as const) {
      const begin = Date.now();
      const { status } = await one.guest.agent.run(`wget -q -O - http://${address}/`, 10_000);
      expect(status, address).not.toBe(0);
      expect(Date.now() - begin, address).toBeLessThan(1000 + 3 * usual);
      const host = address.split(":")[0] as string;
      const refusal = await one.client.message("refusal", ({ text }) => text.includes(words) && text.includes(host));
      expect(refusal).toMatchObject({
        kind: "policy",
        protocol: "tcp",
        text: `Cannot connect to ${host}: ${words} are not reachable from here`,
      });
    }
  });

  it("are reached by curl, by name and by port", async () => {
    await one.run("mkdir -p /tmp/www; echo 'served by the guest' > /tmp/www/index.html; httpd -p 8080 -h /tmp/www");
    const { forward } = await one.client.ask<Of<"forward">>({ type: "forward", kind: "http", port: 8080 });
    expect(await curl(forward.address)).toBe("served by the guest\n");
    const { forward: tcp } = await one.client.ask<Of<"forward">>({ type: "forward", kind: "tcp", port: 8080 });
    expect(await curl(`http://${tcp.address}/`)).toBe("served by the guest\n");
    await one.run("dd if=/dev/urandom of=/tmp/www/big bs=1M count=2 2>/dev/null");
    const { stdout } = await run("curl", ["-sS", "--max-time", "20", `${forward.address}big`], {
      encoding: "buffer",
      maxBuffer: 1 << 24,
    });
    expect(await one.run("md5sum /tmp/www/big")).toContain(createHash("md5").update(stdout).digest("hex"));
    const { forward: none } = await one.client.ask<Of<"forward">>({ type: "forward", kind: "http", port: 81 });
    expect(await curl(none.address)).toMatch(/^Cannot connect to the guest's port 81/);
  });

  it("go on with a download when the websocket breaks in the middle of it", async () => {
    const { session } = await one.client.message("hello");
    const download = one.run(`wget -q -O - http://10.0.2.2:${port}/slow | md5sum`);
    await pause(200);
    one.client.websocket.terminate();
    await pause(300);
    await one.reconnect({ protocols: [SESSION_PROTOCOL + session] });
    expect((await one.client.message("hello")).resumed).toBe(true);
    expect(await download).toContain(md5);
  });

  it("see each other in a room, and nobody else does", async () => {
    const join = { type: "join", room: "lab", secret: "a long secret" } as const;
    expect(await one.client.ask<Of<"room">>(join)).toMatchObject({ renew: false });
    expect(await two.client.ask<Of<"room">>(join)).toMatchObject({ room: { members: 2 }, renew: true });
    await two.run(
      "ip addr flush dev eth0; udhcpc -n -q -i eth0 >/dev/null 2>&1; ip addr show dev eth0 | grep 10.0.2.16",
    );
    await two.run("ping -c 2 -W 2 10.0.2.15");
    await one.run("ping -c 2 -W 2 10.0.2.16");
    // The guest's server is there for the other without any forward, and both still have their gateway.
    expect(await two.run("wget -q -O - http://10.0.2.15:8080/")).toBe("served by the guest");
    const copied = await two.run("wget -q -O - http://10.0.2.15:8080/big | md5sum");
    expect(await one.run("md5sum < /tmp/www/big")).toBe(copied);
    for (const guest of [one, two])
      expect(await guest.run(`wget -q -O - http://10.0.2.2:${port}/small`)).toBe("hello from outside");
    await two.client.ask({ type: "leave" });
    await two.run(
      "ip addr flush dev eth0; udhcpc -n -q -i eth0 >/dev/null 2>&1; ip addr show dev eth0 | grep 10.0.2.15",
    );
    expect((await two.guest.agent.run("wget -q -T 2 -O - http://10.0.2.16:8080/", 10_000)).status).not.toBe(0);
  });

  it("get a reset on connections that they had when they were saved, if they are asked for them", async () => {
    await one.run(`(wget -q -O /tmp/slow http://10.0.2.2:${port}/endless; echo "ended with $?") >/tmp/said 2>&1 &`);
    await one.run("until [ -s /tmp/slow ]; do usleep 20000; done");
    // Another guest for the relay, as after a saved state is taken up on another day: what the guest still had to say (that
    // it got the last bytes) would be answered by a reset all the same.
    one.wire = () => [];
    one.client.websocket.terminate();
    await one.reconnect({});
    const { resumed, subnet } = await one.client.message("hello");
    expect(resumed).toBe(false);
    const probes = probeConnections(await one.run(LIST_CONNECTIONS), subnet.gatewayMac);
    expect(probes.length).toBeGreaterThan(0);
    one.wire = null;
    for (const frame of probes) one.guest.machine.sendFrame(frame);
    expect(await one.run("until grep ended /tmp/said; do usleep 100000; done; cat /tmp/said")).toMatch(
      /reset by peer[\s\S]*ended with 1/,
    );
    expect(await one.run(`wget -q -O - http://10.0.2.2:${port}/small`)).toBe("hello from outside");
  });
});
