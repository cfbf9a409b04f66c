/** What this browser remembers of the page's shape. Storage that is refused only means that nothing is remembered. */
import { readNote, writeNote } from "../local-note.ts";

const PREFIX = "smart-os:view:";

/** @returns the remembered value when it is of the same type as `fallback`, else `fallback` */
export function readPreference<T extends number | boolean | string>(name: string, fallback: T): T {
  try {
    const value: unknown = JSON.parse(readNote(PREFIX + name) ?? "null");
    return typeof value === typeof fallback ? (value as T) : fallback;
  } catch {
    return fallback;
  }
}

export function writePreference(name: string, value: number | boolean | string): void {
  writeNote(PREFIX + name, JSON.stringify(value));
}
