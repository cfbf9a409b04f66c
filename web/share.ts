/**
 * Projects that come in by a link, and the links that the page makes. What comes from outside is opened in a worker of its
 * own, shown, and taken only when the user says so: to look at, or as a new project. Nothing of the user's is overwritten.
 */
import defaults from "virtual:rootfs";
import type { Builder } from "./builder.ts";
import { chooseSink } from "./export-sink.ts";
import type { Exports } from "./exports.ts";
import type { Library } from "./library.ts";
import type { Notify } from "./notify.ts";
import { describeOffer } from "./offer.ts";
import { type Project, uniqueName } from "./project.ts";
import { MOST_LINK_LENGTH, projectLink, readProjectLink } from "./project-link.ts";
import type { ProjectLink, ShareActions, ShareState } from "./share-state.ts";
import type { Store } from "./state.ts";
import { textOf } from "./text.ts";
import type { Workspace } from "./workspace.ts";

/** A project from outside without an id and a place in the library. */
export type Stranger = Omit<Project, "id">;

export interface Share {
  readonly actions: ShareActions;
  /** Whether the guest may go online: always for one's own projects, after a word for those from outside. */
  mayConnect(): boolean;
  /** The page's address names a project. Resolves when the user can look at it; false: it is none, which was said. */
  followLink(): Promise<boolean>;
  makeLink(): Promise<ProjectLink>;
  /** Another project is open, or the open one has changed. */
  refresh(): void;
}

export interface ShareParts {
  store: Store;
  workspace: Workspace;
  library: Library;
  notify: Notify;
  /** For what comes from outside; not the one that builds. */
  opener: Builder;
  /** Opens and boots. */
  openProject(id: string): void;
  /** The user turned a project away: the page goes on with what it has. */
  onTurnedAway(): void;
  onNetworkAllowed(): void;
  exports: Exports;
  saveAs(blob: Blob, name: string): void;
}

/** A link that is not open by then never will be. */
const OPEN_MS = 10_000;

export function createShare(parts: ShareParts): Share {
  const { store, workspace, library, notify, opener } = parts;
  const text = () => textOf(store.state.language).share;
  let waiting: Stranger | null = null;

  const emit = (change: Partial<ShareState>): void =>
    store.update((state) => ({ ...state, share: { ...state.share, ...change } }));
  const refresh = (): void => {
    const visiting = library.isVisiting(workspace.project.id);
    const asksNetwork = !mayConnect();
    const { share } = store.state;
    if (share.visiting !== visiting || share.asksNetwork !== asksNetwork) emit({ visiting, asksNetwork });
  };
  const mayConnect = (): boolean => workspace.project.network.stranger !== true;
  const forgetAddress = (): void => history.replaceState(history.state, "", location.pathname + location.search);

  const take = (stranger: Stranger, keep: boolean): void => {
    const taken = library.list().map(({ name }) => name);
    const name = uniqueName(stranger.name, taken);
    const now = Date.now();
    const project = library.adopt({ ...stranger, name, createdAt: now, updatedAt: now }, keep);
    parts.openProject(project.id);
    refresh();
  };

  const share: Share = {
    mayConnect,
    refresh,
    async followLink() {
      const packed = readProjectLink(location.href);
      if (packed === null) return false;
      try {
        const { name, files, commandLine, memoryMb, network } = await opener.openLink(
          packed,
          AbortSignal.timeout(OPEN_MS),
        );
        // The address may have changed meanwhile: then that one is the user's wish.
        if (readProjectLink(location.href) !== packed) return share.followLink();
        waiting = {
          ...{ version: 1, name, files, commandLine, memoryMb, components: [], disks: [] },
          network: { ...network, relay: null, stranger: true },
          ...{ createdAt: 0, updatedAt: 0 },
        };
        emit({ offer: describeOffer(waiting, defaults, "link") });
        return true;
      } catch (error) {
        forgetAddress();
        notify("error", error instanceof Error ? error.message : String(error));
        return false;
      }
    },
    async makeLink() {
      const packed = await opener.encodeLink(workspace.project);
      return { url: projectLink(location.href, packed), tooLong: packed.length > MOST_LINK_LENGTH };
    },
    actions: {
      exportName: (kind) => parts.exports.nameOf(kind),
      async export(kind, signal, onProgress) {
        const name = parts.exports.nameOf(kind);
        try {
          const blob = await parts.exports.make(kind, await chooseSink(name), { signal, onProgress });
          if (blob) parts.saveAs(blob, name);
          return true;
        } catch (error) {
          if (error instanceof DOMException && error.name === "AbortError") return false;
          throw error;
        }
      },
      makeLink: () => share.makeLink(),
      answerOffer(answer) {
        const stranger = waiting;
        waiting = null;
        emit({ offer: null });
        // A reload asks again about what is not kept.
        if (answer !== "try") forgetAddress();
        if (stranger && answer) take(stranger, answer === "keep");
        else parts.onTurnedAway();
      },
      keep() {
        library.keep(workspace.project.id);
        forgetAddress();
        refresh();
        notify("info", text().kept(workspace.project.name));
      },
      allowNetwork() {
        if (!store.state.writable) return notify("error", textOf(store.state.language).readOnlyError);
        const { stranger: _, ...network } = workspace.project.network;
        workspace.replaceNetwork(network);
        refresh();
        parts.onNetworkAllowed();
      },
    },
  };
  return share;
}
