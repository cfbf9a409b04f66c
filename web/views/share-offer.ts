import { el } from "../dom.ts";
import type { Editor } from "../editor.ts";
import type { FoundFile, Offer, OfferedFile, ShareActions } from "../state.ts";
import { formatBytes, formatMode, type Text } from "../text.ts";
import { textButton } from "./button.ts";
import { openDialog } from "./dialog.ts";
import { icon } from "./icon.ts";
import type { View } from "./view.ts";

const MARKS = { changed: "M", added: "A", deleted: "D" } as const;

/** Shows what a project from outside changes, and asks what to do with it. */
export function createShareOffer(text: Text, actions: ShareActions): View {
  let shown: Offer | null = null;
  let close: (() => void) | null = null;

  const show = (offer: Offer): void => {
    const words = text.share;
    let answer: "try" | "keep" | false = false;
    let isAsked = true;
    const { found } = offer;
    const choose = (choice: typeof answer): void => {
      answer = choice;
      body.closest("dialog")?.close();
    };
    const settings = [
      ...(offer.commandLine === null ? [] : ([[words.offerCommandLine, offer.commandLine]] as const)),
      ...(offer.kernel === null ? [] : ([[words.offerKernel, offer.kernel || words.foundUnknown]] as const)),
      ...(offer.memoryMb === null ? [] : ([[words.offerMemory, `${offer.memoryMb} MB`]] as const)),
    ];
    const isSame = offer.files.length === 0 && settings.length === 0;
    const body = el(
      "div",
      { className: "offer", dataset: { testid: "offer" } },
      el("p", { className: "small-print" }, found ? words.fileIntro : words.offerIntro),
      found && createFacts(text, found),
      (!found || found.kind === "bundle" || found.kind === "files") &&
        el("p", { className: "offer-count" }, isSame ? words.offerSame : words.offerCount(offer.files.length)),
      settings.length > 0 &&
        el(
          "dl",
          { className: "offer-settings" },
          ...settings.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
        ),
      offer.files.length > 0 && createFiles(text, offer.files),
      el(
        "div",
        { className: "dialog-actions" },
        textButton(words.notNow, () => choose(false), { testid: "offer-dismiss" }),
        textButton(found ? words.openNew : words.keepIt, () => choose("keep"), {
          testid: "offer-keep",
          className: found ? "primary" : "",
        }),
        !found &&
          textButton(words.tryIt, () => choose("try"), {
            testid: "offer-try",
            className: "primary",
            title: words.tryHint,
            icon: "play",
          }),
      ),
    );
    close = () => {
      isAsked = false;
      body.closest("dialog")?.close();
    };
    const title = found ? words.fileTitle(found.fileName) : words.offerTitle(offer.name);
    void openDialog(text, { title, className: "wide offer-dialog" }, body).then(() => {
      if (isAsked) actions.answerOffer(answer);
    });
    body.querySelector<HTMLElement>(".primary")?.focus();
  };

  return {
    element: el("span", { hidden: true }),
    update({ share: { offer } }) {
      if (offer === shown) return;
      close?.();
      close = null;
      shown = offer;
      if (offer) show(offer);
    },
    dispose: () => close?.(),
  };
}

