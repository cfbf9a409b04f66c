import { el } from "../dom.ts";
import type { Actions, AppState, StorageState } from "../state.ts";
import type { Text } from "../text.ts";
import { type IconName, icon } from "./icon.ts";
import { openMenu } from "./menu.ts";
import type { View } from "./view.ts";

const ICONS: Record<StorageState["state"], IconName> = {
  saved: "check",
  saving: "saving",
  "memory-only": "warning",
  failed: "warning",
};

/** Whether the work is stored, in words, and what to do when it is not. */
export function createSavedState(text: Text, actions: Actions): View {
  let storage: AppState["storage"] = { state: "saved" };
  const words = el("span");
  const symbol = el("span", { className: "symbol" });
  const element = el(
    "button",
    { type: "button", className: "button quiet saved", dataset: { testid: "saved-state" } },
    symbol,
    words,
  );
  element.addEventListener("click", () => {
    if (storage.state === "failed") return actions.retrySave();
    openMenu(element, labelOf(text, storage), [
      { heading: storage.reason ?? text.savedHint },
      { label: text.downloadProject, icon: "download", run: () => actions.downloadProject() },
    ]);
  });
  return {
    element,
    update(state) {
      storage = state.storage;
      if (element.dataset.state !== storage.state) {
        element.dataset.state = storage.state;
        symbol.replaceChildren(icon(ICONS[storage.state]));
        words.textContent = labelOf(text, storage);
      }
      element.title = storage.reason ?? words.textContent ?? "";
    },
  };
}

function labelOf(text: Text, { state }: StorageState): string {
  return { saved: text.saved, saving: text.saving, "memory-only": text.memoryOnly, failed: text.saveFailed }[state];
}
