import { copyText } from "../clipboard.ts";
import { el } from "../dom.ts";
import type { TimelineBar } from "../state.ts";
import { formatMs, type Text } from "../text.ts";
import { textButton } from "./button.ts";

/** More lines than this are not shown at once; the terminal has them all. */
const SHOWN_LINES = 500;

export interface TimelineRow {
  readonly element: HTMLElement;
  /** @param now where the clock stands; a phase without an end runs until then. @param length the whole axis */
  update(bar: TimelineBar, now: number, length: number): void;
}

/** One phase: a bar on the common axis that opens to what the machine printed meanwhile. */
export function createTimelineRow(text: Text, { phase }: TimelineBar): TimelineRow {
  let isOpen = false;
  let bar: TimelineBar | null = null;
  let shownLines = -1;
  const fill = el("span", { className: "fill" });
  const time = el("span", { className: "ms" });
  const details = el("div", { className: "timeline-details", hidden: true, id: `timeline-${phase}` });
  const button = el(
    "button",
    {
      type: "button",
      className: "timeline-bar",
      title: text.phaseHelp[phase],
      dataset: { testid: "timeline-bar", phase },
      attributes: { "aria-expanded": "false", "aria-controls": details.id },
    },
    el("span", { className: "phase" }, text.phases[phase]),
    el("span", { className: "track" }, fill),
    time,
  );
  const count = el("span", { className: "soft" });
  const lines = el("pre", { className: "messages", tabIndex: 0 });
  const copy = textButton(text.copyLines, () => void copyLines(), { className: "small", icon: "copy" });
  const copyLines = async (): Promise<void> => {
    const label = copy.querySelector("span");
    if (!(await copyText(bar?.messages.join("\n") ?? "")) || !label) return;
    label.textContent = text.copied;
    setTimeout(() => {
      label.textContent = text.copyLines;
    }, 1500);
  };
  details.append(el("p", { className: "soft" }, text.phaseHelp[phase]), count, lines, copy);
  button.addEventListener("click", () => {
    isOpen = !isOpen;
    button.setAttribute("aria-expanded", String(isOpen));
    details.hidden = !isOpen;
    drawLines();
  });

  const drawLines = (): void => {
    if (!isOpen || !bar || shownLines === bar.messages.length) return;
    shownLines = bar.messages.length;
    const hidden = Math.max(0, bar.messages.length - SHOWN_LINES);
    count.hidden = hidden === 0;
    count.textContent = text.earlierLines(hidden);
    lines.hidden = copy.hidden = bar.messages.length === 0;
    lines.textContent = bar.messages.slice(hidden).join("\n");
    if (bar.messages.length === 0) {
      count.hidden = false;
      count.textContent = text.noMessages;
    }
  };

  return {
    element: el("div", { className: "timeline-row" }, button, details),
    update(next, now, length) {
      bar = next;
      const isRunning = next.endMs === undefined;
      const end = next.endMs ?? Math.max(now, next.startMs);
      const duration = Math.max(0, end - next.startMs);
      // A moment has no length, but is there.
      button.dataset.moment = String(duration === 0 && !isRunning);
      button.dataset.running = String(isRunning);
      fill.style.left = `${(100 * next.startMs) / length}%`;
      fill.style.width = `${(100 * duration) / length}%`;
      const ms = String(Math.round(duration));
      if (button.dataset.ms !== ms) {
        button.dataset.ms = ms;
        time.textContent = duration === 0 && !isRunning ? `+${formatMs(next.startMs)}` : formatMs(duration);
      }
      drawLines();
    },
  };
}
