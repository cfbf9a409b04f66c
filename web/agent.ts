/**
 * The page's side of /usr/lib/smart-os/agent: commands run in the guest on a line of their own, so that the
 * user's terminal is not disturbed. The protocol stands in that script.
 */

export interface CommandResult {
  /** Exit status of the shell: 0 to 255, 128 + n for signal n. */
  status: number;
  /** Standard output and standard error, in the order in which they were written, as UTF-8 text. */
  output: string;
}

export interface Agent {
  /** Bytes that came from the guest. */
  receive(bytes: Uint8Array): void;
  /** Resolves when the guest's agent has reported in. */
  readonly ready: Promise<void>;
  /**
   * Runs a command with the guest's `/bin/sh -c`; one after the other when several are asked for.
   * @param timeoutMs after this the command is killed and the call rejects, whatever it had printed lost.
   * @throws Error "Cannot run …" when the agent does not answer, the time is over, or the machine stops.
   */
  run(command: string, timeoutMs: number): Promise<CommandResult>;
  /** Tells the guest the size of a terminal; ignored until the agent is there, then the last one counts. */
  resize(terminal: string, size: { columns: number; rows: number }): void;
  /** Commands so far: a saved machine's agent goes on counting there. */
  readonly counted: number;
  /** The guest's agent is at work already, in a machine that was saved after so many commands: it will not report in. */
  adopt(counted: number): void;
  /** Rejects everything that waits. */
  stop(reason: string): void;
}

interface Job {
  id: string;
  command: string;
  timeoutMs: number;
  timer?: ReturnType<typeof setTimeout>;
  resolve(result: CommandResult): void;
  reject(error: Error): void;
}

/** A guest that has just been woken, with busy programs on a busy computer, takes many seconds for what another does at once. */
export const BUSY_GUEST_MS = 60_000;

/** After a kill the agent has this long to say so. */
const KILL_GRACE_MS = 3000;

/**
 * Characters of a command in one line. The guest's line discipline holds 4096 bytes and has been seen to stand still for
 * good when more came than it held: a longer command goes in parts, each after the guest has asked for it.
 */
const PART_LENGTH = 3000;

