/** Loads what every machine has, whatever the project: emulator, BIOS, kernel. */
import { type UnpackedKernel, unpackKernel } from "./kernel.ts";

export interface SystemFiles {
  emulator: WebAssembly.Module;
  bios: Uint8Array<ArrayBuffer>;
  vgaBios: Uint8Array<ArrayBuffer>;
  kernel: Uint8Array<ArrayBuffer>;
  unpackedKernel: UnpackedKernel | null;
}

/**
 * Starts all downloads at once.
 * @param base URL of the folder that holds `bzImage`, `bios.bin` and `vgabios.bin`
 * @throws Error "Cannot load NAME: …"; a later call tries again.
 */
export function createSystemLoader(base: URL, emulatorUrl: URL): () => Promise<SystemFiles> {
  let loading: Promise<SystemFiles> | null = null;
  const load = async (): Promise<SystemFiles> => {
    const [emulator, bios, vgaBios, kernel] = await Promise.all([
      compile(emulatorUrl),
      download(new URL("bios.bin", base)),
      download(new URL("vgabios.bin", base)),
      download(new URL("bzImage", base)),
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

async function compile(url: URL): Promise<WebAssembly.Module> {
  const response = await request(url);
  // Without the right type the browser refuses to compile while it downloads.
  if (response.headers.get("content-type") === "application/wasm") return WebAssembly.compileStreaming(response);
  return WebAssembly.compile(await response.arrayBuffer());
}

async function download(url: URL): Promise<Uint8Array<ArrayBuffer>> {
  const response = await request(url);
  return new Uint8Array(await response.arrayBuffer());
}

async function request(url: URL): Promise<Response> {
  const name = url.pathname.split("/").at(-1);
  const response = await fetch(url).catch((error: unknown) => {
    throw new Error(`Cannot load ${name}: the server does not answer (${String(error)})`);
  });
  if (!response.ok) throw new Error(`Cannot load ${name}: the server answers ${response.status}`);
  return response;
}
