import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { createServer, type ViteDevServer } from "vite";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Piece } from "../../worker/format/sparse-image.ts";
import { CHROMIUM_ARGUMENTS, chromiumPath, launchChromium } from "./chromium.ts";
import type { ModelReport } from "./disk-store.model.ts";

const ROOT = join(import.meta.dirname, "../..");
const MIB = 1024 * 1024;
/** How long chance has its way with the model, in all. */
const MODEL_MS = 8_000;

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

async function open(where: BrowserContext = context): Promise<Page> {
  const page = await where.newPage();
  page.on("pageerror", (error) => faults.push(error.stack ?? error.message));
  await page.goto(`${server.resolvedUrls?.local[0]}test/browser/disk-store.harness.html`);
  await page.waitForFunction(() => window.diskBench !== undefined);
  return page;
}

/** Ends the page's process as a crash does: nothing of the page runs any more. */
async function crash(page: Page): Promise<void> {
  const crashed = new Promise((resolve) => page.once("crash", resolve));
  const session = await page.context().newCDPSession(page);
  session.send("Page.crash").catch(() => {});
  await crashed;
}

describe("a disk that is put into the store", () => {
  it("is read back as it was, wherever its extents begin and end", async () => {
    const page = await open();
    const differences = await page.evaluate(async () => {
      const { store, noise, random, wholeDisk } = window.diskBench;
      const found: string[] = [];
      for (let seed = 1; seed <= 25; seed += 1) {
        const next = random(seed);
        const below = (limit: number) => Math.floor(next() * limit);
        const expected = new Uint8Array(512 * (1 + below(seed % 3 === 0 ? 200 : 8000)));
        const extents: { offset: number; bytes: Uint8Array<ArrayBuffer> }[] = [];
        for (let end = 0; ; ) {
          const offset = end + (below(3) === 0 ? 0 : below(200_000));
          if (offset >= expected.length) break;
          const length = Math.min(below(5) === 0 ? below(3) : below(100_000), expected.length - offset);
          const bytes = below(6) === 0 ? new Uint8Array(length) : noise(seed * 1000 + extents.length, length);
          extents.push({ offset, bytes });
          expected.set(bytes, offset);
          end = offset + length;
          if (extents.length > 500) break;
        }
        await store.put("disk", expected.length, seed % 2 === 0 ? extents : sequence(extents));
        const whole = await wholeDisk("disk");
        if (whole.length !== expected.length || whole.some((byte, at) => byte !== expected[at]))
          found.push(`seed ${seed}: the whole`);
        await store.read("disk", async ({ source }) => {
          for (let turn = 0; turn < 20; turn += 1) {
            const offset = below(expected.length);
            const length = below(Math.min(expected.length - offset, turn < 10 ? 100 : 200_000) + 1);
            const part = await source.read(offset, length);
            if (part.length !== length || part.some((byte, at) => byte !== expected[offset + at]))
              found.push(`seed ${seed}: ${length} bytes at ${offset}`);
          }
        });
      }
      return found;

      async function* sequence<T>(all: T[]) {
        for (const one of all) yield one;
      }
    });
    expect(differences).toEqual([]);
  });

  it("takes what is written, and holes cost nothing, up to 64 GiB", async () => {
    const page = await open();
    const found = await page.evaluate(async () => {
      const { store, noise, CHUNK_BYTES } = window.diskBench;
      const most = 64 * 1024 ** 3;
      const disks: [id: string, size: number, offsets: number[], length: number][] = [
        ["sector", 512, [0], 512],
        ["chunk", CHUNK_BYTES, [0], CHUNK_BYTES],
        ["chunk and sector", CHUNK_BYTES + 512, [0], CHUNK_BYTES + 512],
        ["largest", most, [0, 4 * 1024 ** 3 - 100, most - 5000], 5000],
        ["empty", 1024 * 1024, [], 0],
        ["zeros", 1024 * 1024, [0], 1024 * 1024],
      ];
      const result: Record<string, unknown> = {};
      for (const [id, size, offsets, length] of disks) {
        const data = (offset: number) => (id === "zeros" ? new Uint8Array(length) : noise(offset % 977, length));
        await store.put(
          id,
          size,
          offsets.map((offset) => ({ offset, bytes: data(offset) })),
        );
        const isSame = (offset: number, bytes: Uint8Array) => {
          const expected = data(offset);
          return bytes.length === length && bytes.every((byte, at) => byte === expected[at]);
        };
        const facts = await store.facts(id);
        const ends: number[] = [];
        const isRead = await store.read(id, async ({ source, extents }) => {
          for await (const extent of extents()) ends.push(extent.offset + extent.bytes.length);
          if (source.size !== size) return false;
          for (const offset of offsets) if (!isSame(offset, await source.read(offset, length))) return false;
          return (await source.read(size, 0)).length === 0;
        });
        result[id] = {
          isRead,
          size: facts?.sizeBytes === size,
          changed: facts?.changed,
          chunks: (facts?.storedBytes ?? 0) / CHUNK_BYTES,
          withinEnd: ends.every((end) => end <= size),
        };
      }
      result.beyond = await window.diskBench.refusal(store.read("sector", ({ source }) => source.read(1, 512)));
      return result;
    });
    const fine = { isRead: true, size: true, changed: false, withinEnd: true };
    expect(found).toEqual({
      sector: { ...fine, chunks: 1 },
      chunk: { ...fine, chunks: 1 },
      "chunk and sector": { ...fine, chunks: 2 },
      // Of 5000 bytes in the middle the first 100 lie in another chunk than the rest.
      largest: { ...fine, chunks: 4 },
      empty: { ...fine, chunks: 0 },
      zeros: { ...fine, chunks: 0 },
      beyond: "Error: Cannot read 512 bytes at 1: the disk ends at 512",
    });
  });

  it("stays as it was when a new content, or a change of what it has, is refused or cancelled half-way", async () => {
    const page = await open();
    const found = await page.evaluate(async () => {
      const { store, noise, sum, refusal, wholeDisk, layers } = window.diskBench;
      const old = noise(7, 100_000);
      await store.put("disk", 1024 * 1024, [{ offset: 70_000, bytes: old }]);
      const before = await sum(await wholeDisk("disk"));
      const piece = (offset: number, length = 1000) => ({ offset, bytes: noise(offset, length) });
      const result: string[] = [];
      const expectRefusal = async (what: string, put: Promise<void>) => {
        const words = await refusal(put);
        const isSame = (await sum(await wholeDisk("disk"))) === before;
        const { listed, used, filled } = await layers();
        const isTidy = String(listed) === String(used) && filled.every((layer) => used.includes(layer));
        result.push(`${what}: ${words}${isSame ? "" : ", CHANGED"}${isTidy ? "" : ", LAYERS LEFT"}`);
      };
      await expectRefusal("order", store.put("disk", 8 << 20, [piece(6 << 20), piece(1 << 20)]));
      await expectRefusal("overlap", store.put("disk", 8 << 20, [piece(1000), piece(1999)]));
      await expectRefusal("negative", store.put("disk", 8 << 20, [piece(-512)]));
      await expectRefusal("end", store.put("disk", 8 << 20, [piece(0, 7 << 20), piece((8 << 20) - 999)]));
      await expectRefusal("size", store.put("disk", 1000, []));
      await expectRefusal("none", store.put("disk", 0, []));
      await expectRefusal("huge", store.put("disk", 64 * 1024 ** 3 + 512, []));
      await expectRefusal(
        "late size",
        store.put("disk", () => 0, [piece(0)]),
      );
      const abort = new AbortController();
      async function* endless() {
        for (let offset = 0; ; offset += 1 << 20) yield piece(offset, 1 << 20);
      }
      const progress: number[] = [];
      const onProgress = (done: number) => {
        progress.push(done);
        if (progress.length === 2) abort.abort();
      };
      await expectRefusal("cancelled", store.put("disk", 1 << 30, endless(), { signal: abort.signal, onProgress }));
      await expectRefusal("source", store.put("disk", 1 << 30, broken()));
      async function* broken() {
        for (let offset = 0; offset < 9 << 20; offset += 1 << 20) yield piece(offset, 1 << 20);
        throw new TypeError("the file is gone");
      }
      const rewrite = (size: number, pieces: Iterable<Piece> | AsyncIterable<Piece>, work = {}) =>
        store.rewrite("disk", async () => ({ size, pieces }), work);
      const gone = store.rewrite("disk", async () => {
        throw new Error("Cannot fit it");
      });
      await expectRefusal("rewrite, refused", gone);
      await expectRefusal("rewrite, order", rewrite(8 << 20, [piece(6 << 20), piece(1 << 20)]));
      await expectRefusal("rewrite, size", rewrite(1000, []));
      await expectRefusal("rewrite, source", rewrite(1 << 30, broken()));
      const late = new AbortController();
      const onRewrite = () => late.abort();
      await expectRefusal(
        "rewrite, cancelled",
        rewrite(1 << 30, endless(), { signal: late.signal, onProgress: onRewrite }),
      );
      return { result, progress };
    });
    expect(found.result).toEqual([
      `order: Error: Cannot store the image: what is at ${MIB} comes after what reaches to ${6 * MIB + 1000}`,
      "overlap: Error: Cannot store the image: what is at 1999 comes after what reaches to 2000",
      "negative: Error: Cannot store the image: what is at -512 comes after what reaches to 0",
      `end: Error: Cannot store the image: ${8 * MIB + 1} bytes are beyond its ${8 * MIB}`,
      "size: Error: Cannot make the disk: 1000 bytes are not a number of sectors of 512 bytes",
      "none: Error: Cannot make the disk: 0 bytes are not a number of sectors of 512 bytes",
      "huge: Error: Cannot make the disk: 68719477248 bytes are more than the 68719476736 that a disk may have",
      "late size: Error: Cannot make the disk: 0 bytes are not a number of sectors of 512 bytes",
      "cancelled: AbortError: signal is aborted without reason",
      "source: TypeError: the file is gone",
      "rewrite, refused: Error: Cannot fit it",
      `rewrite, order: Error: Cannot store the image: what is at ${MIB} comes after what reaches to ${6 * MIB + 1000}`,
      "rewrite, size: Error: Cannot change the disk: 1000 bytes are not a number of sectors of 512 bytes",
      "rewrite, source: TypeError: the file is gone",
      "rewrite, cancelled: AbortError: signal is aborted without reason",
    ]);
    expect(found.progress).toEqual([4 * MIB, 8 * MIB]);
  });

  it("takes its size from the end of an input whose size is not known before", async () => {
    const page = await open();
    const sizes = await page.evaluate(async () => {
      const { store, noise } = window.diskBench;
      let size = 0;
      async function* pieces() {
        for (; size < 100_000; size += 33_000) yield { offset: size, bytes: noise(size, 33_000) };
      }
      await store.put("disk", () => size, pieces());
      return [size, (await store.facts("disk"))?.sizeBytes];
    });
    expect(sizes).toEqual([132_000, Math.ceil(132_000 / 512) * 512]);
  });
});

