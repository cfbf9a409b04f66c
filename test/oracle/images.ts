/** Disks for the tests of image formats, and files made of what writers yield. */
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import type { Piece } from "../../worker/format/disk-stream.ts";
import type { BlockSource, Extent, SparseImage } from "../../worker/format/sparse-image.ts";

const MIB = 1024 * 1024;

/** A folder that is gone when the tests of a file are over. */
export function scratchFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `smart-os-${name}-`));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Bytes that do not get smaller by packing, the same for the same seed. */
export function noise(length: number, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let state = seed | 1;
  for (let at = 0; at < length; at += 1) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) | 0;
    bytes[at] = state >>> 16;
  }
  return bytes;
}

function text(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.alloc(length, "The quick brown fox jumps over the lazy dog. "));
}

/** Data at clusters' borders, in their middle, over several of them, of every kind, and at the disk's very end. */
export function sampleDisk(size = 520 * MIB + 512): SparseImage {
  const extents: Extent[] = [
    { offset: 0, bytes: text(512) },
    { offset: 1024, bytes: text(100) },
    { offset: 65_536, bytes: noise(65_536, 1) },
    { offset: 131_072, bytes: text(65_536) },
    { offset: 200_000, bytes: noise(500_001, 2) },
    { offset: MIB, bytes: new Uint8Array(MIB) },
    { offset: 2 * MIB, bytes: text(3 * MIB) },
    // Behind what one table of second level covers.
    { offset: 512 * MIB - 1000, bytes: text(2000) },
    { offset: 515 * MIB + 1, bytes: noise(70_000, 3) },
    { offset: size - 512, bytes: noise(512, 4) },
  ];
  return { size, extents };
}

/** As `dd` would: holes stay holes. */
export function writeRaw(path: string, { size, extents }: SparseImage): string {
  const handle = openSync(path, "w");
  ftruncateSync(handle, size);
  for (const { offset, bytes } of extents) writeSync(handle, bytes, 0, bytes.length, offset);
  closeSync(handle);
  return path;
}

export async function writePieces(path: string, pieces: AsyncIterable<Piece>): Promise<string> {
  const handle = openSync(path, "w");
  for await (const { offset, bytes } of pieces) writeSync(handle, bytes, 0, bytes.length, offset);
  closeSync(handle);
  return path;
}

export async function writeStream(path: string, parts: AsyncIterable<Uint8Array>): Promise<string> {
  writeFileSync(path, await collect(parts));
  return path;
}

export async function collect(parts: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const all: Uint8Array[] = [];
  // Its memory is used anew for the next one.
  for await (const part of parts) all.push(part.slice());
  return new Uint8Array(Buffer.concat(all));
}

export async function collectPieces(pieces: AsyncIterable<Piece>): Promise<Uint8Array<ArrayBuffer>> {
  let bytes = new Uint8Array(MIB);
  let end = 0;
  for await (const piece of pieces) {
    end = Math.max(end, piece.offset + piece.bytes.length);
    if (end > bytes.length) {
      const larger = new Uint8Array(end * 2);
      larger.set(bytes);
      bytes = larger;
    }
    bytes.set(piece.bytes, piece.offset);
  }
  return bytes.slice(0, end);
}

export function bytesSource(bytes: Uint8Array): BlockSource {
  return {
    size: bytes.length,
    async read(offset, length) {
      if (offset < 0 || length < 0 || offset + length > bytes.length)
        throw new Error(`Cannot read ${length} bytes at ${offset}: the file ends at ${bytes.length}`);
      return new Uint8Array(bytes.subarray(offset, offset + length));
    },
  };
}
