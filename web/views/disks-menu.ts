import { el } from "../dom.ts";
import { type AppState, type DiskActions, type DiskRow, DRIVES } from "../state.ts";
import type { Text } from "../text.ts";
import { askText, openDialog } from "./dialog.ts";
import { checkName } from "./disks-create.ts";
import { checkSize, createSizeField, createSwapField, formatSize, MIB } from "./disks-size.ts";
import type { MenuItem } from "./menu.ts";

const SYSTEM_FILE_SYSTEMS = ["ext4", "ext3", "ext2"] as const;

export function nameOf(text: Text, disk: DiskRow): string {
  return disk.kind === "system" ? text.disks.system : disk.name;
}

/** Whether the page can list its files, now or when it is not in use. */
export function hasFiles(disk: DiskRow): boolean {
  return disk.build !== "unbuilt" && ["ext2", "ext3", "ext4", "partitions"].includes(disk.fileSystem);
}

/** Whether its content can be changed from here: not while something else works on it. */
export function isFree(disk: DiskRow, { writable }: AppState): boolean {
  return writable && !disk.readOnly && !disk.inUse && disk.work === null;
}

/** What can be done with a disk, behind its "more" button. */
export function diskItems(text: Text, actions: DiskActions, disk: DiskRow, state: AppState): MenuItem[] {
  const words = text.disks;
  const disabled = !isFree(disk, state);
  const isData = disk.kind === "data";
  const isBuilt = disk.build !== "unbuilt";
  const isBusy = disk.work !== null;
  const why = disk.work
    ? words.whyNot.work
    : disk.readOnly
      ? words.whyNot.readOnly
      : disk.inUse
        ? words.whyNot.inUse
        : null;
  const items: MenuItem[] = [{ heading: nameOf(text, disk) }];
  if (why !== null) items.push({ heading: why });
  if (isData)
    items.push(
      {
        label: `${words.rename} …`,
        icon: "pencil",
        disabled: !state.writable || disk.readOnly,
        run: () => void askRename(text, actions, disk, state),
      },
      { label: `${words.resize} …`, icon: "resize", disabled, run: () => void askResize(text, actions, disk) },
    );
  else
    items.push({
      label: `${words.settings} …`,
      icon: "sliders",
      disabled: !state.writable || isBusy,
      run: () => void askSystemDisk(text, actions, disk),
    });
  if (isBuilt)
    items.push(
      {
        label: words.duplicate,
        icon: "layers",
        disabled: !state.writable || isBusy || disk.inUse,
        run: () => actions.duplicate(disk.id),
      },
      { label: words.download, icon: "download", disabled: isBusy || disk.inUse, run: () => actions.download(disk.id) },
      "separator",
      {
        label: `${words.reset[disk.kind]} …`,
        icon: "undo",
        disabled: disabled || !disk.changed,
        run: () => void askReset(text, actions, disk),
      },
      {
        label: `${words.merge} …`,
        icon: "merge",
        disabled: disabled || !disk.changed,
        run: () => void askMerge(text, actions, disk),
      },
    );
  if (isData)
    items.push("separator", { heading: words.attachAs }, ...driveItems(text, actions, disk, state), "separator", {
      label: words.remove,
      icon: "clear",
      danger: true,
      disabled,
      run: () => actions.remove(disk.id),
    });
  return items;
}

function driveItems(text: Text, actions: DiskActions, disk: DiskRow, state: AppState): MenuItem[] {
  return DRIVES.map((drive) => {
    const other = state.disks.find((candidate) => candidate.drive === drive && candidate.id !== disk.id);
    return {
      label: other ? text.disks.driveTaken(drive, nameOf(text, other)) : drive,
      checked: disk.drive === drive,
      disabled: other !== undefined || !state.writable || disk.work !== null,
      run: () => disk.drive !== drive && actions.attach(disk.id, drive),
    };
  });
}

async function askRename(text: Text, actions: DiskActions, disk: DiskRow, { disks }: AppState): Promise<void> {
  const taken = disks.filter(({ id }) => id !== disk.id).map(({ name }) => name);
  const name = await askText(text, {
    title: text.disks.rename,
    label: text.disks.name,
    value: disk.name,
    confirm: text.disks.rename,
    check: (value) => checkName(text, value, taken),
  });
  if (name !== null && name !== disk.name) actions.rename(disk.id, name);
}

