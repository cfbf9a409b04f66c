/** A bare kernel from outside: it becomes a project's own, boots, goes wherever the project goes, and can be dropped again. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { ImageKind } from "../../web/smartos.ts";
import { readSystem } from "../machine/guest.ts";
import { openFile, run, type Site, saveImage, startSite, state, testid } from "./page.ts";
import { policedPage, violations } from "./violations.ts";

vi.setConfig({ testTimeout: 240_000 });

let site: Site;
const scratch = mkdtempSync(join(tmpdir(), "smart-os-kernel-"));
const at = (name: string) => join(scratch, name);
/** The built kernel under another name: its version stands in it unpacked, wherever the kernel tells it. */
const built = readSystem("bzImage");
const release = /6\.12\.\d+/.exec(Buffer.from(built).toString("latin1"))?.[0] as string;
const other = release.replace(/.$/, (digit) => String((Number(digit) + 1) % 10));
const custom = Buffer.from(Buffer.from(built).toString("latin1").replaceAll(release, other), "latin1");

beforeAll(async () => {
  writeFileSync(at("vmlinuz"), custom);
  site = await startSite();
});
afterAll(async () => {
  await site?.close();
  rmSync(scratch, { recursive: true });
});

const save = (page: Page, kind: ImageKind, name: string) => saveImage(page, kind, at(name));

/** @returns what the page found the file to be */
async function open(page: Page, path: string): Promise<string> {
  await openFile(page, path);
  return testid(page, "found").innerText();
}

const taken = async (page: Page): Promise<void> => {
  const before = (await state(page)).project.id;
  await testid(page, "offer-keep").click();
  await expect.poll(async () => (await state(page)).project.id).not.toBe(before);
  await page.waitForFunction(() => window.smartos.state().status === "running", null, { timeout: 90_000 });
};

describe("a kernel from outside", () => {
  it("becomes a project's own: it boots, warm from the second time on, and is in what goes out", async () => {
    const page = await policedPage(site, "?boot=off");
    expect(await open(page, at("vmlinuz"))).toContain("A Linux kernel");
    expect(await testid(page, "offer").innerText()).toContain(`${other}-smart`);
    await taken(page);
    expect(await state(page)).toMatchObject({ boot: "cold", project: { name: "vmlinuz" } });
    expect((await state(page)).coldReason).toContain("custom kernel");
    expect(await run(page, "uname -r")).toBe(`${other}-smart`);

    expect(readFileSync(await save(page, "kernel", "kernel")).equals(custom)).toBe(true);
    const bundle = await save(page, "bundle", "theirs.smartos");
    execFileSync("unzip", ["-q", bundle, "kernel/bzImage", "-d", at("unzipped")]);
    expect(readFileSync(at("unzipped/kernel/bzImage")).equals(custom)).toBe(true);
    const iso = await save(page, "disk-iso", "cd.iso");
    execFileSync("xorriso", ["-osirrox", "on", "-indev", iso, "-extract", "/boot/vmlinuz", at("on-cd")], {
      stdio: "pipe",
    });
    expect(readFileSync(at("on-cd")).equals(custom)).toBe(true);
    expect(await page.evaluate(() => window.smartos.link().catch((error: Error) => error.message))).toMatch(
      /^Cannot make a link of the project: it has a kernel of its own/,
    );

    // Its state is made beside the running machine.
    await expect
      .poll(
        () =>
          page.evaluate(async () => {
            await window.smartos.boot();
            return window.smartos.state().boot;
          }),
        { timeout: 150_000, interval: 3000 },
      )
      .toBe("warm");
    expect(await run(page, "uname -r")).toBe(`${other}-smart`);
    await page.evaluate(() => window.smartos.boot({ mode: "disk" }));
    expect(await run(page, "uname -r; stat -c %s /boot/vmlinuz")).toBe(`${other}-smart\n${custom.length}`);

    // What is stored and what is in a bundle is the same project; the built kernel is one click away.
    await page.goto(`${site.url}?boot=off`);
    await page.waitForFunction(() => window.smartos !== undefined);
    expect(readFileSync(await save(page, "kernel", "stored")).equals(custom)).toBe(true);
    expect(await open(page, bundle)).toContain("A project of smart-os");
    expect(await testid(page, "offer").innerText()).toContain(`Its own kernel\n${other}-smart`);
    await taken(page);
    expect(await run(page, "uname -r")).toBe(`${other}-smart`);
    await testid(page, "settings").click();
    expect(await testid(page, "own-kernel").innerText()).toContain(`${other}-smart`);
    await testid(page, "built-kernel").click();
    expect(await testid(page, "own-kernel").isVisible()).toBe(false);
    expect((await state(page)).pendingEdits).toBe(true);
    await page.evaluate(() => window.smartos.boot());
    expect(await state(page)).toMatchObject({ boot: "warm", coldReason: null });
    expect(await run(page, "uname -r")).toBe(`${release}-smart`);
    expect(await violations(page)).toEqual([]);
    await page.context().close();
  });
});
