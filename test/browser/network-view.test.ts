import type { BrowserContextOptions, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MachineState, NetworkState } from "../../web/state.ts";
import { faintWords, smallTargets, wideElements } from "./legibility.ts";
import { startViews, type Views } from "./views.ts";

const DESK = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };
const SMALL_PHONE = { width: 360, height: 740 };
/** "running" has no relay. */
const SCENARIOS = [
  "network",
  "network-online",
  "network-connecting",
  "network-off",
  "network-waiting",
  "network-room",
  "network-tabs",
  "running",
];

const VIEW = [".network-panel"];
const TARGETS = "button, select, input, a";

/** Between two looks for ports. */
const LOOK_MS = 5000;

declare global {
  interface Window {
    passTime(): void;
  }
}

let views: Views;
const faults: string[] = [];

beforeAll(async () => {
  views = await startViews();
});
afterAll(() => views?.close());

async function visit(query: string, viewport = DESK, options: BrowserContextOptions = {}): Promise<Page> {
  const page = await (await views.browser.newContext({ viewport, ...options })).newPage();
  page.on("pageerror", (error) => faults.push(`${query}: ${error.message}`));
  // Time passes when a test says so.
  await page.addInitScript(holdTimer, LOOK_MS);
  await page.goto(`${views.url}?${query}`);
  await page.waitForFunction(() => window.harness !== undefined);
  return page;
}

function holdTimer(heldMs: number): void {
  const start = window.setInterval.bind(window);
  const held = (run: () => void, ms: number): number => {
    if (ms !== heldMs) return start(run, ms);
    window.passTime = run;
    return 0;
  };
  window.setInterval = held as typeof window.setInterval;
}

/**
 * What is seen of the page by now, its views have heard of: the browser tells a frame's observers one after the other,
 * oldest first.
 */
const observed = (page: Page) =>
  page.evaluate(
    () =>
      new Promise<void>((resolve) => {
        const observer = new IntersectionObserver(() => {
          observer.disconnect();
          resolve();
        });
        observer.observe(document.body);
      }),
  );

/** The same with the network's panel in front. */
async function open(query: string, viewport = DESK, options: BrowserContextOptions = {}): Promise<Page> {
  const page = await visit(query, viewport, options);
  await page.getByTestId(viewport === DESK ? "place-network" : "panel-network").click();
  return page;
}

/** What was called of `actions.network`, but for the looking for ports, which the view does by itself. */
const calls = (page: Page) =>
  page.evaluate(() =>
    window.harness.calls
      .filter(([name]) => name.startsWith("network.") && name !== "network.lookForPorts")
      .map(([name, ...values]) => [name.slice("network.".length), ...values]),
  );
const looks = (page: Page) =>
  page.evaluate(() => window.harness.calls.filter(([name]) => name === "network.lookForPorts").length);
const set = (page: Page, change: Partial<NetworkState>) =>
  page.evaluate(
    (what) => window.harness.set({ network: { ...window.harness.state().network, ...what } }),
    change as NetworkState,
  );
const setMachine = (page: Page, change: Partial<MachineState>) =>
  page.evaluate(
    (what) => window.harness.set({ machine: { ...window.harness.state().machine, ...what } }),
    change as MachineState,
  );
const forward = (page: Page, id: string): Locator => page.locator(`[data-forward="${id}"]`);
const fault = (page: Page) => page.locator(".network-panel .fault:visible").allInnerTexts();
const focused = (page: Page) => page.evaluate(() => (document.activeElement as HTMLElement | null)?.dataset.testid);
const words = (page: Page, testid: string) => page.getByTestId(testid).innerText();

