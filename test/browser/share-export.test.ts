/** Files for other machines: each kind is taken by the tool that it is for, and QEMU finds what the guest wrote. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { EXPORTS } from "../../web/share-state.ts";
import type { ImageKind } from "../../web/smartos.ts";
import { startQemu } from "../machine/qemu.ts";
import { run, type Site, saveImage, startSite, testid } from "./page.ts";
import { policedPage, violations } from "./violations.ts";

vi.setConfig({ testTimeout: 240_000 });

let site: Site;
let page: Page;
const scratch = mkdtempSync(join(tmpdir(), "smart-os-export-"));
beforeAll(async () => {
  site = await startSite();
  page = await policedPage(site, "?boot=off");
  await page.evaluate(async () => {
    const { smartos } = window;
    // Nobody is there to choose a file's place.
    Object.assign(window, { showSaveFilePicker: undefined });
    await smartos.writeFile("/etc/mine", "mine\n", { mode: 0o640 });
    await smartos.disks.create({ name: "data", sizeMb: 16 });
    await smartos.disks.attach("data");
    await smartos.boot({ mode: "disk" });
  });
  await run(page, "head -c 3000000 /dev/urandom >/root/noise; echo guest >/root/guest");
  await run(page, "mount /dev/sdb /mnt; echo data >/mnt/f; umount /mnt; sync");
  await page.evaluate(() => window.smartos.shutdown());
}, 240_000);
afterAll(async () => {
  await site?.close();
  rmSync(scratch, { recursive: true });
});

const save = (kind: ImageKind, name: string) => saveImage(page, kind, join(scratch, name));
const tool = (program: string, ...words: string[]) =>
  execFileSync(program, words, { encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });

describe("an export", () => {
  it("of the system disk is the same disk in every format, and starts in QEMU with what the guest wrote", async () => {
    const raw = await save("disk-raw", "raw.img");
    execFileSync("gunzip", [await save("disk-raw-gz", "packed.img.gz")]);
    expect(readFileSync(join(scratch, "packed.img")).equals(readFileSync(raw))).toBe(true);
    const qcow2 = await save("disk-qcow2", "disk.qcow2");
    tool("qemu-img", "check", qcow2);
    const vmdk = await save("disk-vmdk", "disk.vmdk");
    for (const image of [qcow2, vmdk]) expect(tool("qemu-img", "compare", raw, image)).toContain("identical");
    expect(statSync(qcow2).size).toBeLessThan(20_000_000);

    const cd = await save("disk-iso", "boots.iso");
    // The CD has the project, not what the guest wrote on the disk.
    const kinds: [string[], string, RegExp][] = [
      [["-drive", `file=${raw},format=raw`], "cat /root/guest /etc/mine", /guest\s+mine/],
      [["-hda", qcow2], "cat /root/guest /etc/mine", /guest\s+mine/],
      [["-hda", vmdk], "cat /root/guest /etc/mine", /guest\s+mine/],
      [["-cdrom", cd], "cat /root/guest /etc/mine", /No such file[\s\S]*\smine/],
    ];
    await Promise.all(
      kinds.map(async ([words, command, answer]) => {
        const qemu = startQemu(words);
        try {
          await qemu.prompt();
          await qemu.run(command, answer);
        } finally {
          qemu.kill();
        }
      }),
    );
  });

  it("of the project and its parts passes unzip, tar, cpio and file", async () => {
    const bundle = await save("bundle", "project.smartos");
    expect(tool("unzip", "-t", bundle)).toContain("No errors detected");
    tool("unzip", "-q", bundle, "-d", join(scratch, "bundle"));
    expect(readFileSync(join(scratch, "bundle/files/etc/mine"), "utf8")).toBe("mine\n");
    const project = JSON.parse(readFileSync(join(scratch, "bundle/project.json"), "utf8"));
    expect(project.disks).toMatchObject([
      { name: "data", content: expect.any(String) },
      { kind: "system", content: expect.any(String) },
    ]);
    const data = join(scratch, "data.img");
    tool("qemu-img", "convert", "-O", "raw", join(scratch, "bundle", project.disks[0].content), data);
    expect(
      execFileSync("/sbin/debugfs", ["-R", "cat /f", data], { stdio: ["ignore", "pipe", "ignore"] }).toString(),
    ).toBe("data\n");

    const cd = await save("disk-iso", "cd.iso");
    expect(tool("xorriso", "-indev", cd, "-report_el_torito", "plain")).toMatch(/El Torito boot img.*BIOS/);

    const tar = tool("tar", "-tvf", await save("rootfs-tar", "root.tar.gz"));
    expect(tar).toMatch(/-rw-r----- 0\/0 +5 .* (\.\/)?etc\/mine/);
    const listing = tool("sh", "-c", `gzip -dc ${await save("initramfs", "i.cpio.gz")} | cpio -itv --quiet`);
    expect(listing).toMatch(/-rw-r----- .* 5 .* etc\/mine/);
    expect(tool("file", await save("kernel", "kernel"))).toContain("Linux kernel x86 boot executable bzImage");
    const refusal = page.evaluate(() =>
      window.smartos.exportImage("floppy" as "kernel").catch((error: Error) => error.message),
    );
    expect(await refusal).toMatch(/^Cannot export "floppy": kinds are disk-raw, bundle, /);
  });

  it("by hand shows the command that runs it, how far it is, and can be ended", async () => {
    await testid(page, "project-menu").click();
    await page.getByRole("menuitem", { name: "Download for QEMU" }).click();
    for (const kind of Object.keys(EXPORTS))
      expect(await testid(page, `command-${kind}`).innerText()).toMatch(/smart-os/);
    expect(await testid(page, "command-rootfs-tar").innerText()).toBe(
      "gunzip -c smart-os.tar.gz | docker import --platform linux/386 - smart-os && docker run -it smart-os /bin/sh",
    );
    const row = testid(page, "download-disk-qcow2");
    const download = page.waitForEvent("download");
    await testid(page, "export-disk-qcow2").click();
    expect((await download).suggestedFilename()).toBe("smart-os.qcow2");
    await expect.poll(() => row.innerText()).toContain("smart-os.qcow2 is complete.");

    // A file of the user's is dropped when the work is cancelled.
    await page.evaluate(() => {
      const calls: string[] = [];
      Object.assign(window, {
        calls,
        showSaveFilePicker: async ({ suggestedName }: { suggestedName: string }) => ({
          createWritable: async () => ({
            write: () => new Promise((resolve) => setTimeout(resolve, 100)),
            close: async () => calls.push(`close ${suggestedName}`),
            abort: async () => calls.push(`abort ${suggestedName}`),
          }),
        }),
      });
    });
    await testid(page, "export-disk-raw-gz").click();
    await expect.poll(() => row.locator("xpath=..").locator("progress:visible").count()).toBe(1);
    await testid(page, "cancel-disk-raw-gz").click();
    await testid(page, "export-disk-raw-gz").waitFor();
    expect(await page.evaluate(() => (window as unknown as { calls: string[] }).calls)).toEqual([
      "abort smart-os.img.gz",
    ]);
    await testid(page, "export-kernel").click();
    await expect.poll(() => testid(page, "download-kernel").innerText()).toContain("is complete");
    expect(await page.evaluate(() => (window as unknown as { calls: string[] }).calls)).toContain(
      "close smart-os.bzImage",
    );
    await page.keyboard.press("Escape");
    expect(await violations(page)).toEqual([]);
  });
});
