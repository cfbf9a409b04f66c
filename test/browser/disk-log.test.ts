/** The log that small flushes go to: that it is used, that nothing of it is lost, and what becomes of it. */
import type { Page } from "playwright-core";
import { beforeEach, expect, it } from "vitest";
import { crash, useDiskBench } from "./disk-bench.ts";

/** What is on the disk of `killed`. */
const CONTENT = `window.content = () => {
  const { noise } = window.diskBench;
  const bytes = noise(0, 8 << 20);
  for (let at = 1; at <= 40; at += 1) bytes.set(noise(at, at % 2 ? 512 : 89600), ((at * 37) % 400) * 4096 + (at % 3) * 512);
  return bytes;
}`;

declare global {
  interface Window {
    content(): Uint8Array;
  }
}

const pages = useDiskBench();
let page: Page;
beforeEach(async () => {
  page = await pages.open(CONTENT);
});

/** A disk of noise 0 whose machine wrote noise to many places, flushed each time, and was killed. */
async function killed(): Promise<void> {
  const writer = await pages.open();
  await writer.evaluate(async () => {
    const { store, plug, noise } = window.diskBench;
    await store.put("disk", 8 << 20, [{ offset: 0, bytes: noise(0, 8 << 20) }]);
    const { set, flush } = await plug("disk");
    await flush();
    for (let at = 1; at <= 40; at += 1) {
      // Some over others, some across chunks, some of single sectors.
      await set(((at * 37) % 400) * 4096 + (at % 3) * 512, noise(at, at % 2 ? 512 : 89_600));
      await flush();
    }
  });
  await crash(writer);
}

const logKeys = (where: Page): Promise<number[][]> =>
  where.evaluate(() => window.diskBench.bare("log", "readonly", (all) => all.getAllKeys()) as Promise<number[][]>);

it("takes each small flush as new records in one transaction, and is empty when the drive is closed", async () => {
  const found = await page.evaluate(async () => {
    const { store, plug, noise, bare, transactions, wholeDisk } = window.diskBench;
    await store.put("disk", 8 << 20, []);
    const { drive, set, flush } = await plug("disk");
    await flush();
    const before = transactions.length;
    for (let at = 0; at < 10; at += 1) {
      await set(at * 100_352, noise(at, 4096));
      await set(at * 4096, noise(100 + at, 4096));
      await flush();
    }
    const made = transactions.slice(before);
    const keys = (await bare("log", "readonly", (all) => all.getAllKeys())) as number[][];
    const { pagesLogged, chunksWritten } = drive.statistics;
    await drive.close();
    const whole = await wholeDisk("disk");
    const right = Array.from({ length: 10 }, (_, at) =>
      noise(100 + at, 4096).every((byte, k) => whole[at * 4096 + k] === byte),
    );
    return {
      transactions: made.map(({ mode, durability, state }) => `${mode} ${durability} ${state}`),
      records: keys.length,
      pages: keys.reduce((sum, key) => sum + key.length - 2, 0),
      pagesLogged,
      chunksWritten,
      left: ((await bare("log", "readonly", (all) => all.getAllKeys())) as unknown[]).length,
      right: right.every(Boolean),
    };
  });
  expect(found).toEqual({
    transactions: Array(10).fill("readwrite strict complete"),
    records: 10,
    // Five of them begin in the middle of a page; two are in the same one.
    pages: 10 + 10 + 5 - 1,
    pagesLogged: 24,
    chunksWritten: 0,
    left: 0,
    right: true,
  });
});

it("is put in its place by whoever opens, reads, duplicates or merges the disk of a killed page", async () => {
  for (const what of ["open", "read", "duplicate", "merge", "facts"]) {
    await killed();
    expect((await logKeys(page)).length).toBeGreaterThan(40);
    const found = await page.evaluate(async (how) => {
      const { store, plug, wholeDisk } = window.diskBench;
      // The dead page's locks are given back a moment later.
      for (;;) {
        const { held = [] } = await navigator.locks.query();
        if (!held.some(({ name }) => name === "smart-os:disk:disk")) break;
      }
      const { changed } = (await store.facts("disk")) ?? {};
      const content = await store.content("disk");
      const isAt = await store.isAt("disk", { ...content, layers: content.layers.slice(0, -1) });
      if (how === "open") await (await plug("disk")).drive.close();
      if (how === "duplicate") await store.duplicate("disk", "copy");
      if (how === "merge") await store.merge("disk");
      const whole = await wholeDisk(how === "duplicate" ? "copy" : "disk");
      const right = window.content();
      if (how === "duplicate") await store.remove("copy");
      return { changed, isAt, right: whole.every((byte, at) => byte === right[at]) };
    }, what);
    expect([what, found]).toEqual([what, { changed: true, isAt: false, right: true }]);
    expect(await logKeys(page)).toEqual([]);
    await page.evaluate(() => window.diskBench.store.remove("disk"));
  }
});

