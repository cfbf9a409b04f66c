/** What a person can do, tied to the workspace, the session and the library. A refusal becomes a notice, never an exception. */
import { createDiskActions } from "./disk-actions.ts";
import type { Disks } from "./disks.ts";
import type { Library } from "./library.ts";
import { complain, type Notify } from "./notify.ts";
import { isProgram } from "./placed-files.ts";
import { normalizePath } from "./project.ts";
import { sentenceOf } from "./sentence.ts";
import type { Session } from "./session.ts";
import { createSnapshotActions } from "./snapshot-actions.ts";
import type { Snapshots } from "./snapshots.ts";
import type { Actions, AppState, BootMode, NetworkActions, ShareActions, Store } from "./state.ts";
import type { Tabs } from "./tabs.ts";
import { loadText, textOf } from "./text.ts";
import type { Workspace } from "./workspace.ts";

export interface ActionParts {
  store: Store;
  library: Library;
  workspace: Workspace;
  session: Session;
  tabs: Tabs;
  boot(mode: BootMode): Promise<{ promptMs: number }>;
  cancelDownloads(): void;
  remember(settings: Partial<Pick<AppState, "theme" | "language" | "hidden">>): void;
  /** The whole project as one file. */
  bundle(): Promise<Blob>;
  disks: Disks;
  network: NetworkActions;
  snapshots: Snapshots;
  share: ShareActions;
  notify: Notify;
}

/** More than this does not fit into any machine that the page offers. */
const MAX_UPLOAD_BYTES = 256 * 1024 * 1024;

