/** Damaged chunks are found, and said. */
import { describe, expect, it } from "vitest";
import { useDiskBench } from "./disk-bench.ts";

const pages = useDiskBench();
const { open } = pages;

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

it("threw no error in any page of these tests", () => expect(pages.faults).toEqual([]));
