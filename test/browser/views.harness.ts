/** The views over made-up states: no machine, no storage. `?scenario=` chooses the state, `harness` is for the tests. */
import type { Editor } from "../../web/editor.ts";
import {
  type Actions,
  type AppState,
  createStore,
  type DiskActions,
  type NetworkActions,
  type ShareActions,
  type SnapshotActions,
} from "../../web/state.ts";
import { createTerminal } from "../../web/terminal.ts";
import { loadText } from "../../web/text.ts";
import { newMachineScreen, newScreenContainer } from "../../web/views/screen.ts";
import { showWorkbench } from "../../web/views/show-workbench.ts";
import { BASE, listDisk, openFile, putOnDisk, removeFromDisk, SCENARIOS, setText } from "./views.states.ts";

export interface Harness {
  calls: [name: string, ...parameters: unknown[]][];
  /** What was typed into the terminal. */
  input: string[];
  state(): AppState;
  set(change: Partial<AppState>): void;
}

declare global {
  interface Window {
    harness: Harness;
  }
}

const parameters = new URLSearchParams(location.search);
const store = createStore({
  ...BASE,
  language: parameters.get("lang") === "zh" ? "zh" : "en",
  theme: (parameters.get("theme") as AppState["theme"] | null) ?? "system",
  ...SCENARIOS[parameters.get("scenario") ?? "running"]?.(),
});
const calls: Harness["calls"] = [];
const set: Harness["set"] = (change) => store.update((state) => ({ ...state, ...change }));

/** What the tests go on from; any other action is only noted. */
const EFFECTS: Partial<Actions> = {
  setLanguage: (language) => void loadText(language).then(() => set({ language })),
  setTheme: (theme) => set({ theme }),
  openFile: (path) => set({ openFile: openFile(path) }),
  closeFile: () => set({ openFile: null }),
  editFile(path, text) {
    setText(path, text);
    const file = store.state.openFile;
    if (file?.path === path) set({ openFile: { ...file, text, size: text.length }, pendingEdits: true });
  },
  chmod(path, mode) {
    const file = store.state.openFile;
    set({
      files: store.state.files.map((row) => (row.path === path ? { ...row, mode } : row)),
      ...(file?.path === path ? { openFile: { ...file, mode, revision: file.revision + 1 } } : {}),
    });
  },
  restoreDefault(path) {
    const file = store.state.openFile;
    if (file?.path === path) set({ openFile: { ...file, text: file.defaultText, revision: file.revision + 1 } });
  },
  dismissNotice: (id) => set({ notices: store.state.notices.filter((notice) => notice.id !== id) }),
};
const DISK_EFFECTS: Partial<DiskActions> = {
  list: listDisk,
  put: putOnDisk,
  removeEntry: removeFromDisk,
  detach: (id) => set({ disks: store.state.disks.map((disk) => (disk.id === id ? { ...disk, drive: null } : disk)) }),
};
const ofNetwork = (change: Partial<AppState["network"]>): void =>
  set({ network: { ...store.state.network, ...change } });
const NETWORK_EFFECTS: Partial<NetworkActions> = {
  setOnline: (online) => ofNetwork({ status: online ? "online" : "off" }),
  retryNow: () => ofNetwork({ status: "connecting", retryAt: null }),
  setRelay: (relay) => ofNetwork({ relay, status: relay === "" ? "none" : "connecting" }),
  forward(guestPort, kind) {
    const { forwards } = store.state.network;
    const id = `new-${guestPort}-${kind}`;
    ofNetwork({ forwards: [...forwards, { id, guestPort, kind, address: `relay.example.org:${30_000 + guestPort}` }] });
  },
  endForward: (id) => ofNetwork({ forwards: store.state.network.forwards.filter((forward) => forward.id !== id) }),
  join: (room, roomSecret) => ofNetwork({ room, roomSecret, roomMembers: 1 }),
  leave: () => ofNetwork({ room: null, roomSecret: null, roomMembers: 0 }),
  setCard: (card) => ofNetwork({ card }),
};
/** Notes every call under its name, and has its effect when there is one. */
function noted<T extends object>(prefix: string, effects: Partial<T>): T {
  return new Proxy(effects, {
    get:
      (known, name: string) =>
      (...values: unknown[]) => {
        calls.push([prefix + name, ...values]);
        return (known as Record<string, (...values: unknown[]) => unknown>)[name]?.(...values);
      },
  }) as T;
}
const disks = noted("disks.", DISK_EFFECTS);
const network = noted("network.", NETWORK_EFFECTS);
const snapshots = noted<SnapshotActions>("snapshots.", { movedOn: async () => ["data"] });
const share = noted<ShareActions>("share.", {});
const parts = { disks, network, snapshots, share };
const others = noted("", EFFECTS);
const actions = new Proxy(others, {
  get: (all, name: keyof Actions) => (name in parts ? parts[name as keyof typeof parts] : all[name]),
});

const root = document.getElementById("workbench") as HTMLElement;
const terminal = createTerminal();
const container = newScreenContainer();
const machineScreen = newMachineScreen();
container.replaceChildren(machineScreen);
let editor: Promise<Editor> | null = null;
const loadEditor = (): Promise<Editor> => {
  editor ??= import("../../web/editor.ts").then(({ createEditor }) =>
    createEditor((path, text) => actions.editFile(path, text)),
  );
  return editor;
};
await loadText(store.state.language);
showWorkbench(root, store, actions, { terminal, screen: container, loadEditor });
window.harness = { calls, set, state: () => store.state, input: [] };
const decoder = new TextDecoder();
terminal.onInput((bytes) => window.harness.input.push(decoder.decode(bytes)));

const PROMPT = "\u001b[1;32mroot@smart-os\u001b[0m:\u001b[1;34m~\u001b[0m# ";
const COLOURS = ["red", "green", "yellow", "blue", "magenta", "cyan"].map(
  (name, index) => `\u001b[3${index + 1}m${name}\u001b[0m`,
);
terminal.write(
  [
    "\u001b[2m[    1.694120] Freeing unused kernel image (initmem) memory: 540K\u001b[0m",
    "smart-os: init scripts: /etc/init.d/rcS",
    " Linux 6.12.48, up after 2.31 s",
    "",
    `${PROMPT}ls -l /etc/init.d`,
    "-rwxr-xr-x    1 root     root           612 Jan  1 00:00 \u001b[1;32mnetwork\u001b[0m",
    "-rwxr-xr-x    1 root     root           871 Jan  1 00:00 \u001b[1;32mrcS\u001b[0m",
    `${COLOURS.join(" ")} \u001b[90mgrey\u001b[0m 中文宽字符 https://kernel.org`,
    PROMPT,
  ].join("\r\n"),
);
const screen = machineScreen.firstElementChild as HTMLElement;
screen.textContent = Array.from({ length: 25 }, (_, line) =>
  (line === 0 ? "SeaBIOS (version 1.16.2)" : line === 2 ? "Booting from ROM..." : "").padEnd(80),
).join("\n");
