/**
 * `window.smartos` for the page around an embed, by `postMessage`: requests `{id, method, args}`, answers `{id, result}` or
 * `{id, error}`, and events. Only pages of the origins that the embed's own address names are heard and told anything.
 * docs/embedding.md has an example.
 */

import { sentenceOf } from "./sentence.ts";
import type { PageState, SmartOs } from "./smartos.ts";
import type { Store } from "./state.ts";

/** What the frame tells the page around it by itself. */
export type EmbedEvent =
  /** From now on requests are heard. */
  | { event: "loaded" }
  | { event: "state"; state: PageState }
  /** What the machine printed, without escape sequences. */
  | { event: "output"; text: string };

export interface EmbeddingParts {
  api: SmartOs;
  store: Store;
  /** Exact origins, such as `https://example.org`. */
  origins: readonly string[];
  onPrinted(listener: (text: string) => void): void;
}

/** What is printed meanwhile goes together. */
const GATHER_MS = 50;

export function listenToParent({ api, store, origins, onPrinted }: EmbeddingParts): void {
  if (window.parent === window || origins.length === 0) return;
  // The browser hands a message over only when the page around is of that very origin.
  const tell = (message: EmbedEvent): void => {
    for (const origin of origins) window.parent.postMessage(message, origin);
  };

  addEventListener("message", ({ source, origin, data }: MessageEvent<unknown>) => {
    if (source !== window.parent || !origins.includes(origin)) return;
    const { id, method, args = [] } = (data ?? {}) as { id?: unknown; method?: unknown; args?: unknown };
    if (typeof id !== "string" && typeof id !== "number") return;
    const answer = (message: object): void => window.parent.postMessage({ id, ...message }, origin);
    call(api, method, args)
      // What cannot be sent is an error as well.
      .then((result) => answer({ result }))
      .catch((error: unknown) => answer({ error: sentenceOf(error) }));
  });

  let text = "";
  onPrinted((printed) => {
    if (text === "")
      setTimeout(() => {
        tell({ event: "output", text });
        text = "";
      }, GATHER_MS);
    text += printed;
  });
  let last = "";
  store.subscribe(() => {
    const state = api.state();
    // The clock alone is no news.
    const key = JSON.stringify({ ...state, uptimeMs: 0 });
    if (key === last) return;
    last = key;
    tell({ event: "state", state });
  });
  tell({ event: "loaded" });
}

/** @param method as on `window.smartos`: "run", "disks.create" */
async function call(api: SmartOs, method: unknown, args: unknown): Promise<unknown> {
  const unknown = `Cannot call ${JSON.stringify(method)}: there is no such function`;
  if (typeof method !== "string" || !Array.isArray(args)) throw new Error(unknown);
  let owner: unknown;
  let value: unknown = api;
  for (const name of method.split(".")) {
    // Own properties are the interface; what every object inherits is not.
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) throw new Error(unknown);
    owner = value;
    value = (value as Record<string, unknown>)[name];
  }
  if (typeof value === "function") return value.apply(owner, args);
  // `ready`.
  if (value instanceof Promise) return value;
  throw new Error(unknown);
}
