import { CancelledError, sentenceOf } from "./sentence.ts";
import type { Notice, Store } from "./state.ts";

export type Notify = (kind: Notice["kind"], words: string, action?: Notice["action"]) => void;

/** More at once would hide the page. */
const MOST_NOTICES = 4;

/** Shows sentences beside the page's content until they are dismissed. */
export function createNotify(store: Store): Notify {
  let last = 0;
  return (kind, text, action) => {
    last += 1;
    const notice: Notice = { id: last, kind, text, ...(action ? { action } : {}) };
    store.update((state) => ({ ...state, notices: [...state.notices.slice(1 - MOST_NOTICES), notice] }));
  };
}

/** Shows why something was not done; what the user has ended is no fault. */
export function complain(notify: Notify, error: unknown): void {
  notify(error instanceof CancelledError ? "info" : "error", sentenceOf(error));
}
