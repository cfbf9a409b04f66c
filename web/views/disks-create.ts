import { el } from "../dom.ts";
import { type AppState, type DiskActions, type DiskFileSystem, type DiskRow, DRIVES } from "../state.ts";
import type { Text } from "../text.ts";
import { openDialog } from "./dialog.ts";
import { checkSize, createSizeField, formatSize, MIB } from "./disks-size.ts";

const FILE_SYSTEMS: readonly DiskFileSystem[] = ["ext4", "ext3", "ext2", "swap", "empty"];
const DEFAULT_MB = 64;
/** Swap's header has 16 bytes for the label, of which the last is zero. */
const LABEL_BYTES = { ext: 16, swap: 15 };
/** What fstab has in the place of a mount point where there is none. */
const NO_MOUNT_POINT = "none";

/** Asks for everything that a new data disk is, and makes it. */
export async function askNewDisk(text: Text, actions: DiskActions, { disks, quota }: AppState): Promise<void> {
  const words = text.disks;
  const names = disks.map((disk) => disk.name);
  const name = el("input", {
    className: "field",
    value: freeName("data", names),
    autocomplete: "off",
    spellcheck: false,
    dataset: { testid: "disk-name" },
  });
  const nameFault = createFault();
  const hint = el("p", { className: "soft small-print" });
  const size = createSizeField(text, DEFAULT_MB, (sizeMb) => {
    const free = quota && quota.total - quota.used;
    const isMoreThanFree = free !== null && sizeMb * MIB > free;
    hint.textContent = isMoreThanFree ? words.sizeQuota(formatSize(Math.max(0, free))) : words.sizeSparse;
    return checkSize(text, sizeMb, kind());
  });
  const fileSystem = el(
    "select",
    { className: "field", dataset: { testid: "disk-file-system" } },
    ...FILE_SYSTEMS.map((value) => el("option", { value }, words.fileSystems[value])),
  );
  const kind = (): DiskFileSystem => fileSystem.value as DiskFileSystem;
  const fileSystemHint = el("p", { className: "soft small-print" });
  const label = el("input", {
    className: "field",
    placeholder: words.labelHint,
    autocomplete: "off",
    spellcheck: false,
    dataset: { testid: "disk-label" },
  });
  const labelFault = createFault();
  const labelBlock = el("div", {}, el("label", { className: "labelled" }, words.label, label), labelFault);
  // The line names the drive, so that there has to be one for it.
  const isFull = areDrivesTaken(disks);
  const wantsMount = el("input", {
    type: "checkbox",
    checked: !isFull,
    disabled: isFull,
    dataset: { testid: "disk-fstab" },
  });
  const wantsMountWords = el("span");
  const mountAt = el("input", {
    className: "field mono",
    value: mountPointFor(name.value),
    autocomplete: "off",
    spellcheck: false,
    dataset: { testid: "disk-mount" },
  });
  const mountFault = createFault();
  const mountLabel = el("label", { className: "labelled" }, words.mountAt, mountAt);
  const mountBlock = el(
    "div",
    { className: "mount-block" },
    el("label", { className: "choice" }, wantsMount, wantsMountWords),
    el("p", { className: "soft small-print", hidden: !isFull }, words.allTaken),
    mountLabel,
    mountFault,
  );

  let mountIsOwn = false;
  const examine = (): void => {
    const isSwap = kind() === "swap";
    const isEmpty = kind() === "empty";
    tell(name, nameFault, checkName(text, name.value.trim(), names));
    fileSystemHint.textContent = words.fileSystemHints[kind()];
    labelBlock.hidden = isEmpty;
    tell(label, labelFault, isEmpty ? "" : checkLabel(text, label.value.trim(), isSwap));
    mountBlock.hidden = isEmpty;
    wantsMountWords.textContent = isSwap ? words.fstabSwap : words.fstab;
    if (!mountIsOwn) mountAt.value = mountPointFor(name.value);
    const isMounted = !isEmpty && !isSwap && wantsMount.checked;
    mountLabel.hidden = mountFault.hidden = !isMounted;
    tell(mountAt, mountFault, isMounted ? checkMountPoint(text, mountAt.value.trim()) : "");
    size.examine();
  };
  mountAt.addEventListener("input", () => (mountIsOwn = true));
  for (const field of [name, fileSystem, label, wantsMount, mountAt]) field.addEventListener("input", examine);
  examine();

  const confirmed = await openDialog(
    text,
    { title: words.newDisk, confirm: text.create, className: "disk-dialog" },
    el("div", {}, el("label", { className: "labelled" }, words.name, name), nameFault),
    size.element,
    hint,
    el("div", {}, el("label", { className: "labelled" }, words.fileSystem, fileSystem), fileSystemHint),
    labelBlock,
    mountBlock,
  );
  if (!confirmed) return;
  const mounts = kind() !== "empty" && wantsMount.checked;
  actions.create({
    name: name.value.trim(),
    sizeMb: size.sizeMb(),
    fileSystem: kind(),
    label: kind() === "empty" ? "" : label.value.trim(),
    mountAt: !mounts ? null : kind() === "swap" ? NO_MOUNT_POINT : mountAt.value.trim(),
  });
}

export function areDrivesTaken(disks: readonly DiskRow[]): boolean {
  return DRIVES.every((drive) => disks.some((disk) => disk.drive === drive));
}

export function checkName(text: Text, name: string, taken: readonly string[]): string {
  if (name === "") return text.nameEmpty;
  return taken.includes(name) ? text.disks.nameTaken(name) : "";
}

/** The name itself, or the first of name-2, name-3 … that is free. */
function freeName(name: string, taken: readonly string[]): string {
  let free = name;
  for (let number = 2; taken.includes(free); number += 1) free = `${name}-${number}`;
  return free;
}

function checkLabel(text: Text, label: string, isSwap: boolean): string {
  const most = isSwap ? LABEL_BYTES.swap : LABEL_BYTES.ext;
  const bytes = new TextEncoder().encode(label).length;
  return bytes > most ? text.disks.labelLong(most, bytes) : "";
}

/** Spaces end a field of fstab and "#" begins a comment, so that the name's become dashes. */
function mountPointFor(name: string): string {
  return `/mnt/${name.trim().replace(/[\s/#]+/g, "-") || "data"}`;
}

function checkMountPoint(text: Text, path: string): string {
  if (!path.startsWith("/")) return text.disks.mountRelative;
  if (/[\s#]/.test(path)) return text.disks.mountSpace;
  return /^\/+$/.test(path) ? text.disks.mountRoot : "";
}

function createFault(): HTMLElement {
  return el("p", { className: "fault", attributes: { "aria-live": "polite" } });
}

function tell(field: HTMLInputElement, fault: HTMLElement, problem: string): void {
  field.setCustomValidity(problem);
  fault.textContent = problem;
}
