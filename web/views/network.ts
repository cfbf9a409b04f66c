import { el } from "../dom.ts";
import type { AppState, NetworkActions } from "../state.ts";
import type { Text } from "../text.ts";
import { createConnection } from "./network-connection.ts";
import { createForwards } from "./network-forwards.ts";
import { createRoom } from "./network-room.ts";
import { createNetworkSettings } from "./network-settings.ts";
import type { View } from "./view.ts";

export interface NetworkPanel extends View {
  focus(): void;
  dispose(): void;
}

const LOOK_MS = 5000;

/** The guest's network: the connection to the relay, what is forwarded into the guest, and the room shared with others. */
export function createNetwork(text: Text, actions: NetworkActions): NetworkPanel {
  let state: AppState | null = null;
  let isSeen = false;
  let looked = false;
  const connection = createConnection(text, actions);
  const forwards = createForwards(text, actions);
  const room = createRoom(text, actions);
  const settings = createNetworkSettings(text, actions);
  const body = el(
    "div",
    { className: "net-body", dataset: { testid: "network-body" } },
    connection.element,
    forwards.element,
    room.element,
    settings.element,
  );
  const element = el(
    "section",
    {
      className: "panel network-panel",
      id: "panel-network",
      dataset: { testid: "network" },
      attributes: { "aria-label": text.network.title },
    },
    el(
      "div",
      { className: "head" },
      el("h2", { className: "net-title" }, text.network.title),
      el("span", { className: "space" }),
    ),
    body,
  );

  /** Asking costs the guest a little, so that it is asked only when someone is about to read the answer. */
  const look = (isTime = false): void => {
    const isWorth = isSeen && state?.network.status === "online" && state.machine.status === "running";
    if (isWorth && (isTime || !looked)) actions.lookForPorts();
    looked = isWorth;
  };
  // A server that is started while one looks on appears by itself.
  const timer = setInterval(() => {
    if (!document.hidden) look(true);
  }, LOOK_MS);
  const observer = new IntersectionObserver((entries) => {
    isSeen = entries.at(-1)?.isIntersecting ?? false;
    look();
  });
  observer.observe(element);

  return {
    element,
    focus() {
      const first = connection.toggle.hidden ? settings.relay.querySelector("input") : connection.toggle;
      first?.focus();
    },
    update(next) {
      const isSame =
        state !== null &&
        state.network === next.network &&
        state.machine === next.machine &&
        state.writable === next.writable;
      state = next;
      if (isSame) return;
      const isNone = next.network.status === "none";
      const place = isNone ? connection.place : settings.place;
      if (settings.relay.parentElement !== place) {
        const focused = settings.relay.contains(document.activeElement);
        place.append(settings.relay);
        if (focused) settings.relay.querySelector("input")?.focus();
      }
      // Without a relay nobody outside could reach a forward.
      forwards.element.hidden = isNone;
      for (const view of [connection, forwards, room, settings]) view.update(next);
      look();
    },
    dispose() {
      clearInterval(timer);
      observer.disconnect();
      connection.dispose();
    },
  };
}