it("goes with its disk, when that is reset or deleted or made anew", async () => {
  for (const what of ["reset", "remove", "put"] as const) {
    await killed();
    const right = await page.evaluate(async (how) => {
      const { store, noise, wholeDisk, refusal } = window.diskBench;
      while (await refusal(store.resize("disk", 8 << 20)));
      if (how === "reset") await store.reset("disk");
      else if (how === "remove") await store.remove("disk");
      else await store.put("disk", 8 << 20, [{ offset: 0, bytes: noise(0, 8 << 20) }]);
      if (how === "remove") return (await store.facts("disk")) === null;
      const whole = await wholeDisk("disk");
      return noise(0, 8 << 20).every((byte, at) => byte === whole[at]);
    }, what);
    expect([what, right, await logKeys(page)]).toEqual([what, true, []]);
  }
});

it("is taken into the chunks when it is long, and by a long write", async () => {
  const found = await page.evaluate(async () => {
    const { store, plug, noise, bare, wholeDisk } = window.diskBench;
    await store.put("disk", 64 << 20, []);
    const { drive, set, flush } = await plug("disk");
    await flush();
    const expected = new Uint8Array(64 << 20);
    const write = async (offset: number, bytes: Uint8Array) => {
      expected.set(bytes, offset);
      await set(offset, bytes.slice());
      await flush();
    };
    const length = async () => ((await bare("log", "readonly", (all) => all.getAllKeys())) as unknown[]).length;
    const lengths: number[] = [];
    // The same pages over and over, five records each time: the number of records is what counts.
    for (let at = 0; at < 130; at += 1) {
      await write(0, noise(at, 256 << 10));
      lengths.push(await length());
    }
    const chunks = drive.statistics.chunksWritten;
    // Pages of many chunks: what they keep in memory is what counts.
    for (let at = 0; at < 20; at += 1) {
      for (let k = 0; k < 59; k += 1) {
        const offset = (at * 60 + k) * 32_768 + 512;
        expected.set(noise(at * 60 + k, 512), offset);
        await set(offset, noise(at * 60 + k, 512));
      }
      await write((at * 60 + 59) * 32_768, noise(at, 512));
      lengths.push(await length());
    }
    await write(40 << 20, noise(1, 2 << 20));
    const afterLong = await length();
    await write(0, noise(2, 512));
    const later = await length();
    await drive.close();
    const whole = await wholeDisk("disk");
    return {
      most: Math.max(...lengths),
      chunks,
      all: drive.statistics.chunksWritten,
      afterLong,
      later,
      right: whole.every((byte, at) => byte === expected[at]),
    };
  });
  expect(found.most).toBeGreaterThan(300);
  // 511, and five more.
  expect(found.most).toBeLessThanOrEqual(516);
  expect(found.chunks).toBeGreaterThan(0);
  expect(found.all).toBeGreaterThan(384);
  expect(found).toMatchObject({ afterLong: 0, later: 1, right: true });
});

