import { el } from "../dom.ts";
import { formatMode, formatPermissions, type Text } from "../text.ts";
import { openDialog } from "./dialog.ts";

/** Asks for permissions, as octal digits or bit by bit. Resolves to null when it is cancelled. */
export async function askPermissions(text: Text, path: string, mode: number): Promise<number | null> {
  let value = mode & 0o7777;
  const octal = el("input", {
    className: "field mono octal",
    value: formatMode(value),
    maxLength: 5,
    spellcheck: false,
    inputMode: "numeric",
  });
  const letters = el("output", { className: "mono soft" });
  const boxes: [HTMLInputElement, number][] = [];

  const show = (): void => {
    for (const [box, bit] of boxes) box.checked = (value & bit) !== 0;
    letters.textContent = formatPermissions(value);
  };
  const createBox = (bit: number, label: string): HTMLInputElement => {
    const box = el("input", {
      type: "checkbox",
      attributes: { "aria-label": label },
      dataset: { bit: bit.toString(8) },
    });
    box.addEventListener("change", () => {
      value = box.checked ? value | bit : value & ~bit;
      octal.value = formatMode(value);
      octal.setCustomValidity("");
      show();
    });
    boxes.push([box, bit]);
    return box;
  };

  const accesses = ["read", "write", "execute"] as const;
  const table = el(
    "table",
    { className: "bits" },
    el("thead", {}, el("tr", {}, el("td"), ...accesses.map((name) => el("th", { scope: "col" }, text.accesses[name])))),
  );
  const body = el("tbody");
  for (const [row, name] of (["owner", "group", "others"] as const).entries()) {
    const cells = accesses.map((access, column) =>
      el("td", {}, createBox(0o400 >> (row * 3 + column), `${text.classes[name]}: ${text.accesses[access]}`)),
    );
    body.append(el("tr", {}, el("th", { scope: "row" }, text.classes[name]), ...cells));
  }
  table.append(body);
  const special = el(
    "div",
    { className: "specials" },
    ...(
      [
        ["setuid", 0o4000],
        ["setgid", 0o2000],
        ["sticky", 0o1000],
      ] as const
    ).map(([name, bit]) => el("label", {}, createBox(bit, text[name]), text[name])),
  );

  octal.addEventListener("input", () => {
    const isOctal = /^[0-7]{1,5}$/.test(octal.value) && Number.parseInt(octal.value, 8) <= 0o7777;
    octal.setCustomValidity(isOctal ? "" : text.octalInvalid);
    if (!isOctal) return;
    value = Number.parseInt(octal.value, 8);
    show();
  });
  show();
  const field = el("label", { className: "labelled" }, text.octal, el("span", { className: "row" }, octal, letters));
  const confirmed = await openDialog(
    text,
    { title: text.permissions, confirm: text.save },
    el("p", { className: "mono path-line" }, path),
    field,
    table,
    special,
  );
  return confirmed ? value : null;
}
