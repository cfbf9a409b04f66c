import { html, nothing, type TemplateResult } from "lit-html";
import type { DiskEntry } from "../state.ts";
import { formatBytes, formatPermissions, type Text } from "../text.ts";
import { type IconName, icon } from "./icon.ts";

const ICONS: Record<DiskEntry["kind"], IconName> = {
  file: "file",
  directory: "folder",
  symlink: "link",
  device: "device",
  fifo: "merge",
  socket: "plug",
};

export interface EntryRow {
  entry: DiskEntry;
  path: string;
  canChange: boolean;
  /** Files are held over it that would be put into it. */
  isDropTarget: boolean;
  open(): void;
  extract(): void;
  remove(): void;
}

/** A row of a directory on a disk. Directories open and files are downloaded by their name. */
export function drawEntry(
  text: Text,
  { entry, path, canChange, isDropTarget, open, extract, remove }: EntryRow,
): TemplateResult {
  const words = text.disks;
  const { name, kind, mode, size, mtime, uid, gid, target } = entry;
  const isUsable = kind === "directory" || kind === "file";
  const face = html`${icon(kind === "file" && (mode & 0o111) !== 0 ? "script" : ICONS[kind])}<span class="entry-name"
      >${name}${target === undefined ? nothing : html`<span class="target"> ${words.linkTo(target)}</span>`}</span>`;
  return html`<li class=${isDropTarget ? "entry drop" : "entry"} data-path=${path} data-kind=${kind} title=${`${path}\n${words.kinds[kind]} · ${uid}:${gid}`}>
    ${
      isUsable
        ? html`<button
            type="button"
            class="entry-open"
            aria-label=${kind === "directory" ? name : words.extractNamed(name)}
            @click=${kind === "directory" ? open : extract}
          >${face}</button>`
        : html`<span class="entry-open" tabindex="0">${face}</span>`
    }
    <span class="entry-facts">
      <span class="entry-mode mono">${formatPermissions(mode)}</span>
      <span class="entry-size">${kind === "file" ? formatBytes(size) : nothing}</span>
      <time class="entry-time" datetime=${new Date(mtime * 1000).toISOString()}>${formatDate(mtime)}</time>
    </span>
    ${
      kind === "file"
        ? html`<button
            type="button"
            class="icon-button"
            data-testid="entry-download"
            title=${words.extract}
            aria-label=${words.extractNamed(name)}
            @click=${extract}
          >${icon("download")}</button>`
        : html`<span class="icon-space"></span>`
    }
    <button
      type="button"
      class="icon-button"
      data-testid="entry-remove"
      title=${text.remove}
      aria-label=${`${text.remove}: ${name}`}
      ?disabled=${!canChange}
      @click=${remove}
    >${icon("clear")}</button>
  </li>`;
}

/** "2025-03-01 14:05" in the viewer's own time: one form for all languages, so that the column stays narrow. */
function formatDate(seconds: number): string {
  const date = new Date(seconds * 1000);
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}`;
}
