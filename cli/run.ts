/**
 * `smart-os run`: a project in v86, or the saved machine that came with it, in this terminal or for one command. What it
 * writes to its disks is not kept.
 */
import { readEmulator } from "../tools/emulator.ts";
import { type Agent, createAgent } from "../web/agent.ts";
import { type BootWatch, createBootWatch } from "../web/boot.ts";
import type { DriveDevice } from "../web/drives.ts";
import { unpackKernel } from "../web/kernel.ts";
import { type Machine, type MachineOptions, startMachine } from "../web/machine.ts";
import { wakeUp } from "../web/snapshot-wake.ts";
import { streamOf } from "../worker/format/disk-stream.ts";
import { buildSystemDisk, initramfsOf } from "./build.ts";
import type { Options } from "./main.ts";
import { memoryDrive } from "./memory-drive.ts";
import { CliError, messageOf, UsageError } from "./problem.ts";
import { type LoadedProject, loadProject } from "./project.ts";
import { openSavedMachine, type SavedMachine } from "./saved-machine.ts";
import { readSystem } from "./system.ts";

const TIMEOUT_S = "120";
/** The guest did not start, as with `docker run`. */
const NOT_STARTED = 125;
/** Ctrl+], which leaves telnet as well. */
const LEAVE = 0x1d;
const DRIVES = ["sda", "sdb", "sdc", "sdd"] as const;
/** A system in memory is not replaced by one on a disk. */
const STAY_IN_MEMORY = "root=/dev/ram0";
/** Keeps a disk's place where there is none. */
const PLACE_BYTES = 1024 * 1024;

interface Guest {
  machine: Machine;
  agent: Agent;
  watch: BootWatch;
  /** Resolves when the machine has ended: switched off, or panicked. */
  ended: Promise<void>;
}

export async function run(words: string[], options: Options): Promise<number> {
  if (words.length > 1) throw new UsageError(`Cannot run ${words.length} projects at once: name one`);
  const mode = options.boot ?? "cold";
  if (mode !== "cold" && mode !== "disk") throw new UsageError(`Cannot boot ${mode}: --boot takes cold or disk`);
  const seconds = Number(options.timeout ?? TIMEOUT_S);
  if (!(seconds > 0)) throw new UsageError(`Cannot wait ${options.timeout} seconds: --timeout takes a number above 0`);
  const loaded = await loadProject(words[0], options.kernel);
  const guest = await startOrGoOn(loaded, mode, options)
    .catch((error: unknown) => {
      throw new CliError(messageOf(error), NOT_STARTED);
    })
    .finally(() => loaded.close());
  const { command } = options;
  try {
    return command === undefined ? await attach(guest) : await runCommand(guest, command, seconds * 1000);
  } finally {
    guest.agent.stop("the machine was switched off");
    await guest.machine.stop();
  }
}

/** A saved machine goes on, unless the user says how to boot. */
async function startOrGoOn(loaded: LoadedProject, mode: "cold" | "disk", options: Options): Promise<Guest> {
  const isFresh = options.fresh || options.boot !== undefined || options.kernel !== undefined;
  const saved = isFresh
    ? null
    : await openSavedMachine(loaded.extras).catch((error: unknown) => {
        console.error(`Cannot go on with the saved machine: ${messageOf(error)}. The project boots instead.`);
        return null;
      });
  return saved ? goOn(saved, options) : boot(loaded, mode, options);
}

async function goOn({ record, state, disks }: SavedMachine, options: Options): Promise<Guest> {
  const { run, terminal } = record;
  const drives: (DriveDevice | null)[] = DRIVES.map(() => null);
  for (const { slot, content } of disks) drives[slot] = await memoryDrive(content);
  if (options.command === undefined) process.stdout.write(terminal);
  const watch = createBootWatch({ timeline: run.timeline, promptMs: run.promptMs });
  const guest = await startGuest(options, watch, {
    ...{ start: { state }, drives: await withoutGaps(drives), memoryMb: run.memoryMb, card: run.card },
  });
  guest.agent.adopt(run.commands);
  // A bundle's machine goes on more than once. What it answers comes before what the user asks for.
  void wakeUp(guest.agent.run, true);
  return guest;
}

