/**
 * Warm and cold boots of the same projects end in the same system. Each project is booted both ways; the guest itself
 * lists what it is. What cannot be the same is listed in docs/boot.md.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { STATE_SIZES_MB } from "../../tools/states.ts";
import type { Overlay } from "../../worker/api.ts";
import { bootGuest, buildTestInitramfs, type Guest } from "./guest.ts";
import { memoryDrive } from "./memory-drive.ts";
import { file, gone, PROJECTS } from "./projects.ts";
import { COMMAND_LINE, deliverAll, makeTestState } from "./warm.ts";

const MIB = 1024 * 1024;
const WITH_OTHERS = PROJECTS.map((project, index) => ({ ...project, before: PROJECTS.at(index - 1)?.overlay ?? [] }));
let state: Uint8Array;

/** Paths, kinds, modes, owners, links and contents of everything in the root file system; times of all but directories. */
const FILES = `find / -xdev ! -type d -exec stat -c '%n %F %a %u %g %t:%T %N %s %Y' {} + | grep -v -E '^/(var/log/messages|etc/resolv.conf)' | sort
find / -xdev -type d -exec stat -c '%n %F %a %u %g' {} + | sort
find / -xdev -type f -exec md5sum {} + | grep -v -E ' /(var/log/messages|etc/resolv.conf)' | sort -k2`;
/**
 * What the kernel tells of itself and of process 1. Signals that it blocks change whenever it is told of a child's end;
 * nice becomes what it starts, and where that is gone, comes and goes again once a second; so does the init that is about to
 * become nice, beside the one that waits for Enter on the second screen. What has ended init notices within a second.
 */
const SYSTEM = `cat /proc/cmdline /proc/mounts; tr '\\0' ' ' </proc/1/cmdline; tr '\\0' '\\n' </proc/1/environ
ls -l /proc/1/fd | sed 's/.*:[0-9]* //'; grep -v -E 'processes|pending' /proc/1/limits; grep -E 'Umask|FDSize|Cap|Sig[^BQ]|Uid|Groups|NoNew|Seccomp' /proc/1/status; readlink /proc/1/exe /proc/1/cwd /proc/1/root
ps -o stat,ppid,args | sed -n '/^Z/!s/^[^ ]* *//p' | grep -v -E 'kworker|ps -o|sh -c|nice -n|udhcpc|mdev|agent|network|grep|sort|sed|awk' | sed 's/^ *//' | sort | awk '$0 != "1 init" || !seen++'
netstat -ltun 2>/dev/null | sort; cut -d' ' -f1 /proc/modules | sort; hostname; cat /proc/swaps /proc/partitions | sort; cat /sys/class/net/eth0/mtu
for port in 1344 1348; do grep -c "$port" /proc/ioports; done; cat /proc/sys/kernel/tainted; ls /dev /sys/block`;

async function settle(guest: Guest): Promise<void> {
  await guest.until(
    () => guest.watch.promptMs !== null || guest.watch.failure !== null || guest.trouble !== null,
    "prompt",
    120_000,
  );
  expect(guest.watch.failure).toBeNull();
  expect(guest.trouble).toBeNull();
}

/** @param ahead what the machine has been handed before, one after the other, while it was waiting */
async function boot(
  overlay: Overlay,
  isWarm: boolean,
  drives: readonly Uint8Array[] = [],
  ahead: readonly Overlay[] = [],
): Promise<Guest> {
  const options = {
    memoryMb: 128,
    commandLine: COMMAND_LINE,
    drives: drives.map((bytes) => memoryDrive(bytes.slice())),
  };
  const deliveries = isWarm ? deliverAll([...ahead, overlay], 128) : [];
  const guest = await bootGuest(
    isWarm
      ? { ...options, warm: { state, deliveries } }
      : { ...options, initramfs: await buildTestInitramfs(overlay, 128) },
  );
  await settle(guest);
  return guest;
}

async function run(guest: Guest, command: string): Promise<string> {
  return (await guest.agent.run(command, 180_000)).output.trim();
}

/**
 * Warm boots and a cold one at the end of their start-up: all that comes after the prompt is done.
 * @param before a project whose files the second warm machine is handed ahead, and then those of this one
 */
async function both(
  overlay: Overlay,
  command: string,
  drives: readonly Uint8Array[] = [],
  before: Overlay | null = null,
): Promise<{ warm: string; cold: string; ahead: string | undefined }> {
  const outputs: string[] = [];
  const ways: [isWarm: boolean, ahead: readonly Overlay[]][] = [
    [true, []],
    [false, []],
  ];
  if (before) ways.push([true, [overlay.slice(0, 1), before, [], overlay]]);
  for (const [isWarm, ahead] of ways) {
    const guest = await boot(overlay, isWarm, drives, ahead);
    // The last thing that start-up does is to name the kernel's helper for new devices.
    await run(guest, "until grep -q mdev /proc/sys/kernel/hotplug && ! pgrep -f '[i]nit.d/late'; do sleep 0.4; done");
    // How large a tmpfs may be depends on how much memory the archive took when it was mounted.
    outputs.push((await run(guest, command)).replace(/size=\d+k,nr_inodes=\d+/g, "size"));
    await guest.machine.stop();
  }
  const [warm = "", cold = "", ahead] = outputs;
  return { warm, cold, ahead };
}

