/**
 * Saved machines: what an idle one takes, how long saving it takes and holds the page up, and how soon one that goes on
 * answers. In a browser with a profile on the medium, since a private window's storage is memory.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, type Page } from "playwright-core";
import { ready, startSite } from "../test/browser/page.ts";
import { chromePath } from "../tools/setup.mjs";
import { bounded, median, publish } from "./table.ts";

const ROUNDS = Number(process.argv[2] ?? 5);
/** A guest that has booted still has things to put away. */
const IDLE_MS = 5000;
const scratch = mkdtempSync(join(tmpdir(), "smart-os-bench-"));
const site = await startSite();
const context = await chromium.launchPersistentContext(join(scratch, "profile"), {
  executablePath: chromePath() as string,
  viewport: { width: 1440, height: 900 },
  args: ["--no-sandbox", "--disable-gpu"],
});
const page = await context.newPage();

/** Saves the machine; the longest time for which the page answered to nothing meanwhile. */
function save(name: string): Promise<{ ms: number; longestMs: number; bytes: number }> {
  return page.evaluate(async (wanted) => {
    let longestMs = 0;
    let last = performance.now();
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      const now = performance.now();
      longestMs = Math.max(longestMs, now - last);
      last = now;
      setTimeout(() => channel.port2.postMessage(null));
    };
    channel.port2.postMessage(null);
    const startedAt = performance.now();
    const { storedBytes } = await window.smartos.snapshot.save(wanted);
    const ms = performance.now() - startedAt;
    channel.port1.close();
    return { ms, longestMs, bytes: storedBytes };
  }, name);
}

/** Types a command as soon as the machine runs. @returns when its output came, on the page's clock */
function echo(tab: Page): Promise<number> {
  return tab.evaluate(async () => {
    const mark = `${Math.floor(Math.random() * 1e6)}`;
    while (window.smartos.state().status !== "running") await new Promise((resolve) => setTimeout(resolve));
    window.smartos.type(`echo $((${mark} + 1))_\n`);
    await window.smartos.waitFor(`${Number(mark) + 1}_\n`);
    return performance.now();
  });
}

async function restore(name: string): Promise<number> {
  const startedAt = await page.evaluate((wanted) => {
    const at = performance.now();
    (window as unknown as { restored: Promise<void> }).restored = window.smartos.snapshot.restore(wanted);
    return at;
  }, name);
  await page.evaluate(() => (window as unknown as { restored: Promise<void> }).restored);
  return (await echo(page)) - startedAt;
}

await page.goto(`${site.url}?boot=cold`);
await ready(page);
await page.waitForTimeout(IDLE_MS);
const saves: Awaited<ReturnType<typeof save>>[] = [];
for (let round = 0; round < ROUNDS; round += 1) {
  saves.push(await save(`round ${round}`));
  await page.waitForTimeout(1000);
}
const restores: number[] = [];
for (let round = 0; round < ROUNDS; round += 1) restores.push(await restore("round 0"));
const openings: number[] = [];
for (let round = 0; round < ROUNDS; round += 1) {
  await page.waitForTimeout(1000);
  await page.evaluate(() => window.smartos.snapshot.suspend());
  await page.goto(site.url);
  await page.waitForFunction(() => window.smartos !== undefined);
  openings.push(await echo(page));
}
await context.close();
await site.close();
rmSync(scratch, { recursive: true });

const first = saves[0] as (typeof saves)[number];
publish(
  "snapshots",
  [
    bounded("snapshot of an idle 128 MB guest, stored", first.bytes / 1e6, "MB", 8),
    bounded("longest block of the page while saving", Math.max(...saves.map(({ longestMs }) => longestMs)), "ms", 50),
    bounded("time to save, the first", first.ms, "ms", 3000),
    bounded("time to save, later ones", median(saves.slice(1).map(({ ms }) => ms)), "ms", 1500),
    bounded("back to a snapshot → echo of a typed command", median(restores), "ms", 400),
    bounded("page opened → echo of a command typed into the suspended machine", median(openings), "ms", 1000),
  ],
  { rounds: ROUNDS, saves, restores, openings },
);
