/**
 * Boot times in Chromium against QEMU with the same kernel and the same files, turn by turn in one run, and what a
 * first visit costs. Absolute times are this machine's; the ratios are what counts.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { ready, type Site, startSite } from "../test/browser/page.ts";
import { bootGuest, buildTestInitramfs, ROOT } from "../test/machine/guest.ts";
import { bootQemu } from "./qemu.ts";
import { atMost, bounded, median, publish, type Row } from "./table.ts";

const ROUNDS = Number(process.argv[2] ?? 5);
const scratch = mkdtempSync(join(tmpdir(), "smart-os-bench-"));

/** The emulator in Node, switched on to the first prompt: ours, or v86 as it comes with a kernel that unpacks itself. */
async function bootNode(initramfs: Uint8Array<ArrayBuffer>, isStock: boolean): Promise<number> {
  const guest = await bootGuest({ initramfs, packedKernel: isStock, stockEmulator: isStock });
  await guest.until(() => guest.watch.promptMs !== null, "prompt", 60_000);
  await guest.machine.stop();
  return guest.watch.promptMs as number;
}

/** A fresh profile: navigation to the first prompt, and the bytes that came over the wire. */
async function visit(site: Site): Promise<{ promptMs: number; wire: number; longest: number }> {
  const context = await site.browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  const devtools = await context.newCDPSession(page);
  await devtools.send("Network.enable");
  let wire = 0;
  devtools.on("Network.loadingFinished", ({ encodedDataLength }) => {
    wire += encodedDataLength;
  });
  await page.addInitScript(() => {
    const tasks: number[] = [];
    (window as unknown as { longTasks: number[] }).longTasks = tasks;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) tasks.push(entry.duration);
    }).observe({ type: "longtask", buffered: true });
  });
  await page.goto(site.url);
  await ready(page);
  const promptMs = await promptOnPageClock(page);
  const longest = await page.evaluate(() => Math.max(0, ...(window as unknown as { longTasks: number[] }).longTasks));
  await page.waitForLoadState("networkidle");
  await context.close();
  return { promptMs, wire, longest };
}

/** The prompt on the clock that starts with the navigation. */
function promptOnPageClock(page: Page): Promise<number> {
  return page.evaluate(() => {
    const { uptimeMs, promptMs } = window.smartos.state();
    const phases = window.smartos.timeline();
    const build = phases.find(({ phase }) => phase === "build")?.ms ?? 0;
    // Power-on was `uptimeMs` ago and `build` after the boot request; the prompt is counted from the request.
    return performance.now() - uptimeMs - build + (promptMs ?? Number.NaN);
  });
}

/** An edit made, Ctrl+Enter, and the prompt. @throws Error when the boot was another one than was asked for */
async function editToPrompt(page: Page, mode: "warm" | "cold"): Promise<number> {
  // The page has come to rest, as when somebody has typed for a while.
  await page.waitForTimeout(4000);
  return page.evaluate(async (wanted) => {
    await window.smartos.writeFile("/etc/init.d/rc.local", `#!/bin/sh\n# ${Math.random()}\n`, { mode: 0o755 });
    const { promptMs } = await window.smartos.boot({ mode: wanted });
    const { boot, coldReason } = window.smartos.state();
    if (boot !== wanted) throw new Error(`The boot was ${boot}: ${coldReason}`);
    return promptMs;
  }, mode);
}

/** The native way of the same: the tree packed by cpio and gzip, and QEMU to the prompt. */
async function nativeEditToPrompt(tree: string): Promise<number> {
  const startedAt = performance.now();
  const packed = join(scratch, "packed.cpio.gz");
  execFileSync("sh", ["-c", `find . | cpio --quiet -o -H newc | gzip -9 >${packed}`], { cwd: tree });
  return performance.now() - startedAt + (await bootQemu(packed));
}

/**
 * What a further file, or megabyte of files, of a warm boot takes in ms: when the machine that waits has had a few seconds
 * since the last edit, and when it has had none; and how long tar copies one.
 */
async function slope(site: Site, few: Load, many: Load): Promise<{ warm: number; atOnce: number; tar: number }> {
  const bytes = many.files * many.bytes - few.files * few.bytes;
  const added = bytes > 10e6 ? bytes / 1e6 : many.files - few.files;
  const warm: number[] = [];
  const atOnce: number[] = [];
  const page = await site.open("?mem=256");
  let start = 0;
  for (const { files, bytes } of [few, many]) {
    // What the smaller load has stays: a file that is removed costs the page more than one that is added.
    await page.evaluate(
      async ({ start, files, bytes }) => {
        const content = new Uint8Array(bytes);
        for (let at = 0; at < bytes; at += 65_536) crypto.getRandomValues(content.subarray(at, at + 65_536));
        for (let index = start; index < files; index += 1)
          await window.smartos.writeFile(`/srv/bench/${index % 40}/${index}`, content);
      },
      { start, files, bytes },
    );
    start = files;
    const times = { later: [] as number[], next: [] as number[] };
    for (let turn = 0; turn < 3; turn += 1) {
      await page.waitForTimeout(5000);
      times.later.push(await warmBoot(page));
      times.next.push(await warmBoot(page));
    }
    warm.push(median(times.later));
    atOnce.push(median(times.next));
  }
  await page.context().close();
  const tar = [few, many].map((load) => copyByTar(load));
  const perUnit = ([less = 0, more = 0]: number[]): number => Math.max(0, more - less) / added;
  return { warm: perUnit(warm), atOnce: perUnit(atOnce), tar: perUnit(tar) };
}

