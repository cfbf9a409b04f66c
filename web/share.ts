/**
 * Projects that come in by a link, and the links that the page makes. What comes from outside is opened in a worker of its
 * own, shown, and taken only when the user says so: to look at, or as a new project. Nothing of the user's is overwritten.
 */
import defaults from "virtual:rootfs";
import type { Builder } from "./builder.ts";
import type { Disks } from "./disks.ts";
import { chooseSink } from "./export-sink.ts";
import type { Exports } from "./exports.ts";
import { fetchFile } from "./import-address.ts";
import { type Found, openImport } from "./imports.ts";
import { type Library, newId } from "./library.ts";
import { complain, type Notify } from "./notify.ts";
import { describeOffer } from "./offer.ts";
import { type Project, uniqueName } from "./project.ts";
import { MOST_LINK_LENGTH, projectLink, readProjectLink } from "./project-link.ts";
import { CancelledError } from "./sentence.ts";
import type { FoundFile, ProjectLink, ShareActions, ShareState } from "./share-state.ts";
import type { Snapshots } from "./snapshots.ts";
import type { Store } from "./state.ts";
import { textOf } from "./text.ts";
import { throttle } from "./throttle.ts";
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
  /** Looks at a file and asks the user; false: it was refused, which was said. */
  offerFile(file: File): Promise<boolean>;
  /** Likewise for a file that is loaded from an address. */
  offerAddress(address: string): Promise<boolean>;
  /** Takes a file as a new project without asking; resolves when that has booted, or failed to. @throws Error with a sentence */
  importFile(file: File): Promise<{ id: string; name: string }>;
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
  /** Opens and boots; resolves when there is a prompt, or a problem. */
  openProject(id: string, fromDisk: boolean): Promise<void>;
  disks: Disks;
  /** The user turned a project away: the page goes on with what it has. */
  onTurnedAway(): void;
  onNetworkAllowed(): void;
  exports: Exports;
  snapshots: Pick<Snapshots, "importFile" | "restore">;
  saveAs(blob: Blob, name: string): void;
}

function describeFound(file: File, { inspection, startsFromDisk, stranger }: Found): FoundFile {
  const found: FoundFile = {
    fileName: file.name,
    sizeBytes: file.size,
    kind: inspection.kind,
    container: "container" in inspection ? inspection.container : "",
    fileSystem: "",
    label: "",
    partitions: 0,
    disks: inspection.kind === "bundle" ? inspection.disks.map(({ name, size }) => ({ name, sizeBytes: size })) : [],
    startsFromDisk,
    snapshot: inspection.kind === "bundle" && inspection.snapshot,
  };
  if (inspection.kind !== "disk") return found;
  const { fileSystem, label, partitions } = inspection.content;
  const disks = stranger.disks.map(({ name }) => ({ name, sizeBytes: inspection.size ?? 0 }));
  return { ...found, fileSystem: fileSystem ?? "", label, partitions, disks };
}

interface Taken {
  project: Project;
  booted: Promise<void>;
}

/** A link that is not open by then never will be. */
const OPEN_MS = 10_000;

