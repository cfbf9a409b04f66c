/**
 * What the page shows, as one plain value, and what a person can do, as one interface.
 * Its parts have files of their own, which this one passes on. Views read `AppState` and call `Actions`; they know neither
 * the storage, nor the machine, nor each other.
 */
import type { MachineState, TimelineBar } from "./boot-state.ts";
import type { DiskActions, DiskRow } from "./disks-state.ts";
import type { NetworkActions, NetworkState } from "./network-state.ts";
import type { PlacedFile } from "./placed-files.ts";
import type { ShareActions, ShareState } from "./share-state.ts";
import type { SnapshotActions, SnapshotsState } from "./snapshot-rows.ts";

export type { DiskEntry } from "../worker/api.ts";
export {
  type BootMode,
  MACHINE_OFF,
  type MachineState,
  type MachineStatus,
  PHASES,
  type Phase,
  type Problem,
  type TimelineBar,
} from "./boot-state.ts";
export { type DiskActions, type DiskFileSystem, type DiskRow, DRIVES, type Drive } from "./disks-state.ts";
export { type Forward, type NetworkActions, type NetworkState, NO_NETWORK } from "./network-state.ts";
export type { FoundFile, Offer, OfferedFile, ProjectLink, ShareActions, ShareState } from "./share-state.ts";
export { NO_SNAPSHOTS, type SnapshotActions, type SnapshotRow, type SnapshotsState } from "./snapshot-rows.ts";

export type Language = "en" | "zh";
export type Theme = "system" | "light" | "dark";
/** What the machine does while nobody sees the page. */
export type WhenHidden = "run" | "pause";

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
  /** "passing": a warning that is seen elsewhere as well, and goes by itself. */
  kind: "info" | "passing" | "warning" | "error";
  text: string;
  action?: { label: string; run: () => void };
}

export interface AppState {
  language: Language;
  theme: Theme;
  hidden: WhenHidden;
  embed: boolean;
  projects: readonly { id: string; name: string; updatedAt: number }[];
  project: {
    id: string;
    name: string;
    commandLine: string;
    memoryMb: number;
    /** Its own, in place of the one that was built. */
    kernel: { version: string; bytes: number } | null;
  };
  /** False while another tab holds this project: everything is shown, nothing can be changed. */
  writable: boolean;
  files: readonly FileRow[];
  openFile: OpenFile | null;
  /** Edits are saved but the running system was built before them. */
  pendingEdits: boolean;
  storage: StorageState;
  machine: MachineState;
  timeline: readonly TimelineBar[];
  /** Bytes over the wire of what every machine needs, while it is fetched. */
  download: { done: number; total: number } | null;
  disks: readonly DiskRow[];
  /** What the page uses of the browser's storage and what it may use, in bytes; null while it is not known. */
  quota: { used: number; total: number } | null;
  network: NetworkState;
  snapshots: SnapshotsState;
  notices: readonly Notice[];
  share: ShareState;
}

export interface Actions {
  setLanguage(language: Language): void;
  setTheme(theme: Theme): void;
  setWhenHidden(hidden: WhenHidden): void;

  openFile(path: string): void;
  closeFile(): void;
  /** Called at every keystroke; saving is coalesced behind it. */
  editFile(path: string, text: string): void;
  addFile(path: string): void;
  addDirectory(path: string): void;
  /** Puts files into the project, all or none. */
  upload(directory: string, files: readonly PlacedFile[] | Promise<readonly PlacedFile[]>): void;
  removeFile(path: string): void;
  renameFile(path: string, to: string): void;
  chmod(path: string, mode: number): void;
  /** Brings a changed or deleted default file back. */
  restoreDefault(path: string): void;
  downloadFile(path: string): void;

  applyAndReboot(): void;
  restart(): void;
  /** From power-on: BIOS, kernel, initramfs. */
  bootCold(): void;
  powerOn(): void;
  powerOff(): void;
  pause(): void;
  resume(): void;
  cancelBuild(): void;
  /** Brings the files of the last version that reached a shell back and boots them. */
  goBack(): void;
  setCommandLine(commandLine: string): void;
  setMemory(memoryMb: number): void;
  /** Drops the project's own kernel. */
  useBuiltKernel(): void;
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
  retrySave(): void;
  dismissNotice(id: number): void;
  readonly disks: DiskActions;
  readonly network: NetworkActions;
  readonly snapshots: SnapshotActions;
  readonly share: ShareActions;
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
