import { el } from "../dom.ts";
import type { Actions, AppState } from "../state.ts";
import type { Text } from "../text.ts";
import { iconButton, setIcon } from "./button.ts";
import { type IconName, icon, logo } from "./icon.ts";
import { showKeyboardHelp } from "./keyboard-help.ts";
import { createMachineStatus } from "./machine-status.ts";
import { type MenuItem, openMenu } from "./menu.ts";
import { createProjectMenu } from "./project-menu.ts";
import { createSavedState } from "./saved-state.ts";
import type { View } from "./view.ts";

const THEMES = ["system", "light", "dark"] as const;
const THEME_ICONS: Record<AppState["theme"], IconName> = { system: "contrast", light: "sun", dark: "moon" };
const LANGUAGES = [
  ["en", "English"],
  ["zh", "中文"],
] as const;
const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

/**
 * The bar at the top: the project, the machine's state, what can be done with it, and how the page looks.
 * @param network tells of the connection
 */
export function createBar(text: Text, actions: Actions, network: View): View {
  let state: AppState | null = null;
  const project = createProjectMenu(text, actions);
  const saved = createSavedState(text, actions);
  const status = createMachineStatus(text, actions);

  const toggle = (): void => (state?.machine.status === "paused" ? actions.resume() : actions.pause());
  const switchPower = (): void => (isOff(state) ? actions.powerOn() : actions.powerOff());
  const pause = iconButton("pause", text.pause, toggle, "pause");
  const restart = iconButton("restart", text.restart, () => actions.restart(), "restart");
  const power = iconButton("power", text.powerOff, switchPower, "power");
  const apply = el(
    "button",
    {
      type: "button",
      className: "button primary apply",
      dataset: { testid: "apply" },
      attributes: { "aria-label": text.apply },
    },
    icon("play"),
    el("span", { className: "apply-label" }, text.apply),
    // Drawn by the style sheet: the button's text is its words alone.
    el("kbd", { dataset: { keys: isMac ? "⌘⏎" : "Ctrl ⏎" }, attributes: { "aria-hidden": "true" } }),
  );
  apply.addEventListener("click", () => actions.applyAndReboot());
  const pending = el("span", { className: "pending", title: text.pending }, text.pendingShort);

  const language = el("button", {
    type: "button",
    className: "icon-button letter",
    title: text.language,
    dataset: { testid: "language" },
  });
  language.addEventListener("click", () => actions.setLanguage(state?.language === "zh" ? "en" : "zh"));
  const theme = iconButton("contrast", text.theme, () => openMenu(theme, text.theme, themeItems()), "theme");
  const help = iconButton("help", text.keyboard, () => showKeyboardHelp(text), "keyboard");
  const overflow = iconButton("more", text.more, () => openMenu(overflow, text.more, overflowItems()), "overflow");
  overflow.classList.add("overflow");

  const languageItems = (): MenuItem[] =>
    LANGUAGES.map(([code, label]) => ({
      label,
      checked: state?.language === code,
      run: () => actions.setLanguage(code),
    }));
  const themeItems = (): MenuItem[] =>
    THEMES.map((choice) => ({
      label: text.themes[choice],
      checked: state?.theme === choice,
      run: () => actions.setTheme(choice),
    }));
  /** What a narrow bar has no room for. */
  const overflowItems = (): MenuItem[] => [
    { label: pause.title, icon: pause.dataset.icon as IconName, disabled: pause.disabled, run: toggle },
    { label: text.restart, icon: "restart", disabled: restart.disabled, run: () => actions.restart() },
    { label: power.title, icon: "power", disabled: power.disabled, run: switchPower },
    {
      label: `${text.settings} …`,
      icon: "memory",
      run: () => status.element.querySelector<HTMLElement>(".memory")?.click(),
    },
    "separator",
    { label: text.downloadProject, icon: "download", run: () => actions.downloadProject() },
    { heading: text.language },
    ...languageItems(),
    { heading: text.theme },
    ...themeItems(),
    "separator",
    { label: text.keyboard, icon: "help", run: () => showKeyboardHelp(text) },
  ];

  const element = el(
    "header",
    { className: "bar" },
    el("div", { className: "brand" }, logo(), el("span", { className: "wordmark" }, "smart", el("b", {}, "os"))),
    project.element,
    saved.element,
    el("span", { className: "space" }),
    status.element,
    network.element,
    el("div", { className: "group controls" }, pause, restart, power),
    pending,
    apply,
    el("div", { className: "group looks" }, language, theme, help),
    overflow,
  );

  return {
    element,
    update(next) {
      state = next;
      for (const view of [project, saved, status, network]) view.update(next);
      const { status: machine } = next.machine;
      const isPaused = machine === "paused";
      setIcon(pause, isPaused ? "play" : "pause", isPaused ? text.resume : text.pause);
      pause.disabled = machine !== "running" && machine !== "booting" && !isPaused;
      restart.disabled = machine === "off" || machine === "building";
      setIcon(power, "power", isOff(next) ? text.powerOn : text.powerOff);
      power.disabled = machine === "building";
      power.dataset.on = String(!isOff(next));
      pending.hidden = !next.pendingEdits;
      apply.dataset.pending = String(next.pendingEdits);
      apply.title = next.pendingEdits ? `${text.pending} ${text.applyHint}` : text.applyHint;
      // It names the language that it leads to, in that language.
      language.textContent = next.language === "zh" ? "EN" : "中文";
      language.lang = next.language === "zh" ? "en" : "zh-CN";
      setIcon(theme, THEME_ICONS[next.theme], text.theme);
    },
    dispose: () => status.dispose?.(),
  };
}

function isOff(state: AppState | null): boolean {
  const status = state?.machine.status;
  return status === "off" || (status === "failed" && state?.machine.poweredAt === null);
}
