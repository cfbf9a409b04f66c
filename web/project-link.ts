/**
 * The address that carries a project: `…/#p=PACKED`. What stands behind the "#" goes to no server. Packing is the
 * builder's, worker/link.ts.
 */

/** Of PACKED; as worker/link.ts has it. */
export const MOST_LINK_LENGTH = 32_000;

/** @param href an address of the page; its own parameters are left out */
export function projectLink(href: string, packed: string): string {
  const link = new URL(href);
  link.search = "";
  link.hash = `p=${packed}`;
  return link.href;
}

/** @returns null when the address carries no project */
export function readProjectLink(href: string): string | null {
  const { searchParams, hash } = new URL(href);
  // There, what stands behind the "#" is the room's secret.
  if (searchParams.has("room")) return null;
  return /^#p=(.*)$/s.exec(hash)?.[1] ?? null;
}
