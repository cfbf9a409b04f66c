/** A saved machine that goes along in a bundle, with what was on its disks; and bundles whose machine is none. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { ROOT } from "../machine/guest.ts";
import { openFile, run, type Site, startSite, state, testid } from "./page.ts";
import { policedPage, violations } from "./violations.ts";

vi.setConfig({ testTimeout: 240_000 });

const PROGRAM = join(ROOT, "cli/smart-os.mjs");
const MACHINE = "snapshot/machine.smartos-snapshot";
let site: Site;
const scratch = mkdtempSync(join(tmpdir(), "smart-os-saved-"));
const at = (name: string) => join(scratch, name);
beforeAll(async () => {
  site = await startSite();
});
afterAll(async () => {
  await site?.close();
  rmSync(scratch, { recursive: true });
});

/** The unpacked bundle with a header of the saved machine that was changed, packed again by the command line. */
function changed(name: string, change: (header: { record: Record<string, unknown> }) => void): string {
  execFileSync("cp", ["-r", at("unzipped"), at(name)]);
  const bytes = readFileSync(at(`unzipped/${MACHINE}`));
  const length = bytes.readUInt32LE(12);
  const header = JSON.parse(bytes.subarray(16, 16 + length).toString());
  change(header);
  const text = Buffer.from(JSON.stringify(header));
  const start = Buffer.from(bytes.subarray(0, 16));
  start.writeUInt32LE(text.length, 12);
  writeFileSync(at(`${name}/${MACHINE}`), Buffer.concat([start, text, bytes.subarray(16 + length)]));
  execFileSync(process.execPath, [PROGRAM, "build", at(name), "-q", "-o", at(`${name}.smartos`)]);
  return at(`${name}.smartos`);
}

function smartOs(...words: string[]): { status: number | null; out: string; error: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...words], { encoding: "utf8" });
  return { status, out: stdout, error: stderr };
}

/** Opens a file as a new project. @returns the words of the notice that follows */
async function take(page: Page, path: string): Promise<string> {
  await openFile(page, path);
  await testid(page, "offer-keep").click();
  await expect.poll(() => testid(page, "notice").allInnerTexts(), { timeout: 90_000 }).not.toEqual([]);
  return (await testid(page, "notice").allInnerTexts()).join("\n");
}

const stored = (page: Page) =>
  page.evaluate(async () => {
    const request = indexedDB.open("smart-os-snapshots");
    const database = await new Promise<IDBDatabase>((resolve) => {
      request.onsuccess = () => resolve(request.result);
    });
    const count = async (name: string) => {
      const counting = database.transaction(name).objectStore(name).count();
      return new Promise<number>((resolve) => {
        counting.onsuccess = () => resolve(counting.result);
      });
    };
    const counts = [await count("snapshots"), await count("pieces")];
    database.close();
    return counts;
  });

