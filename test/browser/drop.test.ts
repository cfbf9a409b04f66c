/** Folders and files that a person drops from the desktop, by the browser's own drag and drop. */
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Locator, Page } from "playwright-core";
import { beforeAll, describe, expect, it } from "vitest";
import { cat, check, download, useSite } from "./disk-page.ts";
import { run, testid } from "./page.ts";

const { scratch, page } = useSite();
const folder = join(scratch, "component");
const INSIDE = 250;

beforeAll(() => {
  mkdirSync(join(folder, "many/deep"), { recursive: true });
  writeFileSync(join(folder, "hello"), "#!/bin/sh\necho hello from $0\n");
  writeFileSync(join(folder, "notes.txt"), "notes\n");
  // A name that needs care, and a program without a name that tells of it.
  writeFileSync(join(folder, "多 <b>.txt"), "unusual\n");
  copyFileSync(join(import.meta.dirname, "../../public/system/busybox"), join(folder, "busybox-own"));
  chmodSync(join(folder, "busybox-own"), 0o600);
  // A browser reads a folder a hundred entries at a time.
  for (let index = 0; index < INSIDE; index += 1) writeFileSync(join(folder, `many/${index}`), `${index}\n`);
  writeFileSync(join(folder, "many/deep/last"), "last\n");
});

async function drop(tab: Page, target: Locator, paths: readonly string[]): Promise<void> {
  const box = await target.boundingBox();
  if (!box) throw new Error("Cannot drop: there is nothing to drop onto");
  const browser = await tab.context().newCDPSession(tab);
  const data = { items: [], files: [...paths], dragOperationsMask: 1 };
  const at = { x: box.x + box.width / 2, y: box.y + box.height / 2, data };
  for (const type of ["dragEnter", "dragOver", "drop"] as const)
    await browser.send("Input.dispatchDragEvent", { type, ...at });
  await browser.detach();
}

const files = (tab: Page) =>
  tab.evaluate(() =>
    window.smartos
      .listFiles()
      .filter(({ origin, kind }) => origin === "added" && kind === "file")
      .map(({ path, mode }) => `${path} ${mode.toString(8)}`),
  );

describe("a folder that is dropped", () => {
  it("comes into the project as a whole, its programs to be run, and can be taken back", async () => {
    const tab = await page();
    const tree = testid(tab, "file-tree");
    await tab.evaluate(() => window.smartos.writeFile("/etc/hostname", "mine\n"));
    await drop(tab, tree.locator('[data-path="/etc/hostname"]'), [folder, join(folder, "notes.txt")]);
    const notice = testid(tab, "notice").filter({ hasText: `${INSIDE + 6} files uploaded into /etc` });
    await notice.waitFor();
    const added = await files(tab);
    expect(added.length).toBe(INSIDE + 6);
    expect(added).toEqual(
      expect.arrayContaining([
        "/etc/component/hello 755",
        "/etc/component/busybox-own 755",
        "/etc/component/notes.txt 644",
        "/etc/component/多 <b>.txt 644",
        "/etc/component/many/249 644",
        "/etc/component/many/deep/last 644",
        "/etc/notes.txt 644",
      ]),
    );
    await tab.evaluate(() => window.smartos.boot());
    expect(
      await run(
        tab,
        "cd /etc/component; ./hello; ./busybox-own uname; cat many/deep/last ../notes.txt '多 <b>.txt'; cat many/* 2>/dev/null | wc -l",
      ),
    ).toBe(`hello from ./hello\nLinux\nlast\nnotes\nunusual\n${INSIDE}`);
    // What was done meanwhile is not taken back.
    await tab.evaluate(() => window.smartos.writeFile("/etc/motd", "later\n"));
    await notice.getByRole("button", { name: "Undo" }).click();
    await expect.poll(() => files(tab)).toEqual(["/etc/motd 644"]);
    expect(await tab.evaluate(() => new TextDecoder().decode(window.smartos.readFile("/etc/hostname")))).toBe("mine\n");
    await tab.context().close();
  });

  it("can be chosen in the menu of a folder as well", async () => {
    const tab = await page();
    const menu = async (item: string, path: string): Promise<void> => {
      const asked = tab.waitForEvent("filechooser");
      await testid(tab, "file-tree").locator('[data-path="/etc"]').click({ button: "right" });
      await tab.getByRole("menuitem", { name: item, exact: true }).click();
      await (await asked).setFiles(path);
    };
    await menu("Upload folder …", folder);
    await testid(tab, "notice")
      .filter({ hasText: `${INSIDE + 5} files uploaded into /etc` })
      .waitFor();
    expect(await files(tab)).toContain("/etc/component/many/deep/last 644");
    await menu("Upload …", join(folder, "hello"));
    await testid(tab, "notice").filter({ hasText: "One file uploaded into /etc" }).waitFor();
    expect(await files(tab)).toContain("/etc/hello 755");
    await tab.context().close();
  });

  it("is refused as a whole when one file has no place", async () => {
    const tab = await page();
    await tab.evaluate(() => window.smartos.writeFile("/srv/component/many", "in the way\n"));
    await testid(tab, "file-tree").locator('[data-path="/srv"]').waitFor();
    await drop(tab, testid(tab, "file-tree").locator('[data-path="/srv"]'), [folder]);
    await testid(tab, "notice").filter({ hasText: "/srv/component/many is a file, not a directory" }).waitFor();
    expect(await files(tab)).toEqual(["/srv/component/many 644"]);
    await tab.context().close();
  });

  it("comes onto a disk with all that is in it", async () => {
    const tab = await page();
    await tab.evaluate(() => window.smartos.disks.create({ name: "data", sizeMb: 32, fileSystem: "ext4" }));
    await testid(tab, "place-disks").click();
    await tab.locator('[data-testid="disk-files"]:visible').last().click();
    await tab.locator('[data-path="/lost+found"]').waitFor();
    await drop(tab, tab.locator(".disk-browser"), [folder]);
    await tab.locator('[data-path="/component"]').waitFor();
    const image = await download(tab, "data", scratch);
    check(image, "e2fsck", "-fn");
    expect(cat(image, "/component/many/deep/last")).toBe("last\n");
    const listing = execFileSync("/sbin/debugfs", ["-R", "ls -p /component/many", image], { stdio: "pipe" }).toString();
    expect(listing.split("\n").filter((line) => /\/100644\//.test(line)).length).toBe(INSIDE);
    await tab.context().close();
  });
});