describe("the connection", () => {
  it("is told in words, with the relay and the guest's address", async () => {
    const page = await open("scenario=network");
    expect(await words(page, "network-state")).toBe("Online");
    expect(await words(page, "network-by")).toBe("through this page's own relay");
    expect(await words(page, "guest-address")).toBe("10.0.2.15");
    expect(await words(page, "gateway")).toBe("10.0.2.2");
    expect(await words(page, "network-reason")).toContain("169.254.169.254");
    await set(page, { guestAddress: null, gateway: null, reason: null });
    await expect.poll(() => words(page, "guest-address")).toBe("none yet");
    expect(await page.getByTestId("network-reason").isVisible()).toBe(false);
    await setMachine(page, { status: "off", poweredAt: null });
    await expect.poll(() => words(page, "guest-address")).toBe("the machine is off");
    await set(page, { status: "idle" });
    await expect.poll(() => words(page, "network-state")).toBe("The machine is off");
    expect(await page.getByTestId("guest-address").isVisible()).toBe(false);
    await set(page, { status: "connecting", relay: "wss://relay.example.org/a?token=mine" });
    await expect.poll(() => words(page, "network-state")).toBe("Connecting …");
    expect(await words(page, "network-by")).toBe("through relay.example.org/a");
    await page.context().close();
  });

  it("is switched off and on", async () => {
    const page = await open("scenario=network");
    const toggle = page.getByRole("switch", { name: "Network connection" });
    expect(await toggle.getAttribute("aria-checked")).toBe("true");
    await toggle.click();
    await expect.poll(() => toggle.getAttribute("aria-checked")).toBe("false");
    expect(await words(page, "network-state")).toBe("Offline");
    expect(await page.getByText("cable is unplugged").isVisible()).toBe(true);
    await page.keyboard.press("Space");
    await expect.poll(() => toggle.getAttribute("aria-checked")).toBe("true");
    expect(await calls(page)).toEqual([
      ["setOnline", false],
      ["setOnline", true],
    ]);
    await page.context().close();
  });

  it("counts down to the next try, which need not be waited for", async () => {
    const page = await open("scenario=network-waiting");
    expect(await words(page, "network-state")).toBe("Not connected");
    expect(await words(page, "network-reason")).toContain("does not answer");
    const seconds = async () => Number(/Next try in (\d+) s/.exec(await words(page, "network-countdown"))?.[1]);
    expect(await seconds()).toBeGreaterThan(8);
    const first = await seconds();
    await expect.poll(seconds).toBeLessThan(first);
    await page.evaluate(() =>
      window.harness.set({ network: { ...window.harness.state().network, retryAt: performance.now() + 300 } }),
    );
    await expect.poll(() => words(page, "network-countdown")).toBe("Trying again …");
    await page.getByTestId("try-now").focus();
    await page.keyboard.press("Enter");
    expect(await calls(page)).toEqual([["retryNow"]]);
    await expect.poll(() => page.getByTestId("try-now").isVisible()).toBe(false);
    expect(await focused(page)).toBe("network-toggle");
    await page.context().close();
  });

  it("says plainly that there is no relay, and takes the address of one", async () => {
    const page = await open("scenario=running", DESK, { permissions: ["clipboard-read", "clipboard-write"] });
    expect(await words(page, "network-state")).toBe("No relay");
    expect(await page.getByText("server has no relay, so the guest is offline").isVisible()).toBe(true);
    const command = await page.locator(".net-how code").innerText();
    expect(command).toBe(`npm run relay -- --origin ${new URL(page.url()).origin}`);
    await page.getByTestId("copy-relay-command").click();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(command);
    expect(await page.getByRole("switch").isVisible()).toBe(false);
    expect(await page.getByTestId("forwards").isVisible()).toBe(false);
    // Tabs of one browser meet without a relay.
    expect(await words(page, "room")).toContain("tabs of this browser only");
    expect(await page.getByTestId("join-room").isEnabled()).toBe(true);
    await setMachine(page, { status: "off", poweredAt: null });
    await expect.poll(() => words(page, "room")).toContain("Only while the machine runs.");
    expect(await page.getByTestId("join-room").isEnabled()).toBe(false);
    const says = async (address: string, sentence: string): Promise<void> => {
      await page.getByTestId("relay-address").fill(address);
      await page.keyboard.press("Enter");
      expect(await fault(page), address).toEqual(sentence === "" ? [] : [sentence]);
    };
    await says("", "Please give the address of a relay.");
    await says("relay.example.org", "The address must begin with wss://, ws://, https:// or http://.");
    await says("javascript:alert(1)", "The address must begin with wss://, ws://, https:// or http://.");
    await says("wss://", "This is no address: check the name and the port.");
    await says("wss://relay.example.org:70000", "This is no address: check the name and the port.");
    await says("wss://relay.example.org/#x", "The address must not contain “#”.");
    expect(await calls(page)).toEqual([]);
    await says(" wss://relay.example.org:8443/os?token=t ", "");
    await expect.poll(() => words(page, "network-state")).toBe("Connecting …");
    expect(await calls(page)).toEqual([["setRelay", "wss://relay.example.org:8443/os?token=t"]]);
    // It goes on standing where it is of use from now on, and the focus with it.
    expect(await page.getByTestId("network-settings").getByTestId("relay-address").isVisible()).toBe(true);
    expect(await focused(page)).toBe("relay-address");
    await page.getByTestId("own-relay").click();
    expect((await calls(page)).at(-1)).toEqual(["setRelay", ""]);
    await expect.poll(() => words(page, "network-state")).toBe("No relay");
    expect(await page.getByTestId("relay-address").inputValue()).toBe("");
    await page.context().close();
  });

  it("has a relay and a card to choose, and keeps what is being typed", async () => {
    const page = await open("scenario=network-online");
    await page.getByTestId("relay-address").fill("ws://local");
    await set(page, { receivedRate: 1 });
    await expect.poll(() => words(page, "received-rate")).toBe("1 B/s");
    expect(await page.getByTestId("relay-address").inputValue()).toBe("ws://local");
    await page.getByTestId("relay-address").fill("");
    await page.getByTestId("use-relay").click();
    await page.getByTestId("network-card").selectOption("ne2k");
    expect(await calls(page)).toEqual([
      ["setRelay", ""],
      ["setCard", "ne2k"],
    ]);
    await page.evaluate(() => window.harness.set({ writable: false }));
    await expect.poll(() => page.getByTestId("network-card").isDisabled()).toBe(true);
    await page.context().close();
  });
});

