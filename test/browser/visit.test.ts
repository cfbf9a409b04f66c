/** Visits: the first one, one without a network, and one to a site that has changed meanwhile. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createSite } from "../../relay/site.ts";
import { buildOfflineWorker } from "../../tools/offline.mjs";
import { ready, run, type Site, startSite, state, testid } from "./page.ts";

const DIST = join(import.meta.dirname, "../../dist");
const scratch = mkdtempSync(join(tmpdir(), "smart-os-visit-"));
const FIRST = join(scratch, "first");
const SECOND = join(scratch, "second");

const allFiles = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();

/** A site like the built one, but for its main script, which has another name and says so. */
async function buildSecond(): Promise<void> {
  cpSync(FIRST, SECOND, { recursive: true });
  const index = readFileSync(join(SECOND, "index.html"), "utf8");
  const script = /assets\/(index-[\w-]+)\.js/.exec(index)?.[1] as string;
  const path = join(SECOND, `assets/${script}.js`);
  writeFileSync(path, `${readFileSync(path, "utf8")}\nwindow.siteVersion = 2;\n`);
  renameSync(path, join(SECOND, "assets/index-2222222222.js"));
  writeFileSync(join(SECOND, "index.html"), index.replace(script, "index-2222222222"));
  // Copies of the old content would be served in the place of the new one.
  for (const file of allFiles(SECOND)) if (/(index.*|offline\.js)\.(br|gz)$/.test(file)) rmSync(file);
  await buildOfflineWorker(SECOND, allFiles(SECOND));
}

