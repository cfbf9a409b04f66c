/**
 * The guest's network: the connection to the relay for as long as a machine runs, and what the page shows and does about
 * it. The guest's card is always plugged in; without a relay its frames go to a room of this browser's tabs, or nowhere.
 */
import { BUSY_GUEST_MS, type CommandResult } from "./agent.ts";
import { LIST_PORTS, readPorts } from "./listening-ports.ts";
import type { Notify } from "./notify.ts";
import { OpenConnections } from "./open-connections.ts";
import {
  connectRelay,
  type RelayClient,
  type RelayEvents,
  type RelayForward,
  type RelaySubnet,
} from "./relay-client.ts";
import { toWebSocket } from "./relay-place.ts";
import { LIST_CONNECTIONS, probeConnections } from "./saved-connections.ts";
import { sentenceOf } from "./sentence.ts";
import type { NetworkActions, NetworkState, Store } from "./state.ts";
import { createTabNetwork, type WantedRoom } from "./tab-network.ts";
import { canJoinTabs } from "./tab-room.ts";
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
  /**
   * A machine was switched on: its connection is a new one.
   * @param isSaved it has an address and connections already, of a time when it was saved: they are looked after
   */
  start(isSaved?: boolean): void;
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
  /** The page's own relay, or null when its server has none. */
  ownRelay: Promise<string | null>;
  /** What the project says; null for the page's own. */
  projectRelay(): string | null;
  setProjectRelay(relay: string | null): void;
  card(): NetworkState["card"];
  setCard(card: NetworkState["card"]): void;
  /** The open project is the user's own, or the user has agreed. */
  mayConnect(): boolean;
  sendFrame(frame: Uint8Array): void;
  run(command: string, timeoutMs: number): Promise<CommandResult>;
}

const RATE_MS = 1000;
/** The same refusal is shown again after this: a program that tries for ever does not fill the page. */
const REFUSAL_MS = 10_000;
const READY_MS = 15_000;
/** Asks DHCP whether the guest's address is still its own, or for one when it has none. */
const RENEW = "killall -USR1 udhcpc";
/** Its address is another one now: it gives the old one back first. */
const RELEASE = "killall -USR2 udhcpc; killall -USR1 udhcpc";