describe("a drive", () => {
  it("does what plain memory does, whatever chance does to both", async () => {
    const page = await open();
    const first = Date.now() % 1_000_000;
    // Two disks that are alike every time, and others.
    const seeds = [1, 2, first, first + 1, first + 2, first + 3];
    const reports: ModelReport[] = [];
    for (const seed of seeds)
      reports.push(
        await page.evaluate(([s, ms]) => window.diskBench.runModel(s, ms), [seed, MODEL_MS / seeds.length] as const),
      );
    const total = (name: "steps" | "reads" | "writes" | "reopenings") =>
      reports.reduce((sum, report) => sum + report[name], 0);
    console.log(`${total("reads")} reads, ${total("writes")} writes, ${total("reopenings")} reopenings, from ${first}`);
    expect(total("reads")).toBeGreaterThan(300);
    expect(total("writes")).toBeGreaterThan(300);
  });

  it("has few layers however often it is opened, also when some belong to a duplicate or were cut", async () => {
    const page = await open();
    const found = await page.evaluate(async () => {
      const { store, noise, plug, record, wholeDisk } = window.diskBench;
      const counts: number[] = [];
      const expected = new Uint8Array(1 << 20);
      const write = async (times: number) => {
        for (let turn = 0; turn < times; turn += 1) {
          const { set, drive } = await plug("disk");
          const offset = 512 * ((turn * 37) % 1900);
          expected.set(noise(turn, 1024), offset);
          await set(offset, noise(turn, 1024));
          await drive.close();
        }
        counts.push((await record("disk")).layers.length);
      };
      await store.put("disk", 1 << 20, [{ offset: 0, bytes: noise(1, 1 << 20) }]);
      expected.set(noise(1, 1 << 20));
      await write(12);
      await store.duplicate("disk", "copy");
      await write(12);
      await store.resize("disk", 500 * 1024);
      await store.resize("disk", 1 << 20);
      expected.fill(0, 500 * 1024);
      await write(12);
      const whole = await wholeDisk("disk");
      return { counts, isSame: whole.every((byte, at) => byte === expected[at]) };
    });
    expect(found.isSame).toBe(true);
    for (const count of found.counts) expect(count).toBeLessThanOrEqual(8);
  });

  it("takes requests that are larger than what it keeps in memory", async () => {
    const page = await open();
    const found = await page.evaluate(async () => {
      const { store, noise, plug, sum } = window.diskBench;
      await store.put("disk", 64 << 20, []);
      const { get, set, drive } = await plug("disk");
      const bytes = noise(3, (32 << 20) + 512);
      const expected = await sum(bytes);
      const isDone = await set(1024, bytes);
      const read = await Promise.race([
        get(1024, (32 << 20) + 512),
        new Promise<null>((resolve) => setTimeout(resolve, 15_000, null)),
      ]);
      const isSame = read !== null && (await sum(read)) === expected;
      if (read) await drive.close();
      return { isDone, isSame };
    });
    expect(found).toEqual({ isDone: true, isSame: true });
  });

  it("does nothing any more once it is closed", async () => {
    const page = await open();
    const found = await page.evaluate(async () => {
      const { store, noise, plug, wholeDisk } = window.diskBench;
      await store.put("disk", 4096, []);
      const { drive } = await plug("disk");
      const late: string[] = [];
      drive.set(0, noise(1, 512), () => late.push("done"));
      await drive.close();
      drive.set(512, noise(2, 512), () => late.push("done"));
      drive.get(0, 512, () => late.push("got"));
      await drive.settled();
      const whole = await wholeDisk("disk");
      return { late, stored: [0, 512].map((at) => whole.subarray(at, at + 512).some((byte) => byte !== 0)) };
    });
    // What it was given before is stored; nobody is told, since the machine is gone.
    expect(found).toEqual({ late: [], stored: [true, false] });
  });
});

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
        const running = await startBrowser(profile);
        try {
          const page = await open(running.context);
          const acknowledged = await writeUntil(page, 25 + round * 17, () => running.kill());
          const next = await startBrowser(profile);
          await check(await open(next.context), acknowledged).finally(() => next.kill());
        } finally {
          await running.kill();
        }
      }
    } finally {
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    }
  });

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
    const lost = await page.evaluate(
      async (expected) => {
        const { plugAgain, noise } = window.diskBench;
        const plugged = await plugAgain("disk");
        const missing: unknown[] = [];
        for (const [place, stamp] of expected) {
          const bytes = await plugged.get(place * 4096, 4096);
          const written = noise(stamp, 4096);
          if (!bytes?.every((byte, at) => byte === written[at])) missing.push(stamp);
        }
        await plugged.drive.close();
        return [...missing, ...plugged.problems.map(({ detail }) => detail)];
      },
      [...acknowledged],
    );
    expect(lost).toEqual([]);
    await page.close();
  }
});

