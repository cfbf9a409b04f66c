/** The network of a page without a relay: none, or a room of this browser's tabs. */
import type { NetworkState } from "./state.ts";
import { joinTabRoom, type TabRoom } from "./tab-room.ts";

export interface TabNetwork {
  /** @throws Error "Cannot join the room: …" */
  join(wanted: WantedRoom): Promise<void>;
  /** A frame of the guest. @returns whether there is a room that it goes to */
  send(frame: Uint8Array): boolean;
  /** Out of the room; one that is being joined is not. @returns whether there was one */
  end(): boolean;
}

export interface WantedRoom {
  name: string;
  secret: string;
}

export interface TabNetworkParts {
  emit(change: Partial<NetworkState>): void;
  /** A frame for the guest. */
  onFrame(frame: Uint8Array): void;
  /** It is in a room now: what it knew of a network is of another one. */
  onJoined(): void;
}

export function createTabNetwork({ emit, onFrame, onJoined }: TabNetworkParts): TabNetwork {
  /** What was asked for last, and the room that the guest is in. */
  let asked: { wanted: WantedRoom; joined: Promise<void> } | null = null;
  let room: TabRoom | null = null;

  const enter = async (wanted: WantedRoom): Promise<void> => {
    let entered: TabRoom | null = null;
    const isIn = (): boolean => entered !== null && entered === room;
    const next = await joinTabRoom(wanted.name, wanted.secret, {
      onFrame,
      onAddress: (guestAddress) => isIn() && emit({ guestAddress }),
      onMembers: (roomMembers) => isIn() && emit({ roomMembers }),
    });
    if (asked?.wanted !== wanted) return next.leave();
    room?.leave();
    room = entered = next;
    emit({ room: wanted.name, roomSecret: wanted.secret, roomMembers: room.members(), guestAddress: null });
    onJoined();
  };

  return {
    join(wanted) {
      if (asked?.wanted === wanted) return asked.joined;
      const before = asked;
      const mine = { wanted, joined: enter(wanted) };
      asked = mine;
      mine.joined.catch(() => {
        if (asked === mine) asked = before;
      });
      return mine.joined;
    },
    send(frame) {
      room?.send(frame);
      return room !== null;
    },
    end() {
      const wasIn = room !== null;
      room?.leave();
      room = asked = null;
      return wasIn;
    },
  };
}
