/** A real Chromium on the views' test page (views.harness.html), built once for each file of tests. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { build, preview } from "vite";
import { launchChromium } from "./chromium.ts";

const ROOT = join(import.meta.dirname, "../..");
const HARNESS = "test/browser/views.harness.html";

export interface Views {
  /** The test page's address, to which a query is appended. */
  url: string;
  browser: Browser;
  close(): Promise<void>;
}

export async function startViews(): Promise<Views> {
  const outDir = mkdtempSync(join(tmpdir(), "smart-os-views-"));
  // In one piece: each test opens pages of its own, and a page of a hundred modules takes a second to load.
  await build({
    root: ROOT,
    configFile: false,
    publicDir: false,
    logLevel: "error",
    build: { outDir, emptyOutDir: true, target: "es2022", rolldownOptions: { input: join(ROOT, HARNESS) } },
  });
  const server = await preview({
    root: ROOT,
    configFile: false,
    logLevel: "error",
    build: { outDir },
    preview: { port: 0, host: "127.0.0.1" },
  });
  const browser = await launchChromium();
  return {
    url: `${server.resolvedUrls?.local[0]}${HARNESS}`,
    browser,
    async close() {
      await browser.close();
      await server.close();
      rmSync(outDir, { recursive: true, force: true });
    },
  };
}
