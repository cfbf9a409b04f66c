// @ts-check
/** `npm run bench`: measures against baselines in the same run, prints a table, writes bench/results/*.json. */
import { spawnSync } from "node:child_process";
import { ensureBuild } from "./build.mjs";
import { checkNode, ensureChrome, ensureDependencies, ensurePrograms, main, ROOT } from "./setup.mjs";
import { ensureSystem } from "./system.mjs";

await main(async () => {
  checkNode();
  ensureDependencies();
  ensurePrograms({ "qemu-system-i386": "qemu-system-x86" }, "the baseline");
  ensureChrome();
  await ensureSystem();
  await ensureBuild({ quiet: true });
  const { status } = spawnSync(process.execPath, ["--import", "tsx", "bench/boot.ts", ...process.argv.slice(2)], {
    cwd: ROOT,
    stdio: "inherit",
  });
  process.exitCode = status ?? 1;
});