describe("what goes through the connection", () => {
  it("is shown as rates and totals in units that people read", async () => {
    const page = await open("scenario=network-online");
    for (const [bytes, said] of [
      [0, "0 B"],
      [999.4, "999 B"],
      [999.5, "1.0 kB"],
      [9949, "9.9 kB"],
      [9950, "10 kB"],
      [999_400, "999 kB"],
      [999_500, "1.0 MB"],
      [1_240_000, "1.2 MB"],
      [83_400_000, "83 MB"],
      [5_200_000_000, "5.2 GB"],
    ] as const) {
      await set(page, { receivedRate: bytes, sentBytes: bytes });
      await expect.poll(() => words(page, "received-rate")).toBe(`${said}/s`);
      expect(await words(page, "sent-total")).toBe(`${said} in all`);
    }
    await page.context().close();
  });

  it("is drawn for the last 60 seconds, and then forgotten", async () => {
    const page = await (await views.browser.newContext({ viewport: DESK })).newPage();
    await page.clock.install();
    await page.goto(`${views.url}?scenario=network-online`);
    await page.waitForFunction(() => window.harness !== undefined);
    await page.getByTestId("place-network").click();
    const chart = page.getByTestId("network-chart");
    const label = () => chart.getByRole("img").getAttribute("aria-label");
    await set(page, { receivedRate: 2_000_000, sentRate: 30_000 });
    await page.clock.runFor(5000);
    expect(await label()).toBe("Last 60 seconds: at most 2.0 MB/s received, 30 kB/s sent");
    expect(await chart.innerText()).toMatch(/last 60 s\s+peak 2\.0 MB\/s/);
    await set(page, { receivedRate: 500, sentRate: 0 });
    await page.clock.runFor(50_000);
    expect(await label()).toContain("2.0 MB/s received");
    await page.clock.runFor(15_000);
    expect(await label()).toBe("Last 60 seconds: at most 500 B/s received, 0 B/s sent");
    const line = (await chart.locator(".net-line").first().getAttribute("d")) ?? "";
    const points = line.split(/[ML]/).slice(1);
    expect(points.length).toBeGreaterThan(55);
    expect(points.length).toBeLessThan(65);
    // A trickle is no flood.
    expect(Number(points.at(-1)?.split(" ")[1])).toBeGreaterThan(10);
    await page.context().close();
  });

  it("is not there where nothing ever went", async () => {
    for (const scenario of ["running", "network-off", "network-connecting"]) {
      const page = await open(`scenario=${scenario}`);
      expect(await page.getByTestId("network-chart").isVisible()).toBe(false);
      await page.context().close();
    }
  });
});