export function createShare(parts: ShareParts): Share {
  const { store, workspace, library, notify, opener } = parts;
  const text = () => textOf(store.state.language).share;
  let waiting: { stranger: Stranger; found: Found | null } | null = null;
  let arriving: AbortController | null = null;

  const emit = (change: Partial<ShareState>): void =>
    store.update((state) => ({ ...state, share: { ...state.share, ...change } }));
  const refresh = (): void => {
    const visiting = library.isVisiting(workspace.project.id);
    const asksNetwork = !mayConnect();
    const { share } = store.state;
    if (share.visiting !== visiting || share.asksNetwork !== asksNetwork) emit({ visiting, asksNetwork });
  };
  const mayConnect = (): boolean => workspace.project.network.stranger !== true;
  const forgetAddress = (): void => {
    const address = new URL(location.href);
    address.searchParams.delete("image");
    if (readProjectLink(location.href) !== null) address.hash = "";
    history.replaceState(history.state, "", address.pathname + address.search + address.hash);
  };

  /** Does something with a file from outside that may take a while, can be ended, and may be refused. */
  const arrive = async <T>(name: string, run: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    arriving?.abort();
    const abort = new AbortController();
    arriving = abort;
    emit({ arrival: { name, done: 0, total: 0 } });
    try {
      return await run(abort.signal);
    } catch (error) {
      throw abort.signal.aborted ? new CancelledError(text().arrivalCancelled(name)) : error;
    } finally {
      if (arriving === abort) {
        arriving = null;
        emit({ arrival: null });
      }
    }
  };
  const showArrival = (name: string, total: number): ((done: number) => void) =>
    throttle((done) => emit({ arrival: { name, done, total } }));
  const open = (file: File): Promise<Found> =>
    arrive(file.name, (signal) => openImport(file, opener, parts.disks, signal));
  /** Stores what a file has, and then the project: nothing is left of one that is damaged. */
  const takeFile = async (found: Found, name: string): Promise<Taken> => {
    const total =
      found.inspection.kind === "bundle" ? found.inspection.disks.reduce((sum, { size }) => sum + size, 0) : 0;
    const id = newId();
    const { disks, snapshot } = await arrive(name, async (signal) => {
      const file = (await found.takeSnapshot?.(signal)) ?? null;
      const taken = await found.takeDisks(signal, showArrival(name, total));
      if (!file) return { disks: taken.disks, snapshot: null };
      try {
        const coming = { id, diskIds: taken.ids };
        return { disks: taken.disks, snapshot: await parts.snapshots.importFile(file, name, coming) };
      } catch (error) {
        for (const disk of taken.disks) await parts.disks.dropContent(disk.id).catch(() => {});
        throw error;
      }
    });
    const taken = take({ ...found.stranger, disks }, true, found.startsFromDisk, id);
    // What starts first is what anybody would see of the project; the machine that was saved is a click away.
    if (snapshot)
      void taken.booted.then(() => {
        if (workspace.project.id !== id) return;
        const { snapshotCame, goOnWith } = text();
        const run = (): void =>
          void parts.snapshots.restore(snapshot.id).catch((error: unknown) => complain(notify, error));
        if (snapshot.unfit) notify("warning", text().snapshotUnfit(snapshot.name));
        else notify("info", snapshotCame(snapshot.name), { label: goOnWith, run });
      });
    return taken;
  };

  const take = (stranger: Stranger, keep: boolean, startsFromDisk = false, id?: string): Taken => {
    const taken = library.list().map(({ name }) => name);
    const name = uniqueName(stranger.name, taken);
    const now = Date.now();
    const project = library.adopt({ ...stranger, name, createdAt: now, updatedAt: now }, keep, id);
    const booted = parts.openProject(project.id, startsFromDisk);
    refresh();
    return { project, booted };
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
        const stranger: Stranger = {
          ...{ version: 1, name, files, commandLine, memoryMb, components: [], disks: [] },
          network: { ...network, relay: null, stranger: true },
          ...{ createdAt: 0, updatedAt: 0 },
        };
        waiting = { stranger, found: null };
        emit({ offer: describeOffer(waiting.stranger, defaults, null) });
        return true;
      } catch (error) {
        forgetAddress();
        complain(notify, error);
        return false;
      }
    },
    async offerFile(file) {
      try {
        const found = await open(file);
        waiting = { stranger: found.stranger, found };
        emit({ offer: describeOffer(found.stranger, defaults, describeFound(file, found)) });
        return true;
      } catch (error) {
        complain(notify, error);
        return false;
      }
    },
    async offerAddress(address) {
      try {
        return share.offerFile(await arrive(address, (signal) => fetchFile(address, signal, showArrival, text())));
      } catch (error) {
        complain(notify, error);
        return false;
      }
    },
    async importFile(file) {
      const found = await open(file);
      const { project, booted } = await takeFile(found, found.stranger.name);
      await booted;
      return { id: project.id, name: project.name };
    },
    async makeLink() {
      const packed = await opener.encodeLink(workspace.project);
      return { url: projectLink(location.href, packed), tooLong: packed.length > MOST_LINK_LENGTH };
    },
    actions: {
      exportName: (kind) => parts.exports.nameOf(kind),
      async export(kind, signal, onProgress, options) {
        const name = parts.exports.nameOf(kind);
        try {
          const blob = await parts.exports.make(kind, await chooseSink(name), { signal, onProgress }, options);
          if (blob) parts.saveAs(blob, name);
          return true;
        } catch (error) {
          if (error instanceof DOMException && error.name === "AbortError") return false;
          throw error;
        }
      },
      makeLink: () => share.makeLink(),
      answerOffer(answer) {
        const answered = waiting;
        waiting = null;
        emit({ offer: null });
        // A reload asks again about what is not kept.
        if (answer !== "try") forgetAddress();
        if (!answered || !answer) return parts.onTurnedAway();
        const { stranger, found } = answered;
        if (!found) take(stranger, answer === "keep");
        else
          takeFile(found, stranger.name).catch((error: unknown) => {
            complain(notify, error);
            parts.onTurnedAway();
          });
      },
      openFile: (file) => void share.offerFile(file),
      cancelArrival: () => arriving?.abort(),
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
