import { el } from "../dom.ts";
import type { NetworkActions, NetworkState } from "../state.ts";
import type { Text } from "../text.ts";
import { textButton } from "./button.ts";
import { createFault } from "./network-field.ts";
import type { View } from "./view.ts";

const CARDS: readonly NetworkState["card"][] = ["virtio", "ne2k"];
const SCHEMES = new Set(["ws:", "wss:", "http:", "https:"]);

export interface NetworkSettings extends View {
  /** The form for the relay's address, which stands elsewhere while there is no relay. */
  readonly relay: HTMLElement;
  /** Where it stands otherwise. */
  readonly place: HTMLElement;
}

/** The relay's address and the machine's network card. */
export function createNetworkSettings(text: Text, actions: NetworkActions): NetworkSettings {
  const words = text.network;
  let network: NetworkState | null = null;

  const address = el("input", {
    className: "field",
    id: "relay-address",
    placeholder: words.relayPlaceholder,
    inputMode: "url",
    autocomplete: "off",
    spellcheck: false,
    dataset: { testid: "relay-address" },
  });
  address.setAttribute("autocapitalize", "off");
  const fault = createFault(address, () => {
    const typed = address.value.trim();
    if (typed === "") return network?.status === "none" ? words.relayEmpty : "";
    return checkRelay(text, typed, location.protocol === "https:");
  });
  const use = textButton(words.useRelay, () => {}, { testid: "use-relay" });
  use.type = "submit";
  const useWords = use.querySelector("span");
  const own = textButton(words.resetRelay, () => actions.setRelay(""), {
    className: "small quiet",
    testid: "own-relay",
  });
  const hint = el("p", { className: "soft net-hint" }, words.relayHint);
  const relay = el(
    "form",
    { className: "net-form net-relay-form", noValidate: true, attributes: { "aria-label": words.relay } },
    el("label", { className: "labelled" }, words.relay, address),
    use,
    fault.element,
    hint,
    own,
  );
  relay.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!fault.examine()) return address.focus();
    actions.setRelay(address.value.trim());
  });

  const card = el(
    "select",
    { className: "field", dataset: { testid: "network-card" } },
    ...CARDS.map((value) => el("option", { value }, words.cards[value])),
  );
  card.addEventListener("change", () => actions.setCard(card.value as NetworkState["card"]));
  const place = el("div", { className: "net-place" });
  const element = el(
    "section",
    { className: "net-card", dataset: { testid: "network-settings" }, attributes: { "aria-label": words.settings } },
    el("h3", {}, words.settings),
    place,
    el(
      "div",
      { className: "net-form" },
      el("label", { className: "labelled" }, words.card, card),
      el("p", { className: "soft net-hint" }, words.cardHint),
    ),
  );

  return {
    element,
    relay,
    place,
    update(next) {
      // What is being typed stays until the address is another one.
      if (network?.relay !== next.network.relay) {
        address.value = next.network.relay;
        fault.element.textContent = "";
      }
      network = next.network;
      const isNone = network.status === "none";
      hint.hidden = isNone;
      own.hidden = network.relay === "";
      if (useWords) useWords.textContent = isNone ? words.connect : words.useRelay;
      use.classList.toggle("primary", isNone);
      card.value = network.card;
      card.disabled = !next.writable;
    },
  };
}

/** @returns what is wrong with a relay's address, or nothing */
function checkRelay(text: Text, address: string, isSecurePage: boolean): string {
  const words = text.network;
  if (!/^(wss?|https?):\/\//i.test(address)) return words.relayScheme;
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    return words.relayInvalid;
  }
  if (!SCHEMES.has(url.protocol) || url.hostname === "") return words.relayInvalid;
  if (address.includes("#")) return words.relayHash;
  const isSecure = url.protocol === "wss:" || url.protocol === "https:";
  return isSecurePage && !isSecure && !isLoopback(url.hostname) ? words.relaySecure : "";
}

/** Browsers trust the machine that they run on. */
function isLoopback(hostname: string): boolean {
  return /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}
