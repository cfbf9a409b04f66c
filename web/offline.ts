/** The page's side of the service worker in offline/: sets it up, and tells when it has a new version of the site. */

/** Between two looks for a new version while the page stays open. */
const LOOK_MS = 60 * 60 * 1000;

/**
 * Keeps the site for visits without a network. Where the browser has no service workers, or none here (plain HTTP), the
 * page needs its server at each visit.
 * @param script URL of the worker
 * @param offer called when a new version is ready; `take` reloads the page with it
 */
export async function keepOffline(script: URL, offer: (take: () => void) => void): Promise<void> {
  const workers = navigator.serviceWorker as ServiceWorkerContainer | undefined;
  if (!workers) return;
  const registration = await workers.register(script, { updateViaCache: "none" });
  let offered: ServiceWorker | null = null;
  const look = (): void => {
    const { waiting } = registration;
    // Without a controller it is the first one, which comes by itself.
    if (!waiting || waiting === offered || !workers.controller) return;
    offered = waiting;
    offer(() => {
      workers.addEventListener("controllerchange", () => location.reload(), { once: true });
      waiting.postMessage("take over");
    });
  };
  const follow = (): void => registration.installing?.addEventListener("statechange", look);
  registration.addEventListener("updatefound", follow);
  follow();
  look();
  registration.active?.postMessage("opened");

  const update = (): void => void registration.update().catch(() => {});
  update();
  setInterval(update, LOOK_MS);
}
