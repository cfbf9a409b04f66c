import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ready, run, type Site, startSite, state, testid } from "./page.ts";

let site: Site;
beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site.close());

const reload = async (page: Page): Promise<void> => {
  await page.reload();
  await ready(page);
};

describe("a running page", () => {
  let page: Page;
  beforeAll(async () => {
    page = await site.open("?boot=cold");
  });
  afterAll(() => page.context().close());

  it("boots to a shell, runs commands, and takes what is typed", async () => {
    expect(await run(page, "uname -m; cat /proc/1/comm")).toBe("i686\ninit");
    expect(await state(page)).toMatchObject({
      status: "running",
      phase: "shell",
      problem: null,
      storage: "saved",
      pendingEdits: false,
    });
    await testid(page, "terminal").click();
    await page.keyboard.type("echo ty''ped $((6*7))\n");
    await page.evaluate(() => window.smartos.waitFor("typed 42"));
    const timeline = await page.evaluate(() => window.smartos.timeline());
    expect(timeline.map(({ phase }) => phase)).toEqual([
      "build",
      "bios",
      "kernel",
      "initramfs",
      "init-scripts",
      "shell",
    ]);
    await testid(page, "timeline").locator('[data-phase="kernel"]').click();
    expect(await testid(page, "timeline").locator(".messages:visible").innerText()).toContain("Linux version 6.12");
  });

  it("pauses and goes on", async () => {
    await testid(page, "pause").click();
    await page.waitForFunction(() => window.smartos.state().status === "paused");
    const answer = page.evaluate(() => window.smartos.run("echo alive", { timeoutMs: 20_000 }));
    await page.waitForTimeout(300);
    await testid(page, "pause").click();
    expect(await answer).toEqual({ status: 0, output: "alive\n" });
  });

  it("types on the screen's own keyboard", async () => {
    await testid(page, "tab-screen").click();
    await page.locator(".screen").click();
    await page.keyboard.type("touch /tmp/typed\n", { delay: 30 });
    await expect.poll(() => run(page, "ls /tmp/typed 2>/dev/null || true"), { timeout: 15_000 }).toBe("/tmp/typed");
    expect(await page.locator(".screen").innerText()).toContain("root@smart-os");
    await testid(page, "tab-terminal").click();
  });

  it("tells the guest the terminal's size", async () => {
    const [rows, columns] = (await run(page, "stty -F /dev/ttyS0 size")).split(" ").map(Number);
    expect(rows).toBeGreaterThan(10);
    expect(columns).toBeGreaterThan(40);
    await page.setViewportSize({ width: 1100, height: 700 });
    await expect.poll(async () => run(page, "stty -F /dev/ttyS0 size")).not.toBe(`${rows} ${columns}`);
  });

  it("has no sideways scrolling at 390 px, and reaches every panel", async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    for (const panel of ["tree", "editor", "machine"]) {
      await testid(page, `panel-${panel}`).click();
      expect(await page.locator(`.${panel}-panel`).isVisible()).toBe(true);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    }
    await page.setViewportSize({ width: 1440, height: 900 });
  });

  it("speaks Chinese when asked to, and shows markup in names as text", async () => {
    await testid(page, "language").click();
    await expect.poll(() => testid(page, "apply").innerText()).toBe("应用并重启");
    await page.evaluate(() => window.smartos.writeFile("/etc/<b>x<img src=x>", "x"));
    expect(await testid(page, "file-tree").locator('[data-path^="/etc/<b>"] .name').innerText()).toBe(
      "<b>x<img src=x>",
    );
    await page.evaluate(() => window.smartos.removeFile("/etc/<b>x<img src=x>"));
    await testid(page, "language").click();
    await expect.poll(() => testid(page, "apply").innerText()).toBe("Apply and reboot");
  });

  it("downloads a project that unzip opens, and an initramfs that cpio opens", async () => {
    const folder = mkdtempSync(join(tmpdir(), "smart-os-download-"));
    await page.evaluate(() => window.smartos.writeFile("/opt/hello", "hello\n", { mode: 0o755 }));
    for (const [label, name, kind] of [
      ["Download project", "project.smartos", null],
      ["Download for QEMU, Docker", "initramfs.cpio.gz", "initramfs"],
    ] as const) {
      await testid(page, "project-menu").click();
      const download = page.waitForEvent("download");
      await page.getByRole("menuitem", { name: label }).click();
      // Nobody is there to choose a file's place.
      await page.evaluate(() => Object.assign(window, { showSaveFilePicker: undefined }));
      if (kind) await testid(page, `export-${kind}`).click();
      await (await download).saveAs(join(folder, name));
    }
    await page.keyboard.press("Escape");
    expect(execFileSync("unzip", ["-l", join(folder, "project.smartos")], { encoding: "utf8" })).toMatch(
      /project\.json[\s\S]*files\/opt\/hello/,
    );
    const listing = execFileSync("sh", ["-c", `gzip -dc ${join(folder, "initramfs.cpio.gz")} | cpio -itv --quiet`], {
      encoding: "utf8",
    });
    expect(listing).toMatch(/-rwxr-xr-x .* 6 .* opt\/hello/);
    expect(listing).toMatch(/bin\/busybox/);
    rmSync(folder, { recursive: true });
  });
});

