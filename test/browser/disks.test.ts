/** Disks in the page: made, written to by the guest, kept over reloads, booted from, resized, shared between tabs. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { ready, run, type Site, startSite, state } from "./page.ts";

let site: Site;
const scratch = mkdtempSync(join(tmpdir(), "smart-os-disks-"));
beforeAll(async () => {
  site = await startSite();
});
afterAll(async () => {
  await site?.close();
  rmSync(scratch, { recursive: true });
});

/** Several boots each, and a machine that may have other things to do. */
vi.setConfig({ testTimeout: 240_000 });

const disks = (page: Page) => page.evaluate(() => window.smartos.disks.list());
const disk = async (page: Page, name: string) => (await disks(page)).find((row) => row.name === name);
const boot = (page: Page, mode: "cold" | "disk" = "cold") =>
  page.evaluate((wanted) => window.smartos.boot({ mode: wanted }), mode);
const off = (page: Page) => page.evaluate(() => window.smartos.shutdown());
const refusal = async (promise: Promise<unknown>) =>
  promise.then(
    () => "nothing was refused",
    (error: Error) => error.message,
  );

/** A disk's raw image as a file. */
async function download(page: Page, name: string, kind: "disk" | "system" = "disk"): Promise<string> {
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
  const path = join(scratch, `${name}.img`);
  await (await started).saveAs(path);
  return path;
}

function check(image: string, program: string, ...words: string[]): string {
  return execFileSync(`/sbin/${program}`, [...words, image], { stdio: ["ignore", "pipe", "ignore"] }).toString();
}
const cat = (image: string, path: string) => check(image, "debugfs", "-R", `cat ${path}`);

async function page(): Promise<Page> {
  return site.open("?boot=off");
}

