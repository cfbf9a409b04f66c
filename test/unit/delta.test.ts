import { describe, expect, it } from "vitest";
import type { Overlay } from "../../worker/api.ts";
import { composeDelta, type Listing } from "../../worker/delta.ts";
import { FormatError } from "../../worker/format/file-tree.ts";
import { BATCH_BYTES } from "../../worker/format/hand-over.ts";
import { MemoryError } from "../../worker/initramfs.ts";

const KINDS = ["", "remove", "directory", "file", "data", "symlink", "device", "attributes"];

const listing: Listing = [
  ["/", "directory", 0o755, 0, 0, 0],
  ["/dev", "directory", 0o755, 0, 0, 0],
  ["/dir", "directory", 0o755, 0, 0, 0],
  ["/dir/a", "file", 0o644, 0, 0, 0, 5],
  ["/dir/sub", "directory", 0o755, 0, 0, 0],
  ["/dir/sub/b", "symlink", 0o777, 0, 0, 0, "/dir/a"],
  ["/init", "file", 0o755, 0, 0, 0, "#!/bin/sh\n"],
];

interface Read {
  kind: string;
  words: number[];
  text: string;
}

/** Reads batches as kernel-build/warm/waiter.c does; its text is what follows the words of each kind. */
function read(bytes: Uint8Array): Read[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const words = { remove: 0, directory: 4, file: 5, data: 1, symlink: 4, device: 6, attributes: 4 } as const;
  const found: Read[] = [];
  for (let batch = 0; batch < bytes.length; ) {
    const end = batch + 4 + view.getUint32(batch, true);
    expect(end - batch - 4).toBeLessThanOrEqual(BATCH_BYTES);
    let at = batch + 4;
    while (at < end) {
      const kind = KINDS[view.getUint32(at, true)] as keyof typeof words;
      const length = view.getUint32(at + 4, true);
      expect(length % 4).toBe(0);
      const count = words[kind];
      const own = Array.from({ length: count }, (_, index) => view.getUint32(at + 8 + index * 4, true));
      const rest = bytes.subarray(at + 8 + count * 4, at + length);
      const text = kind === "data" ? `${rest.length >= (own[0] as number)}` : new TextDecoder().decode(rest);
      found.push({ kind, words: own, text: text.replace(/\0+$/, "").replaceAll("\0", " ") });
      at += length;
    }
    expect(at).toBe(end);
    batch = end;
  }
  return found;
}

const steps = (overlay: Overlay, memoryMb = 128): string[] =>
  read(composeDelta(listing, { overlay, memoryMb })).map(({ kind, text }) => `${kind} ${text}`);

const file = (path: string, length: number): Overlay[number] => ({
  path,
  kind: "file",
  mode: 0o644,
  content: new Uint8Array(length),
});

describe("what a warm boot hands over", () => {
  it("is /init and the directories' times when nothing has changed", () => {
    expect(steps([])).toEqual(["file /init", "data true", "attributes /", "attributes /dev"]);
  });

  it("removes children before their directory, and puts a file in its place", () => {
    expect(
      steps([{ path: "/dir/a", kind: "deleted" }, { path: "/dir/sub", kind: "deleted" }, file("/dir", 0)]),
    ).toEqual([
      "remove /dir/sub/b",
      "remove /dir/sub",
      "remove /dir/a",
      "remove /dir",
      "file /dir",
      "file /init",
      "data true",
      "attributes /",
      "attributes /dev",
    ]);
  });

  it("sets a directory's time when everything in it is done", () => {
    const found = steps([{ path: "/dir/sub", kind: "directory", mode: 0o700 }, file("/dir/sub/new", 1)]);
    expect(found.indexOf("attributes /dir/sub")).toBeLessThan(found.indexOf("file /dir/sub/new"));
    expect(found.lastIndexOf("attributes /dir/sub")).toBeGreaterThan(found.indexOf("file /dir/sub/new"));
    expect(found).not.toContain("remove /dir/sub");
  });

  it("makes a changed symlink anew and leaves one that is the same", () => {
    const link = (target: string): Overlay => [{ path: "/dir/sub/b", kind: "symlink", target, mode: 0o777 }];
    expect(steps(link("/dir/a"))).not.toContain("remove /dir/sub/b");
    expect(steps(link("x"))).toEqual(expect.arrayContaining(["remove /dir/sub/b", "symlink /dir/sub/b x"]));
  });

  it.each([1, 4095, 4096, BATCH_BYTES - 100, BATCH_BYTES - 12, BATCH_BYTES, BATCH_BYTES + 1, 3 * BATCH_BYTES + 5])(
    "carries %d bytes whole, in batches that fit",
    (length) => {
      const data = read(composeDelta(listing, { overlay: [file("/f", length)], memoryMb: 128 }));
      const from = data.findIndex(({ kind, text }) => kind === "file" && text === "/f");
      const parts = data
        .slice(from + 1)
        .filter(
          ({ kind }, index, rest) => rest.slice(0, index + 1).every((each) => each.kind === "data") && kind === "data",
        );
      expect(parts.reduce((sum, { words }) => sum + (words[0] as number), 0)).toBe(length);
      expect(data[from]?.words[4]).toBe(length);
    },
  );

  it("refuses what an initramfs refuses", () => {
    expect(() => steps([file("/dir", 1)])).toThrow(FormatError);
    expect(() => steps([file("/f", 1), file("/f", 1)])).toThrow(/stands in it twice/);
    expect(() => steps([file("/large", 70e6)])).toThrow(MemoryError);
  });
});
