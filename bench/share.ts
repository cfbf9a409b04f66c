/**
 * Images and bundles against native tools: a disk with 256 MB on it, programs and sources as on a real one. Each of our
 * figures is taken in a process of its own, which tells how much more memory it needed than when it began; and once more in
 * Chromium, in the worker in which users have it.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { measureInPage } from "./share-page.ts";
import { atMost, bounded, publish, type Row } from "./table.ts";

const MIB = 1024 * 1024;
const USED_BYTES = 256 * MIB;
const DISK_BYTES = 1024 * MIB;
const MOST_EXTRA_MB = 64;

interface Measured {
  ms: number;
  extraMb: number;
}

function measure(job: string, from: string, to: string): Measured {
  const words = ["--import", "tsx", join(import.meta.dirname, "share-jobs.ts"), job, from, to];
  const { status, stdout, stderr } = spawnSync(process.execPath, words, { encoding: "utf8" });
  if (status !== 0) throw new Error(`Cannot measure ${job}: ${stderr}`);
  return JSON.parse(stdout) as Measured;
}

function timed(command: string, ...words: string[]): number {
  const startedAt = performance.now();
  execFileSync(command, words, { stdio: "ignore" });
  return performance.now() - startedAt;
}

/** Where there is anything on it. */
function usedAreas(): { offset: number; length: number }[] {
  const length = USED_BYTES / 4;
  return Array.from({ length: 4 }, (_, area) => ({ offset: area * (length + 128 * MIB), length }));
}

/** Files of this machine one after the other, in four areas of a disk of 1 GiB; the same ones again when they are too few. */
function writeDisk(path: string): void {
  const handle = openSync(path, "w");
  ftruncateSync(handle, DISK_BYTES);
  const files = ["node_modules", "public/system"].flatMap((folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((name) => !name.includes(".cache") && statSync(name).size < 4 * MIB),
  );
  let done = 0;
  for (let index = 0; done < USED_BYTES; index = (index + 1) % files.length) {
    const bytes = readFileSync(files[index] as string).subarray(0, USED_BYTES - done);
    const area = Math.floor(done / (USED_BYTES / 4));
    writeSync(handle, bytes, 0, bytes.length, done + area * 128 * MIB);
    done += bytes.length;
  }
  closeSync(handle);
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "smart-os-share-"));
  const at = (name: string): string => join(folder, name);
  try {
    writeDisk(at("raw"));
    const qemuMs = timed("qemu-img", "convert", "-c", "-O", "qcow2", at("raw"), at("native.qcow2"));
    const qcow2 = measure("qcow2", at("raw"), at("ours.qcow2"));
    const gzipMs = timed("sh", "-c", `gzip -6 -c ${at("raw")} > ${at("native.gz")}`);
    const gzip = measure("gzip", at("raw"), at("ours.gz"));
    const bundle = measure("bundle", at("raw"), at("ours.smartos"));
    const unzipMs = timed("unzip", "-q", at("ours.smartos"), "-d", at("unzipped"));
    const imported = measure("import", at("ours.smartos"), at("imported"));
    const page = await measureInPage(at("raw"), at("ours.smartos"), usedAreas());
    execFileSync("qemu-img", ["compare", at("ours.qcow2"), at("raw")], { stdio: "ignore" });
    const mb = (name: string): number => statSync(at(name)).size / MIB;
    const rows: Row[] = [
      atMost("export 256 MB as qcow2", qcow2.ms, 2, qemuMs, "qemu-img convert -c"),
      atMost("export 256 MB as .img.gz", gzip.ms, 2, gzipMs, "gzip -6"),
      atMost("import of its bundle", imported.ms, 2, unzipMs, "unzip"),
      bounded("peak extra memory while exporting", Math.max(qcow2.extraMb, gzip.extraMb), "MB", MOST_EXTRA_MB),
      atMost("the same in Chromium: as qcow2", page.qcow2.ms, 2, qemuMs, "qemu-img convert -c"),
      atMost("… as .img.gz", page.gzip.ms, 2, gzipMs, "gzip -6"),
      atMost("… import", page.import.ms, 2, unzipMs, "unzip"),
      bounded("… peak extra memory", Math.max(page.qcow2.extraMb, page.gzip.extraMb), "MB", MOST_EXTRA_MB),
    ];
    publish("share", rows, {
      sizes: {
        qcow2: mb("ours.qcow2"),
        qemuImg: mb("native.qcow2"),
        gz: mb("ours.gz"),
        gzip: mb("native.gz"),
        bundle: mb("ours.smartos"),
      },
      measured: { qcow2, gzip, bundle, imported },
      page,
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

await main();
