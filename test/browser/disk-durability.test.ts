/** What a drive has acknowledged is there, whoever is killed, and what becomes of it when the browser empties the storage. */
import { appendFileSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { describe, expect, it, vi } from "vitest";
import { crash, useDiskBench } from "./disk-bench.ts";
import { startKillableBrowser } from "./killable-browser.ts";

const pages = useDiskBench();
const { open } = pages;

describe("an acknowledged write", () => {
  it("is committed, by transactions that ask for the storage medium", async () => {
    const page = await open();
    const other = await open();
    await page.exposeFunction("written", async (key: number) =>
      other.evaluate(
        async (wanted) =>
          (await window.diskBench.bare<Uint8Array>("chunks", "readonly", (all) => all.get(wanted)))?.[100],
        key,
      ),
    );
    const found = await page.evaluate(async () => {
      const { store, plug, key, transactions } = window.diskBench;
      await store.put("disk", 1 << 20, []);
      const { drive } = await plug("disk");
      const chunk = await key("disk", -1, 3);
      const open: string[] = [];
      const seen: unknown[] = [];
      for (let turn = 1; turn <= 20; turn += 1) {
        await new Promise<void>((resolve) => {
          drive.set(3 * 32768, new Uint8Array(4096).fill(turn), () => {
            for (const { mode, state } of transactions) if (mode !== "readonly") open.push(state);
            resolve();
          });
        });
        seen.push(await (window as unknown as { written(key: number): Promise<number> }).written(chunk));
      }
      return {
        states: [...new Set(open)],
        durability: [...new Set(transactions.filter(({ mode }) => mode !== "readonly").map((one) => one.durability))],
        seen,
      };
    });
    expect(found.states).toEqual(["complete"]);
    expect(found.durability).toEqual(["strict"]);
    expect(found.seen).toEqual(Array.from({ length: 20 }, (_, at) => at + 1));
  });

  it("is there after the page was killed", async () => {
    for (let round = 0; round < 3; round += 1) {
      const page = await open();
      const acknowledged = await writeUntil(page, 40 + round * 23, crash);
      await check(await open(), acknowledged);
    }
  });

  it("is there after the browser was killed", async () => {
    const profile = mkdtempSync(join(tmpdir(), "smart-os-profile-"));
    try {
      for (let round = 0; round < 2; round += 1) {
        const running = await startKillableBrowser(profile);
        try {
          const page = await open("", running.context);
          const acknowledged = await writeUntil(page, 25 + round * 17, () => running.kill());
          const next = await startKillableBrowser(profile);
          await check(await open("", next.context), acknowledged).finally(() => next.kill());
        } finally {
          await running.kill();
        }
      }
    } finally {
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    }
  });

  // LevelDB's header of a record: 4 bytes of checksum, 2 of the length of what follows, the kind (1: a whole record).
  it.each([
    ["a record's header", [1, 2, 3, 4, 0xa0, 0x0f, 1]],
    ["half a header", [1, 2, 3]],
  ])("is there after the browser was killed when it had written only %s, and again later", async (_, torn) => {
    const profile = mkdtempSync(join(tmpdir(), "smart-os-profile-"));
    let running = await startKillableBrowser(profile);
    try {
      const page = await open("", running.context);
      const { hostname, port } = new URL(page.url());
      const folder = join(profile, "Default/IndexedDB", `http_${hostname}_${port}.indexeddb.leveldb`);
      await page.evaluate(() => window.diskBench.store.put("disk", 1 << 20, []));
      await writeSome(page, 0);
      await running.kill();
      const logs = readdirSync(folder).filter((name) => name.endsWith(".log"));
      expect(logs).toHaveLength(1);
      const log = join(folder, logs[0] as string);
      appendFileSync(log, Uint8Array.from(torn));

      running = await startKillableBrowser(profile);
      await writeSome(await open("", running.context), 10);
      // What the page has asked for when it was opened is done on a thread of the browser's.
      await vi.waitFor(() => expect(existsSync(log)).toBe(false), 5_000).catch(() => {});
      await running.kill();

      running = await startKillableBrowser(profile);
      await check(await open("", running.context), new Map([0, 1, 2, 10, 11, 12].map((at) => [at, at])));
    } finally {
      await running.kill();
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    }
  });

  /** Stores three blocks from `first` on. It is little: much would have LevelDB begin a new log by itself. */
  async function writeSome(page: Page, first: number): Promise<void> {
    const isStored = await page.evaluate(async (from) => {
      const { plug, noise } = window.diskBench;
      const { set, flush } = await plug("disk");
      for (const at of [from, from + 1, from + 2]) await set(at * 4096, noise(at, 4096));
      return flush();
    }, first);
    expect(isStored).toBe(true);
  }

  /** Places of 4 KiB; every write of a page has one of its own. */
  const PLACES = 2 ** 16;

  /** Writes without a pause, several at once, and kills in the moment in which so many were acknowledged. */
  async function writeUntil(
    page: Page,
    enough: number,
    kill: (page: Page) => Promise<void>,
  ): Promise<Map<number, number>> {
    const acknowledged = new Map<number, number>();
    let killed: Promise<void> | null = null;
    let count = 0;
    await page.exposeFunction("acknowledge", (place: number, stamp: number) => {
      acknowledged.set(place, stamp);
      count += 1;
      if (count >= enough) killed ??= kill(page);
    });
    const writing = page.evaluate(async (places) => {
      const { store, plug, noise } = window.diskBench;
      const acknowledge = (window as unknown as { acknowledge(place: number, stamp: number): Promise<void> })
        .acknowledge;
      await store.put("disk", places * 4096, [{ offset: 0, bytes: noise(0, 8192) }]);
      const { drive } = await plug("disk");
      for (let stamp = 1; ; ) {
        let last: Promise<unknown> = Promise.resolve();
        for (let together = 0; together < 5; together += 1, stamp += 1) {
          const now = stamp;
          const place = (now * 1237) % places;
          last = new Promise((resolve) => {
            drive.set(place * 4096, noise(now, 4096), () => {
              void acknowledge(place, now);
              resolve(null);
            });
          });
        }
        await last;
      }
    }, PLACES);
    await writing.then(
      () => {},
      () => {},
    );
    await killed;
    expect(acknowledged.size).toBeGreaterThanOrEqual(enough);
    return acknowledged;
  }

  async function check(page: Page, acknowledged: Map<number, number>): Promise<void> {
    const lost = await page.evaluate((written) => window.diskBench.lost("disk", written), [...acknowledged]);
    expect(lost).toEqual([]);
    await page.close();
  }
});

describe("a storage that the browser empties under a running machine", () => {
  it.each([
    ["", false],
    [", also when another page has made new disks by then", true],
  ])("gives errors, and neither zeros nor acknowledgements%s", async (_, others) => {
    const page = await open();
    await page.evaluate(async () => {
      const { store, noise, plug, kept } = window.diskBench;
      await store.put("disk", 1 << 20, [{ offset: 0, bytes: noise(1, 1 << 20) }]);
      kept.plugged = await plug("disk");
    });
    const session = await pages.context.newCDPSession(page);
    await session.send("Storage.clearDataForOrigin", { origin: new URL(page.url()).origin, storageTypes: "indexeddb" });
    const putAnew = async () => {
      const { store, noise, plug, sum, wholeDisk } = window.diskBench;
      await store.put("new", 1 << 20, [{ offset: 0, bytes: noise(2, 1 << 20) }]);
      await (await plug("new")).drive.close();
      return sum(await wholeDisk("new"));
    };
    const other = others ? await open() : null;
    const before = await other?.evaluate(putAnew);
    const found = await page.evaluate(async () => {
      const { noise, kept } = window.diskBench;
      const { get, set, problems, drive } = kept.plugged as Awaited<ReturnType<typeof window.diskBench.plug>>;
      const isRead = (await get(600_064, 512)) !== null;
      const isDone = await set(0, noise(3, 65_536));
      await drive.close();
      return { isRead, isDone, kinds: problems.map(({ kind }) => kind) };
    });
    expect(found).toEqual({ isRead: false, isDone: false, kinds: ["failed", "failed"] });
    expect(await other?.evaluate(async () => window.diskBench.sum(await window.diskBench.wholeDisk("new")))).toBe(
      before,
    );
    // A page that is loaded again has a storage again.
    await page.reload();
    await page.waitForFunction(() => window.diskBench !== undefined);
    expect(await page.evaluate(putAnew)).toMatch(/^[0-9a-f]{16}$/);
  });
});

it("threw no error in any page of these tests", () => expect(pages.faults).toEqual([]));