describe("the forwards", () => {
  it("have addresses to open, when they are of the web, and to copy", async () => {
    const page = await open("scenario=network", DESK, { permissions: ["clipboard-read", "clipboard-write"] });
    const link = forward(page, "f1").getByRole("link");
    expect(await link.evaluate((a: HTMLAnchorElement) => [a.href, a.target, a.rel])).toEqual([
      "http://k3v9x2m7q4wz--80.localhost:8080/",
      "_blank",
      "noopener noreferrer",
    ]);
    // The relay's words stay words.
    expect(await page.getByTestId("forwards").getByRole("link").count()).toBe(1);
    expect(await forward(page, "f4").innerText()).toContain("javascript:alert(1)");
    expect(await forward(page, "f2").innerText()).toMatch(/22\s+TCP\s+relay\.example\.org:20417/);
    await forward(page, "f2").getByTestId("copy-forward").click();
    await expect.poll(() => page.evaluate(() => navigator.clipboard.readText())).toBe("relay.example.org:20417");
    const copy = forward(page, "f2").getByTestId("copy-forward");
    await expect.poll(() => copy.getAttribute("aria-label")).toBe("Copied");
    await expect.poll(() => copy.getAttribute("aria-label")).toBe("Copy relay.example.org:20417");
    await page.context().close();
  });

  it("end, and leave the focus near", async () => {
    const page = await open("scenario=network");
    await forward(page, "f1").getByTestId("end-forward").focus();
    await page.keyboard.press("Enter");
    await expect.poll(() => page.getByTestId("forward").count()).toBe(3);
    expect(await calls(page)).toEqual([["endForward", "f1"]]);
    expect(await page.evaluate(() => document.activeElement?.closest("section")?.dataset.testid)).toBe("forwards");
    await page.context().close();
  });

  it("are added by port and kind", async () => {
    const page = await open("scenario=network");
    const port = page.getByTestId("forward-port");
    for (const [typed, sentence] of [
      ["", "Please give a port from 1 to 65535."],
      ["0", "Please give a port from 1 to 65535."],
      ["65536", "Please give a port from 1 to 65535."],
      ["80a", "Please give a port from 1 to 65535."],
      ["1e3", "Please give a port from 1 to 65535."],
      ["-1", "Please give a port from 1 to 65535."],
      ["80", "Port 80 is forwarded as HTTP already."],
    ] as const) {
      await port.fill(typed);
      await page.getByTestId("add-forward").click();
      expect(await fault(page), typed).toEqual([sentence]);
      expect(await port.getAttribute("aria-invalid")).toBe("true");
      expect(await focused(page)).toBe("forward-port");
    }
    expect(await calls(page)).toEqual([]);
    await page.getByTestId("forward-kind").selectOption("tcp");
    expect(await fault(page)).toEqual([]);
    await port.press("Enter");
    await port.fill(" 65535 ");
    await page.getByTestId("forward-kind").selectOption("udp");
    await port.press("Enter");
    await expect
      .poll(() => calls(page))
      .toEqual([
        ["forward", 80, "tcp"],
        ["forward", 65535, "udp"],
      ]);
    expect(await port.inputValue()).toBe("");
    await page.context().close();
  });

  it("are offered for ports on which the guest listens", async () => {
    const page = await open("scenario=network");
    const listener = page.getByTestId("listener");
    expect(await listener.locator("span:first-child").allInnerTexts()).toEqual([
      "Port 80, httpd",
      "Port 8080, nc",
      "Port 23, telnetd",
      "Port 514, <b>syslogd</b>",
    ]);
    expect(await page.getByTestId("forward-listener").allInnerTexts()).toEqual([
      "Forward as HTTP",
      "Forward as TCP",
      "Forward as UDP",
    ]);
    expect(await listener.first().innerText()).toContain("forwarded");
    await page.getByRole("button", { name: "Forward port 8080 (nc) as HTTP" }).press("Enter");
    await expect.poll(() => calls(page)).toEqual([["forward", 8080, "http"]]);
    await expect.poll(() => listener.nth(1).innerText()).toContain("forwarded");
    expect(await page.evaluate(() => document.activeElement?.closest("section")?.dataset.testid)).toBe("forwards");
    await set(page, { listening: [] });
    await expect.poll(() => page.getByText("No program in the guest listens").isVisible()).toBe(true);
    await page.context().close();
  });

  it("take clicks while the rates change under the pointer", async () => {
    const page = await open("scenario=network");
    const button = page.getByTestId("forward-listener").first();
    await button.hover();
    await page.mouse.down();
    await set(page, { receivedRate: 5, sentRate: 7 });
    await expect.poll(() => words(page, "sent-rate")).toBe("7 B/s");
    await page.mouse.up();
    expect(await calls(page)).toEqual([["forward", 8080, "http"]]);
    await page.context().close();
  });

  it("can only be seen while the connection is broken", async () => {
    const page = await open("scenario=network");
    await set(page, { status: "waiting", retryAt: null });
    await expect.poll(() => page.getByTestId("add-forward").isDisabled()).toBe(true);
    expect(await page.getByTestId("forward").count()).toBe(4);
    expect(await page.getByTestId("listener").first().isVisible()).toBe(false);
    expect(await words(page, "forwards")).toContain("Only while online.");
    await page.context().close();
  });
});

