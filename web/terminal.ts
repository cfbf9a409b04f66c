/** The terminal: the only importer of xterm. It is the other end of the guest's serial line. */
import "@xterm/xterm/css/xterm.css";
import { ClipboardAddon } from "@xterm/addon-clipboard";
import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { SerializeAddon } from "@xterm/addon-serialize";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { Terminal as Xterm } from "@xterm/xterm";
import { adoptStyles, allowStyleAttributes } from "./adopted-styles.ts";
import { copyText } from "./clipboard.ts";
import { el } from "./dom.ts";
import { DARK, LIGHT } from "./terminal-colours.ts";
import { measureOnce } from "./terminal-widths.ts";

export interface TerminalSize {
  columns: number;
  rows: number;
}

export interface Terminal {
  readonly element: HTMLElement;
  write(data: Uint8Array | string): void;
  /** What the user types or pastes, as bytes for the guest. */
  onInput(listener: (bytes: Uint8Array) => void): void;
  onResize(listener: (size: TerminalSize) => void): void;
  size(): TerminalSize;
  /** What is on it and the last lines above, as what a program would print for it. */
  content(): string;
  /** A fresh terminal; what was printed before stays in the scrollback. */
  reset(): void;
  clear(): void;
  focus(): void;
  /** Takes the size of its element. It does so by itself whenever that changes. */
  fit(): void;
  /** @returns false when nothing is selected or the browser refuses */
  copy(): Promise<boolean>;
  /** @returns false when the browser does not let the page read the clipboard */
  paste(): Promise<boolean>;
  selectAll(): void;
  hasSelection(): boolean;
  /** Types as if the user had. */
  type(text: string): void;
  /** The next character that is typed is sent with Ctrl; for keyboards on glass. */
  holdControl(held: boolean, onReleased: () => void): void;
  /** Marks all places and goes to the next one; "" ends the search. */
  find(text: string, direction: "next" | "previous", incremental?: boolean): void;
  /** Where a search stands: the place shown, from 1 (0: none), and how many there are. */
  onFound(listener: (index: number, count: number) => void): void;
  resizeFont(step: 1 | -1): number;
  setFontSize(size: number): void;
  setDark(dark: boolean): void;
  setScreenReader(enabled: boolean): void;
  /** Keys that belong to the page: return false and the terminal leaves them alone. */
  onKey(filter: (event: KeyboardEvent) => boolean): void;
  /** The text of the last lines, for tests and screen readers. */
  lines(count: number): string[];
}

const SCROLLBACK = 10_000;
/** Lines above the screen that a saved machine keeps. */
const KEPT_LINES = 500;
const FONT_SIZE = 13;
/** After a piece of output what follows is gathered for so long: a drawing for each would slow down who prints it. */
const GATHER_MS = 40;
const encoder = new TextEncoder();
/** A cursor at which nobody types stands still after this: each blink is a drawing. */
const BLINK_MS = 10_000;
/** A panel that is folded or hidden is smaller than this; the terminal keeps its size then. */
const LEAST_WIDTH = 40;
const LEAST_HEIGHT = 20;

