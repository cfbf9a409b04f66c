/** `smart-os build`: a project becomes an image. */
import { SYSTEM_DISK } from "../web/project.ts";
import type { SparseImage } from "../worker/api.ts";
import { buildDisk, build as buildInitramfs } from "../worker/build.ts";
import { encodeBundle } from "../worker/bundle.ts";
import { gzipDisk, gzipStream, packCluster } from "../worker/compress.ts";
import { inOrder } from "../worker/export.ts";
import { clustersOf, type DiskStream, type Piece, streamOf } from "../worker/format/disk-stream.ts";
import type { FileTree } from "../worker/format/file-tree.ts";
import { encodeCompressedQcow2 } from "../worker/format/qcow2.ts";
import { encodeTar, tarEntriesOf } from "../worker/format/tar.ts";
import { encodeVmdk } from "../worker/format/vmdk.ts";
import { composeIso } from "../worker/iso.ts";
import { composeTree } from "../worker/recipe.ts";
import type { SharedProject } from "../worker/shared-project.ts";
import { writeFile } from "./files.ts";
import type { Options } from "./main.ts";
import { CliError, UsageError } from "./problem.ts";
import { type LoadedProject, loadProject } from "./project.ts";
import { readInputs, readSystem } from "./system.ts";

const MOST_DISK_MB = 64 * 1024;
const FILE_SYSTEMS = ["ext2", "ext3", "ext4"] as const;
const CLUSTER_BYTES = 64 * 1024;
const HOLE_BYTES = 1024 * 1024;
const never = new AbortController().signal;

interface Context extends LoadedProject {
  options: Options;
  /** The last part of the output's name. */
  name: string;
}

type Make = (context: Context) => Promise<AsyncGenerator<Piece>>;

/** Kinds of images by the endings of their names. Longer ones come before those that they end in. */
export const KINDS: Record<string, Make> = {
  "img.gz": async (context) => inOrder(gzipDisk(await diskOf(context))),
  img: async (context) => rawPieces(await diskOf(context)),
  qcow2: async (context) => encodeCompressedQcow2(await diskOf(context), packCluster),
  vmdk: async (context) => inOrder(encodeVmdk(await diskOf(context), context.name)),
  iso: async ({ project }) => {
    const parts = { kernel: kernelOf(project), cd: readSystem("cd.img") };
    return inOrder(composeIso(await treeOf(project), parts, project));
  },
  "cpio.gz": async ({ project }) => inOrder([await initramfsOf(project, "gzip")]),
  cpio: async ({ project }) => inOrder([await initramfsOf(project, "none")]),
  "tar.gz": async ({ project }) => inOrder(gzipStream(encodeTar(tarEntriesOf(await treeOf(project))))),
  tar: async ({ project }) => inOrder(encodeTar(tarEntriesOf(await treeOf(project)))),
  smartos: async ({ project, disks, extras }) => inOrder(encodeBundle(project, disks, extras)),
  bzImage: async ({ project }) => inOrder([kernelOf(project)]),
};

function kernelOf({ kernel }: SharedProject): Uint8Array<ArrayBuffer> {
  return kernel?.content ?? readSystem("bzImage");
}

const ALIASES: Record<string, string> = { raw: "img", tgz: "tar.gz", zip: "smartos" };

export async function build(words: string[], options: Options): Promise<number> {
  const { output } = options;
  if (output === undefined) throw new UsageError("Cannot build: where to? -o FILE");
  if (words.length > 1) throw new UsageError(`Cannot build ${words.length} projects at once: name one`);
  const kind = kindOf(output, options.format);
  const loaded = await loadProject(words[0], options.kernel);
  try {
    const name = output.split("/").at(-1) as string;
    const pieces = await (KINDS[kind] as Make)({ ...loaded, options, name });
    await writeFile(output, options.quiet ? pieces : showing(pieces, output), kind !== "qcow2");
  } finally {
    await loaded.close();
  }
  return 0;
}

function kindOf(output: string, format: string | undefined): string {
  const known = `the kinds are ${Object.keys(KINDS).join(", ")}`;
  if (format !== undefined) {
    const kind = ALIASES[format] ?? format;
    if (!Object.hasOwn(KINDS, kind)) throw new UsageError(`Cannot build ${format}: ${known}`);
    return kind;
  }
  if (output === "-") throw new UsageError(`Cannot build to standard output: of which kind? --format KIND; ${known}`);
  const ending = [...Object.keys(KINDS), ...Object.keys(ALIASES)].find(
    (kind) => output.endsWith(`.${kind}`) || output.split("/").at(-1) === kind,
  );
  if (ending === undefined) throw new UsageError(`Cannot build ${output}: its name tells no kind; ${known}`);
  return ALIASES[ending] ?? ending;
}

