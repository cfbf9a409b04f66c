/** The terminal: the only importer of xterm. It is the other end of the guest's serial line. */
import "@xterm/xterm/css/xterm.css";
import { ClipboardAddon } from "@xterm/addon-clipboard";
import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { type ITheme, Terminal as Xterm } from "@xterm/xterm";

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
  /** A fresh terminal; what was printed before stays in the scrollback. */
  reset(): void;
  clear(): void;
  focus(): void;
  copy(): Promise<void>;
  paste(): Promise<void>;
  /** Types as if the user had. */
  type(text: string): void;
  find(text: string, direction: "next" | "previous"): void;
  resizeFont(step: 1 | -1): void;
  setDark(dark: boolean): void;
  /** Keys that belong to the page: return false and the terminal leaves them alone. */
  onKey(filter: (event: KeyboardEvent) => boolean): void;
  /** The text of the last lines, for tests and screen readers. */
  lines(count: number): string[];
}

const DARK: ITheme = {
  background: "#0f1417",
  foreground: "#d5dde0",
  cursor: "#f2b36b",
  cursorAccent: "#0f1417",
  selectionBackground: "#2f4a55",
  black: "#1c2429",
  red: "#f07f74",
  green: "#8fcf7f",
  yellow: "#e3c071",
  blue: "#7db3ee",
  magenta: "#cf9be6",
  cyan: "#69c9c4",
  white: "#d5dde0",
  brightBlack: "#7d8b92",
  brightRed: "#ff9c90",
  brightGreen: "#a9e39a",
  brightYellow: "#f5d78f",
  brightBlue: "#9cc9ff",
  brightMagenta: "#e1b6f5",
  brightCyan: "#8ce0db",
  brightWhite: "#f4f8f9",
};

const LIGHT: ITheme = {
  background: "#fbfaf7",
  foreground: "#253038",
  cursor: "#b45309",
  cursorAccent: "#fbfaf7",
  selectionBackground: "#cfe0e6",
  black: "#253038",
  red: "#b3261e",
  green: "#2f6f2a",
  yellow: "#805a00",
  blue: "#1f5fae",
  magenta: "#87389e",
  cyan: "#0f6b69",
  white: "#5d6a72",
  brightBlack: "#6b777e",
  brightRed: "#c2372e",
  brightGreen: "#37772f",
  brightYellow: "#8a6100",
  brightBlue: "#2a6cc0",
  brightMagenta: "#9446ab",
  brightCyan: "#13706e",
  brightWhite: "#253038",
};

const SCROLLBACK = 10_000;
const encoder = new TextEncoder();

export function createTerminal(): Terminal {
  const element = document.createElement("div");
  element.className = "terminal";
  element.dataset.testid = "terminal";
  const xterm = new Xterm({
    allowProposedApi: true,
    scrollback: SCROLLBACK,
    fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono") || "monospace",
    fontSize: 13,
    lineHeight: 1.25,
    cursorBlink: true,
    theme: DARK,
    rightClickSelectsWord: true,
  });
  const fit = new FitAddon();
  const search = new SearchAddon();
  xterm.loadAddon(fit);
  xterm.loadAddon(search);
  xterm.loadAddon(new WebLinksAddon());
  xterm.loadAddon(new ClipboardAddon());
  xterm.loadAddon(new Unicode11Addon());
  xterm.unicode.activeVersion = "11";

  let listener: (bytes: Uint8Array) => void = () => {};
  let filter: (event: KeyboardEvent) => boolean = () => true;
  xterm.onData((text) => listener(encoder.encode(text)));
  // Mouse reports of old programs: each character is one byte.
  xterm.onBinary((text) => listener(Uint8Array.from(text, (character) => character.charCodeAt(0))));
  xterm.attachCustomKeyEventHandler((event) => {
    if (event.ctrlKey && event.shiftKey && event.code === "KeyC") {
      if (event.type === "keydown") void copy();
      event.preventDefault();
      return false;
    }
    if (event.ctrlKey && event.shiftKey && event.code === "KeyV") {
      if (event.type === "keydown") void paste();
      event.preventDefault();
      return false;
    }
    return filter(event);
  });

  const copy = async (): Promise<void> => {
    const text = xterm.getSelection();
    if (text) await navigator.clipboard?.writeText(text);
  };
  const paste = async (): Promise<void> => {
    const text = await navigator.clipboard?.readText().catch(() => "");
    if (text) xterm.paste(text);
    xterm.focus();
  };

  let opened = false;
  const observer = new ResizeObserver(() => {
    // A hidden panel has no size; the terminal keeps its own then.
    if (element.clientWidth < 40 || element.clientHeight < 20) return;
    if (!opened) {
      opened = true;
      xterm.open(element);
    }
    fit.fit();
  });
  observer.observe(element);

  return {
    element,
    write: (data) => xterm.write(data),
    onInput(next) {
      listener = next;
    },
    onResize: (next) => void xterm.onResize(({ cols, rows }) => next({ columns: cols, rows })),
    size: () => ({ columns: xterm.cols, rows: xterm.rows }),
    reset() {
      // Attributes and modes that a crashed program left, then a line that shows where the new boot begins.
      xterm.write("\u001b[!p\u001b[?25h\u001b[?1049l\r\n");
      xterm.write(`\u001b[2m${"─".repeat(Math.max(10, xterm.cols - 1))}\u001b[0m\r\n\u001b[2J\u001b[H`);
    },
    clear: () => xterm.clear(),
    focus: () => xterm.focus(),
    copy,
    paste,
    type: (text) => listener(encoder.encode(text)),
    find(text, direction) {
      if (direction === "next") search.findNext(text);
      else search.findPrevious(text);
    },
    resizeFont(step) {
      xterm.options.fontSize = Math.min(28, Math.max(8, (xterm.options.fontSize ?? 13) + step));
      fit.fit();
    },
    setDark(dark) {
      xterm.options.theme = dark ? DARK : LIGHT;
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
