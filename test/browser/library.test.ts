import type { BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Library } from "../../web/library.ts";
import { type Bench, loaded, startBench } from "./bench.ts";

/** What the test page puts on its window. `states` are all that the library has said, one "state problem" each. */
interface LibraryBench {
  library: Library;
  states: string[];
  noise(size: number): ReturnType<LibraryBench["file"]>;
  file(size: number): { path: string; kind: "file"; mode: number; content: Uint8Array };
  records: {
    get(id: string): Promise<{ revision: number; project: { name: string; files: unknown[] } } | undefined>;
    set(key: string, value: unknown): Promise<void>;
  };
}

const SCRIPT = `
  import { createStore, get, set } from "idb-keyval";
  import { openLibrary } from "/library.ts";
  const states = [];
  const file = (size) => ({ path: "/f", kind: "file", mode: 0o644, content: new Uint8Array(size).fill(7) });
  // Chromium compresses what it stores.
  const noise = (size) => ({ ...file(0), content: Uint8Array.from({ length: size }, () => Math.random() * 256) });
  const library = await openLibrary((state, problem) => states.push(problem ? state + " " + problem : state));
  const store = createStore("smart-os", "library");
  const records = { get: (id) => get("project:" + id, store), set: (key, value) => set(key, value, store) };
  window.bench = { library, states, file, noise, records };
`;

let bench: Bench;
let context: BrowserContext;
beforeAll(async () => {
  bench = await startBench(SCRIPT);
});
afterAll(() => bench.close());
beforeEach(async () => {
  context = await bench.browser.newContext();
  return () => context.close();
});

declare const window: { bench: LibraryBench } & Record<string, unknown>;

const lastState = (page: Page) => page.evaluate(() => window.bench.states.at(-1));
const until = (page: Page, state: string) =>
  page.waitForFunction((wanted) => window.bench.states.at(-1) === wanted, state, { timeout: 20_000 });

