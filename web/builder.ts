/** The page's side of the builder worker, and on this side the only importer of comlink. */
import { proxy, type Remote, releaseProxy, wrap } from "comlink";
import type { BuilderApi, BuildFailure, BuildProgress, BuildRequest, BuildResult } from "../worker/api.ts";

export interface Builder {
  /** Never rejects. A build that is under way is cancelled by the next one. */
  build(
    request: BuildRequest,
    options?: { signal?: AbortSignal; onProgress?(progress: BuildProgress): void },
  ): Promise<BuildResult>;
  stop(): void;
}

/** A worker that has had nothing to do for this long gives its memory back. */
const IDLE_MS = 60_000;
/** A worker that ignores "cancel" for this long is ended. */
const CANCEL_MS = 2_000;

interface Running {
  worker: Worker;
  api: Remote<BuilderApi>;
  /** Rejects when the worker dies; comlink itself would leave its callers waiting for ever. */
  death: Promise<never>;
}

/** @param system absolute URL of the folder with the system's artefacts, ending in "/" */
export function createBuilder(system: URL): Builder {
  let running: Running | null = null;
  let idle: ReturnType<typeof setTimeout> | undefined;

  const stop = (): void => {
    clearTimeout(idle);
    running?.api[releaseProxy]();
    running?.worker.terminate();
    running = null;
  };

  const start = (): Running => {
    const worker = new Worker(new URL("../worker/main.ts", import.meta.url), { type: "module", name: system.href });
    const death = new Promise<never>((_, reject) => {
      worker.addEventListener("error", (event) => reject(new Error(event.message || "it could not be started")));
      worker.addEventListener("messageerror", () => reject(new Error("it sent something unreadable")));
    });
    death.catch(() => {});
    return { worker, api: wrap<BuilderApi>(worker), death };
  };

  return {
    stop,
    async build(request, { signal, onProgress } = {}) {
      clearTimeout(idle);
      running ??= start();
      const mine = running;
      let timer: ReturnType<typeof setTimeout> | undefined;
      const onAbort = (): void => {
        void mine.api.cancel();
        timer = setTimeout(() => {
          if (running === mine) stop();
          giveUp(failure("cancelled", "Cannot finish the build: it was cancelled"));
        }, CANCEL_MS);
      };
      let giveUp: (result: BuildResult) => void = () => {};
      const cancelled = new Promise<BuildResult>((resolve) => {
        giveUp = resolve;
      });
      signal?.addEventListener("abort", onAbort, { once: true });
      if (signal?.aborted) onAbort();
      try {
        const result = mine.api.build(
          request,
          proxy((progress: BuildProgress) => onProgress?.(progress)),
        );
        return await Promise.race([result, mine.death, cancelled]);
      } catch (error) {
        if (running === mine) stop();
        const state = error instanceof Error ? error.message : String(error);
        return failure("crashed", `Cannot build: the builder stopped unexpectedly (${state}). Try again`);
      } finally {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        idle = setTimeout(stop, IDLE_MS);
      }
    },
  };
}

function failure(reason: BuildFailure["reason"], problem: string): BuildFailure {
  return { ok: false, reason, problem };
}
