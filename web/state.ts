/**
 * What the page shows, as one plain value, and what a person can do, as one interface.
 * Views read `AppState` and call `Actions`; they know neither the storage, nor the machine, nor each other.
 */
import type { BuildProgress } from "../worker/api.ts";

export type Language = "en" | "zh";
export type Theme = "system" | "light" | "dark";
export type BootMode = "cold" | "warm" | "disk";

/** The stations of a boot in the order in which they come; a mode may skip some. */
export const PHASES = ["build", "bios", "boot-loader", "kernel", "initramfs", "init-scripts", "shell"] as const;
export type Phase = (typeof PHASES)[number];

/** One bar of the boot timeline. Times are milliseconds since the boot was asked for. */
export interface TimelineBar {
  phase: Phase;
  startMs: number;
  /** Absent while the phase runs. */
  endMs?: number;
  /** What the machine printed on its serial line during the phase, a line each. */
  messages: readonly string[];
}

export type MachineStatus = "off" | "building" | "booting" | "running" | "paused" | "failed";

/** Why a boot did not end in a shell, in words, with the last lines the machine printed. */
export interface Problem {
  phase: Phase;
  /** `invalid`: the project cannot be built. The others are what the machine did. */
  kind: "invalid" | "unavailable" | "init-failed" | "panic" | "no-shell" | "emulator";
  /** The sentence for the user, in the page's language. */
  text: string;
  lines: readonly string[];
  /** A file of the project that is at fault, when it is known. */
  path?: string;
  /** A version of this project that reached a shell is kept and differs from the present one. */
  canGoBack: boolean;
}

export interface MachineState {
  status: MachineStatus;
  mode: BootMode;
  phase: Phase | null;
  /** `performance.now()` of the moment at which the machine was switched on; null when it is off. */
  poweredAt: number | null;
  /** Time from the boot request to the first shell prompt. */
  promptMs: number | null;
  memoryMb: number;
  build: BuildProgress | null;
  problem: Problem | null;
}

/** One row of the file tree: the default files, the project's own over them, and markers for deleted ones. */
export interface FileRow {
  path: string;
  kind: "file" | "directory" | "symlink" | "device";
  origin: "default" | "changed" | "added" | "deleted";
  mode: number;
  /** Bytes; 0 for anything but files. */
  size: number;
  /** Target of a symlink. */
  target?: string;
}

export interface OpenFile {
  path: string;
  /** Null when the content is not text: it is then shown as size and kind, not in the editor. */
  text: string | null;
  /** The default's text for the diff; null when the file is not a default one. */
  defaultText: string | null;
  size: number;
  mode: number;
  /** Counts changes that did not come from the editor (restore, go back, another tab): reload the text then. */
  revision: number;
}

export interface StorageState {
  state: "saved" | "saving" | "memory-only" | "failed";
  /** A sentence in the page's language when something is wrong. */
  reason?: string;
}

export interface Notice {
  id: number;
  kind: "info" | "warning" | "error";
  text: string;
  action?: { label: string; run: () => void };
}

export interface AppState {
  language: Language;
  theme: Theme;
  embed: boolean;
  projects: readonly { id: string; name: string; updatedAt: number }[];
  project: { id: string; name: string; commandLine: string; memoryMb: number };
  /** False while another tab holds this project: everything is shown, nothing can be changed. */
  writable: boolean;
  files: readonly FileRow[];
  openFile: OpenFile | null;
  /** Edits are saved but the running system was built before them. */
  pendingEdits: boolean;
  storage: StorageState;
  machine: MachineState;
  timeline: readonly TimelineBar[];
  notices: readonly Notice[];
}

export interface Actions {
  setLanguage(language: Language): void;
  setTheme(theme: Theme): void;

  openFile(path: string): void;
  closeFile(): void;
  /** Called at every keystroke; saving is coalesced behind it. */
  editFile(path: string, text: string): void;
  addFile(path: string): void;
  addDirectory(path: string): void;
  upload(directory: string, files: readonly File[]): void;
  removeFile(path: string): void;
  renameFile(path: string, to: string): void;
  chmod(path: string, mode: number): void;
  /** Brings a changed or deleted default file back. */
  restoreDefault(path: string): void;
  downloadFile(path: string): void;

  applyAndReboot(): void;
  restart(): void;
  powerOn(): void;
  powerOff(): void;
  pause(): void;
  resume(): void;
  cancelBuild(): void;
  /** Brings the files of the last version that reached a shell back and boots them. */
  goBack(): void;
  setCommandLine(commandLine: string): void;
  setMemory(memoryMb: number): void;
  sendCtrlAltDel(): void;
  /** The screen takes the keyboard only while it has the focus. */
  focusScreen(focused: boolean): void;

  openProject(id: string): void;
  createProject(name: string): void;
  duplicateProject(): void;
  renameProject(name: string): void;
  /** Shows a notice with "undo". */
  removeProject(id: string): void;
  /** Asks the other tab to give this project up. */
  takeOver(): void;
  downloadProject(): void;
  downloadInitramfs(): void;
  retrySave(): void;
  dismissNotice(id: number): void;
}

export interface Store {
  readonly state: AppState;
  update(change: (state: AppState) => AppState): void;
  subscribe(listener: (state: AppState) => void): () => void;
}

/** Listeners run once for all changes of one task: views need no throttle of their own. */
export function createStore(initial: AppState): Store {
  let state = initial;
  let scheduled = false;
  const listeners = new Set<(state: AppState) => void>();
  return {
    get state() {
      return state;
    },
    update(change) {
      const next = change(state);
      if (next === state) return;
      state = next;
      if (scheduled) return;
      scheduled = true;
      queueMicrotask(() => {
        scheduled = false;
        for (const listener of listeners) listener(state);
      });
    },
    subscribe(listener) {
      listeners.add(listener);
      listener(state);
      return () => listeners.delete(listener);
    },
  };
}
