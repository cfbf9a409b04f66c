/** A drive's write cache, for guests that flush it, and the groups in which it stores long writes. */
import type { Page } from "playwright-core";
import { beforeEach, expect, it } from "vitest";
import { crash, useDiskBench } from "./disk-bench.ts";

const MIB = 1024 * 1024;

const { open } = useDiskBench();
let page: Page;
beforeEach(async () => {
  page = await open();
});

it("answers writes at once from the first flush on, and a flush when all is in the storage", async () => {
  const found = await page.evaluate(async () => {
    const { store, plug, noise, record, readChunks, openDatabase, transactions } = window.diskBench;
    await store.put("disk", 8 << 20, []);
    const { drive, set, flush } = await plug("disk");
    let isAnswered = false;
    drive.set(0, noise(1, 4096), () => {
      isAnswered = true;
    });
    const isThrough = !isAnswered;
    const turn = () => new Promise((resolve) => setTimeout(resolve));
    await flush();
    await turn();
    let isFlushedAtOnce = false;
    drive.flush(() => {
      isFlushedAtOnce = true;
    });
    let answered = 0;
    for (let at = 0; at < 30; at += 1)
      drive.set(at * 100_352, noise(at, 100_352), () => {
        answered += 1;
      });
    const isBehind = drive.isBusy?.();
    const before = answered;
    await flush();
    await turn();
    const isStored = !drive.isBusy?.();
    // What lies in the storage, beside the drive.
    const { layers } = await record("disk");
    const chunks = await readChunks(await openDatabase(), layers, 0, 255);
    const right = Array.from({ length: 30 }, (_, at) => {
      const bytes = noise(at, 100_352);
      return bytes.every((byte, k) => {
        const place = at * 100_352 + k;
        const chunk = chunks[Math.floor(place / 32768)];
        return chunk instanceof Uint8Array && chunk[place % 32768] === byte;
      });
    });
    // The few chunks of a small flush are written on the page's own thread.
    await set(5 << 20, noise(7, 512));
    await flush();
    const durability = [
      ...new Set(transactions.filter(({ mode }) => mode !== "readonly").map((one) => one.durability)),
    ];
    await drive.close();
    return { isThrough, isFlushedAtOnce, before, isBehind, isStored, right: right.every(Boolean), durability };
  });
  expect(found).toEqual({
    isThrough: true,
    isFlushedAtOnce: true,
    before: 30,
    isBehind: true,
    isStored: true,
    right: true,
    durability: ["strict"],
  });
});

it("is stored without a flush as well, soon, and when the drive is closed", async () => {
  const right = await page.evaluate(async () => {
    const { store, plug, noise, wholeDisk } = window.diskBench;
    await store.put("disk", 1 << 20, []);
    const { drive, set, flush } = await plug("disk");
    await flush();
    await set(4096, noise(1, 4096));
    while (drive.isBusy?.()) await new Promise((resolve) => setTimeout(resolve, 5));
    await set(8192, noise(2, 4096));
    await drive.close();
    const whole = await wholeDisk("disk");
    return [1, 2].every((seed) => noise(seed, 4096).every((byte, at) => whole[seed * 4096 + at] === byte));
  });
  expect(right).toBe(true);
});

it("stores long writes in groups, which small ones, folding, resizing and editing take into account", async () => {
  const found = await page.evaluate(async () => {
    const { store, plug, noise, bare, key, wholeDisk, CHUNK_BYTES } = window.diskBench;
    await store.put("disk", 8 << 20, [{ offset: 0, bytes: noise(0, 8 << 20) }]);
    const expected = noise(0, 8 << 20);
    const { drive, set, flush } = await plug("disk");
    const write = async (offset: number, bytes: Uint8Array) => {
      expected.set(bytes, offset);
      if (!(await set(offset, bytes.slice()))) throw new Error("a write failed");
    };
    await flush();
    await write(3 * CHUNK_BYTES, noise(1, 3 << 20));
    await flush();
    const start = await key("disk", -1, 0);
    const held = async () => {
      const keys = ((await bare("chunks", "readonly", (all) => all.getAllKeys())) as number[]).map(
        (one) => one - start,
      );
      return {
        groups: keys.filter((one) => one >= 2 ** 23 && one < 2 ** 24).length,
        alone: keys.filter((one) => one >= 0 && one < 2 ** 23).length,
      };
    };
    const long = await held();
    await write(20 * CHUNK_BYTES + 512, noise(2, 512));
    await flush();
    const small = await held();
    await write(16 * CHUNK_BYTES, noise(3, 32 * CHUNK_BYTES));
    await flush();
    const over = await held();
    // Zeros take no room worth the name.
    await write(48 * CHUNK_BYTES, new Uint8Array(16 * CHUNK_BYTES));
    await flush();
    await drive.close();
    const isRight = async (what: string) => {
      const whole = await wholeDisk("disk");
      if (whole.length !== expected.length || whole.some((byte, at) => byte !== expected[at]))
        throw new Error(`wrong bytes after ${what}`);
    };
    await isRight("writing");
    await store.merge("disk");
    await isRight("merging");
    // Cut in the middle of a group, and grown again: what was cut is zeros.
    const cut = 40 * CHUNK_BYTES;
    await store.resize("disk", cut);
    await store.rewrite("disk", async () => ({ size: cut, pieces: [{ offset: 0, length: cut, source: 0, from: 0 }] }));
    await store.resize("disk", 8 << 20);
    expected.fill(0, cut);
    await isRight("cutting");
    return { long, small, over };
  });
  // 96 chunks from the third on: five groups, a sixth with what the drive knows of it, and three chunks of a seventh.
  expect(found).toEqual({
    long: { groups: 6, alone: 3 },
    // That is in the log.
    small: { groups: 6, alone: 3 },
    over: { groups: 6, alone: 3 },
  });
});