export function createAgent(send: (bytes: Uint8Array) => void): Agent {
  const encoder = new TextEncoder();
  let counter = 0;
  let isReady = false;
  let stopped: string | null = null;
  const waiting: Job[] = [];
  let current: Job | null = null;
  /** What is left to send of the current command, in base64. */
  let unsent = "";
  const sizes = new Map<string, string>();

  let markReady = (): void => {};
  let refuse = (_error: Error): void => {};
  const ready = new Promise<void>((resolve, reject) => {
    markReady = resolve;
    refuse = reject;
  });
  // Whoever waits for it gets the rejection; nobody waiting is no fault.
  ready.catch(() => {});

  const sendLine = (line: string): void => send(encoder.encode(`${line}\n`));

  const next = (): void => {
    if (!isReady || current || stopped !== null) return;
    current = waiting.shift() ?? null;
    if (!current) return;
    unsent = encodeBase64(encoder.encode(current.command));
    sendPart(current);
  };

  const sendPart = (job: Job): void => {
    const part = unsent.slice(0, PART_LENGTH);
    unsent = unsent.slice(PART_LENGTH);
    sendLine(`${unsent === "" ? "run" : "part"} ${job.id} ${part}`);
  };

  const finish = (job: Job): void => {
    clearTimeout(job.timer);
    if (current === job) current = null;
    const index = waiting.indexOf(job);
    if (index >= 0) waiting.splice(index, 1);
    next();
  };

  const expire = (job: Job): void => {
    const started = current === job;
    const state = started
      ? `it did not end within ${job.timeoutMs} ms and was killed`
      : isReady
        ? `other commands were still running after ${job.timeoutMs} ms`
        : `no agent answered within ${job.timeoutMs} ms; it is started by /etc/inittab once the init scripts are done`;
    job.reject(new Error(`Cannot run "${abbreviate(job.command)}": ${state}`));
    if (!started) return finish(job);
    unsent = "";
    sendLine(`kill ${job.id}`);
    // The next command starts when the killed one has reported, so that their output cannot mix.
    job.timer = setTimeout(() => finish(job), KILL_GRACE_MS);
  };

  const parser = createParser(
    () => {
      // A second "ready" means that init has restarted a killed agent: what it ran is gone.
      if (current) {
        const lost = current;
        lost.reject(new Error(`Cannot run "${abbreviate(lost.command)}": the guest's agent was killed meanwhile`));
        finish(lost);
      }
      isReady = true;
      unsent = "";
      markReady();
      for (const [terminal, size] of sizes) sendLine(`size ${terminal} ${size}`);
      next();
    },
    (id) => {
      if (current?.id === id && unsent !== "") sendPart(current);
    },
    (id, status, output) => {
      if (current?.id !== id) return;
      const job = current;
      job.resolve({ status, output: new TextDecoder().decode(output) });
      finish(job);
    },
  );

  return {
    ready,
    get counted() {
      return counter;
    },
    adopt(counted) {
      counter = Math.max(counter, counted);
      isReady = true;
      // Ends a line that was on its way when the machine was saved, and forgets the parts of a command that never came.
      sendLine("");
      sendLine("kill c0");
      markReady();
      for (const [terminal, size] of sizes) sendLine(`size ${terminal} ${size}`);
      next();
    },
    receive: (bytes) => parser(bytes),
    run: (command, timeoutMs) =>
      new Promise((resolve, reject) => {
        if (stopped !== null) return reject(new Error(`Cannot run "${abbreviate(command)}": ${stopped}`));
        const job: Job = { id: `c${++counter}`, command, timeoutMs, resolve, reject };
        job.timer = setTimeout(() => expire(job), timeoutMs);
        waiting.push(job);
        next();
      }),
    resize(terminal, { columns, rows }) {
      const size = `${columns} ${rows}`;
      if (sizes.get(terminal) === size) return;
      sizes.set(terminal, size);
      if (isReady && stopped === null) sendLine(`size ${terminal} ${size}`);
    },
    stop(reason) {
      if (stopped !== null) return;
      stopped = reason;
      refuse(new Error(`Cannot reach the guest: ${reason}`));
      for (const job of current ? [current, ...waiting] : waiting) {
        clearTimeout(job.timer);
        job.reject(new Error(`Cannot run "${abbreviate(job.command)}": ${reason}`));
      }
      current = null;
      waiting.length = 0;
    },
  };
}

/** Reads "ready" and "more ID" lines, and "ID STATUS LENGTH" lines with the bytes that follow. */
function createParser(
  onReady: () => void,
  onMore: (id: string) => void,
  onResult: (id: string, status: number, output: Uint8Array) => void,
): (bytes: Uint8Array) => void {
  let line = "";
  let result: { id: string; status: number; output: Uint8Array; filled: number } | null = null;
  const complete = (): void => {
    if (!result || result.filled < result.output.length) return;
    const { id, status, output } = result;
    result = null;
    onResult(id, status, output);
  };
  return (bytes) => {
    let at = 0;
    while (at < bytes.length) {
      if (result) {
        const part = bytes.subarray(at, at + result.output.length - result.filled);
        result.output.set(part, result.filled);
        result.filled += part.length;
        at += part.length;
        complete();
        continue;
      }
      const byte = bytes[at++] as number;
      if (byte !== 10) {
        line += String.fromCharCode(byte);
        continue;
      }
      const more = /^more (c\d+)$/.exec(line);
      const header = /^(c\d+) (\d+) (\d+)$/.exec(line);
      // An agent that was killed while it wrote leaves half a line before the new one's "ready".
      if (line.endsWith("ready")) onReady();
      else if (more) onMore(more[1] as string);
      else if (header) {
        const [, id = "", status, length] = header;
        result = { id, status: Number(status), output: new Uint8Array(Number(length)), filled: 0 };
        complete();
      }
      line = "";
    }
  };
}

function encodeBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let start = 0; start < bytes.length; start += 0x8000)
    binary += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
  return btoa(binary);
}

function abbreviate(command: string): string {
  return command.length > 40 ? `${command.slice(0, 39)}…` : command;
}
