import type { Network } from "./network.ts";
import type { Notify } from "./notify.ts";
import { readRoomLink } from "./room-link.ts";
import type { Text } from "./text.ts";

/** Goes into the room that the page's address names; to another relay only when the user says so. */
export function followRoomLink(network: Network, notify: Notify, text: () => Text): void {
  const link = readRoomLink(location.href);
  if (!link) return;
  const join = (): void => network.actions.join(link.room, link.secret);
  if (link.relay === "") return join();
  const { roomElsewhere, joinThere } = text().networkWork;
  notify("info", roomElsewhere(link.room, link.relay), {
    label: joinThere,
    run() {
      network.actions.setRelay(link.relay);
      join();
    },
  });
}
