/** Where the page's relay is. A relay's own server says so in `relay.json`; the one of a static site says that there is none. */

/**
 * Asks the page's server, so that a page on a plain web server does not knock at a door that is not there.
 * @param url of relay.json: `{"relay": "relay"}`, an address of its own or relative to this one; null for none
 * @returns ws: or wss:, or null when there is no relay
 */
export async function findRelay(url: URL): Promise<string | null> {
  let response: Response;
  try {
    response = await fetch(url, { cache: "no-cache" });
  } catch {
    // The server is away. It had a relay or not; only trying tells.
    return toWebSocket(new URL("relay", url).href);
  }
  const { relay = null } = response.ok ? ((await response.json().catch(() => ({}))) as { relay?: unknown }) : {};
  return typeof relay === "string" && relay !== "" && URL.canParse(relay, url)
    ? toWebSocket(new URL(relay, url).href)
    : null;
}

/** @param address a host alone means its `/relay`. @returns null for what is no address of a relay */
export function toWebSocket(address: string): string | null {
  if (!URL.canParse(address)) return null;
  const url = new URL(address);
  if (url.protocol === "http:" || url.protocol === "https:") url.protocol = url.protocol.replace("http", "ws");
  if (url.protocol !== "ws:" && url.protocol !== "wss:") return null;
  if (url.pathname === "/") url.pathname = "/relay";
  return url.href;
}
