/** What can be chosen for a TCP connection. */

export interface TcpOptions {
  /** The largest segment that fits the link. */
  mss: number;
  /** Bytes that are taken over for sending; `room` tells how many are left. */
  sendBuffer: number;
  /** The largest window that is advertised. */
  receiveBuffer: number;
  initialSequence: number;
  /** Silence after which the guest is asked whether it is still there, between the questions, and how many. */
  keepAliveMs: number;
  keepAliveIntervalMs: number;
  keepAliveProbes: number;
  /** The longest time without any data in either direction. */
  idleMs: number;
  timeWaitMs: number;
  /** How long data may stay unacknowledged: R2 of RFC 9293, 3.8.3, at least 100 s. */
  giveUpMs: number;
  /** The same for the handshake. */
  handshakeMs: number;
}

export const TCP_DEFAULTS: Omit<TcpOptions, "initialSequence"> = {
  mss: 1460,
  sendBuffer: 512 * 1024,
  receiveBuffer: 256 * 1024,
  keepAliveMs: 120_000,
  keepAliveIntervalMs: 30_000,
  keepAliveProbes: 5,
  // RFC 5382, REQ-5: not below 2 hours and 4 minutes.
  idleMs: 7_440_000,
  // The guest is one hop away: nothing of an old connection can still be on the way for long.
  timeWaitMs: 10_000,
  giveUpMs: 120_000,
  handshakeMs: 30_000,
};
