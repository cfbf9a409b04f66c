/**
 * The guest's network: the connection to the relay for as long as a machine runs, and what the page shows and does about
 * it. The guest's card is always plugged in; without a relay its frames go nowhere.
 */
import type { CommandResult } from "./agent.ts";
import type { Notify } from "./notify.ts";
import { connectRelay, type RelayClient, type RelayEvents, type RelayForward } from "./relay-client.ts";
import type { NetworkActions, NetworkState, Store } from "./state.ts";
import { textOf } from "./text.ts";

export interface Network {
  readonly actions: NetworkActions;
  status(): NetworkState;
  /** @returns where to reach the guest's port. @throws Error with a sentence, the relay's for one */
  forward(guestPort: number, kind?: RelayForward["kind"]): Promise<RelayForward>;
  endForward(id: string): Promise<void>;
  join(room: string, secret: string): Promise<void>;
  leave(): Promise<void>;
  setOnline(online: boolean): void;
  /** A frame of the guest. */
  send(frame: Uint8Array): void;
  /** A machine was switched on: its connection is a new one. */
  start(): void;
  /** The machine is off. */
  stop(): void;
  /** Another project was opened: what it says of the network counts from the next start on. */
  refresh(): void;
}

export interface NetworkParts {
  store: Store;
  notify: Notify;
  /** What the address asks for: "off", another relay, or null. */
  wish: string | null;
  /** The page's own relay. */
  ownRelay: string;
  /** What the project says; null for the page's own. */
  projectRelay(): string | null;
  setProjectRelay(relay: string | null): void;
  card(): NetworkState["card"];
  setCard(card: NetworkState["card"]): void;
  sendFrame(frame: Uint8Array): void;
  run(command: string, timeoutMs: number): Promise<CommandResult>;
}

const RATE_MS = 1000;
/** The same refusal is shown again after this: a program that tries for ever does not fill the page. */
const REFUSAL_MS = 10_000;
const READY_MS = 15_000;
/** Asks for an address again: what it had may not be the right one any more. */
const RENEW = "killall -USR2 udhcpc; killall -USR1 udhcpc";
const LIST_PORTS = "netstat -ltunp 2>/dev/null";

