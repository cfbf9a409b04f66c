import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DEFAULT_COMMAND_LINE } from "../../web/project.ts";
import type { Overlay } from "../../worker/api.ts";
import { bootGuest, buildTestInitramfs, type Guest, ROOT } from "./guest.ts";

const file = (path: string, text: string, mode = 0o755): Overlay[number] => ({
  path,
  kind: "file",
  mode,
  content: new TextEncoder().encode(text),
});

async function bootToPrompt(
  overlay: Overlay = [],
  options: { memoryMb?: number; commandLine?: string } = {},
): Promise<Guest> {
  const guest = await bootGuest({ initramfs: await buildTestInitramfs(overlay, options.memoryMb), ...options });
  await guest.until(() => guest.watch.promptMs !== null || guest.watch.failure !== null, "prompt", 60_000);
  expect(guest.watch.failure).toBeNull();
  return guest;
}

describe("smart-os in v86", () => {
  let guest: Guest;
  const run = async (command: string): Promise<string> => {
    const { status, output } = await guest.agent.run(command, 20_000).catch(async (error: Error) => {
      throw new Error(`${error.message}; meanwhile: ${await whatRuns()}`);
    });
    expect(status, `${command}: ${output}`).toBe(0);
    return output.trim();
  };

  /** What a guest is at that does not answer, as its terminal shows it. */
  const whatRuns = async (): Promise<string> => {
    const before = guest.output().length;
    guest.machine.sendSerial(
      new TextEncoder().encode("ps -o pid,ppid,nice,stat,args | grep -v '\\['; cat /proc/uptime; echo ma''de\r"),
    );
    await guest.until(() => guest.output().slice(before).includes("\nmade"), "its processes").catch(() => {});
    return guest.output().slice(before);
  };

  beforeAll(async () => {
    guest = await bootToPrompt();
  });
  afterAll(() => guest.machine.stop());

  it("is i686 with init as process 1", async () => {
    expect(await run("uname -m; cat /proc/1/comm")).toBe("i686\ninit");
  });

  it("passed every phase in order", () => {
    expect(guest.watch.timeline.map(({ phase }) => phase)).toEqual([
      "bios",
      "kernel",
      "initramfs",
      "init-scripts",
      "shell",
    ]);
    for (const { phase, messages } of guest.watch.timeline)
      if (phase !== "shell") expect(messages.length, phase).toBeGreaterThan(0);
  });

  it("shows what is typed once: whatever starts after the shell leaves its terminal alone", async () => {
    // The agent is among what starts last.
    await run("true");
    const before = guest.output().length;
    guest.machine.sendSerial(new TextEncoder().encode("echo ty''ped\r"));
    await guest.until(() => guest.output().slice(before).includes("\ntyped"), "answer");
    expect(
      guest
        .output()
        .slice(before)
        .match(/echo ty''ped/g),
    ).toEqual(["echo ty''ped"]);
  });

  it("starts programs with the usual priority, and has it itself once they are there", async () => {
    const nice = "nice() { set -- $(sed 's/.*) //' /proc/$1/stat); shift 16; echo $1; }";
    expect(await run(`${nice}; while [ $(nice 1) != 0 ]; do sleep 0.1; done; nice $(pidof -s -- -sh); nice 1`)).toBe(
      "0\n0",
    );
    expect(await run(`${nice}; nice $(pidof syslogd)`)).toBe("19");
  });

  it("sleeps as long as it is asked to", async () => {
    const startedAt = performance.now();
    await run("sleep 1");
    expect(performance.now() - startedAt).toBeGreaterThan(900);
  });

  it("has the time of day", async () => {
    expect(Math.abs(Number(await run("date +%s")) - Date.now() / 1000)).toBeLessThan(5);
  });

  it("mounts what its fstab says, once each", async () => {
    const mounts = (await run("cut -d' ' -f2 /proc/mounts")).split("\n");
    expect(mounts).toEqual(["/", "/dev", "/proc", "/sys", "/dev/pts", "/dev/shm", "/run", "/tmp"]);
    expect(await run("stat -c %a /tmp /root /etc/shadow")).toBe("1777\n700\n600");
  });

  it("loads drivers from the initramfs, and a file system with one", async () => {
    for (const module of ["ne2k-pci", "vfat", "isofs", "loop", "brd"]) await run(`modprobe ${module}`);
    expect(await run("lsmod | cut -d' ' -f1 | sort | tr '\\n' ' '")).toMatch(/brd .*isofs .*loop .*ne2k_pci .*vfat/);
    await run(
      "dd if=/dev/zero of=/tmp/fat bs=1k count=1024 2>/dev/null && mkfs.vfat /tmp/fat && mount -o loop /tmp/fat /mnt && echo x >/mnt/y && umount /mnt",
    );
    await run("mke2fs -q /dev/ram0 512 && mount /dev/ram0 /mnt && umount /mnt");
  });

  it("has NAT, ptys, swap and 9p", async () => {
    await run("modprobe nf_tables && modprobe nft_masq && modprobe nft_chain_nat");
    expect(await run("cat /proc/filesystems")).toMatch(/\t9p\n[\s\S]*|ext4/);
    expect(await run("grep -c devpts /proc/filesystems")).toBe("1");
    await run("dd if=/dev/zero of=/swap bs=1k count=512 2>/dev/null && mkswap /swap >/dev/null && test -e /proc/swaps");
  });

  it("gives the exit status, both outputs in order, and binary-clean text", async () => {
    expect(await guest.agent.run("echo out; echo err >&2; printf 'ü\\n'; exit 42", 5000)).toEqual({
      status: 42,
      output: "out\nerr\nü\n",
    });
    expect((await guest.agent.run("head -c 300000 /dev/zero | tr '\\0' x", 20_000)).output).toBe("x".repeat(300_000));
    // Longer than one buffer of the console.
    const long = "y".repeat(20_000);
    expect((await guest.agent.run(`printf %s ${long} | wc -c`, 20_000)).output.trim()).toBe("20000");
  });

  it("kills what takes too long with all its children, and goes on", async () => {
    await expect(guest.agent.run("sleep 1000 & sleep 1000", 300)).rejects.toThrow("did not end within 300 ms");
    expect(await run("ps -o args | grep -c '^sleep 1000' || true")).toBe("0");
  });

  it("survives the agent's own death", async () => {
    await guest.agent.run("pkill -9 -f smart-os/agent", 2000).catch(() => {});
    expect(await run("echo again")).toBe("again");
  });

  it("leaves the user's terminal alone while commands run", async () => {
    const before = guest.output().length;
    await run("echo this is not for the terminal");
    expect(guest.output().slice(before)).toBe("");
  });

  it("has a shell with job control: ^C, ^Z, and the terminal's size", async () => {
    const type = (text: string): void => guest.machine.sendSerial(new TextEncoder().encode(text));
    const from = guest.output().length;
    const seen = (pattern: RegExp): boolean => pattern.test(guest.output().slice(from));
    guest.agent.resize("ttyS0", { columns: 101, rows: 33 });
    type("sleep 500\r");
    await guest.until(() => seen(/sleep 500\r?\n/), "echo");
    await new Promise((resolve) => setTimeout(resolve, 300));
    type("\u0003");
    type("echo in''terrupted $?; stty size\r");
    await guest.until(() => seen(/interrupted 130/) && seen(/33 101/), "answer to ^C");
    type("sleep 600\r");
    await new Promise((resolve) => setTimeout(resolve, 500));
    type("\u001a");
    await guest.until(() => seen(/Stopped +sleep 600/), "stopped job");
    type("kill %1; tty; echo $TERM\r");
    await guest.until(() => seen(/\/dev\/ttyS0/) && seen(/xterm-256color/), "tty name");
  });

  it("has every applet linked, and a sound set of accounts", async () => {
    expect(
      await run("for l in $(busybox --list | grep -v linuxrc); do command -v $l >/dev/null || echo missing $l; done"),
    ).toBe("");
    expect(await run("id -un; hostname; cat /etc/shadow | cut -d: -f1,2 | head -n1")).toBe("root\nsmart-os\nroot:");
  });
});

