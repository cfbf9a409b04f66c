/** The page's side of the builder worker, and on this side the only importer of comlink. */
import { proxy, type Remote, transfer, wrap } from "comlink";
import type {
  Answer,
  BuilderApi,
  BuildFailure,
  BuildProgress,
  BuildRequest,
  BuildResult,
  ComposedImage,
  CustomKernel,
  DeltaRequest,
  DeltaResult,
  DiskEntry,
  DiskInspection,
  DiskRequest,
  DiskResult,
  ExportRequest,
  Extent,
  FileInspection,
  ForeignFile,
  FormatRequest,
  OpenedBundle,
  Overlay,
  ReadDisk,
  RebuildRequest,
  RebuildResult,
  SharedProject,
  TakeExtent,
} from "../worker/api.ts";
import type { BlockSource } from "../worker/format/sparse-image.ts";
import { release } from "./release.ts";
import { sentenceOf } from "./sentence.ts";

export interface Builder {
  /** Starts the worker, so that it is there when the first build is asked for. */
  prepare(): void;
  /** Never rejects. A build that is under way is cancelled by the next one. A builder that was stopped starts anew. */
  build(request: BuildRequest, options?: BuildOptions): Promise<BuildResult>;
  /** What a warm boot hands over; likewise. */
  composeDelta(request: DeltaRequest, options?: BuildOptions): Promise<DeltaResult>;
  buildDisk(request: DiskRequest, options?: BuildOptions): Promise<DiskResult>;
  formatDisk(request: FormatRequest, options?: BuildOptions): Promise<DiskResult>;
  /** What is on a disk. @throws Error with a sentence for the user, as the next two do */
  inspectDisk(source: BlockSource): Promise<DiskInspection>;
  listDirectory(source: BlockSource, path: string): Promise<DiskEntry[]>;
  /** Where a file's content is on the disk, which is source 0 of it. */
  locateDiskFile(source: BlockSource, path: string): Promise<ComposedImage>;
  rebuildDisk(source: BlockSource, request: RebuildRequest, options?: BuildOptions): Promise<RebuildResult>;
  /**
   * Makes a file from the project or from disks, piece by piece; what it takes from them and gives goes through `work`.
   * @returns its length. @throws Error with a sentence for the user, and the signal's reason when it was aborted
   */
  exportImage(request: ExportRequest, disks: readonly ExportedDisk[], work: ExportWork): Promise<number>;
  /** Files from outside. @throws Error with a sentence for the user, as the next five do */
  inspectFile(file: File, signal: AbortSignal): Promise<FileInspection>;
  openBundle(file: File, signal: AbortSignal): Promise<OpenedBundle>;
  openFiles(file: File, signal: AbortSignal): Promise<Overlay>;
  openKernel(file: File, signal: AbortSignal): Promise<CustomKernel>;
  /** @param id of a bundle's disk, null for a disk image. @returns the disk's size in bytes */
  takeDisk(file: File, id: string | null, take: TakeExtent, signal: AbortSignal): Promise<number>;
  /** A bundle's saved machine. @returns its length in bytes */
  takeSnapshot(file: File, take: TakeExtent, signal: AbortSignal): Promise<number>;
  /** The text of a link that carries the project. @throws Error with a sentence for the user, as the next one does */
  encodeLink(project: SharedProject): Promise<string>;
  openLink(text: string, signal: AbortSignal): Promise<SharedProject>;
  stop(): void;
}

/** A disk that is read for a file. */
export interface ExportedDisk {
  sizeBytes: number;
  /** In order; it may be asked for more than once. */
  extents(): AsyncIterator<Extent>;
}

