/** The disk store alone in a real Chromium, for tests of it: disk-store.harness.ts has what they use in the page. */
import { join } from "node:path";
import type { BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, vi } from "vitest";
import { type Bench, startBench } from "./bench.ts";

const HARNESS = join(import.meta.dirname, "disk-store.harness.ts");

export interface DiskPages {
  readonly bench: Bench;
  /** Each test has a storage of its own. */
  readonly context: BrowserContext;
  /** What pages threw and nobody caught, of all tests so far. */
  readonly faults: readonly string[];
  /**
   * @param prepare JavaScript that runs in the page before anything else
   * @param where another storage than the test's, or another browser's
   */
  open(prepare?: string, where?: BrowserContext): Promise<Page>;
}

export function useDiskBench(): DiskPages {
  let bench: Bench;
  let context: BrowserContext;
  const faults: string[] = [];
  const watch = (where: BrowserContext): void =>
    void where.on("weberror", (fault) => faults.push(fault.error().stack ?? fault.error().message));
  beforeAll(async () => {
    bench = await startBench(`import "/@fs${HARNESS}"; window.bench = true;`);
  });
  afterAll(() => bench?.close());
  beforeEach(async () => {
    context = await bench.browser.newContext();
    watch(context);
    return () => context.close();
  });
  // A machine that may have other things to do.
  vi.setConfig({ testTimeout: 120_000 });
  return {
    get bench() {
      return bench;
    },
    get context() {
      return context;
    },
    faults,
    open(prepare, where = context) {
      if (where !== context) watch(where);
      return bench.open(where, prepare);
    },
  };
}

/** Ends the page's process as a crash does: nothing of the page runs any more. */
export async function crash(page: Page): Promise<void> {
  const crashed = new Promise((resolve) => page.once("crash", resolve));
  const session = await page.context().newCDPSession(page);
  session.send("Page.crash").catch(() => {});
  await crashed;
}
