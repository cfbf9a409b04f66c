/**
 * What bench/share.ts measures in a process of its own. Nothing else is loaded here: Vite and Playwright alone are 250 MB, of
 * which the collector takes some back, or adds to, while the work is going on.
 */
import { basename } from "node:path";
import { openFile, writeFile } from "../cli/files.ts";
import { encodeBundle, openBundle } from "../worker/bundle.ts";
import { gzipDisk, packCluster } from "../worker/compress.ts";
import { inOrder } from "../worker/export.ts";
import type { DiskStream, Piece } from "../worker/format/disk-stream.ts";
import { encodeCompressedQcow2 } from "../worker/format/qcow2.ts";
import { openDisk } from "../worker/import.ts";
import type { SharedProject } from "../worker/shared-project.ts";

const MIB = 1024 * 1024;

const project: SharedProject = {
  ...{ version: 1, name: "share", files: [], components: [], commandLine: "", memoryMb: 128, network: { relay: null } },
  ...{ createdAt: 0, updatedAt: 0 },
  disks: [{ id: "d", name: "d", kind: "data", fileSystem: "unknown", label: "", sizeMb: 1024, drive: "sdb" }],
};

const JOBS: Record<string, (from: string, to: string) => Promise<void>> = {
  async qcow2(from, to) {
    await writeFile(to, encodeCompressedQcow2(await disk(from), packCluster), false);
  },
  async gzip(from, to) {
    await writeFile(to, inOrder(gzipDisk(await disk(from))), true);
  },
  async bundle(from, to) {
    await writeFile(to, inOrder(encodeBundle(project, new Map([["d", await disk(from)]]))), true);
  },
  async import(from, to) {
    const { disks } = await openBundle(await openFile(from), { name: "bench" });
    await writeFile(to, disks[0]?.extents() as AsyncIterable<Piece>, false);
  },
};

async function disk(path: string): Promise<DiskStream> {
  return openDisk(await openFile(path), { name: basename(path) });
}

async function runJob(name: string, from: string, to: string): Promise<void> {
  const before = process.memoryUsage.rss();
  const startedAt = performance.now();
  await JOBS[name]?.(from, to);
  const ms = performance.now() - startedAt;
  console.log(JSON.stringify({ ms, extraMb: process.resourceUsage().maxRSS / 1024 - before / MIB }));
}

const [, , job, from, to] = process.argv;
if (!job || !from || !to) throw new Error("Cannot measure: of what, from and to which file?");
await runJob(job, from, to);
