import { el } from "../dom.ts";
import type { Actions } from "../state.ts";
import type { Text } from "../text.ts";
import { textButton } from "./button.ts";

export interface Screen {
  readonly element: HTMLElement;
  readonly tools: HTMLElement;
  focus(): void;
  dispose(): void;
}

/** Two presses of Escape within this leave the screen: one alone is the guest's. */
const DOUBLE_MS = 500;
/** Larger than this, the letters of a text screen only get blurred. */
const LARGEST = 2;
/** Room for the ring of the focus. */
const MARGIN = 12;

/** What v86 draws into, one for each machine: it wants a div for text and a canvas for graphics. */
export function newMachineScreen(): HTMLElement {
  const words = el("div");
  words.style.whiteSpace = "pre";
  return el("div", {}, words, el("canvas"));
}

/** Where the present machine's screen stands. */
export function newScreenContainer(): HTMLElement {
  return el("div", { className: "screen", tabIndex: 0 });
}

/** The machine's screen, fitted into its panel. It takes the keyboard while it has the focus. */
export function createScreen(text: Text, actions: Actions, container: HTMLElement): Screen {
  const abort = new AbortController();
  const hint = el("p", { className: "screen-hint" }, text.screenHint);
  const element = el("div", { className: "screen-stage" }, container, hint);
  container.tabIndex = 0;
  container.setAttribute("role", "application");
  container.setAttribute("aria-label", text.screen);

  const fit = (): void => {
    const { offsetWidth: width, offsetHeight: height } = container;
    if (width === 0 || height === 0) return;
    const scale = Math.min((element.clientWidth - MARGIN) / width, (element.clientHeight - MARGIN) / height, LARGEST);
    container.style.transform = `translate(-50%, -50%) scale(${scale})`;
  };
  const observer = new ResizeObserver(fit);
  observer.observe(element);
  observer.observe(container);

  const take = (focused: boolean): void => {
    element.dataset.focused = String(focused);
    hint.textContent = focused ? text.screenFocused : text.screenHint;
    actions.focusScreen(focused);
  };
  const options = { signal: abort.signal };
  let lastEscape = -DOUBLE_MS;
  container.addEventListener("focus", () => take(true), options);
  container.addEventListener("blur", () => take(false), options);
  element.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    container.focus();
  });
  container.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape") return;
      if (event.timeStamp - lastEscape < DOUBLE_MS) container.blur();
      lastEscape = event.timeStamp;
    },
    options,
  );
  return {
    element,
    tools: el(
      "div",
      { className: "tools" },
      textButton(text.ctrlAltDel, () => actions.sendCtrlAltDel(), { className: "small mono", testid: "ctrl-alt-del" }),
    ),
    focus: () => container.focus(),
    dispose() {
      abort.abort();
      observer.disconnect();
    },
  };
}
