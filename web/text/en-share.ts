import type { ExportKind } from "../share-state.ts";

/** The words of links, of projects from outside, and of what is given away, in English. */
export const enShare = {
  // A project from outside
  offerTitle: (name: string) => `A project from a link: ${name}`,
  offerIntro:
    "Nothing of it has been started. Look at what it changes: once it runs, it can do in its machine whatever it likes; your own projects and disks it cannot see.",
  offerSame: "It is the default system, without changes.",
  offerCount: (count: number) =>
    count === 1 ? "1 file differs from the default" : `${count} files differ from the default`,
  changes: { changed: "changed", added: "added", deleted: "deleted" },
  offerCommandLine: "Kernel command line",
  offerMemory: "Memory",
  offerKernel: "Its own kernel",
  offerMode: (mode: string, before: string) => `Permissions ${mode}, before ${before}`,
  offerModeAlone: (mode: string) => `Permissions ${mode}`,
  offerGone: "The project deletes this file.",
  offerBinary: (size: string) => `Not text: ${size}`,
  offerTarget: (target: string) => `Symbolic link to ${target}`,
  offerChoose: "Choose a file to see what differs.",
  tryIt: "Start it",
  tryHint: "Without keeping it",
  keepIt: "Keep as a project",
  notNow: "Not now",

  // While it is open
  visiting: (name: string) => `${name} came by a link and is not kept: it is gone when you leave the page.`,
  kept: (name: string) => `${name} is one of your projects now.`,
  asksNetwork: (relay: string) =>
    `This project came from outside, so its machine is kept offline. Online it would reach the network through ${relay}.`,
  ownRelay: "this page's relay",
  allowNetwork: "Let it go online",
  asksFirst: "The project came from outside: it goes online when you say so.",

  // The link
  linkTitle: "Share as a link",
  linkMenu: "Share as a link",
  linkIntro:
    "The project is in the link itself, packed: no server sees or keeps it. Whoever opens it is shown what it changes first.",
  linkWithout: "Disks and what is on them are not in it.",
  linkLength: (length: number) => `${length} characters`,
  linkShort: "Short enough for any mail or message.",
  linkMiddle: "Some programs cut links of this length: try it before you rely on it.",
  linkTooLong: (length: number) =>
    `The project does not fit into a link: it would have ${length} characters. Send it as a file instead; whoever gets it opens it here.`,
  linkCopied: "Copied",
  copyLink: "Copy link",
  qrLabel: "QR code of the link",
  qrTooLong: "Too long for a QR code.",

  // Downloads
  downloadMenu: "Download for QEMU, Docker",
  downloadTitle: "Download",
  kinds: {
    bundle: ["Project", "Everything: files, settings, and what is on the disks. This page and any unzip open it."],
    "disk-raw-gz": ["Disk image", "The system disk, packed. Every emulator and real machine starts from it."],
    "disk-qcow2": ["Disk for QEMU", "The system disk, packed so that QEMU runs it as it is."],
    "disk-vmdk": ["Disk for VMware and VirtualBox", "The system disk as one file, without its zeros."],
    "disk-iso": ["CD", "Kernel and root file system on a CD that starts by GRUB: for emulators, burners and sticks."],
    "rootfs-tar": ["Root file system", "What a container is made of."],
    initramfs: ["Initramfs", "The root file system that the kernel unpacks into memory; it needs the kernel."],
    kernel: ["Kernel", "A bzImage, as this page boots it: the project's own where it has one."],
  } as Record<ExportKind, readonly [string, string]>,
  withSnapshot: "Saved machine that goes along, with what was on its disks",
  noSnapshot: "none",
  runIt: "Run it:",
  copyCommand: "Copy the command",
  staleDisk: "The system disk was built before your last changes: build it again (Disks) to have them in it.",
  unbuiltDisk: "The system disk is built first.",
  exportDone: (name: string) => `${name} is complete.`,
  exportAt: (done: string, total: string) => (total === "" ? done : `${done} of ${total}`),

  // Files from outside
  openMenu: "Open a file",
  fileTitle: (name: string) => `Open ${name}`,
  fileIntro:
    "It has not been opened yet. It becomes a new project: nothing of yours is replaced. Once it runs, it can do in its machine whatever it likes; your own projects and disks it cannot see.",
  foundKinds: {
    bundle: "A project of smart-os",
    disk: "A disk image",
    files: "An archive of a root file system",
    kernel: "A Linux kernel",
  },
  containers: { raw: "raw", gzip: "gzipped", qcow2: "qcow2", cpio: "cpio", tar: "tar" } as Record<string, string>,
  foundKind: "What it is",
  foundContent: "On it",
  foundDisks: "Disks",
  foundSnapshot: "Saved machine",
  foundSnapshotHow: "comes with it; you can go on with it once the project is open",
  snapshotCame: (name: string) => `A saved machine came with the project: ${name}.`,
  goOnWith: "Go on with it",
  snapshotUnfit: (name: string) =>
    `The saved machine ${name} came with the project, but it is one of another version of this page and cannot go on here.`,
  foundEmpty: "empty",
  foundUnknown: "nothing that this page knows",
  foundPartitions: (count: number) =>
    count === 1 ? "a partition table" : `a partition table with ${count} partitions`,
  foundLabel: (label: string) => `named “${label}”`,
  startsFromDisk: "The machine starts from its system disk.",
  attachesDisk: "The machine has it as its disk sdb.",
  attachesPartitions: "There is no boot code on it, so the machine does not start from it: it has it as its disk sdb.",
  takesKernel:
    "The new project has the default system with this kernel in place of the built one. Modules of the built kernel do not fit it.",
  openNew: "Open as a new project",
  arriving: (name: string) => `Opening ${name} …`,
  arrivalCancelled: (name: string) => `${name} was not opened: it was cancelled.`,
  badAddress: (address: string) => `Cannot load ${address}: it is no address that begins with http:// or https://`,
  notLoaded: (address: string) =>
    `Cannot load ${address}: its server does not answer, or does not let pages of other sites read it (it would have to send Access-Control-Allow-Origin). Download the file and drop it here instead.`,
  answered: (address: string, status: number) => `Cannot load ${address}: its server answers ${status}`,
  cutOff: (address: string, bytes: number) => `Cannot load ${address}: the connection broke after ${bytes} bytes`,
  dropAnywhere: "Drop to open: a project, a disk image, an archive, a kernel",
};