export function createNetwork(parts: NetworkParts): Network {
  const { store, notify } = parts;
  const text = () => textOf(store.state.language).networkWork;
  let client: RelayClient | null = null;
  let isOn = parts.wish !== "off";
  let isRunning = false;
  /** The room to be in, whatever happens to the connection. */
  let room: WantedRoom | null = null;
  let isLooking = false;
  let wish = parts.wish;
  /** The page's own relay; undefined while it is not known. */
  let own: string | null | undefined;
  /** Counts connections that were wanted: what comes late belongs to none. */
  let wanted = 0;
  let connections = new OpenConnections();
  /** The machine may have connections of which no frame was seen. */
  let hasLived = false;
  /** What the guest's user wants forwarded, whatever happens to the connection. */
  let forwarded: RelayForward[] = [];
  let sent = 0;
  let received = 0;
  let seen = { at: performance.now(), sent: 0, received: 0 };
  let timer: ReturnType<typeof setInterval> | undefined;
  const refusals = new Map<string, number>();

  const emit = (change: Partial<NetworkState>): void =>
    store.update((state) => ({ ...state, network: { ...state.network, ...change } }));
  /** The relay that is asked for. @returns null for the page's own */
  const chosen = (): string | null => toWebSocket(wish ?? parts.projectRelay() ?? "");
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

  const receive = (frame: Uint8Array): void => {
    received += frame.length;
    parts.sendFrame(frame);
  };
  const events: RelayEvents = {
    onFrame: (frame) => receive(frame),
    onHello({ resumed, subnet, forwards, room: present }) {
      emit({
        status: "online",
        reason: null,
        retryAt: null,
        gateway: subnet.gateway,
        forwards,
        room: present?.name ?? null,
        roomSecret: present ? (room?.secret ?? null) : null,
        roomMembers: present?.members ?? 0,
        ...(resumed ? {} : { guestAddress: null }),
      });
      if (!resumed) begin(subnet);
      const joined = room;
      if (joined && !present) attempt(() => (client as RelayClient).join(joined.name, joined.secret));
    },
    onAddress: (guestAddress) => emit({ guestAddress }),
    onRoom(present, renew) {
      emit({
        room: present?.name ?? null,
        roomSecret: present ? (room?.secret ?? null) : null,
        roomMembers: present?.members ?? 0,
      });
      if (renew) renewGuest();
    },
    onRefusal(kind, english) {
      const words = text().fromRelay(english);
      emit({ reason: words });
      // That nobody is there, the guest's program says itself.
      if (kind === "unreachable") return;
      const now = performance.now();
      if (now - (refusals.get(words) ?? Number.NEGATIVE_INFINITY) < REFUSAL_MS) return;
      if (refusals.size > 100) refusals.clear();
      refusals.set(words, now);
      notify("passing", words);
    },
    onError: (words) => emit({ reason: text().fromRelay(words) }),
    onClose(words, retryAt, everOpen) {
      const reason = text().fromRelay(words) || (everOpen ? text().broken : text().unreachable(chosen() ?? own ?? ""));
      if (retryAt !== null) return emit({ status: "waiting", reason, retryAt });
      end();
      emit({ ...AT_REST, status: "waiting", reason });
    },
  };

  const tellGuest = (command: string): void => void parts.run(command, BUSY_GUEST_MS).catch(() => {});
  const resetConnections = (lives: (guest: number, peer: number) => boolean): void => {
    for (const frame of connections.reset(lives)) parts.sendFrame(frame);
  };
  /** Its wire is another one now. */
  const renewGuest = (): void => {
    resetConnections(() => false);
    tellGuest(RELEASE);
  };
  const tabs = createTabNetwork({
    emit,
    onFrame: receive,
    onJoined() {
      clearInterval(timer);
      timer = setInterval(measure, RATE_MS);
      renewGuest();
    },
  });
  const joinTabs = async (wanted: WantedRoom): Promise<void> => {
    if (!canJoinTabs()) throw new Error(text().tabsNeedSecure);
    await tabs.join(wanted);
  };
  /** The relay knows nothing of this guest, which may have run for a while. */
  const begin = (subnet: RelaySubnet): void => {
    // Guests in a room reach each other again without the relay's help.
    resetConnections((_, peer) => isPeer(subnet, peer));
    // One that is still booting asks by itself.
    if (hasLived || store.state.machine.status === "running") tellGuest(RENEW);
    if (hasLived) void endSaved(subnet.gatewayMac).catch(() => {});
    if (forwarded.length > 0) attempt(forwardAgain);
  };
  const endSaved = async (gatewayMac: string): Promise<void> => {
    const { output } = await parts.run(LIST_CONNECTIONS, BUSY_GUEST_MS);
    for (const frame of probeConnections(output, gatewayMac)) parts.sendFrame(frame);
  };
  /** A relay that has started anew gives other addresses. */
  const forwardAgain = async (): Promise<void> => {
    const before = forwarded;
    forwarded = [];
    for (const { kind, guestPort } of before) await network.forward(guestPort, kind);
    notify("info", text().forwardsMoved);
  };

  const end = (): void => {
    client?.close();
    client = null;
    tabs.end();
    clearInterval(timer);
  };
  const connect = (): void => {
    end();
    wanted += 1;
    if (!isOn || !isRunning) return;
    if (!parts.mayConnect())
      return emit({ ...AT_REST, status: "off", reason: textOf(store.state.language).share.asksFirst });
    emit({ ...AT_REST, status: "connecting", reason: null });
    const address = chosen() ?? own;
    if (address) return open(address);
    if (address === null) {
      emit({ status: "none" });
      const joined = room;
      if (joined) attempt(() => joinTabs(joined));
      return;
    }
    const mine = wanted;
    void ownKnown.then(() => mine === wanted && connect());
  };
  const open = (address: string): void => {
    timer = setInterval(measure, RATE_MS);
    try {
      client = connectRelay(address, events);
    } catch (error) {
      end();
      emit({ ...AT_REST, status: "none", reason: sentenceOf(error) });
    }
  };

  const hasNoRelay = (): boolean => isOn && chosen() === null && own === null;
  /** Waits until it is known where rooms are: null for this browser's tabs. @throws Error with words */
  const meeting = async (): Promise<RelayClient | null> => {
    if (isRunning && own === undefined) await ownKnown;
    return isRunning && hasNoRelay() && store.state.network.status === "none" ? null : online();
  };
  /** Waits until the relay is there. @throws Error with words */
  const online = async (): Promise<RelayClient> => {
    const deadline = performance.now() + READY_MS;
    while (store.state.network.status !== "online") {
      const { status, reason } = store.state.network;
      if (!isRunning) throw new Error(text().machineOff);
      if (status === "none" || status === "off" || performance.now() > deadline)
        throw new Error(text().offline(reason ?? (status === "none" ? text().noneHere : "")));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return client as RelayClient;
  };
  const attempt = (run: () => Promise<unknown>): void => {
    run().catch((error: unknown) => notify("error", text().fromRelay(sentenceOf(error))));
  };

  const network: Network = {
    status: () => store.state.network,
    async forward(guestPort, kind = "http") {
      if (!Number.isInteger(guestPort) || guestPort < 1 || guestPort > 65535)
        throw new Error(text().badPort(guestPort));
      const forward = await (await online()).forward(kind, guestPort);
      const others = store.state.network.forwards.filter(({ id }) => id !== forward.id);
      emit({ forwards: [...others, forward] });
      forwarded = [...forwarded.filter(({ id }) => id !== forward.id), forward];
      return forward;
    },
    async endForward(id) {
      await (await online()).unforward(id);
      forwarded = forwarded.filter((forward) => forward.id !== id);
      emit({ forwards: store.state.network.forwards.filter((forward) => forward.id !== id) });
    },
    async join(name, secret) {
      const wanted = { name, secret };
      const before = room;
      room = wanted;
      try {
        // Without a machine it is joined as soon as there is one.
        if (!isRunning) return;
        const relay = await meeting();
        await (relay ? relay.join(name, secret) : joinTabs(wanted));
      } catch (error) {
        if (room === wanted) room = before;
        throw error;
      }
    },
    async leave() {
      room = null;
      const relay = await meeting();
      if (relay) return relay.leave();
      clearInterval(timer);
      const wasIn = tabs.end();
      emit(NO_ROOM);
      if (wasIn) renewGuest();
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
        forwarded = [];
        emit({ ...AT_REST, status: "off", reason: null });
      }
    },
    send(frame) {
      connections.note(frame);
      if (!client && !tabs.send(frame)) return;
      sent += frame.length;
      client?.send(frame);
    },
    start(isSaved = false) {
      isRunning = true;
      hasLived = isSaved;
      connections = new OpenConnections();
      forwarded = [];
      connect();
    },
    stop() {
      isRunning = false;
      end();
      forwarded = [];
      atRest();
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
        if (isLooking) return;
        isLooking = true;
        parts
          .run(LIST_PORTS, 5000)
          // Busy with another command: what was found before still stands.
          .then(
            ({ output }) => {
              const listening = readPorts(output);
              if (JSON.stringify(listening) !== JSON.stringify(store.state.network.listening)) emit({ listening });
            },
            () => {},
          )
          .finally(() => {
            isLooking = false;
          });
      },
    },
  };
  /** Nothing runs that could be connected. */
  const atRest = (): void => {
    emit({ ...AT_REST, status: hasNoRelay() ? "none" : isOn ? "idle" : "off", reason: null });
  };
  const ownKnown = parts.ownRelay.then((address) => {
    own = address;
    if (!isRunning) atRest();
  });
  // The browser knows when there is a network again.
  addEventListener("online", () => client?.retryNow());
  emit({ relay: shownRelay(), card: parts.card() });
  atRest();
  return network;
}

/** Whether an address is another guest's in the room: of the same network, and nothing that the relay itself plays. */
function isPeer({ gateway, dns, prefixLength }: RelaySubnet, address: number): boolean {
  const [router, resolver] = [gateway, dns].map((text) =>
    text.split(".").reduce((number, part) => number * 256 + Number(part), 0),
  );
  if (router === undefined || address === router || address === resolver) return false;
  const size = 2 ** (32 - prefixLength);
  return Math.floor(address / size) === Math.floor(router / size);
}

const NO_ROOM: Partial<NetworkState> = {
  guestAddress: null,
  room: null,
  roomSecret: null,
  roomMembers: 0,
  sentRate: 0,
  receivedRate: 0,
};
const AT_REST: Partial<NetworkState> = { ...NO_ROOM, retryAt: null, gateway: null, forwards: [], listening: [] };
