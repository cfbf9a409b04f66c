/** The baseline of boots: QEMU (TCG) with the same kernel and the same files. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { ROOT } from "../test/machine/guest.ts";
import { DEFAULT_COMMAND_LINE } from "../web/project.ts";

/** Milliseconds from the start of the process to the first prompt, with kernel and initramfs handed over. */
export function bootQemu(initramfs: string): Promise<number> {
  const kernel = join(ROOT, "public/system/bzImage");
  return timePrompt(["-kernel", kernel, "-initrd", initramfs, "-append", DEFAULT_COMMAND_LINE]);
}

/** The same from a disk, to which nothing is written. */
export function bootQemuDisk(image: string): Promise<number> {
  return timePrompt(["-snapshot", "-hda", image]);
}

async function timePrompt(start: string[]): Promise<number> {
  const startedAt = performance.now();
  const machine = ["-m", "128", "-nographic", "-no-reboot", "-nic", "none", "-accel", "tcg"];
  const qemu = spawn("qemu-system-i386", [...machine, ...start]);
  let output = "";
  const ms = await new Promise<number>((resolve, reject) => {
    qemu.on("error", reject);
    qemu.stdout.on("data", (bytes: Buffer) => {
      output += bytes.toString();
      if (output.includes("\u001b]133;A")) resolve(performance.now() - startedAt);
    });
    setTimeout(() => reject(new Error(`QEMU came to no prompt:\n${output.slice(-1000)}`)), 60_000).unref();
  });
  qemu.kill("SIGKILL");
  return ms;
}
