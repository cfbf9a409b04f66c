/** Bundles, judged by unzip, bsdtar and qemu-img; and what strangers may send instead. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type BundleExtra, encodeBundle, openBundle } from "../../worker/bundle.ts";
import { deflateBytes } from "../../worker/compress.ts";
import { type DiskStream, streamOf } from "../../worker/format/disk-stream.ts";
import type { Extent } from "../../worker/format/sparse-image.ts";
import { encodeZip } from "../../worker/format/zip.ts";
import { hashProject, type SharedProject } from "../../worker/shared-project.ts";
import { bytesSource, collect, noise, sampleDisk, scratchFolder, writeRaw, writeStream } from "./images.ts";

const scratch = scratchFolder("bundle");
const encoder = new TextEncoder();

const project: SharedProject = {
  version: 1,
  name: "Ein Projekt / 项目 <b>",
  files: [
    { path: "/dev/null2", kind: "device", device: "character", major: 1, minor: 3, mode: 0o666 },
    { path: "/etc/empty", kind: "file", mode: 0o600, content: new Uint8Array(0), uid: 5, gid: 6, mtime: 1_700_000_000 },
    { path: "/etc/hostname", kind: "file", mode: 0o644, content: encoder.encode("shared\n") },
    { path: "/etc/motd", kind: "deleted" },
    { path: "/home/文件", kind: "file", mode: 0o4755, content: noise(200_000, 1) },
    { path: "/srv", kind: "directory", mode: 0o1777 },
    { path: "/srv/link", kind: "symlink", mode: 0o777, target: "../etc/hostname" },
  ],
  components: [],
  commandLine: "console=ttyS0 word='a b'",
  memoryMb: 128,
  disks: [
    {
      id: "a",
      name: "system",
      kind: "system",
      fileSystem: "partitions",
      label: "x",
      sizeMb: 64,
      drive: "sda",
      swapMb: 8,
      builtFrom: "abc",
    },
    { id: "b", name: "data / 数据", kind: "data", fileSystem: "ext4", label: "", sizeMb: 520, drive: "sdb" },
    { id: "c", name: "elsewhere", kind: "data", fileSystem: "swap", label: "", sizeMb: 1, drive: null },
  ],
  network: { relay: "wss://relay.example/", card: "ne2k" },
  createdAt: 1,
  updatedAt: 2,
};
const empty: DiskStream = streamOf({ size: 64 * 2 ** 20, extents: [] });
const disks = new Map([
  ["a", empty],
  ["b", streamOf(sampleDisk())],
]);
const extras: BundleExtra[] = [{ name: "snapshot/state.bin", content: [noise(100_000, 7)] }];

const path = await writeStream(join(scratch, "project.smartos"), encodeBundle(project, disks, extras));
const bytes = readFileSync(path);

describe("a bundle", () => {
  it("is whole for unzip and bsdtar, which find files with their modes and images that QEMU reads", () => {
    expect(execFileSync("unzip", ["-t", path], { encoding: "utf8" })).toContain("No errors detected");
    const listing = execFileSync("unzip", ["-Z", path], { encoding: "utf8" });
    expect(listing).toMatch(/^-rwsr-xr-x .* files\/home\//m);
    expect(listing).toMatch(/^-rw------- .* files\/etc\/empty$/m);
    const folder = join(scratch, "out");
    execFileSync("unzip", ["-q", path, "-d", folder], { stdio: "pipe" });
    expect(readFileSync(join(folder, "files/etc/hostname"), "utf8")).toBe("shared\n");
    const image = join(folder, "disks/2-data-.qcow2");
    expect(execFileSync("qemu-img", ["check", image], { encoding: "utf8" })).toContain("No errors");
    const raw = writeRaw(join(scratch, "data.raw"), sampleDisk());
    expect(execFileSync("qemu-img", ["compare", image, raw], { encoding: "utf8" })).toContain("identical");
    execFileSync("python3", ["-c", "import sys, zipfile; assert zipfile.ZipFile(sys.argv[1]).testzip() is None", path]);
  });

  it("gives the same project, disks and snapshot back", async () => {
    const bundle = await openBundle(bytesSource(bytes), { name: "project.smartos" });
    expect(bundle.project).toEqual(project);
    expect(await hashProject(bundle.project)).toBe(await hashProject(project));
    expect(bundle.disks.map(({ disk, size }) => [disk.id, size])).toEqual([
      ["a", 64 * 2 ** 20],
      ["b", sampleDisk().size],
    ]);
    const extents: Extent[] = [];
    for await (const extent of (bundle.disks[1] as DiskStream).extents()) extents.push(extent);
    const back = writeRaw(join(scratch, "back.raw"), { size: sampleDisk().size, extents });
    execFileSync("cmp", [back, writeRaw(join(scratch, "data.raw"), sampleDisk())]);
    expect(await collect((bundle.extras[0] as { content(): AsyncIterable<Uint8Array> }).content())).toEqual(
      noise(100_000, 7),
    );
    const again = await collect(
      encodeBundle(
        bundle.project,
        new Map(bundle.disks.map((one) => [one.disk.id, one])),
        bundle.extras.map(({ name, content }) => ({ name, content: content() })),
      ),
    );
    expect(Buffer.compare(again, bytes)).toBe(0);
  });

  it("has another hash for anything that is different", async () => {
    const hash = await hashProject(project);
    const changed: Partial<SharedProject>[] = [
      { name: "other" },
      { memoryMb: 64 },
      { files: project.files.slice(1) },
      { files: project.files.map((file) => (file.kind === "file" ? { ...file, content: noise(3, 1) } : file)) },
      { disks: project.disks.slice(1) },
      { network: { relay: null } },
      { kernel: { content: noise(3, 1), sha256: "0", version: "" } },
    ];
    for (const change of changed) expect(await hashProject({ ...project, ...change })).not.toBe(hash);
    expect(await hashProject({ ...project, updatedAt: 99 })).toBe(hash);
  });

  it("stops when it is told to", async () => {
    const abort = new AbortController();
    const options = { signal: abort.signal, onProgress: () => abort.abort() };
    await expect(collect(encodeBundle(project, disks, [], options))).rejects.toThrow(/abort/i);
  });
});

describe("what is no good bundle is refused in words", () => {
  const open = async (change: (bytes: Buffer) => Buffer | undefined): Promise<unknown> => {
    const copy = Buffer.from(bytes);
    const bundle = await openBundle(bytesSource(change(copy) ?? copy), { name: "bad.smartos" });
    for (const disk of bundle.disks) for await (const _ of disk.extents());
    for (const extra of bundle.extras) await collect(extra.content());
    return bundle;
  };
  const zip = async (files: Record<string, string>): Promise<Buffer> => {
    const members = Object.entries(files).map(([name, text]) => {
      const content = encoder.encode(text);
      return { name, mode: 0o644, kind: "bytes" as const, content, packed: deflateBytes(content) };
    });
    return Buffer.from(await collect(encodeZip(members)));
  };
  const withProject = (change: object, files: Record<string, string> = {}): Promise<Buffer> => {
    const json = { ...project, format: "smart-os project", files: [], disks: [], ...change };
    return zip({ "project.json": JSON.stringify(json), ...files });
  };

  it("but what another program packed is read", async () => {
    const script = `import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED) as z:
  z.writestr("project.json", sys.argv[2])
  with z.open("files/a", "w", force_zip64=True) as f: f.write(b"x")`;
    const json = {
      ...project,
      format: "smart-os project",
      disks: [],
      files: [{ path: "/a", kind: "file", mode: 420 }],
    };
    const other = join(scratch, "other.smartos");
    execFileSync("python3", ["-c", script, other, JSON.stringify(json)]);
    await expect(open(() => readFileSync(other))).resolves.toMatchObject({ project: { files: [{ path: "/a" }] } });
  });

  it("damaged or cut off", async () => {
    await expect(open((b) => b.subarray(0, b.length - 1))).rejects.toThrow(
      "Cannot open bad.smartos: it is no zip archive, or cut off",
    );
    await expect(open((b) => b.subarray(100))).rejects.toThrow("Cannot open bad.smartos: ");
    await expect(open((b) => void b.fill(0, 60, 70))).rejects.toThrow(/project\.json.*damaged/);
    await expect(open((b) => void b.fill(0xff, b.length - 60_000, b.length - 50_000))).rejects.toThrow(
      "Cannot open bad.smartos: ",
    );
    await expect(openBundle(bytesSource(new Uint8Array(0)), { name: "x\u0007" })).rejects.toThrow(
      "Cannot open x\\x07: it is no zip",
    );
  });

  it.each([
    [{ version: 2 }, "its version is 2, this page knows version 1"],
    [{ format: "?" }, "project.json is not of a smart-os project"],
    [{ memoryMb: 100 }, "memoryMb is none of 32, 64"],
    [{ commandLine: "a\nb" }, "commandLine has a control character in it"],
    [{ files: {} }, "files is not a list"],
    [{ files: [{ path: "/../etc", kind: "deleted" }] }, 'cannot use the path /../etc: it has ".." in it'],
    [{ files: [{ path: "/a\u001b[2J", kind: "deleted" }] }, "the path /a\\x1b[2J has a control character in it"],
    [
      {
        files: [
          { path: "/a", kind: "deleted" },
          { path: "/a", kind: "deleted" },
        ],
      },
      "/a stands in it twice",
    ],
    [{ files: [{ path: "/a", kind: "file", mode: 65536 }] }, "mode of /a is no whole number from 0 to 4095"],
    [{ files: [{ path: "/a", kind: "file", mode: 1 }] }, "the content of /a is not in it"],
    [
      { files: [{ path: "/a/b", kind: "symlink", mode: 1, target: "../../x" }] },
      "the symlink /a/b leads out of the root (../../x)",
    ],
    [{ network: { relay: "javascript:alert(1)" } }, "network.relay is no websocket's address"],
    [{ disks: [{ ...project.disks[0], content: "../../x", sizeBytes: 1 }] }, "disks[0].content is not in disks/"],
    [{ disks: [project.disks[0], project.disks[0]] }, "two of its disks have the same id"],
    [{ disks: [{ ...project.disks[0], sizeMb: 1e9 }] }, "disks[0].sizeMb is no whole number"],
  ])("%j", async (change, message) => {
    const other = await withProject(change);
    await expect(open(() => other)).rejects.toThrow(`Cannot open bad.smartos: ${message}`);
  });

  it("with members that do not belong to it, or not of the size that is announced", async () => {
    const strange = await withProject({}, { "../../etc/passwd": "x" });
    await expect(open(() => strange)).rejects.toThrow("../../etc/passwd is in it, which is no part of a bundle");
    const bomb = await withProject(
      { files: [{ path: "/a", kind: "file", mode: 420 }] },
      { "files/a": "0".repeat(1_000_000) },
    );
    // The size in the directory is the third number before the name.
    const at = bomb.lastIndexOf("files/a") - 46 + 24;
    const shrunk = Buffer.from(bomb);
    shrunk.writeUInt32LE(1000, at);
    await expect(open(() => shrunk)).rejects.toThrow(
      "files/a: unpacked it has more than the 1000 bytes that it may have",
    );
    const grown = Buffer.from(bomb);
    grown.writeUInt32LE(0x7fff_ffff, at);
    await expect(open(() => grown)).rejects.toThrow("files/a has 2147483647 bytes, files may have 268435456 together");
    const summed = Buffer.from(bomb);
    summed.writeUInt32LE(1, at - 8);
    await expect(open(() => summed)).rejects.toThrow("files/a: it is damaged, its sum is wrong");
    const overlapping = Buffer.from(bomb);
    overlapping.writeUInt32LE(10, bomb.lastIndexOf("files/a") - 46 + 42);
    await expect(open(() => overlapping)).rejects.toThrow("files/a at 10 overlaps project.json");
  });
});
