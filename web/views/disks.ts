import { html, nothing, render, type TemplateResult } from "lit-html";
import { repeat } from "lit-html/directives/repeat.js";
import { el } from "../dom.ts";
import { type AppState, type DiskActions, type DiskRow, DRIVES } from "../state.ts";
import type { Text } from "../text.ts";
import { iconButton, textButton } from "./button.ts";
import { createDiskBrowser } from "./disks-browser.ts";
import { type CardParts, drawDisk } from "./disks-card.ts";
import { askNewDisk } from "./disks-create.ts";
import { formatSize } from "./disks-size.ts";
import { icon } from "./icon.ts";
import { acceptDrops } from "./tree-drop.ts";
import type { View } from "./view.ts";

export interface DisksPanel extends View {
  focus(): void;
}

/** The project's disks: the system disk, the data disks in the machine and beside it, and the files on one of them. */
export function createDisks(text: Text, actions: DiskActions): DisksPanel {
  const words = text.disks;
  let state: AppState | null = null;

  const picker = el("input", { type: "file", hidden: true, dataset: { testid: "disk-picker" } });
  picker.addEventListener("change", () => {
    for (const file of picker.files ?? []) actions.import(file);
    picker.value = "";
  });
  const ask = (): void => {
    if (state) void askNewDisk(text, actions, state);
  };
  const create = textButton(words.newDisk, ask, { className: "small", icon: "plus", testid: "new-disk" });
  const upload = iconButton("upload", words.importImage, () => picker.click(), "import-disk");
  upload.title = `${words.importImage}\n${words.importHint}`;
  const list = el("div", { className: "disk-list", dataset: { testid: "disk-list" } });
  const dropHint = el("p", { className: "drop-hint", hidden: true }, words.dropImage);
  const overview = el("div", { className: "disks-body" }, list, dropHint);
  const quotaWords = el("span");
  const quotaBar = el("i");
  const quotaMeter = el(
    "div",
    { className: "disk-meter", attributes: { role: "meter", "aria-valuemin": "0", "aria-valuemax": "100" } },
    quotaBar,
  );
  const quota = el("div", { className: "foot quota", dataset: { testid: "disk-quota" } }, quotaWords, quotaMeter);
  const browser = createDiskBrowser(text, actions, () => browse(null));
  const head = el(
    "div",
    { className: "head" },
    el("h2", { className: "disks-title" }, words.title),
    el("span", { className: "space" }),
    create,
    upload,
    picker,
  );

  const parts: CardParts = { text, actions, state: () => state as AppState, browse: (id) => browse(id) };
  /** Shows the files on a disk, or with null the disks again; the focus goes along, and back to where it came from. */
  const browse = (id: string | null): void => {
    const before = browser.disk();
    browser.show(id);
    overview.hidden = create.hidden = upload.hidden = id !== null;
    if (id !== null) browser.focus();
    else list.querySelector<HTMLElement>(`[data-disk="${before}"] [data-testid="disk-files"]`)?.focus();
  };
  acceptDrops(
    overview,
    (target) => {
      dropHint.hidden = target === null || !state?.writable;
      overview.classList.toggle("drop", !dropHint.hidden);
    },
    (_target, { files }) => {
      if (state?.writable) for (const file of files) actions.import(file);
    },
  );

  const element = el(
    "section",
    {
      className: "panel disks-panel",
      id: "panel-disks",
      dataset: { testid: "disks" },
      attributes: { "aria-label": words.title },
    },
    head,
    overview,
    browser.element,
    quota,
  );

  return {
    element,
    focus() {
      if (browser.disk() !== null) browser.focus();
      else (list.querySelector<HTMLElement>("button:enabled") ?? create).focus();
    },
    update(next) {
      const isSame =
        state !== null &&
        state.disks === next.disks &&
        state.quota === next.quota &&
        state.machine === next.machine &&
        state.writable === next.writable;
      state = next;
      if (isSame) return;
      create.disabled = upload.disabled = !next.writable;
      render(
        drawList(parts, next.disks, ask, () => picker.click()),
        list,
      );
      quota.hidden = next.quota === null;
      if (next.quota) {
        const { used, total } = next.quota;
        const share = Math.round((100 * used) / Math.max(1, total));
        quotaWords.textContent = words.quota(formatSize(used), formatSize(total));
        quotaBar.style.width = `${Math.min(100, share)}%`;
        quotaMeter.setAttribute("aria-valuenow", String(share));
        quotaMeter.setAttribute("aria-label", quotaWords.textContent);
        quotaMeter.dataset.full = String(share > 95);
      }
      browser.update(next);
    },
  };
}

function drawList(parts: CardParts, disks: readonly DiskRow[], create: () => void, upload: () => void): TemplateResult {
  const words = parts.text.disks;
  const { writable } = parts.state();
  const system = disks.filter(({ kind }) => kind === "system");
  const data = disks.filter(({ kind }) => kind === "data");
  const attached = DRIVES.flatMap((drive) => data.filter((disk) => disk.drive === drive));
  const detached = data.filter(({ drive }) => drive === null);
  const group = (title: string, rows: readonly DiskRow[]): TemplateResult | typeof nothing =>
    rows.length === 0
      ? nothing
      : html`${title === "" ? nothing : html`<h3 class="disk-group">${title}</h3>`}
          <ul class="disk-cards" aria-label=${title === "" ? words.system : title}>
            ${repeat(
              rows,
              ({ id }) => id,
              (disk) => drawDisk(parts, disk),
            )}
          </ul>`;
  const invitation = html`<div class="disk-invitation">
    ${icon("disk")}
    <h3>${words.none}</h3>
    <p class="soft">${words.noneHint}</p>
    <div class="disk-buttons">
      <button type="button" class="button primary" data-testid="first-disk" ?disabled=${!writable} @click=${create}>
        ${icon("plus")}${words.newDisk}
      </button>
      <button type="button" class="button" ?disabled=${!writable} @click=${upload}>
        ${icon("upload")}${words.importImage}
      </button>
    </div>
  </div>`;
  return html`${group("", system)} ${group(words.inMachine, attached)} ${group(words.beside, detached)}
  ${data.length === 0 ? invitation : nothing}`;
}
