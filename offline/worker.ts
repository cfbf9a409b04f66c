/**
 * The service worker: keeps one version of the site whole, so that the next visit needs no network.
 *
 * A version is kept in a cache of its own, and only if every file in it is the one that belongs to it. The page names its
 * files by their hash, so the one thing that decides which version a tab is of is the page it was opened with: a page of
 * one version never runs with files of another. A new version waits until no tab shows the old one or the user wants it.
 */

interface RoutingInstallEvent extends ExtendableEvent {
  /** Static routing (Chromium 123): the browser answers from the cache without starting the worker. */
  addRoutes?(routes: object[]): Promise<void>;
}

const worker = self as unknown as ServiceWorkerGlobalScope;
const { version, files } = SITE;

const PREFIX = "smart-os ";
const CACHE = PREFIX + version;
const page = new URL("./", worker.location.href).href;
const urls = new Map(files.map((file) => [new URL(file.path, page).href, file]));

worker.addEventListener("install", (event) => {
  event.waitUntil(install());
  // One that cannot be set up costs a few milliseconds, no more.
  event.waitUntil(routeStatically(event).catch(() => {}));
});
worker.addEventListener("activate", (event) => {
  // The first version takes the page that brought it; later ones come when the old one has no pages.
  event.waitUntil(Promise.all([forgetOthers(), worker.clients.claim()]));
});
worker.addEventListener("message", (event) => {
  if (event.data === "take over") event.waitUntil(worker.skipWaiting());
  else if (event.data === "opened") event.waitUntil(forgetOthers());
});
worker.addEventListener("fetch", (event) => {
  const url = keptUrl(event.request);
  if (url) event.respondWith(answer(url, event));
});

/** @throws Error "Cannot keep PATH: …"; the browser tries again at the next visit */
async function install(): Promise<void> {
  const cache = await caches.open(CACHE);
  try {
    // One after the other: a machine boots beside it.
    for (const [url, { path, sha256, rare }] of urls) {
      if (await cache.match(url)) continue;
      const response = rare ? await loadUsed(url) : await load(url, path);
      if (!response) continue;
      if ((await hash(response.clone())) !== sha256) throw new Error(`Cannot keep ${path}: it is of another version`);
      await cache.put(url, response);
    }
  } catch (error) {
    await caches.delete(CACHE);
    throw error;
  }
}

/** What has its hash in its name is taken from where it already is. */
async function load(url: string, path: string): Promise<Response> {
  const isHashed = /-[\w-]{8,}(\.\w+)?$/.test(path);
  const kept = isHashed ? await caches.match(url) : undefined;
  const response = kept ?? (await fetch(url, { cache: isHashed ? "default" : "no-cache" }));
  if (!response.ok) throw new Error(`Cannot keep ${path}: the server answers ${response.status}`);
  return response;
}

/** What was used before there was a worker is where the browser keeps what it has fetched; null when it was not used. */
async function loadUsed(url: string): Promise<Response | null> {
  const kept = await caches.match(url);
  if (kept) return kept;
  const fetched = await fetch(url, { cache: "only-if-cached", mode: "same-origin" }).catch(() => null);
  return fetched?.ok ? fetched : null;
}

async function hash(response: Response): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await response.arrayBuffer()));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Which of our files a request is for; null for everything else, which is none of our business. */
function keptUrl({ method, mode, url }: Request): string | null {
  if (method !== "GET" || !url.startsWith(page)) return null;
  const { origin, pathname, searchParams } = new URL(url);
  const address = origin + pathname;
  // The page's address may carry wishes and a project. Who may frame an embed, the server says anew each time.
  if (mode === "navigate" && searchParams.get("embed") !== "1" && (address === page || address === `${page}index.html`))
    return page;
  // Files of other versions too: tabs may still be open with them.
  return urls.has(address) || /\/(assets|system)\/[\w.-]+-[\w-]{8,}/.test(pathname) ? address : null;
}

async function answer(url: string, event: FetchEvent): Promise<Response> {
  const own = await (await caches.open(CACHE)).match(url);
  // The page is never one of another version.
  const found = own ?? (url === page ? undefined : await caches.match(url));
  if (found) return found;
  const response = await fetch(event.request);
  if (urls.get(url)?.rare && response.ok) event.waitUntil(keep(url, response.clone()));
  return response;
}

/** Where the storage is full the page still gets what it asked for. */
async function keep(url: string, response: Response): Promise<void> {
  const cache = await caches.open(CACHE);
  await cache.put(url, response).catch(() => {});
}

async function routeStatically(event: RoutingInstallEvent): Promise<void> {
  const source = { cacheName: CACHE };
  const exactly = (url: string) => ({ pathname: new URL(url).pathname, search: "" });
  await event.addRoutes?.([
    { condition: { urlPattern: exactly(page), requestMode: "navigate" }, source },
    ...[...urls.keys()]
      .filter((url) => url !== page && !urls.get(url)?.rare)
      .map((url) => ({ condition: { urlPattern: exactly(url), requestMethod: "GET" }, source })),
  ]);
}

/** Other versions go when no tab can be open with them. */
async function forgetOthers(): Promise<void> {
  const open = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
  if (open.length > 1) return;
  // A version that waits is already there.
  const waiting = worker.registration.waiting ?? worker.registration.installing;
  if (waiting) return;
  const names = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
  await Promise.all(names.map((name) => caches.delete(name)));
}
