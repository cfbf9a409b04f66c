/** A CD from a project: GRUB, the kernel, and the root file system as an initramfs. */
import { quoteForGrub } from "./disk.ts";
import { FileTree } from "./format/file-tree.ts";
import { encodeIso } from "./format/iso9660.ts";
import { buildInitramfs } from "./initramfs.ts";

export interface IsoParts {
  /** A bzImage. */
  kernel: Uint8Array;
  /** GRUB for CDs, of kernel-build/. */
  cd: Uint8Array;
}

const BOOT_IMAGE = "/boot/grub/cd.img";
const OWNER = { uid: 0, gid: 0, mtime: 0 } as const;

/**
 * @param tree the project's root file system
 * @param memoryMb of the machine that shall start it, as for an initramfs
 * @throws FormatError for what does not fit
 */
export function composeIso(
  tree: FileTree,
  { kernel, cd }: IsoParts,
  { commandLine, memoryMb }: { commandLine: string; memoryMb: number },
): Generator<Uint8Array<ArrayBuffer>, void> {
  const disc = new FileTree();
  const add = (path: string, content: Uint8Array): void =>
    disc.add({ path, kind: "file", content, mode: 0o644, ...OWNER });
  add("/boot/vmlinuz", kernel);
  add("/boot/initramfs", buildInitramfs(tree, memoryMb));
  add(BOOT_IMAGE, cd);
  add("/boot/grub/grub.cfg", new TextEncoder().encode(menu(commandLine)));
  return encodeIso(disc, { label: "SMART_OS", boot: BOOT_IMAGE });
}

/** The 16-bit entry, as on the system disk: the kernel asks the BIOS for what it needs to switch the machine off. */
function menu(commandLine: string): string {
  return `serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=1
set default=0
set cmdline=${quoteForGrub(commandLine)}

menuentry "smart-os" {
  linux16 /boot/vmlinuz root=/dev/ram0 $cmdline
  initrd16 /boot/initramfs
}
`;
}
