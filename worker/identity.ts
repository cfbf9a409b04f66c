import type { DiskIdentity } from "./api.ts";
import { hashProject, type SharedProject } from "./shared-project.ts";

/**
 * Names for a system disk that come from the project alone: whoever builds it gets the same bytes. The UUID is one of
 * version 8 (RFC 9562), made of the project's hash.
 */
export async function projectIdentity(project: SharedProject, label: string): Promise<DiskIdentity> {
  const hash = await hashProject(project);
  const uuid = Uint8Array.from({ length: 16 }, (_, at) => Number.parseInt(hash.slice(at * 2, at * 2 + 2), 16));
  uuid[6] = ((uuid[6] as number) & 0x0f) | 0x80;
  uuid[8] = ((uuid[8] as number) & 0x3f) | 0x80;
  return { uuid, label, time: 0 };
}
