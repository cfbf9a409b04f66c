/** Numbers for Prometheus (https://prometheus.io/docs/practices/naming/), in a registry of their own. */
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";

/** Counted in plain numbers, since a frame has little time; the registry reads them when it is asked. */
export interface Totals {
  framesIn: number;
  framesOut: number;
  bytesIn: number;
  bytesOut: number;
  connections: number;
  resumed: number;
  controlMessages: number;
  httpRequests: number;
  /** By reason: of the relay's own making, so there are few. */
  refused: Record<string, number>;
  dropped: Record<string, number>;
  /** Connections that guests were refused, by kind. */
  refusals: Record<string, number>;
}

export function newTotals(): Totals {
  return {
    framesIn: 0,
    framesOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    connections: 0,
    resumed: 0,
    controlMessages: 0,
    httpRequests: 0,
    refused: {},
    dropped: {},
    refusals: {},
  };
}

export function count(record: Record<string, number>, key: string): void {
  record[key] = (record[key] ?? 0) + 1;
}

/** What there is now. */
export interface Levels {
  guests(): number;
  waitingGuests(): number;
  queuedBytes(): number;
  rooms(): number;
  households(): number;
  forwards(): { http: number; tcp: number; udp: number };
  roomFramesLost(): number;
  roomBusConnected(): boolean;
}

export interface Metrics {
  contentType: string;
  text(): Promise<string>;
}

export function createMetrics(totals: Totals, levels: Levels): Metrics {
  const register = new Registry();
  const registers = [register];
  collectDefaultMetrics({ register });

  const counter = (name: string, help: string, read: () => number): void => {
    new Counter({
      name: `smartos_relay_${name}_total`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  };
  const counters = (name: string, help: string, label: string, read: () => Record<string, number>): void => {
    new Counter({
      name: `smartos_relay_${name}_total`,
      help,
      labelNames: [label],
      registers,
      collect() {
        this.reset();
        for (const [key, value] of Object.entries(read())) this.inc({ [label]: key }, value);
      },
    });
  };
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name: `smartos_relay_${name}`,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  };

  counter("frames_in", "Ethernet frames from guests", () => totals.framesIn);
  counter("frames_out", "Ethernet frames to guests", () => totals.framesOut);
  counter("bytes_in", "Bytes of frames from guests", () => totals.bytesIn);
  counter("bytes_out", "Bytes of frames to guests", () => totals.bytesOut);
  counter("connections", "Guests that were let in", () => totals.connections);
  counter("connections_resumed", "Broken connections that were taken up again", () => totals.resumed);
  counter("control_messages", "Control messages from clients", () => totals.controlMessages);
  counter("http_forward_requests", "HTTP requests and upgrades passed on to guests", () => totals.httpRequests);
  counter("room_frames_lost", "Frames lost on the way to other relay processes", levels.roomFramesLost);
  counters("connections_refused", "Clients that were not let in", "reason", () => totals.refused);
  counters("frames_dropped", "Frames that were not passed on", "reason", () => totals.dropped);
  counters("guest_refusals", "Connections that guests were refused", "kind", () => totals.refusals);
  gauge("guests", "Guests, those included that may come back", levels.guests);
  gauge("guests_waiting", "Guests whose connection is broken and may be taken up again", levels.waitingGuests);
  gauge("queued_bytes", "Bytes that wait for slow guests", levels.queuedBytes);
  gauge("rooms", "Rooms with guests of this process", levels.rooms);
  gauge("addresses", "Client addresses that are remembered", levels.households);
  gauge("room_bus_connected", "Whether other processes' rooms can be reached", () =>
    levels.roomBusConnected() ? 1 : 0,
  );
  new Gauge({
    name: "smartos_relay_forwards",
    help: "Open forwards",
    labelNames: ["kind"],
    registers,
    collect() {
      for (const [kind, value] of Object.entries(levels.forwards())) this.set({ kind }, value);
    },
  });
  return { contentType: register.contentType, text: () => register.metrics() };
}
