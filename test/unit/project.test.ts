import { describe, expect, it } from "vitest";
import {
  bootsAlike,
  changeMode,
  checkCommandLine,
  createProject,
  type DefaultFile,
  decodeText,
  listFiles,
  memoryCommandLine,
  normalizePath,
  type Project,
  readFile,
  removeFile,
  renameFile,
  restoreDefault,
  takeBack,
  uniqueName,
  writeFile,
  writeFiles,
} from "../../web/project.ts";
import type { ProjectFile } from "../../worker/api.ts";

const defaults: DefaultFile[] = [
  { path: "/init", mode: 0o755, content: "#!/bin/sh\n" },
  { path: "/etc/init.d/rcS", mode: 0o755, content: "#!/bin/sh\necho rcS\n" },
  { path: "/etc/hostname", mode: 0o644, content: "smart-os\n" },
];
const empty = createProject("test", "1", 0);
const file = (path: string, text: string, mode = 0o644): ProjectFile => ({
  path,
  kind: "file",
  mode,
  content: new TextEncoder().encode(text),
});
const origins = (project: Project): Record<string, string> =>
  Object.fromEntries(
    listFiles(project, defaults)
      .filter(({ kind }) => kind !== "directory")
      .map(({ path, origin }) => [path, origin]),
  );

describe("a project over the default files", () => {
  it("lists the default files and the directories that hold them", () => {
    expect(listFiles(empty, defaults).map(({ path, kind }) => `${kind} ${path}`)).toEqual([
      "directory /etc",
      "file /etc/hostname",
      "directory /etc/init.d",
      "file /etc/init.d/rcS",
      "file /init",
    ]);
  });

  it("marks changed, added and deleted files", () => {
    let project = writeFile(empty, defaults, file("/etc/hostname", "mine\n"));
    project = writeFile(project, defaults, file("/opt/tool", "x"));
    project = removeFile(project, defaults, "/init");
    expect(origins(project)).toEqual({
      "/etc/hostname": "changed",
      "/opt/tool": "added",
      "/etc/init.d/rcS": "default",
      "/init": "deleted",
    });
    expect(readFile(project, defaults, "/init")).toBeUndefined();
  });

  it("drops a file that is the default again, but not one whose mode differs", () => {
    const changed = writeFile(empty, defaults, file("/etc/hostname", "mine\n"));
    expect(writeFile(changed, defaults, file("/etc/hostname", "smart-os\n")).files).toEqual([]);
    expect(writeFile(empty, defaults, file("/etc/hostname", "smart-os\n", 0o600)).files).toHaveLength(1);
    expect(changeMode(changeMode(empty, defaults, "/init", 0o644), defaults, "/init", 0o755).files).toEqual([]);
  });

  it("removes a directory: own files go, default ones are marked", () => {
    const project = removeFile(writeFile(empty, defaults, file("/etc/init.d/own", "x")), defaults, "/etc/init.d");
    expect(origins(project)).toMatchObject({ "/etc/init.d/rcS": "deleted", "/etc/hostname": "default" });
    expect(origins(project)["/etc/init.d/own"]).toBeUndefined();
    expect(restoreDefault(project, "/etc/init.d").files).toEqual([]);
  });

  it("moves files and directories, and refuses what is in the way", () => {
    const moved = renameFile(empty, defaults, "/etc/init.d", "/etc/rc.d");
    expect(origins(moved)).toMatchObject({ "/etc/init.d/rcS": "deleted", "/etc/rc.d/rcS": "added" });
    expect(readFile(moved, defaults, "/etc/rc.d/rcS")).toMatchObject({ mode: 0o755 });
    expect(() => renameFile(empty, defaults, "/init", "/etc/hostname")).toThrow(
      "Cannot move /init to /etc/hostname: there is a file of that name",
    );
    expect(() => renameFile(empty, defaults, "/etc", "/etc/x")).toThrow("inside itself");
    expect(() => renameFile(empty, defaults, "/nothing", "/x")).toThrow("there is no such file");
    // There and back again is no change at all.
    expect(renameFile(moved, defaults, "/etc/rc.d", "/etc/init.d").files).toEqual([]);
  });

  it("refuses a file where a directory is, and below a file", () => {
    expect(() => writeFile(empty, defaults, file("/etc", "x"))).toThrow("Cannot write /etc: it is a directory");
    expect(() => writeFile(empty, defaults, file("/init/x", "x"))).toThrow("Cannot write /init/x: /init is a file");
  });

  it("takes many files at once, all or none of them", () => {
    const many = Array.from({ length: 500 }, (_, index) => file(`/srv/${index % 7}/${index}`, `${index}`));
    const written = writeFiles(empty, defaults, [...many, file("/init", "#!/bin/sh\n", 0o755)]);
    expect(written.files).toEqual([...many].sort((a, b) => (a.path < b.path ? -1 : 1)));
    // One at a time gives the same.
    expect(many.reduce((before, next) => writeFile(before, defaults, next), empty)).toEqual(written);
    expect(writeFiles(empty, defaults, [file("/a", "1"), file("/a", "2")]).files).toEqual([file("/a", "2")]);
    for (const [wrong, words] of [
      [[file("/a", ""), file("/a/b", "")], "Cannot write /a: it is a directory"],
      [[file("/a/b", ""), file("/a", "")], "Cannot write /a/b: /a is a file"],
      [[file("/b", ""), file("/srv/0", "")], "Cannot write /srv/0: it is a directory"],
      [[file("/b", ""), file("/srv/0/0/x", "")], "Cannot write /srv/0/0/x: /srv/0/0 is a file"],
    ] as const)
      expect(() => writeFiles(written, defaults, wrong)).toThrow(words);
    expect(origins(renameFile(written, defaults, "/srv", "/opt"))["/opt/0/7"]).toBe("added");
  });

  it("takes one change back, and leaves what was done since", () => {
    const before = writeFile(empty, defaults, file("/a", "1"));
    const removed = removeFile(removeFile(before, defaults, "/a"), defaults, "/etc");
    const since = writeFile(removed, defaults, file("/b", "later"));
    expect(origins(takeBack(since, before, removed))).toEqual({
      "/a": "added",
      "/b": "added",
      "/etc/hostname": "default",
      "/etc/init.d/rcS": "default",
      "/init": "default",
    });
    const written = writeFiles(before, defaults, [file("/a", "2"), file("/c", "new")]);
    expect(takeBack(written, before, written).files).toEqual(before.files);
  });

  it("knows whether two projects make the same machine", () => {
    const changed = writeFile(empty, defaults, file("/x", "x"));
    expect(bootsAlike(empty, { ...empty })).toBe(true);
    expect(bootsAlike(empty, changed)).toBe(false);
    expect(bootsAlike(empty, { ...empty, memoryMb: 256 })).toBe(false);
    expect(bootsAlike(changed, writeFile(empty, defaults, file("/x", "y")))).toBe(false);
  });
});

