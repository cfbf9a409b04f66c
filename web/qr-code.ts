/** QR codes (ISO/IEC 18004), the only importer of uqr. It is loaded when a code is asked for. */
import { encode } from "uqr";
import { svg } from "./dom.ts";

/** Bytes that the largest code holds, version 40 with the least correction. */
export const MOST_QR_BYTES = 2953;
/** Modules of white around it, as the standard asks. */
const QUIET = 4;

/** @returns a drawing in black on white, one unit for a module */
export function drawQrCode(text: string, label: string): SVGSVGElement {
  const { data, size } = encode(text, { ecc: "L", border: 0 });
  const width = size + 2 * QUIET;
  const path = data.flatMap((row, y) => row.flatMap((dark, x) => (dark ? `M${x + QUIET} ${y + QUIET}h1v1h-1z` : [])));
  return svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${width}`,
      class: "qr-code",
      role: "img",
      "aria-label": label,
      "shape-rendering": "crispEdges",
    },
    svg("rect", { class: "qr-ground", width: String(width), height: String(width) }),
    svg("path", { class: "qr-modules", d: path.join("") }),
  );
}
