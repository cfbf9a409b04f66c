/** What tests do with disks in the page, and with their images. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import type { Page } from "playwright-core";

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