describe("projects in v86", () => {
  it("have what their fstab says when /init mounts less of it", async () => {
    const guest = await bootToPrompt([file("/init", "#!/bin/sh\nmount -t devtmpfs dev /dev\nexec /sbin/init\n")]);
    const { output } = await guest.agent.run("cut -d' ' -f2 /proc/mounts", 20_000);
    expect(output.trim().split("\n")).toEqual(["/", "/dev", "/proc", "/sys", "/dev/pts", "/dev/shm", "/run", "/tmp"]);
    await guest.machine.stop();
  });

  it("runs the project's own rc.local, and replaces an applet by a file", async () => {
    const guest = await bootToPrompt([
      file("/etc/init.d/rc.local", "#!/bin/sh\ntouch /tmp/marker\n"),
      file("/usr/bin/cal", "#!/bin/sh\necho my own\n"),
      { path: "/usr/bin/bc", kind: "deleted" },
    ]);
    expect(await guest.agent.run("ls /tmp/marker; cal; command -v bc", 10_000)).toEqual({
      status: 127,
      output: "/tmp/marker\nmy own\n",
    });
    await guest.machine.stop();
  });

  it("asks for the password that /etc/shadow holds", async () => {
    // "secret" with SHA-512 and a fixed salt, from mkpasswd.
    const hash = "$1$smartos$";
    const plain = await bootToPrompt();
    const { output } = await plain.agent.run("mkpasswd -m md5 -S smartos1 secret", 10_000);
    await plain.machine.stop();
    expect(output).toContain(hash.slice(0, 3));
    const guest = await bootToPrompt([file("/etc/shadow", `root:${output.trim()}:19700:0:99999:7:::\n`, 0o600)]);
    const type = (text: string): void => guest.machine.sendSerial(new TextEncoder().encode(text));
    await guest.until(() => /login: $/.test(guest.output()), "login prompt");
    type("root\r");
    await guest.until(() => /Password: $/.test(guest.output()), "password prompt");
    type("wrong\r");
    await guest.until(() => /incorrect/.test(guest.output()), "refusal");
    await guest.until(() => /login: $/.test(guest.output()), "second login prompt");
    type("root\r");
    await guest.until(() => /Password: $/.test(guest.output()), "second password prompt");
    type("secret\r");
    await guest.until(() => /root@smart-os/.test(guest.output()), "shell");
    await guest.machine.stop();
  });

  it.each([
    ["an /init that ends", [file("/init", "#!/bin/sh\nexit 1\n")], "initramfs", /Attempted to kill init/],
    ["no /init at all", [{ path: "/init", kind: "deleted" }], "kernel", /root/i],
  ] as [string, Overlay, string, RegExp][])("tells of %s", async (_, overlay, phase, words) => {
    const guest = await bootGuest({ initramfs: await buildTestInitramfs(overlay) });
    await guest.until(() => guest.watch.failure !== null, "panic", 60_000);
    expect(guest.watch.failure?.phase).toBe(phase);
    expect(guest.watch.failure?.text).toMatch(words);
    await guest.machine.stop();
  });

  it.each([32, 64, 256])("boots with %d MB of memory", async (memoryMb) => {
    const guest = await bootToPrompt([], { memoryMb });
    const { output } = await guest.agent.run("free -m | awk '/Mem/ {print $2}'", 10_000);
    expect(Number(output)).toBeGreaterThan(memoryMb * 0.4);
    await guest.machine.stop();
  });

  it.each([
    ["poweroff", "powered-off"],
    ["reboot", "restarting"],
  ])("%s ends the machine", async (command, end) => {
    const guest = await bootToPrompt();
    guest.machine.sendSerial(new TextEncoder().encode(`${command}\r`));
    await guest.until(() => guest.watch.end !== null, command, 30_000);
    expect(guest.watch.end).toBe(end);
    await guest.machine.stop();
  });
});

