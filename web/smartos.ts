/**
 * `window.smartos`: the page's functions for scripts, tests and, through `postMessage` later, for pages around it.
 * The user interface is built on the same functions.
 */
import type { CommandResult } from "./agent.ts";
import type { Disks, DiskWish } from "./disks.ts";
import { createBlobSink } from "./export-sink.ts";
import type { ExportOptions, Exports } from "./exports.ts";
import type { Network } from "./network.ts";
import { place } from "./placed-files.ts";
import type { Session } from "./session.ts";
import type { Share } from "./share.ts";
import { EXPORTS, type ExportKind } from "./share-state.ts";
import type { Snapshots } from "./snapshots.ts";
import type {
  AppState,
  BootMode,
  DiskEntry,
  DiskRow,
  Drive,
  FileRow,
  Forward,
  NetworkState,
  SnapshotRow,
  Store,
} from "./state.ts";
import type { SystemFiles } from "./system.ts";
import type { SystemDiskWish } from "./system-disk.ts";
import { textOf } from "./text.ts";
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
  readonly disks: SmartOsDisks;
  readonly network: SmartOsNetwork;
  readonly snapshot: SmartOsSnapshot;
  /**
   * A file to keep or to run elsewhere. Those of disks are of the system disk, which is built from the project when there
   * is none yet, and "disk-raw" is its raw image: `qemu-system-i386 -hda FILE` runs it. A bundle takes a saved machine
   * along when `snapshot` names one.
   * @throws Error when it cannot be made, or this page does not make that kind
   */
  exportImage(kind: ImageKind, options?: ExportOptions): Promise<Blob>;
  /**
   * Opens a file as a new project and boots it: a bundle, a disk image (raw, gzipped, qcow2), an archive of a root
   * file system (cpio or tar, gzipped or not), or a kernel (bzImage). A saved machine that comes with a bundle is among
   * the project's snapshots then. Nothing that was there before is touched. Resolves
   * when the machine is at its prompt, or has a problem that `state` tells.
   * @throws Error with a sentence that names what is wrong with it, and where
   */
  importImage(file: Blob, options?: { name?: string }): Promise<{ id: string; name: string }>;
  /**
   * The project as a link that carries it, disks excepted.
   * @throws Error when it is too long for one: share the bundle then
   */
  link(): Promise<string>;
  /** The phases of the present boot, finished ones first. */
  timeline(): { phase: string; ms: number }[];
}

export type ImageKind = ExportKind | "disk-raw";

/** The project's disks. Each is named by its id or its name; what is refused rejects with a sentence. */
export interface SmartOsDisks {
  list(): DiskRow[];
  create(wish: DiskWish): Promise<DiskRow>;
  /** Plugs a disk in for the next boot: as the drive that is named, else as the first that is free. */
  attach(disk: string, drive?: Drive): Promise<DiskRow>;
  detach(disk: string): Promise<DiskRow>;
  /** Its file system gets the new size as well. */
  resize(disk: string, sizeMb: number): Promise<DiskRow>;
  remove(disk: string): Promise<void>;
  rename(disk: string, name: string): Promise<DiskRow>;
  duplicate(disk: string): Promise<DiskRow>;
  /** A raw image, gzipped or not. */
  import(file: Blob, name: string): Promise<DiskRow>;
  /** The raw image of a disk that no machine has. */
  export(disk: string): Promise<Blob>;
  /**
   * Builds the system disk from the project; what the guest wrote on it is lost. What `wish` says of its size, file system
   * and swap partition (MiB, which the size includes; 0: none) is kept for the next time.
   */
  build(wish?: Partial<SystemDiskWish>): Promise<DiskRow>;
  /** Forgets what the guest wrote. */
  reset(disk: string): Promise<DiskRow>;
  /** Makes what the guest wrote the disk's first content. */
  merge(disk: string): Promise<DiskRow>;
  entries(disk: string, path: string): Promise<DiskEntry[]>;
  readFile(disk: string, path: string): Promise<Uint8Array>;
  /** The same for a file of any size. */
  extract(disk: string, path: string): Promise<Blob>;
  putFiles(disk: string, directory: string, files: readonly File[]): Promise<void>;
}

export interface SmartOsNetwork {
  status(): NetworkState;
  /**
   * Makes a port of the guest reachable from outside: "http" (at an origin of its own), "tcp" or "udp", as the relay's
   * operator allows.
   * @throws Error with the relay's sentence, or that there is none
   */
  forward(guestPort: number, kind?: Forward["kind"]): Promise<Forward>;
  endForward(id: string): Promise<void>;
  /** Shares an Ethernet with all guests in the room; without a relay, with those in tabs of this browser. */
  join(room: string, secret: string): Promise<void>;
  leave(): Promise<void>;
  setOnline(online: boolean): void;
}

