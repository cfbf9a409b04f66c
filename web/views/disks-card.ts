import { html, nothing, type TemplateResult } from "lit-html";
import type { AppState, DiskActions, DiskRow } from "../state.ts";
import type { Text } from "../text.ts";
import { areDrivesTaken } from "./disks-create.ts";
import { build, diskItems, hasFiles, nameOf } from "./disks-menu.ts";
import { formatSize } from "./disks-size.ts";
import { type IconName, icon } from "./icon.ts";
import { openMenu } from "./menu.ts";

const BUILD_ICONS = { unbuilt: "layers", stale: "restart", current: "check" } as const;

export interface CardParts {
  text: Text;
  actions: DiskActions;
  /** The state as it is when a button is pressed, which may be later than the drawing. */
  state(): AppState;
  browse(id: string): void;
}

/** A disk as a card: what it is, how full, what is to be told of it, and what can be done with it. */
export function drawDisk(parts: CardParts, disk: DiskRow): TemplateResult {
  const { text, actions } = parts;
  const words = text.disks;
  const name = nameOf(text, disk);
  const isOn = parts.state().machine.poweredAt !== null;
  const facts = [
    words.fileSystems[disk.fileSystem],
    formatSize(disk.sizeBytes),
    ...(disk.label === "" ? [] : [words.labelled(disk.label)]),
    // What the running machine does not know yet. Whether it has the system disk is the boot mode's to say.
    ...(isOn && disk.kind === "data" && disk.drive !== null && !disk.inUse ? [words.fromNextBoot] : []),
    ...(disk.drive === null && disk.inUse ? [words.untilNextBoot] : []),
  ];
  const showMenu = (event: Event): void => {
    const now = parts.state();
    const row = now.disks.find(({ id }) => id === disk.id);
    if (row) openMenu(event.currentTarget as HTMLElement, name, diskItems(text, actions, row, now));
  };
  return html`<li class="disk" data-disk=${disk.id} data-kind=${disk.kind} data-testid="disk">
    <div class="disk-head">
      ${icon("disk")}
      <h3 class="disk-name" id=${`disk-name-${disk.id}`}>${name}</h3>
      ${drawPlace(text, disk)}
      <span class="space"></span>
      <button
        type="button"
        class="icon-button"
        data-icon="more"
        data-testid="disk-more"
        title=${text.more}
        aria-label=${words.more(name)}
        aria-haspopup="menu"
        @click=${showMenu}
      >${icon("more")}</button>
    </div>
    <p class="disk-facts">${facts.join(" · ")}</p>
    ${drawSizes(text, disk)} ${drawNotes(text, disk)} ${disk.work ? drawWork(text, actions, disk, disk.work) : drawButtons(parts, disk)}
  </li>`;
}

/** The drive it is in, and whether the machine has it already. */
function drawPlace(text: Text, { drive, inUse, build }: DiskRow): TemplateResult | typeof nothing {
  const words = text.disks;
  if (build === "unbuilt") return nothing;
  return html`${
    drive === null
      ? nothing
      : html`<span class="drive" data-in-use=${inUse} title=${words.drive(drive)}>${drive}</span>`
  }${inUse ? html`<span class="in-use">${words.usedNow}</span>` : nothing}`;
}

function drawSizes(text: Text, disk: DiskRow): TemplateResult | typeof nothing {
  if (disk.build === "unbuilt") return nothing;
  const words = text.disks;
  const { usedBytes, sizeBytes } = disk;
  const used = usedBytes === null ? null : words.used(formatSize(usedBytes), formatSize(sizeBytes));
  const share = usedBytes === null ? 0 : Math.min(1, usedBytes / Math.max(1, sizeBytes));
  return html`${
    used === null
      ? nothing
      : html`<div
          class="disk-meter"
          role="meter"
          aria-valuenow=${Math.round(share * 100)}
          aria-valuemin="0"
          aria-valuemax="100"
          aria-valuetext=${used}
          aria-labelledby=${`disk-name-${disk.id}`}
          data-full=${share > 0.95}
        ><i .style=${`width: ${share * 100}%`}></i></div>`
  }
  <p class="disk-sizes"><span>${used ?? nothing}</span><span>${words.stored(formatSize(disk.storedBytes))}</span></p>`;
}

