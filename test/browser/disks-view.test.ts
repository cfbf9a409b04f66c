import type { BrowserContextOptions, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DISKS } from "./views.states.ts";
import { startViews, type Views } from "./views.ts";

const DESK = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };
const SCENARIOS = ["disks", "disks-troubled", "disks-first", "disks-read-only"];

let views: Views;
const faults: string[] = [];

beforeAll(async () => {
  views = await startViews();
});
afterAll(() => views?.close());

async function open(query: string, viewport = DESK, options: BrowserContextOptions = {}): Promise<Page> {
  const page = await (await views.browser.newContext({ viewport, timezoneId: "UTC", ...options })).newPage();
  page.on("pageerror", (error) => faults.push(`${query}: ${error.message}`));
  await page.goto(`${views.url}?${query}`);
  await page.waitForFunction(() => window.harness !== undefined);
  await (viewport === PHONE ? page.getByTestId("panel-disks") : page.getByTestId("place-disks")).click();
  return page;
}

/** What was called of `actions.disks`, files as their names. */
const calls = (page: Page) =>
  page.evaluate(() =>
    window.harness.calls
      .filter(([name]) => name.startsWith("disks."))
      .map(([name, ...values]) => [
        name.slice("disks.".length),
        ...values.map((value) =>
          value instanceof File
            ? value.name
            : Array.isArray(value)
              ? value.map((item) => (item instanceof File ? item.name : item))
              : value,
        ),
      ]),
  );
const disk = (page: Page, id: string): Locator => page.locator(`[data-disk="${id}"]`);
const button = (page: Page, id: string, what: string): Locator => disk(page, id).getByTestId(`disk-${what}`);
const dialog = (page: Page): Locator => page.locator("dialog[open]");
const confirm = (page: Page) => dialog(page).locator('button[type="submit"]').click();
const fault = (page: Page) => dialog(page).locator(".fault:visible").allInnerTexts();
const choose = async (page: Page, id: string, item: string | RegExp) => {
  await button(page, id, "more").click();
  await page.getByRole(typeof item === "string" ? "menuitem" : "menuitemradio", { name: item }).click();
};
const set = (page: Page, id: string, change: Record<string, unknown>) =>
  page.evaluate(
    ([wanted, what]) =>
      window.harness.set({
        disks: window.harness.state().disks.map((row) => (row.id === wanted ? { ...row, ...(what as object) } : row)),
      }),
    [id, change] as const,
  );
const entry = (page: Page, path: string): Locator => page.locator(`.entry[data-path="${path}"]`);
const browse = async (page: Page): Promise<void> => {
  await button(page, "course", "files").click();
  await entry(page, "/notes").waitFor();
};
const focusedEntry = (page: Page) =>
  page.evaluate(() => document.activeElement?.closest<HTMLElement>(".entry")?.dataset.path);
const dropped = (page: Page, ...names: string[]) =>
  page.evaluateHandle((wanted) => {
    const data = new DataTransfer();
    for (const name of wanted) data.items.add(new File(["content"], name));
    return data;
  }, names);

