import type { BuildProgress, BuildRequest, BuildResult } from "./api.ts";
import { compressGzip } from "./compress.ts";
import { FormatError } from "./format/file-tree.ts";
import { hashSha256 } from "./hash.ts";
import { buildInitramfs, MemoryError } from "./initramfs.ts";
import { composeTree, type DefaultFile, type SystemParts } from "./recipe.ts";
import { UnavailableError } from "./sources.ts";

export interface BuildInputs {
  defaults: readonly DefaultFile[];
  loadParts(signal: AbortSignal, onProgress: (done: number, total: number) => void): Promise<SystemParts>;
}

/**
 * One build, from a request to bytes. It never rejects: whatever goes wrong comes back as a value with a sentence.
 * Runs the same in the page's worker and in Node.
 */
export async function build(
  request: BuildRequest,
  inputs: BuildInputs,
  signal: AbortSignal,
  onProgress: (progress: BuildProgress) => void,
): Promise<BuildResult> {
  const startedAt = performance.now();
  try {
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
