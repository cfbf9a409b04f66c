/** The page's guests on the project's own relay, in Chromium: out, in, among each other, and through all that can break. */
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { promisify } from "node:util";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { NetworkState } from "../../web/state.ts";
import { listen } from "../relay/guests.ts";
import { run, type Site, serveStatic, startSite, testid } from "./page.ts";
import { type RelayProcess, serveNames, startRelayProcess } from "./relay-process.ts";

const execute = promisify(execFile);
const curl = async (...words: string[]): Promise<string> =>
  (await execute("curl", ["-sS", "--max-time", "20", ...words])).stdout;
/** What a program in the guest says, whatever its status. */
const attempt = (page: Page, command: string, timeoutMs = 30_000) =>
  page.evaluate(([words, ms]) => window.smartos.run(words, { timeoutMs: ms }), [command, timeoutMs] as const);
const network = (page: Page): Promise<NetworkState> => page.evaluate(() => window.smartos.network.status());
const until = (page: Page, change: Partial<NetworkState>, timeout = 40_000) =>
  expect.poll(() => network(page), { timeout }).toMatchObject(change);
const online = (page: Page, guestAddress = "10.0.2.15") => until(page, { status: "online", guestAddress });
const notices = (page: Page) => testid(page, "notice").allInnerTexts();

let relay: RelayProcess;
let site: Site;
let names: Awaited<ReturnType<typeof serveNames>>;
let page: Page;
let port: number;
const body = randomBytes(3 << 20);
const md5 = createHash("md5").update(body).digest("hex");
/** The answer to /slow that is under way: its first third has gone out. */
const held: { answer: ServerResponse | null } = { answer: null };
const finish = (): void => void held.answer?.end(body.subarray(1 << 20));
const isServing = (): boolean => held.answer !== null;
const server = createServer((request, response) => {
  if (request.url !== "/slow") return void response.end(request.url === "/body" ? body : "hello from outside\n");
  response.write(body.subarray(0, 1 << 20));
  held.answer = response;
});

beforeAll(async () => {
  port = await listen(server);
  names = await serveNames({
    "allowed.test": "10.0.2.2",
    "loopback.test": "127.0.0.1",
    "private.test": "10.0.0.1",
    "metadata.test": "169.254.169.254",
  });
  relay = await startRelayProcess(
    ["--allow", `127.0.0.1:${port}`, "--forward-ports", "42100-42199", "--log-level", "error"],
    names.address,
  );
  site = await startSite(async () => relay);
  page = await site.open("?lang=en");
});
afterAll(async () => {
  await site?.close();
  names?.close();
  server.closeAllConnections();
  server.close();
});

