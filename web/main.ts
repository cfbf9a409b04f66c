/** The page: wires storage, project, machine and views together, and boots. */

import defaultDelta from "virtual:default-delta";
import systemFiles, { emulator } from "virtual:system";
import emulatorPath from "v86/build/v86.wasm?url";
import { createActions, saveAs } from "./actions.ts";
import { plain } from "./boot.ts";
import type { BootRecipe } from "./boot-recipe.ts";
import { createBuilder } from "./builder.ts";
import { warmUp } from "./compiler-warmth.ts";
import { openDiskStore } from "./disk-store.ts";
import { createDisks } from "./disks.ts";
import { el } from "./dom.ts";
import { createDownloads } from "./downloads.ts";
import type { Editor } from "./editor.ts";
import { listenToParent } from "./embedding.ts";
import { createBlobSink } from "./export-sink.ts";
import { createExports } from "./exports.ts";
import { followRoomLink } from "./follow-room-link.ts";
import { pauseWhileHidden } from "./hidden.ts";
import { initialState } from "./initial-state.ts";
import { openLibrary } from "./library.ts";
import { readLocation } from "./location.ts";
import { createNetwork } from "./network.ts";
import { createNotify } from "./notify.ts";
import { keepOffline } from "./offline.ts";
import { composeState } from "./own-state-parts.ts";
import { createOwnStates } from "./own-states.ts";
import { type Bootable, bootsAlike, DEFAULT_COMMAND_LINE, DEFAULT_MEMORY_MB } from "./project.ts";
import { readProjectLink } from "./project-link.ts";
import { findRelay } from "./relay-place.ts";
import { sentenceOf } from "./sentence.ts";
import { createSession } from "./session.ts";
import { readSettings, writeSettings } from "./settings.ts";
import { createShare } from "./share.ts";
import { createSmartOs, type SmartOs } from "./smartos.ts";
import { fingerprint, SYSTEM_FILES } from "./snapshot-record.ts";
import { createSnapshots } from "./snapshots.ts";
import { type BootMode, createStore } from "./state.ts";
import { createStateLoader, createSystemLoader, findFile } from "./system.ts";
import { createTabs } from "./tabs.ts";
import { createTerminal } from "./terminal.ts";
import { loadText, textOf } from "./text.ts";
import { newMachineScreen, newScreenContainer } from "./views/screen.ts";
import { showWorkbench } from "./views/show-workbench.ts";
import { createWarmBoots, isAsBuilt, type WarmWish } from "./warm.ts";
import { createWorkspace, watchProject } from "./workspace.ts";

declare global {
  interface Window {
    smartos: SmartOs;
  }
}

/** What `waitFor` can look at: more than a boot prints, less than would weigh on the page. */
const PRINTED_LIMIT = 1 << 20;

