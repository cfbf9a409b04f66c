/**
 * A Linux kernel as boot loaders take it. Source: Documentation/arch/x86/boot.rst of Linux.
 *
 *   0      boot sector, the setup header from 0x1f1 on
 *   …      the rest of the real-mode code, setup_sects sectors
 *   …      the protected-mode code, syssize × 16 bytes
 *
 * Limitations: kernels from 2.6.31 on (protocol 2.10), which say how much memory they need, for 32-bit processors.
 */
import { FormatError } from "./file-tree.ts";

/** It is in memory as a whole, and stored with its project. */
export const MOST_KERNEL_BYTES = 32 * 1024 * 1024;

const SECTOR_BYTES = 512;
const LEAST_BYTES = 0x268;
const SETUP_SECTORS = 0x1f1;
const CODE_PARAGRAPHS = 0x1f4;
const BOOT_FLAG = { at: 0x1fe, value: 0xaa55 };
/** "HdrS", little endian. */
const MAGIC = { at: 0x202, value: 0x53726448 };
const PROTOCOL = 0x206;
/** Of the version's text, less 0x200. */
const VERSION = 0x20e;
const LOAD_FLAGS = 0x211;
const LOADED_HIGH = 1;
const EXTENDED_LOAD_FLAGS = 0x236;
/** The kernel has a 64-bit entry, so it is a 64-bit kernel. From protocol 2.12 on. */
const IS_64_BIT = 1;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;
const PREFERRED_ADDRESS = 0x258;
const MEMORY_BYTES = 0x260;
const LEAST_PROTOCOL = 0x020a;
/** The real-mode code has 32 kB before its heap and the command line. */
const MOST_SETUP_SECTORS = 63;
const MOST_VERSION = 200;
/** The most that a machine has here, less what the BIOS takes. */
const MOST_MEMORY_BYTES = 1004 * 1024 * 1024;

export interface BzImage {
  /** As the kernel's build wrote it: release, who built it, when. "" when there is none. */
  version: string;
}

export function isBzImage(bytes: Uint8Array): boolean {
  if (bytes.length < 1024) return false;
  const view = viewOf(bytes);
  return view.getUint16(BOOT_FLAG.at, true) === BOOT_FLAG.value && view.getUint32(MAGIC.at, true) === MAGIC.value;
}

/** What the start of a kernel says of its version; "" when it says nothing that can be shown. */
export function kernelVersion(bytes: Uint8Array): string {
  const at = viewOf(bytes).getUint16(VERSION, true) + 0x200;
  const text = bytes.subarray(at, at + MOST_VERSION);
  const version = new TextDecoder("latin1").decode(text.subarray(0, Math.max(text.indexOf(0), 0)));
  return /^[\x20-\x7e]+$/.test(version) ? version : "";
}

/**
 * @param what "Cannot open NAME", for messages
 * @throws FormatError for what is no kernel, or none that a machine here can start
 */
export function decodeBzImage(bytes: Uint8Array, what: string): BzImage {
  const refuse = (state: string): never => {
    throw new FormatError(`${what}: ${state}`);
  };
  if (bytes.length > MOST_KERNEL_BYTES)
    refuse(`as a kernel it may have ${MOST_KERNEL_BYTES} bytes, and has ${bytes.length}`);
  if (!isBzImage(bytes) || bytes.length < LEAST_BYTES) refuse("it is no bzImage");
  const view = viewOf(bytes);
  const protocol = view.getUint16(PROTOCOL, true);
  if (protocol < LEAST_PROTOCOL)
    refuse(`its boot protocol is ${protocol >> 8}.${protocol & 0xff}; 2.10 is the least, of Linux 2.6.31`);
  if (!(view.getUint8(LOAD_FLAGS) & LOADED_HIGH))
    refuse("it is a zImage, which is loaded below 1 MiB; a bzImage is taken");
  if (protocol >= 0x020c && view.getUint16(EXTENDED_LOAD_FLAGS, true) & IS_64_BIT)
    refuse("it is for 64-bit processors, the machine here has a 32-bit one");
  // 0 stands for 4.
  const setupSectors = view.getUint8(SETUP_SECTORS) || 4;
  const setupBytes = (setupSectors + 1) * SECTOR_BYTES;
  const codeBytes = view.getUint32(CODE_PARAGRAPHS, true) * 16;
  if (setupSectors > MOST_SETUP_SECTORS)
    refuse(`its real-mode code would have ${setupSectors} sectors, ${MOST_SETUP_SECTORS} is the most`);
  // The last paragraph need not be whole.
  if (codeBytes === 0 || setupBytes + codeBytes - 15 > bytes.length)
    refuse(`it would reach to ${setupBytes + codeBytes}, the file ends at ${bytes.length}`);
  const payloadEnd = setupBytes + view.getUint32(PAYLOAD_OFFSET, true) + view.getUint32(PAYLOAD_LENGTH, true);
  if (payloadEnd > bytes.length)
    refuse(`its packed part would reach to ${payloadEnd}, the file ends at ${bytes.length}`);
  const end = Number(view.getBigUint64(PREFERRED_ADDRESS, true)) + view.getUint32(MEMORY_BYTES, true);
  if (end > MOST_MEMORY_BYTES) refuse(`unpacked it would reach to ${end} in memory, ${MOST_MEMORY_BYTES} is the most`);
  return { version: kernelVersion(bytes) };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
