/**
 * Disks against native tools and against a disk in memory: building them, writing to them from a guest, booting from
 * them. All in a browser with a profile on the medium, since a private window's storage is memory.
 */
import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { startBench } from "../test/browser/bench.ts";
import { ready, startSite } from "../test/browser/page.ts";
import { chromePath } from "../tools/setup.mjs";
import { bootQemuDisk } from "./qemu.ts";
import { asFastAs, atMost, bounded, median, publish, type Row } from "./table.ts";

/** `tsx bench/disks.ts 5 guests` measures one part alone. */
const ROUNDS = Number(process.argv[2] ?? 5);
const MIB = 1024 * 1024;
const scratch = mkdtempSync(join(tmpdir(), "smart-os-bench-"));
const bench = await startBench(`import "/@fs${join(import.meta.dirname, "disk-page.ts")}";`);
const profiles: BrowserContext[] = [];

async function profile(name: string): Promise<BrowserContext> {
  const executablePath = chromePath() as string;
  const context = await chromium.launchPersistentContext(join(scratch, name), {
    executablePath,
    viewport: { width: 1440, height: 900 },
    args: ["--no-sandbox", "--disable-gpu"],
  });
  profiles.push(context);
  return context;
}

const say = (what: string): void => void process.stderr.write(`\r\u001b[K  ${what}`);

/** The same files as on a built disk, by mke2fs: time of the process. */
function nativeBuild(folder: string, sizeMb: number): number {
  const image = join(scratch, "native.img");
  rmSync(image, { force: true });
  const startedAt = performance.now();
  execFileSync("/sbin/mke2fs", ["-q", "-t", "ext4", "-d", folder, image, `${sizeMb}M`]);
  return performance.now() - startedAt;
}

/** What is on a disk that the page built, as a folder for mke2fs. */
async function unpack(page: Page, count: number, sizeMb: number, bytes?: number): Promise<string> {
  const parts = await page.evaluate(([n, mb, size]) => window.bench.image(n as number, mb as number, size), [
    count,
    sizeMb,
    bytes,
  ] as const);
  const image = join(scratch, "built.img");
  const handle = openSync(image, "w");
  const start = 2048 * 512;
  ftruncateSync(handle, sizeMb * MIB - start);
  for (const { offset, text } of parts) {
    const content = Buffer.from(text, "base64");
    if (offset >= start) writeSync(handle, content, 0, content.length, offset - start);
  }
  closeSync(handle);
  execFileSync("/sbin/e2fsck", ["-fn", image], { stdio: "ignore" });
  const folder = join(scratch, `files-${count}`);
  execFileSync("mkdir", ["-p", folder]);
  execFileSync("/sbin/debugfs", ["-R", `rdump / ${folder}`, image], { stdio: "ignore" });
  rmSync(join(folder, "lost+found"), { recursive: true, force: true });
  return folder;
}

async function builds(page: Page): Promise<{ rows: Row[]; details: object }> {
  const rows: Row[] = [];
  const details: Record<string, unknown> = {};
  for (const { count, sizeMb, bytes, limit, what } of [
    { count: 300, sizeMb: 64, bytes: undefined, limit: 3, what: "build a bootable disk, 64 MiB, 300 files (2.4 MB)" },
    { count: 20_000, sizeMb: 512, bytes: 1000, limit: 1.5, what: "build a bootable disk, 512 MiB, 20,000 small files" },
  ]) {
    say(what);
    const folder = await unpack(page, count, sizeMb, bytes);
    const ours: number[] = [];
    const native: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      native.push(nativeBuild(folder, sizeMb));
      ours.push(
        (
          await page.evaluate(([n, mb, size]) => window.bench.build(n as number, mb as number, size), [
            count,
            sizeMb,
            bytes,
          ] as const)
        ).ms,
      );
    }
    rows.push(atMost(what, median(ours), limit, median(native), "mke2fs -d"));
    details[`build-${count}`] = { ours, native };
  }
  say("time for each file");
  const perFile: number[] = [];
  for (const count of [2000, 20_000, 200_000]) {
    const { ms } = await page.evaluate((n) => window.bench.build(n, 2048, 1000), count);
    perFile.push(ms / count);
  }
  const [few, , many] = perFile as [number, number, number];
  rows.push(atMost("time for each file, of 200,000 files", many, 1, few, "of 2,000 files"));
  details.perFile = perFile;
  return { rows, details };
}

/** The most memory that the builder's worker has while it builds a 4 GiB disk. */
async function workerMemory(): Promise<Row> {
  say("memory of the worker");
  const context = await bench.browser.newContext();
  const page = await bench.open(context);
  const devtools = await context.newCDPSession(page);
  let peak = 0;
  const sessions = new Set<string>();
  devtools.on("Target.attachedToTarget", ({ sessionId }) => sessions.add(sessionId));
  await devtools.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  let last = 0;
  devtools.on("Target.receivedMessageFromTarget", ({ message }) => {
    const { result } = JSON.parse(message) as {
      result?: { usedSize?: number; embedderHeapUsedSize?: number; backingStorageSize?: number };
    };
    if (result?.usedSize === undefined) return;
    peak = Math.max(peak, result.usedSize + (result.embedderHeapUsedSize ?? 0) + (result.backingStorageSize ?? 0));
  });
  const timer = setInterval(() => {
    for (const sessionId of sessions) {
      last += 1;
      const message = JSON.stringify({ id: last, method: "Runtime.getHeapUsage" });
      devtools.send("Target.sendMessageToTarget", { sessionId, message }).catch(() => {});
    }
  }, 2);
  for (let round = 0; round < ROUNDS; round += 1) await page.evaluate(() => window.bench.build(450, 4096, 13_000));
  clearInterval(timer);
  await context.close();
  if (peak === 0) throw new Error("The worker's memory was not measured");
  return bounded("memory of the worker, 4 GiB disk with 6 MB of files", peak / 1e6, "MB", 64);
}

