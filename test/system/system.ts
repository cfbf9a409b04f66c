/** What the tests of the built system share. A program that is missing fails the test that needs it. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "../..");
export const SYSTEM = join(ROOT, "public/system");
export const KERNEL_BUILD = join(ROOT, "kernel-build");

export interface Manifest {
  version: number;
  inputs: string;
  toolchain: { package: string; version: string }[];
  artefacts: {
    name: string;
    size: number;
    sha256: string;
    source: { package: string; version: string };
    license: string;
  }[];
}

export function readManifest(): Manifest {
  return JSON.parse(readFileSync(join(SYSTEM, "manifest.json"), "utf8"));
}

export function readArtefact(name: string): Buffer {
  return readFileSync(join(SYSTEM, name));
}

/** Runs a program and returns what it printed. @throws Error when it cannot be run or fails */
export function run(
  command: string,
  words: string[],
  options: { cwd?: string; input?: Buffer | string; env?: Record<string, string> } = {},
): string {
  const { env, ...rest } = options;
  const result = spawnSync(command, words, {
    ...rest,
    env: { ...process.env, ...env },
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  if (result.error) throw new Error(`Cannot run ${command}: ${result.error.message}`);
  if (result.status !== 0) throw new Error(`${command} ${words.join(" ")} failed (${result.status}): ${result.stderr}`);
  return result.stdout;
}
