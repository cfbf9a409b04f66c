/** The content security policy: nothing of the page needs more than it allows, and it keeps out what it should. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run, type Site, startSite, testid } from "./page.ts";
import { policedPage, violations } from "./violations.ts";

let site: Site;
beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site.close());

describe("the content security policy", () => {
  it("comes with every answer, and lets only embeds be framed by other sites", async () => {
    const policyOf = async (address: string) =>
      (await fetch(site.url + address)).headers.get("content-security-policy") ?? "";
    const page = await policyOf("");
    expect(page).toMatch(/default-src 'none'.*script-src 'self' 'wasm-unsafe-eval';.*style-src 'self';/);
    expect(page).not.toMatch(/unsafe-inline|unsafe-eval(?<!wasm-unsafe-eval)/);
    expect(page).toMatch(/frame-ancestors 'self'$/);
    expect(await policyOf("system/manifest.json")).toBe(page);
    expect(await policyOf("?embed=1&lang=en")).toMatch(/frame-ancestors 'self' \*$/);
    expect(await policyOf("?embed=10")).toBe(page);
  });

  it("is kept by all that the page does", async () => {
    const page = await policedPage(site);
    expect(await run(page, "echo up")).toBe("up");
    await testid(page, "file-tree").locator('[data-path="/etc/init.d/rc.local"]').click();
    await testid(page, "editor").locator(".cm-content").click();
    await page.keyboard.press("Control+End");
    await page.keyboard.type("\necho hello\n");
    // The editor's own look is there, and the page's over it.
    const look = await testid(page, "editor")
      .locator(".cm-content")
      .evaluate((element) => getComputedStyle(element).caretColor);
    expect(look).not.toBe("rgb(0, 0, 0)");
    await page.keyboard.press("Control+f");
    await page.locator(".cm-textfield").first().fill("echo");
    await page.keyboard.press("Escape");
    await testid(page, "tab-changes").click();
    await expect.poll(() => testid(page, "editor").locator(".cm-changedLine").count()).toBeGreaterThan(0);
    await testid(page, "tab-edit").click();
    await page.evaluate(async () => {
      await window.smartos.disks.create({ name: "d", sizeMb: 8 });
      await window.smartos.exportImage("bundle");
      await window.smartos.exportImage("initramfs");
    });
    await testid(page, "place-disks").click();
    await page.locator(".disk-meter i").first().waitFor();
    await testid(page, "place-network").click();
    await testid(page, "tab-screen").click();
    await testid(page, "tab-terminal").click();
    await testid(page, "language").click();
    await page.waitForFunction(() => document.documentElement.lang === "zh-CN");
    await testid(page, "theme").click();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await testid(page, "keyboard").click();
    await page.keyboard.press("Escape");
    await page.evaluate(() => window.smartos.boot());
    expect(await run(page, "printf '\\033[38;2;250;20;30mcoloured\\033[0m' >/dev/ttyS0; echo again")).toBe("again");
    const coloured = testid(page, "terminal").getByText("coloured", { exact: true });
    await expect.poll(() => coloured.evaluate((element) => element.style.color)).toMatch(/^rgb\(/);
    expect(await violations(page)).toEqual([]);
    await page.context().close();
  });

  it("keeps markup in names from being more than text, and inline code from running at all", async () => {
    const page = await policedPage(site, "?boot=off");
    const name = `<img src=x onerror="document.title='taken'"><style>body{display:none}</style>`;
    await page.evaluate((words) => window.smartos.writeFile(`/etc/${words.replaceAll("/", "_")}`, "x"), name);
    await testid(page, "project-menu").click();
    await page.getByRole("menuitem", { name: /Rename/ }).click();
    await page.getByRole("dialog").locator("input").fill(name);
    await page.getByRole("dialog").locator("[type=submit]").click();
    await expect.poll(() => testid(page, "project-menu").innerText()).toContain("<img src=x");
    expect(await page.locator("img, body style").count()).toBe(0);
    expect(await violations(page)).toEqual([]);

    await page.evaluate(() => {
      document.body.insertAdjacentHTML(
        "beforeend",
        `<i id="probe" style="color: red"><img src="x:" onerror="taken()"></i>`,
      );
      const script = document.createElement("script");
      script.textContent = "window.taken = true";
      document.head.append(script);
      const style = document.createElement("style");
      style.textContent = "body { display: none }";
      document.head.append(style);
      // Not at once: what the debugger calls may evaluate strings.
      setTimeout(() => setTimeout("window.taken = true"));
    });
    await expect
      .poll(async () => [...new Set((await violations(page)).map((line) => line.split(":")[0]))].sort())
      .toEqual(["img-src", "script-src", "script-src-attr", "script-src-elem", "style-src-attr", "style-src-elem"]);
    expect(await page.evaluate(() => ["taken" in window, getComputedStyle(document.body).display])).toEqual([
      false,
      expect.not.stringMatching("none"),
    ]);
    await page.context().close();
  });
});
