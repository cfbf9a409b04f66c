/** What busybox's programs do over the relay when their machine is in Chromium; in Node: test/relay/programs.test.ts. */
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { checkPrograms, TestServers } from "../relay/program-checks.ts";
import { type Site, startSite } from "./page.ts";
import { startRelayProcess } from "./relay-process.ts";

describe("busybox's programs in Chromium", () => {
  const servers = new TestServers();
  let site: Site;
  let page: Page;

  beforeAll(async () => {
    const names = await servers.names();
    site = await startSite(() => startRelayProcess(["--allow", "127.0.0.1", "--log-level", "error"], names));
    page = await site.open("?lang=en");
    await page.waitForFunction(() => window.smartos.network.status().guestAddress !== null, null, { timeout: 60_000 });
  });
  afterAll(async () => {
    await site?.close();
    servers.close();
  });

  checkPrograms(async (command, timeoutMs = 30_000) => {
    const { status, output } = await page.evaluate(([words, ms]) => window.smartos.run(words, { timeoutMs: ms }), [
      command,
      timeoutMs,
    ] as const);
    expect(status, `${command}: ${output}`).toBe(0);
    return output.trim();
  }, servers);
});
