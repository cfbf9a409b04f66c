/** The builder's worker: one build at a time, spoken to over comlink. Its name is the URL of the system's folder. */

import defaults from "virtual:rootfs";
import { expose, transfer } from "comlink";
import type { BuilderApi } from "./api.ts";
import { build } from "./build.ts";
import { createSources } from "./sources.ts";

const base = self.name;
const sources = createSources(base);
let current: AbortController | null = null;

const api: BuilderApi = {
  async build(request, onProgress) {
    current?.abort();
    const controller = new AbortController();
    current = controller;
    const inputs = { defaults, loadParts: sources.load };
    const result = await build(request, inputs, controller.signal, onProgress);
    return result.ok ? transfer(result, [result.bytes.buffer]) : result;
  },
  cancel() {
    current?.abort();
  },
};

expose(api);
