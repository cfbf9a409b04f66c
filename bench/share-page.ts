/** The same work in Chromium: the page hands a file's areas to its builder worker, and drops what comes back. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { type Bench, startBench } from "../test/browser/bench.ts";

export interface Measured {
  ms: number;
  /** How much more memory the page's process needed than before. */
  extraMb: number;
}

type Job = "qcow2" | "gzip" | "import";

const SCRIPT = `
  import { createBuilder } from "/builder.ts";
  const builder = createBuilder(new URL("/system/", location.href));
  const STEP = 1024 * 1024;
  const { signal } = new AbortController();
  const input = document.body.appendChild(Object.assign(document.createElement("input"), { type: "file" }));
  const extents = (file, areas) => async function* () {
    for (const { offset, length } of areas)
      for (let at = offset; at < offset + length; at += STEP)
        yield { offset: at, bytes: new Uint8Array(await file.slice(at, Math.min(at + STEP, offset + length)).arrayBuffer()) };
  };
  const exported = (kind, areas) => {
    const [file] = input.files;
    const disk = { sizeBytes: file.size, extents: extents(file, areas) };
    return builder.exportImage({ kind, name: "bench" }, [disk], { write: async () => {}, onProgress() {}, signal });
  };
  const jobs = {
    qcow2: (areas) => exported("disk-qcow2", areas),
    gzip: (areas) => exported("disk-raw-gz", areas),
    import: () => builder.takeDisk(input.files[0], "d", async () => {}, signal),
  };
  window.bench = null;
  window.measure = async (job, areas) => {
    const startedAt = performance.now();
    await jobs[job](areas);
    return performance.now() - startedAt;
  };
`;

declare const window: { measure(job: Job, areas: readonly Area[]): Promise<number> };

interface Area {
  offset: number;
  length: number;
}

/** @param areas where there is anything on the disk */
export async function measureInPage(
  raw: string,
  bundle: string,
  areas: readonly Area[],
): Promise<Record<Job, Measured>> {
  const bench = await startBench(SCRIPT);
  try {
    return {
      qcow2: await measure(bench, "qcow2", raw, areas),
      gzip: await measure(bench, "gzip", raw, areas),
      import: await measure(bench, "import", bundle, areas),
    };
  } finally {
    await bench.close();
  }
}

async function measure(bench: Bench, job: Job, path: string, areas: readonly Area[]): Promise<Measured> {
  const page = await bench.open();
  await page.locator("input").setInputFiles(path);
  // The workers are there, and what they load is in memory.
  await page.evaluate(([kind]) => window.measure(kind, [{ offset: 0, length: 65_536 }]), [
    job === "import" ? "qcow2" : job,
  ] as const);
  const renderers = ownRenderers();
  const before = renderers.map((pid) => memoryOf(pid, "VmRSS"));
  // Forgets how much memory there was at most (proc(5), clear_refs).
  for (const pid of renderers) writeFileSync(`/proc/${pid}/clear_refs`, "5");
  const ms = await page.evaluate(([kind, list]) => window.measure(kind, list), [job, areas] as const);
  const extraMb = renderers.reduce((sum, pid, at) => sum + memoryOf(pid, "VmHWM") - (before[at] as number), 0);
  await page.context().close();
  return { ms, extraMb };
}

/** The processes of this program's Chromium in which pages live. */
function ownRenderers(): number[] {
  const parents = new Map<number, number>();
  const renderers: number[] = [];
  for (const pid of readdirSync("/proc").map(Number).filter(Number.isInteger))
    try {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      parents.set(pid, Number(/PPid:\s+(\d+)/.exec(status)?.[1]));
      if (readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--type=renderer")) renderers.push(pid);
    } catch {
      // It has ended meanwhile.
    }
  const isOwn = (pid: number): boolean => pid === process.pid || (pid > 1 && isOwn(parents.get(pid) ?? 0));
  return renderers.filter(isOwn);
}

/** In MB. */
function memoryOf(pid: number, field: "VmRSS" | "VmHWM"): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) / 1024;
}
