/** Links: a project in the address, shown before it starts, tried or kept, and offline until the user agrees. */
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { run, type Site, startSite, state, testid } from "./page.ts";
import { policedPage, violations } from "./violations.ts";

let site: Site;
beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site.close());

vi.setConfig({ testTimeout: 120_000 });

const NAME = "<img src=x onerror=alert(1)>";
const running = (page: Page) =>
  page.waitForFunction(() => window.smartos?.state().status === "running", null, { timeout: 60_000 });
const projects = async (page: Page): Promise<string[]> => {
  await testid(page, "project-menu").click();
  const names = await page.getByRole("menuitemradio").allInnerTexts();
  await page.keyboard.press("Escape");
  return names;
};

/** Another person's page makes the link. */
async function makeLink(): Promise<string> {
  const author = await policedPage(site, "?boot=off");
  await author.evaluate(async (name) => {
    const { smartos } = window;
    const init = new TextDecoder().decode(smartos.readFile("/init"));
    await smartos.writeFile("/init", init.replace("#!/bin/sh\n", "#!/bin/sh\necho from the link\n"));
    await smartos.writeFile("/etc/<i>markup</i>", new Uint8Array([0, 1, 255]), { mode: 0o600 });
    await smartos.removeFile("/etc/banner");
    document.title = name;
  }, NAME);
  await testid(author, "project-menu").click();
  await author.getByRole("menuitem", { name: /Rename/ }).click();
  await author.getByRole("dialog").locator("input").fill(NAME);
  await author.getByRole("dialog").locator("[type=submit]").click();
  await testid(author, "project-menu").click();
  await author.getByRole("menuitem", { name: /Share as a link/ }).click();
  const url = await testid(author, "link-url").inputValue();
  expect(await testid(author, "link-length").innerText()).toContain(`${url.length} characters`);
  expect(await testid(author, "qr-code").locator("svg path").getAttribute("d")).toMatch(/^M4 4h1v1h-1z/);
  expect(await author.evaluate(() => window.smartos.link())).toBe(url);
  await author.keyboard.press("Escape");

  await author.evaluate(() => window.smartos.writeFile("/opt/noise", crypto.getRandomValues(new Uint8Array(30_000))));
  await testid(author, "project-menu").click();
  await author.getByRole("menuitem", { name: /Share as a link/ }).click();
  expect(await testid(author, "link-too-long").innerText()).toMatch(
    /does not fit into a link: it would have 4\d{4} char/,
  );
  const download = author.waitForEvent("download");
  await testid(author, "link-download").click();
  expect((await download).suggestedFilename()).toMatch(/\.smartos$/);
  expect(await author.evaluate(() => window.smartos.link().catch((error: Error) => error.message))).toContain(
    "does not fit into a link",
  );
  expect(await violations(author)).toEqual([]);
  await author.context().close();
  return url;
}

describe("a link", () => {
  it("shows what it changes before anything starts, runs it unkept and offline, and keeps it when asked", async () => {
    const url = await makeLink();
    const page = await policedPage(site);
    await running(page);
    await page.evaluate(() => window.smartos.writeFile("/etc/mine", "mine\n"));
    const sockets: string[] = [];
    page.on("websocket", (socket) => sockets.push(socket.url()));

    // In an open page by a change of the hash, and the machine at work goes on.
    await page.goto(url);
    const offer = testid(page, "offer");
    await offer.waitFor();
    expect(await page.getByRole("dialog").innerText()).toContain(NAME);
    expect(await offer.innerText()).toContain("3 files differ");
    expect((await offer.locator(".offer-file").allInnerTexts()).map((words) => words.split("\n"))).toEqual([
      ["A", "/etc/<i>markup</i>"],
      ["D", "/etc/banner"],
      ["M", "/init"],
    ]);
    await offer.locator('[data-path="/init"]').click();
    await expect.poll(() => offer.locator(".cm-changedLine").allInnerTexts()).toEqual(["echo from the link"]);
    await offer.locator('[data-path="/etc/<i>markup</i>"]').click();
    expect(await offer.locator(".offer-facts").innerText()).toContain("Not text: 3 B");
    expect(await run(page, "cat /etc/hostname")).toBe("smart-os");
    await testid(page, "offer-dismiss").click();
    await expect.poll(() => page.url()).toBe(site.url);
    expect((await state(page)).project.name).toBe("smart-os");
    expect(await projects(page)).toEqual(["smart-os"]);

    // In a page that opens with it: nothing boots until it is started.
    await page.goto("about:blank");
    const relay = `${site.url.replace("http", "ws")}relay`;
    await page.goto(url.replace("#", `?relay=${relay}#`));
    await offer.waitFor();
    expect((await state(page)).status).toBe("off");
    sockets.length = 0;
    await testid(page, "offer-try").click();
    await running(page);
    expect(await page.evaluate(() => window.smartos.waitFor("from the link"))).toBe("from the link");
    expect(await run(page, "stat -c %a '/etc/<i>markup</i>'; ls /etc/banner 2>/dev/null || echo gone")).toBe(
      "600\ngone",
    );
    expect((await state(page)).project.name).toBe(NAME);
    expect(await testid(page, "asks-network").innerText()).toContain(relay);
    await page.evaluate(() => window.smartos.network.setOnline(true));
    expect((await page.evaluate(() => window.smartos.network.status())).status).toBe("off");
    expect(sockets).toEqual([]);
    await testid(page, "allow-network").click();
    await expect.poll(() => sockets[0]).toBe(relay);
    expect(await testid(page, "asks-network").count()).toBe(0);

    // Not kept: the next visit has only what was there before, as it was.
    expect(await testid(page, "visiting").innerText()).toContain("not kept");
    await page.goto("about:blank");
    await page.goto(`${site.url}?boot=off`);
    await page.waitForFunction(() => window.smartos !== undefined);
    expect(await projects(page)).toEqual(["smart-os"]);
    expect(await page.evaluate(() => new TextDecoder().decode(window.smartos.readFile("/etc/mine")))).toBe("mine\n");

    // Kept, it is one project more, and asks again for the network.
    await page.goto(url.replace("#", "?boot=off#"));
    await testid(page, "offer-keep").click();
    await running(page);
    expect(page.url()).not.toContain("#p=");
    await testid(page, "asks-network").waitFor();
    await page.goto(site.url);
    await running(page);
    expect((await state(page)).project.name).toBe(NAME);
    await testid(page, "asks-network").waitFor();
    expect(await projects(page)).toEqual(["smart-os", NAME]);
    expect(await page.locator("img").count()).toBe(0);
    expect(await violations(page)).toEqual([]);
    await page.context().close();
  });

  it("that is damaged is refused with a sentence, and the page boots what it has", async () => {
    const page = await policedPage(site, "#p=AAAA");
    await running(page);
    expect(await testid(page, "notice").innerText()).toContain("Cannot open the link: ");
    await expect.poll(() => page.url()).toBe(site.url);
    expect(await projects(page)).toEqual(["smart-os"]);
    await page.evaluate(() => {
      location.hash = "#p=%3Cb%3E";
    });
    await expect.poll(() => testid(page, "notice").allInnerTexts()).toHaveLength(2);
    await page.context().close();
  });
});