/** A server on one port whose folder can be exchanged. */
async function serve(port: number, folder: string): Promise<{ port: number; close(): Promise<void> }> {
  const server: Server = createSite(folder);
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const versionOf = (page: Page) => page.evaluate(() => (window as unknown as { siteVersion?: number }).siteVersion ?? 1);
const cacheNames = (page: Page) => page.evaluate(() => caches.keys());

/** Waits until the site is kept whole. */
async function kept(page: Page): Promise<void> {
  await page.evaluate(async () => void (await navigator.serviceWorker.ready));
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
}

async function open(context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage();
  page.on("pageerror", (error) => {
    throw new Error(`The page threw: ${error.stack ?? error.message}`);
  });
  await page.goto(url);
  await ready(page);
  return page;
}

let site: Site;
beforeAll(async () => {
  site = await startSite();
  cpSync(DIST, FIRST, { recursive: true, filter: (path) => !path.endsWith(".map") });
  await buildSecond();
});
afterAll(async () => {
  await site.close();
  rmSync(scratch, { recursive: true });
});

describe("after one visit", () => {
  it("boots, edits, builds and applies without a network, and can be installed", async () => {
    const server = await serve(0, FIRST);
    const url = `http://localhost:${server.port}/`;
    const context = await site.browser.newContext();
    const first = await open(context, `${url}?mem=64`);
    await kept(first);
    const devtools = await context.newCDPSession(first);
    const { errors } = await devtools.send("Page.getAppManifest");
    expect(errors).toEqual([]);
    const { installabilityErrors } = await devtools.send("Page.getInstallabilityErrors");
    // The test's profile is one that installs nothing.
    expect(installabilityErrors.filter(({ errorId }) => errorId !== "in-incognito")).toEqual([]);
    await first.close();

    await server.close();
    await context.setOffline(true);
    const page = await open(context, url);
    expect((await state(page)).problem).toBeNull();
    expect(await run(page, "uname -m")).toBe("i686");
    await testid(page, "file-tree").locator('[data-path="/etc/hostname"]').click();
    await testid(page, "editor").locator(".cm-content").waitFor();
    // Its words in the other language are kept, too.
    await testid(page, "language").click();
    await expect.poll(() => testid(page, "apply").innerText()).toContain("应用并重启");
    await page.evaluate(() => window.smartos.writeFile("/etc/hostname", "aloft\n"));
    await page.evaluate(() => window.smartos.boot({ mode: "cold" }));
    await page.evaluate(() => window.smartos.waitFor("aloft"));
    // What a disk needs besides is kept as well.
    await page.evaluate(() => window.smartos.disks.build());
    // Of other memory sizes what was used is kept; the rest boots cold, and the page says why.
    await page.goto(`${url}?mem=64`);
    await ready(page);
    expect(await state(page)).toMatchObject({ boot: "warm", problem: null });
    await page.goto(`${url}?mem=256`);
    await ready(page);
    expect(await state(page)).toMatchObject({ boot: "cold", coldReason: expect.stringMatching(/./), problem: null });
    // The page's own address with wishes is the page.
    await page.goto(`${url}?boot=off&lang=zh`);
    await ready(page);
    expect(await testid(page, "apply").innerText()).toBe("应用并重启");
    await context.close();
  });
});

describe("a site that has changed", () => {
  it("is offered whole, taken when the user says so, and leaves other tabs with what they began with", async () => {
    let server = await serve(0, FIRST);
    const { port } = server;
    const url = `http://localhost:${port}/?boot=off`;
    const context = await site.browser.newContext();
    const page = await open(context, url);
    await kept(page);
    const [oldCache] = await cacheNames(page);

    // A site that is half old and half new is not kept.
    await server.close();
    const half = join(scratch, "half");
    cpSync(SECOND, half, { recursive: true });
    cpSync(join(FIRST, "index.html"), join(half, "index.html"));
    server = await serve(port, half);
    expect(
      await page.evaluate(async () => {
        const registration = await navigator.serviceWorker.ready;
        await registration.update();
        const worker = registration.installing as ServiceWorker;
        await new Promise((resolve) => worker.addEventListener("statechange", resolve));
        return worker.state;
      }),
    ).toBe("redundant");
    expect(await cacheNames(page)).toEqual([oldCache]);

    await server.close();
    server = await serve(port, SECOND);
    await page.reload();
    await ready(page);
    expect(await versionOf(page)).toBe(1);
    const other = await open(context, url);
    expect(await versionOf(other)).toBe(1);
    await page.getByRole("button", { name: "Reload" }).click();
    await page.waitForFunction(() => (window as unknown as { siteVersion?: number }).siteVersion === 2);
    await ready(page);

    expect(await cacheNames(page)).toContain(oldCache);
    // The other tab's editor is one that the server has no more.
    rmSync(join(SECOND, "assets"), { recursive: true });
    expect(await versionOf(other)).toBe(1);
    await testid(other, "file-tree").locator('[data-path="/etc/hostname"]').click();
    await testid(other, "editor").locator(".cm-content").waitFor();
    await other.close();

    await page.reload();
    await ready(page);
    expect(await versionOf(page)).toBe(2);
    await expect.poll(() => cacheNames(page)).toHaveLength(1);
    expect(await cacheNames(page)).not.toContain(oldCache);
    await server.close();
    await context.close();
  });
});

describe("a first visit", () => {
  it("shows how many bytes have come, can be ended, and goes on where it was", async () => {
    const context = await site.browser.newContext({ serviceWorkers: "block" });
    const page = await context.newPage();
    await page.route("**/system/warm-128-*", async (route) => {
      await new Promise((resolve) => setTimeout(resolve, 3000));
      await route.continue().catch(() => {});
    });
    await page.goto(site.url);
    const overlay = testid(page, "overlay");
    await overlay.getByText("Loading the system").waitFor();
    const words = await overlay.locator(".figures").innerText();
    expect(words).toMatch(/^[\d.]+ [kM]?B of [\d.]+ MB$/);
    await testid(page, "cancel").click();
    await page.waitForFunction(() => window.smartos.state().status === "off");
    await page.unroute("**/system/warm-128-*");
    await page.evaluate(() => window.smartos.boot());
    expect(await state(page)).toMatchObject({ status: "running", problem: null });
    await context.close();
  });

  it("says what could not be loaded, and loads it when asked again", async () => {
    const context = await site.browser.newContext({ serviceWorkers: "block" });
    const page = await context.newPage();
    await page.route("**/system/bzImage-*", (route) => route.fulfill({ status: 503 }));
    await page.goto(`${site.url}?boot=cold`);
    await testid(page, "problem").waitFor();
    expect(await testid(page, "problem").innerText()).toContain("Cannot load bzImage: the server answers 503");
    await page.unroute("**/system/bzImage-*");
    await testid(page, "try-again").click();
    await page.waitForFunction(() => window.smartos.state().status === "running", null, { timeout: 60_000 });
    await context.close();
  });
});

describe("a hidden tab", () => {
  it("lets its machine run on, or pauses it where the user wants that", async () => {
    const context = await site.browser.newContext({ serviceWorkers: "block" });
    const page = await open(context, site.url);
    const show = (visibility: "hidden" | "visible") =>
      page.evaluate((value) => {
        Object.defineProperty(document, "visibilityState", { configurable: true, get: () => value });
        document.dispatchEvent(new Event("visibilitychange"));
      }, visibility);
    const status = async () => (await state(page)).status;
    await show("hidden");
    expect(await run(page, "echo alive")).toBe("alive");
    await show("visible");
    await testid(page, "settings").click();
    await testid(page, "when-hidden").selectOption("pause");
    await page.keyboard.press("Escape");
    await show("hidden");
    await expect.poll(status).toBe("paused");
    await show("visible");
    await expect.poll(status).toBe("running");
    expect(await run(page, "echo awake")).toBe("awake");
    // What the user has paused stays so.
    await testid(page, "pause").click();
    await expect.poll(status).toBe("paused");
    await show("hidden");
    await show("visible");
    expect(await status()).toBe("paused");
    await page.reload();
    await ready(page);
    expect(await testid(page, "when-hidden").inputValue()).toBe("pause");
    await context.close();
  });
});
