/** Other programs: whether they are there, and running them to their end. */
import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Where Debian puts programs for administrators is not on everybody's path. */
const PATH = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"].filter((folder) => folder !== "");
const RUN_MS = 10_000;

/** For programs that get nothing of our environment, which may hold secrets. */
export const PLAIN_ENVIRONMENT = { PATH: PATH.join(delimiter), LANG: "C" };

/** Debian's packages of programs that are missing. */
export function missingPackages(packages: Readonly<Record<string, string>>): string[] {
  const missing = Object.keys(packages).filter((name) => !PATH.some((folder) => isProgram(join(folder, name))));
  return [...new Set(missing.map((name) => packages[name] as string))];
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** @returns what it printed @throws Error with what it said */
export function run(command: readonly string[], input = ""): Promise<string> {
  const [program = "", ...words] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, { cwd: "/", env: PLAIN_ENVIRONMENT, timeout: RUN_MS });
    let output = "";
    let problem = "";
    child.stdout.on("data", (bytes) => {
      output += bytes;
    });
    child.stderr.on("data", (bytes) => {
      problem += bytes;
    });
    child.stdin.on("error", () => {});
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${program}: ${problem.trim().split("\n")[0] || `status ${code}`}`));
    });
    child.stdin.end(input);
  });
}
