import { describe, expect, it } from "vitest";
import { checkPath, FileTree, FormatError, type TreeEntry } from "../../worker/format/file-tree.ts";

const owner = { uid: 0, gid: 0, mtime: 0 };
const file = (path: string, text = ""): TreeEntry => ({
  path,
  kind: "file",
  mode: 0o644,
  content: new TextEncoder().encode(text),
  ...owner,
});
const paths = (tree: FileTree): string[] => tree.sorted().map((entry) => entry.path);

describe("FileTree", () => {
  it("adds the directories above an entry and lists parents before their children", () => {
    const tree = new FileTree();
    tree.add(file("/a/b/c"));
    tree.add(file("/a-b"));
    expect(paths(tree)).toEqual(["/", "/a", "/a/b", "/a/b/c", "/a-b"]);
    expect(tree.get("/a")).toMatchObject({ kind: "directory", mode: 0o755, uid: 0 });
  });

  it("refuses two entries of one name, and a file where a directory is needed", () => {
    const tree = new FileTree();
    tree.add(file("/etc"));
    expect(() => tree.add(file("/etc"))).toThrow("Cannot add /etc: there is a file of that name already");
    expect(() => tree.add(file("/etc/passwd"))).toThrow("Cannot add /etc/passwd: /etc is a file, not a directory");
    expect(() => tree.replace(file("/etc/passwd"))).toThrow(FormatError);
    expect(() => tree.add(file("/etc/a/b/c"))).toThrow("Cannot add /etc/a/b/c: /etc is a file, not a directory");
    // A refusal leaves nothing behind.
    expect(paths(tree)).toEqual(["/", "/etc"]);
  });

  it("lets a directory take new attributes without losing what is in it", () => {
    const tree = new FileTree();
    tree.add(file("/root/x"));
    tree.add({ path: "/root", kind: "directory", mode: 0o700, ...owner });
    expect(tree.get("/root")).toMatchObject({ mode: 0o700 });
    expect(tree.has("/root/x")).toBe(true);
  });

  it("replaces files, but never a directory with something in it", () => {
    const tree = new FileTree();
    tree.add(file("/a/b", "old"));
    tree.replace(file("/a/b", "new"));
    expect(tree.get("/a/b")).toMatchObject({ content: new TextEncoder().encode("new") });
    expect(() => tree.replace(file("/a"))).toThrow("Cannot replace the directory /a: /a/b is in it");
  });

  it("removes a directory with all below it, and nothing beside it", () => {
    const tree = new FileTree();
    for (const path of ["/a/b", "/a/c/d", "/ab"]) tree.add(file(path));
    expect(tree.remove("/a")).toBe(true);
    expect(tree.remove("/a")).toBe(false);
    expect(paths(tree)).toEqual(["/", "/ab"]);
    expect(() => tree.remove("/")).toThrow(FormatError);
  });

  it("sorts as the bytes of the names do, whatever the characters", () => {
    const names = ["a", "a-", "b", "é", "\ufb01", "\uffee", "\u{1f600}", "\u{1f600}a"];
    const tree = new FileTree();
    for (const name of names.toReversed()) tree.add(file(`/${name}`));
    expect(paths(tree)).toEqual(["/", ...names.map((name) => `/${name}`)]);
  });

  it("refuses a hard link to something that is no file of the tree", () => {
    const tree = new FileTree();
    tree.add({ path: "/b", kind: "hardlink", target: "/a", mode: 0o644, ...owner });
    expect(() => tree.sorted()).toThrow("Cannot link /b: /a is not a file");
  });

  it.each([
    ["etc", "does not begin"],
    ["/a//b", "empty name"],
    ["/a/", "empty name"],
    ["/a/../b", '".."'],
    ["/a/./b", '"."'],
    ["/a\0b", "zero byte"],
    ["/a\ud800b", "half a character"],
    [`/${"a".repeat(256)}`, "longer than 255"],
    [`/${"é".repeat(128)}`, "longer than 255"],
    [`/${"a/".repeat(2047)}aa`, "longer than 4095"],
  ])("refuses the path %j", (path, state) => {
    expect(() => checkPath(path)).toThrow(state);
  });

  it.each([["/"], ["/a"], ["/..."], [`/${"a".repeat(255)}`], [`/${"é".repeat(127)}`], [`/${"a/".repeat(2046)}ab`]])(
    "takes the path %j",
    (path) => {
      expect(() => checkPath(path)).not.toThrow();
    },
  );

  it.each([
    [{ ...file("/x"), mode: 0o10000 }],
    [{ ...file("/x"), mode: -1 }],
    [{ ...file("/x"), uid: 2 ** 32 }],
    [{ ...file("/x"), mtime: 1.5 }],
    [{ path: "/x", kind: "symlink", target: "", mode: 0o777, ...owner }],
    [{ path: "/x", kind: "symlink", target: "a".repeat(4096), mode: 0o777, ...owner }],
    [{ path: "/x", kind: "device", device: "block", major: 4096, minor: 0, mode: 0o600, ...owner }],
    [{ path: "/x", kind: "device", device: "block", major: 8, minor: 2 ** 20, mode: 0o600, ...owner }],
  ] as [TreeEntry][])("refuses %j", (entry) => {
    expect(() => new FileTree().add(entry)).toThrow(/^Cannot add/);
  });
});
