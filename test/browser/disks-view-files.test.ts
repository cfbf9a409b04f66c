import { describe, expect, it } from "vitest";
import { browse, button, calls, confirm, dialog, dropped, entry, focusedEntry, open, set } from "./disks-view.ts";

describe("the files on a disk", () => {
  it("are listed with mode, size and date, and are pulled out", async () => {
    const page = await open("scenario=disks");
    await browse(page);
    expect(await calls(page)).toEqual([["list", "course", "/"]]);
    const script = await entry(page, "/run.sh").innerText();
    expect(script).toContain("rwxr-xr-x");
    expect(script).toContain("48.2 kB");
    expect(script).toContain("2025-03-01 13:05");
    expect(await entry(page, "/current").innerText()).toContain("→ notes/2025");
    expect(await entry(page, "/<b>bold</b>.txt").locator(".entry-name").innerText()).toBe("<b>bold</b>.txt");
    await entry(page, "/run.sh").getByTestId("entry-download").click();
    await entry(page, "/<b>bold</b>.txt").locator(".entry-open").click();
    expect((await calls(page)).slice(1)).toEqual([
      ["extract", "course", "/run.sh"],
      ["extract", "course", "/<b>bold</b>.txt"],
    ]);
    expect(await entry(page, "/notes").getByTestId("entry-download").count()).toBe(0);
    await page.context().close();
  });

  it("are walked through by keys alone, in and out again", async () => {
    const page = await open("scenario=disks");
    await button(page, "course", "files").focus();
    await page.keyboard.press("Enter");
    await expect.poll(() => focusedEntry(page)).toBe("/empty");
    await page.keyboard.press("End");
    await page.keyboard.press("Home");
    for (const _step of [1, 2, 3]) await page.keyboard.press("ArrowDown");
    expect(await focusedEntry(page)).toBe("/notes");
    await page.keyboard.press("Enter");
    await expect.poll(() => focusedEntry(page)).toBe("/notes/2025");
    await page.keyboard.press("Enter");
    await expect.poll(() => focusedEntry(page)).toBe("/notes/2025/march.txt");
    expect(await page.locator(".crumb").allInnerTexts()).toEqual(["course material", "notes", "2025"]);
    expect(await page.locator(".crumb[aria-current]").innerText()).toBe("2025");
    await page.keyboard.press("Backspace");
    await expect.poll(() => focusedEntry(page)).toBe("/notes/2025");
    await page.locator(".crumb").first().click();
    await expect.poll(() => focusedEntry(page)).toBe("/notes");
    await page.keyboard.press("Backspace");
    expect(await page.getByTestId("disk-browser").isVisible()).toBe(false);
    expect(await button(page, "course", "files").evaluate((element) => element === document.activeElement)).toBe(true);
    await page.context().close();
  });

  it("take the focus only from where it was when they were asked for", async () => {
    const page = await open("scenario=disks");
    await browse(page);
    await entry(page, "/notes").locator(".entry-open").click();
    await page.getByTestId("file-tree").focus();
    await entry(page, "/notes/2025").waitFor();
    expect(await page.getByTestId("file-tree").evaluate((tree) => tree === document.activeElement)).toBe(true);
    await page.context().close();
  });

  it("say that they are loading, that there are none, and what is wrong", async () => {
    const page = await open("scenario=disks");
    await button(page, "course", "files").click();
    expect(await page.locator(".entries-note").innerText()).toBe("Reading the directory …");
    await entry(page, "/empty").locator(".entry-open").click();
    await expect.poll(() => page.locator(".entries-note").innerText()).toBe("This directory is empty.");
    await page.keyboard.press("Tab");
    await page.locator(".crumb").first().click();
    await entry(page, "/forbidden").locator(".entry-open").click();
    await expect.poll(() => page.locator(".entries-note").innerText()).toContain("its first block is damaged");
    expect(await page.getByTestId("put-files").isDisabled()).toBe(true);
    await page.context().close();
  });

  it("are put in by the button and by dropping them onto a directory", async () => {
    const page = await open("scenario=disks");
    await browse(page);
    const file = (name: string) => ({ name, mimeType: "text/plain", buffer: Buffer.from("x") });
    await page.getByTestId("put-picker").setInputFiles([file("a.txt"), file("b.txt")]);
    await entry(page, "/b.txt").waitFor();
    const transfer = await dropped(page, "c.txt");
    await entry(page, "/notes").dispatchEvent("dragover", { dataTransfer: transfer });
    expect(await page.locator(".disk-browser .drop-hint:visible").innerText()).toBe("Drop to put into /notes");
    expect(await entry(page, "/notes").getAttribute("class")).toContain("drop");
    await entry(page, "/notes").dispatchEvent("drop", { dataTransfer: transfer });
    await page.getByTestId("entries").dispatchEvent("drop", { dataTransfer: await dropped(page, "d.txt") });
    await entry(page, "/d.txt").waitFor();
    await page.getByTestId("put-picker").setInputFiles(file("huge.bin"));
    await expect.poll(() => page.locator(".disk-browser > .fault").innerText()).toContain("12 MB left");
    expect((await calls(page)).filter(([name]) => name === "put" || name === "import")).toEqual([
      ["put", "course", "/", ["a.txt", "b.txt"]],
      ["put", "course", "/notes", ["c.txt"]],
      ["put", "course", "/", ["d.txt"]],
      ["put", "course", "/", ["huge.bin"]],
    ]);
    await page.context().close();
  });

  it("are deleted after a question", async () => {
    const page = await open("scenario=disks");
    await browse(page);
    await entry(page, "/notes").getByTestId("entry-remove").click();
    expect(await dialog(page).innerText()).toContain("Everything in this directory");
    await page.keyboard.press("Escape");
    // The focus goes back a moment after the dialog is gone.
    await expect.poll(() => focusedEntry(page)).toBe("/notes");
    await expect
      .poll(async () => {
        await entry(page, "/run.sh").locator(".entry-open").focus();
        return focusedEntry(page);
      })
      .toBe("/run.sh");
    await page.keyboard.press("Delete");
    await confirm(page);
    await expect.poll(() => entry(page, "/run.sh").count()).toBe(0);
    expect((await calls(page)).filter(([name]) => name === "removeEntry")).toEqual([
      ["removeEntry", "course", "/run.sh"],
    ]);
    expect(await entry(page, "/notes").count()).toBe(1);
    await page.context().close();
  });

  it("go away while the machine uses the disk, and are read again afterwards", async () => {
    const page = await open("scenario=disks");
    await browse(page);
    await set(page, "course", { inUse: true });
    await expect.poll(() => page.locator(".entries-note").innerText()).toContain("The running machine uses this disk");
    expect(await page.locator(".entry").count()).toBe(0);
    expect(await page.getByTestId("put-files").isDisabled()).toBe(true);
    await set(page, "course", { inUse: false });
    await entry(page, "/notes").waitFor();
    expect((await calls(page)).filter(([name]) => name === "list")).toHaveLength(2);
    await set(page, "course", { readOnly: true });
    await expect.poll(() => entry(page, "/notes").getByTestId("entry-remove").isDisabled()).toBe(true);
    await page.evaluate(() => window.harness.set({ disks: [] }));
    await expect.poll(() => page.getByTestId("disk-browser").isVisible()).toBe(false);
    expect(await page.getByText("No data disks yet").isVisible()).toBe(true);
    await page.context().close();
  });

  it("come in parts when there are very many", async () => {
    const page = await open("scenario=disks");
    await browse(page);
    await entry(page, "/many").locator(".entry-open").click();
    await entry(page, "/many/file-0000").waitFor();
    expect(await page.locator(".entry").count()).toBe(500);
    await page.getByRole("button", { name: "Show 500 more" }).click();
    await page.getByRole("button", { name: "Show 200 more" }).click();
    expect(await page.locator(".entry").count()).toBe(1200);
    await page.context().close();
  });
});
