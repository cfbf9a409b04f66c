import { describe, expect, it } from "vitest";
import { browse, button, entry, open, PHONE } from "./disks-view.ts";
import { faintWords, smallTargets, wideElements } from "./legibility.ts";

const SCENARIOS = ["disks", "disks-troubled", "disks-first", "disks-read-only"];

const VIEW = ["dialog[open]", ".disks-panel"];
const TARGETS = "button, select, label:has(input[type=checkbox])";

describe("the place of the disks in the page", () => {
  it("is the editor's column, which a file takes back", async () => {
    const page = await open("scenario=disks");
    expect(await page.getByTestId("disks").isVisible()).toBe(true);
    expect(await page.locator(".editor-panel").isVisible()).toBe(false);
    expect(await page.getByTestId("place-disks").getAttribute("aria-pressed")).toBe("true");
    // The file that is open already, too.
    await page.locator('[data-path="/etc/init.d/rcS"]').click();
    expect(await page.locator(".editor-panel").isVisible()).toBe(true);
    expect(await page.getByTestId("place-disks").getAttribute("aria-pressed")).toBe("false");
    await page.getByTestId("place-disks").click();
    await page.reload();
    await page.waitForFunction(() => window.harness !== undefined);
    expect(await page.getByTestId("disks").isVisible()).toBe(true);
    await page.getByTestId("close-disks").click();
    expect(await page.locator(".editor-panel").isVisible()).toBe(true);
    await page.getByTestId("place-disks").click();
    await page.getByTestId("fold-disks").click();
    expect(await page.getByTestId("disks").isVisible()).toBe(false);
    await page.keyboard.press("Enter");
    expect(await page.getByTestId("disks").isVisible()).toBe(true);
    await page.getByTestId("fold-tree").click();
    await page.getByTestId("place-disks").click();
    expect(await page.locator(".editor-panel").isVisible()).toBe(true);
    await page.context().close();
  });

  it("is reached by F6 in the editor's stead", async () => {
    const page = await open("scenario=disks");
    await page.getByTestId("file-tree").focus();
    await page.keyboard.press("F6");
    expect(await page.evaluate(() => document.activeElement?.closest(".panel")?.id)).toBe("panel-disks");
    await page.keyboard.press("F6");
    expect(await page.evaluate(() => document.activeElement?.closest(".panel")?.id)).toBe("panel-machine");
    await page.context().close();
  });

  it("is above or beside nothing else on a tablet", async () => {
    const page = await open("scenario=disks", { width: 900, height: 800 });
    expect(await page.locator(".panel:visible").evaluateAll((all) => all.map(({ id }) => id))).toEqual([
      "panel-tree",
      "panel-disks",
      "panel-machine",
    ]);
    await page.context().close();
  });

  it("is a tab of its own on a phone, where nothing is too wide and nothing too small for a finger", async () => {
    for (const language of ["en", "zh"])
      for (const scenario of SCENARIOS) {
        const page = await open(`scenario=${scenario}&lang=${language}`, PHONE, { hasTouch: true });
        const check = async (where: string): Promise<void> => {
          const what = `${scenario}, ${language}, ${where}`;
          expect(await page.evaluate(wideElements, VIEW), what).toEqual([]);
          expect(await page.evaluate(smallTargets, { roots: VIEW, targets: TARGETS }), what).toEqual([]);
        };
        expect(await page.locator(".panel:visible").evaluateAll((all) => all.map(({ id }) => id))).toEqual([
          "panel-disks",
        ]);
        await check("list");
        if (scenario === "disks") {
          await page.getByTestId("new-disk").tap();
          await check("new disk");
          await page.keyboard.press("Escape");
          await browse(page);
          await check("files");
          await entry(page, "/notes").locator(".entry-open").tap();
          await entry(page, "/notes/2025").waitFor();
          await page.getByTestId("disks-back").tap();
          await button(page, "system", "build").tap();
          await check("question");
        }
        await page.context().close();
      }
  });

  it("names every control for those who do not see it, in both languages", async () => {
    for (const language of ["en", "zh"]) {
      const page = await open(`scenario=disks&lang=${language}`);
      const nameless = () =>
        page
          .locator(".disks-panel :is(button, input:not([hidden]), [role=meter]), .places button")
          .evaluateAll((all) =>
            all
              .filter(
                (control) =>
                  !control.getAttribute("aria-label") &&
                  !control.getAttribute("aria-labelledby") &&
                  !control.textContent?.trim(),
              )
              .map((control) => control.outerHTML.slice(0, 120)),
          );
      expect(await nameless()).toEqual([]);
      expect(await page.getByTestId("new-disk").innerText()).toBe(language === "zh" ? "新建磁盘" : "New disk");
      await browse(page);
      expect(await nameless()).toEqual([]);
      expect(await page.getByTestId("put-files").innerText()).toBe(language === "zh" ? "放入文件" : "Put files in");
      await page.context().close();
    }
  });

  it("has words that can be read in both themes: 4.5 to 1 at least", async () => {
    for (const theme of ["light", "dark"])
      for (const scenario of ["disks", "disks-troubled"]) {
        const page = await open(`scenario=${scenario}&theme=${theme}`);
        await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.cancel())));
        expect(await page.evaluate(faintWords, VIEW), `${theme}, ${scenario}`).toEqual([]);
        if (scenario === "disks") {
          await browse(page);
          expect(await page.evaluate(faintWords, VIEW), `${theme}, files`).toEqual([]);
          await page.getByTestId("disks-back").click();
          await button(page, "system", "build").click();
          expect(await page.evaluate(faintWords, VIEW), `${theme}, question`).toEqual([]);
        }
        await page.context().close();
      }
  });
});
