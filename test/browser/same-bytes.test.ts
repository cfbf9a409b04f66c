/** What the page makes of a project has the bytes of what the command line makes of it, whatever the kind. */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ImageKind } from "../../web/smartos.ts";
import { ROOT } from "../machine/guest.ts";
import { scratchFolder } from "../oracle/images.ts";
import { type Site, saveImage, startSite } from "./page.ts";

const scratch = scratchFolder("same");
/** Kinds of the page, and their endings on the command line. */
const KINDS: Partial<Record<ImageKind, string>> = {
  "disk-raw": "img",
  "disk-raw-gz": "img.gz",
  "disk-qcow2": "qcow2",
  "disk-vmdk": "vmdk",
  "disk-iso": "iso",
  "rootfs-tar": "tar.gz",
  initramfs: "cpio.gz",
  kernel: "bzImage",
};
const SCRIPT = "#!/bin/sh\n".repeat(50_000);

let site: Site;
beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site.close());

const sumOf = (name: string): string =>
  createHash("sha256")
    .update(readFileSync(join(scratch, name)))
    .digest("hex");

const sumInPage = (page: Page, kind: ImageKind): Promise<string> =>
  page.evaluate(async (wanted) => {
    const bytes = await (await window.smartos.exportImage(wanted)).arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }, kind);

const save = (page: Page, name: string) => saveImage(page, "bundle", join(scratch, name));

function build(project: string, output: string): void {
  const words = [join(ROOT, "cli/smart-os.mjs"), "build", project, "-q", "-o", output];
  expect(spawnSync(process.execPath, words, { cwd: scratch, encoding: "utf8" })).toMatchObject({
    status: 0,
    stderr: "",
  });
}

describe("the page and the command line", () => {
  it("make the same bytes of the same project, of every kind", async () => {
    const page = await site.open("?boot=off");
    await page.evaluate(async (script) => {
      await window.smartos.writeFile("/etc/hostname", "same\n");
      await window.smartos.writeFile("/root/run", script, { mode: 0o755 });
      await window.smartos.removeFile("/etc/banner");
    }, SCRIPT);
    await save(page, "before.smartos");
    const sums: Record<string, string> = {};
    for (const kind of Object.keys(KINDS) as ImageKind[]) sums[kind] = await sumInPage(page, kind);
    // Now the system disk has been built, and its content is in the bundle.
    await save(page, "after.smartos");
    for (const [kind, ending] of Object.entries(KINDS)) {
      // A vmdk has its own name in it.
      build("before.smartos", `smart-os.${ending}`);
      expect(sumOf(`smart-os.${ending}`), kind).toBe(sums[kind]);
    }
    build("after.smartos", "again.img");
    expect(sumOf("again.img")).toBe(sums["disk-raw"]);
    for (const bundle of ["before", "after"]) {
      build(`${bundle}.smartos`, `${bundle}-again.smartos`);
      expect(sumOf(`${bundle}-again.smartos`)).toBe(sumOf(`${bundle}.smartos`));
    }
    await page.context().close();

    // A folder has the same files, and so has its disk; deleted ones it cannot have.
    mkdirSync(join(scratch, "folder/etc"), { recursive: true });
    mkdirSync(join(scratch, "folder/root"));
    writeFileSync(join(scratch, "folder/etc/hostname"), "same\n");
    writeFileSync(join(scratch, "folder/root/run"), SCRIPT, { mode: 0o755 });
    const other = await site.open("?boot=off");
    await other.evaluate(async (script) => {
      await window.smartos.writeFile("/etc/hostname", "same\n");
      await window.smartos.writeFile("/root/run", script, { mode: 0o755 });
    }, SCRIPT);
    build("folder", "folder.img");
    expect(sumOf("folder.img")).toBe(await sumInPage(other, "disk-raw"));
    execFileSync("/sbin/sfdisk", ["-l", join(scratch, "folder.img")], { stdio: "pipe" });
    await other.context().close();
  });
});
