/** Kills a browser while its guest writes: what the guest was told to be stored must be there afterwards. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import type { Page } from "playwright-core";
import { createSite } from "../../relay/site.ts";
import { type KillableBrowser, startKillableBrowser } from "./killable-browser.ts";
import { ready } from "./page.ts";

const DIST = join(import.meta.dirname, "../../dist");
/** Two file systems, because what is lost depends on the journal's habits. */
const MOUNTED = [
  { name: "four", fileSystem: "ext4", device: "/dev/sdb", directory: "/mnt/four" },
  { name: "three", fileSystem: "ext3", device: "/dev/sdc", directory: "/mnt/three" },
] as const;
/** And a bare device. */
const BARE = { name: "bare", fileSystem: "empty", device: "/dev/sdd" } as const;
const DISKS = [...MOUNTED, BARE];
const SIZE_MB = 8;
const SECTOR = 512;
/** Kills come at a moment up to this long after the first record. */
const LONGEST_MS = 1200;

/** A busy machine's guest is slow, which says nothing about what is stored. */
const PATIENCE_MS = 120_000;

/**
 * What is written beside the records goes by the clock, and hence takes all of a slow guest's processor: nice, lest the guest
 * gets to nothing else.
 */
const beside = (pause: string, write: string): string =>
  `(nice -n 19 sh -c 'while ${pause}; do ${write} 2>/dev/null; done' &)`;

/** Mounts the disks and keeps them busy with something else than the records. */
const PREPARE = [
  ...MOUNTED.map(
    ({ device, directory }) =>
      `mkdir -p ${directory} && mount ${device} ${directory} && ` +
      beside("usleep 100000", `dd if=/dev/zero of=${directory}/noise bs=4k count=$((RANDOM % 16))`),
  ),
  // Long writes go another way into the storage than short ones do.
  beside("sleep 1", `dd if=/bin/busybox of=${MOUNTED[0].directory}/long conv=fsync`),
  ...DISKS.map(({ device }) => `grep -q "write back" /sys/block/${device.slice(5)}/queue/write_cache`),
].join(" && ");

export interface KillReport {
  kills: number;
  /** Records that the guest had synced and told of. */
  acknowledged: number;
  /** How many of them were not there after the kill; what this is all about. */
  lost: number;
  /** Kills after which a journal had to be replayed: proof that they came in the middle of something. */
  replayed: number;
}

/**
 * @param random numbers from 0 to 1 that the moments of the kills are taken from
 * @throws Error at the first record that is lost, or file system that is not clean
 */
