/** Files from outside, as the page asks for them: each is opened anew, and nothing of it stays here. */
import { transfer } from "comlink";
import type { Answer, BuilderApi, ForeignFile, ReadDisk, TakeExtent } from "./api.ts";
import { answer } from "./build.ts";
import { SNAPSHOT } from "./bundle.ts";
import { inOrder, writePieces } from "./export.ts";
import { type FileTree, FormatError, quote } from "./format/file-tree.ts";
import type { BlockSource, Extent } from "./format/sparse-image.ts";
import { inspectFile, openBundle, openDisk, openKernel, openTree, overlayOf } from "./import.ts";

type ForeignApi = Pick<
  BuilderApi,
  "inspectFile" | "openBundle" | "openFiles" | "openKernel" | "takeDisk" | "takeSnapshot"
>;

/**
 * @param begin ends what is under way and starts something
 * @param loadBase the default root file system
 */
export function foreignFiles(
  begin: () => AbortSignal,
  loadBase: (signal: AbortSignal) => Promise<FileTree>,
): ForeignApi {
  const opening = <T>(
    { name, sizeBytes }: ForeignFile,
    read: ReadDisk,
    run: (source: BlockSource, options: { name: string; signal: AbortSignal }) => Promise<T>,
  ): Promise<Answer<T>> => {
    const signal = begin();
    return answer(signal, () => run({ size: sizeBytes, read }, { name, signal }));
  };

  return {
    inspectFile: (file, read) => opening(file, read, inspectFile),
    openBundle: (file, read) =>
      opening(file, read, async (source, options) => {
        const { project, disks, extras } = await openBundle(source, options);
        return {
          project,
          contents: disks.map(({ disk, size }) => ({ id: disk.id, sizeBytes: size })),
          hasSnapshot: extras.some(({ name }) => name === SNAPSHOT),
        };
      }),
    openFiles: (file, read) =>
      opening(file, read, async (source, options) => {
        const tree = await openTree(source, options);
        const overlay = overlayOf(tree, await loadBase(options.signal));
        // Nothing boots without /init: such an archive is laid over the default system instead of taking its place.
        return tree.has("/init") ? overlay : overlay.filter(({ kind }) => kind !== "deleted");
      }),
    openKernel: (file, read) => opening(file, read, openKernel),
    takeDisk: (file, read, id, take) =>
      opening(file, read, async (source, options) => {
        const bundled =
          id === null ? null : (await openBundle(source, options)).disks.find(({ disk }) => disk.id === id);
        const disk = bundled ?? (await openDisk(source, options));
        await giveAll(disk.extents(), take, options.signal);
        return disk.size;
      }),
    takeSnapshot: (file, read, take) =>
      opening(file, read, async (source, options) => {
        const { extras } = await openBundle(source, options);
        const found = extras.find(({ name }) => name === SNAPSHOT);
        if (!found) throw new FormatError(`Cannot open ${quote(options.name)}: there is no saved machine in it`);
        await giveAll(inOrder(found.content()), take, options.signal);
        return found.size;
      }),
  };
}

async function giveAll(
  extents: Iterable<Extent> | AsyncIterable<Extent>,
  take: TakeExtent,
  signal: AbortSignal,
): Promise<void> {
  async function* wanted(): AsyncGenerator<Extent> {
    for await (const extent of extents) {
      signal.throwIfAborted();
      yield extent;
    }
  }
  await writePieces(wanted(), (offset, bytes) => take(transfer({ offset, bytes }, [bytes.buffer])));
}
