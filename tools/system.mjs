// @ts-check
/**
 * `npm run system`: the kernel, busybox, GRUB and BIOS in public/system, built in Docker where an engine answers, by
 * the same script on this machine otherwise. `--verify` builds everything again and compares.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { checkNode, findProgram, main, ROOT, SetupError } from "./setup.mjs";

const FOLDER = join(ROOT, "kernel-build");
const SCRIPT = join(FOLDER, "build.sh");
const OUTPUT = join(ROOT, "public/system");
/** How long an engine may take to say that it is there. */
const ENGINE_MS = 5000;

/**
 * Builds what is missing or older than its inputs; returns at once when nothing is.
 * @param {{verify?: boolean, quiet?: boolean}} options `verify`: build all of it again and compare; `quiet`: only errors
 */
export async function ensureSystem({ verify = false, quiet = false } = {}) {
  if (!verify && isCurrent()) return;
  const say = quiet ? () => {} : console.log;
  const inDocker = hasEngine();
  if (!inDocker && !findProgram("apt-get"))
    throw new SetupError(
      "Cannot build the system here: no Docker engine answers, and this is neither Debian nor Ubuntu; install Docker " +
        "(https://docs.docker.com/engine/install/) and start it",
    );
  if (verify) {
    if (!existsSync(join(OUTPUT, "manifest.json")))
      throw new SetupError("Cannot verify the system: there is none in public/system; run `npm run system` first");
    say(`Verifying the system: building it again ${inDocker ? "in Docker" : "on this machine"} …`);
    if (inDocker) verifyInDocker();
    else run("bash", [SCRIPT, "verify", OUTPUT], "Cannot verify the system", quiet);
    return;
  }
  say(
    `Building the system (kernel, busybox, GRUB, BIOS) ${inDocker ? "in Docker" : "on this machine"}; ` +
      "the first time takes some minutes …",
  );
  if (inDocker) buildInDocker(OUTPUT, [], quiet);
  else run("bash", [SCRIPT, "all", OUTPUT], "Cannot build the system", quiet);
  if (!isCurrent()) throw new SetupError("Cannot use the system: what was built is not what its manifest says");
}

/** Says whether the artefacts are whole and were built from the present inputs. */
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

/** The sum that `build.sh inputs` prints and the manifest bears, without the programs that it takes there. */
export function hashInputs() {
  const names = ["Dockerfile", "build.sh", "busybox.config", "kernel.config", "packages.sh"];
  for (const folder of ["patches", "stages", "warm"])
    names.push(...readdirSync(join(FOLDER, folder)).map((name) => `${folder}/${name}`));
  const sum = (/** @type {string | Buffer} */ bytes) => createHash("sha256").update(bytes).digest("hex");
  return sum(
    names
      .sort()
      .map((name) => `${sum(readFileSync(join(FOLDER, name)))}  ${name}\n`)
      .join(""),
  );
}

function hasEngine() {
  if (!findProgram("docker")) return false;
  return spawnSync("docker", ["info"], { stdio: "ignore", timeout: ENGINE_MS }).status === 0;
}

function buildInDocker(/** @type {string} */ output, /** @type {string[]} */ options, quiet = false) {
  const next = `${output}.new`;
  rmSync(next, { recursive: true, force: true });
  run("docker", ["build", ...options, "--output", next, FOLDER], "Cannot build the system in Docker", quiet);
  rmSync(output, { recursive: true, force: true });
  renameSync(next, output);
}

function verifyInDocker() {
  const folder = mkdtempSync(join(tmpdir(), "smart-os-verify-"));
  try {
    const output = join(folder, "system");
    buildInDocker(output, ["--no-cache"]);
    const different = readdirSync(output).filter(
      (name) => !readFileSync(join(output, name)).equals(readFileSync(join(OUTPUT, name))),
    );
    if (different.length > 0)
      throw new SetupError(
        `Cannot verify the system: ${different.join(", ")} in public/system differs from what is built now`,
      );
    console.log("Verified: everything built again, byte for byte the same");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function run(
  /** @type {string} */ command,
  /** @type {string[]} */ words,
  /** @type {string} */ failure,
  quiet = false,
) {
  const { status, error } = spawnSync(command, words, {
    cwd: ROOT,
    stdio: ["ignore", quiet ? "ignore" : "inherit", "inherit"],
  });
  if (status !== 0) throw new SetupError(error ? `${failure}: ${error.message}` : `${failure}: see above`);
}

if (process.argv[1] === import.meta.filename)
  await main(async () => {
    checkNode();
    await ensureSystem({ verify: process.argv.includes("--verify") });
    console.log(`The system is in ${relative(process.cwd(), OUTPUT) || "."}`);
  });
