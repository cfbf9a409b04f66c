/** Guests in tabs of one browser, on a site without a relay, in a room: real guests in Chromium. */
import type { BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { NetworkState } from "../../web/state.ts";
import { ready, run, type Site, startSite, testid } from "./page.ts";

const SECRET = "correct horse";
const network = (page: Page): Promise<NetworkState> => page.evaluate(() => window.smartos.network.status());
const until = (page: Page, change: Partial<NetworkState>, timeout = 40_000) =>
  expect.poll(() => network(page), { timeout }).toMatchObject(change);
const join = (page: Page, room: string, secret: string) =>
  page.evaluate(([name, word]) => window.smartos.network.join(name, word), [room, secret] as const);
const attempt = (page: Page, command: string) =>
  page.evaluate((words) => window.smartos.run(words, { timeoutMs: 30_000 }), command);
const received = async (page: Page): Promise<number> =>
  Number(await run(page, "cat /sys/class/net/eth0/statistics/rx_packets"));

let site: Site;
let context: BrowserContext;
let one: Page;
let two: Page;
let stranger: Page;
const sockets: string[] = [];

async function open(address = "?lang=en"): Promise<Page> {
  const page = await site.open(address, context);
  page.on("websocket", (socket) => sockets.push(socket.url()));
  return page;
}

beforeAll(async () => {
  site = await startSite();
  context = await site.browser.newContext({ viewport: { width: 1440, height: 900 } });
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  one = await open();
  two = await open();
  stranger = await open();
});
afterAll(() => site?.close());

describe("a room on a page without a relay", () => {
  it("gives each guest an address of its own by DHCP, and says what it is and what it is not", async () => {
    await one.getByTestId("place-network").click();
    await testid(one, "room-name").fill("course 3");
    await testid(one, "room-secret").fill(SECRET);
    await testid(one, "join-room").click();
    await until(one, { status: "none", room: "course 3", roomMembers: 1, guestAddress: "10.77.0.1", gateway: null });
    await join(two, "course 3", SECRET);
    await until(two, { room: "course 3", roomMembers: 2, guestAddress: "10.77.0.2" });
    await until(one, { roomMembers: 2, guestAddress: "10.77.0.1" });
    // The page has seen the server's answer, which the guest's script has yet to act upon.
    for (const [page, address] of [
      [one, "inet 10.77.0.1/24"],
      [two, "inet 10.77.0.2/24"],
    ] as const)
      await expect.poll(() => run(page, "ip -4 -o addr show dev eth0")).toContain(address);
    expect(await run(one, "ip route; cat /etc/resolv.conf")).toMatch(/^10\.77\.0\.0\/24 dev eth0 .*$/);
    const words = await testid(one, "room").innerText();
    expect(words).toContain("tabs of this browser only");
    expect(words).toContain("no way to the internet");
    expect(words).toContain("2 guests, this one included");
    expect(await testid(one, "guest-address").innerText()).toBe("10.77.0.1");
    // A renewal is asked of the server alone, whose address the guest finds by ARP.
    await run(one, "ip neigh flush dev eth0; killall -USR1 udhcpc; sleep 1; ip neigh | grep '^10.77.0.254 .*lladdr'");
    expect(await run(one, "ip -4 -o addr show dev eth0")).toContain("inet 10.77.0.1/24");
  });

  it("is one wire: pings, a file by HTTP and one by nc, both ways", { timeout: 120_000 }, async () => {
    await run(one, "ping -c 2 -W 4 10.77.0.2");
    await run(two, "ping -c 2 -W 4 10.77.0.1");
    const [sum] = (await run(one, "mkdir -p /www; head -c 2000000 /dev/urandom >/www/file; md5sum /www/file")).split(
      " ",
    );
    await run(one, "httpd -h /www");
    expect(await run(two, "wget -q -O - http://10.77.0.1/file | md5sum")).toContain(sum);
    await run(two, "wget -q -O /tmp/back http://10.77.0.1/file; (nc -l -p 5000 </tmp/back >/dev/null 2>&1 &)");
    expect(await run(one, "nc 10.77.0.2 5000 | md5sum")).toContain(sum);
    // They are counted once a second.
    await expect.poll(async () => (await network(one)).sentBytes).toBeGreaterThan(2_000_000);
    await expect.poll(async () => (await network(one)).receivedBytes).toBeGreaterThan(2_000_000);
  });

  it("has no way out", async () => {
    expect((await attempt(one, "ping -c 1 -W 1 10.0.2.2")).output).toContain("Network unreachable");
    expect(sockets).toEqual([]);
  });

  it.each([
    ["another secret", "course 3", `${SECRET}!`],
    ["another name", "course", SECRET],
    // Name and secret that run into the same letters are not the same room.
    ["the same letters", "course 3c", SECRET.slice(1)],
  ])("is nothing to those who have %s", { timeout: 120_000 }, async (_, room, secret) => {
    await join(stranger, room, secret);
    await until(stranger, { room, roomMembers: 1, guestAddress: "10.77.0.1" });
    await run(stranger, "ip addr add 10.77.0.9/24 dev eth0");
    const before = await received(stranger);
    await run(one, "arping -c 2 -w 3 -I eth0 10.77.0.9 >/dev/null; ping -c 2 -W 1 10.77.0.2 >/dev/null");
    expect((await attempt(one, "ping -c 2 -W 1 10.77.0.9")).status).not.toBe(0);
    expect((await attempt(stranger, "ping -c 2 -W 1 10.77.0.2")).status).not.toBe(0);
    expect(await received(stranger)).toBe(before);
    await until(one, { roomMembers: 2 });
    await stranger.evaluate(() => window.smartos.network.leave());
    await until(stranger, { room: null, roomMembers: 0, guestAddress: null });
    await expect.poll(() => run(stranger, "ip -4 -o addr show dev eth0")).not.toContain("inet 10.77.0.1/");
  });

  it("lets a card hear what is for it or for all, and nothing else", async () => {
    await join(stranger, "course 3", SECRET);
    await until(stranger, { roomMembers: 3, guestAddress: "10.77.0.3" });
    await run(one, "ping -c 1 -W 4 10.77.0.2; ping -c 1 -W 4 10.77.0.3");
    const before = await received(stranger);
    await run(one, "ping -c 5 -i 0.2 -W 4 10.77.0.2");
    expect((await received(stranger)) - before).toBeLessThan(5);
    await run(two, "ip neigh flush dev eth0; ping -c 1 -W 4 10.77.0.3");
  });

  it("is left by those who leave, whose machine ends, and whose tab is gone", { timeout: 180_000 }, async () => {
    await stranger.evaluate(() => window.smartos.network.leave());
    await until(one, { roomMembers: 2 });
    expect((await attempt(one, "ping -c 1 -W 1 10.77.0.3")).status).not.toBe(0);
    await join(stranger, "course 3", SECRET);
    await until(one, { roomMembers: 3 });
    await stranger.evaluate(() => window.smartos.run("poweroff").catch(() => {}));
    await until(one, { roomMembers: 2 });
    await until(stranger, { status: "none", room: null, guestAddress: null });
    // It is wanted still: the next machine is in it again.
    await stranger.evaluate(() => window.smartos.boot());
    await until(one, { roomMembers: 3 });
    await until(stranger, { room: "course 3", roomMembers: 3, guestAddress: "10.77.0.3" });
    await run(stranger, "ping -c 1 -W 4 10.77.0.1");
    const killer = await stranger.context().newCDPSession(stranger);
    void killer.send("Page.crash").catch(() => {});
    await until(one, { roomMembers: 2 });
    await until(two, { roomMembers: 2 });
  });

  it("has a link that another tab follows", { timeout: 120_000 }, async () => {
    expect(await testid(one, "room").innerText()).toContain("Open it in another tab of this browser");
    await testid(one, "copy-room-link").click();
    const link = await one.evaluate(() => navigator.clipboard.readText());
    expect(link).toBe(`${site.url}?room=course+3#correct%20horse`);
    const three = await open(link.slice(site.url.length));
    await until(three, { room: "course 3", roomMembers: 3, guestAddress: "10.77.0.3" });
    await run(three, "ping -c 1 -W 4 10.77.0.2");
    // It has left before it is loaded again, and comes back.
    await three.reload();
    await ready(three);
    await until(three, { room: "course 3", roomMembers: 3, guestAddress: "10.77.0.3" });
    await three.close();
    await until(one, { roomMembers: 2 });
  });

  it("refuses what a relay would refuse, and the guest stays where it is", async () => {
    for (const [room, secret, words] of [
      ["a/b", SECRET, "its name must be 1 to 64"],
      ["course", "short", "the secret must have 8 to 256 characters"],
    ] as const) {
      const said = await join(one, room, secret).catch((error: Error) => error.message);
      expect(said).toContain(`Cannot join the room: ${words}`);
    }
    await until(one, { room: "course 3", roomMembers: 2 });
    await run(one, "ping -c 1 -W 4 10.77.0.2");
  });

  it("ends when a relay is chosen, and when the guest goes offline", async () => {
    await one.evaluate(() => window.smartos.network.setOnline(false));
    await until(one, { status: "off", room: null });
    await until(two, { roomMembers: 1 });
    await one.evaluate(() => window.smartos.network.setOnline(true));
    await until(two, { roomMembers: 2 });
    await until(one, { status: "none", room: "course 3", guestAddress: "10.77.0.1" });
    await testid(one, "relay-address").fill("ws://127.0.0.1:9");
    await testid(one, "relay-address").press("Enter");
    await until(one, { status: "waiting", room: null });
    await until(two, { roomMembers: 1 });
  });
});
