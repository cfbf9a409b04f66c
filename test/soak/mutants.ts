/** Files as strangers send them: good ones of every kind that is opened, changed at random. */
import { gzipSync } from "node:zlib";
import { encodeBundle, openBundle } from "../../worker/bundle.ts";
import { packCluster } from "../../worker/compress.ts";
import { encodeCpio } from "../../worker/format/cpio.ts";
import { streamOf } from "../../worker/format/disk-stream.ts";
import { FileTree, FormatError } from "../../worker/format/file-tree.ts";
import { encodeCompressedQcow2, encodePlainQcow2 } from "../../worker/format/qcow2.ts";
import type { SparseImage } from "../../worker/format/sparse-image.ts";
import { encodeTar, tarEntriesOf } from "../../worker/format/tar.ts";
import { hashSha256 } from "../../worker/hash.ts";
import { inspectFile, openDisk, openKernel, openTree, overlayOf } from "../../worker/import.ts";
import type { SharedProject } from "../../worker/shared-project.ts";

const MOST_MS = 2000;
const encoder = new TextEncoder();

/** The same numbers for the same seed (xorshift). */
export function createRandom(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761) | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

async function collect(parts: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  // Its memory is used anew for the next one.
  for await (const part of parts) all.push(part.slice());
  return new Uint8Array(Buffer.concat(all));
}

async function collectPieces(pieces: AsyncIterable<{ offset: number; bytes: Uint8Array }>): Promise<Uint8Array> {
  const all: { offset: number; bytes: Uint8Array }[] = [];
  for await (const piece of pieces) all.push(piece);
  const file = new Uint8Array(Math.max(...all.map(({ offset, bytes }) => offset + bytes.length)));
  for (const { offset, bytes } of all) file.set(bytes, offset);
  return file;
}

function smallTree(): FileTree {
  const tree = new FileTree();
  const owner = { uid: 0, gid: 0, mtime: 1 };
  tree.add({ ...owner, path: "/etc/hostname", kind: "file", mode: 0o644, content: encoder.encode("x\n") });
  tree.add({ ...owner, path: `/${"long/".repeat(40)}name`, kind: "file", mode: 0o644, content: new Uint8Array(700) });
  tree.add({ ...owner, path: "/bin/sh", kind: "symlink", mode: 0o777, target: "busybox" });
  tree.add({ ...owner, path: "/a", kind: "hardlink", mode: 0o644, target: "/etc/hostname" });
  tree.add({ ...owner, path: "/dev/null", kind: "device", device: "character", major: 1, minor: 3, mode: 0o666 });
  return tree;
}

const disk: SparseImage = {
  size: 3 * 1024 * 1024,
  extents: [
    { offset: 0, bytes: new Uint8Array(70_000).fill(7) },
    { offset: 2_000_000, bytes: Uint8Array.from({ length: 3000 }, (_, at) => (at * at) >> 3) },
  ],
};

const project: SharedProject = {
  ...{ version: 1, name: "x", components: [], commandLine: "a", memoryMb: 64, network: { relay: null } },
  ...{ createdAt: 1, updatedAt: 1 },
  files: [
    { path: "/a", kind: "file", mode: 0o644, content: encoder.encode("content content content") },
    { path: "/b", kind: "symlink", mode: 0o777, target: "/a" },
    { path: "/c", kind: "deleted" },
  ],
  disks: [{ id: "d", name: "d", kind: "data", fileSystem: "ext4", label: "", sizeMb: 3, drive: "sdb" }],
};

/** A kernel as far as its header goes: two sectors of setup code, 1 kB of the rest. */
export function smallKernel(): Uint8Array<ArrayBuffer> {
  const kernel = new Uint8Array(2048);
  const view = new DataView(kernel.buffer);
  kernel[0x1f1] = 1;
  view.setUint32(0x1f4, 64, true);
  kernel.set([0x55, 0xaa, 0xeb, 0x66, 0x48, 0x64, 0x72, 0x53, 0x0f, 0x02], 0x1fe);
  view.setUint16(0x20e, 0x100, true);
  kernel[0x211] = 1;
  view.setUint32(0x24c, 900, true);
  view.setUint32(0x258, 0x100000, true);
  view.setUint32(0x260, 0x300000, true);
  kernel.set(encoder.encode("6.1"), 0x300);
  return kernel;
}

/** Bundles that are refused, each changed from a good one. */
export async function* badBundles(firstSeed: number): AsyncGenerator<Uint8Array> {
  const bundle = (await makeSeeds()).find(({ name }) => name === "bundle2")?.bytes as Uint8Array;
  for (let seed = firstSeed; ; seed += 1) {
    const changed = mutate(bundle, createRandom(seed));
    if (!(await take(changed))) yield changed;
  }
}

/** Good files of every kind; `inner` are packed after they have been changed. */
export async function makeSeeds(): Promise<{ name: string; bytes: Uint8Array; isInner: boolean }[]> {
  const kernel = smallKernel();
  const own = { content: kernel, sha256: await hashSha256(kernel), version: "6.1" };
  const bundle = await collect(
    encodeBundle({ ...project, kernel: own }, new Map([["d", streamOf(disk)]]), [
      { name: "snapshot/s", content: [new Uint8Array(900)] },
    ]),
  );
  const tar = await collect(encodeTar(tarEntriesOf(smallTree())));
  const raw = new Uint8Array(64 * 1024);
  const seeds: Record<string, Uint8Array> = {
    bundle,
    bundle2: await collect(encodeBundle(project, new Map([["d", streamOf(disk)]]))),
    qcow2: await collectPieces(encodeCompressedQcow2(streamOf(disk), packCluster)),
    plain: await collectPieces(encodePlainQcow2(streamOf(disk))),
    cpio: encodeCpio(smallTree()),
    tar,
    kernel,
    gzip: new Uint8Array(gzipSync(raw)),
  };
  const outer = Object.entries(seeds).map(([name, bytes]) => ({ name, bytes, isInner: false }));
  return [
    ...outer,
    { name: "tar.gz", bytes: tar, isInner: true },
    { name: "cpio.gz", bytes: encodeCpio(smallTree()), isInner: true },
  ];
}

