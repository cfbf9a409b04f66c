/**
 * Web Locks of the disks. They end with the page that holds them, however it ends.
 *
 *   smart-os:disk:ID      exclusive: its one writer, be it a machine or something that rebuilds it
 *   smart-os:readers:ID   shared: a page reads layers of it that its writer leaves alone;
 *                         exclusive: layers are taken away or folded
 *   smart-os:layers       exclusive: a layer is made and locked, or those that are there are listed to be tidied up
 *   smart-os:layer:N      exclusive: the layer is being filled and belongs to no disk yet
 *   smart-os:top:N        exclusive: a machine writes to the layer;
 *                         shared: somebody asks whether one does
 */

/** Gives a lock back; it resolves when the next one can have it. */
export type Release = () => Promise<void>;

const FREE: Release = async () => {};

/** Whether this page has Web Locks. One that is served over plain http from another machine has not. */
export function hasLocks(): boolean {
  return typeof navigator !== "undefined" && navigator.locks !== undefined;
}

/** @returns null when somebody else has it and `wait` is not wanted */
export function takeLock(name: string, mode: LockMode, wait: boolean): Promise<Release | null> {
  if (!hasLocks()) return Promise.resolve(FREE);
  return new Promise((resolve, reject) => {
    const ended: Promise<unknown> = navigator.locks
      .request(`smart-os:${name}`, wait ? { mode } : { mode, ifAvailable: true }, (lock) => {
        if (!lock) {
          resolve(null);
          return undefined;
        }
        return new Promise<void>((release) =>
          resolve(async () => {
            release();
            await ended;
          }),
        );
      })
      .catch(reject);
  });
}

/** The ids of the disks that have a writer, in this page or another. */
export async function heldDisks(): Promise<string[]> {
  if (!hasLocks()) return [];
  const { held = [] } = await navigator.locks.query();
  const prefix = "smart-os:disk:";
  return held.flatMap(({ name }) => (name?.startsWith(prefix) ? [name.slice(prefix.length)] : []));
}

export const lockDisk = (id: string): Promise<Release | null> => takeLock(`disk:${id}`, "exclusive", false);
export const lockReader = (id: string): Promise<Release | null> => takeLock(`readers:${id}`, "shared", true);
export const lockReaders = (id: string): Promise<Release | null> => takeLock(`readers:${id}`, "exclusive", false);
export const lockLayer = (layer: number): Promise<Release | null> => takeLock(`layer:${layer}`, "exclusive", false);
export const lockLayers = (): Promise<Release | null> => takeLock("layers", "exclusive", true);
export const lockTop = (layer: number): Promise<Release | null> => takeLock(`top:${layer}`, "exclusive", false);
export const lockTopShared = (layer: number): Promise<Release | null> => takeLock(`top:${layer}`, "shared", false);