function drawNotes(text: Text, disk: DiskRow): TemplateResult {
  const words = text.disks;
  const note = (kind: string, face: IconName, line: string): TemplateResult =>
    html`<p class="disk-note" data-kind=${kind} role=${kind === "problem" ? "alert" : nothing}>${icon(face)}<span>${line}</span></p>`;
  return html`${disk.problem ? note("problem", "warning", disk.problem) : nothing}
  ${disk.readOnly ? note("read-only", "lock", words.readOnly) : nothing}
  ${disk.build && disk.work?.what !== "build" ? note(disk.build, BUILD_ICONS[disk.build], words.build[disk.build]) : nothing}
  ${disk.kind === "system" && disk.changed ? note("changed", "pencil", words.changed) : nothing}`;
}

function drawWork(
  text: Text,
  actions: DiskActions,
  disk: DiskRow,
  { what, done, total }: NonNullable<DiskRow["work"]>,
): TemplateResult {
  const words = text.disks.work[what];
  const share = total > 0 ? Math.min(1, done / total) : null;
  return html`<div class="disk-work">
    <span class="disk-work-words">${words}${share === null ? " …" : ` ${Math.floor(share * 100)} %`}</span>
    <progress max="1" value=${share ?? nothing} aria-label=${words}></progress>
    <button
      type="button"
      class="button small"
      data-testid="disk-cancel"
      aria-label=${text.disks.cancelWork(words, nameOf(text, disk))}
      @click=${() => actions.cancel(disk.id)}
    >${text.cancel}</button>
  </div>`;
}

function drawButtons(parts: CardParts, disk: DiskRow): TemplateResult {
  const { text, actions } = parts;
  const words = text.disks;
  const state = parts.state();
  const name = nameOf(text, disk);
  const files = hasFiles(disk)
    ? html`<button
        type="button"
        class="button small"
        data-testid="disk-files"
        ?disabled=${disk.inUse}
        title=${disk.inUse ? words.listInUse : nothing}
        aria-label=${words.filesOf(name)}
        @click=${() => parts.browse(disk.id)}
      >${icon("folder")}${words.files}</button>`
    : nothing;
  if (disk.kind === "system") {
    const isUnbuilt = disk.build === "unbuilt";
    return html`<div class="disk-buttons">
      <button
        type="button"
        class="button small boot"
        data-testid="disk-boot"
        ?disabled=${isUnbuilt && !state.writable}
        @click=${() => actions.boot()}
      >${icon("play")}${isUnbuilt ? words.buildAndBoot : words.boot}</button>
      <button
        type="button"
        class="button small"
        data-testid="disk-build"
        ?disabled=${!state.writable || disk.readOnly}
        @click=${() => void build(text, actions, disk)}
      >${icon("restart")}${isUnbuilt ? words.buildNow : words.rebuild}</button>
      ${files}
    </div>`;
  }
  const isFull = areDrivesTaken(state.disks);
  return html`<div class="disk-buttons">
    ${
      disk.drive === null
        ? html`<button
            type="button"
            class="button small"
            data-testid="disk-attach"
            ?disabled=${isFull || !state.writable}
            title=${isFull ? words.allTaken : nothing}
            aria-label=${words.attachNext(name)}
            @click=${() => actions.attach(disk.id, null)}
          >${icon("plug")}${words.attach}</button>`
        : html`<button
            type="button"
            class="button small"
            data-testid="disk-detach"
            ?disabled=${!state.writable}
            aria-label=${words.detachNamed(name)}
            @click=${() => actions.detach(disk.id)}
          >${icon("eject")}${words.detach}</button>`
    }
    ${files}
  </div>`;
}