export function createTerminal(): Terminal {
  const element = el("div", { className: "terminal", dataset: { testid: "terminal" } });
  const xterm = new Xterm({
    allowProposedApi: true,
    scrollback: SCROLLBACK,
    // Ctrl+L and `clear` keep what was on the screen in the scrollback.
    scrollOnEraseInDisplay: true,
    fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono").trim() || "monospace",
    fontSize: FONT_SIZE,
    lineHeight: 1.2,
    theme: DARK,
    // Programs choose colours for a black ground; on a white one they are darkened as far as needed.
    minimumContrastRatio: 4.5,
  });
  const fit = new FitAddon();
  const search = new SearchAddon();
  const serialize = new SerializeAddon();
  for (const addon of [fit, search, serialize, new WebLinksAddon(), new ClipboardAddon(), new Unicode11Addon()])
    xterm.loadAddon(addon);
  xterm.unicode.activeVersion = "11";

  let listener: (bytes: Uint8Array) => void = () => {};
  let filter: (event: KeyboardEvent) => boolean = () => true;
  let found: (index: number, count: number) => void = () => {};
  let released: (() => void) | null = null;
  let isDark = true;

  const blinks = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  let rest: ReturnType<typeof setTimeout> | undefined;
  const blink = (): void => {
    if (!blinks) return;
    clearTimeout(rest);
    rest = setTimeout(() => {
      xterm.options.cursorBlink = false;
    }, BLINK_MS);
    xterm.options.cursorBlink = true;
  };
  element.addEventListener("focusin", blink);
  xterm.onData((text) => {
    blink();
    listener(encoder.encode(released ? withControl(text) : text));
  });
  search.onDidChangeResults(({ resultIndex, resultCount }) => found(resultIndex + 1, resultCount));
  // Mouse reports of old programs: each character is one byte.
  xterm.onBinary((text) => listener(Uint8Array.from(text, (character) => character.charCodeAt(0))));
  const withControl = (text: string): string => {
    released?.();
    released = null;
    return text.length === 1 ? controlOf(text) : text;
  };
  xterm.attachCustomKeyEventHandler((event) => {
    if (event.ctrlKey && event.shiftKey && event.code === "KeyC") {
      if (event.type === "keydown") void copy();
      event.preventDefault();
      return false;
    }
    // Left to the browser, which pastes without asking for a permission.
    if (event.ctrlKey && event.shiftKey && event.code === "KeyV") return false;
    return filter(event);
  });
  const copy = async (): Promise<boolean> => {
    const text = xterm.getSelection();
    return text !== "" && copyText(text);
  };

  let gathered: (Uint8Array | string)[] | null = null;
  const write = (data: Uint8Array | string): void => {
    if (gathered) {
      gathered.push(data);
      return;
    }
    xterm.write(data);
    gathered = [];
    setTimeout(() => {
      const pieces = gathered ?? [];
      gathered = null;
      for (const piece of pieces) xterm.write(piece);
    }, GATHER_MS);
  };

  let opened = false;
  const resize = (): void => {
    if (element.clientWidth < LEAST_WIDTH || element.clientHeight < LEAST_HEIGHT) return;
    if (!opened) {
      opened = true;
      allowStyleAttributes();
      adoptStyles(() => xterm.open(element));
      measureOnce(xterm);
    }
    fit.fit();
  };
  new ResizeObserver(resize).observe(element);

  return {
    element,
    write,
    onInput(next) {
      listener = next;
    },
    onResize: (next) => void xterm.onResize(({ cols, rows }) => next({ columns: cols, rows })),
    size: () => ({ columns: xterm.cols, rows: xterm.rows }),
    content() {
      const decoder = new TextDecoder();
      // What has come and is not drawn yet belongs to it.
      const late = (gathered ?? []).map((piece) => (typeof piece === "string" ? piece : decoder.decode(piece)));
      return serialize.serialize({ scrollback: KEPT_LINES }) + late.join("");
    },
    reset() {
      // Leaves the modes of a crashed program, draws a line under the old boot, and moves it into the scrollback.
      const rule = `\u001b[0;2m${"─".repeat(Math.max(10, xterm.cols - 1))}\u001b[0m`;
      const start = xterm.buffer.active.baseY + xterm.buffer.active.cursorY === 0 ? "" : `\r\n${rule}\r\n`;
      write(`\u001b[!p\u001b[?25h\u001b[?1049l${start}\u001b[2J\u001b[H`);
    },
    clear: () => xterm.clear(),
    focus: () => xterm.focus(),
    fit: resize,
    copy,
    async paste() {
      try {
        xterm.paste(await navigator.clipboard.readText());
        return true;
      } catch {
        return false;
      } finally {
        xterm.focus();
      }
    },
    selectAll: () => xterm.selectAll(),
    hasSelection: () => xterm.hasSelection(),
    type: (text) => listener(encoder.encode(text)),
    holdControl(held, onReleased) {
      released = held ? onReleased : null;
    },
    find(text, direction, incremental = false) {
      if (text === "") return search.clearDecorations();
      const options = {
        incremental: incremental && direction === "next",
        decorations: isDark ? FOUND_DARK : FOUND_LIGHT,
      };
      if (direction === "next") search.findNext(text, options);
      else search.findPrevious(text, options);
    },
    onFound(next) {
      found = next;
    },
    resizeFont(step) {
      xterm.options.fontSize = Math.min(28, Math.max(8, (xterm.options.fontSize ?? FONT_SIZE) + step));
      resize();
      return xterm.options.fontSize;
    },
    setFontSize(size) {
      xterm.options.fontSize = Math.min(28, Math.max(8, size));
      resize();
    },
    setDark(dark) {
      isDark = dark;
      xterm.options.theme = dark ? DARK : LIGHT;
    },
    setScreenReader(enabled) {
      xterm.options.screenReaderMode = enabled;
    },
    onKey(next) {
      filter = next;
    },
    lines(count) {
      const buffer = xterm.buffer.active;
      const lines: string[] = [];
      for (let row = 0; row < buffer.length; row += 1) lines.push(buffer.getLine(row)?.translateToString(true) ?? "");
      while (lines.at(-1) === "") lines.pop();
      return lines.slice(-count);
    },
  };
}

const FOUND_DARK = {
  matchBackground: "#4a3a12",
  matchOverviewRuler: "#c98d1e",
  activeMatchBackground: "#8a5f00",
  activeMatchBorder: "#ffb84d",
  activeMatchColorOverviewRuler: "#ffb84d",
};
const FOUND_LIGHT = {
  matchBackground: "#ffe7ba",
  matchOverviewRuler: "#d99a2b",
  activeMatchBackground: "#ffc65c",
  activeMatchBorder: "#a85d00",
  activeMatchColorOverviewRuler: "#a85d00",
};

/** What Ctrl and a character send: the character's low five bits, as terminals have done since 1963. */
function controlOf(character: string): string {
  const code = character.toUpperCase().charCodeAt(0);
  if (code === 0x20 || (code >= 0x40 && code <= 0x5f)) return String.fromCharCode(code & 0x1f);
  return code === 0x3f ? "\u007f" : character;
}
