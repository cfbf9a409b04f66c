import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeCpio, encodeCpio } from "../../worker/format/cpio.ts";
import { FileTree } from "../../worker/format/file-tree.ts";
import { describeTree, trees } from "../oracle/trees.ts";

const owner = { uid: 0, gid: 0, mtime: 0 };
const text = (words: string): Uint8Array => new TextEncoder().encode(words);

function sample(): FileTree {
  const tree = new FileTree();
  tree.add({ path: "/init", kind: "file", content: text("#!/bin/sh\n"), mode: 0o755, ...owner });
  tree.add({ path: "/bin/sh", kind: "symlink", target: "/bin/busybox", mode: 0o777, ...owner });
  tree.add({ path: "/dev/console", kind: "device", device: "character", major: 5, minor: 1, mode: 0o600, ...owner });
  tree.add({ path: "/tmp", kind: "directory", mode: 0o1777, ...owner });
  return tree;
}

describe("cpio", () => {
  it("reads back what it wrote, for any tree", () => {
    fc.assert(
      fc.property(trees, (tree) => {
        expect(describeTree(decodeCpio(encodeCpio(tree)))).toEqual(describeTree(tree));
      }),
      { numRuns: 300 },
    );
  });

  it("gives the same bytes for the same tree, whatever the order of adding", () => {
    const reversed = new FileTree();
    for (const entry of sample().sorted().reverse()) if (entry.path !== "/") reversed.add(entry);
    expect(encodeCpio(reversed)).toEqual(encodeCpio(sample()));
    // The bytes are part of the promise: a change here changes every user's archive.
    expect(createHash("sha256").update(encodeCpio(sample())).digest("hex")).toBe(
      "0007de858947510ec11b4522a59d58b64dc166fba57f668f9f353d30b9f0ee22",
    );
  });

  it.each([0, 1, 2, 3, 4, 5, 511, 512, 513, 4095, 4096, 4097])("keeps a file of %d bytes", (size) => {
    const tree = new FileTree();
    const content = Uint8Array.from({ length: size }, (_, index) => index & 255);
    tree.add({ path: "/x", kind: "file", content, mode: 0o644, ...owner });
    tree.add({ path: "/y", kind: "file", content: text("after"), mode: 0o644, ...owner });
    const read = decodeCpio(encodeCpio(tree));
    expect(read.get("/x")).toMatchObject({ content });
    expect(read.get("/y")).toMatchObject({ content: text("after") });
    expect(encodeCpio(tree).length % 512).toBe(0);
  });

  it.each([1, 2, 3, 4, 254, 255])("keeps a name of %d bytes", (length) => {
    const tree = new FileTree();
    tree.add({ path: `/${"n".repeat(length)}`, kind: "file", content: text("x"), mode: 0o644, ...owner });
    expect(decodeCpio(encodeCpio(tree)).has(`/${"n".repeat(length)}`)).toBe(true);
  });

  it("refuses a file of 4 GiB, whose size does not fit", () => {
    const tree = new FileTree();
    const content = { length: 2 ** 32 } as Uint8Array;
    tree.add({ path: "/big", kind: "file", content, mode: 0o644, ...owner });
    expect(() => encodeCpio(tree)).toThrow("Cannot put /big into a cpio archive: it is larger than 4 GiB − 1 byte");
  });

  it("reads archives that follow one another with zeros between, later entries over earlier ones", () => {
    const first = new FileTree();
    first.add({ path: "/a", kind: "file", content: text("old"), mode: 0o644, ...owner });
    const second = new FileTree();
    second.add({ path: "/a", kind: "file", content: text("new"), mode: 0o600, ...owner });
    const joined = new Uint8Array([...encodeCpio(first), ...new Uint8Array(64), ...encodeCpio(second)]);
    expect(decodeCpio(joined).get("/a")).toMatchObject({ content: text("new"), mode: 0o600 });
  });

  it("refuses every truncation with words, and never reads past the end", () => {
    const archive = encodeCpio(sample());
    const end = Buffer.from(archive).indexOf("TRAILER!!!");
    for (let length = 1; length < end; length += 1)
      expect(() => decodeCpio(archive.subarray(0, length))).toThrow(/^Cannot read the cpio archive: /);
  });

  it("names the offset of what is damaged", () => {
    const archive = encodeCpio(sample());
    const damaged = archive.slice();
    damaged[116] = "x".charCodeAt(0);
    expect(() => decodeCpio(damaged)).toThrow(/at byte \d+/);
    expect(() => decodeCpio(text("not an archive at all, but long enough to hold a header. ".repeat(3)))).toThrow(
      "at byte 0, there is no newc header",
    );
  });

  it("puts a linked file's content at the last of its names, and nowhere else", () => {
    const tree = new FileTree();
    tree.add({ path: "/b", kind: "file", content: text("content"), mode: 0o644, ...owner });
    for (const path of ["/a", "/c"]) tree.add({ path, kind: "hardlink", target: "/b", mode: 0o644, ...owner });
    const words = Buffer.from(encodeCpio(tree)).toString("latin1");
    expect(words.split("content")).toHaveLength(2);
    expect(words.indexOf("content")).toBeGreaterThan(words.indexOf("\0c\0"));
    expect([...words.matchAll(/070701/g)].map(({ index }) => words.slice(index + 38, index + 62))).toEqual([
      "000000030000000000000000",
      "000000030000000000000000",
      "000000030000000000000007",
      "000000010000000000000000",
    ]);
  });

  it("keeps a byte order mark in a name and in a symlink's target", () => {
    const tree = new FileTree();
    tree.add({ path: "/\ufeffname", kind: "symlink", target: "\ufefftarget", mode: 0o777, ...owner });
    expect(decodeCpio(encodeCpio(tree)).get("/\ufeffname")).toMatchObject({ target: "\ufefftarget" });
  });

  it("refuses a name and a target that are not UTF-8, and says where", () => {
    for (const words of ["bin/sh\0", "/bin/busybox"]) {
      const archive = encodeCpio(sample());
      archive[Buffer.from(archive).indexOf(words) + 1] = 0xff;
      expect(() => decodeCpio(archive)).toThrow(/at byte \d+, .* is not UTF-8/);
    }
  });

  it("holds 20,000 files, and 20,000 names of one file", () => {
    const files = new FileTree();
    const links = new FileTree();
    links.add({ path: "/one", kind: "file", content: text("x"), mode: 0o644, ...owner });
    for (let index = 0; index < 20_000; index += 1) {
      files.add({ path: `/d/${index}`, kind: "file", content: text("x"), mode: 0o644, ...owner });
      links.add({ path: `/d/${index}`, kind: "hardlink", target: "/one", mode: 0o644, ...owner });
    }
    for (const tree of [files, links]) expect(decodeCpio(encodeCpio(tree)).size).toBe(tree.size);
  });

  it("refuses a name that leads out of the tree", () => {
    const archive = encodeCpio(sample());
    const at = Buffer.from(archive).indexOf("init\0");
    archive.set(text("../x"), at);
    expect(() => decodeCpio(archive)).toThrow('has ".." in it');
  });

  it("survives random damage: a tree or a refusal, nothing else", () => {
    const archive = encodeCpio(sample());
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(archive.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        (changes) => {
          const damaged = archive.slice();
          for (const [at, value] of changes) damaged[at] = value;
          try {
            decodeCpio(damaged);
          } catch (error) {
            expect((error as Error).name).toBe("FormatError");
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
