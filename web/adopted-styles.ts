/**
 * Style sheets of libraries under a content security policy that forbids inline styles: they make `<style>` elements and
 * set their text, which the browser would not apply. Constructed sheets (CSSOM, "adoptedStyleSheets") are the page's own
 * code at work, and allowed.
 */
import { el } from "./dom.ts";

/** Calls a library that makes its style elements at once, and gives it stand-ins whose text goes into adopted sheets. */
export function adoptStyles<T>(run: () => T): T {
  const create = document.createElement.bind(document) as (
    tag: string,
    options?: ElementCreationOptions,
  ) => HTMLElement;
  document.createElement = ((tag: string, options?: ElementCreationOptions) =>
    tag === "style" ? standIn() : create(tag, options)) as typeof document.createElement;
  try {
    return run();
  } finally {
    // What the prototype has shows again.
    delete (document as Partial<Document>).createElement;
  }
}

function standIn(): HTMLElement {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  let text = "";
  return Object.defineProperties(el("template"), {
    textContent: {
      get: () => text,
      set(next: string) {
        text = next;
        sheet.replaceSync(next);
      },
    },
    remove: {
      value(this: Element) {
        document.adoptedStyleSheets = document.adoptedStyleSheets.filter((adopted) => adopted !== sheet);
        Element.prototype.remove.call(this);
      },
    },
  });
}

/**
 * The terminal writes colours of single characters as the text of style attributes, which the policy forbids as well. Set
 * as properties they are allowed.
 */
export function allowStyleAttributes(): void {
  HTMLSpanElement.prototype.setAttribute = function setAttribute(name, value) {
    if (name === "style") this.style.cssText = value;
    else Element.prototype.setAttribute.call(this, name, value);
  };
}
