/** Files made of the project and its disks: which there are, what they are called, and how each is made. */
import type { ExportRequest } from "../worker/api.ts";
import type { Builder } from "./builder.ts";
import type { DiskContents } from "./disk-contents.ts";
import type { StoredImage } from "./disk-stored-image.ts";
import type { Sink } from "./export-sink.ts";
import { EXPORTS, type ExportKind } from "./share-state.ts";
import type { Workspace } from "./workspace.ts";

export interface Exports {
  /** @throws Error with a sentence for the user; what was written so far is dropped */
  make(kind: ExportKind, sink: Sink, work: ExportProgress, options?: ExportOptions): Promise<Blob | null>;
  /** What a file of that kind is called. */
  nameOf(kind: ExportKind): string;
}

export interface ExportOptions {
  /** The saved machine that goes along in a bundle, by id or name. */
  snapshot?: string | undefined;
}

export interface ExportProgress {
  signal: AbortSignal;
  /** In bytes; total is 0 where it is not known. */
  onProgress(done: number, total: number): void;
}

export interface ExportsParts {
  workspace: Workspace;
  disks: DiskContents;
  /** For this alone: a build does not end an export, nor the other way round. */
  exporter: Builder;
  /** The kernel, as a bzImage. */
  loadKernel(): Promise<Uint8Array<ArrayBuffer>>;
  /** A saved machine as a file. */
  loadSnapshot(key: string): Promise<Blob>;
}

export function createExports({ workspace, disks, exporter, loadKernel, loadSnapshot }: ExportsParts): Exports {
  /** The name as it can stand in a file system and in a shell's command without quotes. */
  const stem = (): string =>
    workspace.project.name.replaceAll(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[-.]+|-+$/g, "") || "smart-os";

  const send = async (
    request: ExportRequest,
    images: readonly StoredImage[],
    total: number,
    sink: Sink,
    { signal, onProgress }: ExportProgress,
  ): Promise<void> => {
    const sources = images.map((image) => ({ sizeBytes: image.source.size, extents: () => image.extents({ signal }) }));
    await exporter.exportImage(request, sources, {
      write: (offset, bytes) => sink.write(offset, bytes),
      onProgress: (done) => onProgress(Math.min(done, total || done), total),
      signal,
    });
  };

  const write = async (kind: ExportKind, sink: Sink, work: ExportProgress, options: ExportOptions): Promise<void> => {
    const { project } = workspace;
    const { files: overlay } = project;
    switch (kind) {
      case "kernel":
        return sink.write(0, project.kernel?.content ?? (await loadKernel()));
      case "initramfs":
      case "rootfs-tar":
        return send({ kind, overlay }, [], 0, sink, work);
      case "disk-iso":
        return send(
          { kind, overlay, commandLine: project.commandLine, kernel: project.kernel?.content ?? null },
          [],
          0,
          sink,
          work,
        );
      case "bundle": {
        const snapshot = options.snapshot === undefined ? null : await loadSnapshot(options.snapshot);
        return disks.withContents(async (stored) => {
          const { id: _, ...shared } = workspace.project;
          const contents = stored.map(({ image }) => image);
          const fileBytes = overlay.reduce((sum, file) => sum + (file.kind === "file" ? file.content.length : 0), 0);
          const total = stored.reduce((sum, { storedBytes }) => sum + storedBytes, fileBytes + (snapshot?.size ?? 0));
          const diskIds = stored.map(({ id }) => id);
          await send({ kind, project: shared, diskIds, snapshot }, contents, total, sink, work);
        });
      }
      default:
        return disks.withSystemDisk(work.signal, (image) =>
          send({ kind, name: stem() }, [image], image.source.size, sink, work),
        );
    }
  };

  return {
    nameOf: (kind) => stem() + EXPORTS[kind],
    async make(kind, sink, work, options = {}) {
      try {
        await write(kind, sink, work, options);
        return await sink.finish();
      } catch (error) {
        await sink.drop().catch(() => {});
        throw error;
      }
    },
  };
}
