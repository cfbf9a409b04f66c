import type { NetworkActions } from "./state.ts";

/** What the network view calls on a page that has no relay: there is nothing to do but to say so. */
export function createNoNetwork(say: () => void): NetworkActions {
  return {
    setOnline: say,
    retryNow: say,
    setRelay: say,
    forward: say,
    endForward: say,
    join: say,
    leave: say,
    setCard: say,
    // Asked by the view, not by a person.
    lookForPorts() {},
  };
}
