/** Partition tables, GRUB's embedding and swap areas against sfdisk, grub-bios-setup and mkswap. */
import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, readSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { embedGrub } from "../../worker/format/grub.ts";
import { decodeMbr, encodeMbr, type Partition, SECTOR_BYTES } from "../../worker/format/mbr.ts";
import { decodeSwap, encodeSwap } from "../../worker/format/swap.ts";
import { readSystem } from "../machine/guest.ts";

const scratch = mkdtempSync(join(tmpdir(), "smart-os-partitions-"));
afterAll(() => rmSync(scratch, { recursive: true }));

function start(path: string, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const file = openSync(path, "r");
  readSync(file, bytes, 0, length, 0);
  closeSync(file);
  return bytes;
}

function blank(name: string, sectors: number): string {
  const path = join(scratch, name);
  writeFileSync(path, "");
  truncateSync(path, sectors * SECTOR_BYTES);
  return path;
}

function sfdisk(sectors: number, signature: number, partitions: readonly (Partition | null)[]): Uint8Array {
  const path = blank("disk.img", sectors);
  const lines = ["label: dos", `label-id: 0x${signature.toString(16).padStart(8, "0")}`, "unit: sectors"];
  for (const [index, partition] of partitions.entries())
    if (partition)
      lines.push(
        `${path}${index + 1} : start=${partition.start}, size=${partition.sectors}, type=${partition.type.toString(16)}${partition.bootable ? ", bootable" : ""}`,
      );
  execFileSync("/sbin/sfdisk", ["-q", "--no-reread", "--no-tell-kernel", path], { input: `${lines.join("\n")}\n` });
  return start(path, SECTOR_BYTES);
}

