/** A file from somebody else's server, for `?image=URL`. */
import type { enShare } from "./text/en-share.ts";

/** More than a disk may have is no image. */
const MOST_BYTES = 64 * 1024 ** 3;

/**
 * @param show makes a function that shows how many bytes there are
 * @throws Error with a sentence for the user, and the signal's reason
 */
export async function fetchFile(
  address: string,
  signal: AbortSignal,
  show: (name: string, total: number) => (done: number) => void,
  text: typeof enShare,
): Promise<File> {
  const url = URL.canParse(address, location.href) ? new URL(address, location.href) : null;
  if (!url || !/^https?:$/.test(url.protocol)) throw new Error(text.badAddress(address));
  const response = await fetch(url, { signal, credentials: "omit", referrerPolicy: "no-referrer" }).catch(() => {
    // Browsers do not tell pages which of the two it was.
    signal.throwIfAborted();
    throw new Error(text.notLoaded(url.href));
  });
  if (!response.ok) throw new Error(text.answered(url.href, response.status));
  const name = decoded(url.pathname.slice(url.pathname.lastIndexOf("/") + 1)) || url.hostname;
  const total = Number(response.headers.get("content-length") ?? 0);
  const progress = show(name, response.headers.has("content-encoding") ? 0 : total);
  const parts: Blob[] = [];
  let done = 0;
  const reader = (response.body as ReadableStream<Uint8Array<ArrayBuffer>>).getReader();
  for (;;) {
    const { value, done: isDone } = await reader.read().catch(() => {
      signal.throwIfAborted();
      throw new Error(text.cutOff(url.href, done));
    });
    if (isDone) return new File(parts, name);
    parts.push(new Blob([value]));
    done += value.length;
    if (done > MOST_BYTES) throw new Error(text.cutOff(url.href, done));
    progress(done);
  }
}

/** Servers have names that are no escaped UTF-8 as well. */
function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
