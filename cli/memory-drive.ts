/** A disk of the guest in this process's memory: what is zero takes none. It is gone with the process. */
import type { DriveDevice } from "../web/drives.ts";
import { clustersOf, type DiskStream } from "../worker/format/disk-stream.ts";

const CHUNK_BYTES = 64 * 1024;

/** A part of an area of the disk: the chunk's number, the place in it, the place in the area. */
interface Part {
  index: number;
  within: number;
  at: number;
  length: number;
}

function* partsOf(offset: number, length: number): Generator<Part> {
  for (let at = 0; at < length; ) {
    const index = Math.floor((offset + at) / CHUNK_BYTES);
    const within = offset + at - index * CHUNK_BYTES;
    const part = Math.min(CHUNK_BYTES - within, length - at);
    yield { index, within, at, length: part };
    at += part;
  }
}

export async function memoryDrive(disk: DiskStream): Promise<DriveDevice> {
  const chunks = new Map<number, Uint8Array>();
  for await (const { index, bytes } of clustersOf(disk, CHUNK_BYTES)) chunks.set(index, bytes.slice());
  const read = (offset: number, length: number): Uint8Array => {
    const bytes = new Uint8Array(length);
    for (const { index, within, at, length: part } of partsOf(offset, length)) {
      const chunk = chunks.get(index);
      if (chunk) bytes.set(chunk.subarray(within, within + part), at);
    }
    return bytes;
  };
  const device: DriveDevice & { onload?: (event: object) => void } = {
    byteLength: disk.size,
    load: () => device.onload?.({}),
    get: (offset, length, done) => done(read(offset, length)),
    set(offset, data, done) {
      for (const { index, within, at, length } of partsOf(offset, data.length)) {
        let chunk = chunks.get(index);
        if (!chunk) {
          chunk = new Uint8Array(CHUNK_BYTES);
          chunks.set(index, chunk);
        }
        chunk.set(data.subarray(at, at + length), within);
      }
      done();
    },
    get_from_cache: read,
    get_buffer: (done) => done(),
    get_state: () => [],
    set_state: () => {},
  };
  return device;
}
