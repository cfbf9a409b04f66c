// @ts-check
/**
 * `npm test`: everything. Types, lint, the built site, then unit, oracle, system and browser tests.
 * Arguments go to Vitest: `npm test -- test/unit` runs a part of them.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { ensureBuild } from "./build.mjs";
import { checkNode, ensureChrome, ensureDependencies, ensurePrograms, main, ROOT, SetupError } from "./setup.mjs";
import { ensureSystem } from "./system.mjs";

/** Debian's name of this processor. */
const TRIPLET = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;

/** The judges. A test whose judge is missing fails; it is never skipped. */
const JUDGES = {
  cpio: "cpio",
  curl: "curl",
  debugfs: "e2fsprogs",
  dnsmasq: "dnsmasq-base",
  e2fsck: "e2fsprogs",
  file: "file",
  "/usr/lib/grub/i386-pc/grub-bios-setup": "grub-pc-bin",
  ip: "iproute2",
  [`/usr/lib/${TRIPLET}/vdeplug/libvdeplug_slirp.so`]: "libvdeplug-slirp",
  losetup: "mount",
  mkswap: "util-linux",
  nft: "nftables",
  "qemu-img": "qemu-utils",
  "qemu-system-i386": "qemu-system-x86",
  "redis-server": "redis-server",
  sfdisk: "fdisk",
  tar: "tar",
  unzip: "unzip",
  vde_plug: "vdeplug",
  xorriso: "xorriso",
  zstd: "zstd",
};

function run(/** @type {string} */ what, /** @type {string} */ command, /** @type {string[]} */ ...words) {
  console.log(`\n${what} …`);
  const result = spawnSync(join(ROOT, "node_modules/.bin", command), words, { cwd: ROOT, stdio: "inherit" });
  if (result.status !== 0) throw new SetupError(`\n${what} failed`);
}

await main(async () => {
  checkNode();
  ensureDependencies();
  const part = process.argv.slice(2);
  if (part.length === 0) {
    run("Checking the types", "tsc", "-b");
    run("Checking style and lint", "biome", "ci", ".");
  }
  ensurePrograms(JUDGES, "the tests' judges");
  ensureChrome();
  await ensureSystem();
  await ensureBuild({ quiet: true });
  run("Testing", "vitest", "run", ...part);
});
