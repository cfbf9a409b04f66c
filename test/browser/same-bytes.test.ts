/** An image built in the page has the bytes of one that the command line builds. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../machine/guest.ts";
import { scratchFolder } from "../oracle/images.ts";
import { type Bench, startBench } from "./bench.ts";

/** The project of a folder with two files, through the page's builder and its formats. */
const SCRIPT = `
  import { createBuilder } from "/builder.ts";
  import { encodeBundle } from "/@fs${ROOT}/worker/bundle.ts";
  import { deflateCluster, gzipDisk } from "/@fs${ROOT}/worker/compress.ts";
  import { streamOf } from "/@fs${ROOT}/worker/format/disk-stream.ts";
  import { encodeCompressedQcow2 } from "/@fs${ROOT}/worker/format/qcow2.ts";
  import { projectIdentity } from "/@fs${ROOT}/worker/identity.ts";
  import { DEFAULT_COMMAND_LINE, DEFAULT_MEMORY_MB } from "/project.ts";
  const builder = createBuilder(new URL("/system/", location.href));
  const text = (value) => new TextEncoder().encode(value);
  const project = {
    version: 1, name: "folder", components: [], commandLine: DEFAULT_COMMAND_LINE, memoryMb: DEFAULT_MEMORY_MB, disks: [],
    network: { relay: null }, createdAt: 0, updatedAt: 0,
    files: [
      { path: "/etc/hostname", kind: "file", mode: 0o644, content: text("same\\n") },
      { path: "/root/run", kind: "file", mode: 0o755, content: text("#!/bin/sh\\n".repeat(50000)) },
    ],
  };
  const hex = async (bytes) =>
    [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const whole = async (parts) => {
    const pieces = [];
    for await (const part of parts) pieces.push(part.offset === undefined ? part : part.bytes);
    return pieces;
  };
  const sums = async () => {
    const identity = await projectIdentity(project, "");
    const request = { overlay: project.files, sizeMb: 64, fileSystem: "ext4", commandLine: project.commandLine, identity };
    const { image } = await builder.buildDisk(request);
    const packed = await whole(encodeCompressedQcow2(streamOf(image), deflateCluster));
    const join = async (pieces) => hex(await new Blob(pieces).arrayBuffer());
    return {
      // Its header comes last.
      qcow2: await join([packed.at(-1), ...packed.slice(0, -1)]),
      "img.gz": await join(await whole(gzipDisk(streamOf(image)))),
      smartos: await join(await whole(encodeBundle(project, new Map()))),
    };
  };
  window.bench = { sums };
`;

const scratch = scratchFolder("same");
let bench: Bench;
beforeAll(async () => {
  bench = await startBench(SCRIPT);
});
afterAll(() => bench.close());

declare const window: { bench: { sums(): Promise<Record<string, string>> } };

describe("the page and the command line", () => {
  it("make the same bytes of the same project", async () => {
    mkdirSync(join(scratch, "folder/etc"), { recursive: true });
    mkdirSync(join(scratch, "folder/root"));
    writeFileSync(join(scratch, "folder/etc/hostname"), "same\n");
    writeFileSync(join(scratch, "folder/root/run"), "#!/bin/sh\n".repeat(50_000), { mode: 0o755 });
    const page = await bench.open();
    const sums = await page.evaluate(() => window.bench.sums());
    for (const kind of Object.keys(sums)) {
      const words = [join(ROOT, "cli/smart-os.mjs"), "build", "folder", "-q", "-o", `x.${kind}`];
      expect(spawnSync(process.execPath, words, { cwd: scratch, encoding: "utf8" })).toMatchObject({
        status: 0,
        stderr: "",
      });
      const own = createHash("sha256")
        .update(readFileSync(join(scratch, `x.${kind}`)))
        .digest("hex");
      expect(sums[kind], kind).toBe(own);
    }
  });
});
