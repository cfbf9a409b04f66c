import { el } from "../dom.ts";
import type { Actions, FileRow } from "../state.ts";
import { formatBytes, formatMode, formatPermissions, type Text } from "../text.ts";
import { textButton } from "./button.ts";
import { icon, logo } from "./icon.ts";
import type { View } from "./view.ts";

/** What is said of a file that cannot be edited as text, or of no file at all. */
export function createFileFacts(text: Text, actions: Actions): View {
  const element = el("div", { className: "facts" });
  let shown: unknown;

  const invitation = (): HTMLElement =>
    el(
      "div",
      { className: "invitation" },
      el("div", {}, logo()),
      el("h2", {}, text.chooseFile),
      el("p", { className: "soft" }, text.chooseFileHint),
    );

  const describe = (row: FileRow): HTMLElement => {
    const list = el("dl");
    const add = (term: string, value: string): void =>
      list.append(el("dt", {}, term), el("dd", { className: "mono" }, value));
    if (row.target !== undefined) add(text.target, row.target);
    if (row.kind === "file") add(text.size, `${formatBytes(row.size)}`);
    if (row.kind !== "symlink") add(text.permissions, `${formatMode(row.mode)}  ${formatPermissions(row.mode)}`);
    return el(
      "div",
      { className: "facts-card" },
      icon(
        row.kind === "symlink"
          ? "link"
          : row.kind === "device"
            ? "device"
            : row.kind === "directory"
              ? "folder"
              : "file",
      ),
      el("h2", {}, text.kinds[row.kind]),
      el(
        "p",
        { className: "soft" },
        row.kind === "file" ? text.binary : row.target === undefined ? row.path : text.symlinkTo(row.target),
      ),
      list,
      row.kind === "file" && textButton(text.download, () => actions.downloadFile(row.path), { icon: "download" }),
    );
  };

  return {
    element,
    update({ openFile, files }) {
      const row = openFile?.text === null ? files.find(({ path }) => path === openFile.path) : undefined;
      if (shown === (row ?? null)) return;
      shown = row ?? null;
      element.replaceChildren(row ? describe(row) : invitation());
    },
  };
}