export interface ExportWork {
  write(offset: number, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  onProgress(done: number): void;
  signal: AbortSignal;
}

export interface BuildOptions {
  signal?: AbortSignal;
  onProgress?(progress: BuildProgress): void;
}

/** A worker that has had nothing to do for this long gives its memory back. */
const IDLE_MS = 60_000;
/** A worker that neither answers nor reports progress for this long is taken for dead. */
const SILENCE_MS = 60_000;
/** A worker that ignores "cancel" for this long is ended. */
const CANCEL_MS = 2_000;
const CANCELLED = "Cannot finish the build: it was cancelled";

interface Running {
  worker: Worker;
  api: Remote<BuilderApi>;
  /** Rejects when the worker dies; comlink itself would leave its callers waiting for ever. */
  death: Promise<never>;
  /** Ends the worker and tells everybody who waits for it. */
  end(reason: string): void;
  /** Builds that wait for it. */
  pending: number;
}

/** @param system absolute URL of the folder with the system's artefacts, ending in "/" */
export function createBuilder(system: URL): Builder {
  let running: Running | null = null;
  let idle: ReturnType<typeof setTimeout> | undefined;

  const start = (): Running => {
    const worker = new Worker(new URL("../worker/main.ts", import.meta.url), { type: "module", name: system.href });
    const api = wrap<BuilderApi>(worker);
    let reject: (error: Error) => void = () => {};
    const death = new Promise<never>((_, die) => {
      reject = die;
    });
    death.catch(() => {});
    const started: Running = {
      worker,
      api,
      death,
      pending: 0,
      end(reason) {
        reject(new Error(reason));
        worker.terminate();
        // Whoever asks next gets a new one.
        if (running === started) running = null;
      },
    };
    worker.addEventListener("error", (event) => started.end(event.message || "it could not be started"));
    worker.addEventListener("messageerror", () => started.end("it sent something unreadable"));
    return started;
  };

  /** Asks the worker for something, and answers whatever becomes of it. */
  const ask = async <Result>(
    call: (api: Remote<BuilderApi>, hear: (progress: BuildProgress) => void) => Promise<Result>,
    { signal, onProgress }: BuildOptions,
  ): Promise<Result | BuildFailure> => {
    if (signal?.aborted) return failure("cancelled", CANCELLED);
    clearTimeout(idle);
    running ??= start();
    const mine = running;
    mine.pending += 1;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let silence: ReturnType<typeof setTimeout> | undefined;
    const listen = (): void => {
      clearTimeout(silence);
      silence = setTimeout(() => mine.end(`it has been silent for ${SILENCE_MS / 1000} s`), SILENCE_MS);
    };
    listen();
    const onAbort = (): void => {
      void mine.api.cancel();
      timer = setTimeout(() => {
        giveUp(failure("cancelled", CANCELLED));
        mine.end("it does not answer");
      }, CANCEL_MS);
    };
    let giveUp: (result: BuildFailure) => void = () => {};
    const cancelled = new Promise<BuildFailure>((resolve) => {
      giveUp = resolve;
    });
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      const hear = proxy((progress: BuildProgress) => {
        listen();
        onProgress?.(progress);
      });
      return await Promise.race([call(mine.api, hear), mine.death, cancelled]);
    } catch (error) {
      mine.end("it failed");
      const state = sentenceOf(error);
      return failure("crashed", `Cannot build: the builder stopped unexpectedly (${state}). Try again`);
    } finally {
      clearTimeout(timer);
      clearTimeout(silence);
      signal?.removeEventListener("abort", onAbort);
      mine.pending -= 1;
      if (running === mine && mine.pending === 0) idle = setTimeout(() => mine.end("it was idle"), IDLE_MS);
    }
  };

  /** Opens a file from outside; each piece of it that is read shows that the worker is at work. */
  const foreign = <T>(
    file: File,
    signal: AbortSignal,
    call: (api: Remote<BuilderApi>, facts: ForeignFile, read: ReadDisk) => Promise<Answer<T>>,
  ): Promise<Answer<T>> =>
    ask<Answer<T>>(
      (api, hear) => {
        const read = proxy(async (offset: number, length: number) => {
          void hear({ step: "tree", done: offset, total: file.size });
          const bytes = new Uint8Array(await file.slice(offset, offset + length).arrayBuffer());
          return transfer(bytes, [bytes.buffer]);
        });
        return call(api, { name: file.name, sizeBytes: file.size }, read);
      },
      { signal },
    );

