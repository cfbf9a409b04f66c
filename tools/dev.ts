/** `npm run dev`: the page with hot reloading, and the relay, on one port. */
import { createServer } from "node:http";
import { join } from "node:path";
import { createServer as createVite } from "vite";
import { runRelay } from "../relay/program.ts";

await runRelay(async () => {
  // Vite takes the websocket of its hot reloading from a server; this one hears only of what the relay passes on.
  const reloading = createServer();
  const vite = await createVite({
    configFile: join(import.meta.dirname, "../vite.config.ts"),
    server: { middlewareMode: true, hmr: { server: reloading } },
  });
  return {
    site: vite.middlewares,
    upgrade: (request, socket, head) => void reloading.emit("upgrade", request, socket, head),
  };
});
