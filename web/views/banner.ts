import { el } from "../dom.ts";
import type { Actions, AppState } from "../state.ts";
import type { Text } from "../text.ts";
import { iconButton, textButton } from "./button.ts";
import { icon } from "./icon.ts";
import type { View } from "./view.ts";

/** A line across the page when work cannot be changed here or is not stored. */
export function createBanner(text: Text, actions: Actions): View {
  const element = el("div", { className: "banner", hidden: true, attributes: { role: "status" } });
  let shown = "";
  let dismissed = "";

  const content = ({ writable, storage }: AppState): Node[] => {
    if (!writable)
      return [
        icon("lock"),
        el("p", {}, text.readOnly),
        textButton(text.takeOver, () => actions.takeOver(), { testid: "take-over" }),
      ];
    const failed = storage.state === "failed";
    return [
      icon("warning"),
      el("p", {}, storage.reason ?? ""),
      ...(failed ? [textButton(text.retry, () => actions.retrySave(), { icon: "restart" })] : []),
      textButton(text.download, () => actions.downloadProject(), { icon: "download" }),
      iconButton("close", text.close, () => {
        dismissed = shown;
        element.hidden = true;
      }),
    ];
  };

  return {
    element,
    update(state) {
      const { writable, storage } = state;
      const isUnsaved = (storage.state === "failed" || storage.state === "memory-only") && storage.reason !== undefined;
      const key = writable ? (isUnsaved ? `${storage.state} ${storage.reason}` : "") : "read-only";
      if (key === shown) return;
      // A save that works makes an old warning new again.
      if (key !== "" && key !== dismissed) dismissed = "";
      shown = key;
      element.hidden = key === "" || key === dismissed;
      element.dataset.kind = writable ? "warning" : "info";
      element.replaceChildren(...(key === "" ? [] : content(state)));
    },
  };
}
