/** How much a guest, and all guests behind one address, may use in a time. */
import { parseAddress, unmap } from "./addresses.ts";

/**
 * A rate with a burst: what is taken above it is a debt, and whoever takes has to wait until it is paid. So bytes are never
 * thrown away because of a rate; they wait where the sender sees it.
 */
export class Bucket {
  private level: number;
  private at: number;

  constructor(
    /** Infinity: no limit. */
    readonly perSecond: number,
    private readonly burst: number,
    private readonly now: () => number = Date.now,
  ) {
    this.level = burst;
    this.at = now();
  }

  take(amount: number): void {
    if (this.perSecond === Number.POSITIVE_INFINITY) return;
    this.fill();
    this.level -= amount;
  }

  /** Takes one if there is one. */
  tryTake(amount = 1): boolean {
    if (this.perSecond === Number.POSITIVE_INFINITY) return true;
    this.fill();
    if (this.level < amount) return false;
    this.level -= amount;
    return true;
  }

  /** Milliseconds until the debt is paid; 0 when there is none. */
  get wait(): number {
    if (this.perSecond === Number.POSITIVE_INFINITY) return 0;
    this.fill();
    return this.level >= 0 ? 0 : Math.ceil((-this.level * 1000) / this.perSecond);
  }

  private fill(): void {
    const now = this.now();
    // A clock that is set back pays nothing and takes nothing.
    if (now > this.at) this.level = Math.min(this.burst, this.level + ((now - this.at) * this.perSecond) / 1000);
    this.at = now;
  }
}

export interface AddressLimits {
  guestsPerAddress: number;
  connectionsPerMinute: number;
  /** In each direction, for all guests of an address. */
  addressBytesPerSecond: number;
}

/** What is known of an address as long as it has guests or has connected lately. */
export interface Household {
  guests: number;
  readonly connections: Bucket;
  readonly sent: Bucket;
  readonly received: Bucket;
  usedAt: number;
}

const FORGET_MS = 120_000;

/** Counts by address. It forgets those that are silent, and holds so many at most: an attacker has many addresses. */
export class Households {
  private readonly byAddress = new Map<string, Household>();

  constructor(
    private readonly limits: AddressLimits,
    private readonly most = 10_000,
    private readonly now: () => number = Date.now,
  ) {}

  get size(): number {
    return this.byAddress.size;
  }

  /** @returns null when there are too many of them */
  at(address: string): Household | null {
    const key = householdKey(address);
    const now = this.now();
    let household = this.byAddress.get(key);
    if (!household) {
      if (this.byAddress.size >= this.most) this.sweep();
      if (this.byAddress.size >= this.most) return null;
      const { connectionsPerMinute, addressBytesPerSecond } = this.limits;
      household = {
        guests: 0,
        connections: new Bucket(connectionsPerMinute / 60, connectionsPerMinute, this.now),
        sent: new Bucket(addressBytesPerSecond, addressBytesPerSecond, this.now),
        received: new Bucket(addressBytesPerSecond, addressBytesPerSecond, this.now),
        usedAt: now,
      };
      this.byAddress.set(key, household);
    }
    household.usedAt = now;
    return household;
  }

  sweep(): void {
    const now = this.now();
    for (const [key, { guests, usedAt }] of this.byAddress)
      if (guests === 0 && now - usedAt > FORGET_MS) this.byAddress.delete(key);
  }
}

/** IPv6 users have a /64 each, at least: its addresses are one user's (RFC 6177). */
export function householdKey(address: string): string {
  const parsed = parseAddress(address);
  if (!parsed) return address;
  const plain = unmap(parsed);
  return plain.length === 4 ? plain.join(".") : Buffer.from(plain.subarray(0, 8)).toString("hex");
}
