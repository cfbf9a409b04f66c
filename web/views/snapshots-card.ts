import { html, nothing, type TemplateResult } from "lit-html";
import { el } from "../dom.ts";
import type { AppState, SnapshotActions, SnapshotRow } from "../state.ts";
import { formatBytes, formatClock, type Text } from "../text.ts";
import { askText, openDialog } from "./dialog.ts";
import { icon } from "./icon.ts";
import { openMenu } from "./menu.ts";

export interface SnapshotCardParts {
  text: Text;
  actions: SnapshotActions;
  /** The state as it is when a button is pressed, which may be later than the drawing. */
  state(): AppState;
}

/** A saved machine as a card: what its terminal showed, when, how large, and what can be done with it. */
export function drawSnapshot(parts: SnapshotCardParts, row: SnapshotRow, isBusy: boolean): TemplateResult {
  const { text, actions } = parts;
  const words = text.snapshots;
  const isSuspended = row.kind === "suspended";
  const locale = parts.state().language === "zh" ? "zh-CN" : "en-GB";
  const time = new Date(row.createdAt);
  const facts = [`${row.memoryMb} MB`, text.mode[row.mode], words.up(formatClock(row.uptimeMs))];
  const showMenu = (event: Event): void =>
    openMenu(event.currentTarget as HTMLElement, row.name, [
      { heading: row.name },
      { label: `${words.rename} …`, icon: "pencil", run: () => void askName(parts, row) },
      { label: words.download, icon: "download", disabled: isBusy, run: () => actions.download(row.id) },
      "separator",
      { label: words.remove, icon: "clear", danger: true, disabled: isBusy, run: () => actions.remove(row.id) },
    ]);
  return html`<li class="disk snapshot" data-snapshot=${row.id} data-kind=${row.kind} data-testid="snapshot">
    ${drawPicture(text, row)}
    <div class="snapshot-body">
      <div class="disk-head">
        <h3 class="disk-name">${row.name}</h3>
        ${isSuspended && row.name.toLowerCase() !== words.suspended ? html`<span class="in-use">${words.suspended}</span>` : nothing}
        <span class="space"></span>
        <button
          type="button"
          class="icon-button"
          data-icon="more"
          data-testid="snapshot-more"
          title=${text.more}
          aria-label=${words.more(row.name)}
          aria-haspopup="menu"
          @click=${showMenu}
        >${icon("more")}</button>
      </div>
      <p class="disk-facts">
        <time datetime=${time.toISOString()} title=${time.toLocaleString(locale)}>${describeTime(time, locale)}</time> ·
        ${facts.join(" · ")}
      </p>
      ${row.disks.length > 0 ? html`<p class="disk-facts">${words.withDisks(row.disks.join(", "))}</p>` : nothing}
      <p class="disk-sizes"><span>${words.stored(formatBytes(row.storedBytes))}</span></p>
      ${
        row.unfit
          ? html`<p class="disk-note" data-kind="problem">${icon("warning")}<span>${words.unfit[row.unfit]}</span></p>`
          : nothing
      }
      <div class="disk-buttons">
        <button
          type="button"
          class="button small"
          data-testid="snapshot-restore"
          ?disabled=${isBusy || row.unfit !== null}
          aria-label=${words.restoreNamed(row.name)}
          @click=${() => void askRestore(parts, row)}
        >${icon(isSuspended ? "play" : "undo")}${isSuspended ? words.resume : words.restore}</button>
      </div>
    </div>
  </li>`;
}

function drawPicture(text: Text, { picture }: SnapshotRow): TemplateResult {
  return picture.image === null
    ? html`<pre class="snapshot-picture" role="img" aria-label=${text.snapshots.picture}>${picture.lines.join("\n")}</pre>`
    : html`<img class="snapshot-picture" src=${picture.image} alt=${text.screen} />`;
}

/** Today's by the clock, others by the day. */
function describeTime(time: Date, locale: string): string {
  const isToday = time.toDateString() === new Date().toDateString();
  const clock = time.toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit" });
  return isToday ? clock : `${time.toLocaleDateString(locale, { day: "numeric", month: "short" })}, ${clock}`;
}

async function askName({ text, actions, state }: SnapshotCardParts, row: SnapshotRow): Promise<void> {
  const words = text.snapshots;
  const name = await askText(text, {
    title: words.renameTitle,
    label: words.saveLabel,
    value: row.name,
    confirm: words.rename,
    check: (value) => checkName(text, value, state(), row.id),
  });
  if (name !== null && name !== row.name) actions.rename(row.id, name);
}

/** @returns what is wrong with a name, or nothing */
export function checkName(text: Text, name: string, { snapshots }: AppState, id?: string): string {
  if (name === "") return text.nameEmpty;
  const isTaken = snapshots.rows.some((row) => row.name === name && row.id !== id);
  return isTaken ? text.snapshots.nameTaken(name) : "";
}

/** Asks when something is lost by it. */
export async function askRestore({ text, actions, state }: SnapshotCardParts, row: SnapshotRow): Promise<void> {
  const words = text.snapshots;
  const moved = await actions.movedOn(row.id).catch(() => []);
  const isOn = state().machine.poweredAt !== null;
  const warnings = [
    ...(isOn ? [words.machineEnds] : []),
    ...(moved.length > 0 ? [words.disksMove(moved.join(", "))] : row.disks.length > 0 ? [words.machineOnly] : []),
  ];
  const isHarmless = !isOn && moved.length === 0;
  const isSure =
    isHarmless ||
    (await openDialog(
      text,
      {
        title: words.restoreTitle(row.name),
        confirm: row.kind === "suspended" ? words.resume : words.restore,
        danger: moved.length > 0,
      },
      ...warnings.map((line) => el("p", {}, line)),
    ));
  if (isSure) actions.restore(row.id);
}