  return {
    prepare() {
      running ??= start();
    },
    stop() {
      clearTimeout(idle);
      running?.end("it was stopped");
    },
    build: (request, options = {}) => ask<BuildResult>((api, hear) => api.build(request, hear), options),
    composeDelta: (request, options = {}) => ask<DeltaResult>((api) => api.composeDelta(request), options),
    buildDisk: (request, options = {}) => ask<DiskResult>((api, hear) => api.buildDisk(request, hear), options),
    inspectDisk: async (source) =>
      succeed(await ask<Answer<DiskInspection>>((api) => api.inspectDisk(source.size, reader(source)), {})),
    listDirectory: async (source, path) =>
      succeed(await ask<Answer<DiskEntry[]>>((api) => api.listDirectory(source.size, reader(source), path), {})),
    locateDiskFile: async (source, path) =>
      succeed(await ask<Answer<ComposedImage>>((api) => api.locateDiskFile(source.size, reader(source), path), {})),
    async exportImage(request, disks, { write, onProgress, signal }) {
      const walks: AsyncIterator<Extent>[] = [];
      const walk = proxy(async (disk: number, restart: boolean): Promise<Extent | null> => {
        if (restart) walks[disk] = (disks[disk] as ExportedDisk).extents();
        const { value, done } = await (walks[disk] as AsyncIterator<Extent>).next();
        return done ? null : transfer(value, [value.bytes.buffer]);
      });
      const sizes = disks.map(({ sizeBytes }) => sizeBytes);
      let last = 0;
      const answer = await ask<Answer<number>>(
        (api, hear) => {
          const listening = proxy((done: number) => {
            // The builder's own kind of progress keeps it from being taken for dead.
            if (done > last) void hear({ step: "compress", done, total: 0 });
            last = done;
            onProgress(done);
          });
          const take = proxy(async (offset: number, bytes: Uint8Array<ArrayBuffer>) => {
            await write(offset, bytes);
            release(bytes);
          });
          return api.exportImage(request, sizes, walk, take, listening);
        },
        { signal },
      );
      await Promise.all(walks.map((one) => one.return?.()));
      signal.throwIfAborted();
      return succeed(answer);
    },
    inspectFile: async (file, signal) =>
      succeed(await foreign<FileInspection>(file, signal, (api, facts, read) => api.inspectFile(facts, read))),
    openBundle: async (file, signal) =>
      succeed(await foreign<OpenedBundle>(file, signal, (api, facts, read) => api.openBundle(facts, read))),
    openFiles: async (file, signal) =>
      succeed(await foreign<Overlay>(file, signal, (api, facts, read) => api.openFiles(facts, read))),
    openKernel: async (file, signal) =>
      succeed(await foreign<CustomKernel>(file, signal, (api, facts, read) => api.openKernel(facts, read))),
    takeDisk: async (file, id, take, signal) =>
      succeed(await foreign<number>(file, signal, (api, facts, read) => api.takeDisk(facts, read, id, taking(take)))),
    takeSnapshot: async (file, take, signal) =>
      succeed(await foreign<number>(file, signal, (api, facts, read) => api.takeSnapshot(facts, read, taking(take)))),
    encodeLink: async (project) => succeed(await ask<Answer<string>>((api) => api.encodeLink(project), {})),
    openLink: async (text, signal) =>
      succeed(await ask<Answer<SharedProject>>((api) => api.openLink(text), { signal })),
    rebuildDisk: (source, request, options = {}) =>
      ask<RebuildResult>((api, hear) => {
        // A large disk's tables take a while to read.
        const heard: BlockSource = {
          size: source.size,
          read(offset, length) {
            hear({ step: "tree", done: 0, total: 0 });
            return source.read(offset, length);
          },
        };
        return api.rebuildDisk(source.size, reader(heard), request);
      }, options),
    formatDisk: (request, options = {}) => ask<DiskResult>((api) => api.formatDisk(request), options),
  };
}

/** Bytes that are read for the worker are the worker's. */
function reader(source: BlockSource) {
  return proxy(async (offset: number, length: number) => {
    const bytes = await source.read(offset, length);
    return transfer(bytes, [bytes.buffer]);
  });
}

/** What the worker hands over is done with when it has been taken. */
function taking(take: TakeExtent) {
  return proxy(async (extent: Extent) => {
    await take(extent);
    release(extent.bytes);
  });
}

function succeed<T>(answer: Answer<T>): T {
  if (!answer.ok) throw new Error(answer.problem);
  return answer.value;
}

function failure(reason: BuildFailure["reason"], problem: string): BuildFailure {
  return { ok: false, reason, problem };
}
