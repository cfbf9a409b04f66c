import { el } from "../dom.ts";
import type { Editor } from "../editor.ts";
import { parentOf } from "../project.ts";
import type { Actions, AppState, OpenFile } from "../state.ts";
import { formatBytes, formatMode, formatPermissions, type Text } from "../text.ts";
import { iconButton, textButton } from "./button.ts";
import { createFileFacts } from "./file-facts.ts";
import { icon } from "./icon.ts";
import { changePermissions } from "./tree-menu.ts";
import type { View } from "./view.ts";

export interface EditorPanel extends View {
  focus(): void;
}

/** The open file: its text to edit or its differences from the default, what it is, and what is wrong with it. */
export function createEditorPanel(text: Text, actions: Actions, loadEditor: () => Promise<Editor>): EditorPanel {
  let state: AppState | null = null;
  let tab: "edit" | "changes" = "edit";
  let editor: Editor | null = null;
  let shown = "";

  const directory = el("span", { className: "path-directory" });
  const name = el("span", { className: "path-name" });
  const mark = el("span", { className: "mark", hidden: true });
  const mode = textButton("", () => state?.openFile && void changePermissions(text, actions, state.openFile), {
    className: "quiet small mono mode",
  });
  const size = el("span", { className: "soft size" });
  const restore = textButton(text.restore, () => state?.openFile && actions.restoreDefault(state.openFile.path), {
    className: "small",
    icon: "undo",
    testid: "restore",
  });
  const download = iconButton(
    "download",
    text.download,
    () => state?.openFile && actions.downloadFile(state.openFile.path),
    "download-file",
  );
  const close = iconButton("close", text.close, () => actions.closeFile(), "close-file");
  const choose = (next: typeof tab): void => {
    tab = next;
    draw();
  };
  const tabs = (["edit", "changes"] as const).map((which) => {
    const button = el(
      "button",
      {
        type: "button",
        className: "tab",
        dataset: { testid: `tab-${which}` },
        attributes: { role: "tab", "aria-controls": "editor-body" },
      },
      text[which],
    );
    button.addEventListener("click", () => choose(which));
    return { which, button };
  });
  const tablist = el(
    "div",
    { className: "tabs", attributes: { role: "tablist", "aria-label": text.editor } },
    ...tabs.map(({ button }) => button),
  );
  tablist.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    choose(tab === "edit" ? "changes" : "edit");
    tabs.find(({ which }) => which === tab)?.button.focus();
  });

  const hint = el("div", { className: "hint", hidden: true }, icon("warning"), el("p", {}, text.notExecutable));
  hint.append(
    textButton(
      text.makeExecutable,
      () => state?.openFile && actions.chmod(state.openFile.path, state.openFile.mode | 0o111),
      { testid: "make-executable" },
    ),
  );
  const same = el("p", { className: "strip soft", hidden: true });
  // The text is there to read before the editor is.
  const placeholder = el("pre", {
    className: "code-placeholder",
    tabIndex: 0,
    attributes: { "aria-label": text.loadingEditor },
  });
  const facts = createFileFacts(text, actions);
  const body = el(
    "div",
    { className: "editor-body", id: "editor-body", attributes: { role: "tabpanel" } },
    placeholder,
    facts.element,
  );
  const head = el(
    "div",
    { className: "head" },
    el("div", { className: "path", attributes: { role: "heading", "aria-level": "2" } }, directory, name, mark),
    tablist,
    close,
  );
  const foot = el("div", { className: "foot" }, mode, size, el("span", { className: "space" }), restore, download);
  const element = el(
    "section",
    { className: "panel editor-panel", id: "panel-editor", attributes: { "aria-label": text.editor } },
    head,
    hint,
    same,
    body,
    foot,
  );

  const drawHead = (file: OpenFile | null): void => {
    foot.hidden = close.hidden = tablist.hidden = !file;
    if (!file || !state) {
      mark.hidden = hint.hidden = true;
      directory.textContent = name.textContent = "";
      return;
    }
    directory.textContent = `${parentOf(file.path)}/`;
    name.textContent = file.path.slice(parentOf(file.path).length + 1);
    const row = state.files.find(({ path }) => path === file.path);
    const origin = row?.origin ?? "default";
    mark.hidden = origin === "default";
    if (origin !== "default") {
      mark.textContent = text.marks[origin];
      mark.dataset.origin = origin;
      mark.title = text.origins[origin];
    }
    mode.textContent = `${formatMode(file.mode)} ${formatPermissions(file.mode)}`;
    mode.title = text.permissions;
    mode.disabled = !state.writable || row?.kind === "symlink";
    size.textContent = formatBytes(file.size);
    size.hidden = row !== undefined && row.kind !== "file";
    restore.hidden = origin !== "changed" || !state.writable;
    download.hidden = row !== undefined && row.kind !== "file";
    tablist.hidden = file.text === null;
    for (const { which, button } of tabs) {
      button.setAttribute("aria-selected", String(which === tab));
      button.tabIndex = which === tab ? 0 : -1;
    }
    hint.hidden = !state.writable || !file.text?.startsWith("#!") || (file.mode & 0o111) !== 0;
  };

  const draw = (): void => {
    if (!state) return;
    const file = state.openFile;
    const isText = file?.text != null;
    drawHead(file);
    facts.update(state);
    facts.element.hidden = isText;
    const isChanges = tab === "changes" && isText;
    const words = !isChanges
      ? ""
      : file.defaultText === null
        ? text.newFileNoDefault
        : file.defaultText === file.text
          ? text.noChanges
          : "";
    same.hidden = words === "";
    same.textContent = words;
    placeholder.hidden = !isText || editor !== null;
    if (!placeholder.hidden) placeholder.textContent = file?.text ?? "";
    if (editor) editor.element.hidden = !isText;
    if (!editor || !file || file.text === null) {
      shown = "";
      return;
    }
    // The editor is the source of what it shows; only another file, tab, right or outside change is put into it.
    const key = [state.project.id, file.path, file.revision, tab, state.writable].join("\n");
    if (key === shown) return;
    shown = key;
    editor.show(
      {
        project: state.project.id,
        path: file.path,
        text: file.text,
        revision: file.revision,
        original: isChanges ? file.defaultText : null,
        readOnly: !state.writable,
      },
      { revertChange: text.revertChange, phrases: text.editorPhrases },
    );
  };

  // Everything is saved as it is typed: the habit must not bring the browser's dialog.
  element.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s") event.preventDefault();
  });

  const onLoaded = (loaded: Editor): void => {
    editor = loaded;
    body.append(loaded.element);
    draw();
  };
  const onMissing = (): void => {
    element.insertBefore(el("p", { className: "strip fault", attributes: { role: "alert" } }, text.editorFailed), body);
  };
  loadEditor().then(onLoaded, onMissing);

  return {
    element,
    focus() {
      if (state?.openFile?.text != null && editor) editor.focus();
      else element.querySelector<HTMLElement>(":is(button, pre):not([hidden])")?.focus();
    },
    update(next) {
      state = next;
      draw();
    },
  };
}