describe("the list of disks", () => {
  it("tells what each disk is, where it is, and how full", async () => {
    const page = await open("scenario=disks");
    expect(await page.locator(".disk-group").allInnerTexts()).toEqual(["In the machine", "Detached"]);
    expect(await page.getByTestId("disk").evaluateAll((all) => all.map((card) => card.dataset.disk))).toEqual(
      DISKS.map(({ id }) => id),
    );
    expect(await disk(page, "data").innerText()).toContain("ext4 · 64 MiB · label DATA");
    expect(await disk(page, "data").innerText()).toMatch(/sdb\s+in use/);
    expect(await disk(page, "swap").innerText()).toContain("from the next boot on");
    const course = await disk(page, "course").innerText();
    expect(course).toContain("421 MiB of 1.5 GiB used");
    expect(course).toContain("430 MiB in this browser");
    expect(await disk(page, "course").getByRole("meter").getAttribute("aria-valuenow")).toBe("27");
    expect(await disk(page, "data").getByRole("meter").count()).toBe(0);
    expect(await disk(page, "image").locator(".disk-name").innerText()).toBe("<i>alpine</i>.img");
    expect(await page.locator(".disks-panel i img, .disk-name i").count()).toBe(0);
    expect(await page.getByTestId("disk-quota").innerText()).toBe("Browser storage: 512 MiB of 10 GiB used");
    await page.context().close();
  });

  it("attaches, detaches, and chooses a drive among those that are free", async () => {
    const page = await open("scenario=disks");
    await button(page, "course", "attach").click();
    await button(page, "data", "detach").click();
    await button(page, "course", "more").click();
    const drives = page.getByRole("menuitemradio");
    expect(await drives.allInnerTexts()).toEqual(["sda – System disk", "sdb", "sdc – swap", "sdd"]);
    expect(await drives.nth(0).isDisabled()).toBe(true);
    await drives.nth(3).click();
    expect(await calls(page)).toEqual([
      ["attach", "course", null],
      ["detach", "data"],
      ["attach", "course", "sdd"],
    ]);
    await set(page, "data", { drive: "sdb" });
    await set(page, "image", { drive: "sdd" });
    expect(await button(page, "course", "attach").isDisabled()).toBe(true);
    await page.context().close();
  });

  it("duplicates, downloads, renames and deletes by the menu", async () => {
    const page = await open("scenario=disks");
    await choose(page, "course", "Duplicate");
    await choose(page, "course", "Download image");
    await choose(page, "course", "Delete");
    await choose(page, "course", "Rename …");
    await dialog(page).locator("input").fill("swap");
    expect(await fault(page)).toEqual(["There is a disk named “swap” already."]);
    await page.keyboard.press("Enter");
    expect(await dialog(page).count()).toBe(1);
    await dialog(page).locator("input").fill("new name");
    await page.keyboard.press("Enter");
    await expect
      .poll(() => calls(page))
      .toEqual([
        ["duplicate", "course"],
        ["download", "course"],
        ["remove", "course"],
        ["rename", "course", "new name"],
      ]);
    await page.context().close();
  });

  it("asks before a reset and a merge, and has neither where nothing was written", async () => {
    const page = await open("scenario=disks");
    await choose(page, "course", "Reset to the first content …");
    await page.keyboard.press("Escape");
    expect(await calls(page)).toEqual([]);
    await choose(page, "course", "Reset to the first content …");
    await confirm(page);
    await choose(page, "course", "Merge what was written …");
    await confirm(page);
    await expect
      .poll(() => calls(page))
      .toEqual([
        ["reset", "course"],
        ["merge", "course"],
      ]);
    await set(page, "course", { changed: false });
    await button(page, "course", "more").click();
    expect(await page.getByRole("menuitem", { name: /^(Reset|Merge)/ }).evaluateAll(areDisabled)).toEqual([true, true]);
    await page.context().close();
  });

  it("leaves a disk alone that the machine or another tab uses, and says why", async () => {
    const page = await open("scenario=disks");
    expect(await button(page, "data", "files").isDisabled()).toBe(true);
    await button(page, "data", "more").click();
    expect(await page.locator(".menu-heading").allInnerTexts()).toContain(
      "In use: some of this comes after shutting down.",
    );
    const risky = page.getByRole("menuitem", { name: /^(Resize|Duplicate|Download|Reset|Merge|Delete)/ });
    expect(await risky.evaluateAll(areDisabled)).toEqual(Array.from({ length: 6 }, () => true));
    await page.keyboard.press("Escape");
    await set(page, "course", { readOnly: true });
    expect(await disk(page, "course").innerText()).toContain("Another tab writes to it");
    await button(page, "course", "more").click();
    expect(await page.getByRole("menuitem", { name: /^(Rename|Resize|Delete)/ }).evaluateAll(areDisabled)).toEqual([
      true,
      true,
      true,
    ]);
    await page.context().close();

    const looked = await open("scenario=disks-read-only");
    expect(
      await looked
        .locator('[data-testid="new-disk"], [data-testid="import-disk"], [data-testid="disk-attach"]')
        .evaluateAll(areDisabled),
    ).toEqual([true, true, true, true]);
    expect(await button(looked, "course", "files").isDisabled()).toBe(false);
    await looked.context().close();
  });

  it("shows work with its progress, cancels it, and shows problems in words", async () => {
    const page = await open("scenario=disks-troubled");
    expect(await disk(page, "system").locator(".disk-work-words").innerText()).toBe("Building 42 %");
    expect(await disk(page, "system").getByRole("progressbar").getAttribute("value")).toBe("0.42");
    expect(await disk(page, "import").locator(".disk-work-words").innerText()).toBe("Importing …");
    expect(await disk(page, "import").getByRole("progressbar").getAttribute("value")).toBe(null);
    await button(page, "import", "cancel").click();
    expect(await calls(page)).toEqual([["cancel", "import"]]);
    expect(await disk(page, "full").getByRole("alert").innerText()).toContain("storage is full");
    await set(page, "import", { work: { what: "import", done: 1, total: 4 } });
    await expect.poll(() => disk(page, "import").locator(".disk-work-words").innerText()).toBe("Importing 25 %");
    await set(page, "import", { work: null });
    await expect.poll(() => button(page, "import", "detach").isVisible()).toBe(true);
    await page.context().close();
  });

  it("imports a file that is chosen, and files that are dropped", async () => {
    const page = await open("scenario=disks");
    await page
      .getByTestId("disk-picker")
      .setInputFiles({ name: "alpine.img.gz", mimeType: "application/gzip", buffer: Buffer.from("x") });
    const transfer = await dropped(page, "one.img", "two.img");
    await page.getByTestId("disk-list").dispatchEvent("dragover", { dataTransfer: transfer });
    expect(await page.locator(".disks-panel .drop-hint:visible").innerText()).toBe("Drop to import as a disk");
    await page.getByTestId("disk-list").dispatchEvent("drop", { dataTransfer: transfer });
    expect(await page.locator(".disks-panel .drop-hint:visible").count()).toBe(0);
    expect(await calls(page)).toEqual([
      ["import", "alpine.img.gz"],
      ["import", "one.img"],
      ["import", "two.img"],
    ]);
    await page.context().close();
  });
});

