import { copyText } from "../clipboard.ts";
import { el } from "../dom.ts";
import { formatRoomLink, ROOM_NAME, ROOM_SECRET } from "../room-link.ts";
import type { AppState, NetworkActions } from "../state.ts";
import type { Text } from "../text.ts";
import { iconButton, setIcon, textButton } from "./button.ts";
import { icon } from "./icon.ts";
import { createFault } from "./network-field.ts";
import type { View } from "./view.ts";

/** Without those that look like others; 16 of 32 are 80 bits. */
const LETTERS = "abcdefghijkmnpqrstuvwxyz23456789";
const GENERATED = 16;
const HIDDEN = "•".repeat(10);
const COPIED_MS = 1500;

/** The room that the guest shares with others: joining one, who is in it, and a link for more. */
export function createRoom(text: Text, actions: NetworkActions): View {
  const words = text.network;
  let state: AppState | null = null;

  const name = el("input", {
    className: "field",
    id: "room-name",
    placeholder: words.roomNameHint,
    autocomplete: "off",
    spellcheck: false,
    dataset: { testid: "room-name" },
  });
  const nameFault = createFault(name, () => (ROOM_NAME.test(name.value.trim()) ? "" : words.roomNameWrong));
  const secret = el("input", {
    className: "field",
    id: "room-secret",
    type: "password",
    // Not a password of the user's: none is to be filled in, and none to be kept.
    autocomplete: "new-password",
    dataset: { testid: "room-secret" },
  });
  const secretFault = createFault(secret, () => {
    if (secret.value.length < ROOM_SECRET.least) return words.secretShort;
    return secret.value.length > ROOM_SECRET.most ? words.secretLong : "";
  });
  const reveal = (isShown: boolean): void => {
    secret.type = isShown ? "text" : "password";
    show.setAttribute("aria-pressed", String(isShown));
    setIcon(show, "eye", isShown ? words.hideSecret : words.showSecret);
  };
  const show = iconButton("eye", words.showSecret, () => reveal(secret.type === "password"), "show-secret");
  const generate = iconButton(
    "key",
    words.generate,
    () => {
      secret.value = generateSecret();
      secret.dispatchEvent(new Event("input"));
    },
    "generate-secret",
  );
  const join = textButton(words.join, () => {}, { testid: "join-room", icon: "people" });
  join.type = "submit";
  const form = el(
    "form",
    { className: "net-form net-room-form", noValidate: true, attributes: { "aria-label": words.join } },
    el("div", { className: "net-room-name" }, el("label", { className: "labelled" }, words.roomName, name)),
    el(
      "div",
      { className: "net-secret" },
      el("label", { className: "labelled" }, words.secret, secret),
      el("div", { className: "group" }, show, generate),
    ),
    join,
    nameFault.element,
    secretFault.element,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const isNamed = nameFault.examine();
    const isSecret = secretFault.examine();
    if (!isNamed) return name.focus();
    if (!isSecret) return secret.focus();
    actions.join(name.value.trim(), secret.value);
  });

  const title = el("b", { className: "net-room-title" });
  const members = el("span", { className: "soft", dataset: { testid: "room-members" } });
  const leave = textButton(words.leave, () => actions.leave(), { className: "small", testid: "leave-room" });
  const link = el("code", { className: "net-address mono", dataset: { testid: "room-link" } });
  const copy = textButton(words.copyLink, () => void copyLink(), {
    className: "small",
    icon: "copy",
    testid: "copy-room-link",
  });
  const linkHint = el("p", { className: "soft net-hint" });
  const share = el(
    "div",
    { className: "net-share" },
    el("p", { className: "labelled" }, words.link),
    el("div", { className: "net-link" }, link, copy),
    linkHint,
  );
  const joined = el(
    "div",
    { className: "net-joined", hidden: true },
    el(
      "div",
      { className: "net-row-head" },
      icon("people"),
      el("p", { className: "net-room-words" }, title, members),
      el("span", { className: "space" }),
      leave,
    ),
    share,
  );
  const hint = el("p", { className: "soft net-hint" });
  const element = el(
    "section",
    { className: "net-card", dataset: { testid: "room" }, attributes: { "aria-label": words.room } },
    el("h3", {}, words.room),
    hint,
    joined,
    form,
  );

  const linkWith = (roomSecret: string): string =>
    formatRoomLink(location.href, {
      room: state?.network.room ?? "",
      secret: roomSecret,
      relay: state?.network.relay ?? "",
    });
  const copyLink = async (): Promise<void> => {
    const label = copy.querySelector("span");
    if (!label || !(await copyText(linkWith(state?.network.roomSecret ?? "")))) return;
    label.textContent = text.copied;
    setTimeout(() => {
      label.textContent = words.copyLink;
    }, COPIED_MS);
  };

  return {
    element,
    update(next) {
      const before = state?.network;
      state = next;
      const { room, roomSecret, roomMembers, status, relay } = next.network;
      const isNone = status === "none";
      const isOpen = status === "online" || (isNone && next.machine.poweredAt !== null);
      hint.textContent = isNone ? words.roomTabs : words.roomHint;
      if (!isOpen) hint.textContent += ` ${isNone ? words.runningOnly : words.onlineOnly}`;
      hint.hidden = room !== null && !isNone;
      linkHint.textContent = isNone ? words.linkTabs : words.linkHint;
      for (const control of [name, secret, show, generate, join]) control.disabled = !isOpen;
      title.textContent = room;
      members.textContent = words.members(roomMembers);
      share.hidden = roomSecret === null;
      const isSame = before && before.room === room && before.roomSecret === roomSecret && before.relay === relay;
      // The address without its secret, which is for those alone to whom it is given.
      if (!isSame) link.textContent = `${readable(linkWith(""))}#${HIDDEN}`;
      const hadFocus = element.contains(document.activeElement);
      joined.hidden = room === null;
      form.hidden = room !== null;
      if (before?.room === room) return;
      if (room !== null) {
        name.value = secret.value = "";
        reveal(false);
      }
      if (hadFocus) (room === null ? join : leave).focus();
    },
  };
}

/** Without the scheme, and with the room's name as it was typed. */
function readable(link: string): string {
  return decodeURIComponent(link.replace(/^\w+:\/\/|#$/g, "").replaceAll("+", " "));
}

function generateSecret(): string {
  const chosen = crypto.getRandomValues(new Uint8Array(GENERATED));
  // 256 is a multiple of 32: each letter is as likely as any other.
  return [...chosen].map((value) => LETTERS[value % LETTERS.length]).join("");
}
