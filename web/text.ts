/** All words of the page, in English and Chinese. A key that is missing in one of them does not compile. */
import type { Language } from "./state.ts";
import { en } from "./text/en.ts";

export type Text = typeof en;

let zh: Text | null = null;

/**
 * Fetches a language's words, which are a file of their own but for English.
 * @throws TypeError of the browser's, when it does not come
 */
export async function loadText(language: Language): Promise<void> {
  if (language === "zh") zh ??= (await import("./text/zh.ts")).zh;
}

/** English where the language's words have not come. */
export function textOf(language: Language): Text {
  return language === "zh" && zh !== null ? zh : en;
}

/** Sizes as people read them: 512 B, 1.5 kB, 2.3 MB. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1_000_000) return `${(bytes / 1000).toFixed(1)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** 0o755 as "0755". */
export function formatMode(mode: number): string {
  return `0${(mode & 0o7777).toString(8).padStart(3, "0")}`;
}

/** 0o4755 as "rwsr-xr-x", as `ls -l` writes it. */
export function formatPermissions(mode: number): string {
  const triple = (bits: number, special: boolean, letter: string): string => {
    const execute = (bits & 1) !== 0;
    const last = special ? (execute ? letter : letter.toUpperCase()) : execute ? "x" : "-";
    return `${bits & 4 ? "r" : "-"}${bits & 2 ? "w" : "-"}${last}`;
  };
  return (
    triple((mode >> 6) & 7, (mode & 0o4000) !== 0, "s") +
    triple((mode >> 3) & 7, (mode & 0o2000) !== 0, "s") +
    triple(mode & 7, (mode & 0o1000) !== 0, "t")
  );
}

/** 2640 as "2 640 ms": the thin groups keep long boots readable, and the unit stays the same on every bar. */
export function formatMs(ms: number): string {
  return `${String(Math.round(ms)).replace(/\B(?=(\d{3})+$)/g, "\u202f")} ms`;
}

/** Time since power-on as a clock: 04:09, 1:02:33. */
export function formatClock(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (value: number): string => String(value).padStart(2, "0");
  const clock = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return seconds < 3600 ? clock : `${Math.floor(seconds / 3600)}:${clock}`;
}
