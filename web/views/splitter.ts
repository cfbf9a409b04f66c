import { el } from "../dom.ts";
import { readPreference, writePreference } from "./preference.ts";

interface SplitterOptions {
  /** Under which the size is remembered. */
  name: string;
  label: string;
  /** Id of the panel that is resized. */
  controls: string;
  /** Of the bar itself: a vertical one stands between left and right. */
  orientation: "vertical" | "horizontal";
  initial: number;
  least: number;
  most(): number;
  /** The panel's present size. */
  measure(): number;
  fromPointer(x: number, y: number): number;
  apply(size: number): void;
  /** The panel is on the right of or below the bar: the arrow towards it makes it smaller. */
  isReversed?: boolean;
  /** Called when the panel is dragged to less than half its least size. */
  fold?(): void;
}

const STEP = 16;

/** A bar between two panels, for the pointer and for the arrow keys. A double click or Enter restores the size. */
export function createSplitter(options: SplitterOptions): HTMLElement {
  const { name, initial, least, orientation } = options;
  const splitter = el("div", {
    className: `splitter ${orientation}`,
    tabIndex: 0,
    title: options.label,
    dataset: { testid: `splitter-${name}` },
    attributes: {
      role: "separator",
      "aria-orientation": orientation,
      "aria-label": options.label,
      "aria-controls": options.controls,
      "aria-valuemin": String(least),
    },
  });
  const announce = (): void => {
    splitter.setAttribute("aria-valuemax", String(Math.round(options.most())));
    splitter.setAttribute("aria-valuenow", String(Math.round(options.measure())));
  };
  const set = (wanted: number): void => {
    const size = wanted === initial ? initial : Math.round(Math.max(least, Math.min(options.most(), wanted)));
    options.apply(size);
    writePreference(name, size);
    announce();
  };

  splitter.addEventListener("pointerdown", (event) => {
    splitter.setPointerCapture(event.pointerId);
    splitter.classList.add("dragging");
    event.preventDefault();
  });
  splitter.addEventListener("pointermove", (event) => {
    if (!splitter.hasPointerCapture(event.pointerId)) return;
    const size = options.fromPointer(event.clientX, event.clientY);
    if (options.fold && size < least / 2) options.fold();
    else set(size);
  });
  splitter.addEventListener("lostpointercapture", () => splitter.classList.remove("dragging"));
  splitter.addEventListener("dblclick", () => set(initial));
  splitter.addEventListener("keydown", (event) => {
    const [smaller, larger] = orientation === "vertical" ? ["ArrowLeft", "ArrowRight"] : ["ArrowUp", "ArrowDown"];
    const sign = options.isReversed ? -1 : 1;
    const step = (event.shiftKey ? 4 : 1) * STEP * sign;
    if (event.key === smaller) set(options.measure() - step);
    else if (event.key === larger) set(options.measure() + step);
    else if (event.key === "Home") set(least);
    else if (event.key === "End") set(options.most());
    else if (event.key === "Enter") set(initial);
    else return;
    event.preventDefault();
  });
  splitter.addEventListener("focus", announce);

  options.apply(readPreference(name, initial));
  requestAnimationFrame(announce);
  return splitter;
}
