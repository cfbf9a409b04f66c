/** A real Chromium on the built site, served by the project's own server. */
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { createSite } from "../../relay/site.ts";
import type { ImageKind, SmartOs } from "../../web/smartos.ts";
import { launchChromium } from "./chromium.ts";

declare global {
  interface Window {
    smartos: SmartOs;
  }
}

const DIST = join(import.meta.dirname, "../../dist");

export interface Served {
  url: string;
  close(): Promise<void>;
}

export interface Site {
  url: string;
  browser: Browser;
  /** A page in a profile of its own, opened and waited for until the first boot has ended. */
  open(address?: string, context?: BrowserContext): Promise<Page>;
  close(): Promise<void>;
}

/** @param serve what answers at the address that it returns; the site without a relay when it is not given */
export async function startSite(serve: () => Promise<Served> = serveStatic): Promise<Site> {
  const { url, close } = await serve();
  const browser = await launchChromium();
  return {
    url,
    browser,
    async open(address = "", context) {
      const page = await (context ?? (await browser.newContext({ viewport: { width: 1440, height: 900 } }))).newPage();
      page.on("pageerror", (error) => {
        throw new Error(`The page threw: ${error.stack ?? error.message}`);
      });
      await page.goto(url + address);
      await ready(page);
      return page;
    },
    async close() {
      await browser.close();
      await close();
    },
  };
}

export async function serveStatic(): Promise<Served> {
  const server = createSite(DIST);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}/`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Waits for the end of the first boot: a prompt, or a problem. */
export async function ready(page: Page): Promise<void> {
  await page.waitForFunction(() => window.smartos !== undefined, null, { timeout: 30_000 });
  await page.evaluate(() => window.smartos.ready);
}

export const state = (page: Page) => page.evaluate(() => window.smartos.state());

export async function run(page: Page, command: string): Promise<string> {
  const { status, output } = await page.evaluate((words) => window.smartos.run(words), command);
  if (status !== 0) throw new Error(`${command} ended with ${status}: ${output}`);
  return output.trim();
}

/** Has the page make a file, and saves it. @returns its path */
export async function saveImage(page: Page, kind: ImageKind, path: string): Promise<string> {
  const started = page.waitForEvent("download");
  await page.evaluate(async (wanted) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await window.smartos.exportImage(wanted));
    link.download = "file";
    link.click();
  }, kind);
  await (await started).saveAs(path);
  return path;
}

/** Chooses a file to open, as a user does, and waits for what the page says of it. */
export async function openFile(page: Page, path: string): Promise<void> {
  await testid(page, "project-menu").click();
  const chooser = page.waitForEvent("filechooser");
  await page.getByRole("menuitem", { name: "Open a file" }).click();
  await (await chooser).setFiles(path);
  await testid(page, "offer").waitFor();
}

export const testid = (page: Page, id: string) => page.locator(`[data-testid="${id}"]`);
