import { readNote, writeNote } from "./local-note.ts";
import type { Language, Theme, WhenHidden } from "./state.ts";

/** Choices that hold for all projects. Storage that is refused only means that they are not remembered. */
export interface Settings {
  theme?: Theme;
  language?: Language;
  hidden?: WhenHidden;
  /** Whether a machine is kept when the page is left. */
  resumes?: boolean;
  /** Guest memory in MiB of what ran last, where one of the site's states serves it; 0 where none does. */
  warmMemoryMb?: number;
}

const KEY = "smart-os:settings";

export function readSettings(): Settings {
  try {
    const value = JSON.parse(readNote(KEY) ?? "{}") as Settings;
    return {
      ...(value.theme === "light" || value.theme === "dark" ? { theme: value.theme } : {}),
      ...(value.hidden === "run" || value.hidden === "pause" ? { hidden: value.hidden } : {}),
      ...(value.language === "en" || value.language === "zh" ? { language: value.language } : {}),
      ...(typeof value.resumes === "boolean" ? { resumes: value.resumes } : {}),
      ...(typeof value.warmMemoryMb === "number" ? { warmMemoryMb: value.warmMemoryMb } : {}),
    };
  } catch {
    return {};
  }
}

export function writeSettings(change: Settings): void {
  writeNote(KEY, JSON.stringify({ ...readSettings(), ...change }));
}
