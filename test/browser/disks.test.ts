/** Disks in the page: made, written to by the guest, kept over reloads, resized, shared between tabs. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { boot, cat, check, disk, disks, download, off, refusal, useSite } from "./disk-page.ts";
import { ready, run, state } from "./page.ts";

const pages = useSite();
const { scratch, page } = pages;

describe("a data disk", () => {
  it("keeps what the guest wrote, grows with its file system, and passes the native tools", async () => {
    const tab = await page();
    await tab.evaluate(() => window.smartos.disks.create({ name: "data", sizeMb: 64, fileSystem: "ext4" }));
    await tab.evaluate(() => window.smartos.disks.attach("data"));
    await boot(tab);
    await run(tab, "mount /dev/sdb /mnt && echo kept > /mnt/x && sync");
    expect(await disk(tab, "data")).toMatchObject({ drive: "sdb", inUse: true, usedBytes: null });

    await tab.goto(pages.site.url);
    await ready(tab);
    expect(await run(tab, "mount /dev/sdb /mnt && cat /mnt/x && umount /mnt")).toBe("kept");
    expect(await refusal(tab.evaluate(() => window.smartos.disks.resize("data", 256)))).toContain(
      "Cannot change data: the machine has it",
    );
    await off(tab);
    const image = await download(tab, "data", scratch);
    check(image, "e2fsck", "-fn");
    expect(cat(image, "/x")).toBe("kept\n");

    await tab.evaluate(() => window.smartos.disks.resize("data", 256));
    expect(await disk(tab, "data")).toMatchObject({ sizeBytes: 256 * 1024 * 1024, work: null });
    await boot(tab);
    expect(await run(tab, "mount /dev/sdb /mnt && cat /mnt/x && df -m /mnt | tail -1")).toMatch(/^kept\n\S+ +23\d /);
    await run(tab, "umount /mnt");
    await off(tab);
    check(await download(tab, "data", scratch), "e2fsck", "-fn");

    await tab.evaluate(() => window.smartos.disks.resize("data", 16));
    const small = await download(tab, "data", scratch);
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
    const isRight = await tab.evaluate(async () => {
      const bytes = new Uint8Array(await (await window.smartos.disks.extract("full", "/f4")).arrayBuffer());
      return bytes.length === 1024 * 1024 && bytes.every((byte) => byte === 5);
    });
    expect(isRight).toBe(true);
    expect(await refusal(tab.evaluate(() => window.smartos.disks.readFile("full", "/none")))).toMatch(
      /Cannot find \/none/,
    );
    check(await download(tab, "full", scratch), "e2fsck", "-fn");
    await tab.context().close();
  });

  it("of several GiB takes a large file in, grows and shrinks around it, and gives it back, in little memory", async () => {
    const tab = await page();
    const session = await tab.context().newCDPSession(tab);
    await tab.evaluate(() => window.smartos.disks.create({ name: "large", sizeMb: 1024 }));
    const found = await tab.evaluate(async () => {
      const { disks: all } = window.smartos;
      const MIB = 1024 * 1024;
      // Each MiB is another one; most of what is between them is zero, which takes no room on the way.
      const parts: BlobPart[] = [];
      const zeros = new Blob([new Uint8Array(15 * MIB)]);
      for (let at = 0; at < 40; at += 1) parts.push(new Blob([new Uint8Array(MIB).fill(at + 1)]), zeros);
      const file = new File(parts, "film");
      await all.putFiles("large", "/", [file]);
      const sizes = [];
      for (const sizeMb of [4096, 700]) sizes.push((await all.resize("large", sizeMb)).sizeBytes / MIB);
      const refused = await all.resize("large", 512).then(
        () => "",
        (error: Error) => error.message,
      );
      const out = await all.extract("large", "/film");
      const right: boolean[] = [];
      for (let at = 0; at < 40; at += 1) {
        const bytes = new Uint8Array(await out.slice(at * 16 * MIB, (at * 16 + 2) * MIB).arrayBuffer());
        right.push(bytes.every((byte, within) => byte === (within < MIB ? at + 1 : 0)));
      }
      return { size: out.size === file.size, sizes, refused, right: right.every(Boolean) };
    });
    expect(found).toMatchObject({ size: true, sizes: [4096, 700], right: true });
    expect(found.refused).toMatch(/Cannot fit 640 MB of files/);
    await session.send("HeapProfiler.collectGarbage");
    const { usedSize, backingStorageSize = 0 } = (await session.send("Runtime.getHeapUsage")) as {
      usedSize: number;
      backingStorageSize?: number;
    };
    expect(usedSize + backingStorageSize).toBeLessThan(150 * 1024 * 1024);
    check(await download(tab, "large", scratch), "e2fsck", "-fn");
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
    await tab.goto(`${pages.site.url}?boot=disk`);
    await ready(tab);
    expect(await run(tab, "cat /root/f /mnt/one/f /srv/two/f")).toBe("0\n1\n2");
    await off(tab);
    for (const name of ["one", "two"]) check(await download(tab, name, scratch), "e2fsck", "-fn");
    await tab.context().close();
  });

  it("of the system has a swap partition when it is built with one, and keeps it when it is built anew", async () => {
    const tab = await page();
    expect(await refusal(tab.evaluate(() => window.smartos.disks.build({ swapMb: 60 })))).toContain(
      "Cannot make a swap partition of 60 MB: a disk of 64 MB has room for 59 MB",
    );
    await tab.evaluate(() => window.smartos.disks.build({ swapMb: 16 }));
    const system = (): Promise<unknown> => tab.evaluate(() => window.smartos.disks.list()[0]);
    expect(await system()).toMatchObject({ kind: "system", swapMb: 16, sizeBytes: 64 * 1024 * 1024, build: "current" });
    await tab.evaluate(() => window.smartos.writeFile("/root/later", "later\n"));
    await tab.goto(pages.site.url);
    await ready(tab);
    await expect.poll(system).toMatchObject({ swapMb: 16, build: "stale" });
    await off(tab);
    await tab.evaluate(() => window.smartos.disks.build());
    await tab.evaluate(() => window.smartos.boot({ mode: "disk" }));
    expect(
      await run(tab, "cat /root/later; grep -c '^/dev/sda2 *partition' /proc/swaps; grep ' / ' /proc/mounts"),
    ).toMatch(/^later\n1\n\/dev\/sda1 \/ ext4 /);
    await off(tab);
    await tab.evaluate(() => window.smartos.disks.build({ swapMb: 0 }));
    expect(await system()).toMatchObject({ swapMb: 0, build: "current" });
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
    expect(readFileSync(await download(tab, "zipped", scratch)).equals(readFileSync(native))).toBe(true);
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
    expect(cat(await download(tab, "a", scratch), "/f")).toBe("two\n");
    expect(await disk(tab, "a")).toMatchObject({ changed: true });
    await tab.evaluate(() => window.smartos.disks.reset("a"));
    expect(cat(await download(tab, "a", scratch), "/f")).toBe("one\n");
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
    await second.goto(`${pages.site.url}?boot=off`);
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
