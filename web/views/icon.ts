/** Line icons on a 16 × 16 grid, drawn with the text's colour. */
const PATHS = {
  file: "M4 1.5h5l3.5 3.5v9.5H4z M9 1.5V5h3.5",
  folder: "M1.5 4.5v8.5h13V5.5H8L6.5 3.5h-5z",
  "folder-open": "M1.5 12.5v-9h5L8 5.5h5.5v2 M1.5 12.5 4 7.5h11.5l-2 5z",
  link: "M6.5 9.5l3-3 M7 5l2-2a2.5 2.5 0 0 1 4 4l-2 2 M9 11l-2 2a2.5 2.5 0 0 1-4-4l2-2",
  device: "M2 4h12v8H2z M5 12v2 M11 12v2 M5 7h2",
  more: "M3.5 8h.01 M8 8h.01 M12.5 8h.01",
  plus: "M8 3v10 M3 8h10",
  "new-folder": "M1.5 4.5v8.5h13V5.5H8L6.5 3.5h-5z M8 7.5v4 M6 9.5h4",
  upload: "M8 10.5v-8 M4.5 6 8 2.5 11.5 6 M2.5 13.5h11",
  pause: "M5 3v10 M11 3v10",
  play: "M4.5 2.5 12.5 8l-8 5.5z",
  restart: "M13 8a5 5 0 1 1-1.5-3.6 M13 2v3h-3",
  power: "M8 2v6 M4.5 4.5a5 5 0 1 0 7 0",
  settings: "M2 4.5h7 M12.5 4.5H14 M2 11.5h2 M7.5 11.5H14 M9 2.5v4 M5.5 9.5v4",
  theme: "M8 2a6 6 0 1 0 6 6 4.5 4.5 0 0 1-6-6z",
  keyboard: "M1.5 4h13v8h-13z M4 7h.01 M7 7h.01 M10 7h.01 M5 9.5h6",
  search: "M7 2.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9z M10.5 10.5 14 14",
  up: "M4 10l4-4 4 4",
  down: "M4 6l4 4 4-4",
  copy: "M5.5 5.5h8v8h-8z M10.5 5.5v-3h-8v8h3",
  paste: "M4 3h8v11H4z M6 1.5h4V4H6z",
  clear: "M3 4h10 M6 4V2.5h4V4 M4.5 4l.5 9.5h6l.5-9.5",
  close: "M4 4l8 8 M12 4l-8 8",
} as const;

export type IconName = keyof typeof PATHS;

const SVG = "http://www.w3.org/2000/svg";

export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
