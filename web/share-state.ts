/** What the page shows of projects that come from outside and of what it gives away; a part of `AppState` and `Actions`. */
import type { FileRow } from "./state.ts";

/** What a project from outside does to one file of the default. */
export interface OfferedFile {
  path: string;
  change: "changed" | "added" | "deleted";
  kind: FileRow["kind"];
  mode: number;
  /** The default's mode, where it differs. */
  modeBefore: number | null;
  size: number;
  /** Null when it is not text. */
  text: string | null;
  defaultText: string | null;
  target?: string;
}

/** A project from outside that waits for the user's word: nothing of it has been taken or started. */
export interface Offer {
  source: "link" | "file";
  name: string;
  /** What a file was found to be; null for a link. */
  found: FoundFile | null;
  files: readonly OfferedFile[];
  /** Null when it is the default's. */
  commandLine: string | null;
  memoryMb: number | null;
  /** Its own kernel, as that calls itself; null when it is the one that was built. */
  kernel: string | null;
}

export interface FoundFile {
  fileName: string;
  sizeBytes: number;
  kind: "bundle" | "disk" | "files" | "kernel";
  /** How it is packed or laid out: raw, gzip, qcow2, cpio, tar; "" where the kind says it. */
  container: string;
  /** Of a disk. */
  fileSystem: string;
  label: string;
  partitions: number;
  /** The disks that come with it; the size is 0 where it is not known yet. */
  disks: readonly { name: string; sizeBytes: number }[];
  startsFromDisk: boolean;
  /** A saved machine comes with it. */
  snapshot: boolean;
}

/** Something from outside that is on its way. Bytes; total is 0 where it is not known. */
export interface Arrival {
  name: string;
  done: number;
  total: number;
}

export interface ShareState {
  arrival: Arrival | null;
  offer: Offer | null;
  /** The open project came from outside and is not kept: it is gone when the page is left. */
  visiting: boolean;
  /** The open project came from outside, and its guest stays offline until the user agrees. */
  asksNetwork: boolean;
}

export const NO_SHARE: ShareState = { arrival: null, offer: null, visiting: false, asksNetwork: false };

export interface ProjectLink {
  url: string;
  /** The page takes no longer ones. */
  tooLong: boolean;
}

/** The files that the page makes, and how their names end. */
export const EXPORTS = {
  bundle: ".smartos",
  "disk-raw-gz": ".img.gz",
  "disk-qcow2": ".qcow2",
  "disk-vmdk": ".vmdk",
  "disk-iso": ".iso",
  "rootfs-tar": ".tar.gz",
  initramfs: ".cpio.gz",
  kernel: ".bzImage",
} as const;
export type ExportKind = keyof typeof EXPORTS;

export interface ShareActions {
  /** What a file of that kind is called. */
  exportName(kind: ExportKind): string;
  /**
   * Makes a file and saves it where the user wants.
   * @param onProgress in bytes; total is 0 where it is not known
   * @returns false when the user did not want it any more. @throws Error with a sentence for the user
   */
  export(
    kind: ExportKind,
    signal: AbortSignal,
    onProgress: (done: number, total: number) => void,
    options?: { snapshot?: string | undefined },
  ): Promise<boolean>;
  /** The open project as a link. @throws Error with a sentence for the user */
  makeLink(): Promise<ProjectLink>;
  /** Starts the offered project without keeping it, or as a new project of the library; false sends it away. */
  answerOffer(answer: "try" | "keep" | false): void;
  /** Looks at a file; what it is becomes an offer. */
  openFile(file: File): void;
  /** Ends what is on its way. */
  cancelArrival(): void;
  /** Keeps the project that is only visiting. */
  keep(): void;
  /** Lets the guest of a project from outside go online. */
  allowNetwork(): void;
}
