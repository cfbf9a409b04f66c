/**
 * Rooms: guests that know the same name and secret share an Ethernet segment. Each keeps its own gateway to the network,
 * and gets an address of its own in the room (DHCP gives it). Wrong secrets lead to another, empty room: there is nothing
 * to find out.
 *
 *   guest ── Seat ──┬── its own gateway (the engine)
 *                   └── Room ── MacTable ──┬── seats of this process
 *                                          └── RoomBus ── the same room in other processes
 */
import { createHash } from "node:crypto";
import type { RoomInfo } from "./control.ts";
import type { Subnet } from "./engine.ts";
import { examine, type Gateway, gatewayOf, MacTable, macAt } from "./ethernet-switch.ts";
import { Bucket } from "./quota.ts";
import type { RoomBus } from "./room-bus.ts";

export interface RoomLimits {
  /** Guests in a room, over all processes. */
  roomMembers: number;
  /** Frames to everybody, and to stations nobody has heard of, that a guest may send in a second. */
  floodsPerSecond: number;
  /** Ethernet addresses of one guest: its own, and those behind a bridge in it. */
  macsPerGuest: number;
  /** Rooms in this process. */
  rooms: number;
}

export const ROOM_LIMITS: RoomLimits = { roomMembers: 32, floodsPerSecond: 200, macsPerGuest: 8, rooms: 1000 };

/** What a room needs of a guest. */
export interface Member {
  /** A frame of another guest. */
  deliver(frame: Uint8Array): void;
  drop(reason: string): void;
  onMembers(members: number): void;
}

/** A guest's place in a room. */
export interface Seat {
  readonly room: RoomInfo;
  /** The guest's address, different from all others' in the room. */
  readonly address: string;
  /** A frame of the guest. @returns whether it is for the gateway, too or only */
  receive(frame: Uint8Array): boolean;
  leave(): void;
}

export interface RoomsOptions {
  subnet: Subnet;
  bus: RoomBus;
  limits?: Partial<RoomLimits>;
  now?: () => number;
}

/** Another process, by its number on the bus. */
type End = RoomSeat | string;

export class Rooms {
  private readonly rooms = new Map<string, Room>();
  private readonly limits: RoomLimits;
  private readonly gateway: Gateway;

  constructor(private readonly options: RoomsOptions) {
    this.limits = { ...ROOM_LIMITS, ...options.limits };
    this.gateway = gatewayOf(options.subnet);
  }

  get count(): number {
    return this.rooms.size;
  }

  /** @throws Error "Cannot join the room: …" */
  async join(name: string, secret: string, member: Member): Promise<Seat> {
    const key = roomKey(name, secret);
    let room = this.rooms.get(key);
    if (!room) {
      if (this.rooms.size >= this.limits.rooms)
        throw new Error(`Cannot join the room: this relay has ${this.limits.rooms} rooms, and no place for another`);
      room = new Room(key, this.gateway, this.limits, this.options);
      this.rooms.set(key, room);
    }
    room.pending++;
    try {
      return await room.join(name, member, () => this.tidy(key));
    } finally {
      room.pending--;
      this.tidy(key);
    }
  }

  async close(): Promise<void> {
    await this.options.bus.close();
  }

  private tidy(key: string): void {
    const room = this.rooms.get(key);
    if (!room?.isEmpty) return;
    this.rooms.delete(key);
    room.close();
  }
}

class Room {
  readonly seats = new Set<RoomSeat>();
  readonly macs: MacTable<End>;
  pending = 0;
  private readonly line;

  constructor(
    key: string,
    readonly gateway: Gateway,
    readonly limits: RoomLimits,
    readonly options: RoomsOptions,
  ) {
    this.macs = new MacTable<End>(
      (end) => limits.macsPerGuest * (typeof end === "string" ? limits.roomMembers : 1),
      options.now,
    );
    this.line = options.bus.open(key, {
      onFrame: (from, frame) => this.receiveRemote(from, frame),
      onForget: (from, macs) => {
        for (const mac of macs) if (this.macs.find(mac) === from) this.macs.delete(mac);
      },
      onMembers: (members) => this.tell(members),
    });
  }

  get isEmpty(): boolean {
    return this.seats.size === 0 && this.pending === 0;
  }