/** A disk of the bundle as it is, or one that is built. */
async function diskOf({ project, disks, options }: Context): Promise<DiskStream> {
  const isNamed = options.disk !== undefined;
  const listed = project.disks.find((disk) => (isNamed ? disk.name === options.disk : disk.kind === "system"));
  if (isNamed && !listed) throw new CliError(`Cannot find the disk ${options.disk}: the project has no such disk`);
  const content = listed && disks.get(listed.id);
  const isWished = [options.size, options["file-system"], options.swap].some((wish) => wish !== undefined);
  if (content && (isNamed || !isWished)) return content;
  if (isNamed) throw new CliError(`Cannot take the disk ${options.disk}: its content is not in the bundle`);
  return streamOf(await buildSystemDisk(project, options));
}

export async function buildSystemDisk(project: SharedProject, options: Options = {}): Promise<SparseImage> {
  const listed = project.disks.find(({ kind }) => kind === "system");
  const sizeMb = options.size === undefined ? (listed?.sizeMb ?? SYSTEM_DISK.sizeMb) : Number(options.size);
  if (!Number.isInteger(sizeMb) || sizeMb < 1 || sizeMb > MOST_DISK_MB)
    throw new UsageError(`Cannot build a disk of ${options.size} MB: --size takes 1 to ${MOST_DISK_MB}`);
  const swapMb = options.swap === undefined ? (listed?.swapMb ?? 0) : Number(options.swap);
  if (!Number.isInteger(swapMb) || swapMb < 0 || swapMb > MOST_DISK_MB)
    throw new UsageError(`Cannot build a swap partition of ${options.swap} MB: --swap takes 0 to ${MOST_DISK_MB}`);
  const wish = options["file-system"] ?? listed?.fileSystem;
  const fileSystem = FILE_SYSTEMS.find((known) => known === wish) ?? SYSTEM_DISK.fileSystem;
  if (options["file-system"] !== undefined && fileSystem !== wish)
    throw new UsageError(`Cannot build a disk with ${wish}: --file-system takes ${FILE_SYSTEMS.join(", ")}`);
  const { files: overlay, commandLine, kernel } = project;
  const own = kernel ? { kernel: kernel.content } : {};
  const request = {
    overlay,
    sizeMb,
    swapMb,
    fileSystem,
    commandLine,
    label: listed?.label ?? SYSTEM_DISK.label,
    ...own,
  };
  const result = await buildDisk(request, readInputs(), never, () => {});
  if (!result.ok) throw new CliError(result.problem);
  return result.image;
}

export async function initramfsOf(
  project: SharedProject,
  compression: "none" | "gzip",
): Promise<Uint8Array<ArrayBuffer>> {
  const { files: overlay, memoryMb } = project;
  const request = { target: "initramfs", overlay, compression, memoryMb } as const;
  const result = await buildInitramfs(request, readInputs(), never, () => {});
  if (!result.ok) throw new CliError(result.problem);
  return result.bytes;
}

async function treeOf(project: SharedProject): Promise<FileTree> {
  const inputs = readInputs();
  return composeTree(await inputs.loadParts(), inputs.defaults, project.files);
}

/** The whole disk, zeros and all, as a pipe needs it. */
async function* rawPieces(disk: DiskStream): AsyncGenerator<Piece> {
  let end = 0;
  const zeros = function* (to: number): Generator<Piece> {
    for (; end < to; ) {
      const bytes = new Uint8Array(Math.min(HOLE_BYTES, to - end));
      yield { offset: end, bytes };
      end += bytes.length;
    }
  };
  for await (const { index, bytes } of clustersOf(disk, CLUSTER_BYTES)) {
    yield* zeros(index * CLUSTER_BYTES);
    const part = bytes.subarray(0, disk.size - end);
    yield { offset: end, bytes: part };
    end += part.length;
  }
  yield* zeros(disk.size);
}

/** Says on a terminal how much is done. */
async function* showing(pieces: AsyncIterable<Piece>, name: string): AsyncGenerator<Piece> {
  let bytes = 0;
  let shownAt = performance.now();
  const say = (end: string): void => {
    if (process.stderr.isTTY) process.stderr.write(`\r${name}: ${(bytes / 1e6).toFixed(1)} MB${end}`);
  };
  for await (const piece of pieces) {
    bytes += piece.bytes.length;
    if (performance.now() - shownAt > 200) {
      shownAt = performance.now();
      say("");
    }
    yield piece;
  }
  say("\n");
}
