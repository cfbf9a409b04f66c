// @ts-check
/** `npm run build`: the static site in dist/, with compressed copies beside each file. Skipped when nothing changed. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { compress, forgetUnused, hasZstd } from "./compression.mjs";
import { checkNode, ensureDependencies, ensurePrograms, main, ROOT, SetupError } from "./setup.mjs";
import { ensureSystem } from "./system.mjs";

const DIST = join(ROOT, "dist");
/** In dist/, but not of the site: which inputs it was made from. */
const STAMP = join(DIST, ".inputs");
const INPUTS = ["web", "worker", "offline", "rootfs", "public", "tools", "vite.config.ts", "package-lock.json"];

/** Builds dist/ if the sources or the system changed since the last time. */
export async function ensureBuild({ quiet = false } = {}) {
  const inputs = hashInputs();
  if (existsSync(STAMP) && readFileSync(STAMP, "utf8") === inputs) return;
  makeStates();
  if (!hasZstd()) installZstd();
  console.log("Building the page …");
  // Whatever the shell or a test runner says: another value leaves out what is for visitors, the service worker above all.
  process.env.NODE_ENV = "production";
  const { build } = await import("vite");
  await build({ configFile: join(ROOT, "vite.config.ts"), logLevel: quiet ? "error" : "warn" });
  const { buildOfflineWorker } = await import("./offline.mjs");
  await buildOfflineWorker(DIST, listFiles(DIST));
  await compressFiles();
  writeFileSync(STAMP, inputs);
}

/** The states of warm boots, where those of these inputs are not there yet; the site's build takes them from the cache. */
function makeStates() {
  const words = ["--import", "tsx", join(ROOT, "tools/states/make.ts")];
  const { status } = spawnSync(process.execPath, words, { cwd: ROOT, stdio: "inherit" });
  if (status !== 0)
    throw new SetupError(
      "Cannot make the states of warm boots: see above; `npm run build` tries again, and what fails twice should be reported " +
        "with these lines",
    );
}

/** Whoever cannot have it gets a page that works, and opens some tens of milliseconds later. */
function installZstd() {
  try {
    ensurePrograms({ zstd: "zstd" }, "states that browsers unpack faster");
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.warn(`${error.message}. The page is built without it`);
  }
}

/** Every file's path, mode and content; of the large generated ones in public/system the manifest speaks for all. */
function hashInputs() {
  const hash = createHash("sha256");
  for (const input of INPUTS)
    for (const path of listFiles(join(ROOT, input))) {
      const name = relative(ROOT, path);
      if (name.startsWith("public/system/") && name !== "public/system/manifest.json") continue;
      hash.update(`${name}\0${statSync(path).mode}\0`).update(readFileSync(path));
    }
  return hash.digest("hex");
}

/** @returns {string[]} */
function listFiles(/** @type {string} */ path) {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap((name) => listFiles(join(path, name)));
}

/** Writes NAME.br, NAME.gz and NAME.zst beside each file where that pays: the server picks one by what the browser accepts. */
async function compressFiles() {
  for (const path of listFiles(DIST)) {
    if (/\.(br|gz|zst|map|png|woff2)$/.test(path)) continue;
    for (const [ending, copy] of Object.entries(await compress(readFileSync(path))))
      if (copy) writeFileSync(`${path}.${ending}`, copy);
  }
  forgetUnused();
}

if (process.argv[1] === import.meta.filename)
  await main(async () => {
    checkNode();
    ensureDependencies();
    await ensureSystem();
    const quiet = process.argv.includes("--quiet");
    await ensureBuild({ quiet });
    if (!quiet) console.log("The site is in dist/");
  });