describe("warm and cold boots", () => {
  beforeAll(async () => {
    state = await makeTestState(128);
  }, 240_000);

  it.each(WITH_OTHERS)("are the same system: $name", { timeout: 400_000 }, async ({ overlay, shows, before }) => {
    const dates = overlay.flatMap((entry) => (entry.kind === "directory" && entry.mtime ? ["/srv", entry.path] : []));
    const command = `${FILES}; ${SYSTEM}; stat -c '%n %Y' /init ${dates.join(" ")}`;
    const { warm, cold, ahead } = await both(overlay, command, [], before);
    expect(warm).toBe(cold);
    expect(ahead).toBe(cold);
    expect(warm).toMatch(shows ?? /^\/init regular file/m);
  });

  it("keep nothing of what was handed ahead and is not wanted", { timeout: 60_000 }, async () => {
    const secret = `secret ${crypto.randomUUID()} `.repeat(100_000);
    const ahead: Overlay[] = [[file("/srv/large", secret), file("/srv/small", secret.slice(0, 100))], []];
    const guest = await boot([], true, [], ahead);
    await guest.machine.pause();
    const memory = Buffer.from(await guest.machine.save());
    expect(memory.includes(secret.slice(0, 50))).toBe(false);
    await guest.machine.stop();
  });

  it("name the same disks, with their partitions, when there are some", async () => {
    const table = new Uint8Array(4 * MIB);
    // One partition of 1 MiB from sector 2048 on.
    table.set([0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0], 446);
    table.set([0x55, 0xaa], 510);
    const probe =
      "cat /proc/cmdline; grep sd /proc/partitions | sort; ls -l /dev/sd* | sed 's/ [A-Z].*:.. / /' ; grep ' / ' /proc/mounts";
    const { warm, cold } = await both([], `${probe}; mke2fs /dev/sdb >/dev/null && mount /dev/sdb /mnt && echo ok`, [
      table,
      new Uint8Array(2 * MIB),
    ]);
    expect(warm).toBe(cold);
    expect(warm).toContain("sda1");
  }, 240_000);

  it("have the time of day and nothing in common that must be new at each boot", async () => {
    const probe = `cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | md5sum; cat /sys/class/net/eth0/address; mktemp -u; date +%s`;
    const seen: string[][] = [];
    for (let turn = 0; turn < 2; turn += 1) {
      const guest = await boot([], true);
      const lines = (await run(guest, probe)).split("\n");
      expect(Math.abs(Number(lines.pop()) - Date.now() / 1000)).toBeLessThan(2);
      seen.push(lines);
      await guest.machine.stop();
    }
    for (const [index, value] of (seen[0] as string[]).entries()) expect(value).not.toBe(seen[1]?.[index]);
  }, 240_000);

  it("are as old as they have run, however long the machine has waited between its files", async () => {
    // This clock is the emulator's, and it must not show through.
    await new Promise((resolve) => setTimeout(resolve, 10_000 - performance.now()));
    const uptimes: number[] = [];
    for (const ahead of [[], [[file("/srv/first", "1")], [file("/srv/second", "2")]]]) {
      const guest = await boot([], true, [], ahead);
      uptimes.push(Number((await run(guest, "cat /proc/uptime")).split(" ")[0]));
      await guest.machine.stop();
    }
    const [direct = 0, ahead] = uptimes;
    expect(direct).toBeGreaterThan(0);
    expect(ahead).toBeLessThan(direct + 4);
  });

  it.each(STATE_SIZES_MB)(
    "begin in memory of which the kernel never had too little: %i MB",
    { timeout: 240_000 },
    async (memoryMb) => {
      // kswapd sleeps from its start on, unless a block of pages has to serve another purpose or memory runs short. What is
      // asked for then is only there if kswapd is given the processor first, which depends on the clock.
      const probe = "grep ^voluntary /proc/$(pgrep kswapd0)/status; sed -n '/boost/p;/^Node.*Movable/q' /proc/zoneinfo";
      const made = await makeTestState(memoryMb);
      const deliveries = deliverAll([[]], memoryMb);
      const outputs: string[] = [];
      for (const source of [
        { warm: { state: made, deliveries } },
        { commandLine: COMMAND_LINE, initramfs: await buildTestInitramfs([], memoryMb) },
      ]) {
        const guest = await bootGuest({ ...source, memoryMb });
        await settle(guest);
        outputs.push(await run(guest, probe));
        await guest.machine.stop();
      }
      expect(outputs[0]).toMatch(/^voluntary_ctxt_switches:\s\d+\s+boost\s+0$/);
      expect(outputs[0]).toBe(outputs[1]);
    },
  );

  it("cannot be made when the kernel panics, which is told in its whole sentence", { timeout: 240_000 }, async () => {
    const making = makeTestState(64, new TextEncoder().encode("#!/bin/sh\nexit 3\n"));
    await expect(making).rejects.toThrow(
      /^Cannot make the state of a warm boot: Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300\n.*\n/,
    );
  });

  it("say when the first program cannot be run, so that a cold boot may show why", async () => {
    for (const overlay of [
      [gone("/init")],
      [file("/init", "#!/bin/none\n", 0o755)],
      [file("/init", "echo\n", 0o644)],
    ]) {
      const guest = await bootGuest({ warm: { state, deliveries: deliverAll([overlay as Overlay], 128) } });
      await guest.until(() => guest.trouble !== null, "word of trouble");
      expect(guest.trouble).toMatch(/^run \/init: error \d+$/);
      await guest.machine.stop();
    }
  }, 120_000);

  afterAll(() => {
    state = new Uint8Array(0);
  });
});
