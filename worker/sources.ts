import type { DiskParts } from "./disk.ts";
import { hashSha256 } from "./hash.ts";
import type { SystemParts } from "./recipe.ts";

interface Manifest {
  artefacts: { name: string; size: number; sha256: string }[];
}

const PARTS = ["busybox", "busybox.links", "modules.cpio"] as const;
const DISK_PARTS = ["bzImage", "boot.img", "core.img"] as const;

type OnBytes = (done: number, total: number) => void;

/** A download that did not succeed; `message` is for the user. */
export class UnavailableError extends Error {
  override readonly name = "UnavailableError";
}

/**
 * Loads what kernel-build/ made, checks it against its manifest, and keeps it for the next build.
 * @param base URL of the folder that holds manifest.json
 */
export function createSources(base: string): {
  load(signal: AbortSignal, onProgress: OnBytes): Promise<SystemParts>;
  /** What a disk needs beside them. */
  loadDisk(signal: AbortSignal, onProgress: OnBytes): Promise<DiskParts>;
} {
  const kept = new Map<string, Uint8Array>();
  const load = async (names: readonly string[], signal: AbortSignal, onProgress: OnBytes): Promise<Uint8Array[]> => {
    if (!names.every((name) => kept.has(name))) {
      const { artefacts } = await loadManifest(base, signal);
      const wanted = names.map((name) => {
        const artefact = artefacts.find((candidate) => candidate.name === name);
        if (!artefact) throw new UnavailableError(`Cannot load ${name}: system/manifest.json does not list it`);
        return artefact;
      });
      const total = wanted.reduce((sum, { size }) => sum + size, 0);
      let done = 0;
      const files = await Promise.all(
        wanted.map((artefact) =>
          download(base, artefact, signal, (bytes) => {
            done += bytes;
            onProgress(done, total);
          }),
        ),
      );
      for (const [index, name] of names.entries()) kept.set(name, files[index] as Uint8Array);
    }
    return names.map((name) => kept.get(name) as Uint8Array);
  };
  return {
    async load(signal, onProgress) {
      const [busybox, links, modules] = (await load(PARTS, signal, onProgress)) as [Uint8Array, Uint8Array, Uint8Array];
      return { busybox, busyboxLinks: new TextDecoder().decode(links), modules };
    },
    async loadDisk(signal, onProgress) {
      const [kernel, boot, core] = (await load(DISK_PARTS, signal, onProgress)) as [Uint8Array, Uint8Array, Uint8Array];
      return { kernel, grub: { boot, core } };
    },
  };
}

async function loadManifest(base: string, signal: AbortSignal): Promise<Manifest> {
  const response = await request(base, "manifest.json", signal);
  // A server that answers an unknown path with a page sends HTML here.
  const manifest = (await response.json().catch(() => null)) as Manifest | null;
  signal.throwIfAborted();
  if (Array.isArray(manifest?.artefacts)) return manifest;
  throw new UnavailableError("Cannot load manifest.json: what the server sends is not the system's manifest");
}

async function download(
  base: string,
  { name, size, sha256 }: Manifest["artefacts"][number],
  signal: AbortSignal,
  onBytes: (bytes: number) => void,
): Promise<Uint8Array> {
  const response = await request(base, name, signal);
  const bytes = new Uint8Array(size);
  let at = 0;
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  for (;;) {
    const { value, done } = await reader.read().catch((error: unknown) => {
      signal.throwIfAborted();
      throw new UnavailableError(`Cannot load ${name}: the connection broke (${String(error)})`);
    });
    if (done) break;
    if (at + value.length > size) throw damaged(name);
    bytes.set(value, at);
    at += value.length;
    onBytes(value.length);
  }
  if (at !== size || (await hashSha256(bytes)) !== sha256) throw damaged(name);
  return bytes;
}

function damaged(name: string): UnavailableError {
  return new UnavailableError(
    `Cannot load ${name}: it is not the file that system/manifest.json lists. Reload the page`,
  );
}

async function request(base: string, name: string, signal: AbortSignal): Promise<Response> {
  const response = await fetch(new URL(name, base), { signal }).catch((error: unknown) => {
    signal.throwIfAborted();
    throw new UnavailableError(`Cannot load ${name}: the server does not answer (${String(error)})`);
  });
  if (!response.ok) throw new UnavailableError(`Cannot load ${name}: the server answers ${response.status}`);
  return response;
}
