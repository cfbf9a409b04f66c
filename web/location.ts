import type { BootMode, Language } from "./state.ts";

/** What the address asks for: docs/architecture.md lists the parameters. */
export interface Wishes {
  project: string | null;
  /** "off": the machine is not switched on by itself. */
  boot: BootMode | "off" | null;
  commandLine: string | null;
  memoryMb: number | null;
  language: Language | null;
  /** An image to load. */
  image: string | null;
  embed: boolean;
  /** Origins of pages around the embed that may use its functions. */
  origins: readonly string[];
  /** "off", or a relay's address. One that comes with a room is part of that: see room-link.ts. */
  relay: string | null;
}

/** Reads the page's address. A value that makes no sense is ignored, as if it were absent. */
export function readLocation(href: string, languages: readonly string[]): Wishes {
  const { searchParams } = new URL(href);
  const memory = Number(searchParams.get("mem"));
  const boot = searchParams.get("boot");
  const language = searchParams.get("lang");
  return {
    project: searchParams.get("project")?.trim() || null,
    boot: boot === "cold" || boot === "warm" || boot === "disk" || boot === "off" ? boot : null,
    commandLine: searchParams.get("cmdline"),
    // The emulator has memory in powers of two.
    memoryMb: memory >= 32 && memory <= 1024 && Number.isInteger(Math.log2(memory)) ? memory : null,
    language: language === "en" || language === "zh" ? language : preferred(languages),
    image: searchParams.get("image")?.trim() || null,
    embed: searchParams.get("embed") === "1",
    origins: searchParams.getAll("origin").filter(isOrigin),
    relay: searchParams.has("room") ? null : searchParams.get("relay")?.trim() || null,
  };
}

function isOrigin(text: string): boolean {
  try {
    const { protocol, origin } = new URL(text);
    return (protocol === "https:" || protocol === "http:") && origin === text;
  } catch {
    return false;
  }
}

function preferred(languages: readonly string[]): Language | null {
  for (const language of languages) {
    if (language.startsWith("zh")) return "zh";
    if (language.startsWith("en")) return null;
  }
  return null;
}
