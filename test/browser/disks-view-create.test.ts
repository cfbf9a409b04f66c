import { describe, expect, it } from "vitest";
import { calls, choose, confirm, dialog, fault, open, set } from "./disks-view.ts";

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