export function createActions(parts: ActionParts): Actions {
  const { store, library, workspace, session, tabs, notify } = parts;
  const text = () => textOf(store.state.language);
  /** Does something that may be refused. */
  const attempt = (run: () => void): void => {
    try {
      run();
    } catch (error) {
      complain(notify, error);
    }
  };
  /** Changes the project's files. @returns what takes that back */
  const changeFiles = (run: () => void): { label: string; run(): void } => {
    const before = workspace.project;
    run();
    const after = workspace.project;
    const undo = (): void => {
      // It may be another one that is open by now.
      if (workspace.project.id !== before.id) workspace.open(before.id);
      if (workspace.project.id === before.id) workspace.takeBack(before, after);
    };
    return { label: text().undo, run: () => attempt(undo) };
  };
  const boot = (): void => {
    // What went wrong is in the machine's state, for the problem card.
    parts.boot("warm").catch(() => {});
  };

  const actions: Actions = {
    setLanguage: (language) =>
      void loadText(language).then(
        () => parts.remember({ language }),
        () => notify("error", text().visit.noLanguage),
      ),
    setTheme: (theme) => parts.remember({ theme }),
    setWhenHidden: (hidden) => parts.remember({ hidden }),

    openFile: (path) => workspace.show(path),
    closeFile: () => workspace.show(null),
    editFile: (path, content) => attempt(() => workspace.edit(path, content)),
    addFile: (path) =>
      attempt(() => {
        const target = normalizePath(path);
        workspace.add(target, "file");
        workspace.show(target);
      }),
    addDirectory: (path) => attempt(() => workspace.add(normalizePath(path), "directory")),
    async upload(directory, coming) {
      const before = workspace.project;
      try {
        const wanted = await coming;
        if (wanted.reduce((sum, { file }) => sum + file.size, 0) > MAX_UPLOAD_BYTES)
          throw new Error(text().uploadTooLarge(MAX_UPLOAD_BYTES / 1024 / 1024));
        const files = await Promise.all(
          wanted.map(async (placed) => {
            const bytes = await placed.file.arrayBuffer().catch((error: unknown) => {
              throw new Error(text().uploadFailed(placed.path, sentenceOf(error)));
            });
            const content = new Uint8Array(bytes);
            return { path: `${directory}/${placed.path}`, content, newMode: isProgram(content) ? 0o755 : 0o644 };
          }),
        );
        if (workspace.project.id !== before.id) throw new Error(text().uploadLate);
        if (files.length === 0) return;
        const undo = changeFiles(() => workspace.writeAll(files));
        notify("info", text().uploaded(files.length, directory), undo);
      } catch (error) {
        complain(notify, error);
      }
    },
    removeFile: (path) =>
      attempt(() => {
        const undo = changeFiles(() => workspace.remove(path));
        notify("info", text().removed(path), undo);
      }),
    renameFile: (path, to) => attempt(() => workspace.rename(path, to)),
    chmod: (path, mode) => attempt(() => workspace.chmod(path, mode)),
    restoreDefault: (path) => attempt(() => workspace.restore(path)),
    downloadFile: (path) =>
      attempt(() =>
        saveAs(new Blob([workspace.read(path) as Uint8Array<ArrayBuffer>]), path.slice(path.lastIndexOf("/") + 1)),
      ),

    applyAndReboot: boot,
    restart: () => {
      const { mode, coldReason } = session.machine;
      // A cold boot that nobody wanted may be a warm one now.
      void parts.boot(coldReason === null ? mode : "warm").catch(() => {});
    },
    bootCold: () => void parts.boot("cold").catch(() => {}),
    powerOn: boot,
    powerOff: () => void session.shutdown(),
    pause: () => void session.pause(),
    resume: () => session.resume(),
    cancelBuild() {
      session.cancelBuild();
      parts.cancelDownloads();
    },
    goBack: () =>
      attempt(() => {
        const version = library.booted(workspace.project.id);
        if (!version) return;
        const before = workspace.project;
        workspace.replace(version);
        notify("info", text().goBack, { label: text().undo, run: () => attempt(() => workspace.replace(before)) });
        boot();
      }),
    setCommandLine: (commandLine) => attempt(() => workspace.configure({ commandLine })),
    setMemory: (memoryMb) => attempt(() => workspace.configure({ memoryMb })),
    useBuiltKernel: () =>
      attempt(() => {
        const before = workspace.project;
        workspace.useBuiltKernel();
        notify("info", text().kernelDropped, {
          label: text().undo,
          run: () => attempt(() => workspace.replace(before)),
        });
      }),
    sendCtrlAltDel: () => session.sendCtrlAltDel(),
    focusScreen: (focused) => session.setKeyboard(focused),

    openProject(id) {
      workspace.open(id);
      boot();
    },
    createProject(name) {
      workspace.open(library.create(name).id);
      boot();
    },
    async duplicateProject() {
      try {
        // The machine's disks are copied as well: whole, and not while it writes to them.
        if (workspace.project.disks.length > 0) await session.shutdown();
        workspace.duplicate(await parts.disks.duplicateAll(workspace.project.disks));
      } catch (error) {
        return complain(notify, error);
      }
      boot();
    },
    renameProject: (name) => attempt(() => workspace.configure({ name })),
    removeProject(id) {
      const name = library.get(id)?.name ?? "";
      library.remove(id);
      const next = library.list().at(-1) ?? library.create("smart-os");
      workspace.open(next.id);
      boot();
      notify("info", text().removed(name), {
        label: text().undo,
        run: () => {
          library.restore(id);
          actions.openProject(id);
        },
      });
    },
    takeOver: () => tabs.takeOver(),
    downloadProject: () =>
      void parts.bundle().then(
        (blob) => saveAs(blob, `${workspace.project.name}.smartos`),
        (error: unknown) => complain(notify, error),
      ),
    retrySave() {
      library.save(workspace.project);
      void library.flush();
    },
    dismissNotice: (id) =>
      store.update((state) => ({ ...state, notices: state.notices.filter((notice) => notice.id !== id) })),
    disks: createDiskActions({
      disks: parts.disks,
      text: () => text().diskWork,
      notify,
      saveAs,
      boot: () => void parts.boot("disk").catch(() => {}),
    }),
    network: parts.network,
    snapshots: createSnapshotActions({
      snapshots: parts.snapshots,
      text: () => text().snapshotWork,
      notify,
      saveAs,
    }),
    share: parts.share,
  };
  return actions;
}

export function saveAs(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The download has begun by then; the browser keeps what it still needs.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