const SEQUENTIAL_MB = 64;
const SMALL_WRITES = 500;
const FILL = `i=0; while [ $i -lt ${SEQUENTIAL_MB} ]; do cat /bin/busybox; i=$((i+1)); done >/tmp/data`;
const WORK = {
  write: (disk: string, megabytes = SEQUENTIAL_MB) =>
    `dd if=/tmp/data of=/mnt/${disk}/big bs=1M count=${megabytes} conv=fsync 2>/dev/null`,
  read: (disk: string) => `dd if=/mnt/${disk}/big of=/dev/null bs=1M 2>/dev/null`,
  // Busybox has no program that calls fsync after each block; a file system mounted "sync" does the same in one process.
  small: (disk: string) =>
    `cd /mnt/${disk} && mount -o remount,sync . && dd if=/tmp/data of=small bs=4k count=${SMALL_WRITES} 2>/dev/null && mount -o remount,async .`,
} as const;
/** Before each: what one measurement leaves in the guest's memory, or to be written, is not the next one's. */
const FORGET = "sync; echo 3 >/proc/sys/vm/drop_caches";
const TIDY = "rm /mnt/*/big /mnt/*/small; sync";
const KINDS = ["memory", "stored"] as const;

/** One guest has both disks and writes to them in turn: what else the machine does meets both. */
async function guests(): Promise<{ rows: Row[]; details: object }> {
  const times = { memory: { write: [], read: [], small: [] }, stored: { write: [], read: [], small: [] } } as Record<
    (typeof KINDS)[number],
    Record<keyof typeof WORK, number[]>
  >;
  let transactions = 0;
  const context = await profile("guest");
  const page = await bench.open(context);
  await page.evaluate(() => window.bench.boot(160));
  const time = (command: string): Promise<number> => page.evaluate((words) => window.bench.time(words), command);
  // No zeros: those take no room in the storage. /bin/busybox is a megabyte of what disks usually hold.
  await time(FILL);
  // The first writes and reads are those that the emulator compiles the guest's code for.
  for (const kind of KINDS) {
    await time(WORK.write(kind, 8));
    await time(FORGET);
    await time(WORK.read(kind));
  }
  for (let round = 0; round < ROUNDS; round += 1) {
    say(`a guest on disks in memory and stored, round ${round + 1}`);
    for (const what of ["write", "read", "small"] as const)
      for (const kind of round % 2 === 0 ? KINDS : KINDS.toReversed()) {
        await time(FORGET);
        const before = await page.evaluate(() => window.bench.statistics()?.transactions ?? 0);
        times[kind][what].push(await time(WORK[what](kind)));
        const after = await page.evaluate(() => window.bench.statistics()?.transactions ?? 0);
        if (kind === "stored" && what === "small") transactions = (after - before) / SMALL_WRITES;
      }
    await time(TIDY);
  }
  await page.close();
  const row = (what: string, work: keyof typeof WORK, least: number): Row =>
    asFastAs(what, median(times.stored[work]), least, median(times.memory[work]), "disk in memory");
  const rows = [
    row(`guest writes ${SEQUENTIAL_MB} MB and syncs`, "write", 0.6),
    row(`guest reads ${SEQUENTIAL_MB} MB`, "read", 0.9),
    row(`guest writes 4 KiB and syncs, ${SMALL_WRITES} times`, "small", 0.25),
    {
      what: "transactions for each of them",
      value: transactions,
      unit: "",
      goal: "to be known",
      met: true,
    },
  ];
  return { rows, details: { times, transactions } };
}

async function boots(): Promise<{ rows: Row[]; details: object }> {
  say("boots from disk");
  const site = await startSite();
  const context = await profile("boot");
  const page = await context.newPage();
  await page.goto(`${site.url}?boot=off`);
  await ready(page);
  await page.evaluate(() => window.smartos.disks.build());
  const text = await page.evaluate(async () => {
    const image = await window.smartos.exportImage("disk-raw");
    const reader = new FileReader();
    return new Promise<string>((resolve) => {
      reader.onload = () => resolve((reader.result as string).split(",")[1] as string);
      reader.readAsDataURL(image);
    });
  });
  const image = join(scratch, "system.img");
  writeFileSync(image, Buffer.from(text, "base64"));
  const ours: number[] = [];
  const qemu: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    qemu.push(await bootQemuDisk(image));
    ours.push(await page.evaluate(async () => (await window.smartos.boot({ mode: "disk" })).promptMs));
  }
  await site.close();
  return {
    rows: [atMost("disk boot → prompt (Chromium)", median(ours), 3, median(qemu), "QEMU, same image")],
    details: { ours, qemu },
  };
}

const PARTS = {
  builds: async () => {
    const page = await bench.open();
    const built = await builds(page);
    await page.close();
    return built;
  },
  memory: async () => ({ rows: [await workerMemory()], details: {} }),
  guests,
  boots,
};
const wanted = process.argv.slice(3);
const measured: { rows: Row[]; details: object }[] = [];
for (const [name, part] of Object.entries(PARTS))
  if (wanted.length === 0 || wanted.includes(name)) measured.push(await part());
say("");
for (const context of profiles) await context.close();
await bench.close();
rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
publish(
  "disks",
  measured.flatMap(({ rows }) => rows),
  Object.assign({ rounds: ROUNDS }, ...measured.map(({ details }) => details)) as object,
);
