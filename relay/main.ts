/** `npm start` and `npm run relay`: the built page and the relay on one port. `npm run relay -- --help` tells the options. */
import { existsSync } from "node:fs";
import { runRelay } from "./program.ts";
import { siteHandler } from "./site.ts";

const DIST = `${import.meta.dirname}/../dist`;

await runRelay(({ embedders }) => {
  if (!existsSync(`${DIST}/index.html`))
    throw new Error(
      "Cannot serve the page: dist/ is missing; run `npm run build` first, or `npm start` for everything",
    );
  return { site: siteHandler(DIST, embedders) };
});
