import type { DiskParts } from "./disk.ts";
import { hashSha256 } from "./hash.ts";
import type { IsoParts } from "./iso.ts";
import type { SystemParts } from "./recipe.ts";

/** A file of the system as it is served: `file` is its name there. */
export interface Artefact {
  name: string;
  file: string;
  size: number;
  /** Bytes over the wire: progress is counted in these. */
  wire: number;
  sha256: string;
}

const PARTS = ["busybox", "busybox.links", "modules.cpio"] as const;
const CD_PARTS = ["bzImage", "cd.img"] as const;
const DISK_PARTS = ["bzImage", "boot.img", "core.img"] as const;

type OnBytes = (done: number, total: number) => void;

/** A download that did not succeed; `message` is for the user. */
export class UnavailableError extends Error {
  override readonly name = "UnavailableError";
}

/**
 * Loads what kernel-build/ made, checks it against its manifest, and keeps it for the next build.
 * @param base URL of the folder that holds the files, ending in "/"
 */
export function createSources(
  base: string,
  artefacts: readonly Artefact[],
): {
  load(signal: AbortSignal, onProgress: OnBytes): Promise<SystemParts>;
  /** What a disk needs beside them. */
  loadDisk(signal: AbortSignal, onProgress: OnBytes): Promise<DiskParts>;
  /** What a CD needs beside them. */
  loadCd(signal: AbortSignal, onProgress: OnBytes): Promise<IsoParts>;
} {
  const kept = new Map<string, Uint8Array>();
  const load = async (names: readonly string[], signal: AbortSignal, onProgress: OnBytes): Promise<Uint8Array[]> => {
    if (!names.every((name) => kept.has(name))) {
      const wanted = names.map((name) => {
        const artefact = artefacts.find((candidate) => candidate.name === name);
        if (!artefact) throw new UnavailableError(`Cannot load ${name}: system/manifest.json does not list it`);
        return artefact;
      });
      const total = wanted.reduce((sum, { wire }) => sum + wire, 0);
      const done = new Map<string, number>();
      const files = await Promise.all(
        wanted.map((artefact) =>
          download(base, artefact, signal, (part) => {
            done.set(artefact.name, Math.round(artefact.wire * part));
            onProgress(
              [...done.values()].reduce((sum, bytes) => sum + bytes, 0),
              total,
            );
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
    async loadCd(signal, onProgress) {
      const [kernel, cd] = (await load(CD_PARTS, signal, onProgress)) as [Uint8Array, Uint8Array];
      return { kernel, cd };
    },
  };
}

async function download(
  base: string,
  { name, file, size, sha256 }: Artefact,
  signal: AbortSignal,
  onPart: (part: number) => void,
): Promise<Uint8Array> {
  const response = await request(new URL(file, base), name, signal);
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
    onPart(at / size);
  }
  if (at !== size || (await hashSha256(bytes)) !== sha256) throw damaged(name);
  return bytes;
}

function damaged(name: string): UnavailableError {
  return new UnavailableError(
    `Cannot load ${name}: it is not the file that system/manifest.json lists. Reload the page`,
  );
}

async function request(url: URL, name: string, signal: AbortSignal): Promise<Response> {
  const response = await fetch(url, { signal }).catch((error: unknown) => {
    signal.throwIfAborted();
    throw new UnavailableError(`Cannot load ${name}: the server does not answer (${String(error)})`);
  });
  if (!response.ok) throw new UnavailableError(`Cannot load ${name}: the server answers ${response.status}`);
  return response;
}
