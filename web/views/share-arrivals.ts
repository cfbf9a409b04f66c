import { el } from "../dom.ts";
import type { ShareActions } from "../state.ts";
import type { Text } from "../text.ts";

/** Lets the user choose a file to open. */
export function chooseFile(actions: ShareActions): void {
  const input = el("input", { type: "file" });
  input.addEventListener("change", () => {
    const [file] = input.files ?? [];
    if (file) actions.openFile(file);
  });
  input.click();
}

/** Opens files that are dropped where nothing else takes them, and those that are pasted. */
export function acceptArrivals(element: HTMLElement, text: Text, actions: ShareActions): { stop(): void } {
  const hint = el(
    "div",
    { className: "drop-anywhere", hidden: true, dataset: { testid: "drop-anywhere" } },
    text.share.dropAnywhere,
  );
  element.append(hint);
  const abort = new AbortController();
  const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
  element.addEventListener("dragover", (event) => {
    // The tree and the disks take files as well, and say so.
    hint.hidden = event.defaultPrevented || !hasFiles(event);
    event.preventDefault();
  });
  element.addEventListener("dragleave", (event) => {
    if (!element.contains(event.relatedTarget as Node | null)) hint.hidden = true;
  });
  element.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer?.files ?? [];
    if (file && !event.defaultPrevented) actions.openFile(file);
    hint.hidden = true;
    // It would otherwise take the page's place in the tab.
    event.preventDefault();
  });
  addEventListener(
    "paste",
    (event) => {
      const [file] = event.clipboardData?.files ?? [];
      if (!file) return;
      event.preventDefault();
      actions.openFile(file);
    },
    { signal: abort.signal },
  );
  return { stop: () => abort.abort() };
}
