/**
 * What the page shows, as one plain value, and what a person can do, as one interface.
 * Views read `AppState` and call `Actions`; they know neither the storage, nor the machine, nor each other.
 */
import type { BuildProgress, DiskEntry } from "../worker/api.ts";
import type { ShareActions, ShareState } from "./share-state.ts";

export type { DiskEntry } from "../worker/api.ts";
export type { FoundFile, Offer, OfferedFile, ProjectLink, ShareActions, ShareState } from "./share-state.ts";

export type Language = "en" | "zh";
export type Theme = "system" | "light" | "dark";
/** What the machine does while nobody sees the page. */
export type WhenHidden = "run" | "pause";
export type BootMode = "cold" | "warm" | "disk";

/** The stations of a boot in the order in which they come; a mode may skip some. */
export const PHASES = [
  "build",
  "restore",
  "files",
  "bios",
  "boot-loader",
  "kernel",
  "initramfs",
  "init-scripts",
  "shell",
] as const;
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
  /** How it boots in truth: a warm boot that cannot be is a cold one. */
  mode: BootMode;
  /** Why it is a cold one, in words; null when nobody wanted another. */
  coldReason: string | null;
  phase: Phase | null;
  /** `performance.now()` of the moment at which the machine was switched on; null when it is off. */
  poweredAt: number | null;
  /** Time from the boot request to the first shell prompt. */
  promptMs: number | null;
  memoryMb: number;
  build: BuildProgress | null;
  problem: Problem | null;
}

export const MACHINE_OFF: MachineState = {
  status: "off",
  mode: "cold",
  coldReason: null,
  phase: null,
  poweredAt: null,
  promptMs: null,
  memoryMb: 0,
  build: null,
  problem: null,
};

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

/** The machine's drives by the names that the guest gives them. The system disk is the first. */
export const DRIVES = ["sda", "sdb", "sdc", "sdd"] as const;
export type Drive = (typeof DRIVES)[number];

export type DiskFileSystem = "ext2" | "ext3" | "ext4" | "swap" | "empty";

/** A disk of the project as the disks view shows it. */
export interface DiskRow {
  id: string;
  name: string;
  /** The system disk is built from the project; it is there, unbuilt, before it has ever been asked for. */
  kind: "system" | "data";
  sizeBytes: number;
  /** What it costs in the browser's storage. */
  storedBytes: number;
  /** What its file system says is taken; null when there is none, or the disk is in use by the machine. */
  usedBytes: number | null;
  /** What is on it as far as the page knows; "unknown" for an imported disk that holds something else. */
  fileSystem: DiskFileSystem | "partitions" | "unknown";
  label: string;
  /** What a system disk is built with for swap, in MiB; 0: nothing. */
  swapMb: number;
  /** Where it is, or null while it lies beside the machine. Takes effect at the next boot. */
  drive: Drive | null;
  /** The running machine has it: its files cannot be listed, and it cannot be resized. */
  inUse: boolean;
  /** The system disk only: "unbuilt" or, when the project has changed since, "stale". */
  build: "unbuilt" | "stale" | "current" | null;
  /** The guest has written to it since it was built or made: "reset" brings the first content back. */
  changed: boolean;
  /** Another tab writes it: here it can only be read. */
  readOnly: boolean;
  /** Long work under way: bytes done of total. */
  work: { what: "build" | "import" | "resize" | "copy" | "download" | "merge"; done: number; total: number } | null;
  /** A sentence when something is wrong with it: no room for a write, a damaged block. */
  problem: string | null;
}

/** What the user can do with disks. Refusals and results of long work come as notices and in the rows, unless said otherwise. */
export interface DiskActions {
  create(wish: {
    name: string;
    sizeMb: number;
    fileSystem: DiskFileSystem;
    label: string;
    /** Adds a line to /etc/fstab, so that it is mounted there after a reboot; null for none. */
    mountAt: string | null;
  }): void;
  /** Null: the next drive that is free. */
  attach(id: string, drive: Drive | null): void;
  detach(id: string): void;
  resize(id: string, sizeMb: number): void;
  duplicate(id: string): void;
  rename(id: string, name: string): void;
  /** Shows a notice with "undo". */
  remove(id: string): void;
  /** A raw image, gzipped or not. */
  import(file: File): void;
  download(id: string): void;
  /** Builds the system disk from the project as it is; what the guest wrote on the old one is lost: the view asks first. */
  build(): void;
  setSystemDisk(wish: { sizeMb: number; fileSystem: "ext2" | "ext3" | "ext4"; swapMb: number }): void;
  /** Boots from it, and builds it before when there is none. */
  boot(): void;
  /** Forgets what the guest wrote. */
  reset(id: string): void;
  /** Makes what the guest wrote the disk's first content. */
  merge(id: string): void;
  cancel(id: string): void;
  /** Sorted by name, directories first. @throws Error with a sentence for the user */
  list(id: string, path: string): Promise<DiskEntry[]>;
  extract(id: string, path: string): void;
  /** @throws Error with a sentence for the user */
  put(id: string, directory: string, files: readonly File[]): Promise<void>;
  /** @throws Error with a sentence for the user */
  removeEntry(id: string, path: string): Promise<void>;
}

