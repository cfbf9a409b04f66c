/**
 * The states of warm boots: `npm run build` makes them from the system's artefacts and the default files, and keeps them
 * in the cache under a sum over everything that they depend on. Another sum, another state: a stale one is never found.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { readRootfs } from "./rootfs.ts";

export const SITE_ROOT = join(import.meta.dirname, "..");

/** Memory sizes in MiB that boot warm at once; of others the page makes states of its own. */
export const STATE_SIZES_MB = [64, 128, 256] as const;

const CACHE = join(SITE_ROOT, "node_modules/.cache/states");
/** What makes them; all that it imports decides what they are. */
const MAKER = "tools/states/make.ts";
/** Of the emulator and of the artefacts their lists speak. */
const LISTS = ["node_modules/v86/package.json", "public/system/manifest.json"];
/** `import … from "./x.ts"` and `export … from`, but for types, of which nothing is left when it runs. */
const IMPORTS = /^(?:import|export)\s+(?!type\b)[^"';]*?from\s+"(\.[^"]+)"/gm;

/** A path below the project's folder → the file's content. */
type Read = (path: string) => Buffer;

const readOfSite: Read = (path) => readFileSync(join(SITE_ROOT, path));

/** The project's files that take part in making a state, found by following imports. */
export function listStateSources(read: Read = readOfSite): string[] {
  const found = new Set([MAKER]);
  for (const path of found)
    for (const [, to] of read(path).toString().matchAll(IMPORTS))
      found.add(posix.join(posix.dirname(path), to as string));
  return [...found].sort();
}

export function hashStateInputs(read: Read = readOfSite): string {
  const hash = createHash("sha256");
  for (const path of [...listStateSources(read), ...LISTS]) hash.update(`${path}\0`).update(read(path));
  hash.update(JSON.stringify(readRootfs(join(SITE_ROOT, "rootfs"))));
  return hash.digest("hex");
}

/** Where the states of these inputs are or will be. */
export function stateFolder(): string {
  return join(CACHE, hashStateInputs().slice(0, 16));
}

export function forgetOtherStates(): string[] {
  const kept = stateFolder();
  return existsSync(CACHE)
    ? readdirSync(CACHE)
        .map((name) => join(CACHE, name))
        .filter((path) => path !== kept)
    : [];
}

/** The states' files, or none where they have not been made. */
export function readStates(): { name: string; path: string }[] {
  const folder = stateFolder();
  if (!existsSync(join(folder, "listing.json"))) return [];
  return STATE_SIZES_MB.map((size) => ({ name: `warm-${size}.state`, path: join(folder, `warm-${size}.state`) }));
}

/** What is handed over for a project that changes nothing, in base64; null where there are no states. */
export function readDefaultDelta(): string | null {
  const path = join(stateFolder(), "default.delta");
  return existsSync(path) ? readFileSync(path).toString("base64") : null;
}

/** The files in the states, as `worker/delta.ts` lists them. */
export function readListing(): string {
  const path = join(stateFolder(), "listing.json");
  return existsSync(path) ? readFileSync(path, "utf8") : "[]";
}
