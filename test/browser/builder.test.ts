import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Builder } from "../../web/builder.ts";
import type { BuildProgress, BuildRequest, BuildResult } from "../../worker/api.ts";
import { type Bench, startBench } from "./bench.ts";

/** What the test page puts on its window. */
interface BuilderBench {
  builder: Builder;
  request: BuildRequest;
  /** Without the bytes, which are large. */
  brief(result: BuildResult): Record<string, unknown>;
}

const SCRIPT = `
  import { createBuilder } from "/builder.ts";
  const builder = createBuilder(new URL("/system/", location.href));
  const request = { target: "initramfs", overlay: [], compression: "none", memoryMb: 128 };
  const brief = ({ bytes, ...rest }) => (bytes ? { ...rest, length: bytes.length, magic: String.fromCharCode(...bytes.slice(0, 6)) } : rest);
  window.bench = { builder, request, brief };
`;

let bench: Bench;
beforeAll(async () => {
  bench = await startBench(SCRIPT);
});
afterAll(() => bench.close());

declare const window: { bench: BuilderBench } & Record<string, unknown>;

/** Puts another script in the worker's place, as often as `times` says. */
async function replaceWorker(page: Page, script: string, times: number): Promise<void> {
  await page.route(
    (url) => url.pathname.endsWith("/worker/main.ts"),
    (route) => route.fulfill({ contentType: "text/javascript", body: script }),
    { times },
  );
}

const buildBrief = (page: Page) =>
  page.evaluate(async () => window.bench.brief(await window.bench.builder.build(window.bench.request)));

describe("the builder", () => {
  it("builds with progress, the same bytes twice, and loads its sources once", async () => {
    const page = await bench.open();
    const requests: string[] = [];
    page.on("request", (request) => requests.push(new URL(request.url()).pathname));
    const [first, second, steps] = await page.evaluate(async () => {
      const { builder, request, brief } = window.bench;
      const seen: BuildProgress[] = [];
      const first = brief(await builder.build(request, { onProgress: (progress) => seen.push(progress) }));
      return [first, brief(await builder.build(request)), seen] as const;
    });
    expect(first).toMatchObject({ ok: true, magic: "070701", sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(second).toMatchObject({ ok: true, sha256: first.sha256, length: first.length });
    expect(new Set(steps.map(({ step }) => step))).toEqual(new Set(["fetch", "tree", "pack"]));
    const fetched = steps.filter(({ step }) => step === "fetch");
    expect(fetched.at(-1)?.done).toBe(fetched.at(-1)?.total);
    expect(requests.filter((path) => path.endsWith("/system/busybox"))).toHaveLength(1);
  });

  it("gives problems as values, with the path at fault", async () => {
    const page = await bench.open();
    const result = await page.evaluate(async () => {
      const { builder, request } = window.bench;
      return builder.build({ ...request, overlay: [{ kind: "directory", path: `/${"n".repeat(256)}`, mode: 0o755 }] });
    });
    expect(result).toMatchObject({ ok: false, reason: "invalid", path: `/${"n".repeat(256)}` });
  });

  it("says what it cannot load, and tries again at the next build", async () => {
    const page = await bench.open();
    await page.route("**/system/busybox", (route) => route.fulfill({ status: 404 }), { times: 1 });
    const first = await buildBrief(page);
    expect(first).toEqual({ ok: false, reason: "unavailable", problem: "Cannot load busybox: the server answers 404" });
    expect(await buildBrief(page)).toMatchObject({ ok: true });
  });

  it("cancels", async () => {
    const page = await bench.open();
    const result = await page.evaluate(async () => {
      const { builder, request } = window.bench;
      const controller = new AbortController();
      const overlay = [
        {
          kind: "file" as const,
          path: "/big",
          mode: 0o644,
          content: new Uint8Array(30_000_000).map(() => Math.random() * 256),
        },
      ];
      return builder.build(
        { ...request, overlay, compression: "gzip", memoryMb: 512 },
        { signal: controller.signal, onProgress: ({ step }) => step === "compress" && controller.abort() },
      );
    });
    expect(result).toMatchObject({ ok: false, reason: "cancelled" });
    expect(
      await page.evaluate(() => window.bench.builder.build(window.bench.request, { signal: AbortSignal.abort() })),
    ).toMatchObject({ reason: "cancelled" });
    expect(await buildBrief(page)).toMatchObject({ ok: true });
  });

  it.each([
    ["throws as it starts", "throw new Error('worn out')", "worn out"],
    ["does not even parse", "<html>", "the builder stopped"],
    ["throws at the first message", "onmessage = () => { throw new Error('worn out') }", "worn out"],
  ])("tells its callers when the worker %s, and starts a new one for the next build", async (_, script, words) => {
    const page = await bench.open();
    await replaceWorker(page, script, 1);
    const first = await buildBrief(page);
    expect(first).toMatchObject({ ok: false, reason: "crashed" });
    expect(first.problem).toMatch(/^Cannot build: the builder stopped unexpectedly \(.*\)\. Try again$/);
    expect(first.problem).toContain(words);
    expect(await buildBrief(page)).toMatchObject({ ok: true });
  });

  it("ends a worker that never answers when the build is cancelled", async () => {
    const page = await bench.open();
    await replaceWorker(page, "for (;;);", 1);
    const first = await page.evaluate(() =>
      window.bench.builder.build(window.bench.request, { signal: AbortSignal.timeout(300) }),
    );
    expect(first).toMatchObject({ ok: false, reason: "cancelled" });
    expect(await buildBrief(page)).toMatchObject({ ok: true });
  });

  it("takes a worker that is silent for a minute for dead", async () => {
    const page = await bench.open();
    await replaceWorker(page, "for (;;);", 1);
    await page.clock.install();
    const first = buildBrief(page);
    await page.clock.runFor(61_000);
    expect(await first).toMatchObject({
      ok: false,
      reason: "crashed",
      problem: expect.stringContaining("silent for 60 s"),
    });
    expect(await buildBrief(page)).toMatchObject({ ok: true });
  });

  it("answers everybody who waits when it is stopped", async () => {
    const page = await bench.open();
    await replaceWorker(page, "for (;;);", 1);
    const results = await page.evaluate(async () => {
      const { builder, request } = window.bench;
      const waiting = [builder.build(request), builder.build(request)];
      setTimeout(() => builder.stop(), 200);
      return Promise.all(waiting);
    });
    for (const result of results) expect(result).toMatchObject({ ok: false, reason: "crashed" });
    expect(await buildBrief(page)).toMatchObject({ ok: true });
  });
});