  async join(name: string, member: Member, onLeave: () => void): Promise<Seat> {
    const { slot, members } = await this.line.enter(this.limits.roomMembers);
    if (slot === null)
      throw new Error(`Cannot join the room: it is full, ${this.limits.roomMembers} guests are the most`);
    const address = addressOf(this.options.subnet, slot);
    const seat = new RoomSeat(this, name, member, address, () => {
      if (!this.seats.delete(seat)) return;
      this.line.forget(this.macs.forget(seat));
      this.line.leave(slot);
      onLeave();
    });
    this.seats.add(seat);
    this.tell(members);
    return seat;
  }

  close(): void {
    this.line.close();
  }

  /** A frame that a seat may send: to the station it is for, or to all. */
  forward(seat: RoomSeat, frame: Uint8Array, isGroup: boolean): void {
    const end = isGroup ? undefined : this.macs.find(macAt(frame, 0));
    if (end === seat) return;
    if (end instanceof RoomSeat) return end.member.deliver(frame);
    if (end !== undefined) return this.line.send(frame, end);
    if (!seat.floods.tryTake()) return seat.member.drop("room.flood");
    for (const other of this.seats) if (other !== seat) other.member.deliver(frame);
    this.line.send(frame, null);
  }

  private receiveRemote(from: string, frame: Uint8Array): void {
    // The other process has looked at it as well; but what reaches a guest is decided here.
    const verdict = examine(frame, this.gateway);
    if (verdict !== "room" && verdict !== "both") return;
    const known = this.macs.learn(macAt(frame, 6), from);
    if (known === "room.mac-taken") return;
    const end = verdict === "both" ? undefined : this.macs.find(macAt(frame, 0));
    if (end instanceof RoomSeat) end.member.deliver(frame);
    else if (end === undefined) for (const seat of this.seats) seat.member.deliver(frame);
  }

  private tell(members: number): void {
    for (const seat of this.seats) seat.tell(members);
  }
}

class RoomSeat implements Seat {
  readonly floods: Bucket;
  private members = 1;
  private isGone = false;

  constructor(
    private readonly owner: Room,
    private readonly name: string,
    readonly member: Member,
    readonly address: string,
    private readonly onLeave: () => void,
  ) {
    const { floodsPerSecond } = owner.limits;
    this.floods = new Bucket(floodsPerSecond, floodsPerSecond * 2, owner.options.now);
  }

  get room(): RoomInfo {
    return { name: this.name, members: this.members };
  }

  receive(frame: Uint8Array): boolean {
    if (this.isGone) return true;
    const verdict = examine(frame, this.owner.gateway);
    if (verdict === "gateway") return true;
    if (verdict !== "room" && verdict !== "both") {
      this.member.drop(verdict);
      return false;
    }
    const problem = this.owner.macs.learn(macAt(frame, 6), this);
    // Someone else's address stays out of the room; with its own gateway the guest may do as it likes.
    if (problem) this.member.drop(problem);
    else this.owner.forward(this, frame, verdict === "both");
    return verdict === "both";
  }

  tell(members: number): void {
    if (members === this.members) return;
    this.members = members;
    this.member.onMembers(members);
  }

  leave(): void {
    if (this.isGone) return;
    this.isGone = true;
    this.onLeave();
  }
}

/** Rooms are known by this, in Redis too: neither name nor secret can be read from it. */
export function roomKey(name: string, secret: string): string {
  return createHash("sha256")
    .update(`${name.normalize("NFC")}\0${secret}`)
    .digest("base64url");
}

/** The address of a slot: the subnet's guest address for the first, then the following ones but those that are taken. */
export function addressOf(subnet: Subnet, slot: number): string {
  const number = (text: string): number => text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  const size = 2 ** (32 - subnet.prefixLength);
  const base = number(subnet.gateway) - (number(subnet.gateway) % size);
  const taken = new Set([number(subnet.gateway), number(subnet.dns)]);
  let left = slot;
  for (let i = 0; i < size; i++) {
    // From the guest's address on and around; the first and the last of a subnet are no one's.
    const offset = (number(subnet.guest) - base + i) % size;
    if (offset === 0 || offset === size - 1 || taken.has(base + offset)) continue;
    if (left-- === 0) {
      const address = base + offset;
      return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
    }
  }
  throw new Error(`Cannot join the room: the subnet of ${subnet.gateway} has no address left`);
}