/** What a file was found to be. */
function createFacts(text: Text, found: FoundFile): HTMLElement {
  const words = text.share;
  const container = words.containers[found.container] ?? "";
  const kind = [words.foundKinds[found.kind], container, formatBytes(found.sizeBytes)];
  const rows: [string, string][] = [[words.foundKind, kind.filter((part) => part !== "").join(" · ")]];
  if (found.kind === "disk") {
    const system = found.fileSystem === "empty" ? words.foundEmpty : found.fileSystem;
    const content = [
      ...(found.partitions > 0 ? [words.foundPartitions(found.partitions)] : []),
      system === "" ? words.foundUnknown : system,
      ...(found.label === "" ? [] : [words.foundLabel(found.label)]),
    ];
    rows.push([words.foundContent, content.join(" · ")]);
  }
  const sizes = found.disks.map(
    ({ name, sizeBytes }) => `${name}${sizeBytes > 0 ? ` (${formatBytes(sizeBytes)})` : ""}`,
  );
  if (sizes.length > 0) rows.push([words.foundDisks, sizes.join(", ")]);
  if (found.snapshot) rows.push([words.foundSnapshot, words.foundSnapshotHow]);
  const effect = effectOf(words, found);
  return el(
    "div",
    {},
    el(
      "dl",
      { className: "offer-settings", dataset: { testid: "found" } },
      ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
    ),
    effect !== "" && el("p", { className: "small-print" }, effect),
  );
}

/** What becomes of it; "" where what it is says enough. */
function effectOf(words: Text["share"], { kind, startsFromDisk, partitions }: FoundFile): string {
  if (kind === "kernel") return words.takesKernel;
  if (startsFromDisk) return words.startsFromDisk;
  if (kind !== "disk") return "";
  return partitions > 0 ? words.attachesPartitions : words.attachesDisk;
}

/** The list of files, and beside it what differs in the chosen one. */
function createFiles(text: Text, files: readonly OfferedFile[]): HTMLElement {
  const words = text.share;
  const detail = el(
    "div",
    { className: "offer-detail", tabIndex: -1 },
    el("p", { className: "hint" }, words.offerChoose),
  );
  let editor: Promise<Editor> | null = null;
  const loadEditor = (): Promise<Editor> => {
    editor ??= import("../editor.ts").then(({ createEditor }) => createEditor(() => {}));
    return editor;
  };
  let chosen = -1;
  const choose = async (index: number): Promise<void> => {
    chosen = index;
    const file = files[index] as OfferedFile;
    for (const [at, button] of buttons.entries()) button.setAttribute("aria-pressed", String(at === index));
    const head = el("p", { className: "offer-facts" }, factsOf(text, file));
    if (file.text === null && file.defaultText === null) return detail.replaceChildren(head);
    const view = await loadEditor();
    if (chosen !== index) return;
    view.show(
      {
        project: "offer",
        path: file.path,
        text: file.text ?? "",
        revision: index,
        original: file.defaultText ?? "",
        readOnly: true,
      },
      { revertChange: text.revertChange, phrases: text.editorPhrases },
    );
    detail.replaceChildren(head, el("div", { className: "offer-diff" }, view.element));
  };
  const buttons = files.map((file, index) => {
    const button = el(
      "button",
      { type: "button", className: "offer-file", title: file.path, dataset: { origin: file.change, path: file.path } },
      el("span", { className: "mark", title: words.changes[file.change] }, MARKS[file.change]),
      icon(
        file.kind === "file"
          ? "file"
          : file.kind === "directory"
            ? "folder"
            : file.kind === "symlink"
              ? "link"
              : "device",
      ),
      el("span", { className: "offer-path" }, file.path),
    );
    button.addEventListener("click", () => void choose(index));
    return button;
  });
  const firstText = files.findIndex((file) => file.text !== null && file.change !== "deleted");
  if (files.length > 0) void choose(Math.max(0, firstText));
  return el("div", { className: "offer-files" }, el("div", { className: "offer-list" }, ...buttons), detail);
}

function factsOf(text: Text, file: OfferedFile): string {
  const words = text.share;
  if (file.change === "deleted") return words.offerGone;
  const mode = formatMode(file.mode);
  const facts = [
    file.modeBefore === null ? words.offerModeAlone(mode) : words.offerMode(mode, formatMode(file.modeBefore)),
    ...(file.kind === "file" && file.text === null ? [words.offerBinary(formatBytes(file.size))] : []),
    ...(file.target === undefined ? [] : [words.offerTarget(file.target)]),
  ];
  return facts.join(" · ");
}
