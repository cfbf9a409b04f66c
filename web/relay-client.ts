/**
 * A connection to the relay: Ethernet frames as binary messages, and a control channel of JSON texts. It comes back by
 * itself when it breaks. docs/relay-protocol.md describes what is said.
 */

export interface RelayForward {
  id: string;
  kind: "http" | "tcp" | "udp";
  guestPort: number;
  address: string;
}

export interface RelayHello {
  session: string;
  /** The guest's connections at the relay outlived the break. */
  resumed: boolean;
  subnet: RelaySubnet;
  forwards: readonly RelayForward[];
  room: RelayRoom | null;
}

export interface RelaySubnet {
  gateway: string;
  gatewayMac: string;
  dns: string;
  prefixLength: number;
}

export interface RelayRoom {
  name: string;
  members: number;
}

export interface RelayEvents {
  onFrame(frame: Uint8Array): void;
  onHello(hello: RelayHello): void;
  /** The guest's address at the relay; null until it has one. */
  onAddress(address: string | null): void;
  onRoom(room: RelayRoom | null, renew: boolean): void;
  /** A connection of the guest that the relay did not make: it may not be ("policy", "limit") or cannot ("unreachable"). */
  onRefusal(kind: string, text: string): void;
  /** Something else that the relay says is wrong. */
  onError(text: string): void;
  /**
   * @param reason the relay's words, or ""
   * @param retryAt on performance.now()'s clock, or null when it is not tried again
   * @param everOpen whether a relay has answered at this address at all
   */
  onClose(reason: string, retryAt: number | null, everOpen: boolean): void;
}

export interface RelayClient {
  send(frame: Uint8Array): void;
  /** @throws Error with the relay's sentence, or that it does not answer */
  forward(kind: RelayForward["kind"], port: number): Promise<RelayForward>;
  unforward(id: string): Promise<void>;
  join(room: string, secret: string): Promise<void>;
  leave(): Promise<void>;
  retryNow(): void;
  /** Ends it; the relay forgets the guest. */
  close(): void;
}

const SUBPROTOCOL = "smart-os-relay.1";
const SESSION_PROTOCOL = "smart-os-session.";
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 30_000;
/** A relay that does not answer within this is not there. */
const CONNECT_MS = 10_000;
const ANSWER_MS = 10_000;
/** A connection on which nothing has come for so long is asked whether it is still there, and given up after another. */
const SILENT_MS = 5000;
/** Frames that wait in the browser beyond this are dropped, as a network card does: TCP sends them again. */
const MOST_BUFFERED = 1024 * 1024;
/**
 * The relay does not want this page, so that coming back changes nothing ("unauthorized", "forbidden"), or not at the moment:
 * the guest was idle or connected for too long.
 */
const FINAL_CODES = [4401, 4403, 4408];

interface Pending {
  resolve(message: Record<string, unknown>): void;
  reject(error: Error): void;
  timer: ReturnType<typeof setTimeout>;
}

