/** The text editor: the only importer of CodeMirror. It is loaded after the machine has started to boot. */
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { bracketMatching, HighlightStyle, indentUnit, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { properties } from "@codemirror/legacy-modes/mode/properties";
import { shell } from "@codemirror/legacy-modes/mode/shell";
import { unifiedMergeView } from "@codemirror/merge";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState, type Extension } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";

export interface EditorFile {
  path: string;
  text: string;
  /** Text to compare with; null shows the file alone. */
  original: string | null;
  readOnly: boolean;
}

export interface Editor {
  readonly element: HTMLElement;
  /** Shows a file. Each path keeps its own undo history and cursor as long as its text is what the editor last had. */
  show(file: EditorFile): void;
  focus(): void;
}

const highlight = HighlightStyle.define([
  { tag: tags.comment, color: "var(--code-comment)", fontStyle: "italic" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--code-string)" },
  { tag: tags.keyword, color: "var(--code-keyword)", fontWeight: "600" },
  { tag: [tags.number, tags.atom, tags.bool], color: "var(--code-number)" },
  { tag: [tags.variableName, tags.definition(tags.variableName)], color: "var(--code-variable)" },
  { tag: [tags.standard(tags.variableName), tags.attributeName], color: "var(--code-builtin)" },
  { tag: tags.meta, color: "var(--code-comment)" },
]);

/** @param onEdit called with the whole text at every change that the user makes */
export function createEditor(onEdit: (path: string, text: string) => void): Editor {
  const element = document.createElement("div");
  element.className = "code";
  element.dataset.testid = "editor";
  const mutable = new Compartment();
  const comparison = new Compartment();
  const kept = new Map<string, EditorState>();
  let path = "";
  let loading = false;

  const extensions = (file: EditorFile): Extension[] => [
    lineNumbers(),
    history(),
    drawSelection(),
    highlightActiveLine(),
    bracketMatching(),
    highlightSelectionMatches(),
    search({ top: true }),
    indentUnit.of("  "),
    EditorState.tabSize.of(8),
    syntaxHighlighting(highlight),
    language(file),
    keymap.of([
      ...searchKeymap,
      ...historyKeymap,
      ...defaultKeymap.filter(({ key }) => key !== "Mod-Enter"),
      indentWithTab,
    ]),
    mutable.of(EditorState.readOnly.of(file.readOnly)),
    comparison.of(compare(file)),
    EditorView.contentAttributes.of({ "aria-label": file.path }),
    EditorView.updateListener.of((update) => {
      if (update.docChanged && !loading) onEdit(path, update.state.doc.toString());
    }),
  ];

  const view = new EditorView({ parent: element });
  return {
    element,
    show(file) {
      loading = true;
      if (path) kept.set(path, view.state);
      const before = file.path === path ? view.state : kept.get(file.path);
      if (before && before.doc.toString() === file.text) {
        if (file.path !== path) view.setState(before);
        view.dispatch({
          effects: [mutable.reconfigure(EditorState.readOnly.of(file.readOnly)), comparison.reconfigure(compare(file))],
        });
      } else view.setState(EditorState.create({ doc: file.text, extensions: extensions(file) }));
      path = file.path;
      loading = false;
    },
    focus: () => view.focus(),
  };
}

function compare({ original }: EditorFile): Extension {
  return original === null ? [] : unifiedMergeView({ original, mergeControls: false, gutter: true });
}

function language({ path, text }: EditorFile): Extension {
  const isShell = /^#!.*sh\b/.test(text) || /\/(profile|\.profile|.*\.sh|.*rc)$/.test(path);
  return StreamLanguage.define(isShell ? shell : properties);
}
