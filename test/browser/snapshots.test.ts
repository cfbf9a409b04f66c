/** Saved machines: named ones, suspended ones, and what goes on when a page is opened again, with the disks they had. */
import { execFileSync } from "node:child_process";
import type { Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { download, refusal, useSite } from "./disk-page.ts";
import { ready, run, state } from "./page.ts";

const pages = useSite();
const { scratch, page: openPage } = pages;

const save = (page: Page, name: string) => page.evaluate((wanted) => window.smartos.snapshot.save(wanted), name);
const restore = (page: Page, name: string) => page.evaluate((wanted) => window.smartos.snapshot.restore(wanted), name);
const list = (page: Page) => page.evaluate(() => window.smartos.snapshot.list());
const terminal = (page: Page) => page.locator('[data-testid="terminal"]').innerText();

describe("a named snapshot", () => {
  it("brings machine, terminal, clock and disks back together", async () => {
    const tab = await openPage();
    await tab.evaluate(async () => {
      await window.smartos.disks.create({ name: "data", sizeMb: 32, fileSystem: "ext4" });
      await window.smartos.disks.attach("data");
      await window.smartos.boot();
    });
    await run(tab, "mount /dev/sdb /mnt; echo before >/mnt/kept; echo 1 >/tmp/turn; sync");
    await tab.evaluate(() => window.smartos.type("echo on the $((1 + 1))nd screen\n"));
    await tab.evaluate(() => window.smartos.waitFor("on the 2nd screen\n"));
    // Somebody writes all the time, without ever waiting for the disk.
    await run(
      tab,
      "(i=0; while :; do i=$((i + 1)); echo $i >/mnt/log.$((i % 40)); dd if=/dev/urandom of=/mnt/noise bs=64k count=4 2>/dev/null; sleep 0.05; done) >/dev/null 2>&1 & echo $! >/tmp/writer",
    );
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const row = await save(tab, "first");
    expect(row).toMatchObject({ name: "first", kind: "named", memoryMb: 128, disks: ["data"], unfit: null });
    expect(row.picture.lines.join("\n")).toContain("on the 2nd screen");
    // It goes on, and so does what it writes.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await run(tab, "echo after >/mnt/kept; echo 2 >/tmp/turn; rm -f /mnt/log.*; echo more >/mnt/more; sync");
    expect(await tab.evaluate(() => window.smartos.snapshot.movedOn("first"))).toEqual(["data"]);

    for (const turn of [1, 2]) {
      const before = await run(tab, "cat /sys/class/net/eth0/address");
      await restore(tab, "first");
      expect(await state(tab)).toMatchObject({ status: "running", phase: "shell" });
      expect(
        await run(
          tab,
          "cat /tmp/turn /mnt/kept; ls /mnt/more 2>&1 | head -1; kill -0 $(cat /tmp/writer) && echo alive",
        ),
      ).toMatch(/^1\nbefore\n.*No such file.*\nalive$/);
      await expect.poll(() => terminal(tab), { message: `turn ${turn}` }).toContain("on the 2nd screen");
      // The shell in the terminal is where it was.
      await tab.evaluate(() => window.smartos.type("echo typed $((40 + 2))\n"));
      await tab.evaluate(() => window.smartos.waitFor("typed 42\n"));
      await expect.poll(async () => Math.abs(Number(await run(tab, "date +%s")) - Date.now() / 1000)).toBeLessThan(3);
      expect(await run(tab, "cat /sys/class/net/eth0/address")).not.toBe(before);
    }
    await run(tab, "kill -9 $(cat /tmp/writer); while ! umount /mnt; do sleep 0.2; done");
    await tab.evaluate(() => window.smartos.shutdown());
    const disk = await download(tab, "data", scratch);
    execFileSync("/sbin/e2fsck", ["-fn", disk]);
    expect(execFileSync("/sbin/debugfs", ["-R", "cat /kept", disk], { stdio: "pipe" }).toString()).toBe("before\n");

    // From a machine that is off, and after the page was opened again.
    await tab.goto(`${pages.site.url}?boot=off`);
    await ready(tab);
    expect((await list(tab)).map(({ name }) => name)).toEqual(["first"]);
    await restore(tab, "first");
    expect(await run(tab, "cat /tmp/turn /mnt/kept; time sleep 1 2>&1 | head -1; kill -9 $(cat /tmp/writer)")).toMatch(
      /^1\nbefore/,
    );

    // The power fails right after: what is on the disk is whole.
    await tab.goto(`${pages.site.url}?boot=off`);
    await ready(tab);
    const torn = await download(tab, "data", scratch);
    execFileSync("/sbin/e2fsck", ["-y", "-E", "journal_only", torn], { stdio: "pipe" });
    execFileSync("/sbin/e2fsck", ["-fn", torn], { stdio: "pipe" });

    // Deleted, brought back, deleted for good: its space and that of the disk's layers comes back.
    await tab.evaluate(() => window.smartos.snapshot.rename("first", "second"));
    await tab.evaluate(() => window.smartos.snapshot.remove("second"));
    expect(await list(tab)).toEqual([]);
    await tab.context().close();
  });
});

describe("a suspended machine", () => {
  it("goes on when the page is opened again, once, and only with its disks", async () => {
    const tab = await openPage();
    await tab.evaluate(async () => {
      await window.smartos.disks.create({ name: "data", sizeMb: 16, fileSystem: "ext2" });
      await window.smartos.disks.attach("data");
      await window.smartos.boot();
    });
    await run(tab, "mount /dev/sdb /mnt; echo kept >/mnt/f; echo here >/tmp/f");
    await tab.evaluate(() => window.smartos.snapshot.suspend());
    expect(await state(tab)).toMatchObject({ status: "off" });
    await tab.goto(pages.site.url);
    await ready(tab);
    await tab.getByTestId("notice").getByText("The machine goes on where it was").waitFor();
    expect(await run(tab, "cat /tmp/f /mnt/f; date +%Y")).toBe(`here\nkept\n${new Date().getFullYear()}`);
    expect(await list(tab)).toEqual([]);
    expect((await state(tab)).uptimeMs).toBeGreaterThan(1000);

    // Something else writes to the disk meanwhile: the machine stays among the snapshots, and the disk as it is.
    await tab.evaluate(() => window.smartos.snapshot.suspend());
    await tab.evaluate(() => window.smartos.boot());
    await run(tab, "mount /dev/sdb /mnt; echo newer >/mnt/f; umount /mnt");
    await tab.goto(pages.site.url);
    await ready(tab);
    await tab.getByTestId("notice").getByText("data has been written to since").waitFor();
    expect(await run(tab, "mount /dev/sdb /mnt; cat /mnt/f; ls /tmp/f 2>/dev/null; umount /mnt")).toBe("newer");
    const [suspended] = await list(tab);
    expect(suspended).toMatchObject({ kind: "suspended" });
    await restore(tab, suspended?.id ?? "");
    expect(await run(tab, "cat /tmp/f /mnt/f")).toBe("here\nkept");
    await tab.context().close();
  });

  it("is kept by itself when the page is left, where that is wished for", async () => {
    const tab = await openPage();
    await tab.evaluate(async () => {
      window.smartos.snapshot.setResumes(true);
      await window.smartos.disks.create({ name: "data", sizeMb: 16, fileSystem: "ext4" });
      await window.smartos.disks.attach("data");
      await window.smartos.boot();
    });
    for (const turn of [1, 2]) {
      await run(tab, `mount /dev/sdb /mnt 2>/dev/null; echo ${turn} >>/mnt/f; echo ${turn} >>/tmp/f`);
      await tab.reload({ waitUntil: "commit" });
      await tab.goto(pages.site.url);
      await ready(tab);
      expect(await run(tab, "cat /tmp/f /mnt/f")).toBe(turn === 1 ? "1\n1" : "1\n2\n1\n2");
    }
    const context = tab.context();
    await run(tab, "echo closed >/tmp/f");
    // With its handlers run a page is closed later than that is asked for.
    await Promise.all([tab.waitForEvent("close"), tab.close({ runBeforeUnload: true })]);
    const next = await pages.site.open("", context);
    expect(await run(next, "cat /tmp/f")).toBe("closed");
    // Wished for no longer.
    await next.evaluate(() => window.smartos.snapshot.setResumes(false));
    await next.reload();
    await ready(next);
    expect(await run(next, "ls /tmp/f 2>/dev/null; echo anew")).toBe("anew");
    await context.close();
  });

  it("goes on also when the page before it takes long to end", async () => {
    const tab = await openPage();
    await tab.evaluate(async () => {
      window.smartos.snapshot.setResumes(true);
      await window.smartos.boot();
    });
    await run(tab, "echo here >/tmp/f");
    const context = tab.context();
    // What a page that ends slowly keeps is its project, for a moment.
    const slow = await context.newPage();
    await slow.goto(`${pages.site.url}icon.svg`);
    await slow.evaluate(async () => {
      const held = (await navigator.locks.query()).held ?? [];
      const name = held.find((lock) => lock.name?.startsWith("smart-os:project:"))?.name as string;
      void navigator.locks.request(name, () => new Promise((resolve) => setTimeout(resolve, 2000)));
    });
    await Promise.all([tab.waitForEvent("close"), tab.close({ runBeforeUnload: true })]);
    const next = await pages.site.open("", context);
    expect(await run(next, "cat /tmp/f")).toBe("here");
    expect(await state(next)).toMatchObject({ status: "running" });
    await context.close();
  });
});

describe("what cannot be", () => {
  it("is refused with a sentence and loses nothing; a file brings machine and disk to another browser", async () => {
    const tab = await openPage();
    await tab.evaluate(async () => {
      await window.smartos.disks.create({ name: "data", sizeMb: 8, fileSystem: "ext2" });
      await window.smartos.disks.attach("data");
      await window.smartos.boot();
    });
    await run(tab, "mount /dev/sdb /mnt; echo kept >/mnt/f; echo here >/tmp/f");
    // By hand: saved, deleted, brought back.
    await tab.getByTestId("place-snapshots").click();
    await tab.getByTestId("save-snapshot").click();
    await tab.getByRole("dialog").locator("input").fill("mine");
    await tab.getByRole("dialog").locator("[type=submit]").click();
    const card = tab.getByTestId("snapshot").filter({ hasText: "mine" });
    await card.getByTestId("snapshot-more").click();
    await tab.getByRole("menuitem", { name: "Delete" }).click();
    await expect.poll(() => card.count()).toBe(0);
    await tab.getByRole("button", { name: "Undo" }).click();
    await card.waitFor();
    expect(await refusal(save(tab, "mine"))).toContain("there is one of that name");

    const exported = await tab.evaluate(async () => {
      const file = new Uint8Array(await (await window.smartos.snapshot.export("mine")).arrayBuffer());
      let text = "";
      for (let at = 0; at < file.length; at += 0x8000) text += String.fromCharCode(...file.subarray(at, at + 0x8000));
      return btoa(text);
    });
    // Chromium believes for a while what it knew of the room at the first write: the limit comes before the page.
    const other = await (await pages.site.browser.newContext()).newPage();
    await other.goto(`${pages.site.url}icon.svg`);
    const devtools = await other.context().newCDPSession(other);
    await devtools.send("Storage.overrideQuotaForOrigin", {
      origin: new URL(pages.site.url).origin,
      quotaSize: 3_000_000,
    });
    await other.goto(`${pages.site.url}?boot=off`);
    await ready(other);
    const open = (text: string) =>
      other.evaluate(async (content) => {
        const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
        return window.smartos.snapshot.import(new Blob([bytes]), "mine.smartos-snapshot");
      }, text);
    expect(await refusal(open(exported))).toContain("the browser's storage is full");
    expect(await list(other)).toEqual([]);
    await devtools.detach();
    const file = Buffer.from(exported, "base64");
    for (const at of [3, 200, file.length >> 1, file.length - 50]) {
      const broken = Buffer.from(file);
      broken[at] = (broken[at] as number) ^ 0x55;
      expect(await refusal(open(broken.toString("base64"))), `byte ${at}`).toContain(
        "Cannot open mine.smartos-snapshot",
      );
    }
    expect(await list(other)).toEqual([]);
    await expect.poll(() => refusal(open(exported)), { timeout: 30_000 }).toBe("nothing was refused");
    expect(await list(other)).toMatchObject([{ name: "mine", disks: ["data"] }]);
    await restore(other, "mine");
    expect(await run(other, "cat /tmp/f /mnt/f")).toBe("here\nkept");
    expect((await other.evaluate(() => window.smartos.disks.list())).map(({ name }) => name)).toContain("data");
    await other.context().close();

    /** Changes something in the bare database. */
    const bare = (what: "piece" | "emulator") =>
      tab.evaluate(
        (wanted) =>
          new Promise<void>((resolve) => {
            const opening = indexedDB.open("smart-os-snapshots");
            opening.onsuccess = () => {
              const transaction = opening.result.transaction(["snapshots", "pieces"], "readwrite");
              transaction.oncomplete = () => {
                opening.result.close();
                resolve();
              };
              const records = transaction.objectStore("snapshots").getAll();
              records.onsuccess = () => {
                const record = records.result.find(({ name }) => name === "mine");
                if (wanted === "emulator")
                  transaction
                    .objectStore("snapshots")
                    .put({ ...record, system: { ...record.system, emulator: "another" } });
                else {
                  const { hash, stored } = record.pieces[20];
                  transaction.objectStore("pieces").put(new Uint8Array(stored).fill(3), hash);
                }
              };
            };
          }),
        what,
      );
    await bare("piece");
    expect(await refusal(restore(tab, "mine"))).toContain("Cannot go on with mine: what is stored of it is damaged");
    expect(await run(tab, "cat /tmp/f")).toBe("here");
    // What was damaged is stored anew with the next one that has it.
    await save(tab, "next");
    await restore(tab, "next");
    expect(await run(tab, "cat /tmp/f")).toBe("here");

    await bare("emulator");
    await tab.goto(`${pages.site.url}?boot=off`);
    await ready(tab);
    expect((await list(tab)).find(({ name }) => name === "mine")).toMatchObject({ unfit: "emulator" });
    expect(await refusal(restore(tab, "mine"))).toContain("another version of the emulator");
    expect((await list(tab)).map(({ name }) => name)).toEqual(["next", "mine"]);
    await tab.context().close();
  });
});
