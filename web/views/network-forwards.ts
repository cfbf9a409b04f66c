import { html, nothing, render, type TemplateResult } from "lit-html";
import { repeat } from "lit-html/directives/repeat.js";
import { copyText } from "../clipboard.ts";
import { el } from "../dom.ts";
import type { AppState, Forward, NetworkActions, NetworkState } from "../state.ts";
import type { Text } from "../text.ts";
import { iconButton, textButton } from "./button.ts";
import { icon } from "./icon.ts";
import { createFault } from "./network-field.ts";
import type { View } from "./view.ts";

type Kind = Forward["kind"];
type Listener = NetworkState["listening"][number];

const KINDS: readonly Kind[] = ["http", "tcp", "udp"];
const WEB_PORTS = new Set([80, 81, 591, 3000, 5000, 8000, 8008, 8080, 8081, 8888]);
const WEB_PROGRAM = /httpd|nginx|caddy|^http/;
const COPIED_MS = 1500;

/** What is forwarded from the relay into the guest, a form for more, and the ports that could be. */
export function createForwards(text: Text, actions: NetworkActions): View {
  const words = text.network;
  let state: AppState | null = null;
  let copied: string | null = null;
  let drawn = "";

  const port = el("input", {
    className: "field",
    id: "forward-port",
    placeholder: "8080",
    inputMode: "numeric",
    autocomplete: "off",
    dataset: { testid: "forward-port" },
  });
  const kind = el(
    "select",
    { className: "field", dataset: { testid: "forward-kind" } },
    ...KINDS.map((value) => el("option", { value }, words.kinds[value])),
  );
  const typed = (): number => (/^\d{1,5}$/.test(port.value.trim()) ? Number(port.value) : Number.NaN);
  const fault = createFault(port, () => {
    const number = typed();
    if (!(number >= 1 && number <= 65535)) return words.portRange;
    return find(state, number, kind.value as Kind) ? words.isForwarded(number, words.kinds[kind.value as Kind]) : "";
  });
  kind.addEventListener("change", () => {
    if (fault.element.textContent !== "") fault.examine();
  });
  const add = textButton(words.forward, () => {}, { icon: "plus", testid: "add-forward" });
  add.type = "submit";
  const form = el(
    "form",
    { className: "net-form net-forward-form", noValidate: true, attributes: { "aria-label": words.forward } },
    el("label", { className: "labelled" }, words.guestPort, port),
    el("label", { className: "labelled" }, words.kind, kind),
    add,
    fault.element,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!fault.examine()) return port.focus();
    actions.forward(typed(), kind.value as Kind);
    port.value = "";
  });

  const list = el("div");
  const look = iconButton("restart", words.lookAgain, () => actions.lookForPorts(), "look-for-ports");
  const found = el("div");
  const listening = el(
    "div",
    { className: "net-listening" },
    el("div", { className: "net-row-head" }, el("h4", {}, words.listening), el("span", { className: "space" }), look),
    found,
  );
  const hint = el("p", { className: "soft net-hint" });
  const element = el(
    "section",
    { className: "net-card", dataset: { testid: "forwards" }, attributes: { "aria-label": words.forwards } },
    el("h3", {}, words.forwards),
    hint,
    list,
    form,
    listening,
  );

  const copy = async (address: string): Promise<void> => {
    if (!(await copyText(address))) return;
    copied = address;
    draw();
    setTimeout(() => {
      if (copied === address) copied = null;
      draw();
    }, COPIED_MS);
  };
  const drawForward = (forward: Forward): TemplateResult => {
    const { id, guestPort, address } = forward;
    const kindWords = words.kinds[forward.kind];
    const isCopied = copied === address;
    return html`<li class="net-forward" data-forward=${id} data-testid="forward">
      <span class="net-port"><b>${guestPort}</b> <span class="net-kind">${kindWords}</span></span>
      ${
        isWebAddress(address)
          ? html`<a
              class="net-address mono"
              href=${address}
              target="_blank"
              rel="noopener noreferrer"
              aria-label=${words.opensTab(address)}
              >${address}${icon("open")}</a
            >`
          : html`<span class="net-address mono">${address}</span>`
      }
      <button
        type="button"
        class="icon-button"
        data-testid="copy-forward"
        data-copied=${isCopied}
        title=${isCopied ? text.copied : text.copy}
        aria-label=${isCopied ? text.copied : words.copyAddress(address)}
        @click=${() => void copy(address)}
      >${icon(isCopied ? "check" : "copy")}</button>
      <button
        type="button"
        class="icon-button"
        data-testid="end-forward"
        title=${words.end(guestPort, kindWords)}
        aria-label=${words.end(guestPort, kindWords)}
        @click=${() => actions.endForward(id)}
      >${icon("close")}</button>
    </li>`;
  };
  const drawListener = (listener: Listener): TemplateResult => {
    const { program } = listener;
    const guess = guessKind(listener);
    const kindWords = words.kinds[guess];
    const isForwarded = state?.network.forwards.some(
      (forward) => forward.guestPort === listener.port && (forward.kind === "udp") === (listener.protocol === "udp"),
    );
    return html`<li class="net-listener" data-testid="listener">
      <span>${words.port(listener.port)}, ${program}</span>
      ${
        isForwarded
          ? html`<span class="net-done">${icon("check")}${words.forwarded}</span>`
          : html`<button
              type="button"
              class="button small"
              data-testid="forward-listener"
              aria-label=${words.forwardNamed(listener.port, program, kindWords)}
              @click=${() => actions.forward(listener.port, guess)}
            >${words.forwardAs(kindWords)}</button>`
      }
    </li>`;
  };
  const draw = (): void => {
    if (!state) return;
    const { forwards, listening: ports, status } = state.network;
    // The rates change every second; a button that is being pressed must not be drawn anew under the finger.
    const key = JSON.stringify([forwards, ports, status, copied]);
    if (key === drawn) return;
    drawn = key;
    const hadFocus = list.contains(document.activeElement) || found.contains(document.activeElement);
    const isOnline = status === "online";
    hint.textContent = isOnline ? words.forwardsHint : `${words.forwardsHint} ${words.onlineOnly}`;
    for (const control of [port, kind, add]) control.disabled = !isOnline;
    render(
      forwards.length === 0
        ? nothing
        : html`<ul class="net-rows" aria-label=${words.forwards}>
            ${repeat(forwards, ({ id }) => id, drawForward)}
          </ul>`,
      list,
    );
    listening.hidden = !isOnline;
    render(
      ports.length === 0
        ? html`<p class="soft net-hint">${words.listeningNone}</p>`
        : html`<ul class="net-rows" aria-label=${words.listening}>
            ${repeat(ports, (listener) => `${listener.port}/${listener.protocol}`, drawListener)}
          </ul>`,
      found,
    );
    // The row that had it is gone, or its button: the nearest that is left takes it.
    if (hadFocus && document.activeElement === document.body)
      (element.querySelector<HTMLElement>("li :is(a, button)") ?? (isOnline ? look : null))?.focus();
  };

  return {
    element,
    update(next) {
      state = next;
      look.disabled = next.machine.status !== "running";
      draw();
    },
  };
}

function find(state: AppState | null, guestPort: number, kind: Kind): Forward | undefined {
  return state?.network.forwards.find((forward) => forward.guestPort === guestPort && forward.kind === kind);
}

/** What most likely is spoken on a port; the form takes any other. */
function guessKind({ port, protocol, program }: Listener): Kind {
  if (protocol === "udp") return "udp";
  return WEB_PORTS.has(port) || WEB_PROGRAM.test(program) ? "http" : "tcp";
}

/** The address is the relay's word: only the web's own schemes become a link. */
function isWebAddress(address: string): boolean {
  try {
    return /^https?:$/.test(new URL(address).protocol);
  } catch {
    return false;
  }
}
