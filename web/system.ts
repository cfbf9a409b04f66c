/** Loads what every machine has, whatever the project: emulator, BIOS, kernel. */
import type { Downloads, RemoteFile } from "./downloads.ts";
import { type UnpackedKernel, unpackKernel } from "./kernel.ts";

export interface SystemFiles {
  emulator: WebAssembly.Module;
  bios: Uint8Array<ArrayBuffer>;
  vgaBios: Uint8Array<ArrayBuffer>;
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

/**
 * Starts all downloads at once.
 * @param find gives the file of a name
 * @throws Error "Cannot load NAME: …"; a later call tries again.
 */
export function createSystemLoader(
  downloads: Downloads,
  find: (name: string) => RemoteFile,
  emulatorFile: RemoteFile,
): () => Promise<SystemFiles> {
  let loading: Promise<SystemFiles> | null = null;
  const load = async (): Promise<SystemFiles> => {
    const [emulator, bios, vgaBios, kernel] = await Promise.all([
      downloads.compile(emulatorFile),
      downloads.load(find("bios.bin")),
      downloads.load(find("vgabios.bin")),
      downloads.load(find("bzImage")),
    ]);
    await nextTask();
    const unpackedKernel = unpackKernel(kernel);
    await nextTask();
    return { emulator, bios, vgaBios, kernel, unpackedKernel };
  };
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