export async function killWhileWriting(
  kills: number,
  random: () => number,
  onKill: (report: KillReport) => void = () => {},
): Promise<KillReport> {
  const folder = mkdtempSync(join(tmpdir(), "smart-os-kills-"));
  const server = createSite(DIST);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://localhost:${(server.address() as AddressInfo).port}/?boot=off`;
  const report: KillReport = { kills: 0, acknowledged: 0, lost: 0, replayed: 0 };
  /** By disk: the records that were acknowledged. */
  const records: number[] = DISKS.map(() => 0);
  let browser: KillableBrowser | null = null;
  try {
    for (;;) {
      browser = await startKillableBrowser(join(folder, "profile"));
      const page = await open(browser, url);
      if (report.kills === 0)
        await page.evaluate(
          async (disks) => {
            for (const { name, fileSystem, sizeMb } of disks) {
              await window.smartos.disks.create({ name, fileSystem, sizeMb });
              await window.smartos.disks.attach(name);
            }
          },
          DISKS.map(({ name, fileSystem }) => ({ name, fileSystem, sizeMb: SIZE_MB })),
        );
      else
        for (const [index, disk] of DISKS.entries()) {
          const image = join(folder, `${disk.name}.img`);
          const content = await download(page, disk.name);
          writeFileSync(image, content);
          if (disk !== BARE) report.replayed += checkImage(image) ? 1 : 0;
          const found = disk === BARE ? recordsOn(content) : recordsIn(image);
          for (let record = 1; record <= (records[index] as number); record += 1)
            if (!found.has(record)) report.lost += 1;
          if (report.lost > 0)
            throw new Error(
              `${report.lost} of ${records[index]} records of ${disk.name} are lost after kill ${report.kills}`,
            );
        }
      onKill(report);
      if (report.kills === kills) return report;

      await boot(page);
      await command(page, PREPARE);
      const before = sum(records);
      const writing = write(page, records);
      let ended: unknown;
      void writing.then((error) => {
        ended = error;
      });
      await until(() => {
        if (ended !== undefined && sum(records) === before) throw ended;
        return sum(records) > before;
      });
      await new Promise((resolve) => setTimeout(resolve, random() * LONGEST_MS));
      await browser.kill();
      await writing;
      report.kills += 1;
      report.acknowledged = sum(records);
    }
  } finally {
    await browser?.kill();
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/**
 * Writes records to the disks in turn until the browser is gone. A record counts once its `sync` has ended.
 * @returns what ended it
 */
async function write(page: Page, records: number[]): Promise<unknown> {
  for (let turn = 0; ; turn += 1) {
    const index = turn % DISKS.length;
    const disk = DISKS[index] as (typeof DISKS)[number];
    const record = (records[index] as number) + 1;
    const words =
      "directory" in disk
        ? `echo "record ${record}" >>${disk.directory}/log && sync`
        : `echo "record ${record}" | dd of=${disk.device} bs=${SECTOR} seek=${record} conv=notrunc,fsync 2>/dev/null`;
    try {
      await command(page, words);
    } catch (error) {
      return error;
    }
    records[index] = record;
  }
}

/** A boot that takes longer than the page waits for goes on. */
async function boot(page: Page): Promise<void> {
  const said = await page
    .evaluate(() => window.smartos.boot())
    .then(
      () => null,
      (error: Error) => error,
    );
  if (said === null) return;
  const hasShell = (): boolean => window.smartos.state().phase === "shell";
  await page.waitForFunction(hasShell, undefined, { timeout: PATIENCE_MS }).catch(() => {
    throw said;
  });
}

async function command(page: Page, words: string): Promise<void> {
  const { status, output } = await page.evaluate(([text, timeoutMs]) => window.smartos.run(text, { timeoutMs }), [
    words,
    PATIENCE_MS,
  ] as const);
  if (status !== 0) throw new Error(`${words} ended with ${status}: ${output}`);
}

async function open(browser: KillableBrowser, url: string): Promise<Page> {
  const page = await browser.context.newPage();
  await page.goto(url);
  await ready(page);
  return page;
}

/** A disk's raw image. It leaves the page packed: most of it is zeros, and the way is one of text. */
async function download(page: Page, name: string): Promise<Buffer> {
  const text = await page.evaluate(async (disk) => {
    const image = await window.smartos.disks.export(disk);
    const packed = await new Response(image.stream().pipeThrough(new CompressionStream("gzip"))).blob();
    const reader = new FileReader();
    return new Promise<string>((resolve) => {
      reader.onload = () => resolve((reader.result as string).split(",")[1] as string);
      reader.readAsDataURL(packed);
    });
  }, name);
  return gunzipSync(Buffer.from(text, "base64"));
}

/** Replays the journal and checks everything. @returns whether there was something to replay */
function checkImage(image: string): boolean {
  const { stdout, status } = run("/sbin/e2fsck", ["-p", image]);
  // 1: corrected, which is what the replay of a journal counts as.
  if (status > 1) throw new Error(`e2fsck cannot repair ${image} by its journal (${status}): ${stdout}`);
  const checked = run("/sbin/e2fsck", ["-fn", image]);
  if (checked.status !== 0) throw new Error(`${image} is not clean (${checked.status}): ${checked.stdout}`);
  return /recovering journal/.test(stdout);
}

function recordsIn(image: string): Set<number> {
  const text = execFileSync("/sbin/debugfs", ["-R", "cat /log", image], { stdio: ["ignore", "pipe", "ignore"] });
  return new Set([...text.toString().matchAll(/^record (\d+)$/gm)].map((match) => Number(match[1])));
}

/** Record n is at the beginning of sector n. */
function recordsOn(content: Buffer): Set<number> {
  const found = new Set<number>();
  for (let record = 1; (record + 1) * SECTOR <= content.length; record += 1) {
    const start = `record ${record}\n`;
    if (content.subarray(record * SECTOR, record * SECTOR + start.length).toString() === start) found.add(record);
  }
  return found;
}

function run(program: string, words: string[]): { stdout: string; status: number } {
  try {
    return { stdout: execFileSync(program, words, { stdio: ["ignore", "pipe", "ignore"] }).toString(), status: 0 };
  } catch (error) {
    const { stdout, status } = error as { stdout: Buffer; status: number };
    return { stdout: String(stdout), status };
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`The guest has acknowledged no record within ${PATIENCE_MS / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
