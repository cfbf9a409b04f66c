/** The thread behind snapshot-client.ts. */
import type { SnapshotAnswer, SnapshotRequest } from "./snapshot-client.ts";
import { openSnapshotStorage, type SnapshotStorage } from "./snapshot-storage.ts";

/** What a worker's global scope has, as far as it is used: the page's types know only windows. */
const port = globalThis as unknown as {
  onmessage: ((event: MessageEvent<SnapshotRequest>) => void) | null;
  postMessage(message: SnapshotAnswer, transfer: Transferable[]): void;
};

let storage: Promise<SnapshotStorage> | null = null;

port.onmessage = async ({ data: { id, method, parameters } }) => {
  try {
    storage ??= openSnapshotStorage();
    const opened = (await storage) as unknown as Record<string, (...values: unknown[]) => Promise<unknown>>;
    const value = await opened[method]?.(...parameters);
    const state = value instanceof ArrayBuffer ? value : (value as { state?: ArrayBuffer } | null)?.state;
    port.postMessage({ id, value }, state ? [state] : []);
  } catch (error) {
    const { name, message } =
      error instanceof Error || error instanceof DOMException ? error : new Error(String(error));
    if (name !== "Error") storage = null;
    port.postMessage({ id, error: { name, message } }, []);
  }
};
