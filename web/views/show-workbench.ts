import type { Actions, Language, Store } from "../state.ts";
import type { Terminal } from "../terminal.ts";
import { textOf } from "../text.ts";
import { createWorkbench, type Workbench, type WorkbenchParts } from "./workbench.ts";

/**
 * Puts the whole page into an element and keeps it showing the store's state, in the language and the colours that are
 * chosen. It listens to the keys that belong to the page wherever the focus is: Ctrl+Enter and F6.
 */
export function showWorkbench(root: HTMLElement, store: Store, actions: Actions, parts: WorkbenchParts): void {
  const { terminal } = parts;
  const darkSystem = matchMedia("(prefers-color-scheme: dark)");
  let workbench: Workbench | null = null;
  let language: Language | null = null;
  let theme: string | null = null;
  const colour = (): void => {
    const { theme } = store.state;
    const isDark = theme === "dark" || (theme === "system" && darkSystem.matches);
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    terminal.setDark(isDark);
  };
  darkSystem.addEventListener("change", colour);
  store.subscribe((state) => {
    if (state.theme !== theme) {
      theme = state.theme;
      colour();
    }
    if (state.language !== language) {
      language = state.language;
      document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
      workbench = renew(root, workbench, () => createWorkbench(textOf(state.language), actions, parts));
    }
    document.title = `${state.project.name || "smart-os"} – smart-os`;
    workbench?.update(state);
  });
  listenToKeys(terminal, actions, (step) => workbench?.cycleFocus(step));
}

/** Puts a new one in the place of the old one, with what the user was at: the machine's tab, and the focus. */
function renew(root: HTMLElement, before: Workbench | null, create: () => Workbench): Workbench {
  const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.testid : undefined;
  before?.dispose();
  const next = create();
  root.replaceChildren(next.element);
  if (before) next.showMachineTab(before.machineTab());
  if (focused) root.querySelector<HTMLElement>(`[data-testid="${focused}"]`)?.focus();
  return next;
}

function listenToKeys(terminal: Terminal, actions: Actions, cycleFocus: (step: 1 | -1) => void): void {
  const onKey = (event: KeyboardEvent): boolean => {
    const isApply = event.key === "Enter" && (event.ctrlKey || event.metaKey);
    if ((!isApply && event.key !== "F6") || document.querySelector("dialog[open]")) return true;
    if (event.type === "keydown") {
      if (!isApply) cycleFocus(event.shiftKey ? -1 : 1);
      else if (!event.repeat) actions.applyAndReboot();
    }
    event.preventDefault();
    event.stopPropagation();
    return false;
  };
  terminal.onKey(onKey);
  // Before the editor's own keys and the guest's screen see it.
  addEventListener("keydown", onKey, true);
}
