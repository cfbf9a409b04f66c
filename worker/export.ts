/** What a project and its disks are made into for other machines, as pieces of a file: never a whole file in memory. */
import type { DiskWalk, ExportRequest, WritePiece } from "./api.ts";
import { encodeBundle, SNAPSHOT } from "./bundle.ts";
import { compressGzip, gzipDisk, gzipStream, packCluster, type Work } from "./compress.ts";
import type { DiskStream, Piece } from "./format/disk-stream.ts";
import { encodeCompressedQcow2 } from "./format/qcow2.ts";
import type { Extent } from "./format/sparse-image.ts";
import { encodeTar, tarEntriesOf } from "./format/tar.ts";
import { encodeVmdk } from "./format/vmdk.ts";
import { buildInitramfs } from "./initramfs.ts";
import { composeIso, type IsoParts } from "./iso.ts";
import { composeTree, type DefaultFile, type SystemParts } from "./recipe.ts";
import { inPassing } from "./release.ts";

/** A guest elsewhere may have more memory than those of the page. */
const MOST_MEMORY_MB = 4096;
/** Small pieces that follow each other go to the page together. */
const STEP_BYTES = 1024 * 1024;

export interface ExportParts {
  defaults: readonly DefaultFile[];
  loadParts(): Promise<SystemParts>;
  loadCdParts(): Promise<IsoParts>;
}

/** @returns pieces that cover the file; in order, but for a header that is known last */
export async function* exportPieces(
  request: ExportRequest,
  disks: readonly DiskStream[],
  { defaults, loadParts, loadCdParts }: ExportParts,
  work: { signal: AbortSignal; onProgress(done: number): void },
): AsyncGenerator<Piece, void> {
  const [disk] = disks;
  switch (request.kind) {
    case "bundle": {
      const contents = new Map(request.diskIds.map((id, index) => [id, disks[index] as DiskStream]));
      const extras = request.snapshot ? [{ name: SNAPSHOT, content: partsOf(request.snapshot) }] : [];
      return yield* inOrder(encodeBundle(request.project, contents, extras, work));
    }
    case "initramfs": {
      const archive = buildInitramfs(composeTree(await loadParts(), defaults, request.overlay), MOST_MEMORY_MB);
      yield { offset: 0, bytes: await compressGzip(archive, work) };
      return;
    }
    case "rootfs-tar": {
      const tree = composeTree(await loadParts(), defaults, request.overlay);
      return yield* inOrder(gzipStream(encodeTar(tarEntriesOf(tree)), work));
    }
    case "disk-iso": {
      const { overlay, commandLine } = request;
      const tree = composeTree(await loadParts(), defaults, overlay);
      const { kernel, cd } = await loadCdParts();
      const parts = { kernel: request.kernel ?? kernel, cd };
      return yield* inOrder(composeIso(tree, parts, { commandLine, memoryMb: MOST_MEMORY_MB }));
    }
    case "disk-raw-gz":
      return yield* inOrder(gzipDisk(watched(disk, { signal: work.signal }), work));
    case "disk-qcow2":
      return yield* inPassing(encodeCompressedQcow2(watched(disk, work), packCluster));
    case "disk-vmdk":
      return yield* inOrder(encodeVmdk(watched(disk, work), `${request.name}.vmdk`));
  }
}

/** A Blob piece by piece: most of them are on the browser's disk. */
async function* partsOf(blob: Blob): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < blob.size; at += STEP_BYTES)
    yield new Uint8Array(await blob.slice(at, at + STEP_BYTES).arrayBuffer());
}

/** A disk that the page holds and hands out extent by extent. */
export function walkedDisk(sizeBytes: number, walk: (restart: boolean) => ReturnType<DiskWalk>): DiskStream {
  return {
    size: sizeBytes,
    extents: () => inPassing(walked(walk)),
  };
}

async function* walked(walk: (restart: boolean) => ReturnType<DiskWalk>): AsyncGenerator<Extent, void> {
  for (let extent = await walk(true); extent; extent = await walk(false)) yield extent;
}

/** Tells how far along a disk the work is, and stops where the work is cancelled. */
function watched(
  disk: DiskStream | undefined,
  { signal, onProgress }: Pick<Work, "signal" | "onProgress">,
): DiskStream {
  if (!disk) throw new Error("Cannot export the disk: there is none");
  return {
    size: disk.size,
    async *extents() {
      for await (const extent of disk.extents()) {
        signal?.throwIfAborted();
        yield extent;
        onProgress?.(extent.offset + extent.bytes.length);
      }
    },
  };
}

/**
 * Hands pieces over while the next ones are made, those that follow each other together.
 * @param pieces each is copied: its memory may be used anew when the next one is asked for
 * @param write gets memory of its own
 * @returns the file's length in bytes
 */
export async function writePieces(pieces: AsyncIterable<Piece>, write: WritePiece): Promise<number> {
  let step = new Uint8Array(STEP_BYTES);
  let start = 0;
  let filled = 0;
  let length = 0;
  let writing: Promise<void> = Promise.resolve();
  const flush = async (): Promise<void> => {
    await writing;
    if (filled === 0) return;
    writing = write(start, filled < STEP_BYTES ? step.slice(0, filled) : step);
    // Whoever waits for it next hears of what goes wrong.
    writing.catch(() => {});
    if (filled === STEP_BYTES) step = new Uint8Array(STEP_BYTES);
    start += filled;
    filled = 0;
  };
  for await (const { offset, bytes } of pieces) {
    if (offset !== start + filled) {
      await flush();
      start = offset;
    }
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + STEP_BYTES - filled);
      step.set(part, filled);
      at += part.length;
      filled += part.length;
      if (filled === STEP_BYTES) await flush();
    }
    length = Math.max(length, offset + bytes.length);
  }
  await flush();
  await writing;
  return length;
}

/** Bytes that come one after the other, as pieces. */
export async function* inOrder(
  parts: AsyncIterable<Uint8Array<ArrayBuffer>> | Iterable<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<Piece, void> {
  let offset = 0;
  for await (const bytes of parts) {
    yield { offset, bytes };
    offset += bytes.length;
  }
}
