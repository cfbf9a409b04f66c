import { copyText } from "../clipboard.ts";
import { el } from "../dom.ts";
import { sentenceOf } from "../sentence.ts";
import { EXPORTS, type ExportKind } from "../share-state.ts";
import type { Actions, AppState } from "../state.ts";
import { formatBytes, type Text } from "../text.ts";
import { iconButton, setIcon, textButton } from "./button.ts";
import { openDialog } from "./dialog.ts";

/** Shows the files that can be made, each with the command that runs it, and makes them. */
export function showDownloads(text: Text, actions: Actions, state: AppState): void {
  const kinds = Object.keys(EXPORTS) as ExportKind[];
  const rows = kinds.map((kind) => createRow(text, actions, state, kind));
  const list = el(
    "ul",
    { className: "downloads", dataset: { testid: "downloads" } },
    ...rows.map(({ element }) => element),
  );
  void openDialog(text, { title: text.share.downloadTitle, className: "wide" }, list).then(() => {
    for (const row of rows) row.stop();
  });
}

/** What a shell is told to do with a file. */
function commandOf(kind: ExportKind, name: string, memoryMb: number, actions: Actions): string {
  const image = name.replace(/\.gz$/, "");
  const tag = actions.share
    .exportName("bundle")
    .replace(/\.smartos$/, "")
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, "-");
  const both = `-kernel ${actions.share.exportName("kernel")} -initrd ${actions.share.exportName("initramfs")}`;
  switch (kind) {
    case "bundle":
      return `npx smart-os run ${name}`;
    case "disk-raw-gz":
      return `gunzip ${name} && qemu-system-i386 -m ${memoryMb} -drive format=raw,file=${image}`;
    case "disk-qcow2":
    case "disk-vmdk":
      return `qemu-system-i386 -m ${memoryMb} -hda ${name}`;
    case "disk-iso":
      return `qemu-system-i386 -m ${memoryMb} -cdrom ${name}`;
    case "rootfs-tar":
      return `gunzip -c ${name} | docker import --platform linux/386 - ${tag} && docker run -it ${tag} /bin/sh`;
    case "initramfs":
    case "kernel":
      return `qemu-system-i386 -m ${memoryMb} ${both} -append console=ttyS0 -nographic`;
  }
}

/** Lines break between words alone: not after the hyphen of "-hda". */
function wordsOf(command: string): (string | HTMLElement)[] {
  return command.split(" ").flatMap((word, at) => [...(at > 0 ? [" "] : []), el("span", {}, word)]);
}

/** Null where there is no saved machine that could go along. */
function createSnapshotChoice(text: Text, { snapshots }: AppState): HTMLSelectElement | null {
  const rows = snapshots.rows.filter(({ unfit }) => unfit === null);
  if (rows.length === 0) return null;
  return el(
    "select",
    { className: "field", dataset: { testid: "export-snapshot" } },
    el("option", { value: "" }, text.share.noSnapshot),
    ...rows.map(({ id, name, storedBytes }) => el("option", { value: id }, `${name} (${formatBytes(storedBytes)})`)),
  );
}

function createRow(
  text: Text,
  actions: Actions,
  state: AppState,
  kind: ExportKind,
): { element: HTMLElement; stop(): void } {
  const words = text.share;
  const name = actions.share.exportName(kind);
  const [title, about] = words.kinds[kind];
  const command = commandOf(kind, name, state.project.memoryMb, actions);
  let abort: AbortController | null = null;

  const bar = el("progress", { max: 1, hidden: true, attributes: { "aria-label": title } });
  const note = el("p", { className: "small-print", attributes: { role: "status" } });
  const start = textButton(text.download, () => void run(), { icon: "download", testid: `export-${kind}` });
  const cancel = textButton(text.cancel, () => abort?.abort(), { testid: `cancel-${kind}` });
  const copy = iconButton("copy", words.copyCommand, async () => {
    if (await copyText(command)) setIcon(copy, "check", words.linkCopied);
  });
  const show = (isBusy: boolean): void => {
    start.hidden = isBusy;
    cancel.hidden = !isBusy;
    bar.hidden = !isBusy;
    bar.removeAttribute("value");
  };
  const say = (sentence: string, isFault = false): void => {
    note.textContent = sentence;
    note.classList.toggle("fault", isFault);
  };
  const run = async (): Promise<void> => {
    abort = new AbortController();
    show(true);
    say("");
    const onProgress = (done: number, total: number): void => {
      if (total > 0) bar.value = done / total;
      say(words.exportAt(formatBytes(done), total > 0 ? formatBytes(total) : ""));
    };
    try {
      const options = kind === "bundle" && snapshot?.value ? { snapshot: snapshot.value } : {};
      say((await actions.share.export(kind, abort.signal, onProgress, options)) ? words.exportDone(name) : "");
    } catch (error) {
      say(sentenceOf(error), true);
    }
    abort = null;
    show(false);
  };

  const snapshot = kind === "bundle" ? createSnapshotChoice(text, state) : null;
  show(false);
  if (kind.startsWith("disk-") && kind !== "disk-iso") {
    const build = state.disks.find((disk) => disk.kind === "system")?.build;
    if (build === "stale") say(words.staleDisk);
    if (build === "unbuilt") say(words.unbuiltDisk);
  }
  const element = el(
    "li",
    { className: "download", dataset: { testid: `download-${kind}` } },
    el(
      "div",
      { className: "download-words" },
      el("h3", {}, title, " ", el("code", {}, EXPORTS[kind])),
      el("p", {}, about),
    ),
    el("div", { className: "download-buttons" }, start, cancel),
    el(
      "p",
      { className: "download-command" },
      el("span", {}, words.runIt),
      el("code", { dataset: { testid: `command-${kind}` } }, ...wordsOf(command)),
      copy,
    ),
    snapshot && el("label", { className: "labelled" }, words.withSnapshot, snapshot),
    bar,
    note,
  );
  return { element, stop: () => abort?.abort() };
}
