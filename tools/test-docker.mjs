// @ts-check
/**
 * `npm run test:docker`: really executes kernel-build/Dockerfile, where there is neither a container engine nor an image
 * registry, and compares what comes out with public/system. Buildah builds in a chroot, as root; the base image is made
 * with debootstrap and bears the name that the Dockerfile asks for. Then the same for the Dockerfile of the whole, whose
 * image is started with each engine. `--fresh` makes the base images anew, `--system` and `--runtime` test one alone.
 */
import { spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
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

const IMAGE = "smart-os-runtime";
const ISOLATION = ["--isolation", "chroot", "--pull-never", "--quiet"];

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

const STORAGE = ["--root", join(WORK, "storage"), "--runroot", join(WORK, "run"), "--storage-driver", "vfs"];

function buildah(/** @type {string[]} */ ...words) {
  return run("buildah", [...STORAGE, ...words], { capture: words[0] === "from" || words[0] === "images" });
}

/** The image that a Dockerfile starts from, e.g. debian:bookworm-slim. */
function baseName(/** @type {string} */ file, /** @type {string} */ argument) {
  const name = new RegExp(`^ARG ${argument}=(\\S+)$`, "m").exec(readFileSync(file, "utf8"))?.[1];
  if (!name) throw new SetupError(`Cannot test the Dockerfile: ${file} has no line ARG ${argument}=…`);
  return name;
}

function hasImage(/** @type {string} */ name) {
  return buildah("images", "--format", "{{.Name}}:{{.Tag}}").includes(name);
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

/** A Debian with Node, as the image of that name has it: from the npm packages of Node and of npm. */
function makeNodeBase(/** @type {string} */ name, /** @type {string} */ debian) {
  const version = /:(\d+)/.exec(name)?.[1] ?? "22";
  const folder = join(WORK, "node");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  console.log(`Making ${name} …`);
  const platform = `node-linux-${process.arch}`;
  const words = ["install", "--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error"];
  run("npm", [...words, `${platform}@${version}`, "npm@10"], { capture: true });
  const tree = join(folder, "tree/usr/local");
  mkdirSync(join(tree, "bin"), { recursive: true });
  mkdirSync(join(tree, "lib/node_modules"), { recursive: true });
  mkdirSync(join(tree, "etc"), { recursive: true });
  cpSync(join(folder, "node_modules", platform, "bin/node"), join(tree, "bin/node"));
  cpSync(join(folder, "node_modules/npm"), join(tree, "lib/node_modules/npm"), { recursive: true });
  symlinkSync("../lib/node_modules/npm/bin/npm-cli.js", join(tree, "bin/npm"));
  const settings = ["registry", "cafile"]
    .map((key) => [key, run("npm", ["config", "get", key], { capture: true }).trim()])
    .filter(([, value]) => value !== "null" && value !== "undefined");
  writeFileSync(join(tree, "etc/npmrc"), settings.map(([key, value]) => `${key}=${value}\n`).join(""));
  const container = buildah("from", "--pull-never", debian).trim();
  buildah("add", "--quiet", container, join(folder, "tree"), "/");
  buildah("commit", "--quiet", "--rm", container, name);
  rmSync(folder, { recursive: true });
}

function testSystem(/** @type {boolean} */ isFresh) {
  const base = baseName(join(FOLDER, "Dockerfile"), "BASE");
  if (isFresh || !hasImage(base)) makeBase(base);
  const output = join(WORK, "output");
  rmSync(output, { recursive: true, force: true });
  console.log("Executing kernel-build/Dockerfile …");
  const started = performance.now();
  buildah("bud", ...ISOLATION, "--output", `type=local,dest=${output}`, "--tag", "smart-os-system", FOLDER);
  compare(output);
  rmSync(output, { recursive: true });
  console.log(
    `The Dockerfile gives the bytes of public/system (${Math.round((performance.now() - started) / 1000)} s)`,
  );
}

async function testRuntime(/** @type {boolean} */ isFresh) {
  const name = baseName(join(ROOT, "Dockerfile"), "NODE");
  const debian = "debian:bookworm-slim";
  if (isFresh || !hasImage(name)) {
    if (!hasImage(debian)) makeBase(debian);
    makeNodeBase(name, debian);
  }
  console.log("Executing Dockerfile …");
  const started = performance.now();
  buildah("bud", ...ISOLATION, "--format", "docker", "--target", "runtime", "--tag", IMAGE, ROOT);
  try {
    await tryImage("1000:1000", []);
    await tryImage("1000:1000", ["--engine", "slirp"]);
    await tryImage("0:0", ["--engine", "kernel"]);
  } finally {
    buildah("rmi", "--force", IMAGE);
  }
  console.log(
    `The Dockerfile gives a relay that starts with each engine (${Math.round((performance.now() - started) / 1000)} s)`,
  );
}

/** Starts the relay of the image in a network of its own, and asks it for its health and the page. */
async function tryImage(/** @type {string} */ user, /** @type {string[]} */ options) {
  const container = buildah("from", "--pull-never", IMAGE).trim();
  const run_ = ["run", "--isolation", "chroot", "--user", user];
  const rights = user === "0:0" ? ["--cap-add", "CAP_NET_ADMIN"] : [];
  const health = "fetch('http://127.0.0.1:8086/healthz').then(async (r) => console.log(r.status, await r.text()))";
  const page =
    "fetch('http://127.0.0.1:8086/').then(async (r) => console.log(r.status, (await r.text()).includes('<html')))";
  const script = [
    `node relay/main.js ${options.join(" ")} & relay=$!`,
    "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1",
    `node -e "${health}" 2>/dev/null && break; done`,
    `node -e "${page}"`,
    "echo user $(id -u)",
    "kill $relay; wait $relay; echo status $?",
  ].join("\n");
  const words = [...STORAGE, ...run_, ...rights, container, "--", "sh", "-c", script];
  const enter = [
    "--net",
    "sh",
    "-c",
    'ip link set lo up && echo 1 > /proc/sys/net/ipv4/ip_forward && exec "$@"',
    "sh",
    "buildah",
  ];
  const output = await new Promise((resolve) => {
    let text = "";
    const child = spawn("unshare", [...enter, ...words], { stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 });
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (/** @type {Buffer} */ bytes) => {
        text += bytes;
      });
    child.on("close", () => resolve(text));
  });
  buildah("rm", container);
  const expected = [
    '200 {"status":"ok"',
    "200 true",
    `user ${user.split(":")[0]}\n`,
    "status 0\n",
    "Network: public",
    ...(options[1] ? [`Connections go through the ${options[1]} engine`] : []),
  ];
  const missing = expected.filter((words_) => !output.includes(words_));
  if (missing.length > 0)
    throw new SetupError(`Cannot accept the image with ${options.join(" ") || "its usual engine"}:\n${output}`);
}

await main(async () => {
  checkNode();
  if (process.getuid?.() !== 0)
    throw new SetupError("Cannot test the Dockerfile: buildah's chroot isolation needs root");
  ensurePrograms({ buildah: "buildah", debootstrap: "debootstrap" }, "the test of the Dockerfile");
  if (!findProgram("buildah")) throw new SetupError("Cannot test the Dockerfile: buildah is missing");
  await ensureSystem();
  mkdirSync(WORK, { recursive: true });
  const { argv } = process;
  const isFresh = argv.includes("--fresh");
  if (!argv.includes("--runtime")) testSystem(isFresh);
  if (!argv.includes("--system")) await testRuntime(isFresh);
});
