/**
 * xterm measures every character that it draws for the first time, in each of its four faces, and has the browser lay out
 * the page for it: dozens of times while a machine boots. In a font of fixed width one measurement stands for all ASCII.
 */
import type { Terminal as Xterm } from "@xterm/xterm";

/** xterm's own cache of widths (src/browser/renderer/dom/WidthCache.ts of version 6). */
interface WidthCache {
  clear(): void;
  /** @returns pixels; `face` is 1 for bold and 2 for italic, added up */
  _measure(characters: string, face: number): number;
}

const ASCII = Array.from({ length: 0x7f - 0x20 }, (_, index) => String.fromCharCode(0x20 + index)).join("");
/** The widest and the narrowest letters of a font that has no fixed width. */
const WIDEST = "W";
const NARROWEST = "i";
/** xterm measures whole pixels of 32 characters. */
const STEP = 1 / 32;

/** To be called when the terminal is open. Where xterm is another one than expected it goes on measuring as before. */
export function measureOnce(xterm: Xterm): void {
  const core = (xterm as unknown as { _core?: { _renderService?: { _renderer?: { value?: object } } } })._core;
  const cache = (core?._renderService?._renderer?.value as { _widthCache?: Partial<WidthCache> } | undefined)
    ?._widthCache;
  if (!cache?.clear || !cache._measure) return;
  const measure = cache._measure.bind(cache);
  const clear = cache.clear.bind(cache);
  /** By face; null: this font's characters have several widths. */
  let fixed: (number | null | undefined)[] = [];
  const find = (face: number): number | null => {
    const width = measure(WIDEST, face);
    const others = [measure(NARROWEST, face), measure(ASCII, face) / ASCII.length];
    return others.every((other) => Math.abs(other - width) <= STEP) ? width : null;
  };
  cache._measure = (characters, face) => {
    const isAscii = characters.length === 1 && characters >= " " && characters <= "~";
    if (!isAscii) return measure(characters, face);
    if (fixed[face] === undefined) fixed[face] = find(face);
    return fixed[face] ?? measure(characters, face);
  };
  cache.clear = () => {
    fixed = [];
    clear();
  };
}
