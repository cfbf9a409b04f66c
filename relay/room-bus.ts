/**
 * How the processes of one relay share rooms: Redis publish and subscribe (https://redis.io/docs/latest/develop/pubsub/)
 * carries frames, a sorted set for each room says which slots are taken and until when. One process alone needs neither.
 *
 * On a room's channel `smart-os:room:KEY` (to all) and `smart-os:room:KEY:PROCESS` (to one process):
 *   0      1         17
 *   | kind | process | frame, or Ethernet addresses of 6 bytes each, or nothing
 *
 * Limitations: frames cross Redis in the clear (use rediss:// and a password); what is sent while Redis is away is lost,
 * as on any wire. A process that dies holds its slots for half a minute.
 */
import { randomBytes } from "node:crypto";
import { Redis } from "ioredis";

export interface RoomListener {
  onFrame(from: string, frame: Uint8Array): void;
  onForget(from: string, macs: readonly number[]): void;
  onMembers(members: number): void;
}

/** A room's connection to the same room elsewhere. */
export interface RoomLine {
  /**
   * Takes the lowest free slot; null when all are taken.
   * @throws Error when the other processes cannot be asked
   */
  enter(most: number): Promise<{ slot: number | null; members: number }>;
  leave(slot: number): void;
  /** To one process, or to all for null. */
  send(frame: Uint8Array, to: string | null): void;
  forget(macs: readonly number[]): void;
  close(): void;
}

export interface RoomBus {
  open(key: string, listener: RoomListener): RoomLine;
  /** Frames that were lost on the way to other processes. */
  readonly lost: number;
  readonly isConnected: boolean;
  close(): Promise<void>;
}

/** One process has all guests of all rooms. */
export function createLocalBus(): RoomBus {
  return {
    open(_key, listener) {
      const slots = new Set<number>();
      return {
        async enter(most) {
          for (let slot = 0; slot < most; slot++)
            if (!slots.has(slot)) {
              slots.add(slot);
              listener.onMembers(slots.size);
              return { slot, members: slots.size };
            }
          return { slot: null, members: slots.size };
        },
        leave(slot) {
          slots.delete(slot);
          listener.onMembers(slots.size);
        },
        send() {},
        forget() {},
        close() {},
      };
    },
    lost: 0,
    isConnected: true,
    async close() {},
  };
}

const PREFIX = "smart-os:room:";
const KIND = { frame: 0, members: 1, forget: 2 } as const;
const ID_BYTES = 16;
const HEADER = 1 + ID_BYTES;
/** A slot is its process's for so long, and asked for again three times in it. */
const TIMES = { holdMs: 30_000, refreshMs: 10_000 };
/** What may be under way to Redis; more is dropped. */
const MOST_PENDING_BYTES = 2 * 1024 * 1024;

/** Takes the lowest free slot: [slot or -1, members]. Redis's own clock, because machines' clocks differ. */
const ENTER = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for slot = 0, tonumber(ARGV[1]) - 1 do
  if not redis.call('ZSCORE', KEYS[1], slot) then
    redis.call('ZADD', KEYS[1], now + ARGV[2], slot)
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return {slot, redis.call('ZCARD', KEYS[1])}
  end
end
return {-1, redis.call('ZCARD', KEYS[1])}`;

/** Holds slots for longer (ARGV[2…]), and says how many are held by all: a process that died is noticed here. */
const REFRESH = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('ZCARD', KEYS[1])`;

interface RedisRoom {
  key: string;
  slots: Set<number>;
  listener: RoomListener;
  /** Resolves when both channels are heard. */
  heard: Promise<void>;
}

/**
 * @param url redis://… or rediss://…
 * @throws Error "Cannot reach Redis: …"
 */
