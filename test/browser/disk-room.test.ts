/** What a storage that has no room left does to disks: nothing that was synced is lost, and everything can be read. */
import type { Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { crash, useDiskBench } from "./disk-bench.ts";

const MIB = 1024 * 1024;
const pages = useDiskBench();

describe("a storage without room", () => {
  /**
   * To be called before the page's first write: what Chromium then knows of the room that is left, it believes for a while.
   * @returns a function that takes the limit away, as the end of the session does that set it
   */
  async function limit(page: Page, quotaSize: number): Promise<() => Promise<void>> {
    const session = await page.context().newCDPSession(page);
    await session.send("Storage.overrideQuotaForOrigin", { origin: new URL(page.url()).origin, quotaSize });
    return () => session.detach();
  }

  it("gives the guest an I/O error, loses nothing of before, and works again when there is room", async () => {
    const page = await pages.open();
    const lift = await limit(page, 8 * MIB);
    await page.evaluate(async () => {
      const { store, noise, plug, kept } = window.diskBench;
      await store.put("disk", 64 << 20, [{ offset: 0, bytes: noise(0, 65536) }]);
      const plugged = await plug("disk");
      kept.plugged = plugged;
      if (!(await plugged.set(0, noise(1, 4096)))) throw new Error("the first write failed");
    });
    const full = await page.evaluate(async () => {
      const { noise, kept } = window.diskBench;
      const { set, get, problems } = kept.plugged as Awaited<ReturnType<typeof window.diskBench.plug>>;
      const writes = Array.from({ length: 60 }, (_, at) => set((1 << 20) * (at + 1), noise(100 + at, 300_032)));
      const done = await Promise.all(writes);
      const isSame = async (offset: number, bytes: Uint8Array) =>
        (await get(offset, bytes.length))?.every((byte, at) => byte === bytes[at]) ?? false;
      const right: boolean[] = [await isSame(0, noise(1, 4096))];
      for (const [at, isDone] of done.entries())
        right.push(await isSame((1 << 20) * (at + 1), isDone ? noise(100 + at, 300_032) : new Uint8Array(300_032)));
      kept.done = done;
      return {
        done: done.filter(Boolean).length,
        kinds: [...new Set(problems.map(({ kind }) => kind))],
        faults: problems.length,
        offsets: problems.map(({ offset }) => offset / (1 << 20) - 1).every((at) => done[at] === false),
        right: right.every(Boolean),
      };
    });
    expect(full.kinds).toEqual(["quota"]);
    expect(full.done).toBeGreaterThan(0);
    expect(full.done).toBeLessThan(60);
    expect(full).toMatchObject({ faults: 60 - full.done, offsets: true, right: true });

    await lift();
    const again = await page.evaluate(async () => {
      const { noise, kept } = window.diskBench;
      const { set, problems, drive } = kept.plugged as Awaited<ReturnType<typeof window.diskBench.plug>>;
      problems.length = 0;
      const isDone = await set((1 << 20) * 62, noise(900, 300_032));
      await drive.close();
      return { isDone, problems, done: kept.done as boolean[] };
    });
    expect(again).toMatchObject({ isDone: true, problems: [] });
    await page.close();
    // Another page reads it from the storage itself.
    const right = await (await pages.open()).evaluate(async (done) => {
      const { noise, wholeDisk } = window.diskBench;
      const whole = await wholeDisk("disk");
      const expected = new Uint8Array(whole.length);
      expected.set(noise(0, 65536));
      expected.set(noise(1, 4096));
      for (const [at, isDone] of done.entries())
        if (isDone) expected.set(noise(100 + at, 300_032), (1 << 20) * (at + 1));
      expected.set(noise(900, 300_032), (1 << 20) * 62);
      return whole.every((byte, at) => byte === expected[at]);
    }, again.done);
    expect(right).toBe(true);
  });

  it("refuses a new content with QuotaExceededError and leaves the old one", async () => {
    const page = await pages.open();
    const lift = await limit(page, 16 * MIB);
    const before = await page.evaluate(async () => {
      const { store, noise, sum, wholeDisk } = window.diskBench;
      await store.put("disk", 1 << 20, [{ offset: 0, bytes: noise(0, 500_000) }]);
      return sum(await wholeDisk("disk"));
    });
    const found = await page.evaluate(async () => {
      const { store, noise, sum, refusal, wholeDisk, layers } = window.diskBench;
      const words = await refusal(store.put("disk", 64 << 20, [{ offset: 0, bytes: noise(1, 40 << 20) }]));
      const fresh = await refusal(store.put("fresh", 64 << 20, [{ offset: 0, bytes: noise(2, 40 << 20) }]));
      const { listed, used, filled } = await layers();
      return { words, fresh, sum: await sum(await wholeDisk("disk")), ids: await store.ids(), listed, used, filled };
    });
    expect(found.words).toMatch(/^QuotaExceededError/);
    expect(found.fresh).toMatch(/^QuotaExceededError/);
    expect(found).toMatchObject({ sum: before, ids: ["disk"], listed: found.used, filled: found.used });
    await lift();
    await page.evaluate(() => window.diskBench.store.put("disk", 64 << 20, [{ offset: 0, bytes: new Uint8Array(1) }]));
  });

  it("keeps a killed page's log, with which the disk is read and opened, until there is room to put it in its place", async () => {
    const page = await pages.open();
    const lift = await limit(page, 24 * MIB);
    await page.evaluate(async () => {
      const { store, noise } = window.diskBench;
      await store.put("disk", 64 << 20, [{ offset: 0, bytes: noise(0, 8 << 20) }]);
    });
    const writer = await pages.open();
    await writer.evaluate(async () => {
      const { plug, noise, key, bare } = window.diskBench;
      const { set, flush } = await plug("disk");
      await flush();
      // Chunks that were there, one that was not, and, last, a page of the log that is damaged.
      for (const at of [...Array(200).keys(), 40 * 32, 201]) {
        await set(at * 32_768 + 4096, noise(at + 1, 4096));
        await flush();
      }
      if (!(await key("disk", -1, 0))) throw new Error("the disk has no layer");
      const keys = (await bare("log", "readonly", (all) => all.getAllKeys())) as number[][];
      await bare("log", "readwrite", (all) => all.put(new Uint8Array(4100), keys.at(-1) as number[]));
    });
    // All the room that is left goes to other disks, however little that is.
    await writer.evaluate(async () => {
      const { store, noise, refusal } = window.diskBench;
      let number = 0;
      for (const bytes of [1 << 20, 1 << 15, 0])
        while ((await refusal(store.put(`other ${number}`, 1 << 20, [{ offset: 0, bytes: noise(1, bytes) }]))) === "")
          number += 1;
    });
    await crash(writer);
    const found = await page.evaluate(async () => {
      const { store, plugAgain, noise, wholeDisk, refusal, bare, kept } = window.diskBench;
      const expected = new Uint8Array(64 << 20);
      expected.set(noise(0, 8 << 20));
      for (const at of [...Array(200).keys(), 40 * 32]) expected.set(noise(at + 1, 4096), at * 32_768 + 4096);
      kept.expected = expected;
      const isRight = (bytes: Uint8Array | null, from: number) =>
        bytes?.every((byte, at) => byte === expected[from + at]) ?? false;
      const logged = async () => ((await bare("log", "readonly", (all) => all.getAllKeys())) as unknown[]).length;

      const plugged = await plugAgain("disk");
      kept.plugged = plugged;
      const opened = {
        start: isRight(await plugged.get(0, 201 * 32_768), 0),
        hole: isRight(await plugged.get(32 << 20, 8 << 20), 32 << 20),
        damaged: await plugged.get(201 * 32_768, 32_768),
        write: await plugged.set(0, noise(7, 4096)),
        flush: await plugged.flush(),
        after: isRight(await plugged.get(0, 8192), 0),
        kinds: plugged.problems.map(({ kind }) => kind),
      };
      await plugged.drive.close();
      const read = await store.read("disk", async ({ source, extents }) => {
        const before = isRight(await source.read(0, 201 * 32_768), 0);
        const behind = isRight(await source.read(32 << 20, 8 << 20), 32 << 20);
        let walked = 0;
        const words = await refusal(
          (async () => {
            for await (const { offset, bytes } of extents()) {
              if (!isRight(bytes, offset)) throw new Error(`wrong at ${offset}`);
              walked += bytes.length;
            }
          })(),
        );
        return { before, behind, walked: walked > 0, words };
      });
      return {
        opened,
        read,
        whole: await refusal(wholeDisk("disk")),
        duplicate: await refusal(store.duplicate("disk", "copy")),
        logged: await logged(),
      };
    });
    expect(found).toMatchObject({
      opened: {
        start: true,
        hole: true,
        damaged: null,
        write: false,
        flush: true,
        after: true,
        kinds: ["damaged", "quota"],
      },
      read: { before: true, behind: true, walked: true },
      logged: 202,
    });
    expect(found.read.words).toContain("Cannot read chunk 201");
    expect(found.whole).toContain("Cannot read chunk 201");
    expect(found.duplicate).toMatch(/^QuotaExceededError/);

    // With a machine that has it, another page reads the same.
    await page.evaluate(async () => {
      window.diskBench.kept.plugged = await window.diskBench.plugAgain("disk");
    });
    const other = await pages.open();
    const seen = await other.evaluate(async () => {
      const { plug, noise, sum } = window.diskBench;
      const { drive, get } = await plug("disk");
      const bytes = (await get(0, 200 * 32_768)) as Uint8Array;
      await drive.close();
      const expected = noise(0, 200 * 32_768);
      for (let at = 0; at < 200; at += 1) expected.set(noise(at + 1, 4096), at * 32_768 + 4096);
      return { writable: drive.writable, isRight: (await sum(bytes)) === (await sum(expected)) };
    });
    expect(seen).toEqual({ writable: false, isRight: true });
    await other.close();

    // There is room again: the same machine goes on.
    await lift();
    const after = await page.evaluate(async () => {
      const { noise, kept, bare } = window.diskBench;
      const { set, flush, get, drive } = kept.plugged as Awaited<ReturnType<typeof window.diskBench.plug>>;
      const done = [
        await set(0, noise(7, 4096)),
        await flush(),
        await set(201 * 32_768, noise(8, 32_768)),
        await flush(),
      ];
      const bytes = await get(0, 202 * 32_768);
      await drive.close();
      const logged = ((await bare("log", "readonly", (all) => all.getAllKeys())) as unknown[]).length;
      const expected = kept.expected as Uint8Array;
      expected.set(noise(7, 4096));
      expected.set(noise(8, 32_768), 201 * 32_768);
      return { done, logged, isRight: bytes?.every((byte, at) => byte === expected[at]) };
    });
    expect(after).toEqual({ done: [true, true, true, true], logged: 0, isRight: true });
    const right = await page.evaluate(async () => {
      const { wholeDisk, kept } = window.diskBench;
      const whole = await wholeDisk("disk");
      return whole.every((byte, at) => byte === (kept.expected as Uint8Array)[at]);
    });
    expect(right).toBe(true);
  });

  it("lets a disk be reset and deleted, which makes room", async () => {
    const page = await pages.open();
    await limit(page, 24 * MIB);
    const found = await page.evaluate(async () => {
      const { store, plug, noise, refusal, wholeDisk } = window.diskBench;
      await store.put("disk", 64 << 20, [{ offset: 0, bytes: noise(0, 2 << 20) }]);
      const { set, flush, drive } = await plug("disk");
      await flush();
      for (let at = 0; at < 8; at += 1) await set(at << 20, noise(at + 1, 1 << 20));
      await flush();
      await drive.close();
      let number = 0;
      for (const bytes of [1 << 20, 1 << 15, 0])
        while ((await refusal(store.put(`other ${number}`, 1 << 20, [{ offset: 0, bytes: noise(1, bytes) }]))) === "")
          number += 1;
      const before = await store.facts("disk");
      const reset = await refusal(store.reset("disk"));
      const after = await store.facts("disk");
      const first = noise(0, 2 << 20);
      const whole = await wholeDisk("disk");
      const isRight = whole.every((byte, at) => byte === (first[at] ?? 0));
      const removed: string[] = [];
      for (const id of await store.ids()) removed.push(await refusal(store.remove(id)));
      return {
        before: before?.changed,
        reset,
        after: after?.changed,
        less: (before?.storedBytes ?? 0) - (after?.storedBytes ?? 0),
        isRight,
        removed: removed.every((words) => words === ""),
        left: await store.ids(),
      };
    });
    expect(found).toEqual({
      before: true,
      reset: "",
      after: false,
      less: 8 * MIB,
      isRight: true,
      removed: true,
      left: [],
    });
  });
});