async function warmBoot(page: Page): Promise<number> {
  return page.evaluate(async () => {
    const { promptMs } = await window.smartos.boot({ mode: "warm" });
    const { boot, coldReason } = window.smartos.state();
    if (boot !== "warm") throw new Error(`The boot was ${boot}: ${coldReason}`);
    return promptMs;
  });
}

interface Load {
  files: number;
  /** Of each. */
  bytes: number;
}

function copyByTar({ files, bytes }: Load): number {
  const from = mkdtempSync(join(scratch, "from-"));
  for (let index = 0; index < files; index += 1) {
    mkdirSync(join(from, String(index % 40)), { recursive: true });
    writeFileSync(join(from, String(index % 40), String(index)), Buffer.alloc(bytes, index));
  }
  const times = [0, 1, 2].map(() => {
    const to = mkdtempSync(join(scratch, "to-"));
    const startedAt = performance.now();
    execFileSync("sh", ["-c", `tar -C ${from} -cf - . | tar -C ${to} -xf -`]);
    const ms = performance.now() - startedAt;
    rmSync(to, { recursive: true });
    return ms;
  });
  return median(times);
}

/** What the browser gets of the page itself, without the system's files and what it keeps for later visits. */
function weigh(): { page: number; emulator: number } {
  const dist = join(ROOT, "dist");
  const sizes = { page: 0, emulator: 0 };
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || !/\.(html|css|js|wasm)$/.test(entry.name) || entry.name === "offline.js") continue;
    const small = statSync(`${path}.br`, { throwIfNoEntry: false }) ?? statSync(path);
    sizes[entry.name.endsWith(".wasm") ? "emulator" : "page"] += small.size;
  }
  return sizes;
}

function say(what: string): void {
  process.stderr.write(`\r\u001b[K  ${what}`);
}

const archive = await buildTestInitramfs();
const initramfs = join(scratch, "initramfs.cpio");
writeFileSync(initramfs, archive);
const tree = join(scratch, "tree");
mkdirSync(tree);
execFileSync("sh", ["-c", `cpio --quiet -idm <${initramfs}`], { cwd: tree });
const site = await startSite();
const qemu: number[] = [];
const visits: Awaited<ReturnType<typeof visit>>[] = [];
const edits: number[] = [];
const warmEdits: number[] = [];
const natives: number[] = [];
const nodes: number[] = [];
const stocks: number[] = [];
// First what matters most, so that a run that is cut short has it.
const page = await site.open();
for (let round = 0; round < ROUNDS; round += 1) {
  qemu.push(await bootQemu(initramfs));
  natives.push(await nativeEditToPrompt(tree));
  warmEdits.push(await editToPrompt(page, "warm"));
  edits.push(await editToPrompt(page, "cold"));
  say(
    `round ${round + 1} of ${ROUNDS}: warm ${median(warmEdits).toFixed(0)} ms, natively ${median(natives).toFixed(0)} ms`,
  );
}
await page.context().close();
for (let round = 0; round < ROUNDS; round += 1) {
  qemu.push(await bootQemu(initramfs));
  visits.push(await visit(site));
  say(`visit ${round + 1} of ${ROUNDS}`);
}
for (let round = 0; round < ROUNDS; round += 1) {
  stocks.push(await bootNode(archive, true));
  nodes.push(await bootNode(archive, false));
}
process.stderr.write("\r\u001b[K");

const base = median(qemu);
const weight = weigh();
const rows: Row[] = [
  atMost(
    "page opened, empty cache → prompt (Chromium)",
    median(visits.map(({ promptMs }) => promptMs)),
    1,
    base,
    "QEMU",
  ),
  atMost("edit → prompt (warm boot, Chromium)", median(warmEdits), 0.5, median(natives), "cpio, gzip -9, QEMU"),
  atMost("edit → prompt (cold boot, Chromium)", median(edits), 2, base, "QEMU"),
  atMost("the emulator in Node, power-on → prompt", median(nodes), 0.6, median(stocks), "stock v86"),
  bounded("bytes over the wire, first visit", median(visits.map(({ wire }) => wire)) / 1e6, "MB", 5),
  bounded("page: HTML, CSS, JavaScript, compressed", weight.page / 1e3, "kB", 450),
  bounded("the same with the emulator's WebAssembly", (weight.page + weight.emulator) / 1e3, "kB", 450),
  bounded("longest task on the main thread while booting", median(visits.map(({ longest }) => longest)), "ms", 100),
];
const details = {
  rounds: ROUNDS,
  qemuMs: qemu,
  visits,
  edits,
  warmEdits,
  natives,
  nodes,
  stocks,
};
publish("boot", rows, details);

// These take minutes; all the rest stands in the table by then.
say("slopes");
const byFiles = await slope(site, { files: 10, bytes: 1000 }, { files: 2000, bytes: 1000 });
const byBytes = await slope(site, { files: 1, bytes: 1e6 }, { files: 64, bytes: 1e6 });
process.stderr.write("\r\u001b[K");
await site.close();
rmSync(scratch, { recursive: true });
rows.push(
  atMost("each of 10 to 2,000 added files (warm boot)", byFiles.warm, 3, byFiles.tar, "tar copy"),
  atMost("each MB of 1 to 64 MB of added files (warm boot)", byBytes.warm, 3, byBytes.tar, "tar copy"),
  atMost("each of 10 to 2,000 files, booted at once after a boot", byFiles.atOnce, 3, byFiles.tar, "tar copy"),
  atMost("each MB of 1 to 64 MB, booted at once after a boot", byBytes.atOnce, 3, byBytes.tar, "tar copy"),
);
publish("boot", rows, { ...details, byFiles, byBytes });