export async function createRedisBus(
  url: string,
  onProblem: (text: string) => void,
  { holdMs, refreshMs } = TIMES,
): Promise<RoomBus & { stop(): void }> {
  const options = {
    lazyConnect: true,
    // What waits for a Redis that is away would wait in memory; and a frame that comes late is worth nothing.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout: 5000,
    retryStrategy: (times: number) => Math.min(200 * times, 5000),
  };
  const commands = new Redis(url, options);
  const subscriber = new Redis(url, options);
  let problem = "";
  for (const redis of [commands, subscriber])
    redis.on("error", (error: Error) => {
      // Every attempt to connect fails in the same way; once is enough.
      if (error.message !== problem) onProblem(`Cannot reach Redis: ${error.message}`);
      problem = error.message;
    });
  subscriber.on("ready", () => {
    problem = "";
  });
  try {
    await Promise.all([commands.connect(), subscriber.connect()]);
  } catch (error) {
    commands.disconnect();
    subscriber.disconnect();
    throw new Error(`Cannot reach Redis: ${problem || (error as Error).message}`);
  }

  const id = randomBytes(ID_BYTES);
  const name = id.toString("hex");
  const rooms = new Map<string, RedisRoom>();
  /** Those that others have not been told of yet. */
  const leavings = new Set<Promise<void>>();
  let pendingBytes = 0;
  let lost = 0;

  const publish = (key: string, to: string | null, kind: number, payload: Uint8Array): void => {
    if (pendingBytes > MOST_PENDING_BYTES || commands.status !== "ready") {
      lost++;
      return;
    }
    const message = Buffer.allocUnsafe(HEADER + payload.length);
    message[0] = kind;
    id.copy(message, 1);
    message.set(payload, HEADER);
    pendingBytes += message.length;
    commands
      .publish(to === null ? PREFIX + key : `${PREFIX}${key}:${to}`, message)
      .catch(() => lost++)
      .finally(() => {
        pendingBytes -= message.length;
      });
  };

  const refresh = async (room: RedisRoom): Promise<void> => {
    try {
      const members = await commands.eval(REFRESH, 1, PREFIX + room.key, holdMs, ...room.slots);
      room.listener.onMembers(Number(members));
    } catch {
      // The error event has told it; the next round tries again.
    }
  };

  subscriber.on("messageBuffer", (channel: Buffer, message: Buffer) => {
    if (message.length < HEADER) return;
    const from = message.toString("hex", 1, HEADER);
    if (from === name) return;
    const [key = ""] = channel.toString().slice(PREFIX.length).split(":");
    const room = rooms.get(key);
    if (!room) return;
    const payload = message.subarray(HEADER);
    if (message[0] === KIND.frame) room.listener.onFrame(from, payload);
    else if (message[0] === KIND.members) void refresh(room);
    else if (message[0] === KIND.forget)
      room.listener.onForget(
        from,
        Array.from({ length: Math.floor(payload.length / 6) }, (_, i) => payload.readUIntBE(6 * i, 6)),
      );
  });

  const timer = setInterval(() => {
    for (const room of rooms.values()) if (room.slots.size > 0) void refresh(room);
  }, refreshMs);
  timer.unref();

  return {
    open(key, listener) {
      const channels = [PREFIX + key, `${PREFIX}${key}:${name}`];
      const heard = subscriber.subscribe(...channels).then(() => {});
      // Whoever enters waits for it and tells the failure.
      heard.catch(() => {});
      const room: RedisRoom = { key, slots: new Set(), listener, heard };
      rooms.set(key, room);
      return {
        async enter(most) {
          let answer: unknown;
          try {
            await room.heard;
            answer = await commands.eval(ENTER, 1, PREFIX + key, most, holdMs);
          } catch {
            throw new Error("Cannot join the room: the relay cannot reach its fellows now; try again later");
          }
          const [slot = -1, members = 0] = (answer as unknown[]).map(Number);
          if (slot < 0) return { slot: null, members };
          room.slots.add(slot);
          listener.onMembers(members);
          publish(key, null, KIND.members, new Uint8Array());
          return { slot, members };
        },
        leave(slot) {
          room.slots.delete(slot);
          const leaving = commands
            .zrem(PREFIX + key, slot)
            .then(() => {
              publish(key, null, KIND.members, new Uint8Array());
              if (rooms.get(key) === room) return refresh(room);
            })
            // It ends by itself in half a minute.
            .catch(() => {})
            .finally(() => leavings.delete(leaving));
          leavings.add(leaving);
        },
        send: (frame, to) => publish(key, to, KIND.frame, frame),
        forget(macs) {
          if (macs.length === 0) return;
          const payload = Buffer.alloc(6 * macs.length);
          macs.forEach((mac, i) => {
            payload.writeUIntBE(mac, 6 * i, 6);
          });
          publish(key, null, KIND.forget, payload);
        },
        close() {
          if (rooms.get(key) !== room) return;
          rooms.delete(key);
          subscriber.unsubscribe(...channels).catch(() => {});
        },
      };
    },
    get lost() {
      return lost;
    },
    get isConnected() {
      return commands.status === "ready" && subscriber.status === "ready";
    },
    /** Without a word to the others, as if the process had died. */
    stop() {
      clearInterval(timer);
      commands.disconnect();
      subscriber.disconnect();
    },
    async close() {
      clearInterval(timer);
      const held = [...rooms.values()].filter((room) => room.slots.size > 0);
      await Promise.allSettled(held.map((room) => commands.zrem(PREFIX + room.key, ...room.slots)));
      for (const room of held) publish(room.key, null, KIND.members, new Uint8Array());
      await Promise.all(leavings);
      await commands.quit().catch(() => {});
      subscriber.disconnect();
    },
  };
}