/** Saved machines of the project, each named by its id or its name; what is refused rejects with a sentence. */
export interface SmartOsSnapshot {
  list(): Promise<readonly SnapshotRow[]>;
  /** The machine stops for a moment, and goes on. */
  save(name?: string): Promise<SnapshotRow>;
  /** Saves the machine and switches it off; it goes on when the project is opened again. */
  suspend(): Promise<SnapshotRow>;
  /** The machine as it was, with what was on its disks. The present one ends. */
  restore(snapshot: string): Promise<void>;
  rename(snapshot: string, name: string): Promise<void>;
  remove(snapshot: string): Promise<void>;
  /** A file with the machine and its disks. */
  export(snapshot: string): Promise<Blob>;
  import(file: Blob, name: string): Promise<SnapshotRow>;
  /** The names of the disks that have been written to since, and would become what they were. */
  movedOn(snapshot: string): Promise<readonly string[]>;
  /** Whether the machine is kept when the page is left, and goes on when it is opened again. */
  setResumes(resumes: boolean): void;
}

export interface PageState {
  phase: string | null;
  /** How the machine booted in truth: a warm boot that could not be was a cold one, and `coldReason` says why. */
  boot: BootMode;
  coldReason: string | null;
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
  disks: Disks;
  network: Network;
  snapshots: Snapshots;
  exports: Exports;
  share: Pick<Share, "makeLink" | "importFile">;
  loadSystem(): Promise<SystemFiles>;
  type(text: string): void;
  /** What the serial line has printed since the last boot, without escape sequences. */
  printed(): string;
  onPrinted(listener: () => void): () => void;
  flush(): Promise<void>;
}

const DEFAULT_TIMEOUT_MS = 30_000;

export function createSmartOs(parts: SmartOsParts): SmartOs {
  const { store, session, workspace, disks, network, snapshots } = parts;
  return {
    ready: parts.ready,
    state() {
      const { machine, project, pendingEdits, storage, writable } = store.state;
      const { problem } = session.machine;
      return {
        phase: session.machine.phase,
        boot: session.machine.mode,
        coldReason: session.machine.coldReason,
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
    boot: ({ mode = "warm" } = {}) => parts.boot(mode),
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
    disks: {
      list: () => disks.list(),
      create: (wish) => disks.create(wish),
      attach: (disk, drive) => disks.attach(disk, drive ?? null),
      detach: (disk) => disks.detach(disk),
      resize: (disk, sizeMb) => disks.resize(disk, sizeMb),
      remove: async (disk) => void (await disks.remove(disk)),
      rename: (disk, name) => disks.rename(disk, name),
      duplicate: (disk) => disks.duplicate(disk),
      import: (file, name) => disks.importFile(file, name),
      export: (disk) => disks.exportRaw(disk),
      build: (wish) => disks.buildSystemDisk(wish),
      reset: (disk) => disks.reset(disk),
      merge: (disk) => disks.merge(disk),
      entries: (disk, path) => disks.entries(disk, path),
      readFile: async (disk, path) => new Uint8Array(await (await disks.extract(disk, path)).arrayBuffer()),
      extract: (disk, path) => disks.extract(disk, path),
      putFiles: (disk, directory, files) => disks.putFiles(disk, directory, place(files)),
    },
    network: {
      status: () => network.status(),
      forward: (guestPort, kind) => network.forward(guestPort, kind),
      endForward: (id) => network.endForward(id),
      join: (room, secret) => network.join(room, secret),
      leave: () => network.leave(),
      setOnline: (online) => network.setOnline(online),
    },
    snapshot: {
      list: () => snapshots.look(),
      save: (name) => snapshots.save(name),
      suspend: () => snapshots.suspend(),
      restore: (snapshot) => snapshots.restore(snapshot),
      rename: (snapshot, name) => snapshots.rename(snapshot, name),
      remove: async (snapshot) => void (await snapshots.remove(snapshot)),
      export: (snapshot) => snapshots.exportFile(snapshot),
      import: (file, name) => snapshots.importFile(file, name),
      movedOn: (snapshot) => snapshots.movedOn(snapshot),
      setResumes: (resumes) => snapshots.setResumes(resumes),
    },
    async exportImage(kind, options = {}) {
      // The raw image as it is: who has the page's functions needs no smaller file.
      if (kind === "disk-raw") return disks.exportRaw(systemDiskId(disks));
      if (!Object.hasOwn(EXPORTS, kind)) {
        const kinds = ["disk-raw", ...Object.keys(EXPORTS)].join(", ");
        throw new Error(`Cannot export ${JSON.stringify(kind)}: kinds are ${kinds}`);
      }
      const signal = new AbortController().signal;
      return (await parts.exports.make(kind, createBlobSink(), { signal, onProgress() {} }, options)) as Blob;
    },
    importImage: (file, { name = file instanceof File ? file.name : "image" } = {}) =>
      parts.share.importFile(new File([file], name)),
    async link() {
      const { url, tooLong } = await parts.share.makeLink();
      if (tooLong) throw new Error(textOf(store.state.language).share.linkTooLong(url.length));
      return url;
    },
    timeline: () =>
      session.timeline.map(({ phase, startMs, endMs }) => ({ phase, ms: Math.round((endMs ?? startMs) - startMs) })),
  };
}

function systemDiskId(disks: Disks): string {
  return disks.list().find(({ kind }) => kind === "system")?.id ?? "";
}
