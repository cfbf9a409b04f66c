import { el } from "../dom.ts";
import type { Actions, AppState, MachineStatus, SnapshotRow } from "../state.ts";
import type { Text } from "../text.ts";
import { textButton } from "./button.ts";
import { formatAmount } from "./network-amounts.ts";
import { askRestore } from "./snapshots-card.ts";
import type { View } from "./view.ts";

/** What lies over the terminal while no program runs: how far downloads and the build are, a machine that is off or paused. */
export function createMachineOverlay(text: Text, actions: Actions): View {
  const title = el("strong");
  const detail = el("span", { className: "soft figures" });
  const progress = el("progress", { max: 1, attributes: { "aria-label": text.buildTitle } });
  const cancel = textButton(text.cancel, () => actions.cancelBuild(), { className: "small", testid: "cancel" });
  const powerOn = textButton(text.powerOn, () => actions.powerOn(), { className: "small primary", icon: "power" });
  let state: AppState | null = null;
  const suspended = (): SnapshotRow | undefined => state?.snapshots.rows.find(({ kind }) => kind === "suspended");
  const ask = (): void => {
    const row = suspended();
    if (row) void askRestore({ text, actions: actions.snapshots, state: () => state as AppState }, row);
  };
  const goOn = textButton(text.snapshots.resume, ask, {
    className: "small primary",
    icon: "play",
    testid: "go-on",
  });
  const resume = textButton(text.resume, () => actions.resume(), { className: "small", icon: "play" });
  const element = el(
    "div",
    { className: "overlay", hidden: true, dataset: { testid: "overlay" } },
    el("div", { className: "overlay-words" }, title, detail),
    progress,
    cancel,
    goOn,
    powerOn,
    resume,
  );

  return {
    element,
    update(next) {
      state = next;
      const { machine, download } = next;
      const { status } = machine;
      // What is still to come decides when the machine can start; the build takes no time beside it.
      const build = status === "building" ? (download ?? machine.build) : null;
      element.hidden = status !== "building" && status !== "off" && status !== "paused";
      element.dataset.status = status;
      title.textContent = titleOf(text, status, download !== null);
      detail.textContent = detailOf(text, status, build);
      const isSuspended = status === "off" && suspended() !== undefined;
      if (isSuspended) {
        title.textContent = text.snapshots.suspendedTitle;
        detail.textContent = text.snapshots.suspendedHint;
      }
      goOn.hidden = !isSuspended;
      powerOn.classList.toggle("primary", !isSuspended);
      progress.hidden = cancel.hidden = status !== "building";
      powerOn.hidden = status !== "off";
      resume.hidden = status !== "paused";
      // Without a value the bar only says that something happens.
      if (build && build.total > 0) progress.value = build.done / build.total;
      else progress.removeAttribute("value");
    },
  };
}

function titleOf(text: Text, status: MachineStatus, isLoading: boolean): string {
  if (status === "building") return isLoading ? text.visit.loadingTitle : text.buildTitle;
  return status === "off" ? text.offTitle : text.pausedTitle;
}

function detailOf(
  text: Text,
  status: MachineStatus,
  progress: AppState["machine"]["build"] | AppState["download"],
): string {
  if (status === "off") return text.offHint;
  if (!progress) return "";
  if ("step" in progress) return text.buildSteps[progress.step];
  return text.visit.loaded(formatAmount(progress.done), formatAmount(progress.total));
}
