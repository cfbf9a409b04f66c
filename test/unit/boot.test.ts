import { describe, expect, it } from "vitest";
import { createBootWatch, plain } from "../../web/boot.ts";

/** A watch that has seen a normal boot up to some text. */
function watch(...lines: string[]) {
  const boot = createBootWatch();
  boot.enter("bios", 0);
  let ms = 100;
  for (const line of lines) {
    boot.serial(line, ms);
    ms += 100;
  }
  return boot;
}
const phases = (boot: ReturnType<typeof createBootWatch>) => boot.timeline.map(({ phase }) => phase);

describe("the boot watch", () => {
  it("follows a boot from the BIOS to the prompt and measures each phase", () => {
    const boot = createBootWatch();
    boot.enter("build", 0);
    boot.enter("bios", 50);
    boot.bios("SeaBIOS (version 1)", 60);
    boot.bios("Booting from ROM...", 300);
    boot.serial("[    0.000000] Linux version 6.12\r\n", 400);
    boot.serial("[    0.9] Run /init as init process\r\nsmart-os: initramfs: /init\r\n", 900);
    boot.serial("smart-os: init scripts: rcS\r\nhello\r\n", 1200);
    boot.serial("\u001b]133;A\u0007root@smart-os:~# ", 1500);
    expect(boot.timeline.map(({ phase, startMs, endMs }) => [phase, startMs, endMs])).toEqual([
      ["build", 0, 50],
      ["bios", 50, 300],
      ["kernel", 300, 900],
      ["initramfs", 900, 1200],
      ["init-scripts", 1200, 1500],
      ["shell", 1500, 1500],
    ]);
    expect(boot.promptMs).toBe(1500);
    expect(boot.timeline[4]?.messages).toEqual(["smart-os: init scripts: rcS", "hello"]);
  });

  it("finds a mark that arrives in pieces", () => {
    const boot = watch("Linux version 6\n", "Run /in", "it as init process\n", "\u001b]1", "33;A", "\u0007# ");
    expect(phases(boot)).toEqual(["bios", "kernel", "initramfs", "shell"]);
  });

  it.each(["# ", "~ $ ", "smart-os login: ", "root@x:/# "])("takes %j for a prompt where none is marked", (prompt) => {
    expect(watch("Run /init as init process\n", prompt).promptMs).toBe(200);
  });

  it.each(["Starting 50% ", "[    1.0] something # not at the end", "loading... "])(
    "does not take %j for one",
    (line) => {
      expect(watch("Run /init as init process\n", line).promptMs).toBeNull();
    },
  );

  it("does not take a prompt for one before the system has started", () => {
    expect(watch("Linux version 6\n", "# ").promptMs).toBeNull();
  });

  it("reports a panic with the phase in which it came", () => {
    const boot = watch(
      "Linux version 6\n",
      "Run /init as init process\n",
      "[    1.2] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n",
    );
    expect(boot.failure).toEqual({
      kind: "init-failed",
      phase: "initramfs",
      text: "Attempted to kill init! exitcode=0x00000100",
    });
    expect(watch("Linux version 6\n", "Kernel panic - not syncing: Out of memory\n").failure?.kind).toBe("panic");
  });

  it.each([
    ["reboot: Power down", "powered-off"],
    ["reboot: System halted", "halted"],
    ["reboot: Restarting system", "restarting"],
  ])("understands %j", (line, end) => {
    expect(watch(`[   9.1] ${line}\n`).end).toBe(end);
  });

  it("never goes back a phase, whatever a program prints", () => {
    const boot = watch(
      "Linux version 6\n",
      "Run /init as init process\n",
      "smart-os: init scripts\n",
      "Linux version of my program\n",
      "smart-os: initramfs\n",
    );
    expect(phases(boot)).toEqual(["bios", "kernel", "initramfs", "init-scripts"]);
  });

  it("keeps the last lines, without escape sequences and carriage returns", () => {
    expect(watch("\u001b[31mred\u001b[0m\r\n", "\u001b]0;title\u0007plain").lastLines(5)).toEqual(["red", "plain"]);
    expect(plain("\u001b(B\u001b[?25hx\u001b[1;32my")).toBe("xy");
  });

  it("bounds what it keeps of a chatty system", () => {
    const boot = watch("Run /init as init process\n", "line\n".repeat(50_000));
    expect(boot.timeline.at(-1)?.messages.length).toBeLessThanOrEqual(2000);
  });
});
