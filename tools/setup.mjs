// @ts-check
/**
 * Brings a fresh machine to the point where the rest can run: dependencies, and Debian packages where they are missing.
 * Plain JavaScript, because it runs before anything is installed.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";

export const ROOT = join(import.meta.dirname, "..");

const LOWEST_NODE = [20, 19];

/** A failure whose message is all that the user needs. */
export class SetupError extends Error {}

/** Runs a script's main function: a `SetupError` becomes one sentence, anything else keeps its stack. */
export async function main(/** @type {() => Promise<void>} */ run) {
  try {
    await run();
  } catch (error) {
    console.error(error instanceof SetupError ? error.message : error);
    process.exitCode = 1;
  }
}

export function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = LOWEST_NODE;
  if (major < wantedMajor || (major === wantedMajor && minor < wantedMinor))
    throw new SetupError(
      `Cannot run with Node ${process.versions.node}: install Node ${LOWEST_NODE.join(".")} or newer (https://nodejs.org)`,
    );
}

/** Installs the npm packages of package-lock.json, unless they already are. */
export function ensureDependencies() {
  const lock = createHash("sha256")
    .update(readFileSync(join(ROOT, "package-lock.json")))
    .digest("hex");
  const stamp = join(ROOT, "node_modules", ".smart-os-lock");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === lock) return;
  console.log("Installing the npm packages …");
  const result = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: ROOT,
    stdio: "inherit",
  });
  if (result.status !== 0) throw new SetupError("Cannot install the npm packages: `npm ci` failed, see above");
  writeFileSync(stamp, lock);
}

/** Finds a program on the PATH and where Debian puts those for administrators. */
export function findProgram(/** @type {string} */ name) {
  if (name.includes("/")) return existsSync(name) ? name : null;
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? null;
}

/**
 * Makes sure that programs are there, and installs the Debian packages of those that are not.
 * @param {Record<string, string>} programs package by program name
 * @param {string} purpose what they are for, to finish the sentence "… is needed for"
 */
export function ensurePrograms(programs, purpose) {
  const missing = Object.keys(programs).filter((name) => !findProgram(name));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((name) => /** @type {string} */ (programs[name])))];
  const instruction = `install ${packages.join(" ")} for ${purpose}`;
  if (!findProgram("apt-get"))
    throw new SetupError(
      `Cannot find ${missing.join(", ")}: ${instruction} (this is no Debian or Ubuntu, so it is left to you)`,
    );
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && !findProgram("sudo"))
    throw new SetupError(`Cannot find ${missing.join(", ")}: as root, ${instruction}`);
  console.log(`Installing ${packages.join(" ")} for ${purpose} …`);
  const apt = (/** @type {string[]} */ ...words) => {
    const command = [...(isRoot ? [] : ["sudo"]), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", ...words];
    return spawnSync(/** @type {string} */ (command[0]), command.slice(1), { encoding: "utf8", maxBuffer: 1 << 26 });
  };
  const install = () => apt("install", "-y", "--no-install-recommends", ...packages);
  let result = install();
  // An old package list names files that are gone.
  if (result.status !== 0 && apt("update").status === 0) result = install();
  if (result.status !== 0)
    throw new SetupError(
      `Cannot install ${packages.join(" ")}: ${(result.stderr || result.stdout).trim().split("\n").at(-1)}`,
    );
}

/** The browser that tests and benchmarks drive. `CHROME_PATH` names another one. */
export function chromePath() {
  const named = process.env.CHROME_PATH;
  if (named && !existsSync(named)) throw new SetupError(`Cannot use CHROME_PATH: there is no ${named}`);
  return named ?? findProgram("chromium") ?? findProgram("google-chrome") ?? findProgram("chromium-browser");
}

export function ensureChrome() {
  if (!chromePath()) ensurePrograms({ chromium: "chromium" }, "the tests in a real browser");
}