async function askResize(text: Text, actions: DiskActions, disk: DiskRow): Promise<void> {
  const words = text.disks;
  const nowMb = disk.sizeBytes / MIB;
  const isFormatted = ["ext2", "ext3", "ext4", "swap"].includes(disk.fileSystem);
  const hint = el("p", { className: "soft small-print" });
  const size = createSizeField(text, Math.max(1, Math.round(nowMb)), (sizeMb) => {
    // A file system shrinks without loss; what the page does not know is only cut.
    const isCut = !isFormatted && sizeMb < nowMb;
    hint.textContent = `${words.sizeNow(formatSize(disk.sizeBytes))}${isCut ? ` ${words.sizeCut}` : ""}`;
    const isTooSmall = disk.usedBytes !== null && sizeMb * MIB < disk.usedBytes;
    return (
      checkSize(text, sizeMb, disk.fileSystem) || (isTooSmall ? words.sizeUsed(formatSize(disk.usedBytes ?? 0)) : "")
    );
  });
  size.examine();
  const confirmed = await openDialog(
    text,
    { title: `${words.resize}: ${disk.name}`, confirm: words.resize, className: "disk-dialog" },
    size.element,
    hint,
  );
  if (confirmed && size.sizeMb() !== nowMb) actions.resize(disk.id, size.sizeMb());
}

async function askSystemDisk(text: Text, actions: DiskActions, disk: DiskRow): Promise<void> {
  const words = text.disks;
  const fileSystem = el(
    "select",
    { className: "field", dataset: { testid: "disk-file-system" } },
    ...SYSTEM_FILE_SYSTEMS.map((value) => el("option", { value }, words.fileSystems[value])),
  );
  fileSystem.value = SYSTEM_FILE_SYSTEMS.find((value) => value === disk.fileSystem) ?? "ext4";
  const chosen = (): (typeof SYSTEM_FILE_SYSTEMS)[number] => fileSystem.value as (typeof SYSTEM_FILE_SYSTEMS)[number];
  const size = createSizeField(text, Math.round(disk.sizeBytes / MIB), (sizeMb) => checkSize(text, sizeMb, chosen()));
  const swap = createSwapField(text, disk.swapMb, () => [size.sizeMb(), chosen()]);
  const fileSystemHint = el("p", { className: "soft small-print" });
  const examine = (): void => {
    fileSystemHint.textContent = words.fileSystemHints[chosen()];
    size.examine();
    swap.examine();
  };
  fileSystem.addEventListener("input", examine);
  // What is typed, or chosen of the usual sizes.
  for (const event of ["input", "change", "click"]) size.element.addEventListener(event, swap.examine);
  examine();
  const confirmed = await openDialog(
    text,
    { title: words.system, confirm: text.save, className: "disk-dialog" },
    size.element,
    el("div", {}, el("label", { className: "labelled" }, words.fileSystem, fileSystem), fileSystemHint),
    swap.element,
    el("p", { className: "soft small-print" }, words.systemHint),
  );
  if (confirmed) actions.setSystemDisk({ sizeMb: size.sizeMb(), fileSystem: chosen(), swapMb: swap.swapMb() });
}

/** Builds, and asks before when something would be lost. */
export async function build(text: Text, actions: DiskActions, disk: DiskRow): Promise<void> {
  const words = text.disks;
  const isSure =
    !disk.changed ||
    (await openDialog(
      text,
      { title: words.rebuildTitle, confirm: words.rebuild, danger: true },
      el("p", {}, words.rebuildLoss),
      el("p", { className: "soft" }, words.rebuildKeep),
    ));
  if (isSure) actions.build();
}

async function askReset(text: Text, actions: DiskActions, disk: DiskRow): Promise<void> {
  const { resetTitle, resetConfirm, resetLoss } = text.disks;
  const question = { title: resetTitle(nameOf(text, disk)), confirm: resetConfirm, danger: true };
  if (await openDialog(text, question, el("p", {}, resetLoss))) actions.reset(disk.id);
}

async function askMerge(text: Text, actions: DiskActions, disk: DiskRow): Promise<void> {
  const { mergeTitle, mergeConfirm, mergeHint } = text.disks;
  const question = { title: mergeTitle(nameOf(text, disk)), confirm: mergeConfirm };
  if (await openDialog(text, question, el("p", {}, mergeHint))) actions.merge(disk.id);
}
