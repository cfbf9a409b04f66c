/** Pages that have the disk store and nothing else, served from the sources. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { createServer, type ViteDevServer } from "vite";
import { afterAll, beforeAll, beforeEach, expect } from "vitest";
import { launchChromium } from "./chromium.ts";

const ROOT = join(import.meta.dirname, "../..");

export interface StorePages {
  /** Of the test that runs: each has a storage of its own. */
  readonly context: BrowserContext;
  open(where?: BrowserContext): Promise<Page>;
  /** That no page threw an error. */
  expectNoFaults(): void;
}

/** For a file of tests: a server, and a browser that all of them share. */
export function useStorePages(): StorePages {
  let server: ViteDevServer;
  let browser: Browser;
  let context: BrowserContext;
  let cacheDir: string;
  const faults: string[] = [];

  beforeAll(async () => {
    cacheDir = mkdtempSync(join(tmpdir(), "smart-os-disk-store-"));
    server = await createServer({
      root: ROOT,
      configFile: false,
      cacheDir,
      logLevel: "error",
      server: { port: 0, host: "127.0.0.1", hmr: false, watch: null },
      optimizeDeps: { noDiscovery: true, include: [] },
    });
    await server.listen();
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
    rmSync(cacheDir, { recursive: true, force: true });
  });
  /** Each test has a storage of its own. */
  beforeEach(async () => {
    context = await browser.newContext();
    return () => context.close();
  });

  return {
    get context() {
      return context;
    },
    async open(where = context) {
      const page = await where.newPage();
      page.on("pageerror", (error) => faults.push(error.stack ?? error.message));
      await page.goto(`${server.resolvedUrls?.local[0]}test/browser/disk-store.harness.html`);
      await page.waitForFunction(() => window.diskBench !== undefined);
      return page;
    },
    expectNoFaults: () => expect(faults).toEqual([]),
  };
}

/** Ends the page's process as a crash does: nothing of the page runs any more. */
export async function crash(page: Page): Promise<void> {
  const crashed = new Promise((resolve) => page.once("crash", resolve));
  const session = await page.context().newCDPSession(page);
  session.send("Page.crash").catch(() => {});
  await crashed;
}