async function boot(loaded: LoadedProject, mode: "cold" | "disk", options: Options): Promise<Guest> {
  const { project } = loaded;
  const drives = await plug(loaded, mode);
  // One of the project's own unpacks itself.
  const kernel = project.kernel?.content ?? readSystem("bzImage");
  const unpackedKernel = project.kernel ? null : unpackKernel(kernel);
  const initramfs = mode === "cold" ? await initramfsOf(project, "none") : null;
  const hasDrive = drives.some((drive) => drive !== null);
  const commandLine = hasDrive ? `${project.commandLine} ${STAY_IN_MEMORY}` : project.commandLine;
  return startGuest(options, createBootWatch(), {
    start: initramfs && { kernel, unpackedKernel, initramfs, commandLine },
    drives,
    memoryMb: project.memoryMb,
    card: project.network.card ?? "virtio",
  });
}

async function startGuest(
  options: Options,
  watch: BootWatch,
  parts: Pick<MachineOptions, "start" | "drives" | "memoryMb" | "card">,
): Promise<Guest> {
  const output = options.command === undefined ? process.stdout : options.verbose ? process.stderr : null;
  const startedAt = performance.now();
  const elapsed = (): number => performance.now() - startedAt;
  const decoder = new TextDecoder();
  let end = (): void => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const agent = createAgent((bytes) => machine.sendChannel(bytes));
  const machine: Machine = await startMachine({
    emulator: await WebAssembly.compile(readEmulator()),
    bios: readSystem("bios.bin"),
    vgaBios: readSystem("vgabios.bin"),
    ...parts,
    screen: null,
    onSerial(bytes) {
      output?.write(bytes);
      watch.serial(decoder.decode(bytes, { stream: true }), elapsed());
      if (watch.failure || watch.end) end();
    },
    onChannel: (bytes) => agent.receive(bytes),
    onFrame: () => {},
    onBios: (line) => watch.bios(line, elapsed()),
    onHalt: end,
  });
  return { machine, agent, watch, ended };
}

/** The disks of the bundle on their drives; a system disk is built when it is to boot from one and there is none. */
async function plug({ project, disks }: LoadedProject, mode: "cold" | "disk"): Promise<(DriveDevice | null)[]> {
  const drives = await Promise.all(
    DRIVES.map(async (drive) => {
      const disk = project.disks.find((one) => one.drive === drive);
      const content = disk && disks.get(disk.id);
      return content ? memoryDrive(content) : null;
    }),
  );
  if (mode === "disk" && drives[0] === null) drives[0] = await memoryDrive(streamOf(await buildSystemDisk(project)));
  return withoutGaps(drives);
}

/** Linux names drives in the order in which they are there. */
function withoutGaps(drives: readonly (DriveDevice | null)[]): Promise<(DriveDevice | null)[]> {
  const last = drives.findLastIndex((drive) => drive !== null);
  return Promise.all(
    drives.map((drive, at) => (drive || at > last ? drive : memoryDrive({ size: PLACE_BYTES, extents: () => [] }))),
  );
}

async function runCommand({ agent, watch, ended }: Guest, command: string, timeoutMs: number): Promise<number> {
  const deadline = performance.now() + timeoutMs;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the guest was not ready within ${timeoutMs / 1000} s`)), timeoutMs);
  });
  const gone = ended.then((): never => {
    throw new Error(watch.failure ? "the guest did not come up" : "the guest was switched off");
  });
  // Whoever waits for it gets the rejection; nobody waiting is no fault.
  gone.catch(() => {});
  try {
    await Promise.race([agent.ready, late, gone]);
    const { status, output } = await Promise.race([
      agent.run(command, Math.max(1, deadline - performance.now())),
      gone,
    ]);
    process.stdout.write(output);
    return status;
  } catch (error) {
    const lines = watch.lastLines(10).join("\n");
    throw new CliError(`Cannot run ${command}: ${messageOf(error)}. The guest's last lines:\n${lines}`, NOT_STARTED);
  } finally {
    clearTimeout(timer);
  }
}

/** The terminal is the guest's serial line until the guest switches itself off, or Ctrl+] is typed. */
async function attach({ machine, agent, watch, ended }: Guest): Promise<number> {
  const { stdin, stdout } = process;
  const tell = (): void => {
    if (stdout.isTTY) agent.resize("ttyS0", { columns: stdout.columns, rows: stdout.rows });
  };
  let leave = (): void => {};
  const left = new Promise<void>((resolve) => {
    leave = resolve;
  });
  tell();
  stdout.on("resize", tell);
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.on("data", (bytes: Buffer) => {
    if (stdin.isTTY && bytes.includes(LEAVE)) leave();
    else machine.sendSerial(bytes);
  });
  await Promise.race([ended, left]);
  if (stdin.isTTY) stdin.setRawMode(false);
  stdin.removeAllListeners("data");
  stdin.pause();
  stdout.off("resize", tell);
  stdout.write("\r\n");
  return watch.failure ? NOT_STARTED : 0;
}
