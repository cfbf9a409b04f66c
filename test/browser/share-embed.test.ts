/** Embeds on a page of another origin: the example of docs/embedding.md, an origin that is not allowed, and frames. */
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { ready, type Site, startSite } from "./page.ts";

const GUIDE = readFileSync(join(import.meta.dirname, "../../docs/embedding.md"), "utf8");
const EXAMPLE = /```html\n([\s\S]*?)```/.exec(GUIDE)?.[1] ?? "";

vi.setConfig({ testTimeout: 120_000 });

let site: Site;
let around: Server;
let outside: string;
beforeAll(async () => {
  site = await startSite();
  const pages: Record<string, () => string> = {
    "/example": () => EXAMPLE.replaceAll("http://localhost:8086", site.url.slice(0, -1)),
    // Asks for what only pages of another origin may.
    "/stranger": () => frames(`${site.url}?embed=1&origin=https://example.org`, `${site.url}?embed=1`),
    "/two": () => frames(...[1, 2].map(() => `${site.url}?embed=1&origin=${outside}`)),
    "/whole": () => frames(`${site.url}?boot=off`),
  };
  around = createServer((request, response) => {
    response.setHeader("Content-Type", "text/html");
    response.end(pages[request.url ?? ""]?.() ?? "");
  });
  await new Promise<void>((resolve) => around.listen(0, "127.0.0.1", resolve));
  // Another origin of the same site: browsers keep their storage apart for other sites only.
  outside = `http://localhost:${(around.address() as AddressInfo).port}`;
});
afterAll(async () => {
  await site?.close();
  around?.closeAllConnections();
  around?.close();
});

const frames = (...sources: string[]) => `<!doctype html><script>
  window.heard = [];
  addEventListener("message", ({ source, origin, data }) => {
    const index = [...document.querySelectorAll("iframe")].findIndex((frame) => frame.contentWindow === source);
    window.heard.push({ index, origin, data });
  });
  window.send = (index, message) => document.querySelectorAll("iframe")[index].contentWindow.postMessage(message, "*");
</script>${sources.map((source) => `<iframe width="600" height="300" src="${source}"></iframe>`).join("")}`;

interface Around {
  heard: { index: number; origin: string; data: Record<string, unknown> }[];
  send(index: number, message: unknown): void;
}

async function open(path: string): Promise<Page> {
  const page = await (await site.browser.newContext()).newPage();
  await page.goto(outside + path);
  return page;
}

/** Sends a request to a frame and waits for its answer. */
const ask = (page: Page, index: number, id: number, method: unknown, ...args: unknown[]) =>
  page.evaluate(
    async (request) => {
      const { heard, send } = window as unknown as Around;
      send(request.index, { id: request.id, method: request.method, args: request.args });
      for (;;) {
        const answer = heard.find((one) => one.index === request.index && one.data.id === request.id);
        if (answer) return answer.data;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    { index, id, method, args },
  );

describe("an embed", () => {
  it("runs a command for the page of the guide and gives it the output", async () => {
    const page = await open("/example");
    await expect.poll(() => page.locator("#output").innerText(), { timeout: 60_000 }).toMatch(/^Linux 6\.12.* i686\n1/);
    expect(await page.frameLocator("iframe").locator(".bar").isVisible()).toBe(false);
    await page.context().close();
  });

  it("is one of several, each a machine of its own, with nothing of the visitor's projects", async () => {
    const context = await site.browser.newContext();
    const own = await context.newPage();
    await own.goto(`${site.url}?boot=off`);
    await ready(own);
    await own.evaluate(() => window.smartos.writeFile("/etc/secret", "mine"));
    const page = await context.newPage();
    await page.goto(`${outside}/two`);
    for (const index of [0, 1]) {
      await page.waitForFunction(
        (at) => (window as unknown as Around).heard.some((one) => one.index === at && one.data.event === "loaded"),
        index,
      );
      expect(await ask(page, index, 1, "ready")).toEqual({ id: 1 });
      expect(await ask(page, index, 2, "run", `echo machine ${index} > /tmp/who`)).toMatchObject({
        result: { status: 0 },
      });
    }
    for (const index of [0, 1])
      expect(await ask(page, index, 3, "run", "cat /tmp/who")).toMatchObject({
        result: { output: `machine ${index}\n` },
      });
    expect(await ask(page, 0, 4, "readFile", "/etc/secret")).toEqual({
      id: 4,
      error: "Cannot read /etc/secret: there is no such file in the project",
    });
    for (const method of [
      "constructor",
      "disks.constructor",
      "__proto__.toString",
      "nothing",
      "disks",
      "a.b.c",
      5,
      null,
    ])
      expect((await ask(page, 0, Math.random(), method)).error).toContain("there is no such function");
    expect((await ask(page, 0, 5, "disks.list")).result).toHaveLength(1);
    const heard = await page.evaluate(() => (window as unknown as Around).heard);
    expect(new Set(heard.map(({ origin }) => `${origin}/`))).toEqual(new Set([site.url]));
    expect(
      heard
        .filter(({ data }) => data.event === "output")
        .map(({ data }) => data.text)
        .join(""),
    ).toContain("init scripts");
    expect(heard.some(({ data }) => (data.state as { status?: string } | undefined)?.status === "running")).toBe(true);
    expect(await own.evaluate(() => new TextDecoder().decode(window.smartos.readFile("/etc/secret")))).toBe("mine");
    await context.close();
  });

  it("neither hears nor tells a page of an origin that is not allowed", async () => {
    const page = await open("/stranger");
    const [first, second] = page.frames().slice(1);
    for (const frame of [first, second]) {
      await frame?.waitForFunction(() => window.smartos?.state().status === "running", null, { timeout: 60_000 });
      await frame?.evaluate(() => window.smartos.run("true"));
    }
    await page.evaluate(() => {
      for (const index of [0, 1]) (window as unknown as Around).send(index, { id: 1, method: "shutdown", args: [] });
    });
    await page.waitForTimeout(1000);
    expect(await page.evaluate(() => (window as unknown as Around).heard)).toEqual([]);
    for (const frame of [first, second])
      expect(await frame?.evaluate(() => window.smartos.state().status)).toBe("running");
    await page.context().close();
  });

  it("is all that others may frame: the whole page is refused", async () => {
    const page = await open("/whole");
    await expect.poll(() => page.frames()[1]?.url()).toContain("chrome-error:");
    await page.context().close();
  });
});
