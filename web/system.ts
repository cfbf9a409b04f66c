/** Loads what every machine has, whatever the project: emulator, BIOS, kernel. */
import type { Downloads, RemoteFile } from "./downloads.ts";
import { type UnpackedKernel, unpackKernel } from "./kernel.ts";
import type { Pieces } from "./thin-state.ts";

/** What a machine is made of. */
export interface MachineFiles {
  emulator: WebAssembly.Module;
  bios: Uint8Array<ArrayBuffer>;
  vgaBios: Uint8Array<ArrayBuffer>;
}

/** That, and what it boots by itself. */
export interface SystemFiles extends MachineFiles {
  kernel: Uint8Array<ArrayBuffer>;
  unpackedKernel: UnpackedKernel | null;
}

/** A file of public/system, as the module `virtual:system` lists it. */
export interface ListedFile {
  name: string;
  file: string;
  size: number;
  wire: number;
}

/**
 * @param base URL of the folder with the system's files, ending in "/"
 * @throws Error "Cannot load NAME: …" when there is no such file
 */
export function findFile(files: readonly ListedFile[], base: URL, name: string): RemoteFile {
  const found = files.find((file) => file.name === name);
  if (!found) throw new Error(`Cannot load ${name}: the system was built without it; run \`npm run system\``);
  return { name, url: new URL(found.file, base), size: found.size, wire: found.wire };
}

export interface SystemLoader {
  /** All that a machine needs whose state has the rest. @throws Error "Cannot load NAME: …"; a later call tries again. */
  loadEmulator(): Promise<WebAssembly.Module>;
  loadMachine(): Promise<MachineFiles>;
  loadSystem(): Promise<SystemFiles>;
}

/**
 * Starts the downloads of what is asked for at once.
 * @param find gives the file of a name
 */
export function createSystemLoader(
  downloads: Downloads,
  find: (name: string) => RemoteFile,
  emulatorFile: RemoteFile,
): SystemLoader {
  const loadEmulator = once(() => downloads.compile(emulatorFile));
  const loadMachine = once(async () => {
    const [emulator, bios, vgaBios] = await Promise.all([
      loadEmulator(),
      downloads.load(find("bios.bin")),
      downloads.load(find("vgabios.bin")),
    ]);
    return { emulator, bios, vgaBios };
  });
  const loadSystem = once(async () => {
    const [machine, kernel] = await Promise.all([loadMachine(), downloads.load(find("bzImage"))]);
    await nextTask();
    const unpackedKernel = unpackKernel(kernel);
    await nextTask();
    return { ...machine, kernel, unpackedKernel };
  });
  return { loadEmulator, loadMachine, loadSystem };
}

/** The states of warm boots, `warm-128.state` for 128 MiB of memory. */
export function createStateLoader(
  downloads: Downloads,
  files: readonly ListedFile[],
  base: URL,
): { loadState(memoryMb: number): Promise<Pieces> | null; hasStates: boolean } {
  const nameOf = (memoryMb: number): string => `warm-${memoryMb}.state`;
  return {
    hasStates: files.some(({ name }) => /^warm-\d+\.state$/.test(name)),
    loadState(memoryMb) {
      if (!files.some(({ name }) => name === nameOf(memoryMb))) return null;
      return downloads.loadPieces(findFile(files, base, nameOf(memoryMb)));
    },
  };
}

/** What failed is tried again by the next call. */
function once<T>(load: () => Promise<T>): () => Promise<T> {
  let loading: Promise<T> | null = null;
  return () => {
    loading ??= load().catch((error: unknown) => {
      loading = null;
      throw error;
    });
    return loading;
  };
}

/** Unpacking takes half of what a task may take without being felt: the browser gets its turn before and after it. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}
