// @ts-check
/** Runs a TypeScript program of the project: `node tools/run.mjs relay/main.ts [ARGUMENT…]`. */
import { spawn } from "node:child_process";
import { checkNode, ensureDependencies, main, ROOT } from "./setup.mjs";

await main(async () => {
  checkNode();
  ensureDependencies();
  const program = spawn(process.execPath, ["--import", "tsx", ...process.argv.slice(2)], {
    cwd: ROOT,
    stdio: "inherit",
  });
  program.on("exit", (status) => process.exit(status ?? 1));
});