export interface Forward {
  id: string;
  guestPort: number;
  kind: "http" | "tcp" | "udp";
  /** What to open or to connect to: a URL, or HOST:PORT. */
  address: string;
}

export interface NetworkState {
  /**
   * "none": this page has no relay. "off": the user switched it off. "idle": the machine is off. "waiting": the connection
   * broke and is tried again.
   */
  status: "none" | "off" | "idle" | "connecting" | "online" | "waiting";
  /** The relay's address, as the user may set it. */
  relay: string;
  /** Why it is not online, or what the relay refused last, in words. */
  reason: string | null;
  /** When the next attempt begins, on `performance.now()`'s clock. */
  retryAt: number | null;
  /** Where the guest is; null until it has an address. */
  guestAddress: string | null;
  gateway: string | null;
  /** Bytes a second, from and to the guest. */
  sentRate: number;
  receivedRate: number;
  sentBytes: number;
  receivedBytes: number;
  forwards: readonly Forward[];
  /** Ports on which a program in the guest listens, as far as the page has looked. */
  listening: readonly { port: number; protocol: "tcp" | "udp"; program: string }[];
  room: string | null;
  /** Kept so that others can be given the link to the room; null outside one. */
  roomSecret: string | null;
  /** Guests in the room, this one included. */
  roomMembers: number;
  card: "virtio" | "ne2k";
}

export const NO_NETWORK: NetworkState = {
  status: "none",
  relay: "",
  reason: null,
  retryAt: null,
  guestAddress: null,
  gateway: null,
  sentRate: 0,
  receivedRate: 0,
  sentBytes: 0,
  receivedBytes: 0,
  forwards: [],
  listening: [],
  room: null,
  roomSecret: null,
  roomMembers: 0,
  card: "virtio",
};

/** What the user can do about the network. */
export interface NetworkActions {
  setOnline(online: boolean): void;
  retryNow(): void;
  /** "" for the page's own. */
  setRelay(address: string): void;
  forward(guestPort: number, kind: Forward["kind"]): void;
  endForward(id: string): void;
  join(room: string, secret: string): void;
  leave(): void;
  /** Takes effect at the next boot. */
  setCard(card: NetworkState["card"]): void;
  /** Asks the guest which ports it listens on; the view calls it when it is looked at. */
  lookForPorts(): void;
}

/** A saved machine, as lists and views have it. */
export interface SnapshotRow {
  id: string;
  /** "suspended": what the project goes on with when its page is opened again. */
  kind: "named" | "suspended";
  projectId: string;
  name: string;
  /** Milliseconds since 1970. */
  createdAt: number;
  picture: {
    /** The terminal's last lines. */
    lines: readonly string[];
    /** The screen, when it showed graphics: a data URL. */
    image: string | null;
  };
  memoryMb: number;
  mode: BootMode;
  /** Since power-on. */
  uptimeMs: number;
  /** The names of the disks that it goes back on. */
  disks: readonly string[];
  /** What it takes in the storage; what it shares with others counts for each. */
  storedBytes: number;
  /** Why this page cannot go on with it, when that is known already. */
  unfit: "emulator" | "system" | null;
}

export interface SnapshotsState {
  /** Those of the open project, the newest first. */
  rows: readonly SnapshotRow[];
  /** Of all projects. */
  count: number;
  /** What all of them take together, what they share counted once. */
  storedBytes: number;
  most: { count: number; bytes: number };
  work: { what: "save" | "suspend" | "restore" | "download" | "import"; id: string | null } | null;
  /** The machine is kept when the page is left, and goes on when it is opened again. */
  resumes: boolean;
}

export const NO_SNAPSHOTS: SnapshotsState = {
  rows: [],
  count: 0,
  storedBytes: 0,
  most: { count: 0, bytes: 0 },
  work: null,
  resumes: false,
};

/** What the user can do about saved machines. */
export interface SnapshotActions {
  save(name: string): void;
  /** Saves the machine and switches it off; it goes on when the page is opened again. */
  suspend(): void;
  /** The present machine ends, and disks become what they were: the view asks first. */
  restore(id: string): void;
  rename(id: string, name: string): void;
  /** Shows a notice with "undo". */
  remove(id: string): void;
  download(id: string): void;
  import(file: File): void;
  setResumes(resumes: boolean): void;
  /** The names of the disks that have been written to since, and would become what they were. */
  movedOn(id: string): Promise<readonly string[]>;
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
  upload(directory: string, files: readonly File[]): void;
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
