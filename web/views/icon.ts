import { svg } from "../dom.ts";

/** Line icons on a 16 × 16 grid, drawn in the text's colour. */
const PATHS = {
  file: "M4 1.75h5.25L12 4.5v9.75H4z M9 2v3h3",
  script: "M4 1.75h5.25L12 4.5v9.75H4z M6 7.5l1.75 1.5L6 10.5 M8.75 11h1.5",
  folder: "M1.75 4v8.75h12.5V5.25H8L6.5 3.25H1.75z",
  "folder-open": "M1.75 12.75V3.25H6.5L8 5.25h5v1.5 M1.75 12.75 4 6.75h10.75l-2.25 6z",
  link: "M6.5 9.5l3-3 M7.25 4.75l1.5-1.5a2.6 2.6 0 0 1 3.75 3.75L11 8.5 M8.75 11.25l-1.5 1.5A2.6 2.6 0 0 1 3.5 9L5 7.5",
  device: "M2 4h12v7H2z M5 13.5h6 M8 11v2.5 M4.5 6.5h2",
  more: "M3.5 8h.01 M8 8h.01 M12.5 8h.01",
  plus: "M8 3.25v9.5 M3.25 8h9.5",
  "new-file": "M9 1.75H3.5v12.5H8 M9 1.75l3 3V7.5 M9 2v3h3 M12 9.75v4.5 M9.75 12h4.5",
  "new-folder": "M7.5 12.75H1.75v-9.5H6.5L8 5.25h6.25V8 M12 9.25v4.5 M9.75 11.5h4.5",
  upload: "M8 10.5V2.75 M4.75 6 8 2.75 11.25 6 M2.5 10.5v3h11v-3",
  download: "M8 2.5v7.75 M4.75 7 8 10.25 11.25 7 M2.5 10.5v3h11v-3",
  pause: "M5.5 3.5v9 M10.5 3.5v9",
  play: "M5 3.25 12.5 8 5 12.75z",
  restart: "M13.25 8A5.25 5.25 0 1 1 11.6 4.2 M13.25 2v3.25H10",
  power: "M8 2v5.5 M4.75 4a5.25 5.25 0 1 0 6.5 0",
  sliders:
    "M2 4.5h6 M12 4.5h2 M2 11.5h2 M8 11.5h6 M8 4.5a2 2 0 1 0 4 0a2 2 0 1 0-4 0 M4 11.5a2 2 0 1 0 4 0a2 2 0 1 0-4 0",
  sun: "M8 5.25a2.75 2.75 0 1 0 0 5.5a2.75 2.75 0 1 0 0-5.5 M8 1.5v1.25 M8 13.25v1.25 M1.5 8h1.25 M13.25 8h1.25 M3.4 3.4l.9.9 M11.7 11.7l.9.9 M3.4 12.6l.9-.9 M11.7 4.3l.9-.9",
  moon: "M13.5 9.75A6 6 0 1 1 6.25 2.5a4.9 4.9 0 0 0 7.25 7.25z",
  contrast: "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12 M8 2v12 M8 5.5l3.6-1.9 M8 9l5.7-3 M8 12.5l5-2.7",
  help: "M8 1.75a6.25 6.25 0 1 0 0 12.5a6.25 6.25 0 1 0 0-12.5 M6.25 6.25a1.8 1.8 0 1 1 2.6 1.6c-.6.3-.85.65-.85 1.4 M8 11.5h.01",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9 M10.25 10.25 14 14",
  up: "M4 10l4-4 4 4",
  down: "M4 6l4 4 4-4",
  right: "M6 4l4 4-4 4",
  left: "M10 4L6 8l4 4",
  copy: "M5.75 5.75h7.5v7.5h-7.5z M10.25 5.5V2.75h-7.5v7.5H5.5",
  paste: "M5.5 3H3.25v10.75h9.5V3H10.5 M5.75 1.75h4.5v2.5h-4.5z",
  clear: "M2.75 4.25h10.5 M6 4V2.25h4V4 M4.25 4.25l.6 9.5h6.3l.6-9.5",
  close: "M4 4l8 8 M12 4l-8 8",
  check: "M3 8.5l3.25 3.25L13 5",
  saving: "M8 2.75a5.25 5.25 0 1 1-5.25 5.25",
  memory: "M3.5 3.5h9v9h-9z M6 1.5v2 M10 1.5v2 M6 12.5v2 M10 12.5v2 M1.5 6h2 M1.5 10h2 M12.5 6h2 M12.5 10h2",
  warning: "M8 2.25 14.5 13.5h-13z M8 6.5v3 M8 11.5h.01",
  undo: "M5.5 3 2.5 6l3 3 M2.75 6H9a4 4 0 0 1 0 8H6",
  pencil: "M10.75 2.75l2.5 2.5-7.5 7.5-3.25.75.75-3.25z",
  lock: "M3.5 7.25h9v6.5h-9z M5.25 7V5a2.75 2.75 0 0 1 5.5 0v2",
  terminal: "M1.75 3h12.5v10H1.75z M4.5 6l2.25 2-2.25 2 M8.25 10.25h3",
  screen: "M1.75 2.75h12.5v8.5H1.75z M5.5 13.75h5",
  disk: "M2.5 4c0-1.2 2.5-2.1 5.5-2.1s5.5.9 5.5 2.1-2.5 2.1-5.5 2.1S2.5 5.2 2.5 4z M2.5 4v8c0 1.2 2.5 2.1 5.5 2.1s5.5-.9 5.5-2.1V4 M2.5 8c0 1.2 2.5 2.1 5.5 2.1s5.5-.9 5.5-2.1",
  plug: "M5.75 1.75v3 M10.25 1.75v3 M3.75 4.75h8.5v2.5a4.25 4.25 0 0 1-8.5 0z M8 11.5v2.75",
  eject: "M8 3l4.75 5.75h-9.5z M3.25 12.25h9.5",
  resize: "M1.75 8h12.5 M4.5 5.25 1.75 8l2.75 2.75 M11.5 5.25 14.25 8l-2.75 2.75",
  merge: "M8 1.75v6.5 M5 5.5l3 3 3-3 M2 9.5l6 3.75 6-3.75",
  network:
    "M8 1.75a6.25 6.25 0 1 0 0 12.5a6.25 6.25 0 1 0 0-12.5 M1.75 8h12.5 M8 1.75c-3.4 3.6-3.4 8.9 0 12.5 M8 1.75c3.4 3.6 3.4 8.9 0 12.5",
  open: "M9.25 2.5h4.25v4.25 M13.25 2.75 7.5 8.5 M11.5 9.5v3.75h-9v-9h4",
  eye: "M1.5 8S4 3.75 8 3.75 14.5 8 14.5 8 12 12.25 8 12.25 1.5 8 1.5 8z M8 6.25a1.75 1.75 0 1 0 0 3.5a1.75 1.75 0 1 0 0-3.5",
  key: "M5.25 7.5a3 3 0 1 0 0 6a3 3 0 1 0 0-6 M7.5 8.5l6-6 M10.5 5.5l2.25 2.25",
  received: "M8 2.75v10.5 M3.75 9 8 13.25 12.25 9",
  sent: "M8 13.25V2.75 M3.75 7 8 2.75 12.25 7",
  people:
    "M6 2.5a2.5 2.5 0 1 0 0 5a2.5 2.5 0 1 0 0-5 M1.5 13.5c0-2.8 1.8-4.25 4.5-4.25s4.5 1.45 4.5 4.25 M10.5 2.75a2.4 2.4 0 0 1 0 4.5 M12 9.5c1.6.5 2.5 1.9 2.5 4",
  snapshot: "M1.75 4.75H4.5L6 2.75h4l1.5 2h2.75v8.5H1.75z M8 6.25a2.6 2.6 0 1 0 0 5.2a2.6 2.6 0 1 0 0-5.2",
  layers: "M8 2l6 3.25L8 8.5 2 5.25z M2.25 8.5 8 11.5l5.75-3 M2.25 11.25 8 14.25l5.75-3",
} as const;

export type IconName = keyof typeof PATHS;

export function icon(name: IconName): SVGSVGElement {
  return svg("svg", { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true" }, svg("path", { d: PATHS[name] }));
}

/** The mark: three bars of a boot, one after the other, the last of them the cursor of the shell. */
export function logo(): SVGSVGElement {
  return svg(
    "svg",
    { viewBox: "0 0 24 24", class: "logo", "aria-hidden": "true" },
    svg("rect", { class: "logo-ground", width: "24", height: "24", rx: "6" }),
    svg("rect", { class: "logo-bar", x: "5", y: "5.5", width: "7", height: "3", rx: "1" }),
    svg("rect", { class: "logo-bar", x: "8", y: "10.5", width: "8", height: "3", rx: "1" }),
    svg("rect", { class: "logo-cursor", x: "14", y: "15.5", width: "5", height: "3", rx: "1" }),
  );
}