describe("a data disk", () => {
  it("keeps what the guest wrote, grows with its file system, and passes the native tools", async () => {
    const tab = await page();
    await tab.evaluate(() => window.smartos.disks.create({ name: "data", sizeMb: 64, fileSystem: "ext4" }));
    await tab.evaluate(() => window.smartos.disks.attach("data"));
    await boot(tab);
    await run(tab, "mount /dev/sdb /mnt && echo kept > /mnt/x && sync");
    expect(await disk(tab, "data")).toMatchObject({ drive: "sdb", inUse: true, usedBytes: null });

    await tab.goto(site.url);
    await ready(tab);
    expect(await run(tab, "mount /dev/sdb /mnt && cat /mnt/x && umount /mnt")).toBe("kept");
    expect(await refusal(tab.evaluate(() => window.smartos.disks.resize("data", 256)))).toContain(
      "Cannot change data: the machine has it",
    );
    await off(tab);
    const image = await download(tab, "data");
    check(image, "e2fsck", "-fn");
    expect(cat(image, "/x")).toBe("kept\n");

    await tab.evaluate(() => window.smartos.disks.resize("data", 256));
    expect(await disk(tab, "data")).toMatchObject({ sizeBytes: 256 * 1024 * 1024, work: null });
    await boot(tab);
    expect(await run(tab, "mount /dev/sdb /mnt && cat /mnt/x && df -m /mnt | tail -1")).toMatch(/^kept\n\S+ +23\d /);
    await run(tab, "umount /mnt");
    await off(tab);
    check(await download(tab, "data"), "e2fsck", "-fn");

    await tab.evaluate(() => window.smartos.disks.resize("data", 16));
    const small = await download(tab, "data");
    check(small, "e2fsck", "-fn");
    expect(cat(small, "/x")).toBe("kept\n");
    await tab.context().close();
  });

  it("refuses what would cut its files, and keeps them", async () => {
    const tab = await page();
    await tab.evaluate(() => window.smartos.disks.create({ name: "full", sizeMb: 32 }));
    const files = Array.from({ length: 12 }, (_, index) => ({ name: `f${index}`, bytes: 1024 * 1024 }));
    await tab.evaluate(
      (list) =>
        window.smartos.disks.putFiles(
          "full",
          "/",
          list.map(({ name, bytes }, at) => new File([new Uint8Array(bytes).fill(at + 1)], name)),
        ),
      files,
    );
    expect(await refusal(tab.evaluate(() => window.smartos.disks.resize("full", 8)))).toMatch(
      /Cannot fit \d+ MB of files/,
    );
    expect(await disk(tab, "full")).toMatchObject({ sizeBytes: 32 * 1024 * 1024, work: null });
    const entries = await tab.evaluate(() => window.smartos.disks.entries("full", "/"));
    expect(entries.map(({ name, size }) => [name, size])).toEqual([
      ["lost+found", 0],
      ...files.map(({ name, bytes }) => [name, bytes]).sort(),
    ]);
    const last = await tab.evaluate(async () => [...(await window.smartos.disks.readFile("full", "/f11")).slice(-3)]);
    expect(last).toEqual([12, 12, 12]);
    expect(await refusal(tab.evaluate(() => window.smartos.disks.readFile("full", "/none")))).toMatch(
      /Cannot find \/none/,
    );
    check(await download(tab, "full"), "e2fsck", "-fn");
    await tab.context().close();
  });

  it("is mounted at every start when the user wants it, beside swap, a second disk and the system disk", async () => {
    const tab = await page();
    await tab.evaluate(async () => {
      const { disks: all } = window.smartos;
      await all.create({ name: "one", sizeMb: 16, fileSystem: "ext3", label: "first", mountAt: "/mnt/one" });
      await all.create({ name: "page file", sizeMb: 8, fileSystem: "swap", mountAt: "none" });
      await all.create({ name: "two", sizeMb: 16, fileSystem: "ext2", mountAt: "/srv/two" });
    });
    expect((await disks(tab)).map(({ drive }) => drive)).toEqual(["sda", "sdb", "sdc", "sdd"]);
    expect(await refusal(tab.evaluate(() => window.smartos.disks.attach("system", "sdb")))).not.toContain("Cannot");
    await boot(tab, "disk");
    const mounts = await run(tab, "cut -d' ' -f1-3 /proc/mounts | grep ^/dev/sd; cut -d' ' -f1 /proc/swaps");
    expect(mounts).toContain("/dev/sda1 / ext4");
    expect(mounts).toContain("/dev/sdb /mnt/one ext3");
    expect(mounts).toContain("/dev/sdc");
    expect(mounts).toContain("/dev/sdd /srv/two ext2");
    await run(tab, "echo 1 >/mnt/one/f; echo 2 >/srv/two/f; echo 0 >/root/f; sync");
    // The power fails: what was synced is there, on ext2 as well.
    await tab.goto(`${site.url}?boot=disk`);
    await ready(tab);
    expect(await run(tab, "cat /root/f /mnt/one/f /srv/two/f")).toBe("0\n1\n2");
    await off(tab);
    for (const name of ["one", "two"]) check(await download(tab, name), "e2fsck", "-fn");
    await tab.context().close();
  });

  it("is flushed by every fsync, also as a bare device, and by sync where a file system is", async () => {
    const tab = await page();
    await tab.evaluate(async () => {
      for (const fileSystem of ["ext2", "ext4", "empty"] as const) {
        await window.smartos.disks.create({ name: fileSystem, sizeMb: 16, fileSystem });
        await window.smartos.disks.attach(fileSystem);
      }
    });
    await boot(tab);
    await run(tab, "mkdir /mnt/two /mnt/four; mount -t ext2 /dev/sdb /mnt/two && mount /dev/sdc /mnt/four");
    // The kernel counts the flushes of a device, of those that it has told of a write cache.
    const flushed = async (device: string, words: string) =>
      run(
        tab,
        `sync; count() { set -- $(cat /sys/block/${device}/stat); echo \${16}; }; before=$(count); ${words}; echo $(($(count) - before))`,
      );
    const write = "dd if=/dev/urandom bs=4k count=3 conv=notrunc";
    for (const [device, directory] of [
      ["sdb", "/mnt/two"],
      ["sdc", "/mnt/four"],
    ] as const) {
      expect(await run(tab, `cat /sys/block/${device}/queue/write_cache`)).toBe("write back");
      const of = `${write} of=${directory}/file 2>/dev/null`;
      expect(Number(await flushed(device, `${of}; sync`))).toBeGreaterThan(0);
      expect(Number(await flushed(device, of.replace("conv=notrunc", "conv=notrunc,fsync")))).toBeGreaterThan(0);
      expect(Number(await flushed(device, `${of}; fsync ${directory}/file`))).toBeGreaterThan(0);
    }
    expect(await run(tab, "cat /sys/block/sdd/queue/write_cache")).toBe("write back");
    expect(Number(await flushed("sdd", `${write},fsync of=/dev/sdd 2>/dev/null`))).toBeGreaterThan(0);
    expect(Number(await flushed("sdd", `${write} of=/dev/sdd 2>/dev/null; fsync /dev/sdd`))).toBeGreaterThan(0);
    for (const [device, directory] of [
      ["sdb", "/mnt/two"],
      ["sdc", "/mnt/four"],
    ] as const) {
      const words = `${write} of=${directory}/file 2>/dev/null; umount ${directory}`;
      expect(Number(await flushed(device, words))).toBeGreaterThan(0);
    }
    await off(tab);
    await tab.context().close();
  });

  it("comes from a file, zipped or not, and is recognised", async () => {
    const tab = await page();
    const native = join(scratch, "native.img");
    execFileSync("truncate", ["-s", "24M", native]);
    execFileSync("/sbin/mke2fs", [
      "-q",
      "-t",
      "ext4",
      "-L",
      "native",
      "-d",
      join(import.meta.dirname, "../../docs"),
      native,
    ]);
    for (const zipped of [false, true]) {
      const bytes = zipped ? gzipSync(readFileSync(native)) : readFileSync(native);
      const row = await tab.evaluate(
        async ([text, name]) => {
          const blob = await (await fetch(`data:application/octet-stream;base64,${text}`)).blob();
          return window.smartos.disks.import(blob, name as string);
        },
        [bytes.toString("base64"), zipped ? "zipped.img.gz" : "plain.img"],
      );
      expect(row).toMatchObject({
        name: zipped ? "zipped" : "plain",
        fileSystem: "ext4",
        label: "native",
        sizeBytes: 24 * 1024 * 1024,
      });
      const text = await tab.evaluate(
        async (name) => new TextDecoder().decode(await window.smartos.disks.readFile(name, "/architecture.md")),
        row.name,
      );
      expect(text).toBe(readFileSync(join(import.meta.dirname, "../../docs/architecture.md"), "utf8"));
    }
    // What was imported comes out as it was.
    expect(readFileSync(await download(tab, "zipped")).equals(readFileSync(native))).toBe(true);
    const damaged = gzipSync(readFileSync(native)).subarray(0, 20_000).toString("base64");
    const words = await refusal(
      tab.evaluate(async (text) => {
        const blob = await (await fetch(`data:application/octet-stream;base64,${text}`)).blob();
        return window.smartos.disks.import(blob, "cut.img.gz");
      }, damaged),
    );
    expect(words).toMatch(/Cannot import the image: .*damaged or cut off/);
    expect((await disks(tab)).map(({ name }) => name)).toEqual(["system", "plain", "zipped"]);
    await tab.context().close();
  });

  it("is duplicated, reset and merged; neither copy sees the other's writes", async () => {
    const tab = await page();
    await tab.evaluate(async () => {
      await window.smartos.disks.create({ name: "a", sizeMb: 16 });
      await window.smartos.disks.attach("a");
    });
    await boot(tab);
    await run(tab, "mount /dev/sdb /mnt && echo one >/mnt/f && umount /mnt");
    await off(tab);
    await tab.evaluate(async () => {
      await window.smartos.disks.merge("a");
      await window.smartos.disks.duplicate("a");
      await window.smartos.disks.attach("a 2");
    });
    expect(await disk(tab, "a")).toMatchObject({ changed: false });
    await boot(tab);
    await run(tab, "mount /dev/sdb /mnt && echo two >/mnt/f && umount /mnt");
    expect(await run(tab, "mount /dev/sdc /mnt && cat /mnt/f && umount /mnt")).toBe("one");
    await off(tab);
    expect(cat(await download(tab, "a"), "/f")).toBe("two\n");
    expect(await disk(tab, "a")).toMatchObject({ changed: true });
    await tab.evaluate(() => window.smartos.disks.reset("a"));
    expect(cat(await download(tab, "a"), "/f")).toBe("one\n");
    expect(await disk(tab, "a")).toMatchObject({ changed: false });
    await tab.context().close();
  });

  it("is made, deleted and brought back by hand", async () => {
    const tab = await page();
    await tab.getByTestId("place-disks").click();
    await tab.getByTestId("new-disk").click();
    await tab.getByTestId("disk-name").fill("gone");
    await tab.getByRole("dialog").locator("[type=submit]").click();
    await expect.poll(() => disk(tab, "gone")).toMatchObject({ drive: "sdb", sizeBytes: 64 * 1024 * 1024 });
    const fstab = () =>
      tab.evaluate(() => new TextDecoder().decode(window.smartos.readFile("/etc/fstab")).includes("/mnt/gone"));
    expect(await fstab()).toBe(true);
    const card = tab.getByTestId("disk").filter({ hasText: "gone" });
    await card.getByTestId("disk-more").click();
    await tab.getByRole("menuitem", { name: "Delete" }).click();
    await expect.poll(() => disk(tab, "gone")).toBeUndefined();
    expect(await fstab()).toBe(false);
    await tab.getByRole("button", { name: "Undo" }).click();
    await expect.poll(() => disk(tab, "gone")).toMatchObject({ drive: "sdb" });
    expect(await fstab()).toBe(true);
    expect((await tab.evaluate(() => window.smartos.disks.entries("gone", "/"))).length).toBe(1);
    await tab.context().close();
  });
});

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

    const image = await download(tab, "system", "system");
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
    const image = await download(tab, "full");
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

