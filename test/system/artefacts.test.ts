import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { hashInputs } from "../../tools/system.mjs";
import { KERNEL_BUILD, readArtefact, readManifest, run, SYSTEM } from "./system.ts";

const NAMES = [
  "bzImage",
  "modules.cpio",
  "kernel.config",
  "busybox",
  "busybox.links",
  "boot.img",
  "core.img",
  "cd.img",
  "bios.bin",
  "vgabios.bin",
  "waiter",
];

describe("the manifest", () => {
  const manifest = readManifest();

  it("lists every artefact and nothing else", () => {
    expect(manifest.version).toBe(1);
    expect(manifest.artefacts.map(({ name }) => name)).toEqual(NAMES);
    expect(readdirSync(SYSTEM).sort()).toEqual([...NAMES, "manifest.json"].sort());
  });

  it("has each one's true size and SHA-256", () => {
    for (const { name, size, sha256 } of manifest.artefacts) {
      const bytes = readArtefact(name);
      expect(bytes.length, name).toBe(size);
      expect(createHash("sha256").update(bytes).digest("hex"), name).toBe(sha256);
    }
  });

  it("names each one's source package, its version and its licence", () => {
    for (const { name, source, license } of manifest.artefacts) {
      expect(source.package, name).toMatch(/^[a-z0-9][a-z0-9.+-]+$/);
      expect(source.version, name).toMatch(/^[0-9][\w.:~+-]*$/);
      expect(license, name).toMatch(/^L?GPL-\d\.\d-|^MIT$/);
    }
    expect(manifest.toolchain.map((tool) => tool.package)).toContain("binutils-i686-linux-gnu");
  });

  it("was made from the build files as they are now", () => {
    expect(manifest.inputs).toBe(run("bash", [join(KERNEL_BUILD, "build.sh"), "inputs"]).trim());
    expect(hashInputs(), "tools/system.mjs computes the same").toBe(manifest.inputs);
  });
});

describe("the budgets", () => {
  it("keep the kernel below 3.3 MB and busybox below 1.3 MB", () => {
    expect(readArtefact("bzImage").length).toBeLessThanOrEqual(3_300_000);
    expect(readArtefact("busybox").length).toBeLessThanOrEqual(1_300_000);
  });
});

describe("busybox", () => {
  it("is a static program for i386", () => {
    const kind = run("file", ["--brief", join(SYSTEM, "busybox")]);
    expect(kind).toContain("ELF 32-bit LSB executable, Intel 80386");
    expect(kind).toContain("statically linked");
    const header = readArtefact("busybox");
    expect(header.readUInt32BE(0)).toBe(0x7f454c46);
    expect([header[4], header.readUInt16LE(18)], "class, machine").toEqual([1, 3]);
  });

  it("lists its applets as sorted absolute paths", () => {
    const links = readArtefact("busybox.links").toString().trimEnd().split("\n");
    expect(links).toEqual([...new Set(links)].sort());
    for (const link of links) expect(link).toMatch(/^\/(usr\/)?s?bin\/[^/]+$|^\/linuxrc$/);
    for (const applet of WANTED_APPLETS)
      expect(
        links.filter((link) => link.endsWith(`/${applet}`)),
        applet,
      ).toHaveLength(1);
  });
});

/** What the playground's scripts and lessons count on. */
const WANTED_APPLETS = (
  "ash sh stty setsid base64 mdev modprobe insmod lsmod rmmod depmod modinfo switch_root udhcpc syslogd klogd logread " +
  "getty login passwd su vi wget nc httpd tar gzip gunzip cpio mke2fs mkfs.vfat fdisk mkswap swapon losetup mount umount " +
  "ip ifconfig route nslookup ping crond telnetd ftpd tftpd top ps free hexdump less timeout cttyhack poweroff reboot " +
  "halt bc dc uptime dmesg find grep sed awk sort xargs findfs blkid chroot init sleep date hwclock"
).split(" ");

describe("the configurations", () => {
  it("kept every symbol that our fragment asks for", () => {
    const configuration = readArtefact("kernel.config").toString().split("\n");
    const fragment = readFileSync(join(KERNEL_BUILD, "kernel.config"), "utf8").split("\n");
    const asked = fragment.filter((line) => /^(CONFIG_\w+=|# CONFIG_\w+ is not set)/.test(line));
    expect(asked.length).toBeGreaterThan(100);
    const lost = asked.filter((line) => {
      if (!line.startsWith("#")) return !configuration.includes(line);
      return configuration.some((other) => other.startsWith(`${line.split(" ")[1]}=`));
    });
    expect(lost).toEqual([]);
  });
});

describe("modules.cpio", () => {
  const listing = run("cpio", ["-itv", "--quiet"], { input: readArtefact("modules.cpio") })
    .trimEnd()
    .split("\n");

  it("holds the five modules and what modprobe reads", () => {
    for (const name of [
      "ne2k-pci.ko",
      "vfat.ko",
      "isofs.ko",
      "loop.ko",
      "brd.ko",
      "modules.dep",
      "modules.alias",
      "modules.symbols",
    ])
      expect(
        listing.filter((line) => line.endsWith(`/${name}`)),
        name,
      ).toHaveLength(1);
  });

  it("depends on nothing but names and contents", () => {
    for (const line of listing) expect(line).toMatch(/^[d-]r[\w-]+ +\d+ root +root +\d+ Jan +1 +1970 lib/);
    const names = listing.map((line) => line.split(" ").at(-1));
    expect(names).toEqual([...names].sort());
  });

  it("is for the kernel beside it", () => {
    const release = /^lib\/modules\/([^/]+)$/m.exec(listing.map((line) => line.split(" ").at(-1)).join("\n"))?.[1];
    expect(run("file", ["--brief", join(SYSTEM, "bzImage")])).toContain(`version ${release} `);
  });
});

describe("GRUB", () => {
  it("fits below sector 2048 and says where the rest of it lies", () => {
    const core = readArtefact("core.img");
    const sectors = Math.ceil(core.length / 512);
    expect(sectors).toBeLessThan(2048);
    // The block list: first sector (8 bytes), number of sectors, segment.
    expect([
      core.readUInt32LE(0x1f4),
      core.readUInt32LE(0x1f8),
      core.readUInt16LE(0x1fc),
      core.readUInt16LE(0x1fe),
    ]).toEqual([2, 0, sectors - 1, 0x820]);
    expect(core.includes("(,msdos1)/boot/grub"), "prefix, readable because the core is not packed").toBe(true);
  });

  it("has a boot sector of one sector that loads sector 1", () => {
    const boot = readArtefact("boot.img");
    expect(boot.length).toBe(512);
    expect(boot.readUInt16LE(510)).toBe(0xaa55);
    expect(boot.readBigUInt64LE(0x5c)).toBe(1n);
  });
});

describe("the BIOS", () => {
  it("is 128 KiB of SeaBIOS with its reset vector, and a VGA option ROM", () => {
    const bios = readArtefact("bios.bin");
    expect(bios.length).toBe(128 * 1024);
    expect(bios[bios.length - 16], "a far jump at the reset vector").toBe(0xea);
    expect(readArtefact("vgabios.bin").readUInt16LE(0)).toBe(0xaa55);
  });
});
