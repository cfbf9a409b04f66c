// @ts-check
/**
 * `npm run test:docker`: really executes kernel-build/Dockerfile, where there is neither a container engine nor an image
 * registry, and compares what comes out with public/system. Buildah builds in a chroot, as root; the base image is made
 * with debootstrap and bears the name that the Dockerfile asks for. `--fresh` makes the base image anew.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { checkNode, ensurePrograms, findProgram, main, ROOT, SetupError } from "./setup.mjs";
import { ensureSystem } from "./system.mjs";

const FOLDER = join(ROOT, "kernel-build");
const SYSTEM = join(ROOT, "public/system");
const CACHE = join(
  process.env.SMART_OS_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "smart-os"),
);
const WORK = join(CACHE, "docker-test");

/** What this machine needs to reach its packages: into the base image made here, never into the Dockerfile. */
const MACHINE_SETTINGS = [
  "/etc/apt/sources.list",
  "/etc/apt/sources.list.d",
  "/etc/apt/keyrings",
  "/etc/apt/trusted.gpg.d",
  "/etc/apt/apt.conf.d",
  "/etc/ssl/certs",
  "/usr/share/keyrings",
  "/usr/local/share/ca-certificates",
];

/** Runs a program to its end. @returns {string} what it printed, if `capture` */
function run(/** @type {string} */ command, /** @type {string[]} */ words, { capture = false } = {}) {
  const result = spawnSync(command, words, {
    stdio: ["ignore", capture ? "pipe" : "inherit", "inherit"],
    encoding: "utf8",
  });
  if (result.status !== 0) throw new SetupError(`Cannot test the Dockerfile: ${command} ${words[0]} failed, see above`);
  return result.stdout ?? "";
}

function buildah(/** @type {string[]} */ ...words) {
  const storage = ["--root", join(WORK, "storage"), "--runroot", join(WORK, "run"), "--storage-driver", "vfs"];
  return run("buildah", [...storage, ...words], { capture: words[0] === "from" || words[0] === "images" });
}

/** The image that the Dockerfile starts from, e.g. debian:bookworm-slim. */
function baseName() {
  const name = /^ARG BASE=(\S+)$/m.exec(readFileSync(join(FOLDER, "Dockerfile"), "utf8"))?.[1];
  if (!name) throw new SetupError("Cannot test the Dockerfile: it has no line ARG BASE=…");
  return name;
}

/** The mirror that this machine takes a release from. */
function mirrorOf(/** @type {string} */ codename) {
  const format = "$(REPO_URI) $(CODENAME) $(COMPONENT)";
  const lines = run("apt-get", ["indextargets", "--format", format, "Created-By: Packages"], { capture: true }).split(
    "\n",
  );
  const mirror = lines
    .map((line) => line.split(" "))
    .find((words) => words[1] === codename && words[2] === "main")?.[0];
  if (!mirror) throw new SetupError(`Cannot make the base image: this machine's apt has no source for ${codename}`);
  return mirror;
}

function makeBase(/** @type {string} */ name) {
  const codename = /:([a-z]+)/.exec(name)?.[1] ?? "stable";
  const tree = join(WORK, "base");
  rmSync(tree, { recursive: true, force: true });
  console.log(`Making ${name} with debootstrap …`);
  run("debootstrap", ["--variant=minbase", codename, tree, mirrorOf(codename)], { capture: true });
  // The machine's sources instead of the one that debootstrap has written.
  rmSync(join(tree, "etc/apt/sources.list"), { force: true });
  for (const path of MACHINE_SETTINGS) {
    if (!existsSync(path)) continue;
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    cpSync(path, join(tree, path), { recursive: true, verbatimSymlinks: true });
  }
  rmSync(join(tree, "var/cache/apt/archives"), { recursive: true, force: true });
  mkdirSync(join(tree, "var/cache/apt/archives/partial"), { recursive: true });
  const container = buildah("from", "scratch").trim();
  buildah("add", "--quiet", container, tree, "/");
  buildah("commit", "--quiet", "--rm", container, name);
  rmSync(tree, { recursive: true });
}

function compare(/** @type {string} */ output) {
  const ours = readFileSync(join(SYSTEM, "manifest.json"), "utf8");
  const theirs = readFileSync(join(output, "manifest.json"), "utf8");
  const names = JSON.parse(ours).artefacts.map((/** @type {{name: string}} */ { name }) => name);
  const different = names.filter(
    (/** @type {string} */ name) => !readFileSync(join(SYSTEM, name)).equals(readFileSync(join(output, name))),
  );
  if (different.length > 0 || ours !== theirs) {
    writeFileSync(join(WORK, "manifest.json"), theirs);
    throw new SetupError(
      `Cannot accept the Dockerfile: it gives other bytes than public/system (${different.join(", ") || "manifest.json"}); ` +
        `its manifest is ${join(WORK, "manifest.json")}`,
    );
  }
}

await main(async () => {
  checkNode();
  if (process.getuid?.() !== 0)
    throw new SetupError("Cannot test the Dockerfile: buildah's chroot isolation needs root");
  ensurePrograms({ buildah: "buildah", debootstrap: "debootstrap" }, "the test of the Dockerfile");
  if (!findProgram("buildah")) throw new SetupError("Cannot test the Dockerfile: buildah is missing");
  await ensureSystem();
  mkdirSync(WORK, { recursive: true });
  const base = baseName();
  if (process.argv.includes("--fresh") || !buildah("images", "--format", "{{.Name}}:{{.Tag}}").includes(base))
    makeBase(base);
  const output = join(WORK, "output");
  rmSync(output, { recursive: true, force: true });
  console.log("Executing kernel-build/Dockerfile …");
  const started = performance.now();
  const isolation = ["--isolation", "chroot", "--pull-never", "--quiet"];
  buildah("bud", ...isolation, "--output", `type=local,dest=${output}`, "--tag", "smart-os-system", FOLDER);
  compare(output);
  rmSync(output, { recursive: true });
  console.log(
    `The Dockerfile gives the bytes of public/system (${Math.round((performance.now() - started) / 1000)} s)`,
  );
});