describe("the library", () => {
  it("keeps a project over a reload, with its files' bytes and its settings", async () => {
    const page = await bench.open(context);
    const id = await page.evaluate(() => {
      const { library, file } = window.bench;
      const project = library.create("mine");
      library.save({ ...project, files: [file(300)], memoryMb: 64 });
      library.saveBooted(project.id, { files: [], commandLine: "old", memoryMb: 32 });
      library.setLast(project.id);
      return project.id;
    });
    await until(page, "saved");
    await page.reload();
    await loaded(page);
    const read = await page.evaluate((id) => {
      const { library } = window.bench;
      const { name, memoryMb, files } = library.get(id) as NonNullable<ReturnType<Library["get"]>>;
      const content = files[0]?.kind === "file" ? [...files[0].content] : [];
      return { name, memoryMb, content, booted: library.booted(id), last: library.lastId() === id };
    }, id);
    expect(read).toEqual({
      name: "mine",
      memoryMb: 64,
      content: Array.from({ length: 300 }, () => 7),
      booted: { files: [], commandLine: "old", memoryMb: 32 },
      last: true,
    });
  });

  it("stores a burst of changes once, the last of them", async () => {
    const page = await bench.open(context);
    const stored = await page.evaluate(async () => {
      const { library, records, file } = window.bench;
      const project = library.create("burst");
      await library.flush();
      const before = (await records.get(project.id))?.revision as number;
      for (let size = 0; size < 50; size += 1) library.save({ ...project, files: [file(size)] });
      await library.flush();
      const after = await records.get(project.id);
      return { writes: (after?.revision as number) - before, files: after?.project.files };
    });
    expect(stored.writes).toBe(1);
    expect(stored.files).toMatchObject([{ content: { 48: 7 } }]);
  });

  // A browser that is very busy may drop what a page still says when it is left: it promises nothing.
  it.each(["created", "changed"])(
    "brings back what was %s just before the page was left",
    { retry: 2 },
    async (what) => {
      const page = await bench.open(context);
      const leave = async (code: () => Promise<string>): Promise<string> => {
        const id = await page.evaluate(code);
        await page.goto("about:blank");
        await page.goto(`${bench.url}blank`);
        await loaded(page);
        return id;
      };
      const names = () => page.evaluate(() => window.bench.library.list().map(({ name }) => name));
      if (what === "created") await leave(async () => window.bench.library.create("left").id);
      else
        await leave(async () => {
          const { library } = window.bench;
          const project = library.create("first");
          await library.flush();
          library.save({ ...project, name: "left" });
          return project.id;
        });
      expect(await names()).toEqual(["left"]);
      // Taken up once, not again and again.
      await page.evaluate(async () => {
        const { library } = window.bench;
        await library.flush();
        const [project] = library.list();
        if (project) library.save({ ...project, name: "later", updatedAt: project.updatedAt + 1 });
        await library.flush();
      });
      await page.reload();
      await loaded(page);
      expect(await names()).toEqual(["later"]);
    },
  );

  it("makes a copy of what was left when another tab has stored a version since", async () => {
    const [first, second] = [await bench.open(context), await bench.open(context)];
    const id = await first.evaluate(async () => {
      const { library } = window.bench;
      const project = library.create("shared");
      await library.flush();
      return project.id;
    });
    await second.evaluate(async (id) => {
      const { library } = window.bench;
      await library.reload(id);
      library.save({ ...(library.get(id) as NonNullable<ReturnType<Library["get"]>>), commandLine: "second" });
      await library.flush();
    }, id);
    await first.evaluate((id) => {
      const { library } = window.bench;
      library.save({ ...(library.get(id) as NonNullable<ReturnType<Library["get"]>>), commandLine: "first" });
    }, id);
    await first.goto("about:blank");
    const third = await bench.open(context);
    expect(
      await third.evaluate(() => window.bench.library.list().map(({ name, commandLine }) => `${name}: ${commandLine}`)),
    ).toEqual(["shared: second", "shared 2: first"]);
  });

  it("brings a removed project back, also after a reload", async () => {
    const page = await bench.open(context);
    const id = await page.evaluate(async () => {
      const { library } = window.bench;
      const { id } = library.create("gone");
      library.remove(id);
      await library.flush();
      return id;
    });
    await page.reload();
    await loaded(page);
    const seen = await page.evaluate((id) => {
      const { library } = window.bench;
      const names = () => library.list().map(({ name }) => name);
      const before = names();
      library.restore(id);
      return { before, after: names() };
    }, id);
    expect(seen).toEqual({ before: [], after: ["gone"] });
  });

  it("works in memory when the browser refuses storage, and says so", async () => {
    const page = await bench.open(
      context,
      "Object.defineProperty(window, 'indexedDB', { get() { throw new DOMException('no', 'SecurityError'); } })",
    );
    const name = await page.evaluate(async () => {
      const { library } = window.bench;
      const { id } = library.create("kept");
      await library.flush();
      return library.get(id)?.name;
    });
    expect(name).toBe("kept");
    expect(await lastState(page)).toBe("memory-only refused");
  });

  it("does not wait for a database that never opens", async () => {
    const page = await bench.open(context, "IDBFactory.prototype.open = () => ({})");
    expect(await page.evaluate(() => window.bench.library.create("kept").name)).toBe("kept");
    expect(await lastState(page)).toBe("memory-only refused");
  });

  it("keeps the work when storage is full, and stores it by itself when there is room again", async () => {
    const page = await bench.open(context);
    const control = await context.newCDPSession(page);
    const origin = new URL(bench.url).origin;
    // Before the first write: Chromium remembers for a while how much room there is.
    await control.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 100_000 });
    const id = await page.evaluate(async () => {
      const project = window.bench.library.create("large");
      await window.bench.library.flush();
      return project.id;
    });
    const size = await page.evaluate(async (id) => {
      const { library, noise } = window.bench;
      const project = library.get(id) as NonNullable<ReturnType<Library["get"]>>;
      library.save({ ...project, files: [noise(5_000_000)] });
      await library.flush();
      const kept = library.get(id)?.files[0];
      return kept?.kind === "file" ? kept.content.length : 0;
    }, id);
    expect(size).toBe(5_000_000);
    expect(await lastState(page)).toBe("failed full");
    await control.send("Storage.overrideQuotaForOrigin", { origin });
    await until(page, "saved");
    expect(await page.evaluate(async (id) => (await window.bench.records.get(id))?.project.files.length, id)).toBe(1);
  });

  it("never overwrites what another tab has stored, and goes on storing other projects", async () => {
    const [first, second] = [await bench.open(context), await bench.open(context)];
    const id = await first.evaluate(async () => {
      const project = window.bench.library.create("shared");
      await window.bench.library.flush();
      return project.id;
    });
    const save = (page: Page, name: string) =>
      page.evaluate(
        async ({ id, name }) => {
          const { library } = window.bench;
          library.save({ ...(library.get(id) as NonNullable<ReturnType<Library["get"]>>), name });
          await library.flush();
        },
        { id, name },
      );
    await second.evaluate((id) => window.bench.library.reload(id), id);
    await save(first, "by the first");
    await save(second, "by the second");
    expect(await lastState(second)).toBe("failed conflict");
    expect(await first.evaluate(async (id) => (await window.bench.records.get(id))?.project.name, id)).toBe(
      "by the first",
    );
    expect(await second.evaluate((id) => window.bench.library.get(id)?.name, id)).toBe("by the second");
    // A copy is the way out: the conflict of one project must not keep another from being stored.
    const copied = await second.evaluate(async () => {
      const { library, records } = window.bench;
      const copy = library.create("copy");
      await library.flush();
      return (await records.get(copy.id))?.project.name;
    });
    expect(copied).toBe("copy");
    await second.evaluate((id) => window.bench.library.reload(id), id);
    expect(await second.evaluate((id) => window.bench.library.get(id)?.name, id)).toBe("by the first");
    await save(second, "by the second, later");
    expect(await lastState(second)).toBe("saved");
  });

  it.each([
    ["null", null],
    ["a project of a later version", { revision: 1, project: { version: 2, id: "x", name: "later", files: [] } }],
    ["files that are none", { revision: 1, project: { version: 1, id: "x", name: "bad", files: [null, 7] } }],
    [
      "content that is no bytes",
      {
        revision: 1,
        project: {
          version: 1,
          id: "x",
          name: "bad",
          files: [{ path: "/a", kind: "file", mode: 420, content: "text" }],
        },
      },
    ],
  ])("reports a record with %s, keeps it aside, and opens the others", async (_, record) => {
    const page = await bench.open(context);
    await page.evaluate(async (record) => {
      window.bench.library.create("good");
      await window.bench.library.flush();
      await window.bench.records.set("project:x", record);
    }, record);
    await page.reload();
    await loaded(page);
    const seen = await page.evaluate(async () => {
      const { library, records } = window.bench;
      return { names: library.list().map(({ name }) => name), damaged: library.damaged, kept: await records.get("x") };
    });
    expect(seen).toEqual({ names: ["good"], damaged: ["x"], kept: record });
  });
});
