import { el } from "../dom.ts";
import type { Actions, AppState, MachineState } from "../state.ts";
import { formatClock, type Text } from "../text.ts";
import { icon } from "./icon.ts";
import { createSettings } from "./settings.ts";
import type { View } from "./view.ts";

/** In which the clock goes after its first seconds: each change is a drawing, half of what a machine at rest would cost. */
const STEP_MS = 10_000;

/** What the machine is doing, how it was booted, for how long it has been up, and with how much memory. */
export function createMachineStatus(text: Text, actions: Actions): View {
  let machine: MachineState | null = null;
  const words = el("span");
  const detail = el("span", { className: "pill-detail" });
  const pill = el(
    "span",
    { className: "pill", dataset: { testid: "state-pill" } },
    el("i", { className: "dot" }),
    el("span", {}, words, detail),
  );
  // Only changes of the state are read aloud; percentages and phases would never end.
  const spoken = el("span", { className: "sr-only", attributes: { role: "status" } });
  const mode = el("span", { className: "fact", dataset: { testid: "boot-mode" } });
  const uptime = el("span", { className: "fact clock", title: text.uptime, dataset: { testid: "uptime" } });
  const memory = el("span");
  const button = el(
    "button",
    {
      type: "button",
      className: "button quiet memory",
      dataset: { testid: "settings" },
      attributes: { "aria-haspopup": "dialog" },
    },
    icon("memory"),
    memory,
    icon("down"),
  );
  const settings = createSettings(text, actions, button);
  const element = el("div", { className: "status" }, pill, spoken, mode, uptime, button, settings.element);

  let timer: ReturnType<typeof setTimeout> | undefined;
  const tick = (): void => {
    if (!machine || machine.status === "paused") return;
    clearTimeout(timer);
    uptime.hidden = machine.poweredAt === null;
    if (machine.poweredAt === null) return;
    const ms = performance.now() - machine.poweredAt;
    const step = ms < STEP_MS ? 1000 : STEP_MS;
    const shown = formatClock(ms - (ms % step));
    if (uptime.textContent !== shown) uptime.textContent = shown;
    timer = setTimeout(tick, step - (ms % step));
  };

  return {
    element,
    update(state) {
      machine = state.machine;
      pill.dataset.status = machine.status;
      words.textContent = text.status[machine.status];
      detail.textContent = describeDetail(text, machine);
      if (spoken.textContent !== text.status[machine.status]) spoken.textContent = text.status[machine.status];
      mode.textContent = machine.status === "off" ? "" : text.mode[machine.mode];
      mode.hidden = machine.status === "off";
      const { project } = state;
      memory.textContent = `${project.memoryMb} MB`;
      const differs = machine.poweredAt !== null && machine.memoryMb !== 0 && machine.memoryMb !== project.memoryMb;
      button.dataset.pending = String(differs);
      button.title = differs ? text.memoryNext(machine.memoryMb, project.memoryMb) : text.settings;
      settings.update(state);
      tick();
    },
    dispose: () => clearTimeout(timer),
  };
}

/** How far a build is, or which phase a boot is in. */
function describeDetail(text: Text, { status, build, phase }: AppState["machine"]): string {
  if (status === "building")
    return build && build.total > 0 ? ` ${Math.round((100 * build.done) / build.total)} %` : "";
  return (status === "booting" || status === "failed") && phase ? `: ${text.phases[phase]}` : "";
}
