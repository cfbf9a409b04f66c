// @ts-check
/** `npm run bench`: measures against baselines in the same run, prints a table, writes bench/results/*.json. */
import { spawnSync } from "node:child_process";
import { ensureBuild } from "./build.mjs";
import { checkNode, ensureChrome, ensureDependencies, ensurePrograms, main, ROOT } from "./setup.mjs";
import { ensureSystem } from "./system.mjs";

/** `npm run bench -- disks` measures a part. */
const PARTS = ["boot", "visit", "disks", "network", "snapshots", "share"];

const PROGRAMS = {
  curl: "curl",
  debugfs: "e2fsprogs",
  ip: "iproute2",
  mke2fs: "e2fsprogs",
  "qemu-img": "qemu-utils",
  "qemu-system-i386": "qemu-system-x86",
  unzip: "unzip",
  vde_plug: "vdeplug",
};

await main(async () => {
  checkNode();
  ensureDependencies();
  ensurePrograms(PROGRAMS, "the baselines");
  ensureChrome();
  await ensureSystem();
  await ensureBuild({ quiet: true });
  const parts = PARTS.filter((part) => process.argv.length < 3 || process.argv.slice(2).includes(part));
  for (const part of parts) {
    const { status } = spawnSync(process.execPath, ["--import", "tsx", `bench/${part}.ts`], {
      cwd: ROOT,
      stdio: "inherit",
    });
    if (status !== 0) process.exitCode = status ?? 1;
  }
});
