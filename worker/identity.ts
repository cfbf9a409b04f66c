import type { DiskIdentity, DiskRequest } from "./api.ts";
import { hashSha256 } from "./hash.ts";
import { jsonInOrder } from "./shared-project.ts";

/**
 * Names for a system disk that come from what is on it alone: whoever builds it, in the page or on the command line,
 * gets the same bytes. The UUID is one of version 8 (RFC 9562), made of the hash of the request; times are 0, as they are
 * in the archive that becomes an initramfs.
 */
export async function systemDiskIdentity(request: DiskRequest): Promise<DiskIdentity> {
  const { overlay, label, kernel, swapMb = 0, ...others } = request;
  const rest = swapMb > 0 ? { ...others, swapMb } : others;
  const sums: string[] = [];
  for (const file of overlay) if (file.kind === "file") sums.push(await hashSha256(file.content));
  if (kernel) sums.push(await hashSha256(kernel));
  const hash = await hashSha256(new TextEncoder().encode(jsonInOrder([overlay, label, rest, sums])));
  const uuid = Uint8Array.from({ length: 16 }, (_, at) => Number.parseInt(hash.slice(at * 2, at * 2 + 2), 16));
  uuid[6] = ((uuid[6] as number) & 0x0f) | 0x80;
  uuid[8] = ((uuid[8] as number) & 0x3f) | 0x80;
  return { uuid, label, time: 0 };
}
