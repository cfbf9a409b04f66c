import { el } from "../dom.ts";
import type { Text } from "../text.ts";
import { openDialog } from "./dialog.ts";

/** Shows what each key does. */
export function showKeyboardHelp(text: Text): void {
  const list = el("dl", { className: "keys-help" });
  for (const [keys, meaning] of text.keys) {
    const names = keys.split(/, |、/);
    list.append(el("dt", {}, ...names.map((name) => el("kbd", {}, name))), el("dd", {}, meaning));
  }
  void openDialog(text, { title: text.keyboard, className: "wide" }, list);
}