describe("looking for ports", () => {
  it("is done when the view is seen, from time to time, when the machine is there again, and by a button", async () => {
    const page = await visit("scenario=network");
    await page.getByTestId("place-disks").click();
    expect(await looks(page)).toBe(0);
    await page.getByTestId("place-network").click();
    await expect.poll(() => looks(page)).toBe(1);
    await page.getByTestId("look-for-ports").click();
    expect(await looks(page)).toBe(2);
    await set(page, { receivedRate: 3 });
    await setMachine(page, { status: "booting" });
    await expect.poll(() => page.getByTestId("look-for-ports").isDisabled()).toBe(true);
    await page.evaluate(() => window.passTime());
    expect(await looks(page)).toBe(2);
    await setMachine(page, { status: "running" });
    await expect.poll(() => looks(page)).toBe(3);
    await page.getByTestId("place-disks").click();
    await expect.poll(() => page.getByTestId("network").isVisible()).toBe(false);
    await observed(page);
    await page.getByTestId("place-network").click();
    await expect.poll(() => looks(page)).toBe(4);
    await page.evaluate(() => window.passTime());
    expect(await looks(page)).toBe(5);
    await page.getByTestId("place-disks").click();
    await expect.poll(() => page.getByTestId("network").isVisible()).toBe(false);
    await observed(page);
    await page.evaluate(() => window.passTime());
    expect(await looks(page)).toBe(5);
    await page.context().close();
  });

  it("is not done where there is no relay", async () => {
    const page = await open("scenario=running");
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 200)));
    expect(await looks(page)).toBe(0);
    await page.context().close();
  });
});

