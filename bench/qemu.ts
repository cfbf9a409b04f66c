/** The baseline of boots: QEMU (TCG) with the same kernel and the same files. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { ROOT } from "../test/machine/guest.ts";
import { DEFAULT_COMMAND_LINE } from "../web/project.ts";

/** Milliseconds from the start of the process to the first prompt. */
export async function bootQemu(initramfs: string): Promise<number> {
  const startedAt = performance.now();
  const qemu = spawn("qemu-system-i386", [
    ...["-m", "128", "-nographic", "-no-reboot", "-kernel", join(ROOT, "public/system/bzImage"), "-initrd", initramfs],
    ...["-append", DEFAULT_COMMAND_LINE, "-nic", "none", "-accel", "tcg"],
  ]);
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
