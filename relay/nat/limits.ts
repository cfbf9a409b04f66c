/** What one guest may use. */

export interface NatLimits {
  /** Connections that are open, being opened, or not fully written to their server yet. */
  tcpConnections: number;
  tcpConnectsPerSecond: number;
  /** How long a server may take to accept a connection. */
  tcpConnectMs: number;
  /** A connection without any data is ended after this (RFC 5382, REQ-5: not below 2 hours and 4 minutes). */
  tcpIdleMs: number;
  /** A silent guest is asked whether it is still there after this. */
  tcpKeepAliveMs: number;
  /** What all connections together may hold in buffers, about: the more there are, the less each gets. */
  tcpBufferBytes: number;
  udpFlows: number;
  udpFlowsPerSecond: number;
  /** RFC 4787, REQ-5: not below 2 minutes. */
  udpIdleMs: number;
  dnsQueriesPerSecond: number;
  /** Queries that wait for an answer. */
  dnsPending: number;
  dhcpPerSecond: number;
  pingsPerSecond: number;
  pingsPending: number;
}

export const NAT_LIMITS: NatLimits = {
  tcpConnections: 256,
  tcpConnectsPerSecond: 50,
  tcpConnectMs: 30_000,
  tcpIdleMs: 7_440_000,
  tcpKeepAliveMs: 120_000,
  tcpBufferBytes: 32 * 1024 * 1024,
  udpFlows: 128,
  udpFlowsPerSecond: 50,
  udpIdleMs: 120_000,
  dnsQueriesPerSecond: 50,
  dnsPending: 64,
  dhcpPerSecond: 10,
  pingsPerSecond: 2,
  pingsPending: 4,
};

/** A rate with bursts: so many a second, and twice as many at once after a pause. */
export class Rate {
  private tokens: number;
  private readonly most: number;
  private at: number;

  constructor(
    private readonly perSecond: number,
    private readonly now: () => number,
  ) {
    this.most = Math.max(1, perSecond * 2);
    this.tokens = this.most;
    this.at = now();
  }

  /** @returns whether one more is allowed now */
  take(): boolean {
    const now = this.now();
    this.tokens = Math.min(this.most, this.tokens + ((now - this.at) * this.perSecond) / 1000);
    this.at = now;
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}
