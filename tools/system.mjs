// @ts-check
/**
 * `npm run system`: the kernel, busybox, GRUB and BIOS in public/system, built in Docker where an engine answers, by
 * the same script on this machine otherwise. `--verify` builds everything again and compares.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { checkNode, findProgram, main, ROOT, SetupError } from "./setup.mjs";

const FOLDER = join(ROOT, "kernel-build");
const OUTPUT = join(ROOT, "public/system");
/** How long an engine may take to say that it is there. */
const ENGINE_MS = 5000;

/** Builds what is missing or older than its inputs. */
export async function ensureSystem({ verify = false } = {}) {
  if (!verify && isCurrent()) return;
  const script = join(FOLDER, "build.sh");
  if (verify) {
    run("bash", [script, "verify", OUTPUT], "Cannot verify the system");
    return;
  }
  if (hasEngine()) {
    console.log("Building the system (kernel, busybox, GRUB, BIOS) in Docker …");
    const next = `${OUTPUT}.new`;
    run("docker", ["build", "--output", next, FOLDER], "Cannot build the system in Docker");
    rmSync(OUTPUT, { recursive: true, force: true });
    run("mv", [next, OUTPUT], "Cannot put the system in place");
    return;
  }
  if (!findProgram("apt-get"))
    throw new SetupError(
      "Cannot build the system here: no Docker engine answers, and this is neither Debian nor Ubuntu. Install Docker (https://docs.docker.com/engine/install/) and start it",
    );
  console.log("Building the system (kernel, busybox, GRUB, BIOS); the first time takes some minutes …");
  run("bash", [script, "all", OUTPUT], "Cannot build the system");
}

/** The artefacts are whole and were built from the present inputs. */
function isCurrent() {
  const manifest = join(OUTPUT, "manifest.json");
  if (!existsSync(manifest)) return false;
  const { inputs, artefacts } = JSON.parse(readFileSync(manifest, "utf8"));
  if (inputs !== hashInputs()) return false;
  return artefacts.every((/** @type {{name: string, sha256: string}} */ { name, sha256 }) => {
    const path = join(OUTPUT, name);
    return existsSync(path) && createHash("sha256").update(readFileSync(path)).digest("hex") === sha256;
  });
}

/** The same sum that kernel-build/build.sh writes into the manifest. */
function hashInputs() {
  const result = spawnSync("bash", [join(FOLDER, "build.sh"), "inputs"], { encoding: "utf8" });
  return result.stdout.trim();
}

function hasEngine() {
  if (!findProgram("docker")) return false;
  return spawnSync("docker", ["info"], { stdio: "ignore", timeout: ENGINE_MS }).status === 0;
}

function run(/** @type {string} */ command, /** @type {string[]} */ words, /** @type {string} */ failure) {
  const { status, error } = spawnSync(command, words, { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) throw new SetupError(error ? `${failure}: ${error.message}` : `${failure}: see above`);
}

if (process.argv[1] === import.meta.filename)
  await main(async () => {
    checkNode();
    await ensureSystem({ verify: process.argv.includes("--verify") });
    console.log(`The system is in ${OUTPUT.replace(homedir(), "~")}`);
  });
