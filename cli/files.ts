/** Files of this machine: to read from at any place, and to write whole or not at all. */
import { type FileHandle, mkdtemp, open, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Piece } from "../worker/format/disk-stream.ts";
import type { BlockSource } from "../worker/format/sparse-image.ts";
import { CliError, messageOf } from "./problem.ts";

const COPY_BYTES = 1024 * 1024;

export interface OpenFile extends BlockSource {
  close(): Promise<void>;
}

/** @throws CliError "Cannot read PATH: …" */
export async function openFile(path: string): Promise<OpenFile> {
  const refuse = (error: unknown): never => {
    throw new CliError(`Cannot read ${path}: ${messageOf(error)}`);
  };
  const handle: FileHandle = await open(path, "r").catch(refuse);
  const status = await handle.stat();
  if (!status.isFile()) {
    await handle.close();
    throw new CliError(`Cannot read ${path}: it is no file`);
  }
  return {
    size: status.size,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      for (let filled = 0; filled < length; ) {
        const { bytesRead } = await handle.read(bytes, filled, length - filled, offset + filled).catch(refuse);
        if (bytesRead === 0) return refuse(new Error(`it ends at ${offset + filled}`));
        filled += bytesRead;
      }
      return bytes;
    },
    close: () => handle.close(),
  };
}

/**
 * Writes a file; it appears under its name when it is whole. "-" is standard output.
 * @param isInOrder the pieces follow one another
 * @throws CliError "Cannot write PATH: …"; what the pieces throw passes
 */
export async function writeFile(path: string, pieces: AsyncIterable<Piece>, isInOrder: boolean): Promise<void> {
  if (path !== "-") return writeWhole(path, pieces);
  if (isInOrder) {
    for await (const { bytes } of pieces) await print(bytes);
    return;
  }
  const folder = await mkdtemp(join(tmpdir(), "smart-os-"));
  try {
    const whole = join(folder, "image");
    await writeWhole(whole, pieces);
    const file = await openFile(whole);
    for (let at = 0; at < file.size; at += COPY_BYTES)
      await print(await file.read(at, Math.min(COPY_BYTES, file.size - at)));
    await file.close();
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Until they are written, the bytes must stay as they are. */
function print(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => process.stdout.write(bytes, (error) => (error ? reject(error) : resolve())));
}

async function writeWhole(path: string, pieces: AsyncIterable<Piece>): Promise<void> {
  const refuse = (error: unknown): never => {
    throw new CliError(`Cannot write ${path}: ${messageOf(error)}`);
  };
  const part = `${path}.part`;
  const handle: FileHandle = await open(part, "w").catch(refuse);
  try {
    for await (const { offset, bytes } of pieces)
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, offset + done).catch(refuse);
        done += bytesWritten;
      }
    await handle.close();
    await rename(part, path).catch(refuse);
  } catch (error) {
    await handle.close().catch(() => {});
    await rm(part, { force: true });
    throw error;
  }
}
