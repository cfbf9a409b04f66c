/** Files from outside: looked at, shown, taken as new projects, refused with words; what was there before stays as it was. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { badBundles } from "../soak/mutants.ts";
import { run, type Site, startSite, state, testid } from "./page.ts";
import { policedPage, violations } from "./violations.ts";

vi.setConfig({ testTimeout: 240_000 });

let site: Site;
let files: Server;
let elsewhere: string;
const scratch = mkdtempSync(join(tmpdir(), "smart-os-import-"));
const at = (name: string) => join(scratch, name);
beforeAll(async () => {
  site = await startSite();
  files = createServer((request, response) => {
    if (request.url?.startsWith("/open/")) response.setHeader("Access-Control-Allow-Origin", "*");
    response.statusCode = request.url?.endsWith("/missing") ? 404 : 200;
    response.end(request.url?.endsWith("/data.img.gz") ? readFileSync(at("data.img.gz")) : "");
  });
  await new Promise<void>((resolve) => files.listen(0, "127.0.0.1", resolve));
  elsewhere = `http://127.0.0.1:${(files.address() as AddressInfo).port}`;

  execFileSync("truncate", ["-s", "24M", at("data.img")]);
  execFileSync("/sbin/mke2fs", [
    "-q",
    "-t",
    "ext4",
    "-L",
    "native",
    "-d",
    join(import.meta.dirname, "../../docs"),
    at("data.img"),
  ]);
  writeFileSync(at("data.img.gz"), gzipSync(readFileSync(at("data.img"))));
  execFileSync("qemu-img", ["convert", "-c", "-O", "qcow2", at("data.img"), at("data.qcow2")]);
  mkdirSync(at("root/etc"), { recursive: true });
  writeFileSync(at("root/etc/from-tar"), "tar\n", { mode: 0o600 });
});
afterAll(async () => {
  await site?.close();
  files?.close();
  rmSync(scratch, { recursive: true });
});

const running = (page: Page) =>
  page.waitForFunction(() => window.smartos?.state().status === "running", null, { timeout: 90_000 });

/** Gives a file to the page's own function. @returns the new project's name, or the sentence of the refusal */
const take = (page: Page, bytes: Uint8Array, name: string): Promise<string> =>
  page.evaluate(
    ([text, called]) => {
      const blob = new Blob([Uint8Array.from(atob(text as string), (letter) => letter.charCodeAt(0))]);
      return window.smartos.importImage(blob, { name: called as string }).then(
        (project) => project.name,
        (error: Error) => error.message,
      );
    },
    [Buffer.from(bytes).toString("base64"), name],
  );

