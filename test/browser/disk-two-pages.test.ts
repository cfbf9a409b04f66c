/** Two pages at one store, and layers whose page has gone. */
import type { Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { crash, useDiskBench } from "./disk-bench.ts";

const pages = useDiskBench();
const { open } = pages;

describe("a disk in two pages", () => {
  /** @returns whether the page may write to the disk, and whether what was written first is there */
  const plugIn = (page: Page) =>
    page.evaluate(async () => {
      const { plug, noise } = window.diskBench;
      const { drive, get } = await plug("disk");
      const expected = noise(1, 512);
      const isThere = (await get(0, 512))?.every((byte, at) => byte === expected[at]);
      await drive.close();
      return [drive.writable, isThere] as const;
    });

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
    expect(await plugIn(two)).toEqual([false, false]);
    await crash(one);
    await expect.poll(() => plugIn(two)).toEqual([true, true]);
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
    const isWhole = async () => (await plugIn(two))[1];
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

it("threw no error in any page of these tests", () => expect(pages.faults).toEqual([]));