describe("the guest of a page", () => {
  it("is online by itself, as DHCP says, and its boot has not waited for that", async () => {
    await online(page);
    await expect.poll(() => run(page, "ip -4 -o addr show dev eth0")).toContain("inet 10.0.2.15/24");
    expect(await run(page, "ip route")).toMatch(/^default via 10\.0\.2\.2 dev eth0/m);
    expect(await run(page, "cat /etc/resolv.conf")).toBe("nameserver 10.0.2.3");
    expect(await run(page, "cat /sys/class/net/eth0/mtu")).toBe("1500");
    expect(await run(page, "hostname")).toBe("smart-os");
    expect(await run(page, "basename $(readlink /sys/class/net/eth0/device/driver)")).toBe("virtio_net");
    await run(page, "ping -c 1 -W 2 10.0.2.2");
    // What other networks' DHCP servers say besides.
    const words = "mtu=1400 hostname=seat-7 domain=example.test router='10.0.2.2 10.0.2.9' dns='10.0.2.3 10.0.2.9'";
    const script = `interface=eth0 ip=10.0.2.15 mask=24 ${words} /usr/share/udhcpc/default.script renew`;
    expect(
      await run(page, `${script}; hostname; cat /sys/class/net/eth0/mtu /etc/resolv.conf; ip route | grep -c default`),
    ).toBe("seat-7\n1400\nsearch example.test\nnameserver 10.0.2.3\nnameserver 10.0.2.9\n1");
    await run(page, "hostname smart-os; killall -USR1 udhcpc; sleep 1; grep 1500 /sys/class/net/eth0/mtu");
  });

  it("reaches what is allowed", async () => {
    expect(await run(page, `udhcpc -n -q -i eth0 >/dev/null 2>&1; wget -q -O - http://10.0.2.2:${port}/`)).toBe(
      "hello from outside",
    );
    expect(await run(page, `wget -q -O - http://allowed.test:${port}/body | md5sum`)).toContain(md5);
  });

  it("is refused what is not, at once, and the page says why", async () => {
    await page.getByTestId("place-network").click();
    for (const [host, address, why] of [
      ["10.0.0.1", "10.0.0.1", "private addresses"],
      ["169.254.169.254", "169.254.169.254", "metadata services of clouds"],
      ["private.test", "10.0.0.1", "private addresses"],
      ["metadata.test", "169.254.169.254", "metadata services of clouds"],
      // Its own loopback, where nothing listens: the guest's kernel refuses, the relay never hears of it.
      ["127.0.0.1", null, "Connection refused"],
      ["loopback.test", null, "Connection refused"],
      // Without IPv6 it has no way to say that.
      ["[::ffff:127.0.0.1]", null, "Address family not supported"],
    ] as const) {
      const { status, output } = await attempt(page, `wget -O - http://${host}:8${host.length}/`);
      expect(status, host).not.toBe(0);
      if (address === null) expect(output).toContain(why);
      else {
        // A reset, not a silence that its patience ended.
        expect(output).toContain("Connection refused");
        const sentence = `Cannot connect to ${address}: ${why} are not reachable from here`;
        await expect.poll(() => testid(page, "network-reason").innerText()).toContain(sentence);
        // The same sentence is not said twice within ten seconds.
        if (host === address) expect((await notices(page)).join("\n")).toContain(sentence);
      }
    }
  });
});

describe("a server in the guest", () => {
  it("is seen by the page, and reached by HTTP from curl and from Chromium, under an origin of its own", async () => {
    await run(page, "mkdir -p /www && echo '<h1>served by the guest</h1>' >/www/index.html && httpd -h /www");
    await expect.poll(() => testid(page, "listener").allInnerTexts()).toHaveLength(1);
    await testid(page, "forward-listener").first().click();
    await expect.poll(async () => (await network(page)).forwards.length).toBe(1);
    const { address } = await page.evaluate(() => window.smartos.network.forward(80));
    expect(new URL(address).hostname).toMatch(/^[a-z0-9]{20,}--80\.localhost$/);
    expect(await testid(page, "forward").innerText()).toContain(address);
    expect(await curl(address)).toContain("served by the guest");
    const [visitor] = await Promise.all([
      page.context().waitForEvent("page"),
      page.locator(".net-forward a").first().click(),
    ]);
    await visitor.waitForLoadState();
    expect(await visitor.locator("h1").innerText()).toBe("served by the guest");
    expect(await visitor.evaluate(() => origin)).toBe(new URL(address).origin);
    expect(new URL(address).origin).not.toBe(new URL(site.url).origin);
    // No way back to the playground that opened it, nor into its relay.
    expect(await visitor.evaluate(() => window.opener)).toBeNull();
    const knock = await visitor.evaluate(
      (url) =>
        new Promise<number>((resolve) => {
          new WebSocket(url, "smart-os-relay.1").onclose = ({ code }) => resolve(code);
        }),
      new URL("relay", site.url.replace("http", "ws")).href,
    );
    expect(knock).toBe(4403);
    await visitor.close();
  });

  it("is reached by TCP and UDP on ports of the relay", async () => {
    await run(page, "(nc -l -p 7 -e cat >/dev/null 2>&1 &) ; (nc -u -l -p 9 -e cat >/dev/null 2>&1 &) ; sleep 0.2");
    const forward = async (guestPort: number, kind: "tcp" | "udp"): Promise<{ host: string; port: number }> => {
      const { address } = await page.evaluate(([number, what]) => window.smartos.network.forward(number, what), [
        guestPort,
        kind,
      ] as const);
      const [host = "", number] = address.split(":");
      expect(host).toBe("localhost");
      return { host: "127.0.0.1", port: Number(number) };
    };
    const tcp = connect(await forward(7, "tcp"));
    tcp.end("over TCP");
    let heard = "";
    for await (const bytes of tcp) heard += String(bytes);
    expect(heard).toBe("over TCP");
    const udp = createSocket("udp4");
    const to = await forward(9, "udp");
    udp.send("over UDP", to.port, to.host);
    const [answer] = (await once(udp, "message")) as [Buffer];
    udp.close();
    expect(answer.toString()).toBe("over UDP");
  });
});

