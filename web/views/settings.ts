import { el } from "../dom.ts";
import { DEFAULT_COMMAND_LINE, MEMORY_SIZES_MB } from "../project.ts";
import type { Actions } from "../state.ts";
import { formatBytes, type Text } from "../text.ts";
import { textButton } from "./button.ts";
import type { View } from "./view.ts";

const WHEN_HIDDEN = ["run", "pause"] as const;

/**
 * The machine's memory and the kernel's command line: each change is taken at once and holds from the next boot on.
 * @param anchor the button that opens it
 */
export function createSettings(text: Text, actions: Actions, anchor: HTMLButtonElement): View {
  let lastCommandLine = "";
  const memory = el("select", { className: "field", dataset: { testid: "memory-size" } });
  const commandLine = el("textarea", {
    className: "field mono",
    rows: 3,
    spellcheck: false,
    dataset: { testid: "command-line" },
  });
  const hidden = el(
    "select",
    { className: "field", dataset: { testid: "when-hidden" } },
    ...WHEN_HIDDEN.map((value) => el("option", { value }, text.visit.hidden[value])),
  );
  const reset = textButton(text.resetCommandLine, () => {
    commandLine.value = DEFAULT_COMMAND_LINE;
    take();
  });
  const kernelName = el("span", { className: "mono" });
  const built = textButton(text.builtKernel, () => actions.useBuiltKernel(), { testid: "built-kernel" });
  const kernel = el(
    "div",
    { className: "labelled", hidden: true, dataset: { testid: "own-kernel" } },
    text.kernel,
    el("div", { className: "row" }, el("p", { className: "soft" }, kernelName), built),
  );
  const element = el(
    "div",
    { className: "popover", popover: "auto", attributes: { role: "dialog", "aria-label": text.settings } },
    el("h2", {}, text.settings),
    el("label", { className: "labelled" }, text.memory, memory),
    el("label", { className: "labelled" }, text.commandLine, commandLine),
    el("div", { className: "row" }, el("p", { className: "soft" }, text.settingsHint), reset),
    kernel,
    el("label", { className: "labelled" }, text.visit.whenHidden, hidden),
  );
  const take = (): void => {
    const line = commandLine.value.replace(/\s+/g, " ").trim();
    if (line !== lastCommandLine) actions.setCommandLine(line);
  };
  memory.addEventListener("change", () => actions.setMemory(Number(memory.value)));
  commandLine.addEventListener("change", take);
  hidden.addEventListener("change", () => actions.setWhenHidden(hidden.value === "pause" ? "pause" : "run"));
  // The command line is one line; Enter takes it, as in any field.
  commandLine.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    // Which tells of the change, as when the focus goes elsewhere.
    commandLine.blur();
    element.hidePopover();
  });

  // The browser opens, closes and dismisses it; the place is the page's to choose.
  anchor.popoverTargetElement = element;
  element.addEventListener("beforetoggle", () => {
    const box = anchor.getBoundingClientRect();
    element.style.top = `${box.bottom + 6}px`;
    element.style.right = `${Math.max(8, innerWidth - box.right)}px`;
  });

  return {
    element,
    update({ project, writable, hidden: whenHidden }) {
      hidden.value = whenHidden;
      const sizes = [...new Set<number>([...MEMORY_SIZES_MB, project.memoryMb])]
        .filter((size) => size > 0)
        .sort((a, b) => a - b);
      if (memory.options.length !== sizes.length)
        memory.replaceChildren(...sizes.map((size) => el("option", { value: String(size) }, `${size} MB`)));
      memory.value = String(project.memoryMb);
      if (lastCommandLine !== project.commandLine) {
        lastCommandLine = project.commandLine;
        commandLine.value = project.commandLine;
      }
      memory.disabled = commandLine.disabled = reset.disabled = built.disabled = !writable;
      kernel.hidden = project.kernel === null;
      if (project.kernel) {
        // The release; who built it and when is more than there is room for.
        kernelName.textContent = project.kernel.version.split(" ")[0] || formatBytes(project.kernel.bytes);
        kernelName.title = project.kernel.version;
      }
    },
  };
}
