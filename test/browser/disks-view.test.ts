import { describe, expect, it } from "vitest";
import { button, calls, choose, confirm, dialog, disk, dropped, fault, open, set } from "./disks-view.ts";
import { DISKS } from "./views.states.ts";

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

function areDisabled(all: Element[]): boolean[] {
  return all.map((element) => (element as HTMLButtonElement).disabled);
}