describe("the system disk", () => {
  it("is built at first, rebuilt without a question while nothing is lost, and booted from", async () => {
    const page = await open("scenario=disks-first");
    expect(await disk(page, "system").innerText()).toContain("Not built yet");
    expect(await page.getByText("No data disks yet").isVisible()).toBe(true);
    await button(page, "system", "build").click();
    await button(page, "system", "boot").click();
    await set(page, "system", { build: "stale" });
    await button(page, "system", "build").click();
    expect(await calls(page)).toEqual([["build"], ["boot"], ["build"]]);
    await page.context().close();
  });

  it("asks before a rebuild loses what the guest wrote", async () => {
    const page = await open("scenario=disks");
    expect(await disk(page, "system").innerText()).toContain("The project has changed since this disk was built.");
    await button(page, "system", "build").click();
    expect(await dialog(page).innerText()).toContain("will be lost");
    await dialog(page).getByRole("button", { name: "Cancel" }).click();
    expect(await calls(page)).toEqual([]);
    expect(await button(page, "system", "build").evaluate((element) => element === document.activeElement)).toBe(true);
    await page.keyboard.press("Enter");
    await confirm(page);
    await expect.poll(() => calls(page)).toEqual([["build"]]);
    await choose(page, "system", "Reset to the built image …");
    await confirm(page);
    await expect.poll(() => calls(page)).toEqual([["build"], ["reset", "system"]]);
    await page.context().close();
  });

  it("has a size, a file system and a swap partition to choose", async () => {
    const page = await open("scenario=disks");
    await choose(page, "system", "Size, file system and swap …");
    expect(await page.getByTestId("disk-size").inputValue()).toBe("256");
    await page.getByTestId("disk-file-system").selectOption("ext2");
    expect(await page.getByTestId("disk-swap").inputValue()).toBe("0");
    await page.getByTestId("disk-swap").fill("some");
    await dialog(page).getByText("Please give a whole number of MiB.").waitFor();
    await page.getByTestId("disk-swap").fill("300");
    await dialog(page).getByText("254 MiB at most.").waitFor();
    await dialog(page).getByRole("button", { name: "1 GiB" }).click();
    await confirm(page);
    await expect
      .poll(() => calls(page))
      .toEqual([["setSystemDisk", { sizeMb: 1024, fileSystem: "ext2", swapMb: 300 }]]);
    await page.context().close();
  });
});