describe("a connection that breaks", () => {
  it("is taken up again: a download goes on, forwards stay", async () => {
    held.answer = null;
    const { forwards } = await network(page);
    const download = run(page, `wget -q -O - http://10.0.2.2:${port}/slow | md5sum`);
    await expect.poll(isServing).toBe(true);
    relay.cut();
    await expect.poll(() => testid(page, "network-state").innerText()).toBe("Not connected");
    finish();
    expect(await download).toContain(md5);
    await online(page);
    expect((await network(page)).forwards).toEqual(forwards);
  });

  it("is noticed when nothing tells of it", { timeout: 90_000 }, async () => {
    relay.freeze(true);
    await until(page, { status: "waiting" }, 40_000);
    relay.freeze(false);
    await testid(page, "try-now").click();
    await online(page);
    await run(page, "ping -c 1 -W 2 10.0.2.2");
  });

  it("ends in a reset when the relay was restarted, and everything else comes back", async () => {
    await page.evaluate(() => window.smartos.network.join("lab", "a long secret"));
    await until(page, { room: "lab" });
    const before = (await network(page)).forwards;
    held.answer = null;
    const download = attempt(page, `wget -q -O /dev/null http://10.0.2.2:${port}/slow`, 60_000);
    await expect.poll(isServing).toBe(true);
    await relay.kill();
    await until(page, { status: "waiting" });
    expect(await testid(page, "network-reason").innerText()).toBe("The connection to the relay broke.");
    await expect
      .poll(() => testid(page, "network-countdown").innerText())
      .toMatch(/^(Next try in \d+ s|Trying again …)$/);
    await relay.start();
    const restarted = Date.now();
    await testid(page, "try-now")
      .click({ timeout: 2000 })
      .catch(() => {});
    expect(await download).toMatchObject({ status: 1, output: expect.stringContaining("reset") });
    expect(Date.now() - restarted).toBeLessThan(20_000);
    await online(page);
    await until(page, { room: "lab", roomMembers: 1 });
    await expect.poll(async () => (await network(page)).forwards.length).toBe(before.length);
    const { forwards } = await network(page);
    expect(forwards.map(({ kind, guestPort }) => `${kind} ${guestPort}`)).toEqual(
      before.map(({ kind, guestPort }) => `${kind} ${guestPort}`),
    );
    expect(await curl(forwards.find(({ kind }) => kind === "http")?.address ?? "")).toContain("served by the guest");
    expect(await run(page, `wget -q -O - http://10.0.2.2:${port}/`)).toBe("hello from outside");
    await page.evaluate(() => window.smartos.network.leave());
  });

  it("is waited for longer and longer", async () => {
    await relay.kill();
    const waits = await page.evaluate(async () => {
      const seen = new Map<number, number>();
      const end = performance.now() + 12_000;
      while (performance.now() < end && seen.size < 4) {
        const { status, retryAt } = window.smartos.network.status();
        if (status === "waiting" && retryAt !== null && !seen.has(retryAt))
          seen.set(retryAt, retryAt - performance.now());
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return [...seen.values()];
    });
    expect(waits.length).toBe(4);
    for (const [i, wait] of waits.entries()) if (i >= 2) expect(wait).toBeGreaterThan(waits[i - 2] as number);
  });

  it("does not keep a machine from booting, which is online as soon as there is a relay", async () => {
    const { promptMs } = await page.evaluate(() => window.smartos.boot());
    expect(promptMs).toBeLessThan(30_000);
    await until(page, { status: "waiting", guestAddress: null });
    expect(await run(page, "ip -4 addr show dev eth0")).toBe("");
    await relay.start();
    await testid(page, "try-now")
      .click({ timeout: 2000 })
      .catch(() => {});
    await online(page);
    expect(await run(page, `wget -q -O - http://10.0.2.2:${port}/`)).toBe("hello from outside");
  });
});

describe("the switch", () => {
  it("unplugs the guest and plugs it in again", async () => {
    await testid(page, "network-toggle").click();
    await until(page, { status: "off", guestAddress: null });
    expect((await attempt(page, "ping -c 1 -W 1 10.0.2.2")).status).not.toBe(0);
    await testid(page, "network-toggle").click();
    await online(page);
    await run(page, "ping -c 1 -W 2 10.0.2.2");
  });
});

describe("another machine", () => {
  it("is another guest: a reboot ends the forwards, and it is online again", { timeout: 120_000 }, async () => {
    await run(page, "mkdir -p /www && echo again >/www/index.html && httpd -h /www");
    const { address } = await page.evaluate(() => window.smartos.network.forward(80));
    expect(await curl(address)).toBe("again\n");
    await page.evaluate(() => window.smartos.run("reboot").catch(() => {}));
    await expect.poll(async () => (await network(page)).forwards.length).toBe(0);
    expect(await curl("-o", "/dev/null", "-w", "%{http_code}", address)).toBe("404");
    await page.waitForFunction(() => window.smartos.state().status === "running", null, { timeout: 60_000 });
    await online(page);
    expect(await run(page, `wget -q -O - http://10.0.2.2:${port}/`)).toBe("hello from outside");
    relay.cut();
    await until(page, { status: "waiting" });
    await online(page);
    await run(page, "ping -c 1 -W 2 10.0.2.2");
  });
});

describe("a room", () => {
  it("is one wire for those who have its link, and nothing to others", { timeout: 180_000 }, async () => {
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await testid(page, "room-name").fill("course 3");
    await testid(page, "generate-secret").click();
    await testid(page, "join-room").click();
    await until(page, { room: "course 3", roomMembers: 1 });
    await testid(page, "copy-room-link").click();
    const link = await page.evaluate(() => navigator.clipboard.readText());
    expect(link.startsWith(`${site.url}?room=course+3#`)).toBe(true);
    const two = await site.open(link.slice(site.url.length));
    const three = await site.open();
    await online(two, "10.0.2.16");
    await until(page, { roomMembers: 2 });
    await online(three);
    await run(page, "head -c 300000 /dev/urandom >/tmp/file; ping -c 1 -W 2 10.0.2.16");
    await run(two, "ping -c 1 -W 2 10.0.2.15");
    await attempt(page, "(nc -l -p 5000 </tmp/file >/dev/null 2>&1 &)");
    const sum = await run(page, "md5sum </tmp/file");
    expect(await run(two, "nc 10.0.2.15 5000 | md5sum")).toBe(sum);
    for (const address of ["10.0.2.16", "10.0.2.15"]) {
      // 10.0.2.15 is itself there.
      const { status } = await attempt(three, `wget -q -T 2 -O - http://${address}:5000/`);
      expect(status, address).not.toBe(0);
    }
    expect((await attempt(three, "ping -c 1 -W 1 10.0.2.16")).status).not.toBe(0);
    expect(await run(two, `wget -q -O - http://10.0.2.2:${port}/`)).toBe("hello from outside");
    await Promise.all([two, three].map((other) => other.context().close()));
    await until(page, { roomMembers: 1 });
  });
});

describe("the network card", () => {
  it("is the one that was chosen", { timeout: 120_000 }, async () => {
    await testid(page, "network-card").selectOption("ne2k");
    await page.evaluate(() => window.smartos.boot());
    await online(page);
    expect(await run(page, "basename $(readlink /sys/class/net/eth0/device/driver)")).toBe("ne2k-pci");
    expect(await run(page, `wget -q -O - http://10.0.2.2:${port}/`)).toBe("hello from outside");
  });
});

describe("a page whose server has no relay", () => {
  it("says so, and tries none", async () => {
    const plain = await serveStatic();
    const visitor = await (await site.browser.newContext()).newPage();
    const sockets: string[] = [];
    visitor.on("websocket", (socket) => sockets.push(socket.url()));
    await visitor.goto(`${plain.url}?lang=en`);
    await visitor.waitForFunction(() => window.smartos?.state().status === "running");
    await visitor.getByTestId("place-network").click();
    expect(await testid(visitor, "network-state").innerText()).toBe("No relay");
    expect(await testid(visitor, "network").innerText()).toContain("npm run relay");
    expect(sockets).toEqual([]);
    await visitor.context().close();
    await plain.close();
  });
});
