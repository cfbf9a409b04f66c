import type { DriveDevice } from "../../web/drives.ts";

/** A disk in memory. `bytes` is what is on it, always. */
export function memoryDrive(bytes: Uint8Array): DriveDevice & { bytes: Uint8Array; reads: number; writes: number } {
  const device = {
    bytes,
    reads: 0,
    writes: 0,
    byteLength: bytes.length,
    onload: undefined as undefined | ((event: object) => void),
    load: () => device.onload?.({}),
    get(offset: number, length: number, done: (bytes: Uint8Array) => void) {
      device.reads += 1;
      done(bytes.subarray(offset, offset + length));
    },
    set(offset: number, data: Uint8Array, done: () => void) {
      device.writes += 1;
      bytes.set(data, offset);
      done();
    },
    get_from_cache: (offset: number, length: number) => bytes.subarray(offset, offset + length),
    get_buffer: (done: (buffer?: ArrayBuffer) => void) => done(),
    get_state: () => [],
    set_state: () => {},
  };
  return device;
}
