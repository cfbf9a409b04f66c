/**
 * A room without a relay: guests in tabs of one browser share an Ethernet segment. Frames go over a BroadcastChannel to all
 * tabs of the room; each lets through to its guest what a network card would.
 *
 * Who is there, Web Locks tell: each tab holds one that is named after its guest's address, so that no address is given twice,
 * and the others wait for it: they learn that the tab has left, or was killed, when they get it. No beats are needed, which
 * a browser would not let a hidden tab send in time.
 *
 * Limitations: a BroadcastChannel knows no back-pressure; what is sent faster than a tab takes it waits in that tab's memory.
 */
import { hex } from "./bytes.ts";
import { ROOM_NAME, ROOM_SECRET } from "./room-link.ts";
import { addressOf, formatAddress, isFromDhcpServer, MOST_GUESTS, serveGuest } from "./tab-dhcp.ts";

export interface TabRoom {
  /** Guests in the room, this one included. */
  members(): number;
  /** A frame of the guest. */
  send(frame: Uint8Array): void;
  leave(): void;
}

export interface TabRoomEvents {
  /** A frame for the guest. */
  onFrame(frame: Uint8Array): void;
  /** @param address what the guest has got by DHCP; null when it has given it back */
  onAddress(address: string | null): void;
  onMembers(members: number): void;
}

/** "here": somebody has come. Frames are those of one task. */
type Message = "here" | Uint8Array[];

const LEAST_FRAME = 14;
const MOST_FRAME = 1514;

/** Browsers have Web Locks on pages that are served securely: over HTTPS or from this computer. */
export function canJoinTabs(): boolean {
  return typeof BroadcastChannel !== "undefined" && navigator.locks !== undefined && crypto.subtle !== undefined;
}

/** @throws Error "Cannot join the room: …" in a relay's words */
export async function joinTabRoom(name: string, secret: string, events: TabRoomEvents): Promise<TabRoom> {
  if (!ROOM_NAME.test(name))
    throw new Error("Cannot join the room: its name must be 1 to 64 letters, digits, spaces, dots, - or _");
  if (secret.length < ROOM_SECRET.least || secret.length > ROOM_SECRET.most)
    throw new Error("Cannot join the room: the secret must have 8 to 256 characters");
  const room = `smart-os:room:${await hash(name, secret)}`;
  const seat = await takeSeat(room);
  if (!seat) throw new Error(`Cannot join the room: it is full, ${MOST_GUESTS} guests are the most`);
  const address = addressOf(seat.host);
  const channel = new BroadcastChannel(room);
  const left = new AbortController();
  const watched = new Set<string>();
  let guestMac: Uint8Array | null = null;
  let waiting: Uint8Array[] = [];
  let members = 0;

  const post = (message: Message): void => channel.postMessage(message);
  const flush = (): void => {
    const frames = waiting;
    waiting = [];
    if (!left.signal.aborted) post(frames);
  };
  const count = async (): Promise<void> => {
    const { held = [] } = await navigator.locks.query();
    if (left.signal.aborted) return;
    // Those who wait for one to leave hold its lock for a moment, too, but share it.
    const names = held.flatMap(({ name = "", mode }) => (mode === "exclusive" && name.startsWith(room) ? [name] : []));
    for (const lock of names) if (lock !== seat.lock && !watched.has(lock)) watch(lock);
    if (names.length === members) return;
    members = names.length;
    events.onMembers(members);
  };
  const watch = (lock: string): void => {
    watched.add(lock);
    navigator.locks
      .request(lock, { mode: "shared", signal: left.signal }, () => {})
      .then(() => {
        watched.delete(lock);
        return count();
      })
      // The room was left meanwhile.
      .catch(() => {});
  };
  const isForGuest = (frame: Uint8Array): boolean => {
    const isGroup = ((frame[0] as number) & 1) === 1;
    // An address comes from the page's own server alone.
    return (isGroup || (guestMac?.every((byte, at) => frame[at] === byte) ?? false)) && !isFromDhcpServer(frame);
  };
  channel.onmessage = ({ data }: MessageEvent<Message>) => {
    if (data === "here") return void count();
    for (const frame of data) if (isForGuest(frame)) events.onFrame(frame);
  };
  post("here");
  await count();

  return {
    members: () => members,
    send(frame) {
      if (frame.length < LEAST_FRAME || frame.length > MOST_FRAME) return;
      if (!guestMac?.every((byte, at) => frame[6 + at] === byte)) guestMac = frame.slice(6, 12);
      const answer = serveGuest(frame, address);
      if (answer) {
        const { reply, isBound } = answer;
        if (isBound !== undefined) events.onAddress(isBound ? formatAddress(address) : null);
        // Not while the guest's card is still sending.
        if (reply) queueMicrotask(() => !left.signal.aborted && events.onFrame(reply));
        return;
      }
      if (waiting.length === 0) queueMicrotask(flush);
      // v86 uses the memory of the frame again.
      waiting.push(frame.slice());
    },
    leave() {
      left.abort();
      channel.close();
      seat.leave();
    },
  };
}

/** Name and secret as one word that tells neither; a text in which they could not be told apart is not hashed. */
async function hash(name: string, secret: string): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify([name, secret]));
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}

interface Seat {
  host: number;
  lock: string;
  leave(): void;
}

/** @returns the lowest address that is free, for as long as this tab keeps it, or null */
async function takeSeat(room: string): Promise<Seat | null> {
  for (let host = 1; host <= MOST_GUESTS; host += 1) {
    const lock = `${room}:${host}`;
    const leave = await new Promise<(() => void) | null>((resolve, reject) => {
      navigator.locks
        .request(lock, { ifAvailable: true }, (held) =>
          held ? new Promise<void>((release) => resolve(release)) : resolve(null),
        )
        .catch(reject);
    });
    if (leave) return { host, lock, leave };
  }
  return null;
}
