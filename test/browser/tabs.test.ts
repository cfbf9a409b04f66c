import type { BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Library } from "../../web/library.ts";
import type { Tabs } from "../../web/tabs.ts";
import { type Bench, startBench } from "./bench.ts";

/** What the test page puts on its window: library and tabs, wired as the page wires them. */
interface TabsBench {
  library: Library;
  tabs: Tabs;
  states: string[];
  hold(id: string): void;
  writable: boolean | null;
  /** The project's name at the moment at which this tab was last allowed to change it. */
  nameAtGrant: string | undefined;
}

const SCRIPT = `
  import { openLibrary } from "/library.ts";
  import { createTabs } from "/tabs.ts";
  const states = [];
  let open = "";
  const library = await openLibrary((state, problem) => {
    states.push(problem ? state + " " + problem : state);
    if (state === "saved") tabs.announce(open);
  });
  const tabs = createTabs(
    () => library.flush(),
    (id) => library.reload(id),
    (id) => { if (id === open && !bench.writable) void library.reload(id); },
  );
  const bench = { library, tabs, states, writable: null, nameAtGrant: undefined, hold(id) {
    open = id;
    tabs.hold(id, (writable) => {
      if (writable) bench.nameAtGrant = library.get(id)?.name;
      bench.writable = writable;
    });
  } };
  window.bench = bench;
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

declare const window: { bench: TabsBench } & Record<string, unknown>;

const hold = (page: Page, id: string) => page.evaluate((id) => window.bench.hold(id), id);
const becomes = (page: Page, writable: boolean) =>
  page.waitForFunction((wanted) => window.bench.writable === wanted, writable);
const rename = (page: Page, id: string, name: string) =>
  page.evaluate(
    ({ id, name }) => {
      const { library } = window.bench;
      library.save({ ...(library.get(id) as NonNullable<ReturnType<Library["get"]>>), name });
    },
    { id, name },
  );
const flush = (page: Page) => page.evaluate(() => window.bench.library.flush());
const nameAtGrant = (page: Page) => page.evaluate(() => window.bench.nameAtGrant);

async function openTwo(): Promise<{ first: Page; second: Page; id: string }> {
  const first = await bench.open(context);
  const id = await first.evaluate(async () => {
    const project = window.bench.library.create("as created");
    await window.bench.library.flush();
    return project.id;
  });
  await hold(first, id);
  await becomes(first, true);
  const second = await bench.open(context);
  await hold(second, id);
  await becomes(second, false);
  return { first, second, id };
}

describe("two tabs on one project", () => {
  it("shows in the second what the first stores", async () => {
    const { first, second, id } = await openTwo();
    await rename(first, id, "renamed");
    await second.waitForFunction((id) => window.bench.library.get(id)?.name === "renamed", id);
    expect(await second.evaluate(() => window.bench.writable)).toBe(false);
  });

  // Several times, because it is a race between a message and a lock.
  it.each([1, 2, 3, 4, 5, 6])("hands over with everything stored and read, time %d", async () => {
    const { first, second, id } = await openTwo();
    await rename(first, id, "not stored yet");
    await second.evaluate(() => window.bench.tabs.takeOver());
    await becomes(second, true);
    await becomes(first, false);
    expect(await nameAtGrant(second)).toBe("not stored yet");
    await rename(second, id, "by the second");
    await flush(second);
    expect(await second.evaluate(() => window.bench.states.at(-1))).toBe("saved");
    // When the second is closed, the first has the project again, as the second left it.
    await second.close();
    await becomes(first, true);
    expect(await nameAtGrant(first)).toBe("by the second");
  });
});