describe("partition tables", () => {
  it("are sfdisk's, byte for byte", () => {
    const layout = fc
      .tuple(
        fc.array(fc.record({ gap: fc.nat(9_000_000), sectors: fc.integer({ min: 1, max: 40_000_000 }) }), {
          minLength: 1,
          maxLength: 4,
        }),
        fc.nat(0xffff_ffff),
        fc.nat(3),
      )
      .map(([parts, signature, bootable]) => {
        let at = 2048;
        const partitions = parts.map(({ gap, sectors }, index) => {
          const start = at + gap;
          at = start + sectors;
          return { start, sectors, type: index === 1 ? 0x82 : 0x83, bootable: index === bootable };
        });
        return { partitions, signature, sectors: at };
      });
    fc.assert(
      fc.property(layout, ({ partitions, signature, sectors }) => {
        const ours = encodeMbr({ signature, partitions }, sectors);
        expect(ours.subarray(440)).toEqual(sfdisk(sectors, signature, partitions).subarray(440));
        expect(decodeMbr(ours)?.partitions.filter(Boolean)).toEqual(partitions);
      }),
      { numRuns: 40, seed: 1 },
    );
  });

  it("of one to four partitions are read by sfdisk and fdisk as they are meant", () => {
    const all = [
      { start: 2048, sectors: 20_480, type: 0x83, bootable: true },
      { start: 22_528, sectors: 8192, type: 0x82, bootable: false },
      { start: 40_960, sectors: 4096, type: 0x0c, bootable: false },
      { start: 45_056, sectors: 86_016, type: 0x83, bootable: false },
    ];
    for (let count = 1; count <= all.length; count += 1) {
      const partitions = all.slice(0, count);
      const path = blank("listed.img", 131_072);
      writeFileSync(path, encodeMbr({ signature: 0xfeed_f00d, partitions }, 131_072), { flag: "r+" });
      const dump = execFileSync("/sbin/sfdisk", ["-d", path], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
      expect(dump).toContain("label-id: 0xfeedf00d");
      const lines = partitions.map(({ start, sectors, type, bootable }, index) => [
        `${path}${index + 1}`,
        `start=${start}`,
        `size=${sectors}`,
        `type=${type.toString(16)}`,
        ...(bootable ? ["bootable"] : []),
      ]);
      const found = dump.split("\n").filter((line) => line.startsWith(path));
      expect(found.map((line) => line.split(/[\s:,]+(?=[a-z])/).map((part) => part.replace(/\s/g, "")))).toEqual(lines);
      const list = execFileSync("/sbin/fdisk", ["-l", path], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
      expect(list.match(/ 83 Linux$/gm) ?? []).toHaveLength(partitions.filter(({ type }) => type === 0x83).length);
      expect(/ 82 Linux swap/.test(list)).toBe(count > 1);
    }
  });

  it("keep an empty entry between two", () => {
    const partitions = [
      { start: 2048, sectors: 2048, type: 0x83, bootable: false },
      null,
      { start: 8192, sectors: 2048, type: 0x83, bootable: false },
    ];
    expect(encodeMbr({ signature: 5, partitions }, 20_000).subarray(440)).toEqual(
      sfdisk(20_000, 5, partitions).subarray(440),
    );
  });

  it.each([
    [[{ start: 0, sectors: 1 }], "Cannot make partition 1: 0 is no number of sectors"],
    [[{ start: 2048, sectors: 7953 }], "Cannot make partition 1: it ends at sector 10001, the disk has 10000"],
    [
      [
        { start: 4096, sectors: 100 },
        { start: 2048, sectors: 2049 },
      ],
      "Cannot make a partition at sector 4096: another one reaches beyond it",
    ],
    [Array.from({ length: 5 }, () => ({ start: 2048, sectors: 1 })), "Cannot make 5 partitions: the table holds 4"],
  ])("refuses what cannot be: %j", (partitions, message) => {
    const all = partitions.map((partition) => ({ ...partition, type: 0x83, bootable: false }));
    expect(() => encodeMbr({ signature: 0, partitions: all }, 10_000)).toThrow(message);
  });

  it("takes up to the disk's last sector", () => {
    const partitions = [{ start: 2048, sectors: 7952, type: 0x83, bootable: false }];
    expect(decodeMbr(encodeMbr({ signature: 0, partitions }, 10_000))?.partitions[0]).toEqual(partitions[0]);
  });

  it("takes a file system for no table", () => {
    const path = blank("bare.img", 4096);
    execFileSync("/sbin/mke2fs", ["-q", "-t", "ext4", path]);
    expect(decodeMbr(start(path, SECTOR_BYTES))).toBeNull();
    expect(decodeMbr(new Uint8Array(512))).toBeNull();
  });
});

describe("GRUB before the first partition", () => {
  // Needs root: grub-bios-setup wants to find its files on a mounted file system of the disk.
  it("is what grub-bios-setup makes of it, byte for byte", () => {
    const image = blank("grub.img", 131_072);
    const partitions = [{ start: 2048, sectors: 129_024, type: 0x83, bootable: true }];
    const mbr = encodeMbr({ signature: 0xfeed_f00d, partitions }, 131_072);
    writeFileSync(image, mbr, { flag: "r+" });
    const loop = execFileSync("/sbin/losetup", ["-f", "--show", "-o", "1048576", image]).toString().trim();
    const mount = join(scratch, "mount");
    const folder = join(mount, "boot/grub");
    try {
      execFileSync("/sbin/mke2fs", ["-q", "-t", "ext2", loop]);
      mkdirSync(mount);
      execFileSync("mount", [loop, mount]);
      mkdirSync(folder, { recursive: true });
      for (const name of ["boot.img", "core.img"]) writeFileSync(join(folder, name), readSystem(name));
      const map = join(scratch, "device.map");
      writeFileSync(map, `(hd0) ${image}\n`);
      const setup = "/usr/lib/grub/i386-pc/grub-bios-setup";
      execFileSync(setup, ["--no-rs-codes", "--skip-fs-probe", "-m", map, "-d", folder, "(hd0)"], { stdio: "pipe" });
    } finally {
      execFileSync("sh", ["-c", `umount ${mount}; losetup -d ${loop}`]);
    }
    const ours = new Uint8Array(2048 * SECTOR_BYTES);
    for (const { offset, bytes } of embedGrub({ boot: readSystem("boot.img"), core: readSystem("core.img") }, mbr))
      ours.set(bytes, offset);
    expect(Buffer.compare(ours, start(image, ours.length))).toBe(0);
  });

  it("refuses a core that reaches into the first partition", () => {
    const boot = new Uint8Array(512);
    const mbr = new Uint8Array(512);
    expect(embedGrub({ boot, core: new Uint8Array(2047 * 512) }, mbr)).toHaveLength(2);
    expect(() => embedGrub({ boot, core: new Uint8Array(2047 * 512 + 1) }, mbr)).toThrow(
      "Cannot fit 1048065 bytes of core.img",
    );
  });
});

describe("swap areas", () => {
  const uuid = Uint8Array.from({ length: 16 }, (_, index) => index + 1);
  const text = "01020304-0506-0708-090a-0b0c0d0e0f10";

  it.each([
    [40_960, ""],
    [1_000_000, "swap"],
    [64 * 1024 * 1024, "fifteen letters"],
  ])("of %d bytes are mkswap's", (size, label) => {
    const path = join(scratch, "swap.img");
    writeFileSync(path, "");
    truncateSync(path, size);
    execFileSync("/sbin/mkswap", ["-q", "-p", "4096", "-U", text, ...(label ? ["-L", label] : []), path], {
      stdio: "pipe",
    });
    const { extents } = encodeSwap(size, uuid, label);
    expect(extents).toEqual([{ offset: 0, bytes: start(path, 4096) }]);
    expect(decodeSwap(extents[0]?.bytes as Uint8Array)).toEqual({ label });
    writeFileSync(path, extents[0]?.bytes as Uint8Array);
    truncateSync(path, size);
    const words = execFileSync("/sbin/swaplabel", [path], { encoding: "utf8" });
    expect(words).toBe(`${label ? `LABEL: ${label}\n` : ""}UUID:  ${text}\n`);
    const kind = execFileSync("file", ["-b", path], { encoding: "utf8" });
    expect(kind).toContain(
      `swap file, 4k page size, little endian, version 1, size ${Math.floor(size / 4096) - 1} pages`,
    );
  });

  it("are refused when too small, or with too long a label", () => {
    expect(() => encodeSwap(40_959, uuid, "")).toThrow("Cannot make a swap area of 40959 bytes");
    expect(() => encodeSwap(40_960, uuid, "sixteen letters!")).toThrow("it may have 15 bytes");
  });
});
