/**
 * A project in the fragment of a link, `#p=…`: what it has over the default, packed. docs/project-format.md describes it.
 * Disks and a relay's address, which may hold a token, do not travel so.
 */
import { deflateBytes } from "./compress.ts";
import { crc32 } from "./format/crc32.ts";
import { FormatError } from "./format/file-tree.ts";
import { decodeProject, encodeProject, type SharedProject } from "./shared-project.ts";
import { gather, join, unpackStream } from "./unpack.ts";

/** Of the text after `p=`. Browsers take more, but what is this long is better sent as a file. */
export const MOST_LINK_LENGTH = 32_000;
/** What a link may hold, unpacked. */
const MOST_BYTES = 8 * 1024 * 1024;
const SUM_BYTES = 4;
const NEW_LINE = 0x0a;
const WHAT = "Cannot open the link";

/** @returns what stands after `p=`: URL-safe Base64 (RFC 4648, section 5) without padding */
export function encodeLink(project: SharedProject): string {
  if (project.kernel)
    throw new FormatError(
      "Cannot make a link of the project: it has a kernel of its own, which no link can carry; download the project instead",
    );
  const { relay: _, ...network } = project.network;
  const {
    createdAt: __,
    updatedAt: ___,
    ...json
  } = JSON.parse(
    new TextDecoder().decode(encodeProject({ ...project, disks: [], network: { ...network, relay: null } })),
  );
  const contents = project.files.flatMap((file) => (file.kind === "file" ? [file.content] : []));
  const head = new TextEncoder().encode(
    `${JSON.stringify({ ...json, sizes: contents.map((content) => content.length) })}\n`,
  );
  const payload = join([head, ...contents]);
  const sum = new Uint8Array(SUM_BYTES);
  new DataView(sum.buffer).setUint32(0, crc32(payload));
  return toText(join([sum, deflateBytes(payload)]));
}

/** @throws FormatError "Cannot open the link: …" */
export async function openLink(text: string): Promise<SharedProject> {
  if (text.length > MOST_LINK_LENGTH)
    throw new FormatError(`${WHAT}: it has ${text.length} characters, ${MOST_LINK_LENGTH} is the most`);
  const payload = await unpack(toBytes(text));
  const end = payload.indexOf(NEW_LINE);
  if (end < 0) throw new FormatError(`${WHAT}: there is no project in it`);
  const head = payload.subarray(0, end);
  const { project, kernel } = decodeProject(head, WHAT);
  if (kernel !== null) throw new FormatError(`${WHAT}: it speaks of a kernel, which no link can carry`);
  const sizes = readSizes(head);
  let at = end + 1;
  const files = project.files.map((file) => file);
  // Contents stand in the order of the list in the link, which is the one in which the page keeps files.
  for (const [index, file] of files.entries()) {
    if (file.kind !== "file") continue;
    const size = sizes.shift();
    if (size === undefined || at + size > payload.length)
      throw new FormatError(`${WHAT}: the content of ${JSON.stringify(file.path)} is not in it`, file.path);
    files[index] = { ...file, content: payload.slice(at, at + size) };
    at += size;
  }
  if (sizes.length > 0 || at !== payload.length)
    throw new FormatError(`${WHAT}: it has ${payload.length - at} bytes that belong to no file`);
  return { ...project, files, disks: [], network: { ...project.network, relay: null } };
}

/** Lengths of the files' contents; the list itself was read as JSON before. */
function readSizes(head: Uint8Array): number[] {
  const { sizes = [] } = JSON.parse(new TextDecoder().decode(head)) as { sizes?: unknown };
  if (!Array.isArray(sizes) || !sizes.every((size) => Number.isSafeInteger(size) && size >= 0))
    throw new FormatError(`${WHAT}: the sizes of its files are none`);
  return sizes as number[];
}

/** CRC-32 of what follows unpacked, big-endian; then raw deflate. */
async function unpack(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const packed = (async function* () {
    yield bytes.subarray(SUM_BYTES);
  })();
  const payload = await gather(unpackStream("deflate-raw", packed, { what: WHAT, most: MOST_BYTES }));
  if (bytes.length <= SUM_BYTES || new DataView(bytes.buffer).getUint32(0) !== crc32(payload))
    throw new FormatError(`${WHAT}: it is damaged, its sum is wrong`);
  return payload;
}

function toText(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function toBytes(text: string): Uint8Array<ArrayBuffer> {
  if (!/^[\w-]+$/.test(text)) throw new FormatError(`${WHAT}: it is damaged, its text has characters that no link has`);
  try {
    return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (byte) => byte.charCodeAt(0));
  } catch {
    throw new FormatError(`${WHAT}: it is damaged or cut off`);
  }
}