it("keeps what the storage refuses, tells the guest when it flushes, and stores it when there is room", async () => {
  const session = await page.context().newCDPSession(page);
  await session.send("Storage.overrideQuotaForOrigin", { origin: new URL(page.url()).origin, quotaSize: 8 * MIB });
  const full = await page.evaluate(async () => {
    const { store, plug, noise, kept } = window.diskBench;
    await store.put("disk", 64 << 20, []);
    const plugged = await plug("disk");
    kept.plugged = plugged;
    const { set, get, flush, problems } = plugged;
    const first = (await set(0, noise(1, 4096))) && (await flush());
    const written: boolean[] = [];
    for (let at = 1; at <= 12; at += 1) written.push(await set(at << 20, noise(at, 1 << 20)));
    const isFlushed = await flush();
    // It is not taken into a cache that cannot be stored.
    const isTaken = await set(20 << 20, noise(20, 4096));
    const read: boolean[] = [];
    for (let at = 1; at <= 12; at += 1) {
      const bytes = await get(at << 20, 1 << 20);
      read.push(noise(at, 1 << 20).every((byte, k) => bytes?.[k] === (written[at - 1] ? byte : 0)));
    }
    kept.written = written;
    return { first, isFlushed, isTaken, read, kinds: [...new Set(problems.map(({ kind }) => kind))] };
  });
  expect(full).toEqual({ first: true, isFlushed: false, isTaken: false, read: Array(12).fill(true), kinds: ["quota"] });
  await session.detach();
  const again = await page.evaluate(async () => {
    const { kept, noise, wholeDisk } = window.diskBench;
    const { drive, flush, problems } = kept.plugged as Awaited<ReturnType<typeof window.diskBench.plug>>;
    problems.length = 0;
    const isFlushed = await flush();
    await drive.close();
    const whole = await wholeDisk("disk");
    const right = (kept.written as boolean[]).map((isWritten, at) =>
      noise(at + 1, 1 << 20).every((byte, k) => whole[((at + 1) << 20) + k] === (isWritten ? byte : 0)),
    );
    return {
      isFlushed,
      problems,
      right: right.every(Boolean),
      first: noise(1, 4096).every((b, at) => whole[at] === b),
    };
  });
  expect(again).toEqual({ isFlushed: true, problems: [], right: true, first: true });
});

it.each(["a flipped bit", "a wrong length", "another group"])(
  "finds %s in a group, and what is whole in it is read",
  async (damage) => {
    const found = await page.evaluate(async (what) => {
      const { store, plug, noise, bare, key, refusal, CHUNK_BYTES } = window.diskBench;
      await store.put("disk", 4 << 20, []);
      const first = await plug("disk");
      await first.flush();
      await first.set(0, noise(1, 1 << 20));
      await first.flush();
      const at = (await key("disk", -1, 0)) + 2 ** 23;
      await first.drive.close();
      const record = await bare<Uint8Array<ArrayBuffer>>("chunks", "readonly", (all) => all.get(at));
      const next = await bare<Uint8Array<ArrayBuffer>>("chunks", "readonly", (all) => all.get(at + 1));
      const bad = record.slice();
      bad[5 * CHUNK_BYTES + 9] = (bad[5 * CHUNK_BYTES + 9] as number) ^ 1;
      const value = what === "a flipped bit" ? bad : what === "a wrong length" ? bad.slice(8) : next;
      await bare("chunks", "readwrite", (all) => all.put(value, at));
      const words = await refusal(store.read("disk", ({ source }) => source.read(5 * CHUNK_BYTES, 512)));
      const { get, set, flush, drive, problems } = await plug("disk");
      const damaged: number[] = [];
      const written = noise(1, 1 << 20);
      for (let index = 0; index < 32; index += 1) {
        const bytes = await get(index * CHUNK_BYTES, CHUNK_BYTES);
        if (!bytes) damaged.push(index);
        else if (bytes.some((byte, k) => byte !== written[index * CHUNK_BYTES + k])) throw new Error("wrong");
      }
      await flush();
      const isHealed = (await set(0, noise(2, 1 << 20))) && (await flush());
      await drive.close();
      const later = await store.read("disk", ({ source }) => source.read(0, 1 << 20));
      return {
        words,
        damaged,
        kinds: [...new Set(problems.map(({ kind }) => kind))],
        isHealed,
        later: noise(2, 1 << 20).every((byte, k) => byte === later[k]),
      };
    }, damage);
    expect(found).toEqual({
      words: expect.stringMatching(/^Error: Cannot read chunk 5: /),
      damaged: damage === "a flipped bit" ? [5] : Array.from({ length: 16 }, (_, at) => at),
      kinds: ["damaged"],
      isHealed: true,
      later: true,
    });
  },
);

