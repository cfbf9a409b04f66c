// @ts-check
/**
 * `npm run soak`: what takes too long for `npm test`, one part after the other; `npm run soak -- kills` runs a part.
 * A part is a script of its own that prints a closing line and ends with a status other than 0 when it found something.
 */
import { spawnSync } from "node:child_process";
import { ensureBuild } from "./build.mjs";
import { checkNode, ensureChrome, ensureDependencies, ensurePrograms, main, ROOT, SetupError } from "./setup.mjs";
import { ensureSystem } from "./system.mjs";

/** @type {Record<string, string>} script by the part's name */
const PARTS = {
  kills: "test/soak/kills.ts",
  relay: "test/soak/relay.ts",
  fuzz: "test/soak/fuzz.ts",
  imports: "test/soak/imports.ts",
};

/** What the parts judge with. */
const JUDGES = { e2fsck: "e2fsprogs", debugfs: "e2fsprogs" };

await main(async () => {
  const wanted = process.argv.slice(2);
  const unknown = wanted.find((part) => !(part in PARTS));
  if (unknown !== undefined)
    throw new SetupError(`Cannot soak ${unknown}: the parts are ${Object.keys(PARTS).join(", ")}`);
  checkNode();
  ensureDependencies();
  ensurePrograms(JUDGES, "the judges");
  ensureChrome();
  await ensureSystem();
  await ensureBuild({ quiet: true });
  for (const [part, script] of Object.entries(PARTS)) {
    if (wanted.length > 0 && !wanted.includes(part)) continue;
    console.log(`\n${part} …`);
    const { status } = spawnSync(process.execPath, ["--import", "tsx", script], { cwd: ROOT, stdio: "inherit" });
    if (status !== 0) {
      console.error(`${part} failed (${status ?? "killed"})`);
      process.exitCode = 1;
    }
  }
});
