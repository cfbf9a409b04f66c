/**
 * The address that leads others into a room: `…/?room=NAME#SECRET`, with `relay=ADDRESS` when it is not the page's own,
 * for a room is on one relay, or without one in the tabs of a browser. The secret stands behind the "#", which browsers send to no server; what follows a "?" in
 * the relay's address may be a token of one's own, and is left out.
 */
export interface RoomLink {
  room: string;
  secret: string;
  /** "" for the page's own. */
  relay: string;
}

/** A relay's own rules (docs/relay-protocol.md). */
export const ROOM_NAME = /^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u;
export const ROOM_SECRET = { least: 8, most: 256 } as const;

/** @param href an address of the page; its own parameters are left out */
export function formatRoomLink(href: string, { room, secret, relay }: RoomLink): string {
  const link = new URL(href);
  link.search = String(new URLSearchParams({ room, ...(relay === "" ? {} : { relay: relay.replace(/\?.*/s, "") }) }));
  link.hash = encodeURIComponent(secret);
  return link.href;
}

/** @returns null when the address names no room, or has no secret for it */
export function readRoomLink(href: string): RoomLink | null {
  const { searchParams, hash } = new URL(href);
  const room = searchParams.get("room")?.trim() ?? "";
  const secret = decode(hash.slice(1));
  return room === "" || secret === "" ? null : { room, secret, relay: searchParams.get("relay")?.trim() ?? "" };
}

/** A secret typed into the address bar by hand may have a "%" that begins nothing. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
