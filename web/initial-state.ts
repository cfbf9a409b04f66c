/** What the page shows before anything has been opened or started. */
import { NO_SHARE } from "./share-state.ts";
import { type AppState, MACHINE_OFF, NO_NETWORK, NO_SNAPSHOTS } from "./state.ts";

export function initialState(chosen: Pick<AppState, "language" | "theme" | "hidden" | "embed">): AppState {
  return {
    ...chosen,
    projects: [],
    project: { id: "", name: "", commandLine: "", memoryMb: 0, kernel: null },
    writable: true,
    files: [],
    openFile: null,
    pendingEdits: false,
    storage: { state: "saved" },
    machine: MACHINE_OFF,
    timeline: [],
    download: null,
    disks: [],
    quota: null,
    network: NO_NETWORK,
    snapshots: NO_SNAPSHOTS,
    share: NO_SHARE,
    notices: [],
  };
}
