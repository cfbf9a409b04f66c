import { el } from "../dom.ts";
import type { Actions } from "../state.ts";
import type { Text } from "../text.ts";
import { iconButton } from "./bar.ts";
import type { View } from "./view.ts";

/** Short messages in a corner, some with one thing to do about them. */
export function createNotices(text: Text, actions: Actions): View {
  const element = el("div", { className: "notices", attributes: { "aria-live": "polite" } });
  const shown = new Map<number, HTMLElement>();
  return {
    element,
    update({ notices }) {
      for (const [id, item] of shown)
        if (!notices.some((notice) => notice.id === id)) {
          item.remove();
          shown.delete(id);
        }
      for (const { id, kind, text: words, action } of notices) {
        if (shown.has(id)) continue;
        const close = iconButton("close", text.close);
        close.addEventListener("click", () => actions.dismissNotice(id));
        const item = el("div", { className: "notice", dataset: { testid: "notice", kind } }, el("span", {}, words));
        if (action) {
          const button = el("button", { type: "button", className: "button" }, action.label);
          button.addEventListener("click", () => {
            actions.dismissNotice(id);
            action.run();
          });
          item.append(button);
        }
        item.append(close);
        shown.set(id, item);
        element.append(item);
      }
    },
  };
}