describe("a saved machine in a bundle", () => {
  it("goes on in a fresh profile, on what was on its disks; what is none of this page's is refused", async () => {
    const author = await policedPage(site, "?boot=off");
    await author.evaluate(async () => {
      Object.assign(window, { showSaveFilePicker: undefined });
      await window.smartos.disks.create({ name: "data", sizeMb: 16 });
      await window.smartos.disks.attach("data");
      await window.smartos.boot();
    });
    await run(author, "mount /dev/sdb /mnt; echo then >/mnt/f; echo memory >/tmp/kept; sync");
    await author.evaluate(() => window.smartos.snapshot.save("as it was"));
    await run(author, "echo later >/mnt/f; sync; umount /mnt");
    await author.evaluate(() => window.smartos.shutdown());
    await testid(author, "project-menu").click();
    await author.getByRole("menuitem", { name: "Download for QEMU" }).click();
    await testid(author, "export-snapshot").selectOption({ index: 1 });
    const download = author.waitForEvent("download");
    await testid(author, "export-bundle").click();
    await (await download).saveAs(at("with.smartos"));
    await author.context().close();
    expect(execFileSync("unzip", ["-t", at("with.smartos")], { encoding: "utf8" })).toContain("No errors");
    execFileSync("unzip", ["-q", at("with.smartos"), "-d", at("unzipped")]);
    execFileSync(process.execPath, [PROGRAM, "build", at("with.smartos"), "-q", "-o", at("again.smartos")]);
    expect(readFileSync(at("again.smartos")).equals(readFileSync(at("with.smartos")))).toBe(true);

    // The command line goes on with it too, unless it is told to boot, or cannot.
    const remembered = "cat /tmp/kept /mnt/f; hostname; date +%Y";
    expect(smartOs("run", at("with.smartos"), "--command", remembered)).toEqual({
      status: 0,
      out: `memory\nthen\nsmart-os\n${new Date().getFullYear()}\n`,
      error: "",
    });
    // Whatever the command ends with, and as often as one likes: nothing was written to the bundle.
    expect(smartOs("run", at("unzipped"), "--command", "grep -c then /mnt/f; exit 7")).toMatchObject({
      ...{ status: 7, out: "1\n" },
    });
    expect(
      smartOs("run", at("with.smartos"), "--fresh", "--command", "mount /dev/sdb /mnt; cat /mnt/f /tmp/kept"),
    ).toEqual({
      ...{ status: 1, out: "later\ncat: can't open '/tmp/kept': No such file or directory\n", error: "" },
    });

    const page = await policedPage(site, "?boot=off");
    await openFile(page, at("with.smartos"));
    expect(await testid(page, "found").innerText()).toContain("Saved machine\ncomes with it");
    await testid(page, "offer-dismiss").click();
    const notice = await take(page, at("with.smartos"));
    expect(notice).toContain("A saved machine came with the project: as it was.");
    expect((await state(page)).status).toBe("running");
    expect(await run(page, "mount /dev/sdb /mnt; cat /mnt/f; ls /tmp/kept 2>&1; umount /mnt")).toMatch(
      /^later\n.*No such file/,
    );
    await page.getByRole("button", { name: "Go on with it" }).click();
    await expect
      .poll(() => run(page, "cat /tmp/kept /mnt/f").catch(() => ""), { timeout: 60_000 })
      .toBe("memory\nthen");
    expect((await page.evaluate(() => window.smartos.disks.list())).map(({ name }) => name)).toEqual([
      "system",
      "data",
    ]);
    await run(page, "echo more >>/mnt/f; umount /mnt; sync");

    // Damaged or hostile: nothing of it stays. Another version's is kept, and refused when it is to go on.
    await page.evaluate(() => window.smartos.shutdown());
    const before = await stored(page);
    const project = (await state(page)).project.id;
    const refused = async (name: string, change: Parameters<typeof changed>[1]): Promise<void> => {
      const message = await page.evaluate(
        async ([text, called]) => {
          const bytes = Uint8Array.from(atob(text as string), (letter) => letter.charCodeAt(0));
          const file = new File([bytes], called as string);
          return window.smartos.importImage(file).then(
            () => "taken",
            (error: Error) => error.message,
          );
        },
        [readFileSync(changed(name, change)).toString("base64"), name],
      );
      expect(message, name).toMatch(/^Cannot open .*: it is no snapshot, or it is damaged/);
      expect(await stored(page), name).toEqual(before);
      expect((await state(page)).project.id).toBe(project);
    };
    await refused("more-memory", ({ record }) => Object.assign(record.run as object, { memoryMb: 256 }));
    await refused("long", ({ record }) => {
      const [first] = record.pieces as { size: number }[];
      Object.assign(first as object, { size: 65_000 });
    });
    await refused("sum", ({ record }) => Object.assign(record, { sum: 1 }));
    const other = changed("other", ({ record }) =>
      Object.assign(record, { system: { emulator: "v86-other.wasm", system: "x" } }),
    );
    for (const [bundle, reason] of [
      [
        changed("no-print", ({ record }) => delete (record.system as { fingerprint?: string }).fingerprint),
        "it was saved with another version",
      ],
      [at("sum.smartos"), "what is stored of it is damaged"],
      [at("more-memory.smartos"), "its memory is not one of 256 MB"],
    ] as const) {
      const { status, out, error } = smartOs("run", bundle, "--command", "ls /tmp/kept 2>&1 | wc -l");
      expect({ status, out }, bundle).toEqual({ status: 0, out: "1\n" });
      expect(error).toContain(`Cannot go on with the saved machine: ${reason}`);
      expect(error).toContain("The project boots instead.");
    }
    expect(await take(page, other)).toContain("is one of another version of this page and cannot go on here");
    expect(
      await page.evaluate(() => window.smartos.snapshot.restore("as it was").catch((error: Error) => error.message)),
    ).toMatch(/^Cannot go on with as it was: it was saved with another version of the emulator/);
    expect(await violations(page)).toEqual([]);
    await page.context().close();
  });
});