/** @param url ws: or wss: */
export function connectRelay(url: string, events: RelayEvents): RelayClient {
  let socket: WebSocket | null = null;
  let session: string | null = null;
  let everOpen = false;
  let isClosed = false;
  let failures = 0;
  let lastId = 0;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let lost: WebSocket[] = [];
  const pending = new Map<number, Pending>();

  const dropPending = (): void => {
    for (const { reject, timer } of pending.values()) {
      clearTimeout(timer);
      reject(new Error("Cannot ask the relay: the connection broke"));
    }
    pending.clear();
  };
  const connect = (): void => {
    clearTimeout(retry);
    const protocols = [SUBPROTOCOL, ...(session === null ? [] : [SESSION_PROTOCOL + session])];
    const mine = new WebSocket(url, protocols);
    mine.binaryType = "arraybuffer";
    socket = mine;
    let reason = "";
    let isHeard = true;
    let isAsked = false;
    const broke = (code: number, words: string): void => {
      clearTimeout(giveUp);
      clearInterval(listening);
      if (socket !== mine) return;
      socket = null;
      dropPending();
      if (FINAL_CODES.includes(code)) return events.onClose(words || reason, null, true);
      // Doubled each time, and spread: a relay that comes back is not met by all its guests at once.
      const wait = Math.min(FIRST_RETRY_MS * 2 ** failures, LONGEST_RETRY_MS) * (0.75 + Math.random() / 2);
      failures += 1;
      retry = setTimeout(connect, wait);
      events.onClose(words || reason, performance.now() + wait, everOpen);
    };
    const giveUp = setTimeout(() => mine.close(), CONNECT_MS);
    // A way that has vanished (a laptop that slept, another network) says nothing, and TCP notices after minutes.
    const listening = setInterval(() => {
      if (mine.readyState !== WebSocket.OPEN) return;
      if (isHeard) isHeard = false;
      else if (isAsked) return lose();
      else {
        isAsked = true;
        mine.send(JSON.stringify({ type: "ping", id: 0 }));
      }
    }, SILENT_MS);
    const lose = (): void => {
      // A close frame would end the guest if it arrived after all: it is sent once another connection has taken its place.
      lost.push(mine);
      broke(1006, "");
    };
    mine.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (socket !== mine) return;
      isHeard = true;
      isAsked = false;
      if (data instanceof ArrayBuffer) events.onFrame(new Uint8Array(data));
      else if (typeof data === "string") {
        const said = hear(data);
        if (said !== null) reason = said;
        // Something else than a relay of ours may accept a websocket and say nothing.
        if (everOpen) clearTimeout(giveUp);
      }
    };
    mine.onclose = ({ code, reason: words }) => broke(code, words);
  };

  /** @returns words about the connection as a whole, when the message has some */
  const hear = (text: string): string | null => {
    let message: Record<string, unknown>;
    try {
      message = JSON.parse(text) as Record<string, unknown>;
    } catch {
      return null;
    }
    const waiting = typeof message.id === "number" ? pending.get(message.id) : undefined;
    switch (message.type) {
      case "hello": {
        everOpen = true;
        failures = 0;
        session = String(message.session);
        for (const former of lost) former.close();
        lost = [];
        const subnet = (message.subnet ?? {}) as Record<string, unknown>;
        events.onHello({
          session,
          resumed: message.resumed === true,
          subnet: {
            gateway: String(subnet.gateway ?? ""),
            gatewayMac: String(subnet.gatewayMac ?? ""),
            dns: String(subnet.dns ?? ""),
            prefixLength: Number(subnet.prefixLength ?? 24),
          },
          forwards: (message.forwards as RelayForward[] | undefined) ?? [],
          room: (message.room as RelayRoom | null | undefined) ?? null,
        });
        break;
      }
      case "address":
        events.onAddress((message.address as string | null | undefined) ?? null);
        break;
      case "room":
        events.onRoom((message.room as RelayRoom | null | undefined) ?? null, message.renew === true);
        break;
      case "refusal":
        events.onRefusal(String(message.kind), String(message.text));
        break;
      case "error":
        if (waiting) settle(message.id as number)?.reject(new Error(String(message.text)));
        else {
          events.onError(String(message.text));
          return String(message.text);
        }
        return null;
    }
    if (waiting) settle(message.id as number)?.resolve(message);
    return null;
  };

  const settle = (id: number): Pending | undefined => {
    const found = pending.get(id);
    if (found) clearTimeout(found.timer);
    pending.delete(id);
    return found;
  };
  const ask = (message: Record<string, unknown>): Promise<Record<string, unknown>> =>
    new Promise((resolve, reject) => {
      if (socket?.readyState !== WebSocket.OPEN) return reject(new Error("Cannot ask the relay: it is not connected"));
      lastId += 1;
      const id = lastId;
      const timer = setTimeout(() => {
        pending.delete(id);
        reject(new Error("Cannot ask the relay: it does not answer"));
      }, ANSWER_MS);
      pending.set(id, { resolve, reject, timer });
      socket.send(JSON.stringify({ ...message, id }));
    });

  connect();
  return {
    send(frame) {
      if (socket?.readyState !== WebSocket.OPEN || socket.bufferedAmount > MOST_BUFFERED) return;
      // v86 uses the memory of the frame again; the browser has copied it when send() returns.
      socket.send(frame as Uint8Array<ArrayBuffer>);
    },
    forward: async (kind, port) => (await ask({ type: "forward", kind, port })).forward as RelayForward,
    unforward: async (forward) => void (await ask({ type: "unforward", forward })),
    join: async (room, secret) => void (await ask({ type: "join", room, secret })),
    leave: async () => void (await ask({ type: "leave" })),
    retryNow() {
      if (socket || isClosed) return;
      failures = 0;
      connect();
    },
    close() {
      isClosed = true;
      clearTimeout(retry);
      const closing = socket;
      socket = null;
      for (const websocket of [closing, ...lost]) websocket?.close(1000);
      lost = [];
      dropPending();
    },
  };
}
