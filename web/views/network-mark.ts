import { el } from "../dom.ts";
import type { Text } from "../text.ts";
import { icon } from "./icon.ts";
import type { View } from "./view.ts";

/** The connection's state in the bar: an icon with a dot, which opens the network's panel. */
export function createNetworkMark(text: Text, open: () => void): View {
  const words = text.network;
  const button = el(
    "button",
    { type: "button", className: "icon-button", dataset: { testid: "network-mark" } },
    el("span", { className: "net-face" }, icon("network"), el("i", { className: "net-dot" })),
  );
  button.addEventListener("click", open);
  const spoken = el("span", { className: "sr-only", attributes: { role: "status" } });
  return {
    element: el("div", { className: "network-mark" }, button, spoken),
    update({ network: { status } }) {
      if (button.dataset.mark === status) return;
      const label = words.mark(words.status[status]);
      // What the page begins with is no news.
      if (button.dataset.mark !== undefined) spoken.textContent = label;
      button.dataset.mark = status;
      button.title = label;
      button.setAttribute("aria-label", label);
    },
  };
}
