import { el } from "../dom.ts";
import type { Actions, Notice } from "../state.ts";
import type { Text } from "../text.ts";
import { iconButton, textButton } from "./button.ts";
import { icon } from "./icon.ts";
import type { View } from "./view.ts";

/** How long good news stays. What can be undone stays longer; warnings and errors until they are closed. */
const PLAIN_MS = 6_000;
const ACTION_MS = 15_000;

/** Short messages in a corner, some with one thing to do about them. */
export function createNotices(text: Text, actions: Actions): View {
  const element = el("div", { className: "notices", attributes: { role: "log", "aria-live": "polite" } });
  const shown = new Map<number, HTMLElement>();

  /** Starts again whenever the pointer or the focus leaves, so that nobody loses a message while reading it. */
  const expire = (item: HTMLElement, id: number, ms: number): void => {
    let timer: ReturnType<typeof setTimeout>;
    const start = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => actions.dismissNotice(id), ms);
    };
    const stop = (): void => clearTimeout(timer);
    item.addEventListener("pointerenter", stop);
    item.addEventListener("focusin", stop);
    item.addEventListener("pointerleave", start);
    item.addEventListener("focusout", start);
    start();
  };

  const createItem = ({ id, kind, text: words, action }: Notice): HTMLElement => {
    const item = el(
      "div",
      {
        className: "notice",
        dataset: { testid: "notice", kind },
        attributes: kind === "error" ? { role: "alert" } : {},
      },
      icon(kind === "info" ? "check" : "warning"),
      el("p", {}, words),
      action &&
        textButton(action.label, () => {
          actions.dismissNotice(id);
          action.run();
        }),
      iconButton("close", text.close, () => actions.dismissNotice(id)),
    );
    if (kind === "info" || kind === "passing") expire(item, id, action ? ACTION_MS : PLAIN_MS);
    return item;
  };

  return {
    element,
    update({ notices }) {
      for (const [id, item] of shown)
        if (!notices.some((notice) => notice.id === id)) {
          item.remove();
          shown.delete(id);
        }
      for (const notice of notices) {
        if (shown.has(notice.id)) continue;
        const item = createItem(notice);
        shown.set(notice.id, item);
        element.append(item);
      }
    },
  };
}