interface Running {
  context: BrowserContext;
  kill(): Promise<void>;
}

/** A browser with a profile that outlives it, in a process group of its own that ends by SIGKILL. */
async function startBrowser(profile: string): Promise<Running> {
  const child: ChildProcess = spawn(
    chromiumPath(),
    [...CHROMIUM_ARGUMENTS, "--headless=new", "--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank"],
    { detached: true, stdio: ["ignore", "ignore", "pipe"] },
  );
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const kill = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null && child.pid) process.kill(-child.pid, "SIGKILL");
    await ended;
  };
  try {
    const address = await new Promise<string>((resolve, reject) => {
      let log = "";
      child.stderr?.on("data", (bytes: Buffer) => {
        log += bytes.toString();
        const found = /DevTools listening on (ws:\S+)/.exec(log);
        if (found) resolve(found[1] as string);
      });
      child.once("exit", () => reject(new Error(`The browser ended: ${log.slice(-500)}`)));
    });
    const connected = await chromium.connectOverCDP(address);
    return { context: connected.contexts()[0] as BrowserContext, kill };
  } catch (error) {
    await kill();
    throw error;
  }
}

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
    const session = await context.newCDPSession(page);
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

describe("a damaged chunk", () => {
  /** Each changes what is stored of chunk 5, whose neighbours are stored as well. */
  const DAMAGES = [
    "a flipped bit",
    "a flipped bit of the index",
    "another's index",
    "another's record",
    "too short",
    "too long",
    "null",
    "no bytes",
    "a record that says zeros",
    "text",
  ] as const;

  it.each([
    ["the first content", 0],
    ["what a guest wrote", 1],
  ])("in %s gives an error and never wrong bytes, and heals by being overwritten", async (_, layer) => {
    const page = await open();
    const found = await page.evaluate(
      async ({ damages, layer }) => {
        const { store, noise, plug, key, bare, refusal, CHUNK_BYTES } = window.diskBench;
        const result: Record<string, unknown> = {};
        for (const damage of damages) {
          const content = noise(1, 20 * CHUNK_BYTES);
          const id = damage;
          await store.put(id, content.length, [{ offset: 0, bytes: content }]);
          if (layer === 1) {
            const { set, drive } = await plug(id);
            // One chunk in two, so that the layers are mixed; 5 and its neighbours among them.
            for (const index of [1, 3, 4, 5, 6, 7, 9, 12]) {
              const bytes = noise(50 + index, CHUNK_BYTES);
              content.set(bytes, index * CHUNK_BYTES);
              await set(index * CHUNK_BYTES, bytes);
            }
            await drive.close();
          }
          const at = await key(id, layer, 5);
          const good = await bare<Uint8Array<ArrayBuffer>>("chunks", "readonly", (all) => all.get(at));
          const next = await bare<Uint8Array<ArrayBuffer>>("chunks", "readonly", (all) => all.get(at + 1));
          const bad = good.slice();
          if (damage === "a flipped bit") bad[1000] = (bad[1000] as number) ^ 4;
          if (damage === "a flipped bit of the index") bad[CHUNK_BYTES] = 4;
          if (damage === "another's index") bad.set(next.subarray(CHUNK_BYTES, CHUNK_BYTES + 4), CHUNK_BYTES);
          const value: unknown =
            damage === "another's record"
              ? next
              : damage === "too short"
                ? bad.slice(0, 20_000)
                : damage === "too long"
                  ? new Uint8Array(50_000)
                  : damage === "null"
                    ? null
                    : damage === "no bytes"
                      ? new Uint8Array(0)
                      : damage === "a record that says zeros"
                        ? new Uint8Array(8)
                        : damage === "text"
                          ? "chunk"
                          : bad;
          await bare("chunks", "readwrite", (all) => all.put(value, at));
          // Also where nobody has the neighbour whose record it is.
          const isRight = (bytes: Uint8Array | null, offset: number) =>
            bytes?.every((byte, index) => byte === content[offset + index]) ?? false;

          const words = {
            source: await refusal(store.read(id, ({ source }) => source.read(5 * CHUNK_BYTES + 700, 10))),
            wide: await refusal(store.read(id, ({ source }) => source.read(0, 20 * CHUNK_BYTES))),
            extents: await refusal(
              store.read(id, async ({ extents }) => {
                for await (const piece of extents()) void piece;
              }),
            ),
          };
          const { get, set, problems, drive } = await plug(id);
          const damaged: boolean[] = [];
          for (const [offset, length] of [
            [5 * CHUNK_BYTES, 512],
            [4 * CHUNK_BYTES, 3 * CHUNK_BYTES],
            [5 * CHUNK_BYTES + 512, CHUNK_BYTES],
          ] as const)
            damaged.push((await get(offset, length)) === null);
          const others: boolean[] = [];
          for (let index = 0; index < 20; index += 1)
            if (index !== 5) others.push(isRight(await get(index * CHUNK_BYTES, CHUNK_BYTES), index * CHUNK_BYTES));
          // A part of the chunk cannot be written: the rest of it is not known.
          const part = await set(5 * CHUNK_BYTES, noise(8, 512));
          const kinds = problems.map(({ kind }) => kind);
          const whole = await set(5 * CHUNK_BYTES, noise(9, CHUNK_BYTES));
          content.set(noise(9, CHUNK_BYTES), 5 * CHUNK_BYTES);
          const healed = isRight(await get(4 * CHUNK_BYTES, 3 * CHUNK_BYTES), 4 * CHUNK_BYTES);
          await drive.close();
          const later = await store.read(id, ({ source }) => source.read(0, content.length));
          result[damage] = {
            words: Object.values(words).filter((text) => !/^Error: Cannot read chunk 5: /.test(text)),
            damaged,
            others: others.every(Boolean),
            part,
            kinds,
            whole,
            healed,
            later: isRight(later, 0),
          };
        }
        return result;
      },
      { damages: DAMAGES, layer },
    );
    for (const damage of DAMAGES)
      expect(found[damage], damage).toEqual({
        words: [],
        damaged: [true, true, true],
        others: true,
        part: false,
        kinds: ["damaged", "damaged", "damaged", "damaged"],
        whole: true,
        healed: true,
        later: true,
      });
  });

  it("is found where a record lies under another key, also next to chunks that nobody has", async () => {
    const page = await open();
    const found = await page.evaluate(async () => {
      const { store, noise, plug, key, bare, refusal, CHUNK_BYTES } = window.diskBench;
      await store.put("disk", 20 * CHUNK_BYTES, [
        { offset: 2 * CHUNK_BYTES, bytes: noise(1, CHUNK_BYTES) },
        { offset: 8 * CHUNK_BYTES, bytes: noise(2, CHUNK_BYTES) },
      ]);
      const at = await key("disk", 0, 8);
      const record = await bare<Uint8Array>("chunks", "readonly", (all) => all.get(at));
      await bare("chunks", "readwrite", (all) => all.put(record, at + 3));
      const wide = await refusal(store.read("disk", ({ source }) => source.read(0, 20 * CHUNK_BYTES)));
      await bare("chunks", "readwrite", (all) => all.delete(at));
      const alone = await refusal(store.read("disk", ({ source }) => source.read(0, 20 * CHUNK_BYTES)));
      const { get, problems, drive } = await plug("disk");
      const isMoved = (await get(11 * CHUNK_BYTES, 512)) === null;
      const two = await get(2 * CHUNK_BYTES, CHUNK_BYTES);
      const expected = noise(1, CHUNK_BYTES);
      await drive.close();
      return {
        wide,
        alone,
        isMoved,
        kinds: problems.map(({ kind }) => kind),
        two: two?.every((byte, index) => byte === expected[index]),
      };
    });
    expect(found).toEqual({
      wide: expect.stringMatching(/^Error: Cannot read chunk 11: /),
      alone: expect.stringMatching(/^Error: Cannot read chunk 11: /),
      isMoved: true,
      kinds: ["damaged"],
      two: true,
    });
  });
});

