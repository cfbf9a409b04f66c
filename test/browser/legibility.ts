/**
 * What a view must not have, looked for in the page itself: each function is sent there whole, so none uses anything that
 * stands beside it. A view is the first of the given selectors that is there: a dialog, say, or else the panel behind it.
 */

/** What reaches beyond the window. */
export function wideElements(roots: readonly string[]): string[] {
  const root = roots.map((selector) => document.querySelector(selector)).find((found) => found !== null);
  return [document.documentElement, ...(root?.querySelectorAll<HTMLElement>("*") ?? [])]
    .filter((element) => {
      // The path scrolls by itself.
      if (element.closest(".crumbs") || element.getClientRects().length === 0) return false;
      return element.getBoundingClientRect().right > innerWidth + 0.5;
    })
    .map((element) => element.outerHTML.slice(0, 120));
}

/** Targets that are too small for a finger. */
export function smallTargets({ roots, targets }: { roots: readonly string[]; targets: string }): string[] {
  const root = roots.map((selector) => document.querySelector(selector)).find((found) => found !== null);
  return [...(root?.querySelectorAll<HTMLElement>(targets) ?? [])]
    .filter((target) => target.getClientRects().length > 0 && target.getBoundingClientRect().height < 40)
    .map((target) => target.outerHTML.slice(0, 120));
}

/** Texts of the view that stand out too little from the first ground behind them. */
export function faintWords(roots: readonly string[]): string[] {
  const channels = (colour: string): number[] => colour.match(/[\d.]+/g)?.map(Number) ?? [];
  const luminance = (colour: string): number => {
    const [red = 0, green = 0, blue = 0] = channels(colour).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const groundOf = (element: Element | null): string => {
    if (!element) return "rgb(255, 255, 255)";
    const { backgroundColor } = getComputedStyle(element);
    return channels(backgroundColor)[3] === 0 ? groundOf(element.parentElement) : backgroundColor;
  };
  const root = roots.map((selector) => document.querySelector(selector)).find((found) => found !== null);
  return [...(root?.querySelectorAll("*") ?? [])]
    .filter(
      (element) =>
        [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent?.trim()) &&
        element.getClientRects().length > 0 &&
        !element.closest(":disabled"),
    )
    .flatMap((element) => {
      const [light = 0, dark = 0] = [luminance(getComputedStyle(element).color), luminance(groundOf(element))].sort(
        (a, b) => b - a,
      );
      const ratio = (light + 0.05) / (dark + 0.05);
      return ratio >= 4.5 ? [] : [`${element.textContent?.trim().slice(0, 40)}: ${ratio.toFixed(2)}`];
    });
}
