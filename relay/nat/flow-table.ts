/** Finds a flow by its two ends. Numbers as keys: a string for each packet would cost more than all the rest. */

export class FlowTable<Flow> {
  /** By the far end (48 bits), then by the guest's (48 bits). */
  private readonly ends = new Map<number, Map<number, Flow>>();
  private count = 0;

  get size(): number {
    return this.count;
  }

  get(guest: number, guestPort: number, remote: number, remotePort: number): Flow | undefined {
    return this.ends.get(remote * 0x10000 + remotePort)?.get(guest * 0x10000 + guestPort);
  }

  set(guest: number, guestPort: number, remote: number, remotePort: number, flow: Flow): void {
    const key = remote * 0x10000 + remotePort;
    let flows = this.ends.get(key);
    if (!flows) {
      flows = new Map();
      this.ends.set(key, flows);
    }
    const before = flows.size;
    flows.set(guest * 0x10000 + guestPort, flow);
    this.count += flows.size - before;
  }

  /** Deletes the entry if it is `flow`: a newer one with the same ends stays. */
  delete(guest: number, guestPort: number, remote: number, remotePort: number, flow: Flow): void {
    const key = remote * 0x10000 + remotePort;
    const flows = this.ends.get(key);
    if (flows?.get(guest * 0x10000 + guestPort) !== flow) return;
    flows.delete(guest * 0x10000 + guestPort);
    this.count--;
    if (flows.size === 0) this.ends.delete(key);
  }

  /** A copy, so that flows may end while they are walked through. */
  values(): Flow[] {
    return [...this.ends.values()].flatMap((flows) => [...flows.values()]);
  }
}