describe("a disk in two pages", () => {
  it("is written by one, and read by the other as it was when that one began", async () => {
    const one = await open();
    const two = await open();
    const before = await one.evaluate(async () => {
      const { store, noise, plug, sum, wholeDisk, kept } = window.diskBench;
      await store.put("disk", 1 << 20, [{ offset: 0, bytes: noise(0, 600_000) }]);
      const earlier = await plug("disk");
      await earlier.set(4096, noise(1, 8192));
      await earlier.drive.close();
      const content = await wholeDisk("disk");
      const writer = await plug("disk");
      kept.writer = writer;
      await writer.set(0, noise(2, 512));
      return sum(content);
    });
    const reading = await two.evaluate(async () => {
      const { plug, noise, sum, kept } = window.diskBench;
      const reader = await plug("disk");
      kept.reader = reader;
      const isDone = await reader.set(0, noise(3, 512));
      return {
        writable: reader.drive.writable,
        isDone,
        kinds: reader.problems.map(({ kind }) => kind),
        first: await sum((await reader.get(0, 65536)) as Uint8Array),
      };
    });
    expect(reading).toMatchObject({ writable: false, isDone: false, kinds: ["read-only"] });
    const isWritten = await one.evaluate(async () => {
      const { noise, kept } = window.diskBench;
      const { set } = kept.writer as Awaited<ReturnType<typeof window.diskBench.plug>>;
      return (
        await Promise.all([set(512, noise(4, 100_352)), set(700_416, noise(5, 300_032)), set(0, new Uint8Array(512))])
      ).every(Boolean);
    });
    expect(isWritten).toBe(true);
    const seen = await two.evaluate(async () => {
      const { sum, kept } = window.diskBench;
      const { get } = kept.reader as Awaited<ReturnType<typeof window.diskBench.plug>>;
      return sum((await get(0, 1 << 20)) as Uint8Array);
    });
    expect(seen).toBe(before);

    const refused = await two.evaluate(async () => {
      const { store, refusal, noise } = window.diskBench;
      return Promise.all([
        refusal(store.put("disk", 512, [{ offset: 0, bytes: noise(0, 1) }])),
        refusal(store.resize("disk", 2 << 20)),
        refusal(store.remove("disk")),
        refusal(store.reset("disk")),
        refusal(store.merge("disk")),
        refusal(store.duplicate("disk", "copy")),
        refusal(store.read("disk", async () => {})),
      ]);
    });
    for (const words of refused) expect(words).toMatch(/^Error: Cannot [a-z]+ the disk: it is in use; /);

    // The writer ends, and another begins: the reader's layers are left alone, its content stays.
    const later = await one.evaluate(async () => {
      const { plug, noise, kept, store, refusal } = window.diskBench;
      await (kept.writer as Awaited<ReturnType<typeof plug>>).drive.close();
      const refusedForReader = await refusal(store.reset("disk"));
      for (let turn = 0; turn < 9; turn += 1) {
        const { drive, set } = await plug("disk");
        if (!drive.writable || !(await set(turn * 100_352, noise(turn, 512)))) throw new Error("cannot write");
        await drive.close();
      }
      return refusedForReader;
    });
    expect(later).toMatch(/it is in use/);
    const atLast = await two.evaluate(async () => {
      const { sum, kept, store } = window.diskBench;
      const { get, drive, problems } = kept.reader as Awaited<ReturnType<typeof window.diskBench.plug>>;
      const content = await sum((await get(0, 1 << 20)) as Uint8Array);
      await drive.close();
      await store.resize("disk", 2 << 20);
      return { content, problems: problems.length };
    });
    expect(atLast).toEqual({ content: before, problems: 1 });
  });

  it("is free for the other when the first is killed", async () => {
    const one = await open();
    const two = await open();
    await one.evaluate(async () => {
      const { store, noise, plug } = window.diskBench;
      await store.put("disk", 1 << 20, []);
      const { set } = await plug("disk");
      await set(0, noise(1, 512));
    });
    const tryToWrite = () =>
      two.evaluate(async () => {
        const { plug, noise } = window.diskBench;
        const { drive, get } = await plug("disk");
        const expected = noise(1, 512);
        const isThere = (await get(0, 512))?.every((byte, at) => byte === expected[at]);
        await drive.close();
        return [drive.writable, isThere];
      });
    expect(await tryToWrite()).toEqual([false, false]);
    await crash(one);
    await expect.poll(tryToWrite).toEqual([true, true]);
  });

  it("is shown whole to a page that comes before its writer has begun, or while something is done with it", async () => {
    const one = await open();
    const two = await open();
    await one.evaluate(async () => {
      const { store, noise, plug } = window.diskBench;
      await store.put("disk", 1 << 20, []);
      const { set, drive } = await plug("disk");
      await set(0, noise(1, 512));
      await drive.close();
    });
    const isWhole = () =>
      two.evaluate(async () => {
        const { plug, noise } = window.diskBench;
        const { drive, get } = await plug("disk");
        const expected = noise(1, 512);
        const isThere = (await get(0, 512))?.every((byte, at) => byte === expected[at]);
        await drive.close();
        return isThere;
      });
    // A writer has the disk before it has a layer of its own there.
    await one.evaluate(
      () =>
        new Promise<void>((held) => {
          void navigator.locks.request("smart-os:disk:disk", () => {
            held();
            return new Promise<void>((release) => {
              window.diskBench.kept.release = release;
            });
          });
        }),
    );
    expect(await isWhole()).toBe(true);
    await one.evaluate(() => (window.diskBench.kept.release as () => void)());

    for (let round = 0; round < 15; round += 1) {
      const [isThere] = await Promise.all([
        isWhole(),
        one.evaluate(() => window.diskBench.refusal(window.diskBench.store.resize("disk", 1 << 20))),
      ]);
      expect(isThere, `round ${round}`).toBe(true);
    }
  });
});

