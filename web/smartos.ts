/**
 * `window.smartos`: the page's functions for scripts, tests and, through `postMessage` later, for pages around it.
 * The user interface is built on the same functions.
 */
import type { CommandResult } from "./agent.ts";
import type { Session } from "./session.ts";
import type { AppState, BootMode, FileRow, Store } from "./state.ts";
import type { Workspace } from "./workspace.ts";

export interface SmartOs {
  /** Resolves when the first boot has come to its end: a prompt, or a problem that `state()` tells. */
  readonly ready: Promise<void>;
  state(): PageState;
  /** Builds the project as it is now and boots it. @throws Error with the problem's sentence when no shell comes */
  boot(options?: { mode?: BootMode }): Promise<{ promptMs: number }>;
  /** Powers the guest off. */
  shutdown(): Promise<void>;
  /**
   * Runs a command in the guest's shell, beside the user's terminal.
   * @throws Error when the machine is off, has no agent, or the command takes longer than `timeoutMs` (30 000)
   */
  run(command: string, options?: { timeoutMs?: number }): Promise<CommandResult>;
  /** Types into the guest's terminal. */
  type(text: string): void;
  /** Resolves with the matching text once the terminal has printed it, since the last boot. @throws Error after `timeoutMs` (30 000) */
  waitFor(text: string | RegExp, options?: { timeoutMs?: number }): Promise<string>;
  /** A file of the project. @throws Error when there is none */
  readFile(path: string): Uint8Array;
  writeFile(path: string, content: Uint8Array | string, options?: { mode?: number }): Promise<void>;
  removeFile(path: string): Promise<void>;
  /** The project's files over the default ones; deleted ones are listed as such. */
  listFiles(): readonly FileRow[];
  /** The phases of the present boot, finished ones first. */
  timeline(): { phase: string; ms: number }[];
}

export interface PageState {
  phase: string | null;
  boot: BootMode;
  status: AppState["machine"]["status"];
  uptimeMs: number;
  promptMs: number | null;
  memoryMb: number;
  problem: { phase: string; kind: string; text: string; lines: readonly string[] } | null;
  project: { id: string; name: string };
  pendingEdits: boolean;
  storage: AppState["storage"]["state"];
  writable: boolean;
}

export interface SmartOsParts {
  ready: Promise<void>;
  store: Store;
  session: Session;
  workspace: Workspace;
  boot(mode: BootMode): Promise<{ promptMs: number }>;
  type(text: string): void;
  /** What the serial line has printed since the last boot, without escape sequences. */
  printed(): string;
  onPrinted(listener: () => void): () => void;
  flush(): Promise<void>;
}

const DEFAULT_TIMEOUT_MS = 30_000;

export function createSmartOs(parts: SmartOsParts): SmartOs {
  const { store, session, workspace } = parts;
  return {
    ready: parts.ready,
    state() {
      const { machine, project, pendingEdits, storage, writable } = store.state;
      const { problem } = session.machine;
      return {
        phase: session.machine.phase,
        boot: session.machine.mode,
        status: session.machine.status,
        uptimeMs: session.machine.poweredAt === null ? 0 : Math.round(performance.now() - session.machine.poweredAt),
        promptMs: session.machine.promptMs,
        memoryMb: machine.memoryMb,
        problem: problem && { phase: problem.phase, kind: problem.kind, text: problem.text, lines: [...problem.lines] },
        project: { id: project.id, name: project.name },
        pendingEdits,
        storage: storage.state,
        writable,
      };
    },
    boot: ({ mode = "cold" } = {}) => parts.boot(mode),
    shutdown: () => session.shutdown(),
    run: (command, { timeoutMs = DEFAULT_TIMEOUT_MS } = {}) => session.run(command, timeoutMs),
    type: (text) => parts.type(text),
    waitFor: (wanted, { timeoutMs = DEFAULT_TIMEOUT_MS } = {}) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const text = parts.printed();
          const found =
            typeof wanted === "string" ? (text.includes(wanted) ? wanted : null) : (wanted.exec(text)?.[0] ?? null);
          if (found === null) return;
          finish();
          resolve(found);
        };
        const timer = setTimeout(() => {
          finish();
          reject(new Error(`Cannot find ${String(wanted)} in the terminal: it was not printed within ${timeoutMs} ms`));
        }, timeoutMs);
        const stop = parts.onPrinted(look);
        const finish = (): void => {
          clearTimeout(timer);
          stop();
        };
        look();
      }),
    readFile: (path) => workspace.read(path),
    async writeFile(path, content, { mode } = {}) {
      workspace.write(path, content, mode);
      await parts.flush();
    },
    async removeFile(path) {
      workspace.remove(path);
      await parts.flush();
    },
    listFiles: () => store.state.files.map((row) => ({ ...row })),
    timeline: () =>
      session.timeline.map(({ phase, startMs, endMs }) => ({ phase, ms: Math.round((endMs ?? startMs) - startMs) })),
  };
}
