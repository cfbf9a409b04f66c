/** What a guest and the page hear when the storage is full. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { boot, check, disk, download, off, useSite } from "./disk-page.ts";
import { run, state } from "./page.ts";

const { scratch, page } = useSite();

describe("storage that is full", () => {
  it("is an I/O error for the guest and words in the page; what was synced stays, and all goes on", async () => {
    const tab = await page();
    await tab.evaluate(async () => {
      await window.smartos.disks.create({ name: "full", sizeMb: 256 });
      await window.smartos.disks.attach("full");
    });
    await boot(tab);
    await run(tab, "mount /dev/sdb /mnt && cd /mnt && echo first >first && sync");
    // Chromium believes for half a minute what it knew of the room before, and lets all in until then: the guest writes for
    // longer than that, however fast the machine is.
    const session = await tab.context().newCDPSession(tab);
    const used = await tab.evaluate(async () => (await navigator.storage.estimate()).usage ?? 0);
    const quotaSize = used + 8 * 1024 * 1024;
    await session.send("Storage.overrideQuotaForOrigin", { origin: new URL(tab.url()).origin, quotaSize });
    const written = await tab.evaluate(
      (words) => window.smartos.run(words, { timeoutMs: 200_000 }),
      "cd /mnt; i=0; while [ $i -lt 200 ] && dd if=/bin/busybox of=f$i conv=fsync 2>/tmp/words; do i=$((i+1)); usleep 200000; done; " +
        "echo $i; tail -1 /tmp/words",
    );
    const [count = "", ...words] = written.output.trim().split("\n");
    const files = Number(count);
    expect(files).toBeGreaterThan(0);
    expect(files).toBeLessThan(200);
    expect(words.join()).toMatch(/I\/O error|Read-only file system/);
    expect((await disk(tab, "full"))?.problem).toMatch(/no room|full/i);
    await tab.getByTestId("notice").filter({ hasText: "full" }).first().waitFor();
    // The machine goes on, and its drive can be read. Whether the file system can be, too, is up to the guest's kernel: when
    // what could not be written was the journal's, it shuts the file system down.
    expect(await run(tab, "cd /; dd if=/dev/sdb bs=64k count=64 2>/dev/null | wc -c")).toBe(String(4 * 1024 * 1024));
    expect(await state(tab)).toMatchObject({ status: "running" });

    await session.detach();
    await off(tab);
    const image = await download(tab, "full", scratch);
    // 1: corrected, by its journal or since the kernel noted the error.
    expect([0, 1]).toContain(spawnSync("/sbin/e2fsck", ["-p", image]).status);
    check(image, "e2fsck", "-fn");
    const out = mkdtempSync(join(scratch, "out-"));
    check(image, "debugfs", "-R", `rdump / ${out}`);
    const [busybox, ...others] = Array.from({ length: files }, (__, file) => readFileSync(join(out, `f${file}`)));
    expect(busybox?.length).toBeGreaterThan(100_000);
    expect(others.every((other) => other.equals(busybox as Buffer))).toBe(true);
    await boot(tab);
    await run(
      tab,
      "mount /dev/sdb /mnt && cat /mnt/first && dd if=/bin/busybox of=/mnt/after conv=fsync && umount /mnt",
    );
    await off(tab);
    expect((await disk(tab, "full"))?.problem).toBeNull();
    await tab.context().close();
  });
});
