import { copyText } from "../clipboard.ts";
import { el } from "../dom.ts";
import type { AppState, NetworkActions } from "../state.ts";
import type { Text } from "../text.ts";
import { iconButton, setIcon, textButton } from "./button.ts";
import { icon } from "./icon.ts";
import { createTraffic } from "./network-traffic.ts";
import type { View } from "./view.ts";

export interface Connection extends View {
  /** Where the relay's address is asked for while there is none. */
  readonly place: HTMLElement;
  /** The switch, or null where there is nothing to switch. */
  readonly toggle: HTMLElement;
  dispose(): void;
}

const COPIED_MS = 1500;

/** Whether the guest is connected, by which relay, why not, when it is tried again, and what goes through it. */
export function createConnection(text: Text, actions: NetworkActions): Connection {
  const words = text.network;
  let state: AppState | null = null;

  const face = el("span", { className: "net-face" }, icon("network"), el("i", { className: "net-dot" }));
  const title = el("h3", { className: "net-state", dataset: { testid: "network-state" } });
  const by = el("p", { className: "net-by soft", dataset: { testid: "network-by" } });
  const toggle = el(
    "button",
    {
      type: "button",
      className: "switch",
      dataset: { testid: "network-toggle" },
      attributes: { role: "switch", "aria-label": words.toggle },
    },
    el("i"),
  );
  toggle.addEventListener("click", () => actions.setOnline(state?.network.status === "off"));
  const explanation = el("p", { className: "soft", hidden: true });
  const reasonWords = el("span");
  const reason = el(
    "p",
    { className: "net-reason", hidden: true, dataset: { testid: "network-reason" }, attributes: { role: "status" } },
    icon("warning"),
    reasonWords,
  );
  const countdown = el("span", { dataset: { testid: "network-countdown" } });
  const now = textButton(words.tryNow, () => actions.retryNow(), {
    className: "small",
    icon: "restart",
    testid: "try-now",
  });
  const retry = el("div", { className: "net-retry", hidden: true }, countdown, now);
  const guest = el("dd", { dataset: { testid: "guest-address" } });
  const gateway = el("dd", { dataset: { testid: "gateway" } });
  const facts = el(
    "dl",
    { className: "net-facts" },
    el("div", {}, el("dt", {}, words.guestAddress), guest),
    el("div", {}, el("dt", {}, words.gateway), gateway),
  );
  const traffic = createTraffic(text);
  const place = el("div", { className: "net-place" });
  const howTo = createHowTo(text);
  const element = el(
    "section",
    { className: "net-card net-connection", attributes: { "aria-label": words.title } },
    el("div", { className: "net-top" }, face, el("div", { className: "net-words" }, title, by), toggle),
    explanation,
    howTo,
    reason,
    retry,
    place,
    facts,
    traffic.element,
  );

  let timer: ReturnType<typeof setTimeout> | undefined;
  const tick = (): void => {
    clearTimeout(timer);
    const at = state?.network.status === "waiting" ? state.network.retryAt : null;
    const said = at === null ? "" : words.nextTry(Math.max(0, Math.ceil((at - performance.now()) / 1000)));
    if (countdown.textContent !== said) countdown.textContent = said;
    // More often than the seconds change, so that none is skipped.
    if (at !== null) timer = setTimeout(tick, 250);
  };

  const showFact = (where: HTMLElement, value: string | null, instead: string): void => {
    where.textContent = value ?? instead;
    where.classList.toggle("mono", value !== null);
    where.classList.toggle("soft", value === null);
  };

  return {
    element,
    place,
    toggle,
    update(next) {
      state = next;
      const { network } = next;
      const { status } = network;
      const isUnplugged = status === "none" || status === "off" || status === "idle";
      howTo.hidden = status !== "none";
      element.dataset.mark = status;
      title.textContent = words.status[status];
      by.textContent = network.relay === "" ? words.ownRelay : words.byRelay(plainRelay(network.relay));
      by.hidden = isUnplugged;
      const label = status === "off" ? words.goOnline : words.goOffline;
      toggle.hidden = status === "none";
      toggle.title = label;
      toggle.setAttribute("aria-checked", String(status !== "off"));
      explanation.textContent = status === "none" || status === "off" ? words.explain[status] : "";
      explanation.hidden = explanation.textContent === "";
      if (reasonWords.textContent !== (network.reason ?? "")) reasonWords.textContent = network.reason;
      reason.hidden = network.reason === null;
      reason.dataset.kind = status === "waiting" ? "problem" : "refusal";
      tick();
      const hadFocus = retry.contains(document.activeElement);
      retry.hidden = status !== "waiting";
      if (hadFocus && retry.hidden) toggle.focus();
      place.hidden = status !== "none";
      facts.hidden = isUnplugged && network.room === null;
      const instead = next.machine.poweredAt === null ? words.machineOff : words.noAddress;
      showFact(guest, network.guestAddress, instead);
      showFact(gateway, network.gateway, "–");
      traffic.update(network);
    },
    dispose() {
      clearTimeout(timer);
      traffic.dispose();
    },
  };
}

/** The command that starts a relay which this page may use. */
function createHowTo(text: Text): HTMLElement {
  const command = `npm run relay -- --origin ${location.origin}`;
  const copy = iconButton(
    "copy",
    text.network.copyCommand,
    async () => {
      if (!(await copyText(command))) return;
      setIcon(copy, "check", text.copied);
      setTimeout(() => setIcon(copy, "copy", text.network.copyCommand), COPIED_MS);
    },
    "copy-relay-command",
  );
  return el(
    "div",
    { className: "net-how", hidden: true },
    el("div", { className: "net-link" }, el("code", { className: "net-address mono" }, command), copy),
    el("p", { className: "soft net-hint" }, text.network.runHint),
  );
}

/** "wss://relay.example.org/?token=…" as "relay.example.org": a token is not for those who look over the shoulder. */
function plainRelay(relay: string): string {
  try {
    const { host, pathname } = new URL(relay);
    return pathname === "/" ? host : host + pathname;
  } catch {
    return relay;
  }
}
