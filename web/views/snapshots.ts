import { html, nothing, render, type TemplateResult } from "lit-html";
import { repeat } from "lit-html/directives/repeat.js";
import { el } from "../dom.ts";
import type { AppState, SnapshotActions } from "../state.ts";
import { formatBytes, type Text } from "../text.ts";
import { iconButton, textButton } from "./button.ts";
import { askText } from "./dialog.ts";
import { icon } from "./icon.ts";
import { checkName, drawSnapshot, type SnapshotCardParts } from "./snapshots-card.ts";
import { acceptDrops } from "./tree-drop.ts";
import type { View } from "./view.ts";

export interface SnapshotsPanel extends View {
  focus(): void;
}

/** The project's saved machines, and whether the machine is kept when the page is left. */
export function createSnapshots(text: Text, actions: SnapshotActions): SnapshotsPanel {
  const words = text.snapshots;
  let state: AppState | null = null;

  const picker = el("input", { type: "file", hidden: true, dataset: { testid: "snapshot-picker" } });
  picker.addEventListener("change", () => {
    for (const file of picker.files ?? []) actions.import(file);
    picker.value = "";
  });
  const askSave = async (): Promise<void> => {
    if (!state) return;
    const names = state.snapshots.rows.map(({ name }) => name);
    let count = 1;
    while (names.includes(words.defaultName(count))) count += 1;
    const name = await askText(text, {
      title: words.saveTitle,
      label: words.saveLabel,
      value: words.defaultName(count),
      confirm: words.save,
      check: (value) => checkName(text, value, state as AppState),
    });
    if (name !== null) actions.save(name);
  };
  const save = textButton(words.save, () => void askSave(), {
    className: "small",
    icon: "snapshot",
    testid: "save-snapshot",
  });
  const suspend = textButton(words.suspend, () => actions.suspend(), {
    className: "small",
    icon: "moon",
    testid: "suspend",
  });
  const upload = iconButton("upload", words.import, () => picker.click(), "import-snapshot");
  const list = el("div", { className: "disk-list", dataset: { testid: "snapshot-list" } });
  const dropHint = el("p", { className: "drop-hint", hidden: true }, words.drop);
  const resumes = el("input", { type: "checkbox", dataset: { testid: "resumes" } });
  resumes.addEventListener("change", () => actions.setResumes(resumes.checked));
  const preference = el(
    "div",
    { className: "snapshot-preference" },
    el("label", { className: "choice" }, resumes, words.resumes),
    el("p", { className: "soft" }, words.resumesHint),
  );
  const body = el("div", { className: "disks-body" }, list, preference, dropHint);
  acceptDrops(
    body,
    (target) => {
      dropHint.hidden = target === null;
      body.classList.toggle("drop", !dropHint.hidden);
    },
    (_target, { files }) => {
      for (const file of files) actions.import(file);
    },
  );
  const amountWords = el("span");
  const amountBar = el("i");
  const amountMeter = el(
    "div",
    { className: "disk-meter", attributes: { role: "meter", "aria-valuemin": "0", "aria-valuemax": "100" } },
    amountBar,
  );
  const amount = el(
    "div",
    { className: "foot quota", dataset: { testid: "snapshot-amount" } },
    amountWords,
    amountMeter,
  );
  const element = el(
    "section",
    {
      className: "panel snapshots-panel",
      id: "panel-snapshots",
      dataset: { testid: "snapshots" },
      attributes: { "aria-label": words.title },
    },
    el(
      "div",
      { className: "head" },
      el("h2", { className: "disks-title" }, words.title),
      el("span", { className: "space" }),
      save,
      suspend,
      upload,
      picker,
    ),
    body,
    amount,
  );
  const parts: SnapshotCardParts = { text, actions, state: () => state as AppState };

  return {
    element,
    focus: () => (list.querySelector<HTMLElement>("button:enabled") ?? (save.disabled ? upload : save)).focus(),
    update(next) {
      const isSame =
        state !== null &&
        state.snapshots === next.snapshots &&
        state.machine === next.machine &&
        state.writable === next.writable;
      state = next;
      if (isSame) return;
      const { rows, work, count, storedBytes, most } = next.snapshots;
      const isUp = next.machine.status === "running" || next.machine.status === "paused";
      save.disabled = !isUp || work !== null;
      suspend.disabled = save.disabled || !next.writable;
      save.title = isUp ? words.saveHint : words.needsMachine;
      suspend.title = isUp ? words.suspendHint : words.needsMachine;
      upload.disabled = work !== null;
      resumes.checked = next.snapshots.resumes;
      render(
        drawList(parts, next, () => void askSave()),
        list,
      );
      const share = Math.round((100 * storedBytes) / Math.max(1, most.bytes));
      amount.hidden = count === 0;
      amountWords.textContent = words.amount(count, most.count, formatBytes(storedBytes), formatBytes(most.bytes));
      amountBar.style.width = `${Math.min(100, share)}%`;
      amountMeter.setAttribute("aria-valuenow", String(share));
      amountMeter.setAttribute("aria-label", amountWords.textContent);
      amountMeter.dataset.full = String(share > 95 || count >= most.count);
      list.setAttribute("aria-busy", String(rows.length > 0 && work !== null));
    },
  };
}

function drawList(parts: SnapshotCardParts, state: AppState, save: () => void): TemplateResult {
  const { rows, work } = state.snapshots;
  const words = parts.text.snapshots;
  const isUp = state.machine.status === "running" || state.machine.status === "paused";
  const progress = work
    ? html`<div class="disk-work" role="status">
        <span class="disk-work-words">${words.work[work.what]}</span>
        <progress max="1" aria-label=${words.work[work.what]}></progress>
      </div>`
    : nothing;
  const cards = html`<ul class="disk-cards" aria-label=${words.title}>
    ${repeat(
      rows,
      ({ id }) => id,
      (row) => drawSnapshot(parts, row, work !== null),
    )}
  </ul>`;
  const invitation = html`<div class="disk-invitation">
    ${icon("snapshot")}
    <h3>${words.none}</h3>
    <p class="soft">${words.noneHint}</p>
    <div class="disk-buttons">
      <button
        type="button"
        class="button primary"
        data-testid="first-snapshot"
        ?disabled=${!isUp || work !== null}
        title=${isUp ? nothing : words.needsMachine}
        @click=${save}
      >${icon("snapshot")}${words.saveFirst}</button>
    </div>
  </div>`;
  return html`${progress} ${rows.length === 0 ? invitation : cards}`;
}
