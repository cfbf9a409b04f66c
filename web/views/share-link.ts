import { copyText } from "../clipboard.ts";
import { el } from "../dom.ts";
import { sentenceOf } from "../sentence.ts";
import type { Actions, ProjectLink } from "../state.ts";
import type { Text } from "../text.ts";
import { textButton } from "./button.ts";
import { openDialog } from "./dialog.ts";

/** What messages, mails and documents carry unharmed. */
const SHORT = 2000;

/** Shows the link that carries the open project, its length, and its QR code as long as there is one so large. */
export async function showLink(text: Text, actions: Actions): Promise<void> {
  const body = el("div", { className: "share-link", dataset: { testid: "share-link" } });
  void openDialog(text, { title: text.share.linkTitle, className: "wide" }, body);
  try {
    body.replaceChildren(...(await content(text, actions, await actions.share.makeLink())));
  } catch (error) {
    body.replaceChildren(
      el("p", { className: "fault", attributes: { role: "alert" } }, sentenceOf(error)),
      el("div", { className: "dialog-actions" }, createDownload(text, actions)),
    );
  }
}

function createDownload(text: Text, actions: Actions): HTMLElement {
  return textButton(text.downloadProject, () => actions.downloadProject(), {
    icon: "download",
    testid: "link-download",
  });
}

async function content(text: Text, actions: Actions, { url, tooLong }: ProjectLink): Promise<HTMLElement[]> {
  const words = text.share;
  const download = createDownload(text, actions);
  if (tooLong)
    return [
      el("p", { dataset: { testid: "link-too-long" } }, words.linkTooLong(url.length)),
      el("div", { className: "dialog-actions" }, download),
    ];
  const { drawQrCode, MOST_QR_BYTES } = await import("../qr-code.ts");
  const field = el("input", {
    className: "field",
    value: url,
    readOnly: true,
    dataset: { testid: "link-url" },
    attributes: { "aria-label": words.linkTitle },
  });
  field.addEventListener("focus", () => field.select());
  const copy = textButton(
    words.copyLink,
    async () => {
      if (!(await copyText(url))) return field.focus();
      (copy.lastElementChild as HTMLElement).textContent = words.linkCopied;
    },
    { icon: "copy", className: "primary", testid: "copy-link" },
  );
  const length = `${words.linkLength(url.length)} · ${url.length <= SHORT ? words.linkShort : words.linkMiddle}`;
  const code = el("div", { className: "qr-card", dataset: { testid: "qr-code" } });
  if (url.length <= MOST_QR_BYTES) code.append(drawQrCode(url, words.qrLabel));
  else code.append(el("p", { className: "hint" }, words.qrTooLong));
  return [
    el("p", {}, words.linkIntro),
    el("p", { className: "small-print" }, words.linkWithout),
    el("div", { className: "link-row" }, field, copy),
    el("p", { className: "small-print", dataset: { testid: "link-length" } }, length),
    code,
    el("div", { className: "dialog-actions" }, download),
  ];
}
