// @ts-check
/** Builds the service worker of a site that is otherwise complete: it carries the list of the site's files. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { build } from "vite";
import { ROOT } from "./setup.mjs";

/** Each state is as large as all the rest: those of other memory sizes than the default one are kept once they were used. */
const RARE = /^system\/warm-(?!128\b)/;

/**
 * Writes DIST/offline.js.
 * @param {string} dist
 * @param {readonly string[]} paths the site's files
 */
export async function buildOfflineWorker(dist, paths) {
  const files = paths
    .map((path) => ({ path: relative(dist, path).split(sep).join("/"), sha256: sha256(readFileSync(path)) }))
    .filter(({ path }) => !/(^|\/)\.|\.(br|gz|map)$|^offline\.js$/.test(path))
    .map(({ path, sha256 }) => ({
      path: path === "index.html" ? "" : path,
      sha256,
      ...(RARE.test(path) ? { rare: true } : {}),
    }));
  const version = sha256(JSON.stringify(files)).slice(0, 12);
  await build({
    configFile: false,
    root: ROOT,
    publicDir: false,
    logLevel: "error",
    define: { SITE: JSON.stringify({ version, files }) },
    build: {
      outDir: dist,
      emptyOutDir: false,
      target: "es2022",
      modulePreload: false,
      rolldownOptions: {
        input: join(ROOT, "offline/worker.ts"),
        output: { format: "iife", entryFileNames: "offline.js" },
      },
    },
  });
}

function sha256(/** @type {string | Buffer} */ data) {
  return createHash("sha256").update(data).digest("hex");
}