it.each(["a flipped bit", "a wrong length"])("makes a chunk a damaged one where %s damages it", async (damage) => {
  await page.evaluate(async () => {
    const { store, noise } = window.diskBench;
    await store.put("other", 1 << 20, [{ offset: 0, bytes: noise(0, 1 << 20) }]);
  });
  const writer = await pages.open();
  await writer.evaluate(async () => {
    const { store, plug, noise } = window.diskBench;
    await store.put("disk", 1 << 20, [{ offset: 0, bytes: noise(0, 1 << 20) }]);
    const { set, flush } = await plug("disk");
    await flush();
    await set(5 * 32_768, noise(1, 4096));
    await set(6 * 32_768, noise(2, 4096));
    await flush();
    await set(9 * 32_768, noise(3, 4096));
    await flush();
  });
  await crash(writer);
  const found = await page.evaluate(async (what) => {
    const { bare, plugAgain, noise, refusal, store } = window.diskBench;
    const [key] = (await bare("log", "readonly", (all) => all.getAllKeys())) as IDBValidKey[];
    const record = await bare<Uint8Array<ArrayBuffer>>("log", "readonly", (all) => all.get(key as IDBValidKey));
    const bad = record.slice();
    bad[100] = (bad[100] as number) ^ 1;
    await bare("log", "readwrite", (all) => all.put(what === "a flipped bit" ? bad : bad.slice(4), key as IDBValidKey));
    const plugged = await plugAgain("disk");
    const { get, set, flush, drive, problems } = plugged;
    const damaged: number[] = [];
    for (let index = 0; index < 32; index += 1) if (!(await get(index * 32_768, 32_768))) damaged.push(index);
    const third = await get(9 * 32_768, 4096);
    const isRight = noise(3, 4096).every((byte, at) => byte === third?.[at]);
    await flush();
    const isHealed = (await set(5 * 32_768, noise(4, 65_536))) && (await flush());
    const healed = await get(5 * 32_768, 32_768);
    await drive.close();
    return {
      damaged,
      kinds: [...new Set(problems.map(({ kind }) => kind))],
      isRight,
      isHealed,
      isNew: noise(4, 32_768).every((byte, at) => byte === healed?.[at]),
      later: await refusal(store.read("disk", ({ source }) => source.read(0, 1 << 20))),
    };
  }, damage);
  expect(found).toEqual({
    damaged: damage === "a flipped bit" ? [5] : [5, 6],
    kinds: ["damaged"],
    isRight: true,
    isHealed: true,
    isNew: true,
    later: "",
  });
});

it("is read by a page that only reads, before and while the disk's next writer puts it in its place", async () => {
  await killed();
  // A writer that has the disk and has not begun.
  await page.evaluate(async () => {
    await new Promise<void>((taken) => {
      void navigator.locks.request("smart-os:disk:disk", () => {
        taken();
        return new Promise<void>((release) => {
          window.diskBench.kept.release = release;
        });
      });
    });
  });
  const other = await pages.open(CONTENT);
  const read = (half: number): Promise<boolean | undefined> =>
    other.evaluate(async (which) => {
      const { kept, plug } = window.diskBench;
      kept.plugged ??= await plug("disk");
      const { get, drive } = kept.plugged as Awaited<ReturnType<typeof plug>>;
      const bytes = await get(which * (4 << 20), 4 << 20);
      const wanted = window.content();
      return !drive.writable && bytes?.every((byte, at) => byte === wanted[which * (4 << 20) + at]);
    }, half);
  expect(await read(0)).toBe(true);
  const logged = await page.evaluate(async () => {
    const { kept, plugAgain, bare, noise } = window.diskBench;
    (kept.release as () => void)();
    const { set, flush } = await plugAgain("disk");
    const keys = (await bare("log", "readonly", (all) => all.getAllKeys())) as unknown[];
    await set(0, noise(99, 8 << 20));
    await flush();
    return keys.length;
  });
  expect(logged).toBe(0);
  expect(await read(1)).toBe(true);
});

it("is left alone when the guest has switched the write cache off: each write is in its chunk when it is answered", async () => {
  const found = await page.evaluate(async () => {
    const { store, plug, noise, bare, record, readChunks, openDatabase } = window.diskBench;
    await store.put("disk", 1 << 20, []);
    const { drive, set, flush } = await plug("disk");
    await flush();
    await set(0, noise(1, 4096));
    await flush();
    await set(4096, noise(2, 4096));
    drive.setCaching(false);
    await flush();
    await set(8192, noise(3, 4096));
    const { layers } = await record("disk");
    const [chunk] = await readChunks(await openDatabase(), layers, 0, 0);
    const log = ((await bare("log", "readonly", (all) => all.getAllKeys())) as unknown[]).length;
    const isStored = [1, 2, 3].map((seed) =>
      noise(seed, 4096).every((byte, at) => (chunk as Uint8Array)[(seed - 1) * 4096 + at] === byte),
    );
    drive.setCaching(true);
    await flush();
    await set(12_288, noise(4, 4096));
    await flush();
    const again = ((await bare("log", "readonly", (all) => all.getAllKeys())) as unknown[]).length;
    await drive.close();
    return { log, isStored, again };
  });
  expect(found).toEqual({ log: 0, isStored: [true, true, true], again: 1 });
});
