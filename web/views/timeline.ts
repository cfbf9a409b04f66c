import { el } from "../dom.ts";
import type { AppState, TimelineBar } from "../state.ts";
import type { Text } from "../text.ts";
import type { View } from "./view.ts";

/** More lines than this are not shown at once; the terminal has them all. */
const SHOWN_LINES = 600;

/** The boot as bars on one time axis; a bar opens to what the machine printed meanwhile. */
export function createTimeline(text: Text): View {
  const total = el("output");
  const bars = el("div", { className: "bars" });
  const empty = el("p", { className: "soft" }, text.timelineEmpty);
  const element = el(
    "section",
    { className: "timeline", dataset: { testid: "timeline" }, attributes: { "aria-label": text.timeline } },
    el("div", { className: "timeline-head" }, el("h2", {}, text.timeline), total),
    bars,
  );
  let open: string | null = null;
  let state: AppState | null = null;
  let frame = 0;
  const rows = new Map<string, Row>();

  const draw = (): void => {
    if (!state) return;
    const { timeline, machine } = state;
    const isLive = machine.status === "booting" || machine.status === "building";
    // The bars' own clock starts with the boot request, which is when the first one starts.
    const now =
      isLive && startedAt !== null
        ? performance.now() - startedAt
        : (timeline.at(-1)?.endMs ?? timeline.at(-1)?.startMs ?? 0);
    const length = Math.max(now, timeline.at(-1)?.endMs ?? 0, 1);
    empty.hidden = timeline.length > 0;
    const present = new Set<string>(timeline.map(({ phase }) => phase));
    for (const [phase, row] of rows)
      if (!present.has(phase)) {
        row.button.remove();
        row.messages.remove();
        rows.delete(phase);
      }
    for (const bar of timeline) {
      let row = rows.get(bar.phase);
      if (!row) {
        row = createRow(text, bar, () => {
          open = open === bar.phase ? null : bar.phase;
          draw();
        });
        rows.set(bar.phase, row);
        bars.append(row.button, row.messages);
      }
      updateRow(text, row, bar, length, now, open === bar.phase);
    }
    total.textContent =
      machine.promptMs === null ? (isLive ? formatMs(now) : "") : `${formatMs(machine.promptMs)} ${text.toPrompt}`;
    if (isLive && !frame)
      frame = requestAnimationFrame(() => {
        frame = 0;
        draw();
      });
  };

  let startedAt: number | null = null;
  bars.append(empty);
  return {
    element,
    update(next) {
      const first = next.timeline.length <= 1 && next.machine.status === "building";
      if (first && state?.machine.status !== "building") startedAt = performance.now();
      state = next;
      draw();
    },
    dispose: () => cancelAnimationFrame(frame),
  };
}

interface Row {
  button: HTMLButtonElement;
  span: HTMLElement;
  ms: HTMLElement;
  messages: HTMLElement;
  shown: number;
}

function createRow(text: Text, bar: TimelineBar, onToggle: () => void): Row {
  const span = el("span", { className: "span" });
  const ms = el("span", { className: "ms" });
  const button = el(
    "button",
    { type: "button", className: "bar-row", dataset: { testid: "timeline-bar", phase: bar.phase } },
    el("span", {}, text.phases[bar.phase]),
    el("span", { className: "track" }, span),
    ms,
  );
  span.style.setProperty("--phase", `var(--phase-${bar.phase})`);
  button.addEventListener("click", onToggle);
  return { button, span, ms, messages: el("div", { className: "messages", hidden: true, tabIndex: 0 }), shown: -1 };
}

function updateRow(text: Text, row: Row, bar: TimelineBar, length: number, now: number, isOpen: boolean): void {
  const end = bar.endMs ?? now;
  row.span.style.left = `${(100 * bar.startMs) / length}%`;
  row.span.style.width = `${(100 * Math.max(0, end - bar.startMs)) / length}%`;
  const duration = Math.max(0, end - bar.startMs);
  row.button.dataset.ms = String(Math.round(duration));
  row.ms.textContent = bar.phase === "shell" ? "✓" : formatMs(duration);
  row.button.setAttribute("aria-expanded", String(isOpen));
  row.messages.hidden = !isOpen;
  if (!isOpen || row.shown === bar.messages.length) return;
  row.shown = bar.messages.length;
  row.messages.textContent = bar.messages.length === 0 ? text.noMessages : bar.messages.slice(-SHOWN_LINES).join("\n");
}

function formatMs(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}
