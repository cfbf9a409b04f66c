import { el } from "../dom.ts";
import type { Actions, AppState } from "../state.ts";
import type { Text } from "../text.ts";
import { askText } from "./dialog.ts";
import { icon } from "./icon.ts";
import { type MenuItem, openMenu } from "./menu.ts";
import { chooseFile } from "./share-arrivals.ts";
import { showDownloads } from "./share-download.ts";
import { showLink } from "./share-link.ts";
import type { View } from "./view.ts";

/** The project's name, and behind it the other projects and what can be done with this one. */
export function createProjectMenu(text: Text, actions: Actions): View {
  let state: AppState | null = null;
  const name = el("span", { className: "project-name" });
  const element = el(
    "button",
    {
      type: "button",
      className: "button quiet project-button",
      title: text.project,
      dataset: { testid: "project-menu" },
      attributes: { "aria-haspopup": "menu", "aria-expanded": "false" },
    },
    name,
    icon("down"),
  );
  element.addEventListener("click", () => state && openMenu(element, text.project, projectItems(text, actions, state)));
  return {
    element,
    update(next) {
      state = next;
      name.textContent = next.project.name;
      element.setAttribute("aria-label", `${text.project}: ${next.project.name}`);
    },
  };
}

function projectItems(text: Text, actions: Actions, state: AppState): MenuItem[] {
  const { project, projects, writable } = state;
  const askName = async (title: string, value: string, confirm: string, use: (name: string) => void): Promise<void> => {
    const check = (name: string): string => (name === "" ? text.nameEmpty : "");
    const answer = await askText(text, { title, label: text.projectName, value, confirm, check });
    if (answer !== null && answer !== project.name) use(answer);
  };
  return [
    { heading: text.project },
    ...projects.map(({ id, name }) => ({
      label: name,
      checked: id === project.id,
      run: () => id !== project.id && actions.openProject(id),
    })),
    "separator",
    {
      label: `${text.newProject} …`,
      icon: "plus",
      run: () => void askName(text.newProject, "", text.create, actions.createProject),
    },
    { label: `${text.share.openMenu} …`, icon: "open", run: () => chooseFile(actions.share) },
    { label: text.duplicate, icon: "layers", run: () => actions.duplicateProject() },
    {
      label: `${text.renameProject} …`,
      icon: "pencil",
      disabled: !writable,
      run: () => void askName(text.renameProject, project.name, text.renameProject, actions.renameProject),
    },
    "separator",
    { label: `${text.share.linkMenu} …`, icon: "link", run: () => void showLink(text, actions) },
    { label: text.downloadProject, icon: "download", run: () => actions.downloadProject() },
    { label: `${text.share.downloadMenu} …`, icon: "download", run: () => showDownloads(text, actions, state) },
    "separator",
    {
      label: text.deleteProject,
      icon: "clear",
      danger: true,
      disabled: !writable,
      run: () => actions.removeProject(project.id),
    },
  ];
}
