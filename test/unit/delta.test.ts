import { describe, expect, it } from "vitest";
import { outlineOf } from "../../web/outline.ts";
import type { Overlay } from "../../worker/api.ts";
import { composeDelta, type Listing } from "../../worker/delta.ts";
import { FormatError } from "../../worker/format/file-tree.ts";
import { BATCH_BYTES } from "../../worker/format/hand-over.ts";
import { MemoryError } from "../../worker/initramfs.ts";

const KINDS: Record<number, keyof typeof WORDS> = {
  ...{ 1: "remove", 2: "directory", 3: "file", 4: "data", 5: "symlink", 6: "device", 7: "attributes" },
  ...{ 13: "enter", 14: "wipe" },
};
/** How many words each has before its text. */
const WORDS = { remove: 0, directory: 4, file: 5, data: 1, symlink: 4, device: 6, attributes: 4, enter: 0, wipe: 1 };

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

/** Reads batches as kernel-build/warm/waiter.c does, with zeros in their gaps; its text is what follows the words of each kind. */
function read(bytes: Uint8Array): Read[] {
  const outer = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: Read[] = [];
  for (let start = 0; start < bytes.length; ) {
    const batch = new Uint8Array(outer.getUint32(start, true));
    expect(batch.length).toBeLessThanOrEqual(BATCH_BYTES);
    const gaps = outer.getUint32(start + 4, true);
    let from = start + 8 + gaps * 16;
    let to = 0;
    for (let gap = 0; gap < gaps; gap += 1) {
      const place = outer.getUint32(start + 8 + gap * 16, true);
      batch.set(bytes.subarray(from, from + place - to), to);
      from += place - to;
      to = place + ((outer.getUint32(start + 8 + gap * 16 + 12, true) + 3) & ~3);
    }
    batch.set(bytes.subarray(from, from + batch.length - to), to);
    start = from + batch.length - to;
    const view = new DataView(batch.buffer);
    let at = 0;
    while (at < batch.length) {
      const kind = KINDS[view.getUint32(at, true)] as keyof typeof WORDS;
      const length = view.getUint32(at + 4, true);
      expect(length % 4).toBe(0);
      const count = WORDS[kind];
      const own = Array.from({ length: count }, (_, index) => view.getUint32(at + 8 + index * 4, true));
      const rest = batch.subarray(at + 8 + count * 4, at + length);
      const text = kind === "data" ? `${rest.length >= (own[0] as number)}` : new TextDecoder().decode(rest);
      found.push({ kind, words: own, text: text.replace(/\0+$/, "").replaceAll("\0", " ") });
      at += length;
    }
    expect(at).toBe(batch.length);
  }
  return found;
}

const compose = (overlay: Overlay, memoryMb = 128, present: Overlay | null = null): Read[] =>
  read(
    composeDelta(listing, {
      overlay: outlineOf(overlay),
      present: present && outlineOf(present),
      memoryMb,
    }) as Uint8Array,
  );

const steps = (overlay: Overlay, memoryMb = 128, present: Overlay | null = null): string[] =>
  compose(overlay, memoryMb, present).map(({ kind, text }) => `${kind} ${text}`);

const file = (path: string, length: number): Overlay[number] => ({
  path,
  kind: "file",
  mode: 0o644,
  content: new Uint8Array(length),
});

describe("what a warm boot hands over", () => {
  it("is /init and the directories' times when nothing has changed", () => {
    expect(steps([])).toEqual(["enter /", "file init", "data true", "attributes /", "attributes /dev"]);
  });

  it("removes children before their directory, and puts a file in its place", () => {
    expect(
      steps([{ path: "/dir/a", kind: "deleted" }, { path: "/dir/sub", kind: "deleted" }, file("/dir", 0)]),
    ).toEqual([
      "remove /dir/sub/b",
      "remove /dir/sub",
      "remove /dir/a",
      "remove /dir",
      "enter /",
      "file dir",
      "file init",
      "data true",
      "attributes /",
      "attributes /dev",
    ]);
  });

  it("is what has changed since the last time, and nothing of what was handed over then stays", () => {
    const kept = file("/srv/kept", 5);
    const before: Overlay = [kept, file("/srv/other", 7), { path: "/dir/sub/b", kind: "deleted" }];
    expect(steps(before, 128, before)).toEqual(["attributes /", "attributes /dev"]);
    const found = compose([kept, file("/srv/other", 7), file("/srv/new", 1)], 128, before);
    expect(found.map(({ kind, text }) => `${kind} ${text}`)).toEqual([
      "wipe /srv/other",
      "symlink /dir/sub/b /dir/a",
      "enter /srv",
      "file new",
      "data true",
      "file other",
      "data true",
      "attributes /",
      "attributes /dev",
      "attributes /srv",
      "attributes /dir/sub",
    ]);
    expect(found[0]?.words).toEqual([7]);
  });

  it("is nothing where a default file that is gone has to come back", () => {
    for (const before of [[{ path: "/dir/a", kind: "deleted" } as const], [file("/dir/a", 5)]]) {
      expect(composeDelta(listing, { overlay: [], present: outlineOf(before), memoryMb: 128 })).toBeNull();
      expect(steps([...before], 128, before)).toEqual(["attributes /", "attributes /dev"]);
    }
  });

  it("sets a directory's time when everything in it is done", () => {
    const found = steps([{ path: "/dir/sub", kind: "directory", mode: 0o700 }, file("/dir/sub/new", 1)]);
    expect(found.indexOf("attributes /dir/sub")).toBeLessThan(found.indexOf("file new"));
    expect(found.lastIndexOf("attributes /dir/sub")).toBeGreaterThan(found.indexOf("file new"));
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
      const data = compose([file("/f", length)]);
      const from = data.findIndex(({ kind, text }) => kind === "file" && text === "f");
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
