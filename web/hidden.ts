import type { Store } from "./state.ts";

/**
 * Where the user wants it, the machine is paused while the page is hidden, and goes on when it is seen again. By default
 * it runs on, so that servers in the guest stay: v86's waits are in a worker, which browsers do not slow down.
 */
export function pauseWhileHidden(store: Store, session: { pause(): Promise<void>; resume(): void }): void {
  /** A machine that the user has paused stays paused. */
  let isOurs = false;
  document.addEventListener("visibilitychange", () => {
    const { hidden, machine } = store.state;
    if (document.visibilityState === "visible") {
      if (isOurs) session.resume();
      isOurs = false;
    } else if (hidden === "pause" && machine.status === "running") {
      isOurs = true;
      void session.pause();
    }
  });
}
