import { el } from "../dom.ts";
import type { Actions, Problem } from "../state.ts";
import type { Text } from "../text.ts";
import { iconButton, textButton } from "./button.ts";
import { icon } from "./icon.ts";
import type { View } from "./view.ts";

/** What went wrong with the boot, in words, with the last lines and the ways on. It can be put aside to see the terminal. */
export function createProblemCard(text: Text, actions: Actions): View {
  let shown: Problem | null = null;
  const card = el("div", { className: "problem", dataset: { testid: "problem" }, attributes: { role: "alert" } });
  const reopen = textButton(text.showProblem, () => setOpen(true), {
    className: "small problem-chip",
    icon: "warning",
    testid: "show-problem",
  });
  const element = el("div", { className: "problem-layer", hidden: true }, card, reopen);

  const setOpen = (open: boolean): void => {
    card.hidden = !open;
    reopen.hidden = open;
    element.dataset.open = String(open);
  };

  const fill = (problem: Problem): void => {
    const { path, kind, lines } = problem;
    const phase = text.phases[problem.phase];
    const title =
      kind === "invalid"
        ? text.problemInvalid
        : kind === "no-shell"
          ? text.problemWaiting(phase)
          : text.problemTitle(phase);
    const output = el("pre", { tabIndex: 0, attributes: { "aria-label": text.lastLines } }, lines.join("\n"));
    card.replaceChildren(
      el(
        "div",
        { className: "problem-head" },
        icon("warning"),
        el("h2", {}, title),
        iconButton("close", text.showTerminal, () => setOpen(false)),
      ),
      el("p", { className: "problem-text" }, problem.text),
    );
    if (lines.length > 0) card.append(el("h3", {}, text.lastLines), output);
    card.append(
      el(
        "div",
        { className: "problem-actions" },
        problem.canGoBack &&
          textButton(text.goBack, () => actions.goBack(), { className: "primary", icon: "undo", testid: "go-back" }),
        path !== undefined &&
          textButton(text.openFile(path), () => actions.openFile(path), { icon: "pencil", testid: "open-faulty" }),
        textButton(text.tryAgain, () => actions.applyAndReboot(), { icon: "restart", testid: "try-again" }),
        textButton(text.showTerminal, () => setOpen(false), { className: "quiet", testid: "dismiss-problem" }),
      ),
    );
    setOpen(true);
    // The last of the last lines is the one that matters.
    output.scrollTop = output.scrollHeight;
  };

  return {
    element,
    update({ machine: { problem } }) {
      if (problem === shown) return;
      shown = problem;
      element.hidden = problem === null;
      if (problem) fill(problem);
      else card.replaceChildren();
    },
  };
}
