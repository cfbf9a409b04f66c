// @ts-check
/**
 * `npm start` and `npm run dev`: set up what is missing, build, and serve the page and the relay on one port; with hot
 * reloading nothing is built. What follows `npm start --` goes to the relay, see `npm run relay -- --help`.
 */
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { checkNode, ensureDependencies, main, ROOT, SetupError } from "./setup.mjs";
import { ensureSystem } from "./system.mjs";

const isDev = process.argv.includes("--dev");
const options = process.argv.slice(2).filter((word) => word !== "--dev");

await main(async () => {
  checkNode();
  const port = Number(process.env.PORT ?? 8086);
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new SetupError(`Cannot listen on port ${process.env.PORT}: PORT must be a number from 0 to 65535`);
  ensureDependencies();
  await ensureSystem();
  // In a process of its own: the bundler's memory is gone when it is done.
  const builder = [join(ROOT, "tools/build.mjs"), "--quiet"];
  if (!isDev && spawnSync(process.execPath, builder, { stdio: "inherit" }).status !== 0)
    throw new SetupError("Cannot build the page: see above");
  const program = isDev ? "tools/dev.ts" : "relay/main.ts";
  const server = spawn(process.execPath, ["--import", "tsx", program, ...options], { cwd: ROOT, stdio: "inherit" });
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) process.on(signal, () => server.kill(signal));
  server.on("exit", (status) => process.exit(status ?? 0));
});
