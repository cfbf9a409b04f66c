import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { BuildProgress, BuildRequest, Overlay } from "../../worker/api.ts";
import { build } from "../../worker/build.ts";
import { decodeCpio, encodeCpio } from "../../worker/format/cpio.ts";
import { FileTree } from "../../worker/format/file-tree.ts";
import { composeTree, type DefaultFile, type SystemParts } from "../../worker/recipe.ts";
import { UnavailableError } from "../../worker/sources.ts";

const text = (words: string): Uint8Array => new TextEncoder().encode(words);
const owner = { uid: 0, gid: 0, mtime: 0 };
const modules = new FileTree();
modules.add({ path: "/lib/modules/6/loop.ko", kind: "file", mode: 0o644, content: text("module"), ...owner });
const parts: SystemParts = {
  busybox: text("busybox"),
  busyboxLinks: "/bin/ls\n/bin/sh\n/sbin/init\n/usr/bin/vi\n",
  modules: encodeCpio(modules),
};
const defaults: DefaultFile[] = [
  { path: "/init", mode: 0o755, content: "#!/bin/sh\n" },
  { path: "/etc/hostname", mode: 0o644, content: "smart-os\n" },
];
const compose = (overlay: Overlay): FileTree => composeTree(parts, defaults, overlay);
const file = (path: string, words: string, mode = 0o644): Overlay[number] => ({
  path,
  kind: "file",
  mode,
  content: text(words),
});
const request = (change: Partial<BuildRequest> = {}): BuildRequest => ({
  target: "initramfs",
  overlay: [],
  compression: "none",
  memoryMb: 128,
  ...change,
});
const run = (
  change: Partial<BuildRequest>,
  signal = new AbortController().signal,
  onProgress = (_: BuildProgress): void => {},
) => build(request(change), { defaults, loadParts: async () => parts }, signal, onProgress);

describe("composing a root file system", () => {
  it("has skeleton, modules, busybox, its applets, and the default files", () => {
    const tree = compose([]);
    expect(tree.get("/tmp")).toMatchObject({ kind: "directory", mode: 0o1777 });
    expect(tree.get("/dev/console")).toMatchObject({ kind: "device", major: 5, minor: 1, mode: 0o600 });
    expect(tree.get("/lib/modules/6/loop.ko")).toMatchObject({ content: text("module") });
    expect(tree.get("/bin/busybox")).toMatchObject({ mode: 0o755, content: text("busybox") });
    expect(tree.get("/usr/bin/vi")).toMatchObject({ kind: "symlink", target: "/bin/busybox" });
    expect(tree.get("/init")).toMatchObject({ mode: 0o755 });
  });

  it("lets the project replace a default file, an applet and a module, and delete any of them", () => {
    const tree = compose([
      file("/etc/hostname", "mine\n", 0o600),
      file("/sbin/init", "own init", 0o755),
      { path: "/bin/ls", kind: "deleted" },
      { path: "/lib/modules", kind: "deleted" },
      { path: "/nothing", kind: "deleted" },
      { path: "/etc/link", kind: "symlink", target: "hostname", mode: 0o777 },
    ]);
    expect(tree.get("/etc/hostname")).toMatchObject({ mode: 0o600, content: text("mine\n") });
    expect(tree.get("/sbin/init")).toMatchObject({ kind: "file", mode: 0o755 });
    expect(tree.has("/bin/ls")).toBe(false);
    expect(tree.has("/lib/modules/6/loop.ko")).toBe(false);
    expect(tree.get("/etc/link")).toMatchObject({ target: "hostname" });
  });

  it("refuses two entries for one path", () => {
    expect(() => compose([file("/x", "1"), file("/x", "2")])).toThrow(
      "Cannot build the project: /x stands in it twice",
    );
  });
});

describe("a build", () => {
  it("gives the same bytes for the same project, and tells their sum", async () => {
    const first = await run({ overlay: [file("/a", "1"), file("/b", "2")] });
    const second = await run({ overlay: [file("/b", "2"), file("/a", "1")] });
    if (!first.ok || !second.ok) throw new Error("the build failed");
    expect(second.sha256).toBe(first.sha256);
    expect(createHash("sha256").update(first.bytes).digest("hex")).toBe(first.sha256);
    expect(decodeCpio(first.bytes).size).toBe(first.entries);
  });

  it("gzips for downloads, the same bytes each time", async () => {
    const plain = await run({});
    const packed = await run({ compression: "gzip" });
    const again = await run({ compression: "gzip" });
    if (!plain.ok || !packed.ok || !again.ok) throw new Error("the build failed");
    expect(new Uint8Array(gunzipSync(packed.bytes))).toEqual(plain.bytes);
    expect(again.sha256).toBe(packed.sha256);
  });

  it("reports its steps", async () => {
    const steps: string[] = [];
    await run({ compression: "gzip" }, undefined, ({ step, done, total }) => {
      expect(done).toBeLessThanOrEqual(total);
      steps.push(step);
    });
    expect([...new Set(steps)]).toEqual(["tree", "pack", "compress"]);
  });

  it.each([
    [60, 128],
    [9, 32],
  ])("refuses %d MB of files in %d MB of memory", async (megabytes, memoryMb) => {
    const result = await run({
      memoryMb,
      overlay: [{ path: "/big", kind: "file", mode: 0o644, content: new Uint8Array(megabytes * 1024 * 1024) }],
    });
    expect(result).toMatchObject({ ok: false, reason: "too-large" });
    expect(!result.ok && result.problem).toMatch(
      /^Cannot boot with \d+ MB of files: unpacking them takes \d+ MB of memory/,
    );
  });

  it("names the file that cannot be", async () => {
    const path = `/${"n".repeat(256)}`;
    expect(await run({ overlay: [file(path, "x")] })).toMatchObject({ ok: false, reason: "invalid", path });
  });

  it("ends when it is cancelled, and reports what cannot be loaded", async () => {
    const controller = new AbortController();
    const building = run(
      {
        compression: "gzip",
        memoryMb: 512,
        overlay: [{ path: "/big", kind: "file", mode: 0o644, content: new Uint8Array(20 << 20) }],
      },
      controller.signal,
    );
    controller.abort();
    expect(await building).toMatchObject({ ok: false, reason: "cancelled" });
    const unavailable = await build(
      request(),
      {
        defaults,
        loadParts: () => Promise.reject(new UnavailableError("Cannot load busybox: the server answers 404")),
      },
      new AbortController().signal,
      () => {},
    );
    expect(unavailable).toMatchObject({
      ok: false,
      reason: "unavailable",
      problem: "Cannot load busybox: the server answers 404",
    });
  });
});
