/** What tests do with disks in the page, and with their images. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, vi } from "vitest";
import { type Site, startSite } from "./page.ts";

/** The site of all tests of a file, and a folder for their images; both are gone at the end. */
export function useSite(): { readonly site: Site; readonly scratch: string; page(): Promise<Page> } {
  const scratch = mkdtempSync(join(tmpdir(), "smart-os-disks-"));
  let site: Site;
  beforeAll(async () => {
    site = await startSite();
  });
  afterAll(async () => {
    await site?.close();
    rmSync(scratch, { recursive: true });
  });
  // Several boots each, and a machine that may have other things to do.
  vi.setConfig({ testTimeout: 240_000 });
  return {
    get site() {
      return site;
    },
    scratch,
    page: () => site.open("?boot=off"),
  };
}

export const disks = (page: Page) => page.evaluate(() => window.smartos.disks.list());
export const disk = async (page: Page, name: string) => (await disks(page)).find((row) => row.name === name);
export const boot = (page: Page, mode: "cold" | "disk" = "cold") =>
  page.evaluate((wanted) => window.smartos.boot({ mode: wanted }), mode);
export const off = (page: Page) => page.evaluate(() => window.smartos.shutdown());
export const refusal = async (promise: Promise<unknown>) =>
  promise.then(
    () => "nothing was refused",
    (error: Error) => error.message,
  );

/** A disk's raw image as a file in a folder. @returns its path */
export async function download(
  page: Page,
  name: string,
  folder: string,
  kind: "disk" | "system" = "disk",
): Promise<string> {
  const started = page.waitForEvent("download");
  await page.evaluate(
    async ([wanted, what]) => {
      const { disks: all, exportImage } = window.smartos;
      const image = what === "system" ? await exportImage("disk-raw") : await all.export(wanted as string);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(image);
      link.download = "disk.img";
      link.click();
    },
    [name, kind],
  );
  const path = join(folder, `${name}.img`);
  await (await started).saveAs(path);
  return path;
}

/** What a native tool says of an image. @throws Error when its status is not 0 */
export function check(image: string, program: string, ...words: string[]): string {
  return execFileSync(`/sbin/${program}`, [...words, image], { stdio: ["ignore", "pipe", "ignore"] }).toString();
}
export const cat = (image: string, path: string) => check(image, "debugfs", "-R", `cat ${path}`);