describe("a large disk", () => {
  it("is read where it is asked for, some ahead, and little of it is kept in memory", { timeout: 60_000 }, async () => {
    const page = await open();
    const found = await page.evaluate(async () => {
      const { store, noise, plug, transactions, CHUNK_BYTES, random } = window.diskBench;
      const stored = 100 << 20;
      const start = 1 << 30;
      async function* pieces() {
        for (let offset = start; offset < start + stored; offset += 1 << 20)
          yield { offset, bytes: noise(offset >>> 20, 1 << 20) };
      }
      await store.put("disk", 4 * 1024 ** 3, pieces());
      const { drive, get } = await plug("disk");
      const { statistics } = drive;
      const afterOpening = statistics.chunksRead;
      const chunks = stored / CHUNK_BYTES;
      let last = { stamp: -1, bytes: noise(0, 0) };
      const check = async (offset: number, length: number) => {
        const bytes = await get(offset, length);
        const within = offset % (1 << 20);
        if (last.stamp !== offset >>> 20) last = { stamp: offset >>> 20, bytes: noise(offset >>> 20, 1 << 20) };
        const expected = last.bytes.subarray(within, within + length);
        if (!bytes?.every((byte, at) => byte === expected[at])) throw new Error(`wrong bytes at ${offset}`);
      };
      // Holes cost nothing.
      for (let turn = 0; turn < 50; turn += 1) await get(2 * start + turn * 65536, 65536);
      const afterHoles = statistics.chunksRead;
      const next = random(5);
      for (let turn = 0; turn < 30; turn += 1) await check(start + Math.floor(next() * 25_000) * 4096, 4096);
      const afterJumps = statistics.chunksRead;

      const before = transactions.length;
      for (let offset = start; offset < start + stored; offset += 1 << 17) await check(offset, 1 << 17);
      const sequential = transactions.length - before;
      const afterAll = statistics.chunksRead;
      const isInMemory = (index: number) =>
        drive.get_from_cache(start + index * CHUNK_BYTES, CHUNK_BYTES) !== undefined;
      const inMemory = Array.from({ length: chunks }, (_, index) => isInMemory(index)).filter(Boolean).length;
      await check(start + stored - (8 << 20), 1 << 17);
      const again = statistics.chunksRead - afterAll;
      await drive.close();
      return { chunks, afterOpening, afterHoles, afterJumps, sequential, afterAll, inMemory, again };
    });
    expect(found.chunks).toBe(3200);
    expect(found.afterOpening).toBe(0);
    expect(found.afterHoles).toBe(0);
    // 256 KiB after a jump.
    expect(found.afterJumps).toBeLessThanOrEqual(30 * 9);
    expect(found.sequential).toBeLessThan(found.chunks / 20);
    expect(found.afterAll - found.afterJumps).toBeLessThanOrEqual(found.chunks + 64);
    expect(found.inMemory).toBeLessThanOrEqual(3072 + 64);
    expect(found.again).toBe(0);
  });
});

