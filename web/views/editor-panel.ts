import { el } from "../dom.ts";
import type { Editor } from "../editor.ts";
import type { Actions, AppState, OpenFile } from "../state.ts";
import { formatBytes, formatMode, type Text } from "../text.ts";
import type { View } from "./view.ts";

/** The open file: its text to edit or its differences from the default, and what is wrong with it. */
export function createEditorPanel(text: Text, actions: Actions, loadEditor: () => Promise<Editor>): View {
  let state: AppState | null = null;
  let tab: "edit" | "changes" = "edit";
  let editor: Editor | null = null;
  let shown = "";

  const path = el("span", { className: "path" });
  const facts = el("span", { className: "soft" });
  const restore = el("button", { type: "button", className: "button" }, text.restore);
  const tabs = (["edit", "changes"] as const).map((name) => {
    const button = el(
      "button",
      { type: "button", className: "tab", dataset: { testid: `tab-${name}` }, attributes: { role: "tab" } },
      text[name],
    );
    button.addEventListener("click", () => {
      tab = name;
      draw();
    });
    return { name, button };
  });
  const hint = el("div", { className: "hint", hidden: true });
  const empty = el("p", { className: "empty" }, text.chooseFile);
  const body = el("div", { className: "editor-body" }, empty);
  const element = el(
    "section",
    { className: "panel editor-panel", attributes: { "aria-label": text.editor } },
    el(
      "div",
      { className: "head" },
      path,
      facts,
      el("span", { className: "bar-space" }),
      restore,
      el("div", { className: "tabs", role: "tablist" }, ...tabs.map(({ button }) => button)),
    ),
    hint,
    body,
  );
  restore.addEventListener("click", () => state?.openFile && actions.restoreDefault(state.openFile.path));

  const drawHint = (file: OpenFile | null): void => {
    const isScript = file?.text?.startsWith("#!") ?? false;
    hint.hidden = !file || !isScript || (file.mode & 0o111) !== 0;
    if (hint.hidden || !file) return;
    const fix = el("button", { type: "button", className: "button" }, text.makeExecutable);
    fix.addEventListener("click", () => actions.chmod(file.path, file.mode | 0o755));
    hint.replaceChildren(text.notExecutable, fix);
  };

  const describe = (file: OpenFile | null): string => {
    if (!file) return text.chooseFile;
    if (file.text === null) return text.binary(formatBytes(file.size));
    if (tab === "changes" && file.defaultText === null) return text.newFileNoDefault;
    if (tab === "changes" && file.defaultText === file.text) return text.noChanges;
    return "";
  };

  const draw = (): void => {
    if (!state) return;
    const file = state.openFile;
    path.textContent = file?.path ?? "";
    facts.textContent = file ? `${formatMode(file.mode)} · ${formatBytes(file.size)}` : "";
    const row = state.files.find((candidate) => candidate.path === file?.path);
    restore.hidden = row?.origin !== "changed" || !state.writable;
    for (const { name, button } of tabs) {
      button.hidden = !file || file.text === null;
      button.setAttribute("aria-selected", String(name === tab));
    }
    drawHint(state.writable ? file : null);
    const words = describe(file);
    empty.hidden = words === "";
    empty.textContent = words;
    if (editor) editor.element.hidden = words !== "";
    if (words !== "" || !file || file.text === null) {
      shown = "";
      return;
    }
    // The editor is the source of what it shows; only another file, mode or outside change is put into it.
    const key = `${state.project.id} ${file.path} ${file.revision} ${tab} ${state.writable}`;
    if (key === shown || !editor) return;
    shown = key;
    editor.show({
      path: file.path,
      text: file.text,
      original: tab === "changes" ? (file.defaultText ?? "") : null,
      readOnly: !state.writable,
    });
  };

  void loadEditor().then((loaded) => {
    editor = loaded;
    body.append(loaded.element);
    draw();
  });

  return {
    element,
    update(next) {
      state = next;
      draw();
    },
  };
}
