import { describe, expect, it } from "vitest";
import { createProject, type Project } from "../../web/project.ts";
import {
  addDisk,
  attachDisk,
  bringBack,
  checkDisk,
  diskName,
  dropDisk,
  findDisk,
  type ProjectDisk,
  withFstabLine,
  withoutFstabLine,
} from "../../web/project-disks.ts";

const disk = (change: Partial<ProjectDisk>): ProjectDisk => ({
  id: "d1",
  name: "data",
  kind: "data",
  fileSystem: "ext4",
  label: "",
  sizeMb: 64,
  drive: null,
  ...change,
});
const empty = createProject("p", "p1", 0);
const withDisks = (...disks: ProjectDisk[]): Project => disks.reduce(addDisk, empty);
const drives = (project: Project): unknown[] => project.disks.map(({ drive }) => drive);

describe("attaching", () => {
  it("takes the first free drive after the system disk's, and keeps a drive that a disk has", () => {
    let project = withDisks(disk({ id: "a" }), disk({ id: "b", name: "more" }));
    project = attachDisk(project, "a", null);
    project = attachDisk(project, "b", null);
    expect(drives(project)).toEqual(["sdb", "sdc"]);
    expect(drives(attachDisk(project, "b", null))).toEqual(["sdb", "sdc"]);
    expect(drives(attachDisk(project, "b", "sdd"))).toEqual(["sdb", "sdd"]);
  });

  it("puts the system disk first, whatever was asked for", () => {
    expect(drives(attachDisk(withDisks(disk({ kind: "system" })), "d1", "sdc"))).toEqual(["sda"]);
  });

  it.each([
    ["sda", "that is the system disk's drive"],
    ["sdb", "other is there; detach it first"],
    ["sde", "drives are sda, sdb, sdc, sdd"],
  ])("refuses %s: %s", (drive, message) => {
    const project = withDisks(disk({}), disk({ id: "o", name: "other", drive: "sdb" }));
    expect(() => attachDisk(project, "data", drive as never)).toThrow(message);
  });

  it("says when all drives are taken", () => {
    const project = withDisks(
      disk({}),
      disk({ id: "b", name: "b", drive: "sdb" }),
      disk({ id: "c", name: "c", drive: "sdc" }),
      disk({ id: "d", name: "d", drive: "sdd" }),
    );
    expect(() => attachDisk(project, "d1", null)).toThrow("all drives are taken");
  });
});

describe("bringing back", () => {
  it("returns a disk to its drive, or beside the machine when that is taken", () => {
    const gone = disk({ drive: "sdb" });
    const other = disk({ id: "o", name: "other", drive: "sdc" });
    expect(drives(bringBack(withDisks(other), gone))).toEqual(["sdc", "sdb"]);
    expect(drives(bringBack(withDisks({ ...other, drive: "sdb" }), gone))).toEqual(["sdb", null]);
  });

  it("gives it another name when its own is taken", () => {
    const project = bringBack(withDisks(disk({ id: "o" })), disk({}));
    expect(project.disks.map(({ name }) => name)).toEqual(["data", "data 2"]);
  });
});

describe("finding", () => {
  it("goes by id, then by name", () => {
    const project = withDisks(disk({ id: "a", name: "b" }), disk({ id: "b", name: "x" }));
    expect(findDisk(project, "b").id).toBe("b");
    expect(findDisk(project, "x").id).toBe("b");
    expect(() => findDisk(project, "y")).toThrow('Cannot find the disk "y"');
    expect(findDisk(dropDisk(project, "b"), "b").id).toBe("a");
  });

  it("gives names that no other disk has", () => {
    const project = withDisks(disk({}), disk({ id: "b", name: "data 2" }));
    expect(diskName(project, " data ")).toBe("data 3");
    expect(diskName(project, "other")).toBe("other");
  });
});

describe("wishes", () => {
  const wish = { name: "data", sizeMb: 64, fileSystem: "ext4" as const, label: "" };
  it.each([
    [{ sizeMb: 4 }, null],
    [{ sizeMb: 3 }, "3 MB is not between 4 and 65536 MB"],
    [{ sizeMb: 65_536 }, null],
    [{ sizeMb: 65_537 }, "65537 MB is not between"],
    [{ sizeMb: 1.5 }, "1.5 MB is not between"],
    [{ name: "  " }, "Cannot make a disk without a name"],
    [{ label: "sixteen letters!" }, null],
    [{ label: "seventeen letters" }, "its label may have 16 bytes with ext4"],
    [{ label: "sixteen letters!", fileSystem: "swap" as const }, "its label may have 15 bytes with swap"],
    [{ label: "a\nb" }, "control character"],
    [{ fileSystem: "xfs" as never }, '"xfs" is none of ext2, ext3, ext4, swap, empty'],
  ])("%j: %s", (change, message) => {
    const check = (): void => checkDisk({ ...wish, ...change });
    if (message === null) expect(check).not.toThrow();
    else expect(check).toThrow(message);
  });
});

describe("/etc/fstab", () => {
  const fstab = "# comment /mnt\nproc /proc proc defaults 0 0\n/dev/sdb /old ext2 defaults 0 0\n\n";

  it("gains a line, in place of the drive's old one", () => {
    expect(withFstabLine(fstab, disk({ drive: "sdb" }), "/mnt")).toBe(
      "# comment /mnt\nproc /proc proc defaults 0 0\n/dev/sdb    /mnt        ext4    defaults              0     0\n",
    );
  });

  it("mounts one thing at a place", () => {
    const once = withFstabLine(fstab, disk({ drive: "sdb" }), "/mnt");
    expect(withFstabLine(once, disk({ drive: "sdc" }), "/mnt").match(/\/mnt {2}/g)).toHaveLength(1);
  });

  it("names no directory for swap", () => {
    expect(withFstabLine("", disk({ drive: "sdc", fileSystem: "swap" }), "")).toMatch(/^\/dev\/sdc +none +swap/);
  });

  it("loses the line of a drive", () => {
    expect(withoutFstabLine(fstab, "sdb")).toBe("# comment /mnt\nproc /proc proc defaults 0 0\n\n");
  });

  it.each([
    [{ drive: null }, "/mnt", "attach it first"],
    [{ fileSystem: "empty" as const }, "/mnt", "there is no file system on it"],
    [{}, "mnt", "write an absolute path without spaces"],
    [{}, "/a b", "write an absolute path without spaces"],
  ])("refuses %j at %s", (change, mountAt, message) => {
    expect(() => withFstabLine(fstab, disk({ drive: "sdb", ...change }), mountAt)).toThrow(message);
  });
});