export function createNetwork(parts: NetworkParts): Network {
  const { store, notify } = parts;
  const text = () => textOf(store.state.language).networkWork;
  let client: RelayClient | null = null;
  let isOn = parts.wish !== "off";
  let isRunning = false;
  /** The room to be in, whatever happens to the connection. */
  let room: { name: string; secret: string } | null = null;
  let wish = parts.wish;
  let hasBeenOnline = false;
  let sent = 0;
  let received = 0;
  let seen = { at: performance.now(), sent: 0, received: 0 };
  let timer: ReturnType<typeof setInterval> | undefined;
  const refusals = new Map<string, number>();

  const emit = (change: Partial<NetworkState>): void =>
    store.update((state) => ({ ...state, network: { ...state.network, ...change } }));
  const address = (): string => toWebSocket(wish ?? parts.projectRelay() ?? "") ?? parts.ownRelay;
  const shownRelay = (): string => (wish === "off" ? null : wish) ?? parts.projectRelay() ?? "";

  const measure = (): void => {
    const now = performance.now();
    const seconds = (now - seen.at) / 1000;
    const { sentBytes, receivedBytes, sentRate, receivedRate } = store.state.network;
    const rates = {
      sentRate: Math.round((sent - seen.sent) / seconds),
      receivedRate: Math.round((received - seen.received) / seconds),
    };
    seen = { at: now, sent, received };
    // A network at rest does not make the page work.
    if (sent === sentBytes && received === receivedBytes && sentRate === 0 && receivedRate === 0) return;
    emit({ ...rates, sentBytes: sent, receivedBytes: received });
  };

  const events: RelayEvents = {
    onFrame(frame) {
      received += frame.length;
      parts.sendFrame(frame);
    },
    onHello({ resumed, gateway, forwards, room: present }) {
      emit({
        status: "online",
        reason: null,
        retryAt: null,
        gateway,
        forwards,
        room: present?.name ?? null,
        roomSecret: present ? (room?.secret ?? null) : null,
        roomMembers: present?.members ?? 0,
        ...(resumed ? {} : { guestAddress: null }),
      });
      if (hasBeenOnline && !resumed) void parts.run(RENEW, 5000).catch(() => {});
      hasBeenOnline = true;
      if (room && !present)
        attempt(() =>
          (client as RelayClient).join(
            (room as NonNullable<typeof room>).name,
            (room as NonNullable<typeof room>).secret,
          ),
        );
    },
    onAddress: (guestAddress) => emit({ guestAddress }),
    onRoom(present, renew) {
      emit({
        room: present?.name ?? null,
        roomSecret: present ? (room?.secret ?? null) : null,
        roomMembers: present?.members ?? 0,
      });
      if (renew) void parts.run(RENEW, 5000).catch(() => {});
    },
    onRefusal(words) {
      emit({ reason: words });
      const now = performance.now();
      if (now - (refusals.get(words) ?? Number.NEGATIVE_INFINITY) < REFUSAL_MS) return;
      if (refusals.size > 100) refusals.clear();
      refusals.set(words, now);
      notify("warning", words);
    },
    onError: (words) => emit({ reason: words }),
    onClose(words, retryAt, everOpen) {
      const isOwn = address() === parts.ownRelay;
      // A page on a plain web server has no relay, and that is no fault.
      if (!everOpen && isOwn) {
        end();
        emit({ ...AT_REST, status: "none", reason: text().noneHere });
      } else if (retryAt === null) {
        end();
        emit({ ...AT_REST, status: "waiting", reason: words || text().broken, retryAt: null });
      } else
        emit({
          status: "waiting",
          reason: words || (everOpen ? text().broken : text().unreachable(address())),
          retryAt,
        });
    },
  };

  const end = (): void => {
    client?.close();
    client = null;
    clearInterval(timer);
  };
  const connect = (): void => {
    end();
    if (!isOn || !isRunning) return;
    hasBeenOnline = false;
    emit({ ...AT_REST, status: "connecting" });
    timer = setInterval(measure, RATE_MS);
    try {
      client = connectRelay(address(), events);
    } catch (error) {
      end();
      emit({ ...AT_REST, status: "none", reason: String(error instanceof Error ? error.message : error) });
    }
  };

  /** Waits until the relay is there. @throws Error with words */
  const online = async (): Promise<RelayClient> => {
    const deadline = performance.now() + READY_MS;
    while (store.state.network.status !== "online") {
      const { status, reason } = store.state.network;
      if (!isRunning) throw new Error(text().machineOff);
      if (status === "none" || status === "off" || performance.now() > deadline)
        throw new Error(text().offline(reason ?? ""));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return client as RelayClient;
  };
  const attempt = (run: () => Promise<unknown>): void => {
    run().catch((error: unknown) => notify("error", error instanceof Error ? error.message : String(error)));
  };

  const network: Network = {
    status: () => store.state.network,
    async forward(guestPort, kind = "http") {
      if (!Number.isInteger(guestPort) || guestPort < 1 || guestPort > 65535)
        throw new Error(text().badPort(guestPort));
      const forward = await (await online()).forward(kind, guestPort);
      const others = store.state.network.forwards.filter(({ id }) => id !== forward.id);
      emit({ forwards: [...others, forward] });
      return forward;
    },
    async endForward(id) {
      await (await online()).unforward(id);
      emit({ forwards: store.state.network.forwards.filter((forward) => forward.id !== id) });
    },
    async join(name, secret) {
      const wanted = { name, secret };
      const before = room;
      room = wanted;
      try {
        // Without a machine it is joined as soon as there is one.
        if (isRunning) await (await online()).join(name, secret);
      } catch (error) {
        if (room === wanted) room = before;
        throw error;
      }
    },
    async leave() {
      room = null;
      await (await online()).leave();
    },
    refresh() {
      const { relay, card } = store.state.network;
      if (relay !== shownRelay() || card !== parts.card()) emit({ relay: shownRelay(), card: parts.card() });
    },
    setOnline(online) {
      isOn = online;
      if (online) connect();
      else {
        end();
        emit({ ...AT_REST, status: "off", reason: null });
      }
    },
    send(frame) {
      if (!client) return;
      sent += frame.length;
      client.send(frame);
    },
    start() {
      isRunning = true;
      connect();
    },
    stop() {
      isRunning = false;
      end();
      emit({ ...AT_REST, status: isOn ? "connecting" : "off", reason: isOn ? text().machineOff : null });
    },
    actions: {
      setOnline: (online) => network.setOnline(online),
      retryNow: () => (client ? client.retryNow() : connect()),
      setRelay(relay) {
        const wanted = relay.trim();
        if (wanted !== "" && toWebSocket(wanted) === null) return notify("error", text().badRelay(wanted));
        wish = null;
        parts.setProjectRelay(wanted === "" ? null : wanted);
        emit({ relay: wanted });
        isOn = true;
        connect();
      },
      forward: (guestPort, kind) => attempt(() => network.forward(guestPort, kind)),
      endForward: (id) => attempt(() => network.endForward(id)),
      join: (room, secret) => attempt(() => network.join(room, secret)),
      leave: () => attempt(() => network.leave()),
      setCard(card) {
        parts.setCard(card);
        emit({ card });
      },
      lookForPorts() {
        parts.run(LIST_PORTS, 5000).then(
          ({ output }) => emit({ listening: readPorts(output) }),
          () => emit({ listening: [] }),
        );
      },
    },
  };
  emit({ status: isOn ? "connecting" : "off", relay: shownRelay(), card: parts.card() });
  return network;
}

const AT_REST: Partial<NetworkState> = {
  retryAt: null,
  guestAddress: null,
  gateway: null,
  forwards: [],
  listening: [],
  room: null,
  roomSecret: null,
  roomMembers: 0,
  sentRate: 0,
  receivedRate: 0,
};

/** @returns null for what is no address of a relay */
function toWebSocket(address: string): string | null {
  if (address === "" || address === "off") return null;
  try {
    const url = new URL(address);
    if (url.protocol === "http:" || url.protocol === "https:") url.protocol = url.protocol.replace("http", "ws");
    return url.protocol === "ws:" || url.protocol === "wss:" ? url.href : null;
  } catch {
    return null;
  }
}

/** What busybox's `netstat -ltunp` prints: protocol, queues, local address, foreign address, state, PID/program. */
export function readPorts(output: string): NetworkState["listening"] {
  const found = new Map<string, NetworkState["listening"][number]>();
  for (const line of output.split("\n")) {
    const [, protocol, port, rest] = /^(tcp|udp)\S*\s+\d+\s+\d+\s+\S+:(\d+)\s+\S+\s*(.*)$/.exec(line) ?? [];
    if (protocol === undefined || port === undefined) continue;
    const program = /\d+\/(\S+)/.exec(rest ?? "")?.[1] ?? "";
    // The DHCP client's own.
    if (program === "udhcpc") continue;
    found.set(`${protocol}${port}`, { port: Number(port), protocol: protocol as "tcp" | "udp", program });
  }
  return [...found.values()].sort((a, b) => a.port - b.port);
}