describe("the room", () => {
  it("is joined by name and secret, which is hidden and can be made up", async () => {
    const page = await open("scenario=network-online");
    const name = page.getByTestId("room-name");
    const secret = page.getByTestId("room-secret");
    await page.getByTestId("join-room").click();
    expect(await fault(page)).toEqual([
      "1 to 64 letters, digits, spaces, dots, “-” or “_”; the first a letter or a digit.",
      "8 characters at least: whoever guesses it is in.",
    ]);
    expect(await focused(page)).toBe("room-name");
    await name.fill("a/b");
    await secret.fill("1234567");
    expect((await fault(page)).length).toBe(2);
    await name.fill(" course 3.1_网络 ");
    await secret.fill("12345678");
    expect(await fault(page)).toEqual([]);
    await secret.fill("x".repeat(257));
    await page.getByTestId("join-room").click();
    expect(await fault(page)).toEqual(["256 characters at most."]);
    expect(await secret.getAttribute("type")).toBe("password");
    await page.getByTestId("generate-secret").click();
    expect(await fault(page)).toEqual([]);
    const made = await secret.inputValue();
    expect(made).toMatch(/^[a-z2-9]{16}$/);
    await page.getByTestId("show-secret").click();
    expect(await secret.getAttribute("type")).toBe("text");
    await page.getByTestId("generate-secret").click();
    expect(await secret.inputValue()).not.toBe(made);
    const taken = await secret.inputValue();
    await page.getByTestId("join-room").focus();
    await page.keyboard.press("Enter");
    expect(await calls(page)).toEqual([["join", "course 3.1_网络", taken]]);
    await expect.poll(() => words(page, "room-members")).toBe("only this guest so far");
    expect(await focused(page)).toBe("leave-room");
    await page.keyboard.press("Enter");
    expect((await calls(page)).at(-1)).toEqual(["leave"]);
    await expect.poll(() => focused(page)).toBe("join-room");
    // Nothing of the secret stays behind.
    expect([await secret.inputValue(), await secret.getAttribute("type")]).toEqual(["", "password"]);
    await page.context().close();
  });

  it("joins tabs of the browser where there is no relay, and says that it is no way out", async () => {
    const page = await open("scenario=network-tabs");
    expect(await words(page, "network-state")).toBe("No relay");
    expect(await words(page, "room")).toContain("no way to the internet");
    expect(await words(page, "room-members")).toBe("3 guests, this one included");
    expect([await words(page, "guest-address"), await words(page, "gateway")]).toEqual(["10.77.0.2", "–"]);
    expect(await words(page, "room")).toContain("Open it in another tab of this browser");
    expect(await page.getByTestId("network-chart").isVisible()).toBe(true);
    await page.getByTestId("leave-room").click();
    await expect.poll(() => focused(page)).toBe("join-room");
    expect((await calls(page)).at(-1)).toEqual(["leave"]);
    await page.context().close();
    const other = await open("scenario=network-tabs&lang=zh");
    expect(await words(other, "room")).toContain("无法访问互联网");
    await other.context().close();
  });

  it("has members, and a link for others whose secret is copied but not shown", async () => {
    const page = await open("scenario=network-room", DESK, { permissions: ["clipboard-read", "clipboard-write"] });
    expect(await page.locator(".net-room-title").innerText()).toBe("course 3 网络");
    expect(await words(page, "room-members")).toBe("7 guests, this one included");
    expect(await words(page, "room-link")).toMatch(/room=course 3 网络#•+$/);
    expect(await words(page, "network")).not.toContain("correct");
    await page.getByTestId("copy-room-link").click();
    const link = new URL(await page.evaluate(() => navigator.clipboard.readText()));
    expect([link.searchParams.get("room"), decodeURIComponent(link.hash)]).toEqual([
      "course 3 网络",
      "#correct horse #1",
    ]);
    await expect.poll(() => words(page, "copy-room-link")).toBe("Copied");
    await expect.poll(() => words(page, "copy-room-link")).toBe("Copy link");
    await set(page, { relay: "wss://relay.example.org/?token=mine" });
    await page.getByTestId("copy-room-link").click();
    const other = new URL(await page.evaluate(() => navigator.clipboard.readText()));
    expect(other.searchParams.get("relay")).toBe("wss://relay.example.org/");
    await set(page, { roomSecret: null });
    await expect.poll(() => page.getByTestId("copy-room-link").isVisible()).toBe(false);
    await page.context().close();
  });
});

describe("the place of the network in the page", () => {
  it("has a mark in the bar, which says the state and opens the panel", async () => {
    const page = await visit("scenario=network");
    const mark = page.getByTestId("network-mark");
    expect(await mark.getAttribute("aria-label")).toBe("Network: Online");
    expect(await page.getByTestId("place-network").getAttribute("aria-label")).toBe("Network: Online");
    expect(await page.getByTestId("network").isVisible()).toBe(false);
    await mark.click();
    expect(await page.getByTestId("network").isVisible()).toBe(true);
    expect(await focused(page)).toBe("network-toggle");
    await set(page, { status: "waiting" });
    await expect.poll(() => mark.getAttribute("aria-label")).toBe("Network: Not connected");
    expect(await page.locator(".network-mark [role=status]").innerText()).toBe("Network: Not connected");
    await page.context().close();
  });

  it("is the editor's column, reached by F6, closed and folded like the disks", async () => {
    const page = await open("scenario=network");
    expect(await page.locator(".panel:visible").evaluateAll((all) => all.map(({ id }) => id))).toEqual([
      "panel-tree",
      "panel-network",
      "panel-machine",
    ]);
    await page.getByTestId("file-tree").focus();
    await page.keyboard.press("F6");
    expect(await focused(page)).toBe("network-toggle");
    await page.reload();
    await page.waitForFunction(() => window.harness !== undefined);
    expect(await page.getByTestId("network").isVisible()).toBe(true);
    await page.getByTestId("close-network").click();
    expect(await page.locator(".editor-panel").isVisible()).toBe(true);
    expect(await focused(page)).toBe("place-network");
    await page.getByTestId("place-network").click();
    await page.getByTestId("fold-network").click();
    expect(await page.getByTestId("network").isVisible()).toBe(false);
    await page.getByTestId("network-mark").click();
    expect(await page.getByTestId("network").isVisible()).toBe(true);
    await page.context().close();
  });

  it("is a tab with a mark on phones, where nothing is too wide and nothing too small for a finger", async () => {
    for (const viewport of [PHONE, SMALL_PHONE])
      for (const language of ["en", "zh"])
        for (const scenario of SCENARIOS) {
          const page = await open(`scenario=${scenario}&lang=${language}`, viewport, { hasTouch: true });
          const what = `${scenario}, ${language}, ${viewport.width}`;
          expect(await page.locator(".panel:visible").evaluateAll((all) => all.map(({ id }) => id))).toEqual([
            "panel-network",
          ]);
          // Long sentences as well as what is always there.
          if (await page.getByTestId("add-forward").isVisible())
            await page.getByTestId("add-forward").tap({ force: true });
          expect(await page.evaluate(wideElements, VIEW), what).toEqual([]);
          expect(await page.evaluate(smallTargets, { roots: VIEW, targets: TARGETS }), what).toEqual([]);
          const label = await page.getByTestId("panel-network").getAttribute("aria-label");
          expect(label).toContain(await words(page, "network-state"));
          await page.context().close();
        }
  });

  it("crowds neither the bar nor the tabs, however wide the page is", async () => {
    for (const language of ["en", "zh"]) {
      const page = await visit(`scenario=network&lang=${language}`);
      for (const width of [360, 390, 760, 761, 800, 900, 980, 981, 1180, 1440]) {
        await page.setViewportSize({ width, height: 800 });
        expect(await page.evaluate(squeezed), `${width}, ${language}`).toEqual([]);
        expect(await page.getByTestId("network-mark").isVisible()).toBe(width > 760);
      }
      await page.context().close();
    }
  });

  it("names every control for those who do not see it, in both languages", async () => {
    for (const language of ["en", "zh"])
      for (const scenario of ["network", "network-room"]) {
        const page = await open(`scenario=${scenario}&lang=${language}`);
        const nameless = await page
          .locator(".network-panel :is(button, input, select, a, section, [role=img]), .network-mark button")
          .evaluateAll((all) =>
            all
              .filter(
                (control) =>
                  !control.getAttribute("aria-label") &&
                  !control.textContent?.trim() &&
                  !(control as HTMLInputElement).labels?.[0]?.textContent?.trim(),
              )
              .map((control) => control.outerHTML.slice(0, 120)),
          );
        expect(nameless).toEqual([]);
        expect(await words(page, "network-state")).toBe(language === "zh" ? "在线" : "Online");
        await page.context().close();
      }
  });

  it("has words that can be read in both themes: 4.5 to 1 at least", async () => {
    for (const theme of ["light", "dark"])
      for (const scenario of SCENARIOS) {
        const page = await open(`scenario=${scenario}&theme=${theme}`);
        await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.cancel())));
        expect(await page.evaluate(faintWords, VIEW), `${theme}, ${scenario}`).toEqual([]);
        await page.context().close();
      }
  });

  it("threw no error in any of these tests", () => expect(faults).toEqual([]));
});

/** What stands beyond the window or is cut off, in the bar and among the tabs at the bottom. */
function squeezed(): string[] {
  return [...document.querySelectorAll<HTMLElement>(".bar > *, .tabbar > button")]
    .filter((element) => {
      if (element.getClientRects().length === 0) return false;
      const { left, right } = element.getBoundingClientRect();
      const isCut = element.closest(".tabbar") !== null && element.scrollWidth > element.clientWidth;
      return left < -0.5 || right > innerWidth + 0.5 || isCut;
    })
    .map((element) => element.outerHTML.slice(0, 120));
}
