/** Where a file that is made piece by piece goes: into a file of the user's, or into a Blob that the browser keeps. */

export interface Sink {
  write(offset: number, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** All is there. @returns what is to be saved yet; null when it is in its place */
  finish(): Promise<Blob | null>;
  /** Nothing is left of it. */
  drop(): Promise<void>;
}

/** The part of the File System Access API that is used; Chromium has it. */
interface SaveFilePicker {
  showSaveFilePicker?(options: { suggestedName: string }): Promise<FileSystemFileHandle>;
}

/**
 * Asks where to save a file of that name, where the browser can write into files; else it comes as a download at the end.
 * @throws DOMException AbortError when the user does not want it any more
 */
export async function chooseSink(name: string): Promise<Sink> {
  const { showSaveFilePicker } = window as SaveFilePicker;
  // A frame may not ask.
  if (!showSaveFilePicker || window.parent !== window) return createBlobSink();
  const handle = await showSaveFilePicker({ suggestedName: name });
  const file = await handle.createWritable();
  return {
    write: (position, data) => file.write({ type: "write", position, data }),
    async finish() {
      await file.close();
      return null;
    },
    drop: () => file.abort(),
  };
}

/** Pieces become small Blobs at once: their bytes are the browser's, on disk if it wants, and not this page's memory. */
export function createBlobSink(): Sink {
  let parts: { offset: number; blob: Blob }[] = [];
  return {
    async write(offset, bytes) {
      parts.push({ offset, blob: new Blob([bytes]) });
    },
    async finish() {
      let end = 0;
      const inOrder = parts.sort((a, b) => a.offset - b.offset);
      for (const { offset, blob } of inOrder) {
        if (offset !== end) throw new Error(`Cannot make the file: nothing was written at ${end}`);
        end += blob.size;
      }
      return new Blob(
        inOrder.map(({ blob }) => blob),
        { type: "application/octet-stream" },
      );
    },
    async drop() {
      parts = [];
    },
  };
}
