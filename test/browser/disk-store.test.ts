/** What the store holds, and drives on it. */
import { describe, expect, it } from "vitest";
import type { Piece } from "../../worker/format/sparse-image.ts";
import { useDiskBench } from "./disk-bench.ts";
import type { ModelReport } from "./disk-store.model.ts";

const pages = useDiskBench();
const { open } = pages;

const MIB = 1024 * 1024;
/** How long chance has its way with the model, in all. */
const MODEL_MS = 8_000;

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

it("threw no error in any page of these tests", () => expect(pages.faults).toEqual([]));
