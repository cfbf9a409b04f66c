import { describe, expect, it } from "vitest";
import { browse, button, entry, open, PHONE } from "./disks-view.ts";

const SCENARIOS = ["disks", "disks-troubled", "disks-first", "disks-read-only"];

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
          expect(await page.evaluate(wideElements), what).toEqual([]);
          expect(await page.evaluate(smallTargets), what).toEqual([]);
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
        expect(await page.evaluate(faintWords), `${theme}, ${scenario}`).toEqual([]);
        if (scenario === "disks") {
          await browse(page);
          expect(await page.evaluate(faintWords), `${theme}, files`).toEqual([]);
          await page.getByTestId("disks-back").click();
          await button(page, "system", "build").click();
          expect(await page.evaluate(faintWords), `${theme}, question`).toEqual([]);
        }
        await page.context().close();
      }
  });
});

/** What reaches beyond the window, or beyond the panel that is to hold it. */
function wideElements(): string[] {
  const root = document.querySelector("dialog[open]") ?? document.querySelector(".disks-panel");
  return [document.documentElement, ...(root?.querySelectorAll<HTMLElement>("*") ?? [])]
    .filter((element) => {
      // The path scrolls by itself.
      if (element.closest(".crumbs") || element.getClientRects().length === 0) return false;
      return element.getBoundingClientRect().right > innerWidth + 0.5;
    })
    .map((element) => element.outerHTML.slice(0, 120));
}

function smallTargets(): string[] {
  const root = document.querySelector("dialog[open]") ?? document.querySelector(".disks-panel");
  return [...(root?.querySelectorAll<HTMLElement>("button, select, label:has(input[type=checkbox])") ?? [])]
    .filter((target) => target.getClientRects().length > 0 && target.getBoundingClientRect().height < 40)
    .map((target) => target.outerHTML.slice(0, 120));
}

/** Texts of the view that stand out too little from the first ground behind them. */
function faintWords(): string[] {
  const channels = (colour: string): number[] => colour.match(/[\d.]+/g)?.map(Number) ?? [];
  const luminance = (colour: string): number => {
    const [red = 0, green = 0, blue = 0] = channels(colour).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const groundOf = (element: Element | null): string => {
    if (!element) return "rgb(255, 255, 255)";
    const { backgroundColor } = getComputedStyle(element);
    return channels(backgroundColor)[3] === 0 ? groundOf(element.parentElement) : backgroundColor;
  };
  const root = document.querySelector("dialog[open]") ?? document.querySelector(".disks-panel");
  return [...(root?.querySelectorAll("*") ?? [])]
    .filter(
      (element) =>
        [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent?.trim()) &&
        element.getClientRects().length > 0 &&
        !element.closest(":disabled"),
    )
    .flatMap((element) => {
      const [light = 0, dark = 0] = [luminance(getComputedStyle(element).color), luminance(groundOf(element))].sort(
        (a, b) => b - a,
      );
      const ratio = (light + 0.05) / (dark + 0.05);
      return ratio >= 4.5 ? [] : [`${element.textContent?.trim().slice(0, 40)}: ${ratio.toFixed(2)}`];
    });
}
