import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Overlay } from "../../worker/api.ts";
import { encodeCpio } from "../../worker/format/cpio.ts";
import type { FileTree } from "../../worker/format/file-tree.ts";
import { measureMemory } from "../../worker/initramfs.ts";
import { composeTree } from "../../worker/recipe.ts";
import { defaults, ROOT, readParts } from "../machine/guest.ts";

const scratch = mkdtempSync(join(tmpdir(), "smart-os-memory-"));
const machines: ChildProcess[] = [];
afterAll(() => {
  for (const machine of machines) machine.kill("SIGKILL");
  rmSync(scratch, { recursive: true, force: true });
});

const MIB = 1024 * 1024;
const MEMORY_MB = 64;

function withOneFile(megabytes: number): FileTree {
  return composeTree(readParts(), defaults, [
    { path: "/big", kind: "file", mode: 0o644, content: new Uint8Array(megabytes * MIB) },
  ]);
}

function withManyFiles(count: number): FileTree {
  const overlay = Array.from({ length: count }, (_, index): Overlay[number] => ({
    path: `/many/${index}`,
    kind: "file",
    mode: 0o644,
    content: new Uint8Array(1),
  }));
  return composeTree(readParts(), defaults, overlay);
}

/** Whether the kernel unpacks a tree; the rest of the boot does not matter here. */
function unpacks(tree: FileTree): Promise<boolean> {
  const archive = join(scratch, "initramfs.cpio");
  writeFileSync(archive, encodeCpio(tree));
  const words = ["-m", String(MEMORY_MB), "-kernel", join(ROOT, "public/system/bzImage"), "-initrd", archive];
  const rest = [
    "-append",
    "console=ttyS0 panic=-1",
    "-nodefaults",
    "-display",
    "none",
    "-serial",
    "stdio",
    "-no-reboot",
  ];
  const machine = spawn("qemu-system-i386", [...words, ...rest], { stdio: ["ignore", "pipe", "pipe"] });
  machines.push(machine);
  return new Promise((resolve, reject) => {
    let output = "";
    const look = (bytes: Buffer): void => {
      output += bytes.toString("latin1");
      const isUnpacked = output.includes("Run /init as init process");
      const failed = /Initramfs unpacking failed|Kernel panic|Out of memory/.test(output);
      if (!isUnpacked && !failed) return;
      machine.kill("SIGKILL");
      resolve(!failed);
    };
    machine.stdout.on("data", look);
    machine.stderr.on("data", look);
    machine.on("error", reject);
    machine.on("exit", () => reject(new Error(`QEMU ended:\n${output.slice(-2000)}`)));
  });
}

describe("the memory bound judged by the kernel", () => {
  // Found by measureMemory itself: the largest that it lets pass, and one tenth more than that.
  const largest = (fits: (amount: number) => boolean, step: number): number => {
    let amount = step;
    while (fits(amount + step)) amount += step;
    return amount;
  };
  const fits = (tree: FileTree): boolean => measureMemory(tree).neededMb <= MEMORY_MB;

  it("lets pass one large file that unpacks, and refuses one that does not", async () => {
    const megabytes = largest((amount) => fits(withOneFile(amount)), 1);
    expect(await unpacks(withOneFile(megabytes))).toBe(true);
    expect(await unpacks(withOneFile(Math.ceil(megabytes * 1.1)))).toBe(false);
  });

  it("lets pass many small files that unpack, and refuses those that do not", async () => {
    const count = largest((amount) => fits(withManyFiles(amount)), 250);
    expect(await unpacks(withManyFiles(count))).toBe(true);
    expect(await unpacks(withManyFiles(Math.ceil(count * 1.15)))).toBe(false);
  });
});
