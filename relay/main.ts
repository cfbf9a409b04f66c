/** `npm start` and `npm run relay`: serves the built page on one port (PORT, 8086 by default). */
import { existsSync } from "node:fs";
import { createSite } from "./site.ts";

const port = Number(process.env.PORT ?? 8086);
const host = process.env.HOST;
const directory = `${import.meta.dirname}/../dist`;

if (!existsSync(`${directory}/index.html`)) {
  console.error("Cannot serve the page: dist/ is missing; run `npm run build` first, or `npm start` for everything");
  process.exit(1);
}

const server = createSite(directory);
server.on("error", (error: NodeJS.ErrnoException) => {
  const reason =
    error.code === "EADDRINUSE"
      ? "another program uses it; set PORT to a free one"
      : error.code === "EACCES"
        ? "this user may not; set PORT to a number above 1023"
        : error.message;
  console.error(`Cannot listen on port ${port}: ${reason}`);
  process.exit(1);
});
server.listen(port, host, () => {
  const address = server.address();
  const actual = typeof address === "object" && address ? address.port : port;
  console.log(`smart-os is ready: http://localhost:${actual}/`);
});
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.on(signal, () => {
    server.close();
    server.closeAllConnections();
    process.exit(0);
  });
