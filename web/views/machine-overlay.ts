import { el } from "../dom.ts";
import type { Actions, AppState } from "../state.ts";
import type { Text } from "../text.ts";
import { textButton } from "./button.ts";
import type { View } from "./view.ts";

/** What lies over the terminal while no program runs: the build's progress, a machine that is off or paused. */
export function createMachineOverlay(text: Text, actions: Actions): View {
  const title = el("strong");
  const detail = el("span", { className: "soft" });
  const progress = el("progress", { max: 1, attributes: { "aria-label": text.buildTitle } });
  const cancel = textButton(text.cancel, () => actions.cancelBuild(), { className: "small", testid: "cancel" });
  const powerOn = textButton(text.powerOn, () => actions.powerOn(), { className: "small primary", icon: "power" });
  const resume = textButton(text.resume, () => actions.resume(), { className: "small", icon: "play" });
  const element = el(
    "div",
    { className: "overlay", hidden: true, dataset: { testid: "overlay" } },
    el("div", { className: "overlay-words" }, title, detail),
    progress,
    cancel,
    powerOn,
    resume,
  );

  return {
    element,
    update({ machine }) {
      const { status, build } = machine;
      element.hidden = status !== "building" && status !== "off" && status !== "paused";
      element.dataset.status = status;
      title.textContent = titleOf(text, status);
      detail.textContent =
        status === "building" ? (build ? text.buildSteps[build.step] : "") : status === "off" ? text.offHint : "";
      progress.hidden = cancel.hidden = status !== "building";
      powerOn.hidden = status !== "off";
      resume.hidden = status !== "paused";
      // Without a value the bar only says that something happens.
      if (build && build.total > 0) progress.value = build.done / build.total;
      else progress.removeAttribute("value");
    },
  };
}

function titleOf(text: Text, status: AppState["machine"]["status"]): string {
  if (status === "building") return text.buildTitle;
  return status === "off" ? text.offTitle : text.pausedTitle;
}
