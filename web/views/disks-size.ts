import { el } from "../dom.ts";
import { leastMb, MAX_DISK_MB, mostSwapMb } from "../project-disks.ts";
import type { DiskRow } from "../state.ts";
import type { Text } from "../text.ts";

const UNITS = ["B", "KiB", "MiB", "GiB"] as const;
export const MIB = 1024 * 1024;
const MIB_IN_GIB = 1024;
const PRESETS_MB = [16, 64, 256, MIB_IN_GIB, 4 * MIB_IN_GIB];

/** Sizes of disks count in powers of two, as the guest's own tools do: 64 MiB, 1.5 GiB. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || Number.isInteger(value) || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** @returns what is wrong with a size in MiB for a file system, or nothing */
export function checkSize(text: Text, sizeMb: number, fileSystem: DiskRow["fileSystem"]): string {
  const words = text.disks;
  const least = leastMb(fileSystem);
  if (Number.isNaN(sizeMb)) return words.sizeNumber;
  if (sizeMb > MAX_DISK_MB) return words.sizeMost(formatSize(MAX_DISK_MB * MIB));
  if (sizeMb < least)
    return least > 1
      ? words.sizeLeast(formatSize(least * MIB), words.fileSystems[fileSystem])
      : words.sizeLeastAny(formatSize(MIB));
  return Number.isInteger(sizeMb) ? "" : words.sizeWhole;
}

export interface SizeField {
  readonly element: HTMLElement;
  /** NaN while it is no number. */
  sizeMb(): number;
}

/**
 * A number, its unit, and some usual sizes to choose from.
 * @param change called whenever the size is another one, and once at first
 * @param check what is wrong with a size, or nothing
 */
export function createSizeField(
  text: Text,
  initialMb: number,
  check: (sizeMb: number) => string,
): SizeField & { examine(): void } {
  const words = text.disks;
  const isGib = initialMb >= MIB_IN_GIB && initialMb % (MIB_IN_GIB / 4) === 0;
  const number = el("input", {
    className: "field",
    value: String(isGib ? initialMb / MIB_IN_GIB : initialMb),
    autocomplete: "off",
    inputMode: "decimal",
    dataset: { testid: "disk-size" },
  });
  const unit = el(
    "select",
    { className: "field", dataset: { testid: "disk-unit" }, attributes: { "aria-label": words.unit } },
    el("option", { value: "1" }, "MiB"),
    el("option", { value: String(MIB_IN_GIB) }, "GiB"),
  );
  unit.value = String(isGib ? MIB_IN_GIB : 1);
  const fault = el("p", { className: "fault", attributes: { "aria-live": "polite" } });
  const sizeMb = (): number => {
    const typed = number.value.trim().replace(",", ".");
    return /^\d+(\.\d*)?$/.test(typed) ? Number(typed) * Number(unit.value) : Number.NaN;
  };
  const presets = PRESETS_MB.map((preset) => {
    const button = el(
      "button",
      { type: "button", className: "button small", dataset: { sizeMb: String(preset) } },
      formatSize(preset * MIB),
    );
    button.addEventListener("click", () => {
      const factor = preset >= MIB_IN_GIB ? MIB_IN_GIB : 1;
      unit.value = String(factor);
      number.value = String(preset / factor);
      examine();
    });
    return button;
  });
  const examine = (): void => {
    const problem = check(sizeMb());
    number.setCustomValidity(problem);
    fault.textContent = problem;
    for (const button of presets)
      button.setAttribute("aria-pressed", String(Number(button.dataset.sizeMb) === sizeMb()));
  };
  number.addEventListener("input", examine);
  unit.addEventListener("change", examine);
  return {
    element: el(
      "div",
      { className: "size-field" },
      el("div", { className: "size-line" }, el("label", { className: "labelled" }, words.size, number), unit),
      el("div", { className: "presets" }, ...presets),
      fault,
    ),
    sizeMb,
    examine,
  };
}

/**
 * How much of the system disk is for swap, in MiB.
 * @param disk the disk's size in MiB, NaN while it is no number, and its file system
 */
export function createSwapField(
  text: Text,
  initialMb: number,
  disk: () => readonly [number, DiskRow["fileSystem"]],
): { readonly element: HTMLElement; swapMb(): number; examine(): void } {
  const words = text.disks;
  const number = el("input", {
    className: "field",
    value: String(initialMb),
    autocomplete: "off",
    inputMode: "numeric",
    dataset: { testid: "disk-swap" },
  });
  const fault = el("p", { className: "fault", attributes: { "aria-live": "polite" } });
  const swapMb = (): number => (/^\d+$/.test(number.value.trim()) ? Number(number.value) : Number.NaN);
  const problem = (): string => {
    const [sizeMb, fileSystem] = disk();
    if (Number.isNaN(swapMb())) return words.sizeWhole;
    const most = mostSwapMb(fileSystem, sizeMb);
    return swapMb() > most ? words.sizeMost(formatSize(most * MIB)) : "";
  };
  const examine = (): void => {
    fault.textContent = problem();
    number.setCustomValidity(problem());
  };
  number.addEventListener("input", examine);
  return {
    element: el(
      "div",
      {},
      el("label", { className: "labelled" }, words.swap, number),
      el("p", { className: "soft small-print" }, words.swapHint),
      fault,
    ),
    swapMb,
    examine,
  };
}
