/** The text editor: the only importer of CodeMirror. It is loaded after the machine has started to boot. */
import { defaultKeymap, history, historyKeymap, indentWithTab, isolateHistory } from "@codemirror/commands";
import { bracketMatching, HighlightStyle, indentUnit, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { properties } from "@codemirror/legacy-modes/mode/properties";
import { shell } from "@codemirror/legacy-modes/mode/shell";
import { unifiedMergeView } from "@codemirror/merge";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState, type Extension } from "@codemirror/state";
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  highlightSpecialChars,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { adoptStyles } from "./adopted-styles.ts";
import { el } from "./dom.ts";

export interface EditorFile {
  /** Files of the same path in other projects are other files. */
  project: string;
  path: string;
  text: string;
  /** A change of it says that `text` did not come from the editor, and is to be shown. */
  revision: number;
  /** Text to compare with; null shows the file alone. */
  original: string | null;
  readOnly: boolean;
}

/** The editor's own words. */
export interface EditorWords {
  revertChange: string;
  /** Translations of CodeMirror's phrases; one that is missing stays English. */
  phrases: Record<string, string>;
}

export interface Editor {
  readonly element: HTMLElement;
  /** Shows a file. Each one keeps its undo history, selection and scroll position while others are shown. */
  show(file: EditorFile, words: EditorWords): void;
  focus(): void;
}

interface Kept {
  state: EditorState;
  scrollTop: number;
  revision: number;
}

const highlight = HighlightStyle.define([
  { tag: tags.comment, color: "var(--code-comment)" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--code-string)" },
  { tag: [tags.keyword, tags.controlKeyword], color: "var(--code-keyword)" },
  { tag: [tags.number, tags.atom, tags.bool], color: "var(--code-number)" },
  { tag: [tags.variableName, tags.definition(tags.variableName), tags.propertyName], color: "var(--code-variable)" },
  { tag: [tags.standard(tags.variableName), tags.attributeName], color: "var(--code-builtin)" },
  { tag: [tags.meta, tags.operator], color: "var(--code-comment)" },
]);

/** The rest of the look is in style/editor.css; what CodeMirror's own theme would win over is here. */
const theme = EditorView.theme({
  "&": { height: "100%", backgroundColor: "var(--well)", color: "var(--text)" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55" },
  ".cm-content": { caretColor: "var(--accent-strong)", paddingBlock: "8px" },
  ".cm-cursor, .cm-dropCursor": { borderLeftColor: "var(--accent-strong)", borderLeftWidth: "2px" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    background: "var(--selection)",
  },
  ".cm-gutters": { backgroundColor: "var(--well)", color: "var(--text-faint)", border: "none" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--line-active)" },
  ".cm-activeLineGutter": { color: "var(--text)" },
});

/** @param onEdit called with the whole text at every change that the user makes */
export function createEditor(onEdit: (path: string, text: string) => void): Editor {
  const element = el("div", { className: "code", dataset: { testid: "editor" } });
  const mutable = new Compartment();
  const comparison = new Compartment();
  const wording = new Compartment();
  const kept = new Map<string, Kept>();
  let current: EditorFile | null = null;
  let quiet = false;

  const extensions = (file: EditorFile, words: EditorWords): Extension[] => [
    lineNumbers(),
    highlightActiveLineGutter(),
    highlightSpecialChars(),
    history(),
    drawSelection(),
    highlightActiveLine(),
    bracketMatching(),
    highlightSelectionMatches(),
    search({ top: true }),
    indentUnit.of("  "),
    EditorState.tabSize.of(8),
    syntaxHighlighting(highlight),
    theme,
    StreamLanguage.define(isShell(file) ? shell : properties),
    // Ctrl+Enter is the page's.
    keymap.of([
      ...searchKeymap,
      ...historyKeymap,
      ...defaultKeymap.filter(({ key }) => key !== "Mod-Enter"),
      indentWithTab,
    ]),
    mutable.of(EditorState.readOnly.of(file.readOnly)),
    comparison.of(compare(file, words)),
    wording.of(EditorState.phrases.of(words.phrases)),
    EditorView.contentAttributes.of({
      "aria-label": file.path,
      spellcheck: "false",
      autocorrect: "off",
      autocapitalize: "off",
    }),
    EditorView.updateListener.of((update) => {
      if (update.docChanged && !quiet && current) onEdit(current.path, update.state.doc.toString());
    }),
  ];

  const view = adoptStyles(() => new EditorView({ parent: element }));
  const keep = (): void => {
    if (current)
      kept.set(keyOf(current), { state: view.state, scrollTop: view.scrollDOM.scrollTop, revision: current.revision });
  };
  const open = (file: EditorFile, words: EditorWords): void => {
    keep();
    if (current?.project !== file.project) kept.clear();
    const before = kept.get(keyOf(file));
    view.setState(before?.state ?? EditorState.create({ doc: file.text, extensions: extensions(file, words) }));
    // CodeMirror measures its lines first.
    view.requestMeasure({ read: () => {}, write: () => view.scrollDOM.scrollTo({ top: before?.scrollTop ?? 0 }) });
  };
  /** A text that came from elsewhere is one step that can be undone. */
  const replaceText = (text: string): void => {
    if (view.state.doc.toString() === text) return;
    view.dispatch({ changes: differenceOf(view.state.doc.toString(), text), annotations: isolateHistory.of("full") });
  };

  return {
    element,
    show(file, words) {
      quiet = true;
      const isOther = !current || keyOf(current) !== keyOf(file);
      const revision = isOther ? kept.get(keyOf(file))?.revision : current?.revision;
      if (isOther) open(file, words);
      if (revision !== file.revision) replaceText(file.text);
      view.dispatch({
        effects: [
          mutable.reconfigure(EditorState.readOnly.of(file.readOnly)),
          comparison.reconfigure(compare(file, words)),
          wording.reconfigure(EditorState.phrases.of(words.phrases)),
        ],
      });
      current = file;
      quiet = false;
    },
    focus: () => view.focus(),
  };
}

function keyOf({ project, path }: EditorFile): string {
  return `${project}:${path}`;
}

/** The one stretch in which two texts differ, so that the cursor elsewhere stays where it is. */
function differenceOf(before: string, after: string): { from: number; to: number; insert: string } {
  const most = Math.min(before.length, after.length);
  let start = 0;
  while (start < most && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < most - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  return { from: start, to: before.length - end, insert: after.slice(start, after.length - end) };
}

function compare({ original, readOnly }: EditorFile, words: EditorWords): Extension {
  if (original === null) return [];
  return unifiedMergeView({
    original,
    gutter: true,
    collapseUnchanged: { margin: 3, minSize: 6 },
    // The other control would take a change into the default, which nobody can change.
    mergeControls: readOnly
      ? false
      : (type, action) => {
          if (type === "accept") return el("span", { hidden: true });
          const button = el("button", { type: "button", className: "button small" }, words.revertChange);
          button.addEventListener("mousedown", action);
          return button;
        },
  });
}

function isShell({ path, text }: EditorFile): boolean {
  return (
    /^#!.*sh\b/.test(text) ||
    /(\/(inittab|profile|\.profile|\.\w*rc|mdev\.conf)|\.sh|rc[A-Z]?)$/.test(path) ||
    path.includes("/init.d/")
  );
}