describe("the layers in the storage", () => {
  /** Begins to make a disk, and stops in the middle for good or until `kept.goOn` is called. */
  const beginImport = (page: Page, id: string) =>
    page.evaluate(
      (disk) =>
        new Promise<void>((begun) => {
          const { store, noise, kept } = window.diskBench;
          const gate = new Promise<void>((resolve) => {
            kept.goOn = resolve;
          });
          async function* pieces() {
            yield { offset: 0, bytes: noise(1, 9 << 20) };
            await gate;
            yield { offset: 9 << 20, bytes: noise(2, 1 << 20) };
          }
          let batches = 0;
          const onProgress = () => {
            batches += 1;
            if (batches === 2) begun();
          };
          kept.importing = store.put(disk, 16 << 20, pieces(), { onProgress });
          (kept.importing as Promise<void>).catch(() => {});
        }),
      id,
    );

  it("of an import whose page was killed are gone when the store is next opened", async () => {
    const one = await open();
    const two = await open();
    await one.evaluate(() => window.diskBench.store.put("other", 512, [{ offset: 0, bytes: new Uint8Array([1]) }]));
    await beginImport(one, "disk");
    const layers = () => two.evaluate(() => window.diskBench.layers());
    const during = await layers();
    expect(during.listed).toHaveLength(2);
    expect(during.filled).toHaveLength(2);
    await crash(one);
    await expect
      .poll(async () => {
        await two.evaluate(async () => (await window.diskBench.openDiskStore()).close());
        await (await open()).close();
        return layers();
      })
      .toEqual({ listed: during.used, used: during.used, filled: during.used });
    expect(await two.evaluate(() => window.diskBench.store.ids())).toEqual(["other"]);
  });

  it("stay while a page fills or uses them, whoever opens the store meanwhile", async () => {
    const one = await open();
    await one.evaluate(async () => {
      const { store, noise, plug, kept } = window.diskBench;
      await store.put("used", 1 << 20, [{ offset: 0, bytes: noise(1, 1 << 20) }]);
      kept.plugged = await plug("used");
    });
    await beginImport(one, "disk");
    const two = await open();
    const before = await two.evaluate(() => window.diskBench.layers());
    for (let round = 0; round < 3; round += 1)
      await two.evaluate(async () => {
        const store = await window.diskBench.openDiskStore();
        // To its end, which opening does not wait for.
        await (store as unknown as { sweep(): Promise<void> }).sweep();
        store.close();
      });
    expect(await two.evaluate(() => window.diskBench.layers())).toEqual(before);
    const right = await one.evaluate(async () => {
      const { noise, kept, wholeDisk } = window.diskBench;
      (kept.goOn as () => void)();
      await (kept.importing as Promise<void>);
      const { drive, set } = kept.plugged as Awaited<ReturnType<typeof window.diskBench.plug>>;
      const isDone = await set(0, noise(3, 512));
      await drive.close();
      const expected = new Uint8Array(16 << 20);
      expected.set(noise(1, 9 << 20));
      expected.set(noise(2, 1 << 20), 9 << 20);
      const whole = await wholeDisk("disk");
      const used = new Uint8Array(1 << 20);
      used.set(noise(1, 1 << 20));
      used.set(noise(3, 512));
      const other = await wholeDisk("used");
      return isDone && whole.every((byte, at) => byte === expected[at]) && other.every((byte, at) => byte === used[at]);
    });
    expect(right).toBe(true);
  });

  it("stay also when another page tidies up in the moment in which a layer is made", async () => {
    const one = await open();
    const two = await open();
    // The layer is there, its lock not yet.
    await one.evaluate(() => {
      const { store, noise, kept } = window.diskBench;
      const request = navigator.locks.request.bind(navigator.locks) as (...words: unknown[]) => Promise<unknown>;
      kept.asked = new Promise<void>((asked) => {
        const gate = new Promise<void>((resolve) => {
          kept.goOn = resolve;
        });
        navigator.locks.request = (async (name: string, ...rest: unknown[]) => {
          if (name.startsWith("smart-os:layer:")) {
            asked();
            await gate;
          }
          return request(name, ...rest);
        }) as typeof navigator.locks.request;
      });
      kept.importing = store.put("disk", 1 << 20, [{ offset: 0, bytes: noise(1, 1 << 20) }]);
      return kept.asked as Promise<void>;
    });
    await two.evaluate(() => {
      const { store, kept } = window.diskBench;
      kept.hasSwept = false;
      kept.sweeping = (store as unknown as { sweep(): Promise<void> }).sweep().then(() => {
        kept.hasSwept = true;
      });
    });
    // It has to end or to wait for the one that makes the layer.
    await two.waitForFunction(async () => {
      const { pending = [] } = await navigator.locks.query();
      return window.diskBench.kept.hasSwept === true || pending.length > 0;
    });
    await one.evaluate(() => (window.diskBench.kept.goOn as () => void)());
    await two.evaluate(() => window.diskBench.kept.sweeping as Promise<void>);
    const found = await one.evaluate(async () => {
      const { kept, layers, wholeDisk, noise } = window.diskBench;
      await (kept.importing as Promise<void>);
      const expected = noise(1, 1 << 20);
      return {
        ...(await layers()),
        isSame: (await wholeDisk("disk")).every((byte, at) => byte === expected[at]),
      };
    });
    expect(found).toMatchObject({ listed: found.used, filled: found.used, isSame: true });
  });
});

it("threw no error in any page of these tests", () => expect(faults).toEqual([]));
