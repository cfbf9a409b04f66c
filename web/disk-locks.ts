/**
 * Web Locks of the disks. They end with the page that holds them, however it ends.
 *
 *   smart-os:disk:ID      exclusive: its one writer
 *   smart-os:layer:N      shared: somebody reads the layer; exclusive: it may be taken away
 *   smart-os:disk-layout  shared: somebody goes from a disk's record to its layers; exclusive: the sweep
 */

export type Release = () => void;

const FREE: Release = () => {};

/** Whether this page has Web Locks. One that is served over plain http from another machine has not. */
export function hasLocks(): boolean {
  return typeof navigator !== "undefined" && navigator.locks !== undefined;
}

/** @returns null when somebody else has it and `wait` is not wanted */
export function takeLock(name: string, mode: LockMode, wait: boolean): Promise<Release | null> {
  if (!hasLocks()) return Promise.resolve(FREE);
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(`smart-os:${name}`, wait ? { mode } : { mode, ifAvailable: true }, (lock) => {
        if (!lock) {
          resolve(null);
          return undefined;
        }
        return new Promise<void>((release) => resolve(release));
      })
      .catch(reject);
  });
}

export const writerLock = (id: string): Promise<Release | null> => takeLock(`disk:${id}`, "exclusive", false);

/** Runs something during which no layer is taken away. */
export async function withLayout<T>(run: () => Promise<T>): Promise<T> {
  const release = (await takeLock("disk-layout", "shared", true)) as Release;
  try {
    return await run();
  } finally {
    release();
  }
}

/** Keeps layers where they are. To be called inside `withLayout`. */
export async function keepLayers(layers: readonly number[]): Promise<Release> {
  const releases = await Promise.all(layers.map((layer) => takeLock(`layer:${layer}`, "shared", true)));
  return () => {
    for (const release of releases) release?.();
  };
}
