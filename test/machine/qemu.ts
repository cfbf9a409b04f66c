/** QEMU with the guest's serial line in hand: the judge of whether an image boots. */
import { spawn } from "node:child_process";
import { expect } from "vitest";

export interface Qemu {
  /** Resolves when the shell has prompted. */
  prompt(): Promise<void>;
  /** Types a command and gives all that was printed since, once the answer is there. */
  run(command: string, answer: RegExp): Promise<string>;
  /** Resolves when the guest has switched the machine off. */
  powerOff(): Promise<void>;
  kill(): void;
}

/** @param words say what it boots from */
export function startQemu(words: readonly string[]): Qemu {
  const common = ["-m", "128", "-nographic", "-no-reboot", "-nic", "none", "-accel", "tcg"];
  const qemu = spawn("qemu-system-i386", [...common, ...words]);
  let output = "";
  const listen = (bytes: Buffer): void => {
    output += bytes.toString();
  };
  qemu.stdout.on("data", listen);
  qemu.stderr.on("data", listen);
  return {
    prompt: () => expect.poll(() => output, { timeout: 90_000 }).toContain("\u001b]133;A"),
    async run(command, answer) {
      const start = output.length;
      qemu.stdin.write(`${command}\n`);
      await expect.poll(() => output.slice(start), { timeout: 30_000 }).toMatch(answer);
      return output.slice(start);
    },
    async powerOff() {
      qemu.stdin.write("poweroff\n");
      await expect.poll(() => qemu.exitCode, { timeout: 30_000 }).toBe(0);
    },
    kill: () => void qemu.kill("SIGKILL"),
  };
}
