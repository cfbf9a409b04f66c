#!/usr/bin/env node
// @ts-check
/**
 * `npx smart-os`: sets up what is missing, then runs main.ts. What it has to say meanwhile goes to standard error, because
 * standard output may be an image on its way through a pipe.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { checkNode, main, ROOT, SetupError } from "../tools/setup.mjs";

function runFirst(/** @type {string} */ code) {
  const { status } = spawnSync(process.execPath, ["--input-type=module", "-e", code], { cwd: ROOT, stdio: [0, 2, 2] });
  if (status !== 0) throw new SetupError("Cannot run smart-os: see above");
}

await main(async () => {
  checkNode();
  if (!existsSync(join(ROOT, "node_modules/tsx")))
    runFirst('import { ensureDependencies } from "./tools/setup.mjs"; ensureDependencies();');
  const { register } = await import("tsx/esm/api");
  register();
  const { run } = await import("./main.ts");
  await run(process.argv.slice(2), () => {
    if (!existsSync(join(ROOT, "public/system/manifest.json")))
      runFirst('import { ensureSystem } from "./tools/system.mjs"; await ensureSystem();');
  });
});