describe("the dialog for a new disk", () => {
  it("has defaults that need no thought", async () => {
    const page = await open("scenario=disks-first");
    await page.getByTestId("first-disk").click();
    await confirm(page);
    await expect
      .poll(() => calls(page))
      .toEqual([["create", { name: "data", sizeMb: 64, fileSystem: "ext4", label: "", mountAt: "/mnt/data" }]]);
    await page.getByTestId("new-disk").click();
    await page.getByTestId("disk-fstab").uncheck();
    await confirm(page);
    await expect.poll(async () => (await calls(page)).at(-1)?.[1]).toMatchObject({ mountAt: null });
    await page.context().close();
  });

  it("checks names, sizes, labels and mount points as they are typed", async () => {
    const page = await open("scenario=disks");
    await page.getByTestId("new-disk").click();
    expect(await page.getByTestId("disk-name").inputValue()).toBe("data-2");
    const says = async (field: string, value: string, words: string[]) => {
      await page.getByTestId(field).fill(value);
      expect(await fault(page), `${field}: ${value}`).toEqual(words);
    };
    await says("disk-name", " ", ["Please give a name."]);
    await says("disk-name", "course material", ["There is a disk named “course material” already."]);
    await says("disk-name", "my disk #2", []);
    expect(await page.getByTestId("disk-mount").inputValue()).toBe("/mnt/my-disk-2");
    for (const [size, words] of [
      ["", ["Please give a number."]],
      ["64 MB", ["Please give a number."]],
      ["-1", ["Please give a number."]],
      ["1.5", ["At least 4 MiB for ext4."]],
      ["3", ["At least 4 MiB for ext4."]],
      ["4.5", ["Please give a whole number of MiB."]],
      ["4", []],
      ["65536", []],
      ["65537", ["64 GiB at most."]],
    ] as [string, string[]][])
      await says("disk-size", size, words);
    await page.keyboard.press("Enter");
    expect(await dialog(page).count()).toBe(1);
    await page.getByTestId("disk-unit").selectOption("GiB");
    await says("disk-size", "64", []);
    expect(await dialog(page).innerText()).toContain("can be made, but not be filled");
    await says("disk-size", "64.5", ["64 GiB at most."]);
    await says("disk-size", "1,5", []);

    await says("disk-label", "é".repeat(8), []);
    await says("disk-label", `${"é".repeat(8)}x`, ["16 bytes at most; these are 17."]);
    await says("disk-mount", "srv", ["16 bytes at most; these are 17.", "The mount point must begin with “/”."]);
    await says("disk-label", "", ["The mount point must begin with “/”."]);
    await says("disk-mount", "/a b", ["The mount point must not contain spaces or “#”."]);
    await says("disk-mount", "/", ["The root is taken: choose a directory below it."]);
    await says("disk-mount", "/srv", []);
    await says("disk-name", "other", []);
    expect(await page.getByTestId("disk-mount").inputValue()).toBe("/srv");
    await page.getByTestId("disk-file-system").selectOption("ext2");
    await page.getByTestId("disk-unit").selectOption("MiB");
    await says("disk-size", "1", []);
    await says("disk-size", "0", ["At least 1 MiB."]);
    await dialog(page).getByRole("button", { name: "4 GiB" }).click();
    await page.keyboard.press("Tab");
    await confirm(page);
    await expect
      .poll(() => calls(page))
      .toEqual([["create", { name: "other", sizeMb: 4096, fileSystem: "ext2", label: "", mountAt: "/srv" }]]);
    await page.context().close();
  });

  it("knows what swap and an empty disk have not", async () => {
    const page = await open("scenario=disks");
    await page.getByTestId("new-disk").click();
    await page.getByTestId("disk-file-system").selectOption("swap");
    expect(await page.getByTestId("disk-mount").isVisible()).toBe(false);
    await page.getByTestId("disk-label").fill("x".repeat(16));
    expect(await fault(page)).toEqual(["15 bytes at most; these are 16."]);
    await page.getByTestId("disk-label").fill("SWAP");
    await confirm(page);
    await page.getByTestId("new-disk").click();
    await page.getByTestId("disk-label").fill("gone");
    await page.getByTestId("disk-file-system").selectOption("empty");
    expect(await page.getByTestId("disk-label").isVisible()).toBe(false);
    expect(await page.getByTestId("disk-fstab").isVisible()).toBe(false);
    await confirm(page);
    await expect
      .poll(() => calls(page))
      .toEqual([
        ["create", { name: "data-2", sizeMb: 64, fileSystem: "swap", label: "SWAP", mountAt: "none" }],
        ["create", { name: "data-2", sizeMb: 64, fileSystem: "empty", label: "", mountAt: null }],
      ]);
    await page.context().close();
  });

  it("offers no line in fstab when no drive is left for the disk", async () => {
    const page = await open("scenario=disks");
    await set(page, "course", { drive: "sdd" });
    await page.getByTestId("new-disk").click();
    expect(await page.getByTestId("disk-fstab").isDisabled()).toBe(true);
    expect(await dialog(page).innerText()).toContain("All drives are taken");
    await confirm(page);
    await expect.poll(async () => (await calls(page)).at(-1)?.[1]).toMatchObject({ mountAt: null });
    await page.context().close();
  });

  it("resizes not below what is used", async () => {
    const page = await open("scenario=disks");
    await choose(page, "course", "Resize …");
    expect(await page.getByTestId("disk-size").inputValue()).toBe("1.5");
    await dialog(page).getByRole("button", { name: "256 MiB" }).click();
    expect(await fault(page)).toEqual(["421 MiB of it are used: it cannot be smaller."]);
    await page.getByTestId("disk-size").fill("421");
    expect(await fault(page)).toEqual([]);
    await page.keyboard.press("Enter");
    await expect.poll(() => calls(page)).toEqual([["resize", "course", 421]]);
    await choose(page, "image", "Resize …");
    await page.getByTestId("disk-size").fill("64");
    expect(await dialog(page).innerText()).toContain("cut off");
    await page.context().close();
  });
});

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

  it("threw no error in any of these tests", () => expect(faults).toEqual([]));
});

function areDisabled(all: Element[]): boolean[] {
  return all.map((element) => (element as HTMLButtonElement).disabled);
}

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
