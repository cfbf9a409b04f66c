/**
 * What the builder gets of a project for a warm boot: everything but the files' contents. Those go from the page straight
 * into the guest's memory.
 */
import type { Outline, Overlay } from "../worker/api.ts";

/** Two files with the very same array have the same content. */
const numbers = new WeakMap<Uint8Array, number>();
let count = 0;

function numberOf(content: Uint8Array): number {
  const known = numbers.get(content);
  if (known !== undefined) return known;
  count += 1;
  numbers.set(content, count);
  return count;
}

export function outlineOf(overlay: Overlay): Outline {
  return overlay.map((file): Outline[number] =>
    file.kind === "file" ? { ...file, size: file.content.length, content: numberOf(file.content) } : file,
  );
}

/** The contents of an overlay by the numbers that its outline has. */
export function contentsOf(overlay: Overlay): ReadonlyMap<number, Uint8Array> {
  return new Map(
    overlay.flatMap((file): [number, Uint8Array][] =>
      file.kind === "file" ? [[numberOf(file.content), file.content]] : [],
    ),
  );
}

/** How many bytes of files there are in an overlay. */
export function bytesOf(overlay: Overlay): number {
  return overlay.reduce((sum, file) => sum + (file.kind === "file" ? file.content.length : 0), 0);
}
