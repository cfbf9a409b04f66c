/**
 * The open project: every change a person or a script makes to it, its saving, and what the views show of it.
 */
import defaults from "virtual:rootfs";
import type { ProjectFile } from "../worker/api.ts";
import type { Library } from "./library.ts";
import {
  type Bootable,
  bootsAlike,
  changeMode,
  checkCommandLine,
  decodeText,
  listFiles,
  normalizePath,
  type Project,
  ProjectError,
  readFile,
  removeFile,
  renameFile,
  restoreDefault,
  sameFile,
  takeBack,
  uniqueName,
  withKernel,
  writeFile,
  writeFiles,
} from "./project.ts";
import type { OpenFile, Store } from "./state.ts";
import type { Tabs } from "./tabs.ts";
import { textOf } from "./text.ts";

/** A file to be written. Without a `mode` one that is there keeps its own, and a new one gets `newMode`, or 0644. */
export interface ComingFile {
  path: string;
  content: Uint8Array;
  mode?: number | undefined;
  newMode?: number;
}

export interface Workspace {
  readonly project: Project;
  open(id: string): void;
  /** Reads a file of the project or a default one. @throws ProjectError when there is none, or it is no file */
  read(path: string): Uint8Array;
  /** Writes a file; the mode stays when it is not given, 0644 for a new one. */
  write(path: string, content: Uint8Array | string, mode?: number): void;
  /** Writes files, all or none. */
  writeAll(files: readonly ComingFile[]): void;
  /** Takes the editor's text of a file; the editor itself already shows it. */
  edit(path: string, text: string): void;
  /** Makes a new empty file or directory. @throws ProjectError when the name is taken */
  add(path: string, kind: "file" | "directory"): void;
  remove(path: string): void;
  rename(path: string, to: string): void;
  chmod(path: string, mode: number): void;
  restore(path: string): void;
  configure(change: { commandLine?: string; memoryMb?: number; name?: string }): void;
  /** Takes the files and settings of another version. */
  replace(version: Bootable): void;
  /** Takes back what one change did to files of the project. */
  takeBack(before: Project, after: Project): void;
  /** Drops the project's own kernel. */
  useBuiltKernel(): void;
  /** Changes which disks there are and where they are plugged in. */
  setDisks(change: (project: Project) => Project): void;
  setNetwork(change: Partial<Project["network"]>): void;
  replaceNetwork(network: Project["network"]): void;
  /** A text file; "" when there is none. */
  readText(path: string): string;
  /** Opens a copy of the project, which has the given disks. */
  duplicate(disks: Project["disks"]): void;
  show(path: string | null): void;
  /** Notes what the running system was built from. */
  setRunning(recipe: Bootable | null): void;
  /** The project as another tab has stored it. */
  refresh(): void;
}

