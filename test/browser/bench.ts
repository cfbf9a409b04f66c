/** Single modules of the page in a real Chromium: a blank document from Vite's server that imports what is tested. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { createServer } from "vite";
import { launchChromium } from "./chromium.ts";

const ROOT = join(import.meta.dirname, "../..");

export interface Bench {
  browser: Browser;
  url: string;
  /** A blank page. `prepare` is JavaScript that runs in it before anything else. */
  open(context?: BrowserContext, prepare?: string): Promise<Page>;
  close(): Promise<void>;
}

/** @param script JavaScript module of the page; it may import "/library.ts" and the like */
export async function startBench(script: string): Promise<Bench> {
  // A cache of its own: a development server of somebody else may be using the usual one.
  const cacheDir = mkdtempSync(join(tmpdir(), "smart-os-vite-"));
  const server = await createServer({
    configFile: join(ROOT, "vite.config.ts"),
    cacheDir,
    logLevel: "error",
    server: { host: "127.0.0.1", port: 0, hmr: false, watch: null },
    optimizeDeps: { noDiscovery: true, include: ["idb-keyval", "comlink", "fflate", "@noble/hashes/sha2.js"] },
    plugins: [
      {
        name: "smart-os:bench",
        resolveId: (source) => (source === "/bench.js" ? "\0bench.js" : null),
        load: (id) => (id === "\0bench.js" ? script : null),
        configureServer({ middlewares }) {
          middlewares.use("/blank", (_, response) => {
            response.setHeader("content-type", "text/html");
            response.end(`<!doctype html><script type="module" src="/bench.js"></script>`);
          });
        },
      },
    ],
  });
  await server.listen();
  const browser = await launchChromium();
  const url = server.resolvedUrls?.local[0] as string;
  return {
    browser,
    url,
    async open(context, prepare) {
      const page = await (context ?? (await browser.newContext())).newPage();
      if (prepare) await page.addInitScript(prepare);
      await page.goto(`${url}blank`);
      await loaded(page);
      return page;
    },
    async close() {
      await browser.close();
      await server.close();
      rmSync(cacheDir, { recursive: true, force: true });
    },
  };
}

/** Waits for the page's script, which takes a while where it waits for something that does not come. */
export async function loaded(page: Page): Promise<void> {
  await page.waitForFunction(() => "bench" in window, undefined, { timeout: 15_000 });
}
