import { describe, expect, it } from "vitest";
import type { BuildRequest, Overlay } from "../../worker/api.ts";
import { type BuildInputs, build } from "../../worker/build.ts";
import { encodeCpio } from "../../worker/format/cpio.ts";
import { FileTree } from "../../worker/format/file-tree.ts";
import { composeTree, type DefaultFile, type SystemParts } from "../../worker/recipe.ts";

const owner = { uid: 0, gid: 0, mtime: 0 };
const text = (words: string): Uint8Array => new TextEncoder().encode(words);

function modules(): Uint8Array {
  const tree = new FileTree();
  tree.add({ path: "/lib/modules/6.12/loop.ko", kind: "file", mode: 0o644, content: text("module"), ...owner });
  return encodeCpio(tree);
}

const parts: SystemParts = {
  busybox: text("busybox"),
  busyboxLinks: "/bin/ls\n/bin/busybox\n/sbin/init\n/usr/bin/env\n",
  modules: modules(),
};
const defaults: DefaultFile[] = [
  { path: "/init", mode: 0o755, content: "#!/bin/sh\n" },
  { path: "/etc/init.d/rcS", mode: 0o755, content: "echo rcS\n" },
  { path: "/usr/bin/env", mode: 0o755, content: "a default at an applet's place" },
  { path: "/etc/link", mode: 0o777, target: "init.d/rcS" },
];
const file = (path: string, words = "mine"): Overlay[number] => ({
  path,
  kind: "file",
  mode: 0o640,
  content: text(words),
});
const compose = (overlay: Overlay = []): FileTree => composeTree(parts, defaults, overlay);

const inputs: BuildInputs = { defaults, loadParts: async () => parts };
const request: BuildRequest = { target: "initramfs", overlay: [], compression: "none", memoryMb: 128 };
const run = (change: Partial<BuildRequest> = {}, signal = new AbortController().signal, from = inputs) =>
  build({ ...request, ...change }, from, signal, () => {});

describe("the recipe", () => {
  it("lets a default file take an applet's place, and a project the directory's that it deletes", () => {
    expect(compose().get("/usr/bin/env")).toMatchObject({ kind: "file" });
    expect(compose().get("/etc/link")).toMatchObject({ kind: "symlink", target: "init.d/rcS" });
    const tree = compose([{ path: "/etc", kind: "deleted" }, file("/etc/own")]);
    expect(tree.has("/etc/init.d/rcS")).toBe(false);
    expect(tree.has("/etc/own")).toBe(true);
  });

  it.each([
    ["Cannot build the project: /x stands in it twice", [file("/x"), file("/x")]],
    ["Cannot replace the directory /bin: /bin/busybox is in it", [file("/bin")]],
    ["Cannot add /init/x: /init is a file, not a directory", [file("/init/x")]],
    ["Cannot add /var/run/x: /var/run is a symlink, not a directory", [file("/var/run/x")]],
    ["Cannot remove /: every tree has a root", [{ path: "/", kind: "deleted" }]],
  ] as [string, Overlay][])("says: %s", (words, overlay) => {
    expect(() => compose(overlay)).toThrow(words);
  });
});

describe("a build", () => {
  it("gives the bytes that it always gave", async () => {
    // The sum is part of the promise: a change here changes every user's archive.
    expect(await run({ overlay: [file("/a"), file("/b")] })).toMatchObject({
      sha256: "1a078af60eed66aefc50c5e9afb7e2f0c96776d98a208eb7f33bae22cf317cf6",
    });
  });

  it("says what is wrong with damaged modules", async () => {
    const damaged = async () => ({ ...parts, modules: parts.modules.subarray(0, 150) });
    expect(await run({}, new AbortController().signal, { defaults, loadParts: damaged })).toMatchObject({
      ok: false,
      reason: "invalid",
      problem: expect.stringContaining("at byte"),
    });
  });

  it("stops in the middle of compressing", async () => {
    const controller = new AbortController();
    const overlay: Overlay = [{ path: "/big", kind: "file", mode: 0o644, content: new Uint8Array(4_000_000) }];
    let compressed = 0;
    const result = await build(
      { ...request, overlay, compression: "gzip" },
      inputs,
      controller.signal,
      ({ step, done }) => {
        if (step === "compress") compressed = done;
        if (compressed > 1_000_000) controller.abort();
      },
    );
    expect(result).toMatchObject({ ok: false, reason: "cancelled" });
    expect(compressed).toBeLessThan(2_000_000);
  });
});
