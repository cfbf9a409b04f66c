/** What a page's content security policy kept from happening. */
import type { Page } from "playwright-core";
import type { Site } from "./page.ts";

declare global {
  interface Window {
    violations: string[];
  }
}

/** A page in a profile of its own that notes every violation from its first moment on. */
export async function policedPage(site: Site, address = "", size = { width: 1440, height: 900 }): Promise<Page> {
  const context = await site.browser.newContext({ viewport: size });
  await context.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI, sourceFile, sample }) => {
      window.violations.push(`${effectiveDirective}: ${blockedURI} ${sample} (${sourceFile})`);
    });
  });
  return site.open(address, context);
}

export const violations = (page: Page) => page.evaluate(() => window.violations);
