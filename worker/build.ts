import type {
  Answer,
  BuildFailure,
  BuildProgress,
  BuildRequest,
  BuildResult,
  DeltaRequest,
  DeltaResult,
  DiskRequest,
  DiskResult,
  FormatRequest,
  Piece,
  RebuildRequest,
  RebuildResult,
  SparseImage,
} from "./api.ts";
import { compressGzip } from "./compress.ts";
import { composeDelta, type Listing } from "./delta.ts";
import { composeDisk, type DiskParts, formatDisk } from "./disk.ts";
import { rebuildDisk } from "./disk-content.ts";
import { FormatError } from "./format/file-tree.ts";
import type { BlockSource } from "./format/sparse-image.ts";
import { hashSha256 } from "./hash.ts";
import { systemDiskIdentity } from "./identity.ts";
import { buildInitramfs, MemoryError } from "./initramfs.ts";
import { composeTree, type DefaultFile, type SystemParts } from "./recipe.ts";
import { UnavailableError } from "./sources.ts";

type OnBytes = (done: number, total: number) => void;

export interface BuildInputs {
  defaults: readonly DefaultFile[];
  loadParts(signal: AbortSignal, onProgress: OnBytes): Promise<SystemParts>;
}

/**
 * One build, from a request to bytes. It never rejects: whatever goes wrong comes back as a value with a sentence.
 * Runs the same in the page's worker and in Node.
 */
export function build(
  request: BuildRequest,
  inputs: BuildInputs,
  signal: AbortSignal,
  onProgress: (progress: BuildProgress) => void,
): Promise<BuildResult> {
  const startedAt = performance.now();
  return refusing(signal, async () => {
    const parts = await inputs.loadParts(signal, (done, total) => onProgress({ step: "fetch", done, total }));
    signal.throwIfAborted();
    const tree = composeTree(parts, inputs.defaults, request.overlay);
    onProgress({ step: "tree", done: tree.size, total: tree.size });
    const archive = buildInitramfs(tree, request.memoryMb);
    onProgress({ step: "pack", done: tree.size, total: tree.size });
    const bytes =
      request.compression === "none"
        ? archive
        : await compressGzip(archive, {
            signal,
            onProgress: (done) => onProgress({ step: "compress", done, total: archive.length }),
          });
    signal.throwIfAborted();
    const sha256 = await hashSha256(bytes);
    return { ok: true, bytes, sha256, entries: tree.size, buildMs: performance.now() - startedAt };
  });
}

/** What a warm boot hands over, as a value likewise. */
export function buildDelta(request: DeltaRequest, listing: Listing, signal: AbortSignal): Promise<DeltaResult> {
  const startedAt = performance.now();
  return refusing(signal, async () => ({
    ok: true,
    bytes: composeDelta(listing, request),
    buildMs: performance.now() - startedAt,
  }));
}

/** A bootable disk, as a value likewise. */
export function buildDisk(
  request: DiskRequest,
  inputs: BuildInputs & { loadDiskParts(signal: AbortSignal, onProgress: OnBytes): Promise<DiskParts> },
  signal: AbortSignal,
  onProgress: (progress: BuildProgress) => void,
): Promise<DiskResult> {
  const startedAt = performance.now();
  return refusing(signal, async () => {
    const onFetch = (done: number, total: number): void => onProgress({ step: "fetch", done, total });
    const parts = await inputs.loadParts(signal, onFetch);
    const diskParts = await inputs.loadDiskParts(signal, onFetch);
    signal.throwIfAborted();
    const tree = composeTree(parts, inputs.defaults, request.overlay);
    onProgress({ step: "tree", done: tree.size, total: tree.size });
    const image = composeDisk(tree, diskParts, request, await systemDiskIdentity(request));
    onProgress({ step: "pack", done: tree.size, total: tree.size });
    return { ok: true, image: inOneBuffer(image), buildMs: performance.now() - startedAt };
  });
}

/** An empty data disk, as a value likewise. */
export function format(request: FormatRequest, signal: AbortSignal): Promise<DiskResult> {
  const startedAt = performance.now();
  return refusing(signal, async () => ({
    ok: true,
    image: inOneBuffer(formatDisk(request)),
    buildMs: performance.now() - startedAt,
  }));
}

/** Something about a disk, as a value likewise. */
export function answer<T>(signal: AbortSignal, run: () => Promise<T>): Promise<Answer<T>> {
  return refusing<Answer<T>>(signal, async () => ({ ok: true, value: await run() }));
}

/** A disk made from another, as a value likewise. */
export function rebuild(source: BlockSource, request: RebuildRequest, signal: AbortSignal): Promise<RebuildResult> {
  const startedAt = performance.now();
  return refusing(signal, async () => {
    const { size, pieces } = await rebuildDisk(source, request);
    signal.throwIfAborted();
    return { ok: true, image: { size, pieces: gathered(pieces) }, buildMs: performance.now() - startedAt };
  });
}

function inOneBuffer({ size, extents }: SparseImage): SparseImage {
  return { size, extents: gathered(extents) };
}

/** Their bytes look into buffers that others keep: those of one buffer can be handed over without a further copy. */
function gathered<Part extends Piece>(pieces: readonly Part[]): Part[] {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + ("bytes" in piece ? piece.bytes.length : 0), 0));
  let at = 0;
  return pieces.map((piece) => {
    if (!("bytes" in piece)) return piece;
    const bytes = all.subarray(at, at + piece.bytes.length);
    bytes.set(piece.bytes);
    at += bytes.length;
    return { ...piece, bytes };
  });
}

/** Runs a build; whatever it throws becomes a value. */
async function refusing<Result>(signal: AbortSignal, run: () => Promise<Result>): Promise<Result | BuildFailure> {
  try {
    return await run();
  } catch (error) {
    if (signal.aborted) return { ok: false, reason: "cancelled", problem: "Cannot finish the build: it was cancelled" };
    if (error instanceof MemoryError) return { ok: false, reason: "too-large", problem: error.message };
    if (error instanceof FormatError)
      return {
        ok: false,
        reason: "invalid",
        problem: error.message,
        ...(error.path === undefined ? {} : { path: error.path }),
      };
    if (error instanceof UnavailableError) return { ok: false, reason: "unavailable", problem: error.message };
    // Allocation is what fails here for reasons that are not ours.
    if (error instanceof RangeError)
      return {
        ok: false,
        reason: "too-large",
        problem: `Cannot build: the browser has not enough memory (${error.message})`,
      };
    return {
      ok: false,
      reason: "crashed",
      problem: `Cannot build: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}
