/** The system disk: booted from in the page and in QEMU. */
import { spawn } from "node:child_process";
import { describe, expect, it } from "vitest";
import { boot, disk, download, off, refusal, useSite } from "./disk-page.ts";
import { run, state } from "./page.ts";

const { scratch, page } = useSite();

describe("the system disk", () => {
  it("boots to / on /dev/sda1, shows GRUB's menu, and boots in QEMU as it was downloaded", async () => {
    const tab = await page();
    await tab.evaluate(() => window.smartos.writeFile("/etc/mine", "mine\n"));
    await boot(tab, "disk");
    expect(await run(tab, "grep ' / ' /proc/mounts; cat /etc/mine")).toMatch(/^\/dev\/sda1 \/ ext4 rw.*\nmine$/);
    expect((await state(tab)).boot).toBe("disk");
    expect(await tab.evaluate(() => window.smartos.waitFor("smart-os, a shell in the initramfs"))).toBeTruthy();
    expect((await tab.evaluate(() => window.smartos.timeline())).map(({ phase }) => phase)).toContain("boot-loader");
    expect(await disk(tab, "system")).toMatchObject({ build: "current", inUse: true });
    await run(tab, "echo guest >/root/guest && sync");
    // The guest's own reboot comes back from the disk, with what it wrote.
    await tab.evaluate(() => window.smartos.type("reboot\n"));
    await expect.poll(async () => (await state(tab)).status, { timeout: 30_000 }).not.toBe("running");
    await expect.poll(async () => (await state(tab)).status, { timeout: 60_000 }).toBe("running");
    await expect.poll(() => run(tab, "cat /root/guest").catch(() => ""), { timeout: 30_000 }).toBe("guest");
    await off(tab);

    const image = await download(tab, "system", scratch, "system");
    const qemu = spawn("qemu-system-i386", [
      "-m",
      "128",
      "-nographic",
      "-no-reboot",
      "-nic",
      "none",
      "-accel",
      "tcg",
      "-hda",
      image,
    ]);
    let output = "";
    qemu.stdout.on("data", (bytes: Buffer) => {
      output += bytes.toString();
    });
    try {
      await expect.poll(() => output, { timeout: 60_000 }).toContain("\u001b]133;A");
      qemu.stdin.write("cat /root/guest /etc/mine; poweroff\n");
      await expect.poll(() => output.replaceAll("\r", ""), { timeout: 30_000 }).toContain("guest\nmine\n");
      await expect.poll(() => qemu.exitCode, { timeout: 30_000 }).toBe(0);
    } finally {
      qemu.kill("SIGKILL");
    }

    // An edit makes it stale; building it again takes the edit and drops what the guest wrote.
    await tab.evaluate(() => window.smartos.writeFile("/etc/mine", "newer\n"));
    expect(await disk(tab, "system")).toMatchObject({ build: "stale", changed: true });
    await tab.evaluate(() => window.smartos.disks.build());
    expect(await disk(tab, "system")).toMatchObject({ build: "current", changed: false });
    await boot(tab, "disk");
    expect(await run(tab, "cat /etc/mine; ls /root")).toBe("newer");
    await tab.context().close();
  });

  it("says what is wrong when the project does not fit", async () => {
    const tab = await page();
    await tab.evaluate(() => window.smartos.disks.resize("system", 6));
    expect(await refusal(boot(tab, "disk"))).toMatch(/Cannot fit \d+ MB of files/);
    expect(await state(tab)).toMatchObject({ status: "failed", problem: { kind: "invalid" } });
    await tab.context().close();
  });
});

describe("GRUB's menu", () => {
  it.each(["screen", "serial line"])("obeys the arrow keys on the %s", async (where) => {
    const tab = await page();
    // A boot loader that waits until somebody has chosen.
    await tab.evaluate(async () => {
      const text = new TextDecoder().decode(window.smartos.readFile("/boot/grub/grub.cfg"));
      await window.smartos.writeFile("/boot/grub/grub.cfg", text.replace("set timeout=1", "set timeout=-1"));
      await window.smartos.disks.build();
      void window.smartos.boot({ mode: "disk" }).catch(() => {});
    });
    if (where === "screen") {
      await tab.getByRole("tab", { name: "Screen" }).click();
      await expect
        .poll(() => tab.locator(".screen").innerText(), { timeout: 30_000 })
        .toContain("smart-os, a shell in the initramfs");
      await tab.locator(".screen").click();
      await tab.keyboard.press("ArrowDown");
      await tab.keyboard.press("Enter");
    } else {
      await tab.evaluate(() => window.smartos.waitFor("smart-os, a shell in the initramfs"));
      await tab.evaluate(() => window.smartos.type("\u001b[B\r"));
    }
    await tab.evaluate(() => window.smartos.waitFor(/Run \/init as init process/, { timeoutMs: 60_000 }));
    await expect
      .poll(
        async () => {
          await tab.evaluate(() => window.smartos.type("cat /proc/cmdline\n"));
          return tab
            .evaluate(() => window.smartos.waitFor(/root=\/dev\/ram0 init=\/bin\/sh/, { timeoutMs: 1000 }))
            .catch(() => "");
        },
        { timeout: 30_000 },
      )
      .toContain("init=/bin/sh");
    await tab.context().close();
  });
});
