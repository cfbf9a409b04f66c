import { el } from "../dom.ts";
import { DEFAULT_COMMAND_LINE, MEMORY_SIZES_MB } from "../project.ts";
import type { Actions, AppState } from "../state.ts";
import type { Text } from "../text.ts";
import { askText, openForm, showKeys } from "./dialog.ts";
import { type IconName, icon } from "./icon.ts";
import { openMenu } from "./menu.ts";
import type { View } from "./view.ts";

/** The bar at the top: project, saved state, machine state, and what can be done with the machine. */
export function createBar(text: Text, actions: Actions): View {
  let state: AppState | null = null;
  const name = el("span");
  const projectMenu = el(
    "button",
    { type: "button", className: "button project-menu", dataset: { testid: "project-menu" }, title: text.project },
    name,
    icon("down"),
  );
  const saved = el("button", { type: "button", className: "saved", dataset: { testid: "saved-state" } });
  const pill = el("span", { className: "pill", dataset: { testid: "state-pill" }, attributes: { role: "status" } });
  const mode = el("span", { dataset: { testid: "boot-mode" } });
  const uptime = el("span", { dataset: { testid: "uptime" } });
  const memory = el("span", { dataset: { testid: "memory" } });
  const settings = iconButton("settings", text.settings, "settings");
  const pause = iconButton("pause", text.pause, "pause");
  const restart = iconButton("restart", text.restart, "restart");
  const power = iconButton("power", text.powerOff, "power");
  const apply = el(
    "button",
    { type: "button", className: "button primary", dataset: { testid: "apply" }, title: text.applyHint },
    text.apply,
  );
  const cancel = el("button", { type: "button", className: "button", dataset: { testid: "cancel" } }, text.cancel);
  const language = el("button", {
    type: "button",
    className: "button",
    dataset: { testid: "language" },
    title: text.language,
  });
  const theme = iconButton("theme", text.theme, "theme");
  const keys = iconButton("keyboard", text.keyboard, "keyboard");
  keys.classList.add("optional");

  const element = el(
    "header",
    { className: "bar" },
    el("div", { className: "brand" }, el("img", { src: "./icon.svg", alt: "" }), el("span", {}, "smart-os")),
    projectMenu,
    saved,
    el("span", { className: "bar-space" }),
    pill,
    el("span", { className: "facts" }, mode, uptime, memory),
    settings,
    pause,
    restart,
    power,
    cancel,
    apply,
    language,
    theme,
    keys,
  );

  projectMenu.addEventListener("click", () => state && openProjectMenu(text, actions, state, projectMenu));
  settings.addEventListener("click", () => state && void openSettings(text, actions, state));
  saved.addEventListener("click", () => {
    if (state?.storage.state === "failed") actions.retrySave();
  });
  pause.addEventListener("click", () => (state?.machine.status === "paused" ? actions.resume() : actions.pause()));
  restart.addEventListener("click", () => actions.restart());
  power.addEventListener("click", () => (isOff(state) ? actions.powerOn() : actions.powerOff()));
  apply.addEventListener("click", () => actions.applyAndReboot());
  cancel.addEventListener("click", () => actions.cancelBuild());
  language.addEventListener("click", () => state && actions.setLanguage(state.language === "en" ? "zh" : "en"));
  theme.addEventListener("click", () =>
    openMenu(
      theme,
      (["system", "light", "dark"] as const).map((choice) => ({
        label: text.themes[choice],
        checked: state?.theme === choice,
        run: () => actions.setTheme(choice),
      })),
    ),
  );
  keys.addEventListener("click", () => showKeys(text));

  const tick = (): void => {
    const poweredAt = state?.machine.poweredAt;
    uptime.textContent = poweredAt ? `${text.uptime} ${formatDuration(performance.now() - poweredAt)}` : "";
  };
  const timer = setInterval(tick, 1000);

  return {
    element,
    update(next) {
      state = next;
      const { machine, storage, project } = next;
      name.textContent = project.name;
      saved.dataset.state = storage.state;
      saved.textContent = {
        saved: text.saved,
        saving: text.saving,
        "memory-only": text.memoryOnly,
        failed: `${text.saveFailed} · ${text.retry}`,
      }[storage.state];
      saved.title = storage.reason ?? "";
      pill.dataset.status = machine.status;
      pill.textContent = describeStatus(text, next);
      mode.textContent = machine.status === "off" ? "" : text.mode[machine.mode];
      memory.textContent = `${project.memoryMb} MB`;
      const isPaused = machine.status === "paused";
      setIcon(pause, isPaused ? "play" : "pause", isPaused ? text.resume : text.pause);
      pause.disabled = !["running", "booting", "paused"].includes(machine.status);
      setIcon(power, "power", isOff(next) ? text.powerOn : text.powerOff);
      restart.disabled = machine.status === "off" || machine.status === "building";
      cancel.hidden = machine.status !== "building";
      apply.dataset.pending = String(next.pendingEdits);
      apply.title = next.pendingEdits ? `${text.pending}. ${text.applyHint}` : text.applyHint;
      language.textContent = next.language === "en" ? "中文" : "EN";
      tick();
    },
    dispose: () => clearInterval(timer),
  };
}