it("is there after the page was killed, once it was flushed", async () => {
  for (let round = 0; round < 3; round += 1) {
    const writer = await open();
    const flushed = new Map<number, number>();
    let crashed: Promise<unknown> | null = null;
    await writer.exposeFunction("acknowledge", (from: number, to: number) => {
      for (let stamp = from; stamp < to; stamp += 1) flushed.set((stamp * 1237) % 4096, stamp);
      if (flushed.size < 60 + round * 50 || crashed) return;
      crashed = crash(writer);
    });
    await writer
      .evaluate(async () => {
        const { store, plug, noise } = window.diskBench;
        const { acknowledge } = window as unknown as { acknowledge(from: number, to: number): Promise<void> };
        await store.put("disk", 4096 * 4096, [{ offset: 0, bytes: noise(0, 8192) }]);
        const { drive, flush } = await plug("disk");
        for (let stamp = 1; ; ) {
          const from = stamp;
          for (; stamp < from + 7; stamp += 1) drive.set(((stamp * 1237) % 4096) * 4096, noise(stamp, 4096), () => {});
          await flush();
          void acknowledge(from, stamp);
        }
      })
      .catch(() => {});
    await crashed;
    const missing = await page.evaluate((written) => window.diskBench.lost("disk", written), [...flushed]);
    expect(flushed.size).toBeGreaterThanOrEqual(60);
    expect(missing).toEqual([]);
  }
});

it("reads disks that were stored before there were groups, and writes to them", async () => {
  await page.evaluate(async () => {
    const { store, plug, noise, bare } = window.diskBench;
    await store.put("disk", 4 << 20, [{ offset: 0, bytes: noise(1, 1 << 20) }]);
    const { drive, set } = await plug("disk");
    await set(100_352, noise(2, 4096));
    await drive.close();
    // The same as the first version of the database had it.
    const names = ["disks", "layers", "chunks"];
    const all = await Promise.all(
      names.map(async (name) => ({
        keys: await bare(name, "readonly", (one) => one.getAllKeys()),
        values: await bare<unknown[]>(name, "readonly", (one) => one.getAll()),
      })),
    );
    store.close();
    const asked = <T>(request: IDBRequest<T>) =>
      new Promise<T>((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    await asked(indexedDB.deleteDatabase("smart-os-disks"));
    const request = indexedDB.open("smart-os-disks", 1);
    request.onupgradeneeded = () => {
      const database = request.result;
      database.createObjectStore("disks", { keyPath: "id" });
      database.createObjectStore("layers", { autoIncrement: true });
      database.createObjectStore("chunks");
      database.createObjectStore("made 1-2-3-4");
    };
    const database = await asked(request);
    const transaction = database.transaction(names, "readwrite");
    for (const [at, name] of names.entries())
      for (const [k, key] of all[at]?.keys.entries() ?? [])
        if (name === "disks") transaction.objectStore(name).put(all[at]?.values[k]);
        else transaction.objectStore(name).put(all[at]?.values[k], key);
    await new Promise((resolve) => {
      transaction.oncomplete = resolve;
    });
    // As that version's page does when a newer one comes.
    database.onversionchange = () => database.close();
  });
  const newer = await open();
  const right = await newer.evaluate(async () => {
    const { plug, noise, wholeDisk } = window.diskBench;
    const expected = new Uint8Array(4 << 20);
    expected.set(noise(1, 1 << 20));
    expected.set(noise(2, 4096), 100_352);
    const isSame = async () => (await wholeDisk("disk")).every((byte, at) => byte === expected[at]);
    const before = await isSame();
    const { drive, set, flush } = await plug("disk");
    await flush();
    await set(524_288, noise(3, 1 << 20));
    expected.set(noise(3, 1 << 20), 524_288);
    await drive.close();
    return [before, await isSame()];
  });
  expect(right).toEqual([true, true]);
});
