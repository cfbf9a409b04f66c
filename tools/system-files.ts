/**
 * What the page knows of the system's files without asking: it is built into the page's scripts, so that a page never
 * takes the files of another version. Built sites serve them under names with their hash, which may be kept for ever.
 */
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compress, wireBytes } from "./compression.mjs";
import { hashStateInputs, readStates } from "./states.ts";

/** One file of public/system. */
export interface SystemFile {
  name: string;
  /** Its name in the site's folder `system/`. */
  file: string;
  size: number;
  /** Bytes over the wire, where the server sends the best copy that it has. */
  wire: number;
  sha256: string;
}

interface Manifest {
  artefacts: { name: string; file?: string; size: number; sha256: string }[];
}

const readManifest = (folder: string): Manifest => JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8"));

/** @param folder public/system; a development server serves it as it is */
export async function readSystemFiles(folder: string, isServedAsIs: boolean): Promise<SystemFile[]> {
  if (!existsSync(join(folder, "manifest.json"))) return [];
  return Promise.all(
    readManifest(folder).artefacts.map(async ({ name, size, sha256 }) => {
      if (isServedAsIs) return { name, file: name, size, wire: size, sha256 };
      const bytes = readFileSync(join(folder, name));
      return { name, file: hashedName(name, sha256), size, wire: wireBytes(bytes, await compress(bytes)), sha256 };
    }),
  );
}

/** The states of warm boots that the cache has; a development server does without. */
export async function readStateFiles(): Promise<SystemFile[]> {
  return Promise.all(
    readStates().map(async ({ name, path }) => {
      const bytes = readFileSync(path);
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      return {
        name,
        file: hashedName(name, sha256),
        size: bytes.length,
        wire: wireBytes(bytes, await compress(bytes)),
        sha256,
      };
    }),
  );
}

/** Puts the states into a built site, and tells them in its manifest with the sum over what they were made from. */
export async function placeStates(folder: string): Promise<void> {
  const files = await readStateFiles();
  for (const [index, { path }] of readStates().entries())
    copyFileSync(path, join(folder, (files[index] as SystemFile).file));
  const manifest = { ...readManifest(folder), states: { inputs: hashStateInputs(), files } };
  writeFileSync(join(folder, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** Gives the copies in a built site their names, and tells them in its manifest. */
export function nameSystemFiles(folder: string): void {
  const manifest = readManifest(folder);
  for (const artefact of manifest.artefacts) {
    artefact.file = hashedName(artefact.name, artefact.sha256);
    renameSync(join(folder, artefact.name), join(folder, artefact.file));
  }
  writeFileSync(join(folder, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** "core.img" as "core-3fd7d2fe402c.img". */
function hashedName(name: string, sha256: string): string {
  const [, stem, extension] = /^([^.]*)(.*)$/.exec(name) as unknown as [string, string, string];
  return `${stem}-${sha256.slice(0, 12)}${extension}`;
}
