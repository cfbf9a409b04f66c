import { el } from "../dom.ts";
import type { Actions, AppState } from "../state.ts";
import { formatMs, type Text } from "../text.ts";
import { iconButton, setIcon, textButton } from "./button.ts";
import { readPreference, writePreference } from "./preference.ts";
import { createTimelineRow, type TimelineRow } from "./timeline-row.ts";
import type { View } from "./view.ts";

/** The axis is marked at round times, so that there are not more marks than this. */
const MOST_TICKS = 6;
/** Between two drawings of a growing bar. */
const FRAME_MS = 100;
const STILL_MS = 500;
const TICK_STEPS_MS = [100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 60_000];

/** The boot as bars on one time axis, live while it happens. */
export function createTimeline(text: Text, actions: Pick<Actions, "bootCold">): View {
  let state: AppState | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isFolded = readPreference<boolean>("timeline-folded", false);
  /** When the boot was asked for, on the page's clock. */
  let origin = 0;
  const rows = new Map<string, TimelineRow>();
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  const time = el("span");
  // Read out on phones, where there is no room to show it.
  const words = el("span", { className: "total-words" });
  const total = el("output", { className: "total" }, time, words);
  const axis = el("div", { className: "axis", attributes: { "aria-hidden": "true" } });
  const bars = el("div", { className: "bars" });
  const empty = el("p", { className: "soft timeline-empty" }, text.timelineEmpty);
  const cold = el("p", { className: "soft", hidden: true, dataset: { testid: "cold-reason" } });
  const body = el("div", { className: "timeline-body" }, axis, bars, cold, empty);
  const bootCold = textButton(text.warm.bootCold, () => actions.bootCold(), {
    className: "quiet small",
    title: text.warm.bootColdHelp,
    testid: "boot-cold",
  });
  const fold = iconButton("down", "", () => setFolded(!isFolded), "fold-timeline");
  const element = el(
    "section",
    {
      className: "timeline",
      id: "timeline",
      dataset: { testid: "timeline" },
      attributes: { "aria-label": text.timeline },
    },
    el(
      "div",
      { className: "timeline-head" },
      fold,
      el("h2", {}, text.timeline),
      el("span", { className: "space" }),
      bootCold,
      total,
    ),
    body,
  );
  const setFolded = (folded: boolean): void => {
    isFolded = folded;
    writePreference("timeline-folded", folded);
    body.hidden = folded;
    element.dataset.folded = String(folded);
    setIcon(fold, folded ? "right" : "down", folded ? text.unfold(text.timeline) : text.fold(text.timeline));
    fold.setAttribute("aria-expanded", String(!folded));
  };
  setFolded(isFolded);

  const isLive = (): boolean => state?.machine.status === "booting" || state?.machine.status === "building";

  const draw = (): void => {
    if (!state) return;
    const { timeline, machine } = state;
    const last = timeline.at(-1);
    const end = last?.endMs ?? last?.startMs ?? 0;
    const now = isLive() ? Math.max(end, performance.now() - origin) : end;
    // While it grows, the axis leaves room ahead, so that bars do not shrink at every frame.
    const length = isLive() ? Math.max(1000, Math.ceil(now / 500) * 500) : Math.max(now, 1) * 1.02;
    for (const bar of timeline) {
      let row = rows.get(bar.phase);
      if (!row) {
        row = createTimelineRow(text, bar);
        rows.set(bar.phase, row);
        bars.append(row.element);
      }
      row.update(bar, now, length);
    }
    empty.hidden = timeline.length > 0;
    bootCold.hidden = machine.mode !== "warm" || machine.status === "off" || isLive();
    cold.hidden = machine.coldReason === null;
    cold.textContent = machine.coldReason ?? "";
    axis.hidden = timeline.length === 0;
    drawAxis(axis, length);
    const { promptMs } = machine;
    time.textContent = promptMs !== null ? formatMs(promptMs) : timeline.length > 0 ? formatMs(now) : "";
    words.textContent = promptMs !== null ? ` ${text.toPrompt}` : "";
    clearTimeout(timer);
    if (isLive()) schedule();
  };
  /** Draws again shortly: an emulator that boots has better use for the processor than sixty drawings a second. */
  const schedule = (): void => {
    clearTimeout(timer);
    // Whoever wants no movement gets the figures twice a second.
    timer = setTimeout(draw, still.matches ? STILL_MS : FRAME_MS);
  };
  const cancel = (): void => clearTimeout(timer);

  return {
    element,
    update(next) {
      if (state?.timeline === next.timeline && state.machine === next.machine) return;
      const isNewBoot = next.machine.status === "building" && state?.machine.status !== "building";
      state = next;
      if (next.timeline.length === 0 || next.timeline.length < rows.size) {
        for (const row of rows.values()) row.element.remove();
        rows.clear();
      }
      if (isNewBoot) origin = performance.now();
      // The moment of power-on ties the bars' clock to the page's.
      const first = next.timeline.find(({ phase }) => phase === "bios" || phase === "restore");
      if (first && next.machine.poweredAt !== null) origin = next.machine.poweredAt - first.startMs;
      draw();
    },
    dispose: cancel,
  };
}

function drawAxis(axis: HTMLElement, length: number): void {
  const step = TICK_STEPS_MS.find((candidate) => length / candidate <= MOST_TICKS) ?? 60_000;
  const key = `${step} ${Math.round(length)}`;
  if (axis.dataset.key === key) return;
  axis.dataset.key = key;
  const ticks: HTMLElement[] = [];
  for (let ms = 0; ms <= length; ms += step) {
    const tick = el("span", { className: "tick" }, ms % 1000 === 0 ? `${ms / 1000} s` : `${ms / 1000}`);
    tick.style.left = `${(100 * ms) / length}%`;
    ticks.push(tick);
  }
  axis.replaceChildren(el("div", { className: "ticks" }, ...ticks));
}