function isOff(state: AppState | null): boolean {
  return state?.machine.status === "off";
}

function describeStatus(text: Text, { machine }: AppState): string {
  const status = text.status[machine.status];
  if (machine.status === "booting" && machine.phase) return `${status}: ${text.phases[machine.phase]}`;
  if (machine.status === "building" && machine.build && machine.build.total > 0)
    return `${status} ${Math.round((100 * machine.build.done) / machine.build.total)} %`;
  return status;
}

function openProjectMenu(text: Text, actions: Actions, state: AppState, anchor: HTMLElement): void {
  openMenu(anchor, [
    ...state.projects.map(({ id, name }) => ({
      label: name,
      checked: id === state.project.id,
      run: () => actions.openProject(id),
    })),
    "separator",
    {
      label: `${text.newProject} …`,
      run: () =>
        void askText(text, text.newProject, "smart-os", text.projectName).then(
          (name) => name !== null && actions.createProject(name),
        ),
    },
    { label: text.duplicate, run: () => actions.duplicateProject() },
    {
      label: `${text.renameProject} …`,
      disabled: !state.writable,
      run: () =>
        void askText(text, text.renameProject, state.project.name, text.projectName).then(
          (name) => name !== null && actions.renameProject(name),
        ),
    },
    {
      label: text.deleteProject,
      danger: true,
      disabled: !state.writable,
      run: () => actions.removeProject(state.project.id),
    },
    "separator",
    { label: text.downloadProject, run: () => actions.downloadProject() },
    { label: text.downloadInitramfs, run: () => actions.downloadInitramfs() },
  ]);
}

async function openSettings(text: Text, actions: Actions, state: AppState): Promise<void> {
  const memory = el("select", { className: "field" });
  for (const size of MEMORY_SIZES_MB)
    memory.append(el("option", { value: String(size), selected: size === state.project.memoryMb }, `${size} MB`));
  const commandLine = el("input", { className: "field path", value: state.project.commandLine, spellcheck: false });
  const reset = el("button", { type: "button", className: "button" }, text.resetCommandLine);
  reset.addEventListener("click", () => {
    commandLine.value = DEFAULT_COMMAND_LINE;
  });
  const confirmed = await openForm(
    text,
    text.settings,
    el("label", {}, text.memory, memory),
    el("label", {}, text.commandLine, commandLine),
    el("p", {}, reset),
  );
  if (!confirmed) return;
  if (Number(memory.value) !== state.project.memoryMb) actions.setMemory(Number(memory.value));
  if (commandLine.value !== state.project.commandLine) actions.setCommandLine(commandLine.value);
}

export function iconButton(name: IconName, label: string, testid?: string): HTMLButtonElement {
  const button = el("button", { type: "button", className: "icon-button", ...(testid ? { dataset: { testid } } : {}) });
  setIcon(button, name, label);
  return button;
}

function setIcon(button: HTMLButtonElement, name: IconName, label: string): void {
  if (button.dataset.icon === name && button.title === label) return;
  button.dataset.icon = name;
  button.title = label;
  button.setAttribute("aria-label", label);
  button.replaceChildren(icon(name));
}

function formatDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const two = (value: number): string => String(value).padStart(2, "0");
  const clock = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return seconds < 3600 ? clock : `${Math.floor(seconds / 3600)}:${clock}`;
}
