/** The builder's worker: one build at a time, spoken to over comlink. Its name is the URL of the system's folder. */

import defaults from "virtual:rootfs";
import { expose, transfer } from "comlink";
import type { BuilderApi, DiskResult } from "./api.ts";
import { build, buildDisk, format } from "./build.ts";
import { createSources } from "./sources.ts";

const base = self.name;
const sources = createSources(base);
let current: AbortController | null = null;

const inputs = { defaults, loadParts: sources.load, loadDiskParts: sources.loadDisk };

/** Ends what is under way. */
function begin(): AbortSignal {
  current?.abort();
  current = new AbortController();
  return current.signal;
}

function handOver(result: DiskResult): DiskResult {
  const buffer = result.ok && result.image.extents[0]?.bytes.buffer;
  return buffer ? transfer(result, [buffer]) : result;
}

const api: BuilderApi = {
  async build(request, onProgress) {
    const result = await build(request, inputs, begin(), onProgress);
    return result.ok ? transfer(result, [result.bytes.buffer]) : result;
  },
  async buildDisk(request, onProgress) {
    return handOver(await buildDisk(request, inputs, begin(), onProgress));
  },
  async formatDisk(request) {
    return handOver(await format(request, begin()));
  },
  cancel() {
    current?.abort();
  },
};

expose(api);