describe("smart-os in QEMU", () => {
  const scratch = mkdtempSync(join(tmpdir(), "smart-os-qemu-"));
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  it("reaches a shell from the same initramfs, gets an address by DHCP, and powers off", async () => {
    const initramfs = join(scratch, "initramfs.cpio");
    writeFileSync(initramfs, await buildTestInitramfs());
    const qemu = spawn("qemu-system-i386", [
      ...[
        "-m",
        "128",
        "-nographic",
        "-no-reboot",
        "-kernel",
        join(ROOT, "public/system/bzImage"),
        "-initrd",
        initramfs,
      ],
      ...["-append", DEFAULT_COMMAND_LINE, "-nic", "user,model=virtio-net-pci,restrict=on"],
    ]);
    let output = "";
    qemu.stdout.on("data", (bytes: Buffer) => {
      output += bytes.toString();
    });
    const ended = new Promise<void>((resolve) => qemu.on("exit", () => resolve()));
    const until = async (pattern: RegExp): Promise<void> => {
      const deadline = Date.now() + 60_000;
      while (!pattern.test(output)) {
        if (Date.now() > deadline) {
          qemu.kill("SIGKILL");
          throw new Error(`No ${pattern} in:\n${output.slice(-2000)}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    await until(/root@smart-os.*# /);
    qemu.stdin.write(
      "for i in 1 2 3 4 5 6 7 8 9; do ip -4 addr show eth0 | grep inet && break; sleep 1; done; uname -m\n",
    );
    await until(/inet 10\.0\.2\.15/);
    await until(/\ni686/);
    qemu.stdin.write("poweroff\n");
    await until(/reboot: (Power down|System halted)/);
    const timer = setTimeout(() => qemu.kill("SIGKILL"), 5000);
    await ended;
    clearTimeout(timer);
  });
});