export function createWorkspace(store: Store, library: Library, tabs: Tabs, firstId: string): Workspace {
  let project = library.get(firstId) as Project;
  let running: Bootable | null = null;
  let openPath: string | null = null;
  let revision = 0;
  const encoder = new TextEncoder();

  const openFile = (): OpenFile | null => {
    if (openPath === null) return null;
    const file = readFile(project, defaults, openPath);
    if (!file) return null;
    const original = defaults.find(({ path }) => path === openPath);
    return {
      path: openPath,
      text: file.kind === "file" ? decodeText(file.content) : null,
      defaultText: original?.content ?? null,
      size: file.kind === "file" ? file.content.length : 0,
      mode: file.mode,
      revision,
    };
  };

  const emit = (): void =>
    store.update((state) => ({
      ...state,
      project: {
        ...{ id: project.id, name: project.name, commandLine: project.commandLine, memoryMb: project.memoryMb },
        kernel: project.kernel ? { version: project.kernel.version, bytes: project.kernel.content.length } : null,
      },
      projects: library.list().map(({ id, name, updatedAt }) => ({ id, name, updatedAt })),
      files: listFiles(project, defaults),
      openFile: openFile(),
      pendingEdits: running !== null && !bootsAlike(running, project),
    }));

  const change = (next: Project, fromEditor = false): void => {
    if (!store.state.writable) throw new ProjectError(textOf(store.state.language).readOnlyError);
    // What another file has become is no reason to give the editor its text anew.
    if (!fromEditor && openPath !== null && !isSame(existing(openPath), readFile(next, defaults, openPath)))
      revision += 1;
    project = { ...next, updatedAt: Date.now() };
    library.save(project);
    emit();
  };

  const existing = (path: string): ProjectFile | undefined => readFile(project, defaults, path);

  /** A file as it comes in the place of the one that is there, whose owner it keeps, and without a `mode` its mode too. */
  const inPlace = ({ path, content, mode, newMode = 0o644 }: ComingFile): ProjectFile => {
    const target = normalizePath(path);
    const before = existing(target);
    if (before?.kind === "directory") throw new ProjectError(`Cannot write ${target}: it is a directory`);
    const { uid, gid } = before ?? {};
    const owner = { ...(uid ? { uid } : {}), ...(gid ? { gid } : {}) };
    return { ...owner, path: target, kind: "file", content, mode: mode ?? before?.mode ?? newMode };
  };

  const workspace: Workspace = {
    get project() {
      return project;
    },
    open(id) {
      const next = library.get(id);
      if (!next) return;
      project = next;
      running = null;
      revision += 1;
      library.setLast(id);
      openPath = existing("/etc/init.d/rcS") ? "/etc/init.d/rcS" : null;
      tabs.hold(id, (writable) => {
        if (project.id === id) store.update((state) => ({ ...state, writable }));
      });
      emit();
    },
    read(path) {
      const file = existing(normalizePath(path));
      if (!file) throw new ProjectError(`Cannot read ${path}: there is no such file in the project`);
      if (file.kind !== "file") throw new ProjectError(`Cannot read ${path}: it is a ${file.kind}`);
      return file.content.slice();
    },
    write(path, content, mode) {
      const bytes = typeof content === "string" ? encoder.encode(content) : content.slice();
      workspace.writeAll([{ path, content: bytes, mode }]);
    },
    writeAll: (files) => change(writeFiles(project, defaults, files.map(inPlace))),
    edit(path, text) {
      const before = existing(path);
      if (before?.kind !== "file") throw new ProjectError(`Cannot edit ${path}: there is no such file any more`);
      change(writeFile(project, defaults, { ...before, content: encoder.encode(text) }), true);
    },
    add(path, kind) {
      if (existing(path)) throw new ProjectError(`Cannot make ${path}: there is a file of that name already`);
      const content = encoder.encode("");
      change(
        writeFile(
          project,
          defaults,
          kind === "file" ? { path, kind, content, mode: 0o644 } : { path, kind, mode: 0o755 },
        ),
      );
    },
    remove(path) {
      const target = normalizePath(path);
      change(removeFile(project, defaults, target));
      if (openPath === target || openPath?.startsWith(`${target}/`)) workspace.show(null);
    },
    rename(path, to) {
      const target = normalizePath(to);
      change(renameFile(project, defaults, path, target));
      if (openPath === path) workspace.show(target);
    },
    chmod: (path, mode) => change(changeMode(project, defaults, path, mode)),
    restore(path) {
      change(restoreDefault(project, path));
      if (openPath === path && !existing(path)) workspace.show(null);
    },
    configure({ commandLine, memoryMb, name }) {
      change({
        ...project,
        ...(commandLine === undefined ? {} : { commandLine: checkCommandLine(commandLine) }),
        ...(memoryMb === undefined ? {} : { memoryMb }),
        ...(name === undefined
          ? {}
          : {
              name: uniqueName(
                name,
                library
                  .list()
                  .filter(({ id }) => id !== project.id)
                  .map((other) => other.name),
              ),
            }),
      });
    },
    replace: ({ files, commandLine, memoryMb, kernel = null }) =>
      change(withKernel({ ...project, files, commandLine, memoryMb }, kernel)),
    takeBack: (before, after) => change(takeBack(project, before, after)),
    useBuiltKernel: () => change(withKernel(project, null)),
    setDisks: (alter) => change(alter(project)),
    setNetwork: (changed) => change({ ...project, network: { ...project.network, ...changed } }),
    replaceNetwork: (network) => change({ ...project, network }),
    readText(path) {
      const file = existing(path);
      return file?.kind === "file" ? new TextDecoder().decode(file.content) : "";
    },
    duplicate(disks) {
      const source = project;
      const copy = library.create(source.name);
      const { files, components, commandLine, memoryMb, network, kernel = null } = source;
      library.save(withKernel({ ...copy, files, components, commandLine, memoryMb, disks, network }, kernel));
      workspace.open(copy.id);
    },
    show(path) {
      openPath = path;
      emit();
    },
    setRunning(recipe) {
      running = recipe;
      emit();
    },
    refresh() {
      const next = library.get(project.id);
      if (!next) return;
      project = next;
      revision += 1;
      emit();
    },
  };
  return workspace;
}

function isSame(one: ProjectFile | undefined, other: ProjectFile | undefined): boolean {
  return one === other || (one !== undefined && other !== undefined && sameFile(one, other));
}

/** Calls `onChange` when the project's files, settings or disks have changed, or another project was opened. */
export function watchProject(workspace: Workspace, onChange: () => void): () => void {
  let seen: unknown = null;
  return () => {
    if (workspace.project === seen) return;
    seen = workspace.project;
    onChange();
  };
}
