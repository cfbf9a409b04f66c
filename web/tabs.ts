/**
 * One tab writes a project at a time. The tab that holds its Web Lock may; another one that opens it only looks on,
 * until it asks for it and the first has stored what it had and let go.
 */

export interface Tabs {
  /** Opens a project here; `onWritable` says whether this tab may change it, now and whenever that changes. */
  hold(id: string, onWritable: (writable: boolean) => void): void;
  /** Asks the tab that holds the project to give it up. */
  takeOver(): void;
  /** Tells the others that a project was stored. */
  announce(id: string): void;
}

type Message = { kind: "release" | "stored"; id: string };

/**
 * @param beforeRelease stores what is waiting
 * @param beforeGrant reads the project again, before this tab may change it
 * @param onStored another tab has stored a project
 */
export function createTabs(
  beforeRelease: () => Promise<void>,
  beforeGrant: (id: string) => Promise<void>,
  onStored: (id: string) => void,
): Tabs {
  const channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("smart-os");
  let current: {
    id: string;
    onWritable(writable: boolean): void;
    release: (() => void) | null;
    abort: AbortController;
  } | null = null;

  const request = (mine: NonNullable<typeof current>, options: LockOptions): void => {
    navigator.locks
      .request(`smart-os:project:${mine.id}`, options, async (lock) => {
        if (current !== mine) return;
        if (!lock) {
          mine.onWritable(false);
          // Queue behind the holder: when its tab closes, this one may write.
          request(mine, { signal: mine.abort.signal });
          return;
        }
        // What the last holder stored may not have been read here yet: its message can come after its lock.
        await beforeGrant(mine.id).catch(() => {});
        if (current !== mine) return;
        const released = new Promise<void>((resolve) => {
          mine.release = resolve;
        });
        mine.onWritable(true);
        return released;
      })
      .catch(() => {});
  };

  channel?.addEventListener("message", ({ data }: MessageEvent<Message>) => {
    if (data.kind === "stored") onStored(data.id);
    if (data.kind !== "release" || current?.id !== data.id || !current.release) return;
    const mine = current;
    void beforeRelease().then(() => {
      mine.release?.();
      mine.release = null;
      mine.onWritable(false);
      mine.abort = new AbortController();
      request(mine, { signal: mine.abort.signal });
    });
  });

  return {
    hold(id, onWritable) {
      if (current?.id === id) return;
      current?.abort.abort();
      current?.release?.();
      current = { id, onWritable, release: null, abort: new AbortController() };
      // Without Web Locks (a page that is not served securely) the revision check alone guards against overwriting.
      if (!navigator.locks) return onWritable(true);
      request(current, { ifAvailable: true });
    },
    takeOver: () => current && channel?.postMessage({ kind: "release", id: current.id } satisfies Message),
    announce: (id) => channel?.postMessage({ kind: "stored", id } satisfies Message),
  };
}
