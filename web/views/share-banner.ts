import { el } from "../dom.ts";
import type { AppState, ShareActions } from "../state.ts";
import type { Text } from "../text.ts";
import { textButton } from "./button.ts";
import { icon } from "./icon.ts";
import type { View } from "./view.ts";

/** Lines across the page while a project from outside is open: it is not kept, and its guest waits for a word to go online. */
export function createShareBanner(text: Text, actions: ShareActions): View {
  const element = el("div", { className: "strangers", hidden: true });
  let shown = "";
  const bar = el("progress", { max: 1, attributes: { "aria-label": text.share.openMenu } });

  const line = (
    testid: string,
    kind: string,
    symbol: "link" | "network" | "open",
    words: string,
    button: HTMLElement,
  ) =>
    el(
      "div",
      { className: "banner", dataset: { testid, kind }, attributes: { role: "status" } },
      icon(symbol),
      el("p", {}, words),
      button,
    );
  const content = ({ share, project, network }: AppState): HTMLElement[] => {
    const words = text.share;
    const lines: HTMLElement[] = [];
    if (share.arrival) {
      const cancel = textButton(text.cancel, () => actions.cancelArrival(), { testid: "cancel-arrival" });
      lines.push(line("arrival", "info", "open", words.arriving(share.arrival.name), cancel));
      lines.at(-1)?.insertBefore(bar, cancel);
    }
    if (share.visiting) {
      const keep = textButton(words.keepIt, () => actions.keep(), { testid: "keep-project" });
      lines.push(line("visiting", "info", "link", words.visiting(project.name), keep));
    }
    if (share.asksNetwork) {
      const relay = network.relay === "" ? words.ownRelay : network.relay;
      const allow = textButton(words.allowNetwork, () => actions.allowNetwork(), { testid: "allow-network" });
      lines.push(line("asks-network", "warning", "network", words.asksNetwork(relay), allow));
    }
    return lines;
  };

  return {
    element,
    update(state) {
      const { share, project, network } = state;
      const { arrival } = share;
      if (arrival && arrival.total > 0) bar.value = Math.min(1, arrival.done / arrival.total);
      else bar.removeAttribute("value");
      const key = JSON.stringify([arrival?.name, share.visiting, share.asksNetwork, project.name, network.relay]);
      if (key === shown) return;
      shown = key;
      const lines = content(state);
      element.hidden = lines.length === 0;
      element.replaceChildren(...lines);
    },
  };
}
