// @ts-check
/**
 * `npm start` and `npm run dev`: set up what is missing, build, and serve the page and the relay on one port. What follows
 * `npm start --` goes to the relay, see `npm run relay -- --help`. With hot reloading there is no relay.
 */
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { checkNode, ensureDependencies, main, ROOT, SetupError } from "./setup.mjs";
import { ensureSystem } from "./system.mjs";

const isDev = process.argv.includes("--dev");

await main(async () => {
  checkNode();
  const port = Number(process.env.PORT ?? 8086);
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new SetupError(`Cannot listen on port ${process.env.PORT}: PORT must be a number from 0 to 65535`);
  ensureDependencies();
  await ensureSystem();
  if (isDev) {
    const { createServer } = await import("vite");
    const server = await createServer({ configFile: join(ROOT, "vite.config.ts"), server: { port, strictPort: true } });
    await server.listen();
    server.printUrls();
    return;
  }
  // In a process of its own: the bundler's memory is gone when it is done.
  if (spawnSync(process.execPath, [join(ROOT, "tools/build.mjs"), "--quiet"], { stdio: "inherit" }).status !== 0)
    throw new SetupError("Cannot build the page: see above");
  const options = process.argv.slice(2);
  const server = spawn(process.execPath, ["--import", "tsx", "relay/main.ts", ...options], {
    cwd: ROOT,
    stdio: "inherit",
  });
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) process.on(signal, () => server.kill(signal));
  server.on("exit", (status) => process.exit(status ?? 0));
});