describe("what a person types", () => {
  it.each([
    ["etc/x", "/etc/x"],
    [" /a//b/./c/ ", "/a/b/c"],
  ])("takes %j as %s", (typed, path) => expect(normalizePath(typed)).toBe(path));

  it.each(["", "/", "/a/../b", "/a\u0007", `/${"n".repeat(256)}`])("refuses the path %j", (typed) => {
    expect(() => normalizePath(typed)).toThrow(/^Cannot use the/);
  });

  it("bounds the kernel command line as the kernel does", () => {
    expect(checkCommandLine(` ${"x".repeat(2047)} `)).toHaveLength(2047);
    expect(() => checkCommandLine("x".repeat(2048))).toThrow("2047 bytes at most");
    expect(() => checkCommandLine("a\nb")).toThrow("control character");
  });

  it("finds a free name", () => {
    expect(uniqueName("smart-os", [])).toBe("smart-os");
    expect(uniqueName("smart-os", ["smart-os", "smart-os 2"])).toBe("smart-os 3");
    expect(uniqueName("smart-os 2", ["smart-os 2"])).toBe("smart-os 3");
    expect(uniqueName("  ", [])).toBe("smart-os");
  });

  it("tells text from bytes", () => {
    expect(decodeText(new TextEncoder().encode("héllo\n\t文"))).toBe("héllo\n\t文");
    expect(decodeText(Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 0))).toBeNull();
    expect(decodeText(Uint8Array.of(0xff, 0xfe))).toBeNull();
    // A byte order mark stays: saving must not change what was not edited.
    expect(decodeText(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61))).toBe("\ufeffa");
  });
});

describe("the command line of a system in memory", () => {
  it("keeps the system there, unless a project without disks names a root of its own", () => {
    expect(memoryCommandLine("quiet", false)).toBe("quiet root=/dev/ram0 rootfstype=tmpfs");
    expect(memoryCommandLine("root=/dev/nfs quiet", false)).toBe("root=/dev/nfs quiet");
    expect(memoryCommandLine("root=/dev/sda1", true)).toBe("root=/dev/sda1 root=/dev/ram0 rootfstype=tmpfs");
    expect(memoryCommandLine("xroot=1", false)).toMatch(/ramfs|tmpfs/);
  });
});