async function start(): Promise<void> {
  const wishes = readLocation(location.href, navigator.languages);
  const systemUrl = new URL("./system/", document.baseURI);
  const settings = readSettings();
  const language = wishes.language ?? settings.language ?? "en";
  // A page in English is better than none.
  const words = loadText(language).catch(() => {});
  const store = createStore(
    initialState({
      language,
      theme: settings.theme ?? "system",
      hidden: settings.hidden ?? "run",
      embed: wishes.embed,
    }),
  );
  const downloads = createDownloads((download) => store.update((state) => ({ ...state, download })));
  const find = (name: string) => findFile(systemFiles, systemUrl, name);
  const emulatorFile = { name: "the emulator", url: new URL(emulatorPath, document.baseURI), ...emulator };
  const { loadEmulator, loadMachine, loadSystem } = createSystemLoader(downloads, find, emulatorFile);
  const { loadState, hasStates } = createStateLoader(downloads, systemFiles, systemUrl);
  const builder = createBuilder(systemUrl);
  const ownStates = createOwnStates({
    version: systemFiles.map(({ sha256 }) => sha256.slice(0, 16)).join(" "),
    loadParts: async (kind) =>
      composeState(() => createBuilder(systemUrl), await loadSystem(), await downloads.load(find("waiter")), kind),
  });
  const warm = createWarmBoots({ loadEmulator, loadState, own: ownStates, hasStates, newScreen: newMachineScreen });
  const warmMemoryMb = wishes.memoryMb ?? settings.warmMemoryMb ?? DEFAULT_MEMORY_MB;
  // The largest downloads start before anything else is done.
  loadEmulator()
    .then(warmUp)
    .catch(() => {});
  if (wishes.boot === "cold" || wishes.boot === "disk" || !hasStates) {
    loadSystem().catch(() => {});
    builder.prepare();
  } else if (wishes.boot !== "off" && warmMemoryMb > 0) {
    const wish: WarmWish = { commandLine: DEFAULT_COMMAND_LINE, memoryMb: warmMemoryMb, card: "virtio", kernel: null };
    // A machine is made while the library is opened: most projects want this one.
    if (settings.resumes) {
      loadMachine().catch(() => {});
      loadState(warmMemoryMb)?.catch(() => {});
    } else warm.prepare(wish).catch(() => {});
  }
  const ownRelay = findRelay(new URL("./relay.json", document.baseURI));
  const text = () => textOf(store.state.language);
  // On somebody else's page: what the visitor keeps in the playground itself stays out of it.
  const isGuest = wishes.embed && window.parent !== window;
  await words;
  const library = await openLibrary((state, problem) => {
    store.update((before) => ({
      ...before,
      storage: { state, ...(problem ? { reason: text().storage[problem] } : {}) },
    }));
    if (state === "saved") tabs.announce(workspace.project.id);
  }, !isGuest);
  const tabs = createTabs(
    () => library.flush(),
    (id) => library.reload(id).then(() => workspace.refresh()),
    (id) => {
      if (id === workspace.project.id && !store.state.writable) void library.reload(id).then(() => workspace.refresh());
    },
  );
  const known = library.list();
  const wanted = wishes.project === null ? undefined : known.find(({ name }) => name === wishes.project);
  const first = wanted ?? (wishes.project === null ? (library.get(library.lastId() ?? "") ?? known.at(-1)) : undefined);
  const project = first ?? library.create(wishes.project ?? "smart-os");
  const workspace = createWorkspace(store, library, tabs, project.id);

  const terminal = createTerminal();
  const screen = newScreenContainer();

  let printed = "";
  const printedListeners = new Set<(text: string) => void>();
  const decoder = new TextDecoder();
  const recipe = (): BootRecipe => {
    const { files, commandLine, memoryMb, network: wanted, kernel = null } = workspace.project;
    return {
      projectId: workspace.project.id,
      overlay: files,
      commandLine: wishes.commandLine ?? commandLine,
      memoryMb: wishes.memoryMb ?? memoryMb,
      card: wanted.card ?? "virtio",
      kernel,
    };
  };
  const boot = (mode: BootMode): Promise<{ promptMs: number }> => {
    // A system disk holds the project as it was when it was built; the disks view says when that is not this one.
    if (mode !== "disk") workspace.setRunning(version(recipe()));
    return session.boot(recipe(), mode);
  };
  const notify = createNotify(store);
  if (library.wasWiped) notify("warning", text().storage.wiped);
  if (library.damaged.length > 0) notify("warning", text().unreadable(library.damaged.length));
  const disks = createDisks({
    store,
    workspace,
    builder,
    opened: openDiskStore(),
    // A guest knows no other projects than its own, and must not take their disks for forgotten ones.
    knownIds: isGuest
      ? () => null
      : () => new Set(library.all().flatMap((known) => known.disks.map((disk) => disk.id))),
    onProblem: (sentence) => notify("warning", sentence),
  });
  const session = createSession({
    async build(request, { signal, onProgress }) {
      const result = await builder.build(request, {
        signal,
        onProgress(progress) {
          if (progress.step === "fetch") downloads.count("builder", progress);
          onProgress(progress);
        },
      });
      if (!result.ok) downloads.count("builder", { done: 0, total: 0 });
      return result;
    },
    async composeDelta(request, options) {
      const isDefault = request.overlay.length === 0 && request.present === null;
      if (!isDefault || defaultDelta === null) return builder.composeDelta(request, options);
      return { ok: true, bytes: Uint8Array.from(atob(defaultDelta), (letter) => letter.charCodeAt(0)), buildMs: 0 };
    },
    loadMachine,
    loadSystem,
    warm,
    newScreen: newMachineScreen,
    showScreen: (shown) => screen.replaceChildren(...(shown ? [shown] : [])),
    onSerial(bytes) {
      terminal.write(bytes);
      const words = plain(decoder.decode(bytes, { stream: true }));
      printed = (printed + words).slice(-PRINTED_LIMIT);
      for (const listener of printedListeners) listener(words);
    },
    onFrame: (frame) => network.send(frame),
    onPowerOff: () => network.stop(),
    onPowerOn() {
      network.start();
      printed = "";
      terminal.reset();
    },
    onChange: (machine, timeline) => store.update((state) => ({ ...state, machine, timeline })),
    onBooted(booted) {
      const served = isAsBuilt(booted) ? booted.memoryMb : 0;
      if (!isGuest && served !== (readSettings().warmMemoryMb ?? DEFAULT_MEMORY_MB))
        writeSettings({ warmMemoryMb: served });
      // A tab that may only look must not write: the one that may would find its own next version in conflict.
      if (store.state.writable) library.saveBooted(workspace.project.id, version(booted));
    },
    plugIn: (mode, options) => disks.plugIn(mode, options),
    onRestart: (mode) => void boot(mode).catch(() => {}),
    describeCold: (reason, detail) => text().warm.cold(reason, detail),
    describe: (kind, phase, detail) => text().problem(kind, text().phases[phase], detail),
    async canGoBack() {
      const booted = library.booted(workspace.project.id);
      return booted !== undefined && !bootsAlike(booted, workspace.project);
    },
  });
  const network = createNetwork({
    store,
    notify,
    wish: wishes.relay,
    ownRelay,
    projectRelay: () => workspace.project.network.relay,
    setProjectRelay: (relay) => workspace.setNetwork({ relay }),
    card: () => workspace.project.network.card ?? "virtio",
    setCard: (card) => workspace.setNetwork({ card }),
    mayConnect: () => share.mayConnect(),
    sendFrame: (frame) => session.sendFrame(frame),
    run: (command, timeoutMs) => session.run(command, timeoutMs),
  });
  const fileOf = (name: string): string => find(name).url.pathname.split("/").at(-1) ?? name;
  const sumOfFile = (name: string): string => systemFiles.find((file) => file.name === name)?.sha256 ?? "";
  const snapshots = createSnapshots({
    ...{ store, session, disks, notify, terminal, screen, recipe },
    system: {
      emulator: emulatorPath.split("/").at(-1) ?? "",
      system: SYSTEM_FILES.map(fileOf).join(" "),
      fingerprint: fingerprint([emulator.sha256, ...SYSTEM_FILES.map(sumOfFile)]),
    },
    knownProjects: () => new Set(library.all().map(({ id }) => id)),
    showTerminal(content) {
      printed = "";
      terminal.reset();
      terminal.write(content);
    },
    goOnline: () => network.start(true),
    // Files that no project has: the project is not what the machine was built from.
    setRunning: (same) => workspace.setRunning(same ? version(same) : { files: [], commandLine: "", memoryMb: 0 }),
    run: (command, timeoutMs) => session.run(command, timeoutMs),
    bootAnew: () => void boot("warm").catch(() => {}),
    resumes: settings.resumes ?? false,
    rememberResumes: (resumes) => writeSettings({ resumes }),
  });
  followRoomLink(network, notify, text);
  pauseWhileHidden(store, session);
  terminal.onInput((bytes) => session.send(bytes));
  terminal.onResize((size) => session.resize(size));
  session.resize(terminal.size());

  const exports = createExports({
    workspace,
    disks,
    exporter: createBuilder(systemUrl),
    loadKernel: async () => (await loadSystem()).kernel,
    loadSnapshot: (key) => snapshots.exportFile(key),
  });
  const share = createShare({
    store,
    workspace,
    library,
    notify,
    opener: createBuilder(systemUrl),
    async openProject(id, fromDisk) {
      workspace.open(id);
      // What goes wrong is in the machine's state.
      await boot(fromDisk ? "disk" : "warm").catch(() => {});
    },
    disks,
    onTurnedAway() {
      if (session.machine.status === "off" && wishes.boot !== "off") void bootFirst().catch(() => {});
    },
    snapshots,
    onNetworkAllowed: () => network.setOnline(true),
    exports,
    saveAs,
  });
  const bundle = async () =>
    (await exports.make("bundle", createBlobSink(), { signal: new AbortController().signal, onProgress() {} })) as Blob;
  const actions = createActions({
    store,
    library,
    workspace,
    session,
    tabs,
    boot,
    cancelDownloads: () => downloads.cancel(),
    remember(change) {
      store.update((state) => ({ ...state, ...change }));
      writeSettings(change);
    },
    disks,
    network: network.actions,
    snapshots,
    share: share.actions,
    notify,
    bundle,
  });

  /** A machine that was suspended goes on where it was. */
  const goOnOrBoot = async (): Promise<void> => {
    if (!(await snapshots.resume().catch(() => false))) await boot("warm");
  };
  const bootFirst = async (): Promise<void> => {
    if (wishes.boot && wishes.boot !== "off") await boot(wishes.boot);
    else if (isGuest) await boot("warm");
    else await goOnOrBoot();
  };
  let editor: Promise<Editor> | null = null;
  const loadEditor = (): Promise<Editor> => {
    // Until then the text stands there to be read, and what runs first is the machine.
    editor ??= Promise.race([firstBoot.catch(() => {}), firstTouch()])
      .then(() => import("./editor.ts"))
      .then(({ createEditor }) => createEditor((path, content) => actions.editFile(path, content)));
    return editor;
  };
  store.subscribe(
    watchProject(workspace, () => {
      disks.refresh();
      network.refresh();
      snapshots.refresh();
      share.refresh();
      session.expect(recipe());
    }),
  );
  workspace.open(project.id);
  // The worker builds while the views are made.
  const carried = readProjectLink(location.href) !== null || wishes.image !== null;
  // What comes from outside is looked at before anything starts.
  const firstBoot = wishes.boot === "off" || carried ? Promise.resolve() : bootFirst();
  showWorkbench(document.getElementById("workbench") as HTMLElement, store, actions, { terminal, screen, loadEditor });
  const followLink = async (): Promise<void> => {
    const isThere = await (wishes.image === null ? share.followLink() : share.offerAddress(wishes.image));
    if (!isThere) share.actions.answerOffer(false);
  };
  if (carried) void followLink();
  addEventListener("hashchange", () => void share.followLink());
  const ready = firstBoot.then(
    () => (wishes.boot === "off" || carried ? undefined : session.agentReady().catch(() => {})),
    () => {},
  );
  window.smartos = createSmartOs({
    ready,
    store,
    session,
    workspace,
    boot,
    disks,
    network,
    snapshots,
    exports,
    share,
    loadSystem,
    type: (words) => terminal.type(words),
    printed: () => printed,
    onPrinted(listener) {
      printedListeners.add(listener);
      return () => printedListeners.delete(listener);
    },
    flush: () => library.flush(),
  });
  if (isGuest)
    listenToParent({
      api: window.smartos,
      store,
      origins: wishes.origins,
      onPrinted: (listener) => printedListeners.add(listener),
    });
  else terminal.focus();
  // A development server's files change under their names.
  if (import.meta.env.PROD && !isGuest)
    void ready
      .then(() =>
        keepOffline(new URL("./offline.js", document.baseURI), (take) => {
          const { newVersion, reload } = text().visit;
          notify("info", newVersion, { label: reload, run: () => void library.flush().then(take) });
        }),
      )
      .catch(() => {});
  // Once it is quiet, and only where it is still a question.
  void ready.then(() => builder.prepare());
  void ready.then(() => navigator.storage?.persist?.()).catch(() => {});
  void ready.then(() => snapshots.look()).catch(() => {});
}

/** Resolves when somebody presses a key or a button, or touches the page. */
function firstTouch(): Promise<void> {
  return new Promise((resolve) => {
    const options = { capture: true, once: true, passive: true };
    for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => resolve(), options);
  });
}

function version({ overlay, commandLine, memoryMb, kernel }: BootRecipe): Bootable {
  return { files: overlay, commandLine, memoryMb, ...(kernel ? { kernel } : {}) };
}

start().catch((error: unknown) => {
  document.body.replaceChildren(el("p", { className: "empty" }, `Cannot start the page: ${sentenceOf(error)}`));
});