describe("two tabs", () => {
  it("never write the same disk: the second reads it as it was, with words", async () => {
    const first = await page();
    await first.evaluate(async () => {
      await window.smartos.disks.create({ name: "shared", sizeMb: 16 });
      await window.smartos.disks.attach("shared");
    });
    await boot(first);
    await run(first, "mount /dev/sdb /mnt && echo before >/mnt/f && umount /mnt");
    await off(first);
    await boot(first);
    await run(first, "mount /dev/sdb /mnt && echo after >/mnt/f && sync");

    const second = await first.context().newPage();
    await second.goto(`${site.url}?boot=off`);
    await ready(second);
    await expect.poll(() => disk(second, "shared")).toMatchObject({ readOnly: true, inUse: false });
    await boot(second);
    expect(await disk(second, "shared")).toMatchObject({ readOnly: true, inUse: true });
    await second.getByTestId("notice").getByText("Another tab's machine has the disk shared").waitFor();
    expect(await run(second, "mount -o ro /dev/sdb /mnt && cat /mnt/f && umount /mnt")).toBe("before");
    const { status } = await second.evaluate(() =>
      window.smartos.run("dd if=/dev/zero of=/dev/sdb bs=512 seek=9000 count=1 conv=fsync 2>/dev/null"),
    );
    expect(status).not.toBe(0);
    expect(await refusal(second.evaluate(() => window.smartos.disks.reset("shared")))).toMatch(
      /Cannot .*(in use|has it)/,
    );
    expect(await run(first, "cat /mnt/f")).toBe("after");
    await first.close();
    await boot(second);
    expect(await run(second, "mount /dev/sdb /mnt && cat /mnt/f && echo mine >/mnt/f && sync && cat /mnt/f")).toBe(
      "after\nmine",
    );
    await second.context().close();
  });
});

describe("a project's copy", () => {
  it("has copies of the disks", async () => {
    const tab = await page();
    await tab.evaluate(async () => {
      await window.smartos.disks.create({ name: "d", sizeMb: 16 });
      await window.smartos.disks.attach("d");
    });
    await boot(tab);
    await run(tab, "mount /dev/sdb /mnt && echo one >/mnt/f && sync");
    const before = (await state(tab)).project;
    await tab.getByTestId("project-menu").click();
    await tab.getByRole("menuitem", { name: /Duplicate/ }).click();
    await expect.poll(async () => (await state(tab)).project.name, { timeout: 30_000 }).not.toBe(before.name);
    await expect.poll(async () => (await state(tab)).status, { timeout: 30_000 }).toBe("running");
    await expect
      .poll(() => run(tab, "mount /dev/sdb /mnt && cat /mnt/f").catch(() => ""), { timeout: 30_000 })
      .toBe("one");
    await tab.context().close();
  });
});
