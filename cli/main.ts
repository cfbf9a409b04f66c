/** The command line: what is asked for, and what it ends with. */
import { parseArgs } from "node:util";
import { FormatError } from "../worker/format/file-tree.ts";
import { build, KINDS } from "./build.ts";
import { inspect } from "./inspect.ts";
import { CliError, messageOf, UsageError } from "./problem.ts";
import { run as runGuest } from "./run.ts";

const HELP = `smart-os: the smart-os playground's images, built, run and looked into without a browser

  npx smart-os build [PROJECT] -o FILE     makes an image; the name's ending says of which kind
  npx smart-os run [PROJECT]               boots it in this terminal (Ctrl+] leaves)
  npx smart-os inspect FILE                tells what a file is, before anything is done with it

PROJECT is a bundle (.smartos), a folder into which one was unpacked, or a folder whose files go over the default root
file system, or a kernel (bzImage), which the default system then has. Without one it is the default project.

      --kernel FILE     build and run: a bzImage in place of the project's kernel

build
  -o, --output FILE     "-" is standard output, with --format
      --format KIND     ${Object.keys(KINDS).join(", ")}
      --size MB         of the system disk; the project's own, or 64
      --file-system FS  ext2, ext3 or ext4 for the system disk; the project's own, or ext4
      --swap MB         of the system disk, for a swap partition; 0 for none; the project's own, or none
      --disk NAME       a disk of the bundle, as it is, in place of one that is built
run
      --command LINE    runs it in the guest's shell; its output and its exit status become those of smart-os
      --timeout SECONDS for boot and command; 120
      --boot MODE       cold: kernel and initramfs; disk: from the system disk, through its boot loader
      --fresh           boots although the bundle has a saved machine to go on with, as --boot and --kernel do
      --verbose         with --command: what the guest prints while it boots, on standard error
inspect
      --json            for programs

  -h, --help            this text
  -q, --quiet           no progress

Exit status: 0 done; 1 refused or failed; 2 wrong usage; run: that of the command, or 125 when the guest did not start.
`;

const OPTIONS = {
  output: { type: "string", short: "o" },
  format: { type: "string" },
  size: { type: "string" },
  "file-system": { type: "string" },
  swap: { type: "string" },
  disk: { type: "string" },
  kernel: { type: "string" },
  command: { type: "string" },
  timeout: { type: "string" },
  boot: { type: "string" },
  verbose: { type: "boolean" },
  fresh: { type: "boolean" },
  json: { type: "boolean" },
  quiet: { type: "boolean", short: "q" },
  help: { type: "boolean", short: "h" },
} as const;

export type Options = {
  -readonly [Key in keyof typeof OPTIONS]?: (typeof OPTIONS)[Key]["type"] extends "string" ? string : boolean;
};

interface Command {
  /** @returns the exit status */
  run(words: string[], options: Options): Promise<number>;
  takes: (keyof Options)[];
}

const COMMANDS: Record<string, Command> = {
  build: { run: build, takes: ["output", "format", "size", "file-system", "swap", "disk", "kernel", "quiet"] },
  run: { run: runGuest, takes: ["command", "timeout", "boot", "fresh", "kernel", "verbose", "quiet"] },
  inspect: { run: inspect, takes: ["json", "quiet"] },
};

/** @param prepare makes sure that the system is built */
export async function run(words: string[], prepare: () => void): Promise<void> {
  // A reader that has enough, as `head`, is no fault of ours.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
  process.exitCode = await answer(words, prepare).catch((error: unknown) => {
    if (error instanceof UsageError) {
      console.error(`${error.message}\nsmart-os --help tells what there is.`);
      return 2;
    }
    const isWorded = error instanceof FormatError || error instanceof CliError;
    console.error(isWorded ? error.message : error);
    return error instanceof CliError ? error.status : 1;
  });
}

async function answer(words: string[], prepare: () => void): Promise<number> {
  const [name, ...rest] = words;
  if (name === undefined || name === "-h" || name === "--help" || name === "help") {
    process.stdout.write(HELP);
    return name === undefined ? 2 : 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!command) throw new UsageError(`Cannot ${name}: the commands are ${Object.keys(COMMANDS).join(", ")}`);
  const { values, positionals } = parse(name, rest);
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const stray = (Object.keys(values) as (keyof Options)[]).find((key) => !command.takes.includes(key));
  if (stray) throw new UsageError(`Cannot ${name}: it does not take --${stray}`);
  if (name !== "inspect") prepare();
  return command.run(positionals, values);
}

function parse(name: string, words: string[]): { values: Options; positionals: string[] } {
  try {
    return parseArgs({ args: words, options: OPTIONS, allowPositionals: true }) as ReturnType<typeof parse>;
  } catch (error) {
    throw new UsageError(`Cannot ${name}: ${messageOf(error)}`);
  }
}
