import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KERNEL_BUILD, readArtefact, run } from "./system.ts";

const MINUTE = 60_000;
const CACHE = process.env.SMART_OS_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "smart-os");

describe("the build of busybox", () => {
  const directories: string[] = [];
  const build = (parent: string): Buffer => {
    const cache = join(parent, "cache");
    mkdirSync(cache, { recursive: true });
    // The packages are inputs: only what is made of them is made again.
    symlinkSync(join(CACHE, "sources"), join(cache, "sources"));
    run("bash", [join(KERNEL_BUILD, "build.sh"), "stage", "busybox"], { env: { SMART_OS_CACHE: cache } });
    const [key] = readdirSync(join(cache, "busybox"));
    return readFileSync(join(cache, "busybox", String(key), "busybox"));
  };

  // Packages are here already, unless the system was built in Docker.
  beforeAll(
    () => void run("bash", [join(KERNEL_BUILD, "build.sh"), "stage", "sources"], { env: { SMART_OS_CACHE: CACHE } }),
    5 * MINUTE,
  );

  afterAll(() => {
    for (const directory of directories) rmSync(directory, { recursive: true, force: true });
  });

  it(
    "gives the bytes of the system that is there, in another directory at another time",
    () => {
      const directory = mkdtempSync(join(tmpdir(), "smart-os-another-with-a-longer-name-"));
      directories.push(directory);
      const made = build(directory);
      expect(made.length).toBeGreaterThan(500_000);
      expect(made.equals(readArtefact("busybox"))).toBe(true);
    },
    6 * MINUTE,
  );
});