describe("booting", () => {
  it("applies an edit by Ctrl+Enter, and keeps it over a reload", async () => {
    const page = await site.open();
    await testid(page, "file-tree").locator('[data-path="/etc/init.d/rc.local"]').click();
    await testid(page, "editor").locator(".cm-content").click();
    await page.keyboard.press("Control+End");
    await page.keyboard.type("\ntouch /tmp/edited\n");
    await page.waitForFunction(() => window.smartos.state().pendingEdits);
    expect(
      await testid(page, "file-tree").locator('[data-path="/etc/init.d/rc.local"]').getAttribute("data-origin"),
    ).toBe("changed");
    await testid(page, "tab-changes").click();
    await expect.poll(() => testid(page, "editor").locator(".cm-changedLine").count()).toBeGreaterThan(0);
    await testid(page, "tab-edit").click();
    await testid(page, "editor").locator(".cm-content").click();
    await page.keyboard.press("Control+Enter");
    await page.waitForFunction(
      () => window.smartos.state().status === "building" || window.smartos.state().status === "booting",
    );
    await page.waitForFunction(() => window.smartos.state().status === "running", null, { timeout: 60_000 });
    expect(await run(page, "ls /tmp/edited")).toBe("/tmp/edited");
    expect((await state(page)).pendingEdits).toBe(false);
    await reload(page);
    expect(await run(page, "ls /tmp/edited")).toBe("/tmp/edited");
    expect(
      new TextDecoder().decode(
        Uint8Array.from(Object.values(await page.evaluate(() => window.smartos.readFile("/etc/init.d/rc.local")))),
      ),
    ).toContain("touch /tmp/edited");
    await page.context().close();
  });

  it("does what scripts ask: write, boot, reload", async () => {
    const page = await site.open();
    await page.evaluate(() =>
      window.smartos.writeFile("/etc/init.d/rc.local", "#!/bin/sh\ntouch /tmp/marker\n", { mode: 0o755 }),
    );
    const { promptMs } = await page.evaluate(() => window.smartos.boot({ mode: "cold" }));
    expect(promptMs).toBeGreaterThan(100);
    expect(await run(page, "ls /tmp/marker")).toBe("/tmp/marker");
    await reload(page);
    expect(await run(page, "ls /tmp/marker")).toBe("/tmp/marker");
    await page.evaluate(() => window.smartos.removeFile("/etc/init.d/rc.local"));
    expect(
      (await page.evaluate(() => window.smartos.listFiles())).find(({ path }) => path === "/etc/init.d/rc.local")
        ?.origin,
    ).toBe("deleted");
    await page.evaluate(() => window.smartos.shutdown());
    expect(await state(page)).toMatchObject({ status: "off", uptimeMs: 0 });
    await expect(page.evaluate(() => window.smartos.run("true"))).rejects.toThrow("Cannot run");
    await page.context().close();
  });

  it("tells of a broken /init, and leads back to the last version that booted", async () => {
    const page = await site.open();
    await page.evaluate(() => window.smartos.writeFile("/init", "#!/bin/sh\nexit 1\n", { mode: 0o755 }));
    const message = await page.evaluate(() => window.smartos.boot().then(String, (error: Error) => error.message));
    expect(message).toContain("Attempted to kill init");
    expect(await state(page)).toMatchObject({ status: "failed", problem: { phase: "initramfs", kind: "init-failed" } });
    expect(await testid(page, "problem").innerText()).toContain("Attempted to kill init");
    expect(await testid(page, "problem").locator("pre").innerText()).toContain("Kernel panic");
    await testid(page, "go-back").click();
    await page.waitForFunction(() => window.smartos.state().status === "running", null, { timeout: 60_000 });
    expect(await run(page, "cat /proc/1/comm")).toBe("init");
    expect(await testid(page, "problem").isVisible()).toBe(false);
    await page.context().close();
  });

  it("says before it boots what cannot be built, and names the file", async () => {
    const page = await site.open();
    await page.evaluate(() => window.smartos.writeFile("/big", new Uint8Array(70 * 1024 * 1024)));
    const message = await page.evaluate(() => window.smartos.boot().then(String, (error: Error) => error.message));
    expect(message).toMatch(
      /^Cannot boot with 7\d MB of files: unpacking them takes 2\d\d MB of memory, the machine has 128 MB/,
    );
    expect(await state(page)).toMatchObject({ status: "failed", problem: { phase: "build", kind: "invalid" } });
    await page.context().close();
  });

  it("says that no shell has come, lets the machine go on, and takes the word back", async () => {
    const page = await site.open();
    await page.evaluate(() => window.smartos.writeFile("/etc/init.d/rc.local", "#!/bin/sh\nsleep 20\n"));
    const boot = page.evaluate(() => window.smartos.boot().then(String, (error: Error) => error.message));
    expect(await boot).toContain("No shell has come yet");
    expect(await state(page)).toMatchObject({
      status: "booting",
      problem: { kind: "no-shell", phase: "init-scripts" },
    });
    await page.waitForFunction(() => window.smartos.state().status === "running", null, { timeout: 60_000 });
    expect((await state(page)).problem).toBeNull();
    await page.context().close();
  });

  it("starts a new builder when the old one died, and tells the caller", async () => {
    const context = await site.browser.newContext();
    await context.addInitScript(() => {
      // The first builder is gone in the middle of its work.
      const Original = window.Worker;
      let killed = false;
      window.Worker = class extends Original {
        readonly #isBuilder: boolean;
        constructor(url: string | URL, options?: WorkerOptions) {
          super(url, options);
          this.#isBuilder = options?.name?.includes("system") ?? false;
        }
        override postMessage(message: unknown, transfer?: unknown): void {
          if (!this.#isBuilder || killed) return super.postMessage(message, transfer as Transferable[]);
          killed = true;
          // What it does not hear of it cannot finish first.
          setTimeout(() => {
            this.terminate();
            this.dispatchEvent(new ErrorEvent("error", { message: "killed by the test" }));
          });
        }
      } as typeof Worker;
    });
    const page = await site.open("?boot=cold", context);
    expect(await state(page)).toMatchObject({ status: "failed", problem: { phase: "build" } });
    expect(await testid(page, "problem").innerText()).toContain(
      "the builder stopped unexpectedly (killed by the test)",
    );
    await page.evaluate(() => window.smartos.boot());
    expect((await state(page)).status).toBe("running");
    await context.close();
  });

  it("keeps the guest's reboot and power-off in the page", async () => {
    const page = await site.open();
    await page.evaluate(() => window.smartos.type("touch /tmp/gone; reboot\r"));
    await page.waitForFunction(() => window.smartos.state().status !== "running", null, { timeout: 30_000 });
    await page.waitForFunction(() => window.smartos.state().status === "running", null, { timeout: 60_000 });
    expect(await run(page, "ls /tmp/gone 2>/dev/null || echo fresh")).toBe("fresh");
    await page.evaluate(() => window.smartos.type("poweroff\r"));
    await page.waitForFunction(() => window.smartos.state().status === "off", null, { timeout: 30_000 });
    await testid(page, "power").click();
    await page.waitForFunction(() => window.smartos.state().status === "running", null, { timeout: 60_000 });
    await page.context().close();
  });
});

describe("projects and storage", () => {
  it("keeps several projects apart, and brings a deleted one back", async () => {
    const page = await site.open();
    await page.evaluate(() => window.smartos.writeFile("/first", "1"));
    await testid(page, "project-menu").click();
    await page.getByRole("menuitem", { name: "Duplicate" }).click();
    await page.waitForFunction(() => window.smartos.state().project.name === "smart-os 2");
    await page.evaluate(() => window.smartos.writeFile("/second", "2"));
    await testid(page, "project-menu").click();
    await page.getByRole("menuitemradio", { name: "smart-os", exact: true }).click();
    await page.waitForFunction(() => window.smartos.state().project.name === "smart-os");
    const paths = (await page.evaluate(() => window.smartos.listFiles())).map(({ path }) => path);
    expect(paths).toContain("/first");
    expect(paths).not.toContain("/second");
    await testid(page, "project-menu").click();
    await page.getByRole("menuitem", { name: "Delete" }).click();
    await page.waitForFunction(() => window.smartos.state().project.name === "smart-os 2");
    await testid(page, "notice").getByRole("button", { name: "Undo" }).click();
    await page.waitForFunction(() => window.smartos.state().project.name === "smart-os");
    await page.context().close();
  });

  it("lets one tab write a project at a time", async () => {
    const first = await site.open();
    const second = await site.open("", first.context());
    await second.waitForFunction(() => !window.smartos.state().writable);
    await expect(second.evaluate(() => window.smartos.writeFile("/x", "from the second"))).rejects.toThrow(
      "open in another tab",
    );
    await first.evaluate(() => window.smartos.writeFile("/x", "from the first"));
    await expect
      .poll(() => second.evaluate(() => window.smartos.listFiles().some(({ path }) => path === "/x")))
      .toBe(true);
    await testid(second, "take-over").click();
    await second.waitForFunction(() => window.smartos.state().writable);
    await first.waitForFunction(() => !window.smartos.state().writable);
    await second.evaluate(() => window.smartos.writeFile("/y", "from the second"));
    await second.close();
    await first.waitForFunction(() => window.smartos.state().writable);
    expect(await first.evaluate(() => window.smartos.listFiles().some(({ path }) => path === "/y"))).toBe(true);
    await first.context().close();
  });

  it("works without storage, says so, and keeps the work in memory", async () => {
    const context = await site.browser.newContext();
    await context.addInitScript(() => {
      Object.defineProperty(window, "indexedDB", {
        value: {
          open: () => {
            throw new DOMException("refused", "SecurityError");
          },
        },
      });
    });
    const page = await site.open("", context);
    await page.evaluate(() => window.smartos.writeFile("/x", "kept"));
    expect(await testid(page, "saved-state").innerText()).toBe("Only in memory");
    expect(await page.locator(".banner").innerText()).toContain("The browser refuses storage");
    expect((await page.evaluate(() => window.smartos.listFiles())).some(({ path }) => path === "/x")).toBe(true);
    await context.close();
  });

  it("says that the browser has thrown away what was stored, and which projects it cannot read", async () => {
    const context = await site.browser.newContext();
    const notice = (page: Page, words: string) => testid(page, "notice").filter({ hasText: words });
    const page = await site.open("?boot=off", context);
    await expect.poll(async () => (await state(page)).storage).toBe("saved");
    expect(await notice(page, "thrown away").count()).toBe(0);
    // Nothing of the page's own runs at this address.
    await page.goto(`${site.url}icon.svg`);
    await page.evaluate(async () => {
      for (const { name = "" } of await indexedDB.databases())
        await new Promise((resolve, reject) => {
          const request = indexedDB.deleteDatabase(name);
          request.onsuccess = resolve;
          request.onerror = reject;
        });
    });
    await page.goto(`${site.url}?boot=off`);
    await notice(page, "thrown away").waitFor();
    await expect.poll(async () => (await state(page)).storage).toBe("saved");
    await page.goto(`${site.url}icon.svg`);
    await page.evaluate(
      () =>
        new Promise<void>((resolve) => {
          const request = indexedDB.open("smart-os");
          request.onsuccess = () => {
            const transaction = request.result.transaction("library", "readwrite");
            transaction.objectStore("library").put({ revision: 1, project: { version: 2 } }, "project:later");
            transaction.oncomplete = () => {
              request.result.close();
              resolve();
            };
          };
        }),
    );
    await page.goto(`${site.url}?boot=off`);
    await notice(page, "A stored project cannot be read").waitFor();
    expect(await notice(page, "thrown away").count()).toBe(0);
    await context.close();
  });

  it("says when storage is full, loses nothing, and saves once there is room", async () => {
    const context = await site.browser.newContext();
    // Chromium keeps the quota that it found at an origin's first write.
    const devtools = await context.newCDPSession(await context.newPage());
    await devtools.send("Storage.overrideQuotaForOrigin", { origin: new URL(site.url).origin, quotaSize: 1_000_000 });
    const page = await site.open("", context);
    await page.evaluate(() =>
      window.smartos.writeFile(
        "/big",
        crypto
          .getRandomValues(new Uint8Array(60_000))
          .reduce((all, byte) => all + byte.toString(16), "")
          .repeat(40),
      ),
    );
    await expect.poll(async () => (await state(page)).storage, { timeout: 15_000 }).toBe("failed");
    expect(await page.locator(".banner").innerText()).toContain("storage is full");
    expect((await page.evaluate(() => window.smartos.readFile("/big"))) !== undefined).toBe(true);
    await devtools.send("Storage.overrideQuotaForOrigin", { origin: new URL(site.url).origin });
    await testid(page, "saved-state").click();
    await expect.poll(async () => (await state(page)).storage, { timeout: 15_000 }).toBe("saved");
    await reload(page);
    expect((await page.evaluate(() => window.smartos.listFiles())).some(({ path }) => path === "/big")).toBe(true);
    await page.context().close();
  });
});