/** Numbers that are near to what something is compared with. */
const EDGES = [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x10000, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];

export function mutate(seed: Uint8Array, random: (below: number) => number): Uint8Array {
  let bytes = Buffer.from(seed);
  const place = (): number => {
    // Heads and tails have the tables; what is not zero says more than what is.
    const kind = random(4);
    if (kind === 0) return random(Math.min(bytes.length, 512));
    if (kind === 1) return Math.max(0, bytes.length - 1 - random(Math.min(bytes.length, 1024)));
    let at = random(bytes.length);
    for (let tries = 0; tries < 200 && bytes[at] === 0; tries += 1) at = random(bytes.length);
    return at;
  };
  for (let count = 1 + random(4); count > 0 && bytes.length > 16; count -= 1) {
    const at = place();
    switch (random(8)) {
      case 0:
        bytes = bytes.subarray(0, at + 1);
        break;
      case 1:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + 1 + random(600)))]);
        break;
      case 2:
        bytes.copy(bytes, at, random(bytes.length), Math.min(bytes.length, random(bytes.length) + 64));
        break;
      case 3:
        bytes.writeUInt32LE(EDGES[random(EDGES.length)] as number, Math.min(at, bytes.length - 4));
        break;
      case 4:
        bytes.writeUInt32BE(EDGES[random(EDGES.length)] as number, Math.min(at, bytes.length - 4));
        break;
      case 5:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(random(at + 1), at), bytes.subarray(at)]);
        break;
      case 6:
        bytes[at] = (bytes[at] as number) ^ (1 << random(8));
        break;
      default:
        bytes[at] = random(256);
    }
  }
  return new Uint8Array(bytes);
}

/** Opens a file and takes all of it, as an import does. @returns whether it was taken; @throws Error what is no worded refusal */
export async function take(bytes: Uint8Array): Promise<boolean> {
  const source = {
    size: bytes.length,
    async read(offset: number, length: number) {
      if (!(offset >= 0 && length >= 0 && offset + length <= bytes.length))
        throw new Error(`A read of ${length} bytes at ${offset} beyond ${bytes.length}`);
      return new Uint8Array(bytes.subarray(offset, offset + length));
    },
  };
  const options = { name: "mutant" };
  try {
    const found = await inspectFile(source, options);
    if (found.kind === "bundle") {
      const { disks, extras } = await openBundle(source, options);
      for (const one of disks) for await (const _ of one.extents());
      for (const extra of extras) for await (const _ of extra.content());
    } else if (found.kind === "disk") {
      const { size, extents } = await openDisk(source, options);
      let end = 0;
      for await (const extent of extents()) {
        if (extent.offset < end || extent.offset + extent.bytes.length > size) throw new Error("Extents out of order");
        end = extent.offset + extent.bytes.length;
      }
    } else if (found.kind === "files") overlayOf(await openTree(source, options), new FileTree());
    else await openKernel(source, options);
    return true;
  } catch (error) {
    if (error instanceof FormatError && /^Cannot (open mutant: .|take .)/s.test(error.message)) return false;
    throw error;
  }
}

export interface Report {
  taken: number;
  refused: number;
  slowestMs: number;
  /** How much the most memory that the process ever had has grown, in MB. */
  grownMb: number;
}

/** @throws Error with the seed of the first file that is neither taken nor refused in words, or not within its time */
export async function fuzz(
  count: number,
  firstSeed: number,
  onProgress: (done: number) => void = () => {},
): Promise<Report> {
  const seeds = await makeSeeds();
  const report: Report = { taken: 0, refused: 0, slowestMs: 0, grownMb: 0 };
  for (const { name, bytes, isInner } of seeds)
    if (!(await take(isInner ? gzipSync(bytes) : bytes))) throw new Error(`The good file ${name} was refused`);
  const before = process.resourceUsage().maxRSS;
  for (let index = 0; index < count; index += 1) {
    const random = createRandom(firstSeed + index);
    const { name, bytes, isInner } = seeds[index % seeds.length] as (typeof seeds)[number];
    const changed = mutate(bytes, random);
    const startedAt = performance.now();
    const isTaken = await take(isInner ? gzipSync(changed) : changed).catch((error: unknown) => {
      throw new Error(`Seed ${firstSeed + index} (${name}): ${error instanceof Error ? error.stack : String(error)}`);
    });
    const ms = performance.now() - startedAt;
    if (ms > MOST_MS) throw new Error(`Seed ${firstSeed + index} (${name}) took ${Math.round(ms)} ms`);
    report.slowestMs = Math.max(report.slowestMs, ms);
    report[isTaken ? "taken" : "refused"] += 1;
    onProgress(index + 1);
  }
  report.grownMb = (process.resourceUsage().maxRSS - before) / 1024;
  return report;
}
