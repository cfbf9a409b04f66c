/** The tests' Chromium. */
import { type Browser, chromium } from "playwright-core";
import { chromePath } from "../../tools/setup.mjs";

/** Without most of these, Chromium talks to hosts that the tests have nothing to do with. */
export const CHROMIUM_ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** @throws Error when there is none */
export function chromiumPath(): string {
  const path = chromePath();
  if (!path)
    throw new Error("Cannot test in a browser: there is no Chromium; `npm test` installs it, or set CHROME_PATH");
  return path;
}

export function launchChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: chromiumPath(), args: CHROMIUM_ARGUMENTS });
}
