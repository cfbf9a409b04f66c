/** The builder's worker: one build at a time, spoken to over comlink. Its name is the URL of the system's folder. */

import listing from "virtual:listing";
import defaults from "virtual:rootfs";
import artefacts from "virtual:system";
import { expose, transfer } from "comlink";
import type { BuilderApi, DiskResult, Piece, RebuildResult, WritePiece } from "./api.ts";
import { answer, build, buildDelta, buildDisk, format, rebuild } from "./build.ts";
import { inspectDisk, listDirectory, locateDiskFile } from "./disk-content.ts";
import { exportPieces, walkedDisk, writePieces } from "./export.ts";
import { foreignFiles } from "./foreign.ts";
import { encodeLink, openLink } from "./link.ts";
import { composeTree } from "./recipe.ts";
import { createSources } from "./sources.ts";

const base = self.name;
const sources = createSources(base, artefacts);
let current: AbortController | null = null;
/** To look at a disk takes a moment, and nothing ends it. */
const never = new AbortController().signal;

const inputs = { defaults, loadParts: sources.load, loadDiskParts: sources.loadDisk };

/** Ends what is under way. */
function begin(): AbortSignal {
  current?.abort();
  current = new AbortController();
  return current.signal;
}

/** All bytes of an image are in one buffer. */
function handOver<Result extends DiskResult | RebuildResult>(result: Result): Result {
  const pieces: readonly Piece[] = result.ok
    ? "pieces" in result.image
      ? result.image.pieces
      : result.image.extents
    : [];
  const first = pieces.find((piece) => "bytes" in piece);
  return first ? transfer(result, [first.bytes.buffer]) : result;
}

const api: BuilderApi = {
  async build(request, onProgress) {
    const result = await build(request, inputs, begin(), onProgress);
    return result.ok ? transfer(result, [result.bytes.buffer]) : result;
  },
  async composeDelta(request) {
    // It takes a moment, and may be asked for while a disk is built.
    const result = await buildDelta(request, listing, never);
    return result.ok && result.bytes ? transfer(result, [result.bytes.buffer]) : result;
  },
  async buildDisk(request, onProgress) {
    return handOver(await buildDisk(request, inputs, begin(), onProgress));
  },
  async formatDisk(request) {
    return handOver(await format(request, begin()));
  },
  inspectDisk: (size, read) => answer(never, () => inspectDisk({ size, read })),
  listDirectory: (size, read, path) => answer(never, () => listDirectory({ size, read }, path)),
  locateDiskFile: (size, read, path) => answer(never, () => locateDiskFile({ size, read }, path)),
  exportImage(request, diskBytes, walk, write, onProgress) {
    const signal = begin();
    const disks = diskBytes.map((size, disk) => walkedDisk(size, (restart) => walk(disk, restart)));
    const parts = {
      defaults,
      loadParts: () => sources.load(signal, () => {}),
      loadCdParts: () => sources.loadCd(signal, () => {}),
    };
    const handOn: WritePiece = (offset, bytes) => write(offset, transfer(bytes, [bytes.buffer]));
    return answer(signal, () => writePieces(exportPieces(request, disks, parts, { signal, onProgress }), handOn));
  },
  ...foreignFiles(begin, async (signal) => composeTree(await sources.load(signal, () => {}), defaults, [])),
  encodeLink: (project) => answer(never, async () => encodeLink(project)),
  openLink: (text) => answer(never, () => openLink(text)),
  async rebuildDisk(size, read, request) {
    return handOver(await rebuild({ size, read }, request, begin()));
  },
  cancel() {
    current?.abort();
  },
};

expose(api);
