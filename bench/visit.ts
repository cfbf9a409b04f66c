/**
 * Visits: the first one, through a fast and a slow link, and one without a network, against QEMU with the same kernel and
 * files, turn by turn in one run; and what a machine costs that waits at its prompt.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { ready, type Site, serveStatic, startSite } from "../test/browser/page.ts";
import { buildTestInitramfs } from "../test/machine/guest.ts";
import { DEFAULT_MEMORY_MB } from "../web/project.ts";
import { bootQemu } from "./qemu.ts";
import { startSlowLink } from "./slow-link.ts";
import { atMost, bounded, median, publish, type Row } from "./table.ts";

const ROUNDS = Number(process.argv[2] ?? 5);
const BANDWIDTH = 20e6 / 8;
const DELAY_MS = 20;
const VIEWPORT = { viewport: { width: 1440, height: 900 } };
const UNDISTURBED_MS = 1500;
/** A machine that has just booted still has its network to ask for, and the browser its code to compile better. */
const SETTLE_MS = 30_000;
const IDLE_MS = 20_000;

const scratch = mkdtempSync(join(tmpdir(), "smart-os-bench-"));

/**
 * The prompt on the clock that starts with the navigation. The page keeps the time; it is asked afterwards, because the
 * first question brings the test driver's own scripts into the page, which then take time from it.
 */
async function promptOnPageClock(page: Page): Promise<number> {
  await page.waitForTimeout(UNDISTURBED_MS);
  await ready(page);
  return page.evaluate(() => {
    const { uptimeMs, promptMs, problem } = window.smartos.state();
    if (problem || promptMs === null) throw new Error(`The page came to no prompt: ${problem?.text}`);
    const build = window.smartos.timeline().find(({ phase }) => phase === "build")?.ms ?? 0;
    // Power-on was `uptimeMs` ago and `build` after the boot request; the prompt is counted from the request.
    return performance.now() - uptimeMs - build + promptMs;
  });
}

/** A fresh profile on the way to its first prompt. */
async function firstVisit(browser: Browser, url: string): Promise<number> {
  const context = await browser.newContext(VIEWPORT);
  const page = await context.newPage();
  await page.goto(url, { waitUntil: "commit" });
  const ms = await promptOnPageClock(page);
  await context.close();
  return ms;
}

/** The same through a slow link; what came through it until then could not have come faster than `floorMs`. */
async function slowVisit(browser: Browser, to: number): Promise<{ promptMs: number; floorMs: number }> {
  const link = await startSlowLink(to, BANDWIDTH, DELAY_MS);
  const context = await browser.newContext({ ...VIEWPORT, serviceWorkers: "block" });
  const page = await context.newPage();
  await page.goto(`http://localhost:${link.port}/`, { waitUntil: "commit" });
  const promptMs = await promptOnPageClock(page);
  const floorMs = (1000 * link.takeBytes()) / BANDWIDTH;
  await context.close();
  await link.close();
  return { promptMs, floorMs };
}

/** A profile that has been here once, and whose network is then cut. */
async function prepareOffline(site: Site): Promise<{ context: BrowserContext; url: string }> {
  const own = await serveStatic();
  const context = await site.browser.newContext(VIEWPORT);
  const page = await context.newPage();
  await page.goto(own.url);
  await ready(page);
  await page.evaluate(async () => void (await navigator.serviceWorker.ready));
  await page.close();
  await own.close();
  await context.setOffline(true);
  return { context, url: own.url };
}

/** Seconds of processor time and bytes of memory of the browser's processes since its start. */
async function cost(browser: Browser): Promise<{ cpu: number; tab: number }> {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const tabs = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => privateBytes(id));
  return { cpu: processInfo.reduce((sum, { cpuTime }) => sum + cpuTime, 0), tab: Math.max(...tabs) };
}

/** What a process has for itself alone, in RAM or swapped out: its end would give so much back. */
function privateBytes(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const kibibytes = [...text.matchAll(/^(?:Private_\w+|SwapPss): +(\d+) kB/gm)].map(([, size]) => Number(size));
  return kibibytes.reduce((sum, size) => sum + size, 0) * 1024;
}

/** One page that does nothing at its prompt, in a browser of its own. */
async function idle(): Promise<{ percent: number; tab: number }> {
  const site = await startSite();
  const page = await site.open();
  await page.waitForTimeout(SETTLE_MS);
  const before = await cost(site.browser);
  await page.waitForTimeout(IDLE_MS);
  const after = await cost(site.browser);
  await site.close();
  return { percent: ((after.cpu - before.cpu) / IDLE_MS) * 1e5, tab: after.tab };
}

const initramfs = join(scratch, "initramfs.cpio");
writeFileSync(initramfs, await buildTestInitramfs());
const site = await startSite();
const offline = await prepareOffline(site);
const qemu: number[] = [];
const firsts: number[] = [];
const slows: Awaited<ReturnType<typeof slowVisit>>[] = [];
const offlines: number[] = [];
for (let round = 0; round < ROUNDS; round += 1) {
  qemu.push(await bootQemu(initramfs));
  firsts.push(await firstVisit(site.browser, site.url));
  slows.push(await slowVisit(site.browser, Number(new URL(site.url).port)));
  const page = await offline.context.newPage();
  await page.goto(offline.url, { waitUntil: "commit" });
  offlines.push(await promptOnPageClock(page));
  await page.close();
  process.stderr.write(`\r  round ${round + 1} of ${ROUNDS}`);
}
await site.close();
process.stderr.write("\r  a machine that waits …   ");
const waiting = await idle();
process.stderr.write("\r\u001b[K");
rmSync(scratch, { recursive: true });

const base = median(qemu);
const floor = median(slows.map(({ floorMs }) => floorMs));
const rows: Row[] = [
  atMost("page opened, empty cache → prompt", median(firsts), 1, base, "QEMU"),
  atMost(
    "the same through 20 Mbit/s, 40 ms",
    median(slows.map(({ promptMs }) => promptMs)),
    1.4,
    floor,
    "bytes ÷ bandwidth",
  ),
  atMost("second visit, without a network → prompt", median(offlines), 0.9, base, "QEMU"),
  bounded("processor time of the browser at an idle prompt", waiting.percent, "% of a core", 3),
  bounded("memory of the tab beyond the guest's", waiting.tab / 2 ** 20 - DEFAULT_MEMORY_MB, "MB", 150),
];
publish("visit", rows, { rounds: ROUNDS, qemuMs: qemu, firsts, slows, offlines, waiting });
