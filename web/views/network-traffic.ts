import { el, svg } from "../dom.ts";
import type { NetworkState } from "../state.ts";
import type { Text } from "../text.ts";
import { icon } from "./icon.ts";
import { formatAmount, formatRate } from "./network-amounts.ts";

const SAMPLE_MS = 1000;
const SHOWN_MS = 60_000;
/** The drawing's own units: a second wide each, and so high. */
const WIDTH = SHOWN_MS / 1000;
const HEIGHT = 24;
/** A trickle is not drawn as if it were a flood. */
const LEAST_PEAK = 1000;

interface Sample {
  at: number;
  received: number;
  sent: number;
}

export interface Traffic {
  readonly element: HTMLElement;
  update(network: NetworkState): void;
  dispose(): void;
}

/** Rates and totals both ways, and the last minute's rates as a drawing. */
export function createTraffic(text: Text): Traffic {
  const words = text.network;
  let network: NetworkState | null = null;
  let samples: Sample[] = [];

  const flow = (kind: "received" | "sent") => {
    const rate = el("b", { dataset: { testid: `${kind}-rate` } });
    const total = el("span", { className: "soft", dataset: { testid: `${kind}-total` } });
    const block = el(
      "div",
      { className: "net-flow", dataset: { kind } },
      el("span", { className: "net-flow-name" }, icon(kind), words[kind]),
      rate,
      total,
    );
    return { block, rate, total };
  };
  const received = flow("received");
  const sent = flow("sent");
  const receivedArea = svg("path", { class: "net-area" });
  const receivedLine = svg("path", { class: "net-line" });
  const sentLine = svg("path", { class: "net-line sent" });
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
    receivedArea,
    receivedLine,
    sentLine,
  );
  const peak = el("span");
  const chart = el(
    "div",
    { className: "net-chart", dataset: { testid: "network-chart" } },
    drawing,
    el("p", { className: "net-scale", attributes: { "aria-hidden": "true" } }, el("span", {}, words.minute), peak),
  );
  const element = el(
    "div",
    { className: "net-traffic", hidden: true },
    el("div", { className: "net-flows" }, received.block, sent.block),
    chart,
  );

  const draw = (): void => {
    const now = performance.now();
    const most = {
      received: Math.max(0, ...samples.map((sample) => sample.received)),
      sent: Math.max(0, ...samples.map((sample) => sample.sent)),
    };
    const top = Math.max(LEAST_PEAK, most.received, most.sent);
    const line = (kind: "received" | "sent"): string =>
      samples
        .map((sample, index) => {
          const x = WIDTH - (now - sample.at) / 1000;
          const y = HEIGHT - 1 - (sample[kind] / top) * (HEIGHT - 2);
          return `${index === 0 ? "M" : "L"}${x.toFixed(2)} ${y.toFixed(2)}`;
        })
        .join("");
    const first = samples[0];
    const last = samples.at(-1);
    const outline = line("received");
    receivedLine.setAttribute("d", outline);
    sentLine.setAttribute("d", line("sent"));
    const x = (sample: Sample): string => (WIDTH - (now - sample.at) / 1000).toFixed(2);
    receivedArea.setAttribute("d", first && last ? `${outline}L${x(last)} ${HEIGHT}L${x(first)} ${HEIGHT}Z` : "");
    peak.textContent = words.peak(formatRate(Math.max(most.received, most.sent)));
    drawing.setAttribute("aria-label", words.chart(formatRate(most.received), formatRate(most.sent)));
  };
  const sample = (): void => {
    if (!network) return;
    const at = performance.now();
    // One more than is seen, so that the line reaches the edge.
    samples = samples.filter((old) => at - old.at <= SHOWN_MS + SAMPLE_MS);
    samples.push({ at, received: network.receivedRate, sent: network.sentRate });
    if (!element.hidden && element.offsetParent !== null) draw();
  };
  const timer = setInterval(sample, SAMPLE_MS);

  return {
    element,
    update(next) {
      const isFirst = network === null;
      network = next;
      // A connection that was never there has nothing to tell.
      const wasUsed = next.receivedBytes + next.sentBytes > 0;
      const isConnected = next.status === "online" || next.room !== null;
      element.hidden = !isConnected && (next.status === "none" || !wasUsed);
      for (const [kind, { rate, total }] of Object.entries({ received, sent })) {
        const isReceived = kind === "received";
        rate.textContent = formatRate(isReceived ? next.receivedRate : next.sentRate);
        total.textContent = words.total(formatAmount(isReceived ? next.receivedBytes : next.sentBytes));
      }
      if (!isFirst) return;
      sample();
      draw();
    },
    dispose: () => clearInterval(timer),
  };
}
