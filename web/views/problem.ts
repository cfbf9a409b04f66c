import { el } from "../dom.ts";
import type { Actions, Problem } from "../state.ts";
import type { Text } from "../text.ts";
import type { View } from "./view.ts";

/** What went wrong with the boot, with the last lines and the ways on. */
export function createProblem(text: Text, actions: Actions): View {
  const element = el("div", {
    className: "problem",
    hidden: true,
    dataset: { testid: "problem" },
    attributes: { role: "alert" },
  });
  let shown: Problem | null = null;
  return {
    element,
    update({ machine: { problem } }) {
      if (problem === shown) return;
      shown = problem;
      element.hidden = problem === null;
      if (!problem) return;
      const button = (label: string, run: () => void, testid?: string): HTMLButtonElement => {
        const made = el(
          "button",
          { type: "button", className: "button", ...(testid ? { dataset: { testid } } : {}) },
          label,
        );
        made.addEventListener("click", run);
        return made;
      };
      const back = problem.canGoBack && button(text.goBack, () => actions.goBack(), "go-back");
      if (back) back.classList.add("primary");
      const path = problem.path;
      element.replaceChildren(
        el("p", {}, problem.text),
        ...(problem.lines.length > 0
          ? [el("div", { className: "soft" }, text.lastLines), el("pre", {}, problem.lines.join("\n"))]
          : []),
        el(
          "div",
          { className: "actions" },
          back,
          path !== undefined && button(text.openFile(path), () => actions.openFile(path)),
          button(text.tryAgain, () => actions.applyAndReboot()),
          button(text.close, () => {
            element.hidden = true;
          }),
        ),
      );
    },
  };
}