/** How many disks and pieces of them the browser keeps. */
const stored = (page: Page): Promise<number[]> =>
  page.evaluate(async () => {
    const settle = <T>(request: IDBRequest<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    const database = await settle(indexedDB.open("smart-os-disks"));
    const transaction = database.transaction(["disks", "chunks"]);
    const counts = await Promise.all(
      ["disks", "chunks"].map((store) => settle(transaction.objectStore(store).count())),
    );
    database.close();
    return counts;
  });

async function save(page: Page, kind: "bundle" | "disk-qcow2" | "initramfs"): Promise<Buffer> {
  const text = await page.evaluate(async (wanted) => {
    const bytes = new Uint8Array(await (await window.smartos.exportImage(wanted)).arrayBuffer());
    let binary = "";
    for (let start = 0; start < bytes.length; start += 32768)
      binary += String.fromCharCode(...bytes.subarray(start, start + 32768));
    return btoa(binary);
  }, kind);
  return Buffer.from(text, "base64");
}

describe("an import", () => {
  it("of what the page made gives the same system in a fresh profile", async () => {
    const author = await policedPage(site, "?boot=off");
    await author.evaluate(async () => {
      const { smartos } = window;
      await smartos.writeFile("/etc/mine", "mine\n", { mode: 0o640 });
      await smartos.removeFile("/etc/banner");
      await smartos.disks.create({ name: "data", sizeMb: 16, mountAt: "/mnt/data" });
      await smartos.boot();
    });
    await run(author, "echo kept >/mnt/data/f; sync");
    await author.evaluate(() => window.smartos.shutdown());
    const bundle = await save(author, "bundle");
    await author.evaluate(() => window.smartos.disks.build());
    const disk = await save(author, "disk-qcow2");
    const initramfs = await save(author, "initramfs");
    const rows = await author.evaluate(() => window.smartos.listFiles());
    await author.context().close();

    const page = await policedPage(site, "?boot=off");
    await page.evaluate(() => window.smartos.writeFile("/etc/untouched", "mine\n"));
    const before = (await state(page)).project;
    expect(await take(page, bundle, "theirs.smartos")).toBe("smart-os 2");
    await running(page);
    expect(await run(page, "stat -c %a /etc/mine; ls /etc/banner 2>/dev/null; cat /mnt/data/f")).toBe("640\nkept");
    expect(await page.evaluate(() => window.smartos.listFiles())).toEqual(rows);
    await testid(page, "asks-network").waitFor();

    // The system disk starts by itself.
    expect(await take(page, disk, "system.qcow2")).toBe("system");
    await running(page);
    expect((await state(page)).boot).toBe("disk");
    expect(await run(page, "cat /etc/mine; grep -o '/dev/sda1 / ext4' /proc/mounts")).toBe("mine\n/dev/sda1 / ext4");

    expect(await take(page, initramfs, "initramfs.cpio.gz")).toBe("initramfs");
    expect(
      (await page.evaluate(() => window.smartos.listFiles())).filter(({ origin }) => origin !== "default"),
    ).toEqual(rows.filter(({ origin }) => origin !== "default"));

    // Damaged or hostile: a sentence, and nothing is left of it.
    const names = () => page.evaluate(() => window.smartos.state().project.name);
    const last = await names();
    const kept = await stored(page);
    const cut = bundle.subarray(0, bundle.length - 3000);
    expect(await take(page, cut, "cut.smartos")).toMatch(/^Cannot open cut\.smartos: /);
    const bent = Buffer.from(bundle);
    const middle = bundle.length >> 1;
    for (let index = middle; index < middle + 64; index += 1) bent[index] = 0xff;
    expect(await take(page, bent, "bent.smartos")).toMatch(/^Cannot open bent\.smartos: /);
    expect(await take(page, gzipSync(Buffer.alloc(1000)).subarray(0, 20), "cut.gz")).toMatch(/^Cannot open cut\.gz: /);
    expect(await take(page, Buffer.from("hello"), "<b>.txt")).toMatch(/^Cannot open <b>\.txt: /);
    expect(await names()).toBe(last);
    await expect.poll(() => stored(page)).toEqual(kept);

    await testid(page, "project-menu").click();
    expect(await page.getByRole("menuitemradio").allInnerTexts()).toEqual([
      before.name,
      "smart-os 2",
      "system",
      "initramfs",
    ]);
    await page.getByRole("menuitemradio").first().click();
    expect(await page.evaluate(() => new TextDecoder().decode(window.smartos.readFile("/etc/untouched")))).toBe(
      "mine\n",
    );
    expect(await violations(page)).toEqual([]);
    await page.context().close();
  });

  it("of a thousand changed bundles leaves the library as it was", async () => {
    const page = await policedPage(site, "?boot=off");
    await page.evaluate(() => window.smartos.writeFile("/etc/untouched", "mine\n"));
    const library = () =>
      page.evaluate(() => JSON.stringify([window.smartos.state().project, window.smartos.listFiles()]));
    const before = [await library(), await stored(page)];
    const bundles = badBundles(1);
    for (let done = 0; done < 1000; done += 100) {
      const texts: string[] = [];
      while (texts.length < 100) texts.push(Buffer.from((await bundles.next()).value).toString("base64"));
      const answers = await page.evaluate(async (list) => {
        const said: string[] = [];
        for (const text of list) {
          const blob = new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]);
          const taking = window.smartos.importImage(blob, { name: "x.smartos" });
          said.push(
            await taking.then(
              () => "taken",
              (error: Error) => error.message,
            ),
          );
        }
        return said;
      }, texts);
      expect(answers.filter((answer) => !/^Cannot open x\.smartos: ./.test(answer))).toEqual([]);
    }
    expect([await library(), await stored(page)]).toEqual(before);
    await testid(page, "project-menu").click();
    expect(await page.getByRole("menuitemradio").count()).toBe(1);
    expect(await violations(page)).toEqual([]);
    await page.context().close();
  });

  it("by hand says what it found, and waits: drop, picker, paste, address", async () => {
    const page = await policedPage(site, "?boot=off");
    const found = testid(page, "found");
    const drop = async (name: string, how: "drop" | "paste"): Promise<void> => {
      await page.evaluate(
        ([text, called, kind]) => {
          const blob = new Blob([Uint8Array.from(atob(text as string), (letter) => letter.charCodeAt(0))]);
          const data = new DataTransfer();
          data.items.add(new File([blob], called as string));
          const event =
            kind === "drop"
              ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
              : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
          document.querySelector(".machine-panel")?.dispatchEvent(event);
        },
        [readFileSync(at(name)).toString("base64"), name, how],
      );
    };
    await drop("data.qcow2", "drop");
    expect(await found.innerText()).toMatch(
      /A disk image · qcow2 · [\d.]+ .B[\s\S]*ext4 · named “native”[\s\S]*data \(25\.2 MB\)/,
    );
    await testid(page, "offer-dismiss").click();
    await drop("data.img.gz", "paste");
    expect(await found.innerText()).toMatch(/A disk image · gzipped[\s\S]*ext4/);
    await testid(page, "offer-keep").click();
    await running(page);
    expect(await run(page, "mount /dev/sdb /mnt && head -1 /mnt/architecture.md")).toBe("# Architecture");

    execFileSync("tar", ["-czf", at("root.tar.gz"), "-C", at("root"), "--owner=0", "--group=0", "./etc/from-tar"]);
    await testid(page, "project-menu").click();
    const chooser = page.waitForEvent("filechooser");
    await page.getByRole("menuitem", { name: "Open a file" }).click();
    await (await chooser).setFiles(at("root.tar.gz"));
    expect(await found.innerText()).toContain("An archive of a root file system · tar");
    // Without an /init it adds to the default system.
    expect(await testid(page, "offer").locator(".offer-file").allInnerTexts()).toEqual([
      expect.stringContaining("/etc/from-tar"),
    ]);
    await testid(page, "offer-dismiss").click();

    const go = (address: string) => page.goto(`${site.url}?image=${encodeURIComponent(address)}`);
    await go(`${elsewhere}/open/data.img.gz`);
    expect(await found.innerText()).toContain("native");
    expect((await state(page)).status).toBe("off");
    await testid(page, "offer-dismiss").click();
    await running(page);
    expect(page.url()).not.toContain("image=");
    await go(`${elsewhere}/closed/data.img.gz`);
    await expect.poll(() => testid(page, "notice").innerText()).toContain("Access-Control-Allow-Origin");
    await running(page);
    await go(`${elsewhere}/open/missing`);
    await expect.poll(() => testid(page, "notice").innerText()).toContain("its server answers 404");
    await page.context().close();
  });
});
