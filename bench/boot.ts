/**
 * Boot times in Chromium against QEMU with the same kernel and the same files, turn by turn in one run, and what a
 * first visit costs. Absolute times are this machine's; the ratios are what counts.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { ready, type Site, startSite } from "../test/browser/page.ts";
import { bootGuest, buildTestInitramfs, ROOT } from "../test/machine/guest.ts";
import { DEFAULT_COMMAND_LINE } from "../web/project.ts";
import { atMost, bounded, median, publish, type Row } from "./table.ts";

const ROUNDS = Number(process.argv[2] ?? 5);
const scratch = mkdtempSync(join(tmpdir(), "smart-os-bench-"));

/** Process start to the first prompt. */
async function bootQemu(initramfs: string): Promise<number> {
  const startedAt = performance.now();
  const qemu = spawn("qemu-system-i386", [
    ...["-m", "128", "-nographic", "-no-reboot", "-kernel", join(ROOT, "public/system/bzImage"), "-initrd", initramfs],
    ...["-append", DEFAULT_COMMAND_LINE, "-nic", "none", "-accel", "tcg"],
  ]);
  let output = "";
  const ms = await new Promise<number>((resolve, reject) => {
    qemu.on("error", reject);
    qemu.stdout.on("data", (bytes: Buffer) => {
      output += bytes.toString();
      if (output.includes("\u001b]133;A")) resolve(performance.now() - startedAt);
    });
    setTimeout(() => reject(new Error(`QEMU came to no prompt:\n${output.slice(-1000)}`)), 60_000).unref();
  });
  qemu.kill("SIGKILL");
  return ms;
}

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

/** An edit made, Ctrl+Enter, and the prompt. */
async function editToPrompt(page: Page): Promise<number> {
  return page.evaluate(async () => {
    await window.smartos.writeFile("/etc/init.d/rc.local", `#!/bin/sh\n# ${Math.random()}\n`, { mode: 0o755 });
    return (await window.smartos.boot({ mode: "cold" })).promptMs;
  });
}

/** What the browser gets of the page itself: everything but the system's files and the emulator. */
function weigh(): { page: number; emulator: number } {
  const dist = join(ROOT, "dist");
  const sizes = { page: 0, emulator: 0 };
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || /\.(br|gz|map)$/.test(entry.name) || path.includes("/system/") || entry.name.startsWith("."))
      continue;
    const small = statSync(`${path}.br`, { throwIfNoEntry: false }) ?? statSync(path);
    sizes[entry.name.endsWith(".wasm") ? "emulator" : "page"] += small.size;
  }
  return sizes;
}

const archive = await buildTestInitramfs();
const initramfs = join(scratch, "initramfs.cpio");
writeFileSync(initramfs, archive);
const site = await startSite();
const qemu: number[] = [];
const visits: Awaited<ReturnType<typeof visit>>[] = [];
const edits: number[] = [];
const nodes: number[] = [];
const stocks: number[] = [];
for (let round = 0; round < ROUNDS; round += 1) {
  qemu.push(await bootQemu(initramfs));
  visits.push(await visit(site));
  process.stderr.write(`\r  round ${round + 1} of ${ROUNDS}`);
}
const page = await site.open();
for (let round = 0; round < ROUNDS; round += 1) {
  qemu.push(await bootQemu(initramfs));
  edits.push(await editToPrompt(page));
}
for (let round = 0; round < ROUNDS; round += 1) {
  stocks.push(await bootNode(archive, true));
  nodes.push(await bootNode(archive, false));
}
process.stderr.write("\r\u001b[K");
await site.close();
rmSync(scratch, { recursive: true });

const base = median(qemu);
const weight = weigh();
const rows: Row[] = [
  atMost(
    "page opened, empty cache → prompt (cold boot, Chromium)",
    median(visits.map(({ promptMs }) => promptMs)),
    2.2,
    base,
    "QEMU",
  ),
  atMost("edit → prompt (cold boot, Chromium)", median(edits), 2.2, base, "QEMU"),
  atMost("the emulator in Node, power-on → prompt", median(nodes), 0.6, median(stocks), "stock v86"),
  bounded("bytes over the wire, first visit", median(visits.map(({ wire }) => wire)) / 1e6, "MB", 5),
  bounded("page: HTML, CSS, JavaScript, compressed", weight.page / 1e3, "kB", 450),
  bounded("the same with the emulator's WebAssembly", (weight.page + weight.emulator) / 1e3, "kB", 450),
  bounded("longest task on the main thread while booting", median(visits.map(({ longest }) => longest)), "ms", 100),
];
publish("boot", rows, { rounds: ROUNDS, qemuMs: qemu, visits, edits, nodes, stocks });
