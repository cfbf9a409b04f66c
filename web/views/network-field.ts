import { el } from "../dom.ts";

export interface Fault {
  readonly element: HTMLElement;
  /** Says what is wrong with the field, or nothing. @returns whether it is right */
  examine(): boolean;
}

/**
 * Where it is said what is wrong with a field of a form that stands in the page: not before it is sent, and from then on
 * at every key until it is right.
 */
export function createFault(field: HTMLInputElement, check: () => string): Fault {
  const element = el("p", { className: "fault", id: `${field.id}-fault`, attributes: { "aria-live": "polite" } });
  field.setAttribute("aria-describedby", element.id);
  const examine = (): boolean => {
    const problem = check();
    element.textContent = problem;
    field.setAttribute("aria-invalid", String(problem !== ""));
    return problem === "";
  };
  field.addEventListener("input", () => {
    if (element.textContent !== "") examine();
  });
  return { element, examine };
}
