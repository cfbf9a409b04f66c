/** The disks view on the views' test page, and what its tests do and look for there. */
import type { BrowserContextOptions, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, expect } from "vitest";
import { startViews, type Views } from "./views.ts";

const DESK = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };

let views: Views;
const faults: string[] = [];

beforeAll(async () => {
  views = await startViews();
});
afterAll(async () => {
  await views?.close();
  // None of a file's tests may have thrown an error in a page.
  expect(faults).toEqual([]);
});

/** A page of a scenario (views.states.ts), with the view of disks in the foreground. */
export async function open(query: string, viewport = DESK, options: BrowserContextOptions = {}): Promise<Page> {
  const page = await (await views.browser.newContext({ viewport, timezoneId: "UTC", ...options })).newPage();
  page.on("pageerror", (error) => faults.push(`${query}: ${error.message}`));
  await page.goto(`${views.url}?${query}`);
  await page.waitForFunction(() => window.harness !== undefined);
  await (viewport === PHONE ? page.getByTestId("panel-disks") : page.getByTestId("place-disks")).click();
  return page;
}

/** What was called of `actions.disks`, files as their names. */
export const calls = (page: Page) =>
  page.evaluate(() =>
    window.harness.calls
      .filter(([name]) => name.startsWith("disks."))
      .map(([name, ...values]) => [
        name.slice("disks.".length),
        ...values.map((value) =>
          value instanceof File
            ? value.name
            : Array.isArray(value)
              ? value.map((item) => (item?.file instanceof File ? item.path : item))
              : value,
        ),
      ]),
  );
export const disk = (page: Page, id: string): Locator => page.locator(`[data-disk="${id}"]`);
export const button = (page: Page, id: string, what: string): Locator => disk(page, id).getByTestId(`disk-${what}`);
export const dialog = (page: Page): Locator => page.locator("dialog[open]");
export const confirm = (page: Page) => dialog(page).locator('button[type="submit"]').click();
export const fault = (page: Page) => dialog(page).locator(".fault:visible").allInnerTexts();
export const choose = async (page: Page, id: string, item: string | RegExp) => {
  await button(page, id, "more").click();
  await page.getByRole(typeof item === "string" ? "menuitem" : "menuitemradio", { name: item }).click();
};
export const set = (page: Page, id: string, change: Record<string, unknown>) =>
  page.evaluate(
    ([wanted, what]) =>
      window.harness.set({
        disks: window.harness.state().disks.map((row) => (row.id === wanted ? { ...row, ...(what as object) } : row)),
      }),
    [id, change] as const,
  );
export const entry = (page: Page, path: string): Locator => page.locator(`.entry[data-path="${path}"]`);
export const browse = async (page: Page): Promise<void> => {
  await button(page, "course", "files").click();
  await entry(page, "/notes").waitFor();
};
export const focusedEntry = (page: Page) =>
  page.evaluate(() => document.activeElement?.closest<HTMLElement>(".entry")?.dataset.path);
export const dropped = (page: Page, ...names: string[]) =>
  page.evaluateHandle((wanted) => {
    const data = new DataTransfer();
    for (const name of wanted) data.items.add(new File(["content"], name));
    return data;
  }, names);
