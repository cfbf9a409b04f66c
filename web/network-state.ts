/** What the page shows of the network, and what a person can do about it. */

export interface Forward {
  id: string;
  guestPort: number;
  kind: "http" | "tcp" | "udp";
  /** What to open or to connect to: a URL, or HOST:PORT. */
  address: string;
}

export interface NetworkState {
  /**
   * "none": this page has no relay. "off": the user switched it off. "idle": the machine is off. "waiting": the connection
   * broke and is tried again.
   */
  status: "none" | "off" | "idle" | "connecting" | "online" | "waiting";
  /** The relay's address, as the user may set it. */
  relay: string;
  /** Why it is not online, or what the relay refused last, in words. */
  reason: string | null;
  /** When the next attempt begins, on `performance.now()`'s clock. */
  retryAt: number | null;
  /** Where the guest is; null until it has an address. */
  guestAddress: string | null;
  gateway: string | null;
  /** Bytes a second, from and to the guest. */
  sentRate: number;
  receivedRate: number;
  sentBytes: number;
  receivedBytes: number;
  forwards: readonly Forward[];
  /** Ports on which a program in the guest listens, as far as the page has looked. */
  listening: readonly { port: number; protocol: "tcp" | "udp"; program: string }[];
  room: string | null;
  /** Kept so that others can be given the link to the room; null outside one. */
  roomSecret: string | null;
  /** Guests in the room, this one included. */
  roomMembers: number;
  card: "virtio" | "ne2k";
}

export const NO_NETWORK: NetworkState = {
  status: "none",
  relay: "",
  reason: null,
  retryAt: null,
  guestAddress: null,
  gateway: null,
  sentRate: 0,
  receivedRate: 0,
  sentBytes: 0,
  receivedBytes: 0,
  forwards: [],
  listening: [],
  room: null,
  roomSecret: null,
  roomMembers: 0,
  card: "virtio",
};

/** What the user can do about the network. */
export interface NetworkActions {
  setOnline(online: boolean): void;
  retryNow(): void;
  /** "" for the page's own. */
  setRelay(address: string): void;
  forward(guestPort: number, kind: Forward["kind"]): void;
  endForward(id: string): void;
  join(room: string, secret: string): void;
  leave(): void;
  /** Takes effect at the next boot. */
  setCard(card: NetworkState["card"]): void;
  /** Asks the guest which ports it listens on; the view calls it when it is looked at. */
  lookForPorts(): void;
}
