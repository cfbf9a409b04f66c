/** Warm boots of the built page, in a real browser. */
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run, type Site, startSite, state, testid } from "./page.ts";

let site: Site;
beforeAll(async () => {
  site = await startSite();
}, 60_000);
afterAll(() => site.close());

/** An edit and a boot; what the edit says is on the terminal at the prompt. */
const edit = (page: Page, word: string): Promise<string[]> =>
  page.evaluate(async (word) => {
    await window.smartos.writeFile("/etc/init.d/rc.local", `#!/bin/sh\necho "word: ${word}"\n`, { mode: 0o755 });
    await window.smartos.boot({ mode: "warm" });
    await window.smartos.waitFor(`word: ${word}`, { timeoutMs: 1000 });
    return window.smartos.timeline().map(({ phase }) => phase);
  }, word);

describe("a warm boot", () => {
  it("is the default, again and again, with the edit in place; a spare machine waits", async () => {
    const page = await site.open();
    expect(await state(page)).toMatchObject({ boot: "warm", coldReason: null, status: "running" });
    const phases = ["build", "restore", "files", "initramfs", "init-scripts", "shell"];
    for (const word of ["first", "second"]) {
      // Long enough for the spare machine of the second turn.
      if (word === "second") await page.waitForTimeout(5000);
      expect(await edit(page, word)).toEqual(phases);
    }
    expect(await run(page, "cat /etc/init.d/rc.local; cat /proc/1/comm")).toBe('#!/bin/sh\necho "word: second"\ninit');
    const drift = Number(await run(page, "date +%s")) - (await page.evaluate(() => Date.now() / 1000));
    expect(Math.abs(drift)).toBeLessThan(2);
    // The guest's own reboot comes back warm.
    await page.evaluate(() => window.smartos.type("reboot\n"));
    await expect.poll(async () => (await state(page)).status, { timeout: 60_000 }).toBe("booting");
    await expect.poll(async () => (await state(page)).status, { timeout: 60_000 }).toBe("running");
    expect((await state(page)).boot).toBe("warm");
    // Whoever wants to see the kernel start asks for it.
    await page.getByTestId("boot-cold").click();
    await expect
      .poll(() => state(page), { timeout: 60_000 })
      .toMatchObject({ boot: "cold", status: "running", coldReason: null });
    expect(await page.getByTestId("boot-cold").isVisible()).toBe(false);
    // What the builder refuses is refused in the same words.
    const refusal = await page.evaluate(async () => {
      await window.smartos.writeFile("/srv/large", new Uint8Array(70e6));
      const messages: string[] = [];
      for (const mode of ["warm", "cold"] as const)
        messages.push(
          await window.smartos.boot({ mode }).then(
            () => "booted",
            (error: Error) => error.message,
          ),
        );
      return messages;
    });
    expect(refusal[0]).toMatch(/Cannot boot with \d+ MB of files/);
    expect(refusal[0]).toBe(refusal[1]);
    await page.context().close();
  }, 180_000);

  it("takes no key from the editor while the spare machine is made", async () => {
    const page = await site.open();
    await testid(page, "file-tree").locator('[data-path="/etc/hostname"]').click();
    await testid(page, "editor").locator(".cm-content").click();
    // From before the spare is begun until it is there.
    await page.keyboard.type("x".repeat(400), { delay: 6 });
    const content = await page.evaluate(async () =>
      new TextDecoder().decode(await window.smartos.readFile("/etc/hostname")),
    );
    expect(content.replace(/[^x]/g, "")).toHaveLength(400);
    await page.context().close();
  }, 60_000);

  it("has the files ahead that were there while the machine waited, and the last edits as well", async () => {
    const page = await site.open();
    const bootAt = await page.evaluate(async () => {
      for (const name of ["kept", "changed", "removed"])
        await window.smartos.writeFile(`/srv/${name}`, `${name} first`);
      await new Promise((resolve) => setTimeout(resolve, 6000));
      await window.smartos.writeFile("/srv/changed", "changed last");
      await window.smartos.removeFile("/srv/removed");
      await window.smartos.writeFile("/srv/added", "added last");
      const now = Date.now() / 1000;
      await window.smartos.boot({ mode: "warm" });
      return now;
    });
    expect(await state(page)).toMatchObject({ boot: "warm", coldReason: null });
    expect(await run(page, "cd /srv && ls && cat added changed kept")).toBe(
      "added\nchanged\nkept\nadded lastchanged lastkept first",
    );
    expect(Number(await run(page, "stat -c %Z /srv/kept"))).toBeLessThan(bootAt - 1);
    expect(Number(await run(page, "stat -c %Z /srv/added"))).toBeGreaterThan(bootAt - 1);
    // A default file that was changed and is wanted back: its content comes with another machine.
    const hostname = await page.evaluate(async () => {
      const original = await window.smartos.readFile("/etc/hostname");
      await window.smartos.writeFile("/etc/hostname", "changed\n");
      await new Promise((resolve) => setTimeout(resolve, 6000));
      await window.smartos.writeFile("/etc/hostname", original);
      await window.smartos.boot({ mode: "warm" });
      return new TextDecoder().decode(original);
    });
    expect(await state(page)).toMatchObject({ boot: "warm", coldReason: null });
    expect(await run(page, "cat /etc/hostname /srv/kept")).toBe(`${hostname}kept first`);
    await page.context().close();
  }, 120_000);

  it("shows the kernel's words in a cold boot when there is no first program", async () => {
    const page = await site.open();
    const message = await page.evaluate(async () => {
      await window.smartos.removeFile("/init");
      return window.smartos.boot({ mode: "warm" }).then(
        () => "booted",
        (error: Error) => error.message,
      );
    });
    expect(message).toMatch(/No working init found/);
    expect((await state(page)).boot).toBe("cold");
    expect((await state(page)).coldReason).toMatch(/could not take the files/);
    await page.context().close();
  }, 180_000);

  it("is a cold one where no state serves, says why, and is warm the next time by a state of the page's own", async () => {
    const page = await site.open("?mem=32");
    expect(await state(page)).toMatchObject({ boot: "cold", memoryMb: 32 });
    expect((await state(page)).coldReason).toMatch(/no saved state for so much memory/);
    expect(await page.getByTestId("cold-reason").innerText()).toMatch(/Cold boot/);
    await expect
      .poll(
        async () => {
          await page.waitForTimeout(3000);
          await page.evaluate(() => window.smartos.boot());
          return (await state(page)).boot;
        },
        { timeout: 150_000 },
      )
      .toBe("warm");
    expect(Number(await run(page, "free -m | awk '/Mem/ {print $2}'"))).toBeLessThan(32);
    await page.context().close();
  }, 240_000);
});
